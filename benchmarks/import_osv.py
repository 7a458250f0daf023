"""How fast OSV documents in JSON come into the store on one core: reading, documents and projections apart.

    python -m benchmarks.import_osv [--documents 100000] [--runs 3] [--postgresql] [--format json]

Every run is a process of its own on one processor, and the kinds of run alternate:

* `read`: the zip archive alone, unpacked and checked, as the import reads it.
* `documents`: the import without reading and without projections: canonical form, fields, digests, staging, applying.
* `projections`: the import without reading, with the rows that exports are made from.
* `peer`: what a short script does with the standard library: `json.loads`, sorted `json.dumps`, SHA-256, one row a
  document in SQLite with the same settings, a thousand a transaction; reading apart too.

With `--postgresql` the store is a PostgreSQL server of its own on this machine, with the settings that it comes with;
what it takes of the processors stands in a column of its own, since it works beside the import.

Where real documents of `shared/data` stand beside the checkout, `documents` is measured with those of each large JSON
source too, repeated under other ids; a document costs by its size.

The clock tells what a user sees on this machine, busy or not; processor time tells what one core can do. One more run
of each import looks where processor time goes. The documents are made up (`benchmarks.documents`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import func, select

from benchmarks import documents, machine, real_documents, sampling, stores
from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.sql import imports, schema
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.ingest.model import Batch, ImportReport, Job, Source
from stellaops.ingest.ports import ImportStore, Inputs, Member
from tests.support import postgres

_PIECE = 1000
_AS_IT_COMES = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB", "max_wal_size": "1GB"}
_FUNCTIONS_SHOWN = 8
_OF_A_SOURCE = 30_000
_KINDS = ("read", "documents", "projections", "peer")

Seconds = tuple[float, float]


def clock() -> Seconds:
    """Wall and processor time of now."""
    return time.perf_counter(), time.process_time()


class Watch:
    """Wall and processor seconds that pass in the steps of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, Seconds] = {}

    def time(self, step: str, call: Callable[[], Any]) -> Any:
        """What the call returns; its time is added to the step's."""
        wall, cpu = clock()
        result = call()
        wall_after, cpu_after = clock()
        before = self.seconds.get(step, (0.0, 0.0))
        self.seconds[step] = before[0] + wall_after - wall, before[1] + cpu_after - cpu
        return result


class TimedInputs:
    """Inputs that are read a thousand at a time, so that reading can be told from the rest."""

    def __init__(self, inputs: Inputs, watch: Watch) -> None:
        self._inputs = inputs
        self._watch = watch

    def fingerprint(self) -> str:
        """See the port."""
        return str(self._watch.time("read", self._inputs.fingerprint))

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port."""
        members = self._inputs.members(skip)
        while piece := self._watch.time("read", lambda: list(islice(members, _PIECE))):
            yield from piece


class TimedStore:
    """A store whose calls are timed."""

    def __init__(self, store: ImportStore, watch: Watch) -> None:
        self._store = store
        self._watch = watch

    def begin(self, source: Source, fingerprint: str, now: datetime, *, retry: bool = False) -> Job:
        """See the port."""
        job: Job = self._watch.time("begin", lambda: self._store.begin(source, fingerprint, now, retry=retry))
        return job

    def stage(self, job: Job, batch: Batch) -> None:
        """See the port."""
        self._watch.time("stage", lambda: self._store.stage(job, batch))

    def apply(
        self, job: Job, *, prune: Sequence[str], now: datetime, taken_back: Collection[str] = ()
    ) -> ImportReport:
        """See the port."""
        report: ImportReport = self._watch.time(
            "apply", lambda: self._store.apply(job, prune=prune, now=now, taken_back=taken_back)
        )
        return report


def without_projections() -> ExitStack:
    """The import with nothing in the place of projections."""
    stack = ExitStack()
    stack.enter_context(patch.object(imports, "write_rows", lambda *_: None))
    return stack


def run_once(
    kind: str, archive: Path, directory: Path, *, sample: bool = False, url: str | None = None
) -> dict[str, Any]:
    """One run in this process, on one processor."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if kind == "read":
        return _read(archive)
    if kind == "peer":
        return _peer(archive, directory)
    counted: Counter[str] = Counter()

    def count(function: str) -> None:
        # Reading stands apart.
        if not function.startswith("adapters/files/") and function != "elsewhere":
            counted[function] += 1

    with without_projections() if kind == "documents" else nullcontext():
        result = _import(archive, directory, url, sampling.sampled(count) if sample else nullcontext())
    if (result["rows"] == 0) != (kind == "documents"):
        raise RuntimeError(f"{result['rows']} projection rows in a run of {kind}")
    return {**result, "functions": sampling.shares(counted, _FUNCTIONS_SHOWN)} if sample else result


