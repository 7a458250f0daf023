"""How fast the API is, beside a bare framework endpoint on the same machine in the same run.

    python -m benchmarks.api [--seconds 4] [--connections 16] [--watchers 200] [--runs 3] [--format json]

* `reads`: `GET /api/export/runs?limit=20` with a token, 20 runs; a run by its id; `/healthz`. Beside them a bare
  Starlette route that gives the same bytes from memory, without a token, a database or a log.
* `submissions`: `POST /api/export/runs` with an Idempotency-Key each, one after another on 4 connections.
* `download`: one file of 100 MB, whole; beside it Starlette's own `FileResponse`, as it comes and in pieces of 1 MiB.
* `watchers`: streams of events of one run; seconds from the write to the last watcher's last byte, and what the server
  worked in that time.

Callers and server share the machine: figures of both sides would be higher with callers elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import machine
from stellaops.adapters.settings import load as settings
from stellaops.authority.access import SCOPES
from stellaops.authority.actors import OPERATOR
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.exports.events import Event, EventType
from stellaops.exports.run import Archive, Artifact, Run, RunStatus

_TENANT = "default"
_BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route
port, body, file = int(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]
class Pieces(FileResponse):
    chunk_size = 1 << 20
async def read(request): return Response(body, media_type="application/json")
async def plain(request): return FileResponse(file)
async def pieces(request): return Pieces(file)
app = Starlette(routes=[Route("/read", read), Route("/file", plain), Route("/pieces", pieces)])
uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
"""


