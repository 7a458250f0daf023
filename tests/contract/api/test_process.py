"""The service as real processes: streams across restarts, one run for many equal requests, a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3

from stellaops.api.server import listen
from stellaops.exports.run import RunStatus
from tests.support.api import Api, ApiProcess, free_port, serving
from tests.support.workers import TENANT, Service, wait_for
from tests.unit.cli.running import Stella


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Api]:
    """A data directory with evidence, for processes to work on."""
    with closing(Service(tmp_path)) as service:
        service.fill(5)
        yield Api(service)


class _Caller:
    """Asks a process."""

    def __init__(self, found: ApiProcess, token: str) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=20)
        self._url, self._token = found.url, token

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> urllib3.BaseHTTPResponse:
        told = {"authorization": f"Bearer {self._token}"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._pool.request(method, self._url + path, json=body, headers=told)

    def json(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        return self.ask(method, path, body, **headers).json()

    def stream(self, path: str, last: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they come."""
        told = {"authorization": f"Bearer {self._token}", "last-event-id": str(last)}
        response = self._pool.request("GET", self._url + path, headers=told, preload_content=False)
        fields: dict[str, str] = {}
        with closing(response):
            for line in _lines(response):
                if not line and "data" in fields:
                    yield {"id": int(fields["id"]), "data": json.loads(fields["data"])}
                    fields = {}
                name, colon, value = line.partition(": ")
                if name and colon:
                    fields[name] = value


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    rest = b""
    try:
        for piece in response.stream(None):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in whole)
    except urllib3.exceptions.ProtocolError:  # the process ended in the middle of the stream
        return


def test_a_stream_goes_on_exactly_where_it_was_when_the_process_is_killed(served: Api) -> None:
    token, runs = served.token(), served.local.runs
    run = served.local.runs.get(
        TENANT, served.post("/api/export/runs", {"profile": "json:raw"}).json()["runId"]
    )
    assert run is not None
    port, seen = free_port(), list[int]()
    path = f"/api/export/runs/{run.id}/events"
    for number in range(2):
        with serving(served.service, "api", port=port) as process:
            stream = _Caller(process, token).stream(path, seen[-1] if seen else 0)
            for _ in range(4):
                run = runs.change(run, [_event(f"{number}")])
            wanted = run.events
            while not seen or seen[-1] < wanted:
                seen.append(next(stream)["id"])
            process.process.kill()
            assert list(stream) == []
    assert seen == list(range(1, run.events + 1))


def _event(step: str) -> Any:
    from stellaops.bootstrap import now  # noqa: PLC0415
    from stellaops.exports.events import Event, EventType  # noqa: PLC0415

    return Event(EventType.PROGRESS, now(), {"step": step})


def test_equal_requests_at_once_make_one_run(served: Api) -> None:
    token = served.token()
    with serving(served.service) as first, serving(served.service) as second:
        callers = [_Caller(first, token), _Caller(second, token)]

        def submit(number: int) -> int:
            body = {"profile": "json:raw"}
            while True:
                found = callers[number % 2].ask("POST", "/api/export/runs", body, idempotency_key="one")
                if found.status != 409:
                    return found.status
                assert found.json()["code"] == "ERR_IDEMPOTENCY_IN_PROGRESS"
                time.sleep(0.05)

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(submit, range(24))) == {202}
        assert len(callers[0].json("GET", "/api/export/runs")["items"]) == 1


def test_a_process_that_is_asked_to_end_does_so_with_streams_open(served: Api) -> None:
    token = served.token()
    with serving(served.service) as process:
        caller = _Caller(process, token)
        run = caller.json("POST", "/api/export/runs", {"profile": "json:raw"})["runId"]
        streams = [caller.stream(f"/api/export/runs/{run}/events") for _ in range(10)]
        assert {next(stream)["id"] for stream in streams} == {1}
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 5
        assert [list(stream) for stream in streams] == [[]] * 10
        assert "Traceback" not in process.log.read_text()


def test_every_line_of_the_log_is_json_and_holds_no_secret(served: Api) -> None:
    token = served.token()
    with serving(served.service) as process:
        caller = _Caller(process, token)
        trace = caller.ask("GET", "/api/export/runs/run-nowhere?x=1").headers["x-trace-id"]
        run = caller.json("POST", "/api/export/runs", {"profile": "json:raw"})["runId"]
        process.stop()
        lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    refused = next(line for line in lines if line.get("traceId") == trace)
    assert (refused["event"], refused["status"], refused["errorCode"]) == (
        "http.request",
        400,
        "ERR_INVALID_REQUEST",
    )
    assert (refused["tenant"], refused["operation"]) == (TENANT, "getRun")
    (submitted,) = (line for line in lines if line.get("event") == "run.submitted")
    assert submitted["runId"] == run
    assert (submitted["tenant"], submitted["profile"]) == (TENANT, "json:raw")
    assert token not in process.log.read_text()
    assert token.rpartition(".")[2] not in process.log.read_text()


_NO_REQUESTS = {
    b"NONSENSE\r\n\r\n": b"400",
    b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n": b"400",
    b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (1 << 17) + b"\r\n\r\n": b"400",
    b"POST /api/export/runs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n": b"40",
}


def test_what_is_no_request_ends_the_connection_and_nothing_else(served: Api) -> None:
    with serving(served.service) as process:
        port = int(process.url.rpartition(":")[2])
        for data, status in _NO_REQUESTS.items():
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(data)
                assert connection.recv(100).startswith(b"HTTP/1.1 " + status), data[:60]
        assert _Caller(process, "").ask("GET", "/healthz").status == 200


