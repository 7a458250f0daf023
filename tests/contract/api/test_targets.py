"""Targets over the API: who may name them, whether they answer, and bringing a bundle there again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stellaops.authority.audit import AuditFilter
from stellaops.exports.errors import DistributionFailed
from tests.support.api import OTHER, Api
from tests.support.workers import TENANT, Service

_TARGETS, _PROFILES, _RUNS = (f"/api/export/{name}" for name in ("targets", "profiles", "runs"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API with a target whose key is missing, so that it fails at once, and one for another tenant alone."""
    place: Path = tmp_path_factory.mktemp("targets")
    told = {
        "TARGETS__EDGE__DRIVER": "object",
        "TARGETS__EDGE__STORE": "s3://bundles/{tenant}",
        "TARGETS__EDGE__REGION": "eu-central-1",
        "TARGETS__EDGE__KEYFILE": str(place / "no-key"),
        "TARGETS__THEIRS__DRIVER": "oci",
        "TARGETS__THEIRS__REPOSITORY": "registry.example.org/other",
        "TARGETS__THEIRS__TENANTS": OTHER,
    }
    with closing(Service(place / "service", more=told)) as service:
        service.fill(5)
        yield Api(service)


def document(name: str, *distribution: object) -> dict[str, Any]:
    return {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": name},
        "spec": {"kind": "json", "variant": "raw", "distribution": list(distribution)},
    }


def names(asked: Api, tenant: str) -> list[str]:
    return [each["name"] for each in asked.get(_TARGETS, tenants=(tenant,)).json()["items"]]


def test_a_tenant_sees_and_tests_its_own_targets_alone(asked: Api) -> None:
    asked.tenant(OTHER)
    assert names(asked, TENANT) == ["http", "edge"]
    assert names(asked, OTHER) == ["http", "edge", "theirs"]
    assert asked.post(f"{_TARGETS}/theirs/test").status_code == 404
    assert asked.post(f"{_TARGETS}/http/test").json()["status"] == "ok"
    assert asked.post(f"{_TARGETS}/http/test", scopes=("export:read",)).status_code == 403


def test_a_target_that_cannot_be_reached_says_why(asked: Api) -> None:
    told = asked.post(f"{_TARGETS}/edge/test").json()
    assert (told["name"], told["status"]) == ("edge", "failed")
    assert "no-key" in told["detail"]
    assert told["errorCode"].startswith("ERR_")
    assert told["hint"]


def test_profiles_name_only_targets_that_the_tenant_has(asked: Api) -> None:
    refused = asked.post(_PROFILES, document("far", {"driver": "oci", "name": "theirs"}))
    assert (refused.status_code, refused.json()["code"]) == (400, "ERR_EXPORT_INVALID_PROFILE")
    assert "there is http, edge" in refused.json()["detail"]
    wrong = {"driver": "object", "name": "edge", "settings": {"endpoint": "https://elsewhere.example.org"}}
    assert "endpoint" in asked.post(_PROFILES, document("far", wrong)).json()["detail"]
    assert asked.post(_PROFILES, document("far", "http")).status_code == 201
    patch = {"changeReason": "farther", "spec": {"distribution": ["oci"]}}
    assert asked.ask("PATCH", f"{_PROFILES}/far", json=patch).status_code == 400
    patch["spec"] = {"distribution": [{"driver": "object", "name": "edge"}]}
    assert asked.ask("PATCH", f"{_PROFILES}/far", json=patch).status_code == 200


def test_a_bundle_is_brought_again_and_the_record_says_what_came_of_it(asked: Api) -> None:
    assert asked.post(_PROFILES, document("near", {"driver": "object", "name": "edge"})).status_code == 201
    run = asked.finished_run("near")
    assert run.degraded
    path = f"{_RUNS}/{run.id}/distribute"
    assert asked.post(path, {"target": "edge"}, scopes=("export:read",)).status_code == 403
    assert asked.post(path, {"target": "theirs"}).status_code == 404
    done = asked.post(path)
    assert done.status_code == 200
    http, edge = done.json()["targets"]
    assert (http["status"], edge["status"], edge["required"]) == ("succeeded", "failed", False)
    assert edge["errorCode"].startswith("ERR_")
    assert done.json()["degraded"] is True
    (told,) = asked.local.audit.list([TENANT], AuditFilter(action="run.distributed"))
    assert told.change.details["targets"] == {"http": "succeeded", "edge": "failed"}
    patch = {"changeReason": "the store is down", "spec": {"distribution": ["http"]}}
    assert asked.ask("PATCH", f"{_PROFILES}/near", json=patch).status_code == 200
    assert asked.post(path).json()["degraded"] is False


def test_what_failed_to_reach_a_required_target_is_downloaded_and_freed_by_the_profile(asked: Api) -> None:
    required = {"driver": "object", "name": "edge", "required": True}
    assert asked.post(_PROFILES, document("must", required)).status_code == 201
    with pytest.raises(DistributionFailed):
        asked.finished_run("must")
    (run,) = asked.get(_RUNS, params={"profile": "must"}).json()["items"]
    assert (run["status"], run["errorCode"]) == ("failed", "distribution")
    for path in ("manifest", "artifacts/export.json"):
        assert asked.get(f"{_RUNS}/{run['runId']}/{path}").status_code == 200, path
    assert asked.post(f"{_RUNS}/{run['runId']}/verify").json()["verdict"] == "ok"
    patch = {"changeReason": "the store is down", "spec": {"distribution": ["http"]}}
    assert asked.ask("PATCH", f"{_PROFILES}/must", json=patch).status_code == 200
    freed = asked.post(f"{_RUNS}/{run['runId']}/distribute").json()
    assert (freed["status"], freed["errorCode"], freed["degraded"]) == ("succeeded", None, False)
