"""Runs and profiles over the API: submit, page, cancel, approve, replay, delete, clone, change."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellaops.authority.audit import AuditFilter
from stellaops.bootstrap import now
from stellaops.exports.events import Event, EventType
from stellaops.exports.run import Run, RunStatus
from tests.contract.api.conftest import Filled
from tests.support.api import Api, api
from tests.support.workers import TENANT

_RUNS = "/api/export/runs"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Api]:
    """An API of its own, with evidence and no workers."""
    with api(tmp_path) as found:
        found.service.fill(5)
        yield found


def _submit(asked: Api, **more: Any) -> Any:
    return asked.post(_RUNS, {"profile": "json:raw"} | more.pop("body", {}), **more)


def test_a_run_that_is_asked_for_waits_in_the_queue(fresh: Api) -> None:
    found = _submit(fresh, body={"selectors": {"ecosystems": ["PyPI"]}, "priority": "catch-up"})
    assert found.status_code == 202
    run = found.json()
    assert found.headers["location"] == f"{_RUNS}/{run['runId']}"
    assert fresh.get(found.headers["location"]).json() == run
    assert (run["status"], run["priority"], run["selectors"]) == (
        "pending",
        "catch-up",
        {"ecosystems": ["PyPI"]},
    )
    assert fresh.get("/api/export/queue").json() == {"paused": False, "ready": {TENANT: 1}, "running": {}}
    assert fresh.get("/api/export/quotas").json()["pending"] == 1
    (record,) = fresh.local.audit.list([TENANT], AuditFilter(action="run.submitted"))
    assert record.change.target == f"run/{run['runId']}"
    assert record.change.details["profile"] == "json:raw"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"profile": "nothing"}, 404, "ERR_EXPORT_PROFILE_NOT_FOUND"),
        ({"selectors": {"colour": "red"}}, 400, "ERR_EXPORT_INVALID_SELECTOR"),
        ({"selectors": {"tenants": ["other"]}}, 400, "ERR_EXPORT_INVALID_SELECTOR"),
        ({"snapshot": 10**9}, 400, "ERR_EXPORT_SNAPSHOT_UNKNOWN"),
        ({"snapshot": -1}, 400, "ERR_INVALID_REQUEST"),
        ({"priority": "now"}, 400, "ERR_INVALID_REQUEST"),
        ({"policySnapshot": "latest"}, 400, "ERR_EXPORT_POLICY_NOT_APPLIED"),
    ],
)
def test_a_run_that_cannot_be_is_refused_at_once(
    fresh: Api, body: dict[str, Any], status: int, code: str
) -> None:
    found = _submit(fresh, body=body)
    assert (found.status_code, found.json()["code"]) == (status, code)
    assert fresh.get(_RUNS).json()["items"] == []


def test_a_full_queue_says_when_to_come_again(fresh: Api) -> None:
    tenant = fresh.local.tenants.get(TENANT)
    assert tenant is not None
    fresh.local.tenants.change(replace(tenant, max_queued_runs=2))
    assert [_submit(fresh).status_code for _ in range(3)] == [202, 202, 429]
    found = _submit(fresh, headers={"idempotency-key": "later"})
    assert found.json()["code"] == "ERR_EXPORT_QUOTA"
    assert int(found.headers["retry-after"]) > 0
    assert found.headers["x-stella-quota-limit"] == "2"
    assert found.headers["x-stella-quota-remaining"] == "0"
    newest = fresh.get(_RUNS).json()["items"][0]["runId"]
    assert fresh.post(f"{_RUNS}/{newest}/cancel").status_code == 200
    # Over quota is no answer to keep: the same request with the same key is worth another attempt.
    assert _submit(fresh, headers={"idempotency-key": "later"}).status_code == 202


def test_a_closed_tenant_submits_nothing(fresh: Api) -> None:
    tenant = fresh.local.tenants.get(TENANT)
    assert tenant is not None
    fresh.local.tenants.change(replace(tenant, max_active_runs=0))
    found = _submit(fresh)
    assert (found.status_code, found.json()["code"]) == (429, "ERR_EXPORT_QUOTA")
    assert found.headers["x-stella-quota-limit"] == "0"


def test_a_submission_that_died_halfway_is_made_once(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the record and the answer; the caller sends the request again."""
    from stellaops.adapters.sql import idempotency  # noqa: PLC0415

    monkeypatch.setattr(idempotency.SqlIdempotency, "finish", _die)
    assert _submit(fresh, headers={"idempotency-key": "k"}).status_code == 500
    monkeypatch.undo()
    assert _submit(fresh, headers={"idempotency-key": "k"}).status_code == 409  # its lease is not over
    monkeypatch.setattr(idempotency, "LEASE", idempotency.LEASE * 0)
    _age_leases(fresh)
    again = _submit(fresh, headers={"idempotency-key": "k"})
    assert again.status_code == 202
    assert [each["runId"] for each in fresh.get(_RUNS).json()["items"]] == [again.json()["runId"]]


