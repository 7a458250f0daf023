"""Rows a second of writing a Java database, beside plain SQLite inserts in the manner of Trivy's own builder.

The rows are the same, and both end with VACUUM. The peer does what trivy-java-db does with its index files: in
transactions of a thousand it inserts artefacts that are not there, and each version by a statement that looks the
artefact up, into tables whose indices exist from the start. It runs in this Python too, so that what is compared is
the manner, not the language. Runs alternate, each in a process of its own; at the end both must hold the same rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import machine
from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy.java_db import JavaRow

_VERSIONS = 20
_BATCH = 1000
_MEASURES = ("wall", "cpu", "bytes", "peakRss")


def rows(count: int) -> Iterator[JavaRow]:
    """Rows in order: twenty versions an artefact, forty artefacts a group."""
    for number in range(count):
        artefact = number // _VERSIONS
        digest = hashlib.sha1(b"%d" % number, usedforsecurity=False).digest()
        group, name = f"org.example.group{artefact // 40:06}", f"artefact-{artefact % 40:02}"
        yield group, name, f"1.{number % _VERSIONS:02}.0", "jar", digest


def ours(path: Path, count: int) -> None:
    java_db.write_database(path, rows(count))


def peer(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (*java_db.TABLES.values(), *java_db.INDICES.values()):
            connection.execute(statement)
        source = rows(count)
        while batch := list(islice(source, _BATCH)):
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT OR IGNORE INTO artifacts(group_id, artifact_id) VALUES (?, ?)",
                [(group, artefact) for group, artefact, *_ in batch],
            )
            connection.executemany(
                "INSERT INTO indices(artifact_id, version, sha1, archive_type) VALUES "
                "((SELECT id FROM artifacts WHERE group_id = ? AND artifact_id = ?), ?, ?, ?) "
                "ON CONFLICT(sha1) DO NOTHING",
                [(group, artefact, version, sha1, kind) for group, artefact, version, kind, sha1 in batch],
            )
            connection.execute("COMMIT")
        connection.execute("VACUUM")


_WRITERS = {"ours": ours, "peer": peer}


def write_once(writer: str, path: Path, count: int) -> dict[str, float]:
    """One run: seconds, bytes of the file, peak memory."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    _WRITERS[writer](path, count)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "bytes": path.stat().st_size,
        "peakRss": after.ru_maxrss * 1024,
    }


def _run(writer: str, path: Path, count: int) -> dict[str, Any]:
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.java_db", "--once", writer, str(path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(count: int, runs: int, directory: Path) -> dict[str, Any]:
    """Alternate the two; medians, and the ratio of the walls."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        paths = {name: Path(scratch) / f"{name}.db" for name in _WRITERS}
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in _WRITERS}
        for _ in range(runs):
            for name, path in paths.items():
                results[name].append(_run(name, path, count))
        medians = {
            name: {measure: statistics.median(result[measure] for result in found) for measure in _MEASURES}
            for name, found in results.items()
        }
        for found in medians.values():
            found["rowsPerSecond"] = round(count / found["wall"])
        return {
            "machine": machine.describe(),
            "rows": count,
            "runs": runs,
            **medians,
            "ratio": round(medians["peer"]["wall"] / medians["ours"]["wall"], 2),
            "sameRows": _rows_of(paths["ours"]) == _rows_of(paths["peer"]),
        }


def _rows_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return java_db.measure(connection).digest


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        f"{'writer':<20}{'rows/s':>10}{'wall s':>8}{'CPU s':>8}{'file MB':>9}{'RSS MiB':>9}",
    ]
    for name, label in (("ours", "ours"), ("peer", "as trivy-java-db")):
        row = result[name]
        lines.append(
            f"{label:<20}{row['rowsPerSecond']:>10,}{row['wall']:>8.2f}{row['cpu']:>8.2f}"
            f"{row['bytes'] / 1e6:>9.1f}{row['peakRss'] / 1048576:>9.0f}"
        )
    same = "the same rows" if result["sameRows"] else "NOT THE SAME ROWS"
    lines.append(f"{result['rows']:,} rows; ours is {result['ratio']} times as fast; {same}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--once", nargs=3, metavar=("WRITER", "PATH", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        writer, path, count = options.once
        print(json.dumps(write_once(writer, Path(path), int(count))))
        return 0
    result = compare(options.rows, options.runs, options.directory or Path(tempfile.gettempdir()))
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0 if result["sameRows"] else 1


if __name__ == "__main__":
    sys.exit(main())
