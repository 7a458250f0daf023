"""Quotas of storage, verification at targets, and chores over the API; and what metrics say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.bootstrap import now
from stellaops.client.connection import Connection
from stellaops.client.remote_authority import RemoteAuthority
from stellaops.client.remote_upkeep import RemoteUpkeep
from stellaops.exports.run import Run
from tests.support.api import OTHER, Api, api
from tests.support.workers import TENANT

_QUOTAS, _VERIFICATIONS, _CHORES = (f"/api/export/{name}" for name in ("quotas", "verifications", "chores"))
_TENANTS = "/api/authority/tenants"
_EVERY = ("*",)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Api]:
    """An API of its own, with evidence and no workers."""
    with api(tmp_path) as found:
        found.service.fill(5)
        yield found


def limit(asked: Api, size: int | None) -> Any:
    return asked.ask("PATCH", f"{_TENANTS}/{TENANT}", tenants=_EVERY, json={"maxStorageBytes": size})


def spoil(asked: Api, run: Run) -> None:
    """Damage a bundle in the store of artefacts."""
    assert run.archive is not None
    root = asked.local.artefacts.local_root(run.archive)
    assert root is not None
    (root / "export.json").write_bytes(b"{}")


def series(asked: Api, name: str, **labels: str) -> list[float]:
    """The values of a metric's series with some labels."""
    text = asked.get("/metrics", tenants=_EVERY).text
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, flags=re.MULTILINE)
    told = [(dict(re.findall(r'(\w+)="([^"]*)"', own)), float(value)) for own, value in found]
    return [value for own, value in told if labels.items() <= own.items()]


def test_a_tenant_sees_what_it_keeps_and_may_keep_and_submits_nothing_beyond_it(fresh: Api) -> None:
    run = fresh.finished_run()
    assert limit(fresh, run.bytes).json()["maxStorageBytes"] == run.bytes
    found = fresh.get(_QUOTAS).json()
    assert (found["maxStorageBytes"], found["storedBytes"]) == (run.bytes, run.bytes)
    own = {"profile": "json:raw", "kind": "json:raw", "bytes": run.bytes, "bundles": 1}
    assert found["stores"] == [{"store": "artefacts", **own}]
    refused = fresh.post("/api/export/runs", {"profile": "json:raw"})
    assert (refused.status_code, refused.json()["code"]) == (429, "ERR_EXPORT_QUOTA")
    assert refused.headers["x-stella-quota-limit"] == str(run.bytes)
    assert refused.headers["x-stella-quota-remaining"] == "0"
    assert int(refused.headers["retry-after"]) > 0
    kept = fresh.ask("PATCH", f"{_TENANTS}/{TENANT}", tenants=_EVERY, json={"maxQueuedRuns": 7})
    assert kept.json()["maxStorageBytes"] == run.bytes, "what is left out stays"
    assert limit(fresh, None).json()["maxStorageBytes"] is None
    assert fresh.post("/api/export/runs", {"profile": "json:raw"}).status_code == 202
    assert limit(fresh, -1).status_code == 400


def test_what_targets_have_is_verified_on_request_and_shown_to_its_tenant_alone(fresh: Api) -> None:
    run = fresh.finished_run()
    assert fresh.get(_VERIFICATIONS).json()["items"] == []
    (found,) = fresh.post(_VERIFICATIONS, {}).json()["items"]
    assert (found["runId"], found["target"], found["status"]) == (run.id, "http", "ok")
    (kept,) = fresh.get(_VERIFICATIONS).json()["items"]
    assert kept == found | {"soundAt": found["at"]}
    fresh.tenant(OTHER)
    assert fresh.get(_VERIFICATIONS, tenants=(OTHER,)).json()["items"] == []
    assert fresh.post(_VERIFICATIONS, {"target": "nowhere"}).status_code == 404
    assert fresh.post(_VERIFICATIONS, {"profile": "trivy:db"}).json()["items"] == []
    assert fresh.post(_VERIFICATIONS, {}, scopes=("export:read",)).status_code == 403
    assert series(fresh, "exporter_target_sound", target="http", profile="json:raw") == [1]
    assert series(fresh, "exporter_verify_failures_total", check="signer", profile="json:raw") == [0]
    spoil(fresh, run)
    (wrong,) = fresh.post(_VERIFICATIONS).json()["items"]
    assert wrong["status"] == "failed"
    assert {"signer", "record"} <= {each["check"] for each in wrong["failed"]}
    assert fresh.get(_VERIFICATIONS).json()["items"][0]["soundAt"] == found["at"]
    assert series(fresh, "exporter_verify_failures_total", check="signer", profile="json:raw") == [1]


def test_chores_are_for_operators(fresh: Api) -> None:
    assert fresh.local.chores.claim("retention", now(), timedelta(days=1))
    fresh.local.chores.finished("retention", now(), ok=True, report={"expired": 2})
    (found,) = fresh.get(_CHORES, tenants=_EVERY).json()["items"]
    assert (found["chore"], found["ok"], found["report"]) == ("retention", True, {"expired": 2})
    assert fresh.get(_CHORES).status_code == 403


def test_metrics_tell_what_is_kept_and_what_came_in_from_zero_on(fresh: Api) -> None:
    assert series(fresh, "exporter_retention_last_success_timestamp_seconds") == [0]
    assert series(fresh, "exporter_chore_last_success_timestamp_seconds", chore="verify") == [0]
    assert series(fresh, "concelier_documents_total", outcome="added") == [5]
    assert series(fresh, "concelier_documents_total", outcome="quarantined") == [0]
    assert series(fresh, "exporter_verify_failures_total", check="fetch", profile="mirror:full") == [0]
    assert series(fresh, "exporter_retention_pruned_total", profile="trivy:db") == [0]
    assert series(fresh, "exporter_storage_bytes_total", store="artefacts", profile="json:raw") == [0]
    (evidence,) = series(fresh, "exporter_storage_bytes_total", store="evidence")
    assert evidence > 50_000
    assert series(fresh, "exporter_storage_quota_bytes") == []


def test_the_client_says_what_stays_and_what_has_no_bound() -> None:
    told: list[Any] = []

    class Noting(Connection):
        def __init__(self) -> None:
            """Asks nobody."""

        def change(
            self,
            method: str,
            path: str,
            body: Any = None,
            query: Mapping[str, Any] | None = None,
            *,
            patience: float = 0,
        ) -> Any:
            del query, patience
            told.append((method, path, body))
            return {"items": []} if path.endswith("verifications") else {}

    connection = Noting()
    authority = RemoteAuthority(connection)
    authority.set_limits("acme", max_active_runs=None, max_queued_runs=None, max_storage=5)
    authority.set_limits("acme", max_active_runs=None, max_queued_runs=None, max_storage=-1)
    authority.set_limits("acme", max_active_runs=1, max_queued_runs=None)
    assert RemoteUpkeep(connection).verify("edge") == []
    bodies = [body for _, _, body in told]
    assert [body.get("maxStorageBytes", "stays") for body in bodies[:3]] == [5, None, "stays"]
    assert bodies[3] == {"target": "edge", "profile": None}