def _die(*_: object) -> None:
    raise RuntimeError("as good as dead")


def _age_leases(asked: Api) -> None:
    from sqlalchemy import update  # noqa: PLC0415

    from stellaops.adapters.sql.engine import writing  # noqa: PLC0415
    from stellaops.adapters.sql.idempotency_schema import kept_answer  # noqa: PLC0415

    with writing(asked.local.service_engine) as connection:
        connection.execute(update(kept_answer).values(leased_until=0))


def test_pages_hold_every_run_once_while_more_come(fresh: Api) -> None:
    first = [_submit(fresh).json()["runId"] for _ in range(7)]
    seen: list[str] = []
    path = f"{_RUNS}?limit=3"
    while True:
        page = fresh.get(path).json()
        seen += [each["runId"] for each in page["items"]]
        _submit(fresh)  # newer ones stand before what was seen, and shift nothing
        if page["next"] is None:
            break
        path = f"{_RUNS}?limit=3&cursor={page['next']}"
    assert seen == first[::-1]


def test_a_page_goes_on_where_it_was_though_its_last_run_is_gone(fresh: Api) -> None:
    runs = [_submit(fresh).json()["runId"] for _ in range(4)][::-1]
    page = fresh.get(f"{_RUNS}?limit=2").json()
    fresh.post(f"{_RUNS}/{runs[1]}/cancel")
    assert fresh.ask("DELETE", f"{_RUNS}/{runs[1]}").status_code == 200
    rest = fresh.get(f"{_RUNS}?limit=2&cursor={page['next']}").json()
    assert [each["runId"] for each in rest["items"]] == runs[2:]


def test_runs_are_found_by_profile_and_state(filled: Filled) -> None:
    both = filled.api.get(f"{_RUNS}?profile=json:raw&status=succeeded").json()["items"]
    assert [each["runId"] for each in both] == [filled.run.id]
    assert filled.api.get(f"{_RUNS}?status=failed").json()["items"] == []
    assert filled.api.get(f"{_RUNS}/latest").json()["runId"] == filled.run.id
    assert filled.api.get(f"{_RUNS}/latest:json:raw").json()["runId"] == filled.run.id
    assert filled.api.get(f"{_RUNS}/latest:trivy:db").status_code == 404


def test_a_run_is_cancelled_once(fresh: Api) -> None:
    run = _submit(fresh).json()["runId"]
    first = fresh.post(f"{_RUNS}/{run}/cancel", {"reason": "not needed"})
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert fresh.post(f"{_RUNS}/{run}/cancel").json() == first.json()
    (record,) = fresh.local.audit.list([TENANT], AuditFilter(action="run.cancelled"))
    assert (record.change.reason, record.change.before == record.change.after) == ("not needed", False)


def test_what_has_succeeded_is_not_cancelled(filled: Filled) -> None:
    found = filled.api.post(f"{_RUNS}/{filled.run.id}/cancel")
    assert (found.status_code, found.json()["code"]) == (409, "ERR_EXPORT_RUN_STATE")


