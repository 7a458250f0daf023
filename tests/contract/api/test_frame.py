"""What every operation shares: problem documents, limits, idempotency, audit, conditional answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stellaops.api.app import create_app
from stellaops.api.frame.limits import Limits
from stellaops.authority.audit import AuditFilter
from tests.contract.api.conftest import Filled
from tests.support.api import Api, api

_PROFILE = {
    "apiVersion": "stellaops.io/export.v1",
    "kind": "ExportProfile",
    "metadata": {"name": "nightly"},
    "spec": {"kind": "json", "variant": "raw"},
}
_PROFILES = "/api/export/profiles"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path, limits=Limits(requests_per_minute=30)) as found:
        yield found


def _profile(name: str) -> dict[str, Any]:
    return _PROFILE | {"metadata": {"name": name}}


def test_a_problem_says_what_why_and_what_to_do(filled: Filled) -> None:
    found = filled.api.get("/api/export/runs/run-nowhere")
    assert found.status_code == 404
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["cache-control"] == "no-store"
    problem = found.json()
    assert problem == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "tenant default has no run 'run-nowhere'",
        "code": "ERR_EXPORT_RUN_NOT_FOUND",
        "hint": "See `stella export run list`.",
        "details": [],
        "traceId": found.headers["x-trace-id"],
    }


def test_a_trace_goes_on_under_its_name(filled: Filled) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    told = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert filled.api.get("/api/export/runs", headers=told).headers["x-trace-id"] == trace
    other = filled.api.get("/api/export/runs", headers={"traceparent": "nonsense"}).headers["x-trace-id"]
    assert len(other) == 32
    assert other != trace


def test_all_that_is_wrong_with_a_profile_is_listed(filled: Filled) -> None:
    wrong = _PROFILE | {
        "metadata": {"name": "UPPER"},
        "spec": {"kind": "x", "variant": "y", "selectors": {"z": 1}},
    }
    found = filled.api.post(_PROFILES, wrong)
    assert (found.status_code, found.json()["code"]) == (400, "ERR_EXPORT_INVALID_PROFILE")
    assert len(found.json()["details"]) >= 3


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/export/nothing", 404, "ERR_ROUTE_NOT_FOUND"),
        ("GET", "/api/export/runs/", 404, "ERR_ROUTE_NOT_FOUND"),
        ("PUT", "/api/export/runs", 405, "ERR_METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/api/export/runs", 405, "ERR_METHOD_NOT_ALLOWED"),
        ("GET", "/api/export/runs?nothing=1", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?limit=0", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?limit=501", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?limit=1&limit=2", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?cursor=%21", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?cursor=W10", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs?status=dancing", 400, "ERR_INVALID_REQUEST"),
        ("GET", "/api/export/runs/%00", 400, "ERR_INVALID_REQUEST"),
    ],
)
def test_what_is_not_understood_is_said(
    filled: Filled, method: str, path: str, status: int, code: str
) -> None:
    found = filled.api.ask(method, path)
    assert (found.status_code, found.json()["code"]) == (status, code)
    assert ("allow" in found.headers) == (status == 405)


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"profile": 1}', "application/json", 400),
        (b'{"profile": "json:raw", "more": 1}', "application/json", 400),
        (b'{"profile": "\xff"}', "application/json", 400),
        (
            b'{"profile": "json:raw", "selectors": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}",
            "application/json",
            400,
        ),
        (b'{"profile": "json:raw", "selectors": {"a": ' + b"[" * 90_000, "application/json", 400),
        (b'{"profile": "json:raw"}', "text/plain", 415),
        (b'{"profile": "json:raw"}', "", 415),
        (b'{"profile": "' + b"x" * (1 << 20) + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_cannot_be_is_refused(filled: Filled, content: bytes, media: str, status: int) -> None:
    before = filled.api.get("/api/export/runs").json()
    found = filled.api.ask("POST", "/api/export/runs", content=content, headers={"content-type": media})
    assert found.status_code == status, found.text
    assert filled.api.get("/api/export/runs").json() == before


def test_a_body_without_a_length_is_bounded_too(filled: Filled) -> None:
    pieces = (b"x" * 65_536 for _ in range(40))
    found = filled.api.ask(
        "POST", "/api/export/runs", content=pieces, headers={"content-type": "application/json"}
    )
    assert found.status_code == 413


def test_brackets_in_texts_are_no_depth(filled: Filled) -> None:
    found = filled.api.post("/api/export/plan", {"profile": "json:raw", "selectors": {"ids": ["[{" * 500]}})
    assert found.status_code in (200, 400), found.text
    assert "nested" not in found.text


def test_more_header_fields_than_a_hundred_are_refused(filled: Filled) -> None:
    found = filled.api.get("/api/export/runs", headers={f"x-{number}": "1" for number in range(101)})
    assert (found.status_code, found.json()["code"]) == (431, "ERR_HEADERS_TOO_MANY")


def test_who_asks_too_often_waits(fresh: Api) -> None:
    answers = [fresh.get("/api/export/quotas") for _ in range(15)]
    late = [each for each in answers if each.status_code == 429]
    assert {each.status_code for each in answers[:3]} == {200}  # a tenth of a minute's at once
    assert late
    told = late[0].headers
    assert 1 <= int(told["retry-after"]) <= 2
    assert told["x-stella-quota-limit"] == "30"
    assert told["x-stella-quota-remaining"] == "0"
    assert fresh.get("/api/export/quotas", scopes=("export:read",)).status_code == 200  # another client
    guesses = [
        fresh.client.get("/api/export/quotas", headers={"authorization": "Bearer x"}) for _ in range(70)
    ]
    assert {each.status_code for each in guesses} == {401, 429}


def test_the_same_key_and_body_have_the_same_answer(filled: Filled) -> None:
    key = {"idempotency-key": "once"}
    first = filled.api.post(_PROFILES, _profile("once"), headers=key)
    again = filled.api.post(_PROFILES, _profile("once"), headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"] == "/api/export/profiles/once"
    assert again.headers["idempotency-replayed"] == "true"
    assert len(filled.api.local.profiles.history("default", "once")) == 1
    assert (
        filled.api.post(_PROFILES, _profile("once")).status_code == 409
    )  # without the key it is another request


def test_a_refusal_is_the_same_answer_too(filled: Filled) -> None:
    key = {"idempotency-key": "refused"}
    first = filled.api.post("/api/export/profiles/later/clone", {"name": "copy"}, headers=key)
    assert first.status_code == 404
    assert filled.api.post(_PROFILES, _profile("later")).status_code == 201
    again = filled.api.post("/api/export/profiles/later/clone", {"name": "copy"}, headers=key)
    assert (again.status_code, again.content) == (404, first.content)


def test_a_key_is_for_one_request(filled: Filled) -> None:
    key = {"idempotency-key": "taken"}
    assert filled.api.post(_PROFILES, _profile("taken"), headers=key).status_code == 201
    for path, body in (
        (_PROFILES, _profile("other")),
        ("/api/export/profiles/taken/clone", {"name": "other"}),
    ):
        found = filled.api.post(path, body, headers=key)
        assert (found.status_code, found.json()["code"]) == (409, "ERR_IDEMPOTENCY_CONFLICT")
    assert filled.api.get(f"{_PROFILES}/other").status_code == 404


def test_keys_of_others_are_others(filled: Filled) -> None:
    key = {"idempotency-key": "mine"}
    assert filled.api.post(_PROFILES, _profile("mine"), headers=key).status_code == 201
    theirs = filled.api.post(_PROFILES, _profile("theirs"), headers=key, tenants=("other",))
    assert theirs.status_code == 201
    assert "idempotency-replayed" not in theirs.headers


@pytest.mark.parametrize("key", ["", "x" * 256, "\t"])
def test_a_key_that_cannot_be_is_refused(filled: Filled, key: str) -> None:
    found = filled.api.post(_PROFILES, _profile("unkeyed"), headers={"idempotency-key": key})
    assert (found.status_code, found.json()["code"]) == (400, "ERR_INVALID_REQUEST")
    assert filled.api.get(f"{_PROFILES}/unkeyed").status_code == 404


def test_every_change_is_in_the_audit_log(filled: Filled) -> None:
    local = filled.api.local
    filled.api.post(_PROFILES, _profile("audited"))
    filled.api.ask("PATCH", f"{_PROFILES}/audited", json={"changeReason": "labels", "labels": {"team": "db"}})
    filled.api.ask("DELETE", f"{_PROFILES}/audited?dryRun=true")
    filled.api.ask("DELETE", f"{_PROFILES}/audited")
    records = local.audit.list(["default"], AuditFilter(target="profile/audited"))
    assert [each.change.action for each in records] == [
        "profile.deleted",
        "profile.changed",
        "profile.created",
    ]
    deleted, changed, created = (each.change for each in records)
    assert created.before is None
    assert created.after == changed.before
    assert changed.after == deleted.before
    assert deleted.after is None
    assert changed.reason == "labels"
    assert changed.details["tenants"] == ["default"]
    assert {each.outcome for each in records} == {"ok"}
    assert records[0].origin == "testclient"
    wire = filled.api.get("/api/export/audit?target=profile/audited&limit=2").json()
    assert [each["action"] for each in wire["items"]] == ["profile.deleted", "profile.changed"]
    rest = filled.api.get(f"/api/export/audit?target=profile/audited&limit=2&cursor={wire['next']}").json()
    assert [each["action"] for each in rest["items"]] == ["profile.created"]
    assert rest["next"] is None


def test_what_was_refused_is_no_change(filled: Filled) -> None:
    before = filled.api.local.audit.list(["default"])
    assert filled.api.post(_PROFILES, {"kind": "nonsense"}).status_code == 400
    assert filled.api.local.audit.list(["default"]) == before


def test_what_is_known_is_not_sent_again(filled: Filled) -> None:
    first = filled.api.get("/api/export/profiles/json:raw")
    again = filled.api.get("/api/export/profiles/json:raw", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (
        filled.api.get("/api/export/profiles/json:raw", headers={"if-none-match": '"x"'}).status_code == 200
    )


def test_head_is_get_without_the_body(filled: Filled) -> None:
    got, head = filled.api.get("/api/export/runs"), filled.api.ask("HEAD", "/api/export/runs")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["etag"] == got.headers["etag"]


def test_an_unexpected_error_tells_nothing_of_the_inside(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("/very/secret/path")

    monkeypatch.setattr(type(filled.api.local.runs), "list", broken)
    found = filled.api.get("/api/export/runs")
    assert (found.status_code, found.json()["code"]) == (500, "ERR_INTERNAL")
    assert "secret" not in found.text


def test_metrics_are_for_who_is_near_and_for_operators(filled: Filled) -> None:
    assert filled.api.client.get("/metrics").status_code == 401  # the test's address is not a near one
    assert filled.api.get("/metrics").status_code == 403
    found = filled.api.get("/metrics", tenants=("*",))
    assert found.status_code == 200
    assert json.dumps("trivy:db") in found.text


def test_an_allowance_holds_for_all_processes_and_looks_at_one_process_are_not_among_it(fresh: Api) -> None:
    token = {"authorization": f"Bearer {fresh.token()}"}
    processes = [TestClient(create_app(fresh.local, fresh.limits)) for _ in range(3)]
    found = [each.get("/api/export/runs", headers=token).status_code for each in processes * 3]
    assert found[:3] == [200] * 3, "a tenth of 30 may come at once"
    assert found.count(429) >= 5, "one may have come back meanwhile"
    refused = processes[0].get("/api/export/runs", headers=token)
    assert refused.json()["code"] == "ERR_REQUEST_RATE"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert processes[0].get("/healthz").status_code == 200
