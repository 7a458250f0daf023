"""How long each page of the console takes with many runs and many advisories behind it.

    python -m benchmarks.console [--records 10000] [--documents 1000000] [--runs 5] [--store D] [--format json]

A store is filled with made-up documents, a run is made and its record repeated over the last year. Then every page is
asked for, one after the other, in this process, from the request to the last byte of the answer. The peer is the API's
own list of runs, 50 of them: what a page costs beside a plain answer. `--store` keeps the store
for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.types import Message

from benchmarks import documents, machine, stores
from stellaops.api.app import create_app
from stellaops.api.frame.limits import Limits
from stellaops.authority.access import SCOPES
from stellaops.authority.actors import OPERATOR
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.bootstrap import Local, now
from stellaops.console.app import Console
from stellaops.console.keeping import content_of
from stellaops.console.pages.login import Doors
from stellaops.console.session import keep
from stellaops.exports.run import Run, RunStatus

_GOAL = 0.2  # seconds
_SOURCE = "ghsa"
_KEPT = timedelta(days=30)
_ROOMY = Limits(requests_per_minute=10_000_000)


def fill(local: Local, place: Path, count: int, runs: int) -> Run:
    """Documents, one real run, and its record over a year; bundles are kept for 30 days, as is usual."""
    if not local.runs.list(stores.TENANT, limit=1):
        documents.write_zip(place / "all.zip", count)
        stores.fill(local, _SOURCE, [place / "all.zip"])
        stores.export(local, "json:raw")
    (made,) = local.runs.list(stores.TENANT, limit=1)
    states = (RunStatus.SUCCEEDED, RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)
    for number in range(runs - len(local.runs.list(stores.TENANT, limit=runs))):
        at = made.submitted_at - timedelta(seconds=(number + 1) * 365 * 86400 / runs)
        run = replace(made, id=f"run-{at:%Y%m%dt%H%M%S}-{number:08x}", submitted_at=at, version=0, events=0)
        status = states[number % 4]
        if status is RunStatus.SUCCEEDED and at < made.submitted_at - _KEPT:
            run = replace(run, expired="retention: older than 30 days", removed_at=at + _KEPT)
            status = RunStatus.EXPIRED
        if status in (RunStatus.FAILED, RunStatus.CANCELLED):
            run = replace(run, artifacts=(), export_id=None, archive_id=None, done=(), signatures=())
        local.runs.add(replace(run, status=status), ())
    return made


def pages(made: Run) -> dict[str, str]:
    """Every page that is looked at, by its name."""
    identifier = json.loads(next(documents.documents(1))[1])["id"]
    return {
        "overview": "/",
        "runs": "/runs",
        "runs of a profile": "/runs?profile=json:raw&status=failed",
        "run": f"/runs/{made.id}",
        "compare": "/diff",
        "profiles": "/profiles",
        "profile": "/profiles/json:raw",
        "edit": "/profiles/new",
        "evidence": "/evidence",
        "advisory": f"/evidence?id={identifier}",
        "unknown advisory": "/evidence?id=CVE-1999-0000",
        "quarantine": "/quarantine",
        "mirrors": "/mirrors",
        "notifications": "/notifications",
        "audit": "/audit",
    }


class Browser:
    """Asks an application in this process."""

    def __init__(self, local: Local) -> None:
        self._api = create_app(local, _ROOMY)
        self._console = Console(self._api, Doors(), local.session_keeper)
        tools = ClientTools(local.clients, local.tenants)
        client = create_client(
            tools, OPERATOR, Wanted(tenants=(stores.TENANT,), scopes=tuple(SCOPES)), now=now()
        )
        self._token = local.issuer.issue(client.client.id, [client.secret or ""]).token
        made = local.session_keeper.begin(client.client.id, content_of(self._token, "benchmark"))
        answer = Response()
        keep(answer, made.handle, secure=False, seconds=900)
        self._cookie = answer.headers["set-cookie"].partition(";")[0]

    async def page(self, path: str) -> tuple[float, int]:
        """Seconds and status of a page."""
        return await self._ask(self._console, f"/console{path}", [(b"cookie", self._cookie.encode())])

    async def peer(self) -> tuple[float, int]:
        """The same of the API's list of runs."""
        told = [(b"authorization", f"Bearer {self._token}".encode())]
        return await self._ask(self._api, "/api/export/runs?limit=50", told)

    async def _ask(
        self, application: Any, address: str, headers: list[tuple[bytes, bytes]]
    ) -> tuple[float, int]:
        path, _, query = address.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        began = time.perf_counter()
        await application(scope, receive, send)
        return time.perf_counter() - began, status


async def look(local: Local, made: Run, looks: int) -> dict[str, Any]:
    """Every page several times: the median, the worst, and how it stands beside the peer."""
    browser, found, answers = Browser(local), {}, []
    for name, path in pages(made).items():
        times = []
        for _ in range(looks + 1):
            seconds, status = await browser.page(path)
            if status != 200:
                raise SystemExit(f"{path}: status {status}")
            times.append(seconds)
            answers.append((await browser.peer())[0])
        found[name] = {"median": round(statistics.median(times[1:]), 4), "max": round(max(times[1:]), 4),
                       "first": round(times[0], 4)}  # fmt: skip
    peer = statistics.median(answers)
    for each in found.values():
        each["ratio"] = round(each["median"] / peer, 1)
    slowest = max(found, key=lambda name: found[name]["median"])
    return {"pages": found, "peer": round(peer, 4), "slowest": slowest}


def measure(directory: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Fill and look."""
    local = stores.open_store(directory / "data")
    made = fill(local, directory, given.documents, given.records)
    found = asyncio.run(look(local, made, given.runs))
    return {"machine": machine.describe(), "documents": given.documents, "records": given.records, **found}


def table(found: dict[str, Any]) -> str:
    """For people."""
    rows = [machine.line(found["machine"]), f"{found['documents']} documents, {found['records']} runs"]
    rows.append(f"{'page':20}{'median ms':>10}{'max ms':>10}{'first ms':>10}{'beside the API':>16}")
    for name, each in found["pages"].items():
        numbers = "".join(f"{each[key] * 1000:10.1f}" for key in ("median", "max", "first"))
        rows.append(f"{name:20}{numbers}{each['ratio']:15.1f}x")
    worst = found["pages"][found["slowest"]]["median"]
    rows.append(
        f"slowest: {found['slowest']}, {worst * 1000:.0f} ms; goal < {_GOAL * 1000:.0f} ms: "
        f"{'met' if worst < _GOAL else 'MISSED'}"
    )
    return "\n".join(rows)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as temporary:
        place = given.store or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        found = measure(place, given)
    print(json.dumps(found) if given.format == "json" else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