def _held(asked: Api) -> Run:
    run = asked.local.runs.get(TENANT, _submit(asked).json()["runId"])
    assert run is not None
    held = replace(run, status=RunStatus.HELD, held=("half of ghsa is gone",))
    return asked.local.runs.change(held, [Event(EventType.HELD, now(), {})])


def test_a_held_run_goes_on_with_a_reason(fresh: Api, caplog: pytest.LogCaptureFixture) -> None:
    run = _held(fresh)
    caplog.set_level(logging.INFO)
    assert fresh.post(f"{_RUNS}/{run.id}/approve").status_code == 400
    assert fresh.post(f"{_RUNS}/{run.id}/approve", {"reason": "  "}).status_code == 400
    found = fresh.post(f"{_RUNS}/{run.id}/approve", {"reason": "upstream pruned"})
    assert (found.status_code, found.json()["status"]) == (200, "pending")
    assert found.json()["approvedBy"]
    (record,) = fresh.local.audit.list([TENANT], AuditFilter(action="run.approved"))
    assert record.change.reason == "upstream pruned"
    assert record.change.details["held"] == ["half of ghsa is gone"]
    (line,) = [vars(each) for each in caplog.records if getattr(each, "event", "") == "run.approved"]
    assert (line["runId"], line["profile"], line["tenant"]) == (run.id, run.profile, TENANT)


def test_a_replay_has_the_selectors_and_the_snapshot_of_its_origin(filled: Filled) -> None:
    found = filled.api.post(f"{_RUNS}/{filled.run.id}/replay")
    assert found.status_code == 202
    replayed = found.json()
    assert replayed["replayOf"] == filled.run.id
    stored = filled.api.local.runs.get(TENANT, replayed["runId"])
    assert stored is not None
    assert stored.asked.sequence == filled.run.sequence
    filled.api.post(f"{_RUNS}/{replayed['runId']}/cancel")


def test_a_run_is_deleted_with_its_bundle(filled: Filled) -> None:
    run = filled.api.finished_run("trivy:db")
    path = f"{_RUNS}/{run.id}"
    dry = filled.api.ask("DELETE", f"{path}?dryRun=true").json()
    assert dry == {
        "runId": run.id,
        "removed": [f"run {run.id}", f"bundle {run.export_id}/{run.archive_id}"],
        "dryRun": True,
    }
    assert filled.api.get(path).status_code == 200
    assert filled.api.ask("DELETE", path).json() == dry | {"dryRun": False}
    assert filled.api.get(path).status_code == 404
    assert run.archive is not None
    assert not filled.api.local.artefacts.exists(run.archive)


def test_a_profile_is_patched_into_its_next_revision(filled: Filled) -> None:
    path = "/api/export/profiles/patched"
    assert filled.api.post("/api/export/profiles/json:raw/clone", {"name": "patched"}).status_code == 201
    assert filled.api.ask("PATCH", path, json={"spec": {}}).status_code == 400  # no reason
    selectors = {"ecosystems": ["PyPI"], "severityAtLeast": "high"}
    change = {"changeReason": "less", "spec": {"selectors": selectors}}
    found = filled.api.ask("PATCH", path, json=change)
    assert found.status_code == 200, found.text
    assert found.json()["metadata"]["revision"] == "r2"
    assert found.json()["spec"]["selectors"] == selectors
    change = {"changeReason": "more", "spec": {"selectors": {"severityAtLeast": None}}}
    assert filled.api.ask("PATCH", path, json=change).json()["spec"]["selectors"] == {"ecosystems": ["PyPI"]}
    whole = filled.api.get(path).json()
    whole["spec"].pop("selectors")
    found = filled.api.ask("PATCH", path, json={"changeReason": "all", "profile": whole})
    assert "selectors" not in found.json()["spec"]
    history = filled.api.get(f"{path}/history").json()["items"]
    assert [(each["revision"], each["reason"]) for each in history] == [
        ("r1", "cloned from json:raw"), ("r2", "less"), ("r3", "more"), ("r4", "all"),
    ]  # fmt: skip
    renamed = whole | {"metadata": {"name": "json:raw"}}
    assert filled.api.ask("PATCH", path, json={"changeReason": "x", "profile": renamed}).status_code == 400