def test_the_whole_service_runs_an_export_and_ends_as_a_whole(served: Api) -> None:
    token = served.token()
    with serving(served.service, "all", "--workers", "2") as process:
        caller = _Caller(process, token)
        accepted = caller.ask("POST", "/api/export/runs", {"profile": "json:raw"})
        assert accepted.status == 202
        path = accepted.headers["location"]
        events = list(caller.stream(f"{path}/events"))
        run = caller.json("GET", path)
        assert (run["status"], events[-1]["data"]["type"]) == ("succeeded", "run.succeeded")
        assert [each["id"] for each in events] == list(range(1, len(events) + 1))
        assert caller.ask("GET", f"{path}/manifest").status == 200
        assert caller.json("POST", f"{path}/verify")["verdict"] == "ok"
        kind = '{profile="json:raw",profile_kind="json:raw"}'
        metrics = caller.ask("GET", "/metrics").data.decode()
        assert f"exporter_run_duration_seconds_count{kind} 1.0" in metrics
        parts = _children(process.process.pid)
        assert len(parts) >= 3
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 20
        assert not any(map(_is_alive, parts))
        told = process.log.read_text()
    assert f"StellaOps is ready at {process.url}" in told


def test_a_part_that_dies_is_begun_again_and_none_outlives_the_whole(served: Api) -> None:
    with serving(served.service, "all", "--workers", "1") as process:
        before = _children(process.process.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(set(_children(process.process.pid)) - set(before)) == 1, 30)
        assert _Caller(process, "").ask("GET", "/healthz").status == 200
        parts = _children(process.process.pid)
        process.process.kill()
        process.process.wait(10)
        wait_for(lambda: not any(map(_is_alive, parts)), 30)


def test_small_answers_do_not_wait_for_the_caller() -> None:
    """Without the protocol's name asyncio leaves Nagle's algorithm on: 40 ms for every answer in two pieces."""
    with listen("127.0.0.1", 0) as found:
        assert found.proto == socket.IPPROTO_TCP
        with socket.socket(fileno=os.dup(found.fileno())) as inherited:
            assert inherited.proto == socket.IPPROTO_TCP


def test_an_address_that_is_taken_is_said(served: Api) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # whoever asks there is refused at once
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match="ERR_ADDRESS_UNAVAILABLE"), _serving_at(served, port):
            pass


def _serving_at(served: Api, port: int) -> Any:
    return serving(served.service, "all", port=port)


def _children(pid: int) -> list[int]:
    """The processes that a process has begun and that are alive."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split() if _is_alive(int(each))]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_metrics_begin_at_zero_and_stay_over_restarts(served: Api) -> None:
    served.token()
    labels = 'error_code="verify",profile="trivy:db",profile_kind="trivy:db",tenant="default"'
    wanted = f"exporter_run_failures_total{{{labels}}}"
    done = 'exporter_run_bytes_total{profile="json:raw",profile_kind="json:raw"}'
    with serving(served.service) as process:
        text = _Caller(process, "").ask("GET", "/metrics").data.decode()
        assert f"{wanted} 0.0" in text
        assert f"{done} 0.0" in text
        assert 'exporter_jobs_ready{profile="json:raw",profile_kind="json:raw"} 0.0' in text
        assert "exporter_worker_concurrency 0.0" in text
    run = served.finished_run()
    assert run.status is RunStatus.SUCCEEDED
    with serving(served.service) as process:
        text = _Caller(process, "").ask("GET", "/metrics").data.decode()
        assert f"{done} {float(run.bytes)}" in text
        kept = 'profile="json:raw",profile_kind="json:raw",store="artefacts",tenant="default"'
        assert f"exporter_storage_bytes_total{{{kept}}} {float(run.bytes)}" in text


def test_tokens_and_links_made_over_the_network_open_downloads_and_stand_in_no_log(served: Api) -> None:
    run = served.finished_run()
    with serving(served.service) as process:
        asking = Stella(served.service.place / "unused", ("--server", process.url))
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("STELLA_TOKEN", served.token())
            patched.setenv("STELLA_CONFIG", str(served.service.place / "none.yaml"))
            made = asking("export", "token", "create", "--profile", run.profile, "--expires", "1d")
            rotated = asking("export", "token", "rotate", made["tokenId"], "--overlap", "1h")
            (link,) = asking("export", "link", "latest", "export.json", "--expires", "30m")["links"]
            pool = urllib3.PoolManager()
            for token in (made["downloadToken"], rotated["downloadToken"]):
                reply = _Caller(process, token).ask("GET", f"/api/export/runs/{run.id}/manifest")
                assert reply.status == 200
                assert pool.request("GET", link["url"]).data == reply.data
                patched.setenv("STELLA_TOKEN", token)
                back = served.service.place / f"back-{token[-4:]}"
                asking("export", "download", f"latest:{run.profile}", "--to", str(back))
                assert (back / "export.json").read_bytes() == reply.data
            patched.setenv("STELLA_TOKEN", served.token())
            (listed,) = asking("export", "token", "list")
            assert [each["usedAt"] is not None for each in listed["secrets"]] == [True, True]
            asking("export", "token", "revoke", made["tokenId"], "--reason", "enough")
        log = process.log.read_text()
    assert "/artifacts/export.json" in log
    for secret in (made["downloadToken"], rotated["downloadToken"], link["url"]):
        assert re.split(r"signature=|\.", secret)[-1] not in log