class Place:
    """A data directory with 20 runs, one of them with a large file, and a token."""

    def __init__(self, root: Path, size: int = 100_000_000) -> None:
        self._size = size
        self.variables = {
            "STELLA_DATA_DIR": str(root / "data"),
            "STELLA_CONFIG": str(root / "none.yaml"),
            "STELLA_API_REQUESTS_PER_MINUTE": "1000000000",
            "STELLA_LOG_LEVEL": "warning",
        }
        self.local = Local(settings.load({}, self.variables))
        self.local.tenants.change(Tenant(_TENANT, max_queued_runs=100_000))
        tools = ClientTools(self.local.clients, self.local.tenants)
        made = create_client(tools, OPERATOR, Wanted(tenants=(_TENANT,), scopes=tuple(SCOPES)), now=now())
        self.token = self.local.issuer.issue(made.client.id, [made.secret or ""]).token
        self.large = self._large(root / "large")
        self.runs = [self._run(number) for number in range(20)]
        self.watched = self.local.runs.add(self._record(RunStatus.RUNNING), [_event()])

    def _large(self, root: Path) -> Archive:
        archive = Archive("e" * 26, "a" * 26)
        root.mkdir()
        with (root / "data.bin").open("wb") as file:
            for _ in range(self._size // 100_000):
                file.write(os.urandom(100_000))
        self.local.artefacts.put(archive, root)
        return archive

    def _record(self, status: RunStatus) -> Run:
        sources = [f"source-{number}" for number in range(8)]
        return Run(
            new_run_id(), _TENANT, "json:raw", "r0", "json:raw", {"sources": sources}, status, now(),
            snapshot="0" * 64, export_id=self.large.export_id, archive_id=self.large.archive_id, attempt=1,
            artifacts=(Artifact("data.bin", "data.bin", f"sha256:{'0' * 64}", self._size),),
            durations={"plan": 0.1, "build": 2.5}, submitted_by="bench",
        )  # fmt: skip

    def _run(self, number: int) -> Run:
        return self.local.runs.add(self._record(RunStatus.SUCCEEDED), [_event()])


def _event() -> Event:
    return Event(EventType.PROGRESS, now(), {"step": "build"})


@contextmanager
def _serving(arguments: list[str], port: int, variables: dict[str, str]) -> Iterator[int]:
    """A server process on a port, until it answers; its pid."""
    process = subprocess.Popen(
        [sys.executable, *arguments], env=os.environ | variables, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _demand(holds: bool, what: object) -> None:
    if not holds:
        raise RuntimeError(str(what))


class _Asker(asyncio.Protocol):
    """Asks the same again and again on one connection, as long as it is told to."""

    def __init__(self, request: Callable[[int], bytes], end: float, counts: list[float]) -> None:
        self._request, self._end, self._counts = request, end, counts
        self._buffer, self._number, self._asked = b"", 0, 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.monotonic()
        self._number += 1
        self._transport.write(self._request(self._number))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        _demand(head.startswith(b"HTTP/1.1 20"), head)
        self._buffer = b""
        at = time.monotonic()
        self._counts.append(at - self._asked)
        if at < self._end:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)


def _load(port: int, request: Callable[[int], bytes], connections: int, seconds: float) -> dict[str, float]:
    async def run() -> list[float]:
        loop, counts = asyncio.get_running_loop(), list[float]()
        end = time.monotonic() + seconds
        pairs = [
            await loop.create_connection(lambda: _Asker(request, end, counts), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in pairs))
        return counts

    took = sorted(asyncio.run(run()))
    return {
        "perSecond": round(len(took) / seconds),
        "p50ms": round(1000 * took[len(took) // 2], 2),
        "p95ms": round(1000 * took[int(len(took) * 0.95)], 2),
    }


def _get(path: str, token: str | None = None) -> bytes:
    told = f"authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n{told}\r\n".encode()


def _submit(token: str) -> Callable[[int], bytes]:
    body, mark = b'{"profile": "json:raw"}', os.urandom(6).hex()

    def request(number: int) -> bytes:
        key = f"{mark}-{os.urandom(6).hex()}-{number}"
        head = (
            f"POST /api/export/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            f"idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return request


def _download(port: int, request: bytes) -> float:
    """Gigabytes a second, the best of three."""
    best = 0.0
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            began = time.perf_counter()
            connection.sendall(request)
            buffer, got, length = bytearray(4 << 20), 0, None
            while length is None or got < length:
                count = connection.recv_into(buffer)
                _demand(count > 0, "the connection ended")
                if length is None:
                    head, _, rest = bytes(buffer[:count]).partition(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    got = len(rest)
                else:
                    got += count
            best = max(best, length / (time.perf_counter() - began) / 1e9)
    return round(best, 2)


def _watch(place: Place, port: int, pid: int, watchers: int) -> dict[str, float]:
    """Ten events for so many watchers."""

    async def run() -> tuple[list[float], float]:
        path = f"/api/export/runs/{place.watched.id}/events"
        streams = []
        for _ in range(watchers):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_get(path, place.token))
            await reader.readuntil(b"id: 1\n")
            streams.append((reader, writer))
        took, worked, number = list[float](), _cpu(pid), place.watched.events
        for _ in range(10):
            number += 1
            began = time.monotonic()
            await asyncio.to_thread(place.local.runs.tell, place.watched.id, 1, [_event()])

            async def seen(reader: asyncio.StreamReader, mark: bytes = b"id: %d\n" % number) -> float:
                await reader.readuntil(mark)
                return time.monotonic()

            took.append(max(await asyncio.gather(*(seen(reader) for reader, _ in streams))) - began)
        worked = _cpu(pid) - worked
        for _, writer in streams:
            writer.close()
        return took, worked

    took, worked = asyncio.run(run())
    return {
        "watchers": watchers,
        "lastOfAllMean": round(statistics.fmean(took), 3),
        "lastOfAllMax": round(max(took), 3),
        "serverCpuSecondsAnEvent": round(worked / 10, 3),
    }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures; of several runs the medians. Ours and the bare ones take turns."""
    place = Place(root, arguments.bytes)
    port, bare = _free_port(), _free_port()
    command = ["-c", "from stellaops.cli.start import main; main()", "serve", "api", "--port", str(port)]
    file = place.local.artefacts.local_file(place.large, "data.bin")
    run = f"/api/export/runs/{place.runs[0].id}"
    with _serving(command, port, place.variables) as pid:
        listed = _body(port, _get("/api/export/runs?limit=20", place.token))
        (root / "body.json").write_bytes(listed)
        asked = {
            "bare": (bare, _get("/read")),
            "runs": (port, _get("/api/export/runs?limit=20", place.token)),
            "run": (port, _get(run, place.token)),
            "healthz": (port, _get("/healthz")),
        }
        files = {
            "bareFileResponse": (bare, _get("/file")),
            "bareInPieces": (bare, _get("/pieces")),
            "ours": (port, _get(f"{run}/artifacts/data.bin", place.token)),
        }
        with _serving(["-c", _BARE, str(bare), str(root / "body.json"), str(file)], bare, {}) as other:
            pids = {port: pid, bare: other}
            reads = _in_turns(
                asked, arguments.runs, lambda where, request: _reads(arguments, where, request, pids[where])
            )
            loads = _in_turns(
                files, arguments.runs, lambda where, request: {"GBs": _download(where, request)}
            )
        submissions = _load(port, _submit(place.token), 4, arguments.seconds)
        watchers = _watch(place, port, pid, arguments.watchers)
    return {
        "machine": machine.describe(),
        "reads": reads | {"bodyBytes": len(listed)},
        "download": loads | {"bytes": arguments.bytes},
        "submissions": submissions,
        "watchers": watchers,
    }


def _reads(arguments: argparse.Namespace, port: int, request: bytes, pid: int) -> dict[str, float]:
    """Also how long the server's processor worked on one: it says most on a busy machine."""
    before = _cpu(pid)
    found = _load(port, lambda _: request, arguments.connections, arguments.seconds)
    asked = max(1.0, found["perSecond"] * arguments.seconds)
    return found | {"cpuMicroseconds": round((_cpu(pid) - before) / asked * 1e6)}


def _in_turns(
    asked: dict[str, tuple[int, bytes]], runs: int, ask: Callable[[int, bytes], dict[str, float]]
) -> dict[str, Any]:
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
    for _ in range(runs):
        for name, (port, request) in asked.items():
            taken[name].append(ask(port, request))
    return {
        name: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for name, figures in taken.items()
    }


def _body(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        data = b""
        while piece := connection.recv(1 << 16):
            data += piece
    return data.partition(b"\r\n\r\n")[2]


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    reads, loads, watchers = found["reads"], found["download"], found["watchers"]
    lines = [
        machine.line(found["machine"]),
        *(
            f"reads        {name:18} {reads[name]['perSecond']:>8,.0f}/s  p95 {reads[name]['p95ms']:.1f} ms"
            f"  {reads[name]['cpuMicroseconds']:,.0f} µs of the server's processor"
            for name in ("bare", "runs", "run", "healthz")
        ),
        *(
            f"download     {name:18} {loads[name]['GBs']:>8.2f} GB/s"
            for name in ("bareFileResponse", "bareInPieces", "ours")
        ),
    ]
    told = found["submissions"]
    lines.append(f"submissions  {'':18} {told['perSecond']:>8,}/s  p95 {told['p95ms']} ms")
    last = f"last of all after {watchers['lastOfAllMean']} s, at most {watchers['lastOfAllMax']} s"
    worked = f"{watchers['serverCpuSecondsAnEvent'] * 1000:.0f} ms of the server's processor an event"
    lines.append(f"watchers     {watchers['watchers']:>18} {last}; {worked}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=100_000_000, help="size of the file")
    parser.add_argument("--runs", type=int, default=3, help="of each read and download")
    parser.add_argument("--directory", type=Path, help="where the data lies meanwhile")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as root:
        found = measure(Path(root), arguments)
    if arguments.format == "json":
        print(json.dumps(found, indent=2))
        return
    print(table(found))


if __name__ == "__main__":
    main()