def test_built_in_profiles_stay(filled: Filled) -> None:
    path = "/api/export/profiles/json:raw"
    assert filled.api.ask("PATCH", path, json={"changeReason": "x", "labels": {"a": "b"}}).status_code == 400
    assert filled.api.ask("DELETE", path).status_code == 400


def test_a_plan_says_what_a_run_would_be_cut_from(filled: Filled) -> None:
    found = filled.api.post("/api/export/plan", {"profile": "json:raw"})
    assert found.status_code == 200
    assert (found.json()["records"], found.json()["snapshot"]["digest"]) == (20, filled.run.snapshot)
    empty = filled.api.post("/api/export/plan", {"profile": "json:raw", "selectors": {"ids": ["none"]}})
    assert (empty.status_code, empty.json()["code"]) == (400, "ERR_EXPORT_EMPTY")


def test_equal_runs_do_not_differ(filled: Filled) -> None:
    run = filled.run.id
    assert filled.api.get(f"/api/export/diff?old={run}&new={run}").json()["changes"] == []
    assert filled.api.get(f"/api/export/diff?old={run}&new={filled.foreign.id}").status_code == 404


def test_the_queue_is_paused_by_operators_alone(filled: Filled) -> None:
    refused = filled.api.post("/api/export/queue/pause")
    assert (refused.status_code, refused.json()["code"]) == (403, "ERR_OPERATOR_ONLY")
    assert filled.api.post("/api/export/queue/pause", tenants=("*",)).json()["paused"] is True
    assert filled.api.get("/api/export/queue").json()["paused"] is True
    assert filled.api.post("/api/export/queue/resume", tenants=("*",)).json()["paused"] is False
    assert filled.api.post("/api/export/queue/resume", tenants=("*",)).json()["paused"] is False
    operators = filled.api.local.audit.list(None, AuditFilter(target="queue"))
    assert [each.change.action for each in operators] == ["queue.resumed", "queue.paused"]


def test_targets_are_the_store_of_artefacts(filled: Filled) -> None:
    (target,) = filled.api.get("/api/export/targets").json()["items"]
    assert (target["name"], target["driver"], target["problem"]) == ("http", "http", None)
    latest = {each["profile"]: each["runId"] for each in target["latest"]}
    newest = filled.api.get(f"{_RUNS}/{latest[filled.run.profile]}").json()
    assert (newest["status"], newest["profile"]) == ("succeeded", filled.run.profile)
    assert filled.foreign.profile not in latest
    assert filled.api.post("/api/export/targets/http/test").json()["status"] == "ok"
    assert filled.api.post("/api/export/targets/moon/test").status_code == 404
    done = filled.api.post(f"{_RUNS}/{filled.run.id}/distribute", {"target": "http"})
    (told,) = done.json()["targets"]
    assert (told["target"], told["status"], told["required"], told["error"]) == (
        "http",
        "succeeded",
        False,
        None,
    )
    assert filled.api.post(f"{_RUNS}/{filled.run.id}/distribute", {"target": "moon"}).status_code == 404


def test_keys_are_public_and_private_to_their_tenant(filled: Filled) -> None:
    (key,) = filled.api.get("/api/export/keys").json()["items"]
    assert "PRIVATE" not in key["publicKey"]
    pem = filled.api.client.get(f"/tenants/{TENANT}/export-center.pub")
    assert pem.status_code == 200
    assert pem.text == key["publicKey"]
    assert filled.api.client.get("/tenants/nobody/export-center.pub").status_code == 404
    assert filled.api.client.get("/tenants/..%2F..%2Fkeys/export-center.pub").status_code == 404