def _read(archive: Path) -> dict[str, Any]:
    wall, cpu = clock()
    count = size = 0
    for member in FileInputs([archive]).members():
        count += 1
        size += len(member.content)
    return {"count": count, "bytes": size, **_since(wall, cpu)}


def _import(
    archive: Path, directory: Path, url: str | None, context: AbstractContextManager[None]
) -> dict[str, Any]:
    local = stores.open_store(directory, url)
    watch = Watch()
    inputs, store = TimedInputs(FileInputs([archive]), watch), TimedStore(local.imports, watch)
    wall, cpu = clock()
    with context:
        report = stores.bring_in(local, "generated", inputs, store)
    took = _since(wall, cpu)
    with reading(local.evidence_engine) as connection:
        tables = schema.PROJECTIONS.tables.values()
        rows = sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        )
    spent = watch.seconds
    size = dialect_of(local.evidence_engine).bytes(local.evidence_engine)
    local.evidence_engine.dispose()
    return {
        "count": report.added + report.equal_keys,
        "rows": rows,
        "bytes": size,
        "wall": took["wall"] - spent["read"][0],
        "cpu": took["cpu"] - spent["read"][1],
        "steps": {name: spent[name][1] for name in ("stage", "apply")},
    }


def _peer(archive: Path, directory: Path) -> dict[str, Any]:
    database = sqlite3.connect(directory / "peer.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE document (key TEXT PRIMARY KEY, digest TEXT NOT NULL, body BLOB NOT NULL)")
    watch = Watch()
    wall, cpu = clock()
    with zipfile.ZipFile(archive) as packed:
        contents = map(packed.read, packed.namelist())
        while piece := watch.time("read", lambda: list(islice(contents, _PIECE))):
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO document VALUES (?, ?, ?)", map(_peer_row, piece))
            database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    took = _since(wall, cpu)
    count = database.execute("SELECT count(*) FROM document").fetchone()[0]
    read = watch.seconds["read"]
    return {"count": count, "wall": took["wall"] - read[0], "cpu": took["cpu"] - read[1]}


def _peer_row(content: bytes) -> tuple[str, str, bytes]:
    document = json.loads(content)
    body = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return document["id"], hashlib.sha256(body).hexdigest(), body


def _since(wall: float, cpu: float) -> dict[str, float]:
    wall_after, cpu_after = clock()
    return {"wall": wall_after - wall, "cpu": cpu_after - cpu}


def measure(count: int, runs: int, directory: Path, *, with_server: bool = False) -> dict[str, Any]:
    """All kinds of run, alternating; medians and spreads."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        server = stack.enter_context(postgres.running(**_AS_IT_COMES)) if with_server else None
        archive = Path(scratch) / "documents.zip"
        size = documents.write_zip(archive, count)
        results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
        for _ in range(runs):
            for kind in _KINDS:
                results[kind].append(_in_process(kind, archive, Path(scratch), server=server))
        sources = {} if with_server else _sources(count, runs, Path(scratch))
        functions = {
            kind: _in_process(kind, archive, Path(scratch), "--sample", server=server)["functions"]
            for kind in ("documents", "projections")
        }
    if any(result["count"] != count for kind in _KINDS for result in results[kind]):
        raise RuntimeError("a run did not handle every document")
    summary = {kind: _summary(results[kind], count) for kind in _KINDS}
    return {
        "machine": machine.describe(),
        "database": "postgresql" if with_server else "sqlite",
        "documents": count,
        "bytesEach": round(size / count),
        "runs": runs,
        "kinds": summary,
        "projectionRows": _rows(results, count),
        "ratioToPeer": round(summary["documents"]["perCpuSecond"] / summary["peer"]["perCpuSecond"], 2),
        "sources": sources,
        "functions": functions,
    }


def _sources(most: int, runs: int, scratch: Path) -> dict[str, Any]:
    """Imports of real documents by their source, without reading and projections, by turns."""
    count = min(most, _OF_A_SOURCE)
    archives, sizes = {}, {}
    for name, source in real_documents.json_archives().items():
        archives[name] = scratch / f"{name}.zip"
        sizes[name] = real_documents.write_repeated(archives[name], source, count)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in archives}
    for _ in range(runs):
        for name, archive in archives.items():
            results[name].append(_in_process("documents", archive, scratch))
    if any(result["count"] != count for found in results.values() for result in found):
        raise RuntimeError("a run did not handle every document")
    return {
        name: {**_summary(found, count), "bytesEach": round(sizes[name] / count)}
        for name, found in results.items()
    }


def _in_process(
    kind: str, archive: Path, scratch: Path, *more: str, server: postgres.Server | None = None
) -> dict[str, Any]:
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir=scratch))
        command = [sys.executable, "-m", "benchmarks.import_osv", "--once", kind, str(archive), place, *more]
        before = 0.0
        if server is not None and kind in ("documents", "projections"):
            command += ["--url", server.url(stack.enter_context(server.database()))]
            before = _spent_by_sessions(server)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        if before:
            result["serverCpu"] = _spent_by_sessions(server) - before
    return result


def _spent_by_sessions(server: postgres.Server | None) -> float:
    """Processor seconds of the server's sessions that have ended."""
    if server is None:
        return 0.0
    time.sleep(0.2)  # for the last of them to end
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _summary(results: list[dict[str, Any]], count: int) -> dict[str, Any]:
    walls, cpus = ([result[name] for result in results] for name in ("wall", "cpu"))
    summary: dict[str, Any] = {
        "perSecond": round(count / statistics.median(walls)),
        "perCpuSecond": round(count / statistics.median(cpus)),
        "perCpuSecondSpread": [round(count / max(cpus)), round(count / min(cpus))],
        "cpuMicroseconds": round(statistics.median(cpus) / count * 1e6, 1),
    }
    for step in results[0].get("steps", ()):
        spent = statistics.median(result["steps"][step] for result in results)
        summary[f"{step}Microseconds"] = round(spent / count * 1e6, 1)
    if "serverCpu" in results[0]:
        spent = statistics.median(result["serverCpu"] for result in results)
        summary["serverMicroseconds"] = round(spent / count * 1e6, 1)
    if "bytes" in results[0]:
        summary["bytesEach"] = round(results[0]["bytes"] / count)
    return summary


