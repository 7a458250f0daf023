"""The API on each database: what it keeps there works alike."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stellaops.api.frame.limits import Limits
from stellaops.api.frame.reading import sweep_incoming
from tests.support.api import Api, api
from tests.support.postgres import Server

_RUNS = "/api/export/runs"


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    if request.param == "sqlite":
        with api(tmp_path) as found:
            yield found
        return
    server: Server
    server, template = request.getfixturevalue("postgres_template")
    with server.database(template) as name, api(tmp_path, server.url(name)) as found:
        yield found


def test_submissions_pages_events_audit_and_metrics(anywhere: Api) -> None:
    anywhere.service.fill(3)
    keys = [{"idempotency-key": f"{number % 3}"} for number in range(6)]
    found = [anywhere.post(_RUNS, {"profile": "json:raw"}, headers=key) for key in keys]
    assert {each.status_code for each in found} == {202}
    runs = [each.json()["runId"] for each in found]
    assert runs[:3] == runs[3:]
    first = anywhere.get(f"{_RUNS}?limit=2").json()
    rest = anywhere.get(f"{_RUNS}?limit=2&cursor={first['next']}").json()
    assert sorted(each["runId"] for each in (*first["items"], *rest["items"])) == sorted(runs[:3])
    assert anywhere.get("/api/export/queue").json()["ready"] == {"default": 3}
    assert anywhere.post(f"{_RUNS}/{runs[0]}/cancel", {"reason": "no\x00 need"}).status_code == 200
    stream = anywhere.get(f"{_RUNS}/{runs[0]}/events").text
    assert [line for line in stream.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2"]
    actions = [each["action"] for each in anywhere.get("/api/export/audit").json()["items"]]
    assert actions == ["run.cancelled", "run.submitted", "run.submitted", "run.submitted"]
    metrics = anywhere.get("/metrics", tenants=("*",)).text
    assert 'exporter_jobs_ready{profile="json:raw",profile_kind="json:raw"} 2.0' in metrics
    assert anywhere.client.get("/readyz").json()["status"] == "ok"


def test_a_run_that_is_finished_here_is_handed_out(anywhere: Api) -> None:
    anywhere.service.fill(3)
    run = anywhere.finished_run()
    assert anywhere.get(f"{_RUNS}/{run.id}/manifest").json()["exportId"] == run.export_id
    assert anywhere.post(f"{_RUNS}/{run.id}/verify").json()["verdict"] == "ok"


def test_uploads_leave_nothing_behind_and_are_bounded(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    with api(tmp_path, limits=Limits(upload=1000, incoming=incoming, requests_per_minute=10**6)) as found:
        path = "/api/concelier/import?source=ghsa&name=x.json"
        told = {"content-type": "application/octet-stream"}
        assert found.ask("POST", path, content=b"{}", headers=told).status_code in (200, 400)
        for content in (b"x" * 1001, (b"x" * 100 for _ in range(11))):
            late = found.ask("POST", path, content=content, headers=told)
            assert (late.status_code, late.json()["code"]) == (413, "ERR_BODY_TOO_LARGE"), late.text
    assert list(incoming.iterdir()) == []


def test_uploads_of_dead_processes_are_swept(tmp_path: Path) -> None:
    for name, age in (("incoming-old", 2 * 86_400), ("incoming-new", 60), ("other", 2 * 86_400)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    sweep_incoming(tmp_path, time.time())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["incoming-new", "other"]


def test_an_upload_that_finds_no_room_says_so(tmp_path: Path, small_disk: object) -> None:
    assert callable(small_disk)
    disk: Path = small_disk(1 << 20)
    with api(tmp_path, limits=Limits(incoming=disk, requests_per_minute=10**6)) as found:
        path = "/api/concelier/import?source=ghsa&name=x.json"
        told = {"content-type": "application/octet-stream"}
        late = found.ask("POST", path, content=b"x" * (4 << 20), headers=told)
        assert (late.status_code, late.json()["code"]) == (507, "ERR_EXPORT_NO_ROOM")
