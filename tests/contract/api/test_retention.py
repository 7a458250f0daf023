"""Retention over the API: what stays and why, a pass, pins and legal holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stellaops.bootstrap import now
from tests.contract.api.conftest import Filled
from tests.support.api import OTHER

_READER = ("export:read",)
_RUNNER = ("export:read", "export:run")
_PATH = "/api/export/retention"


def aged(filled: Filled, tenant: str = "default") -> tuple[str, str]:
    """Two finished runs of a profile of their own, the first of which is over: ids."""
    name = f"aged-{now():%H%M%S%f}"
    filled.api.service.profile(name, tenant)
    old = filled.api.finished_run(name, tenant)
    assert old.finished_at is not None
    filled.api.local.runs.change(replace(old, finished_at=old.finished_at - timedelta(days=40)))
    filled.api.service.fill(1, name)
    new = filled.api.finished_run(name, tenant)
    assert old.archive != new.archive
    return old.id, new.id


def test_a_pass_tells_beforehand_what_it_does_then_does_it(filled: Filled) -> None:
    old, new = aged(filled)
    shown = filled.api.get(_PATH, scopes=_READER).json()
    whys = {each["runId"]: each["why"] for each in shown["goes"]}
    assert whys[old] == "40 days old; kept for 30 days"
    assert new in {each["runId"] for each in shown["stays"]}
    foretold = filled.api.post(_PATH, {"dryRun": True}, scopes=_RUNNER).json()
    assert (foretold["dryRun"], old in {each["runId"] for each in foretold["expired"]}) == (True, True)
    assert filled.api.get(f"/api/export/runs/{old}").json()["status"] == "succeeded"
    done = filled.api.post(_PATH, scopes=_RUNNER)
    assert done.status_code == 200, done.text
    assert done.json()["ok"]
    after = filled.api.get(f"/api/export/runs/{old}").json()
    assert (after["status"], after["expired"]) == ("expired", whys[old])
    assert after["removedAt"]
    assert filled.api.get(f"/api/export/runs/{old}/artifacts/export.json").status_code == 410
    last = filled.api.get(_PATH).json()["last"]
    assert last["report"]["archives"] == len(done.json()["archives"])


def test_a_pass_is_for_the_callers_tenant_unless_an_operator_says_every(filled: Filled) -> None:
    foreign, _ = aged(filled, OTHER)
    refused = filled.api.post(_PATH, {"everyTenant": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "ERR_OPERATOR_ONLY")
    assert filled.api.post(_PATH).json()["ok"]
    kept = filled.api.local.runs.get(OTHER, foreign)
    assert kept is not None
    assert kept.expired is None
    assert filled.api.post(_PATH, {"everyTenant": True}, tenants=("*",)).json()["ok"]
    gone = filled.api.local.runs.get(OTHER, foreign)
    assert gone is not None
    assert gone.expired is not None


def test_a_pinned_run_stays_and_cannot_be_deleted(filled: Filled) -> None:
    old, _ = aged(filled)
    path = f"/api/export/runs/{old}"
    pinned = filled.api.post(f"{path}/pin", {"reason": "under review"}, scopes=_RUNNER).json()
    assert (pinned["runId"], pinned["kind"], pinned["reason"]) == (old, "pin", "under review")
    filled.api.post(_PATH)
    assert filled.api.get(path).json()["status"] == "succeeded"
    refused = filled.api.ask("DELETE", path)
    assert (refused.status_code, refused.json()["code"]) == (409, "ERR_EXPORT_RUN_KEPT")
    assert filled.api.post(f"{path}/unpin", {"reason": "done"}, scopes=_RUNNER).status_code == 200
    assert filled.api.ask("DELETE", path).status_code == 200
    told = [each["action"] for each in filled.api.get("/api/export/audit").json()["items"]]
    assert {"run.pinned", "run.unpinned", "retention.run"} <= set(told)


def test_legal_holds_are_for_those_who_manage_profiles(filled: Filled) -> None:
    old, _ = aged(filled)
    path = f"/api/export/runs/{old}"
    body = {"reason": "case 12", "legalHold": True}
    for verb in ("pin", "unpin"):
        refused = filled.api.post(f"{path}/{verb}", body, scopes=_RUNNER)
        assert (refused.status_code, refused.json()["code"]) == (403, "ERR_SCOPE_MISSING")
    assert filled.api.post(f"{path}/pin", body).json()["kind"] == "hold"
    assert filled.api.post(f"{path}/unpin", {"reason": "x"}).json()["code"] == "ERR_EXPORT_PIN_NOT_FOUND"
    assert filled.api.post(f"{path}/unpin", body).json()["kind"] == "hold"