def _rows(results: dict[str, list[dict[str, Any]]], count: int) -> dict[str, Any]:
    rows = results["projections"][0]["rows"]
    whole = _median(results["projections"], "cpu")
    return {
        "rows": rows,
        "perDocument": round(rows / count, 2),
        "perSecond": round(rows / _median(results["projections"], "wall")),
        "perCpuSecond": round(rows / whole),
        # What projections add to an import, by themselves.
        "perCpuSecondAlone": round(rows / max(whole - _median(results["documents"], "cpu"), 1e-9)),
    }


def _median(results: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(result[name] for result in results))


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    heads = ("by the clock", "by CPU time", "CPU µs each", "stage", "apply", "server µs", "bytes each")
    lines = [
        machine.line(result["machine"]),
        (
            f"{result['documents']:,} documents of {result['bytesEach']:,} bytes into {result['database']},"
            f" one core, {result['runs']} runs each"
        ),
        f"{'documents/s':<12}" + "".join(f"{head:>13}" for head in heads) + "  spread by CPU time",
    ]
    for kind in _KINDS:
        row = result["kinds"][kind]
        rest = [
            row.get(name, "")
            for name in (
                "cpuMicroseconds",
                "stageMicroseconds",
                "applyMicroseconds",
                "serverMicroseconds",
                "bytesEach",
            )
        ]
        low, high = row["perCpuSecondSpread"]
        lines.append(
            f"{kind:<12}{row['perSecond']:>13,}{row['perCpuSecond']:>13,}"
            + "".join(f"{value:>13}" for value in rest)
            + f"  {low:,} to {high:,}"
        )
    rows = result["projectionRows"]
    lines.append(f"without projections {result['ratioToPeer']} times as fast as the peer, by CPU time")
    lines.append(
        f"{rows['rows']:,} projection rows, {rows['perDocument']} a document: {rows['perCpuSecond']:,} rows/s in the"
        f" whole import, {rows['perCpuSecondAlone']:,} rows/s for the projections alone, by CPU time"
    )
    for name, row in sorted(result["sources"].items(), key=lambda item: int(item[1]["bytesEach"])):
        low, high = row["perCpuSecondSpread"]
        lines.append(
            f"documents of {name:<14} {row['bytesEach']:>6,} bytes {row['cpuMicroseconds']:>6} µs of CPU"
            f" {row['perCpuSecond']:>7,}/s ({low:,} to {high:,})"
        )
    for kind, functions in result["functions"].items():
        lines.append(sampling.paragraph(f"processor time of {kind}", functions))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--postgresql", action="store_true", help="into a PostgreSQL server of its own")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--once", nargs=3, metavar=("KIND", "ARCHIVE", "PLACE"), help=argparse.SUPPRESS)
    parser.add_argument("--sample", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        kind, archive, place = options.once
        once = run_once(kind, Path(archive), Path(place), sample=options.sample, url=options.url)
        print(json.dumps(once))
        return 0
    place = options.directory or Path(tempfile.gettempdir())
    result = measure(options.documents, options.runs, place, with_server=options.postgresql)
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
