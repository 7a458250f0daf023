"""Every operation, with every token that must not open it. Operations come from the table, so that none is left out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from stellaops.api.operation import Operation
from stellaops.api.registry import operations
from stellaops.authority.access import SCOPES
from tests.contract.api.conftest import Filled
from tests.support.api import OTHER

_ALL = operations()
_CLOSED = [each for each in _ALL if not each.public]
_SCOPED = [each for each in _ALL if each.scope is not None]
_WITH_OBJECT = [each for each in _CLOSED if "{" in each.path]


def _named(operation: Operation) -> str:
    return operation.id


def _path(operation: Operation, values: Mapping[str, str]) -> str:
    path = operation.path.replace("{path:path}", values.get("path", "export.json"))
    for part in ("id", "tenant", "name", "number", "digest"):
        path = path.replace("{" + part + "}", values.get(part, "something"))
    return path.replace("{", "").replace("}", "")


def _body(operation: Operation) -> dict[str, Any]:
    """Something to send: right or wrong, it must not be looked at."""
    if operation.body is not None:
        return {"json": {}}
    if operation.raw is not None or operation.upload:
        return {"content": b"x", "headers": {"content-type": operation.raw or operation.upload[0]}}
    return {}


def _wrong_tokens(good: str) -> Iterator[tuple[str, str | None]]:
    head, claims, signature = good.split(".")

    def changed(part: str, **more: object) -> str:
        wire = json.loads(base64.urlsafe_b64decode(part + "=="))
        return base64.urlsafe_b64encode(json.dumps(wire | more).encode()).decode().rstrip("=")

    yield "none", None
    yield "empty", "Bearer "
    yield "basic", "Basic YWRtaW46YWRtaW4="
    yield "no JWT", "Bearer abc"
    yield "no signature", f"Bearer {head}.{claims}."
    yield "algorithm none", f"Bearer {changed(head, alg='none')}.{claims}."
    yield "another algorithm", f"Bearer {changed(head, alg='HS256')}.{claims}.{signature}"
    yield "other claims", f"Bearer {head}.{changed(claims, tenants=[OTHER])}.{signature}"
    yield "cut signature", f"Bearer {head}.{claims}.{signature[:-8]}"
    yield "two tokens", f"Bearer {good} {good}"


@pytest.mark.parametrize("operation", _CLOSED, ids=_named)
def test_no_operation_opens_to_a_token_that_does_not_hold(filled: Filled, operation: Operation) -> None:
    client = filled.api.client
    for name, told in _wrong_tokens(filled.api.token()):
        more = _body(operation)
        headers = more.pop("headers", {}) | ({} if told is None else {"authorization": told})
        found = client.request(
            operation.method, _path(operation, {"id": filled.run.id}), headers=headers, **more
        )
        assert found.status_code == 401, (name, found.text)
        assert found.headers["www-authenticate"].startswith("Bearer")
        assert found.json()["code"] in ("ERR_NOT_AUTHENTICATED", "ERR_TOKEN_INVALID"), name


@pytest.mark.parametrize("operation", _CLOSED, ids=_named)
def test_no_operation_opens_to_an_expired_token(filled: Filled, operation: Operation, expired: str) -> None:
    more = _body(operation)
    headers = more.pop("headers", {}) | {"authorization": f"Bearer {expired}"}
    found = filled.api.client.request(operation.method, _path(operation, {}), headers=headers, **more)
    assert (found.status_code, found.json()["code"]) == (401, "ERR_TOKEN_INVALID")


@pytest.mark.parametrize("operation", _SCOPED, ids=_named)
def test_every_other_scope_is_not_enough(filled: Filled, operation: Operation) -> None:
    others = [scope for scope in SCOPES if scope != operation.scope]
    more = _body(operation)
    path = _path(operation, {"id": filled.run.id})
    found = filled.api.ask(operation.method, path, scopes=others, headers=more.pop("headers", {}), **more)
    assert (found.status_code, found.json()["code"]) == (403, "ERR_SCOPE_MISSING"), found.text


@pytest.mark.parametrize("operation", _CLOSED, ids=_named)
def test_nobody_acts_for_a_tenant_that_is_not_in_the_token(filled: Filled, operation: Operation) -> None:
    more = _body(operation)
    headers = more.pop("headers", {}) | {"x-stella-tenant": OTHER}
    found = filled.api.ask(operation.method, _path(operation, {}), headers=headers, **more)
    assert (found.status_code, found.json()["code"]) == (403, "ERR_FOREIGN_TENANT"), found.text


_BODIES: Mapping[str, dict[str, Any]] = {
    "changeProfile": {"changeReason": "mine now", "labels": {"a": "b"}},
    "cloneProfile": {"name": "stolen"},
    "approveRun": {"reason": "mine now"},
    "pinRun": {"reason": "mine now"},
    "unpinRun": {"reason": "mine now"},
}


@pytest.mark.parametrize(
    "operation", [each for each in _WITH_OBJECT if each.path.startswith("/api/export/")], ids=_named
)
def test_an_object_of_another_tenant_is_not_there(filled: Filled, operation: Operation) -> None:
    is_profile = operation.path.startswith("/api/export/profiles")
    name = "secret-profile" if is_profile else filled.foreign.id
    body = {"json": _BODIES.get(operation.id, {})} if operation.body is not None else {}
    found = filled.api.ask(operation.method, _path(operation, {"id": name}), **body)
    absent = filled.api.ask(operation.method, _path(operation, {"id": "never-was"}), **body)
    assert found.status_code == absent.status_code == 404, found.text
    assert found.json()["code"] == absent.json()["code"]
    assert _told(found, name) == _told(absent, "never-was")
    kept = filled.api.local.runs.get(OTHER, filled.foreign.id)
    assert kept is not None
    assert kept.version == filled.foreign.version


def _told(found: Any, name: str) -> str:
    """What is said beside the name that was asked for: nothing may tell a foreign thing from one that never was."""
    return str(found.json()["detail"]).replace(name, "NAME")


@pytest.mark.parametrize(
    "path", ["/api/export/runs", "/api/export/profiles", "/api/export/audit", "/api/export/keys"]
)
def test_lists_hold_nothing_of_other_tenants(filled: Filled, path: str) -> None:
    mine, theirs = filled.api.get(path), filled.api.get(path, tenants=(OTHER,))
    assert mine.status_code == theirs.status_code == 200
    assert OTHER not in mine.text
    assert "secret-profile" not in mine.text
    assert filled.foreign.id not in mine.text
    assert '"default"' not in theirs.text


def test_numbers_of_other_tenants_are_not_shown(filled: Filled) -> None:
    queue = filled.api.get("/api/export/queue").json()
    assert set(queue["ready"]) | set(queue["running"]) <= {"default"}
    assert OTHER not in filled.api.get("/api/export/workers").text


def test_every_token_picks_the_first_of_its_tenants_unless_told(filled: Filled) -> None:
    both = ("default", OTHER)
    assert filled.api.get("/api/export/quotas", tenants=both).json()["tenant"] == "default"
    told = {"x-stella-tenant": OTHER}
    assert filled.api.get("/api/export/quotas", tenants=both, headers=told).json()["tenant"] == OTHER
