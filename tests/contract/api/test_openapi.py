"""The document that describes the API: valid, complete, and kept to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from stellaops.api import openapi
from stellaops.api.operation import Operation
from stellaops.api.registry import operations
from stellaops.authority.access import SCOPES
from tests.contract.api.conftest import Filled

_ALL = operations()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(_ALL)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_the_document_is_what_the_service_gives(filled: Filled, document: dict[str, Any]) -> None:
    assert filled.api.client.get("/openapi.json").json() == document


@pytest.mark.parametrize("operation", _ALL, ids=lambda each: each.id)
def test_an_operation_is_told_whole(document: dict[str, Any], operation: Operation) -> None:
    path = re.sub(r"\{(\w+):path\}", r"{\1}", operation.path)
    told = document["paths"][path][operation.method.lower()]
    assert told["operationId"] == operation.id
    assert told["summary"]
    statuses = set(told["responses"])
    assert {"400", "429", "431"} <= statuses
    assert operation.public or {"401", "403"} <= statuses
    assert not operation.mutating or "409" in statuses
    assert any(status < "400" for status in statuses) or "404" in statuses
    headers = {each["name"] for each in told["parameters"] if each["in"] == "header"}
    assert ("Idempotency-Key" in headers) == operation.mutating
    assert ("X-Stella-Tenant" in headers) == (not operation.public)
    for status, answer in told["responses"].items():
        if status >= "400" and operation.tag != "authority":
            assert answer["content"]["application/problem+json"]["schema"] == {
                "$ref": "#/components/schemas/Problem"
            }


def test_every_scope_that_is_asked_for_exists() -> None:
    assert {each.scope for each in _ALL if each.scope is not None} <= set(SCOPES)


def test_whatever_changes_something_takes_a_key_or_says_why_not() -> None:
    """What computes and changes nothing may be a POST; everything else that is none of GET is a change."""
    free = {each.id for each in _ALL if each.method != "GET" and not each.mutating}
    computing = {
        "checkProfile", "introspectToken", "issueToken", "lintPolicy", "planRun", "runRetention", "testSigningKey",
        "testTarget", "verifyRun", "verifyTargets", "weighConsensus", "weighFindings",
    }  # fmt: skip
    assert free <= computing, free - computing


def test_every_route_of_the_contract_is_there() -> None:
    told = {(each.method, re.sub(r"\{\w+(:path)?\}", "{}", each.path)) for each in _ALL}
    runs, profiles = "/api/export/runs", "/api/export/profiles"
    wanted = {
        ("GET", profiles), ("POST", profiles), ("GET", f"{profiles}/{{}}"), ("PATCH", f"{profiles}/{{}}"),
        ("DELETE", f"{profiles}/{{}}"), ("POST", f"{profiles}/{{}}/clone"), ("GET", f"{profiles}/{{}}/history"),
        ("GET", runs), ("POST", runs), ("GET", f"{runs}/{{}}"), ("DELETE", f"{runs}/{{}}"),
        ("GET", f"{runs}/{{}}/events"), ("POST", f"{runs}/{{}}/cancel"), ("POST", f"{runs}/{{}}/replay"),
        ("POST", f"{runs}/{{}}/approve"), ("POST", f"{runs}/{{}}/distribute"), ("POST", f"{runs}/{{}}/verify"),
        ("GET", f"{runs}/{{}}/manifest"), ("GET", f"{runs}/{{}}/provenance"), ("GET", f"{runs}/{{}}/artifacts/{{}}"),
        ("GET", "/api/export/diff"), ("POST", "/api/export/plan"), ("GET", "/api/export/queue"),
        ("POST", "/api/export/queue/pause"), ("POST", "/api/export/queue/resume"), ("GET", "/api/export/workers"),
        ("GET", "/api/export/retention"), ("GET", "/api/export/targets"), ("GET", "/api/export/quotas"),
        ("GET", "/api/export/audit"), ("GET", "/api/export/keys"), ("POST", "/authority/token"),
        ("GET", "/authority/jwks"), ("POST", "/authority/introspect"), ("GET", "/tenants/{}/export-center.pub"),
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json"),
    }  # fmt: skip
    assert wanted <= told, wanted - told
