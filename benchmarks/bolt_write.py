"""How fast our bbolt writer is, beside bbolt's own, on the same entries.

    python -m benchmarks.bolt_write [--runs 5] [--format json] [--top 50 --packages 2000 --entries 10 --size 396]

Every run is a process of its own that makes all entries first, then opens the file, writes, syncs and closes; only
that is timed. Ours and the peer's runs alternate. The peer is bbolt with one `Batch` for each top-level bucket, keys
sorted, as the usual builder of such databases calls it. Where Go or bbolt is missing, ours runs alone. At the end both
files must hold the same content, by the peer's own `Check` and digest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import bolt_go, machine
from stellaops.bundles.trivy.bolt.writer import BoltWriter, BucketHandle, Entry

_MIB = 1024 * 1024
_MEASURES = ("wall", "cpu", "bytes", "peakRss", "growth")

Package = tuple[bytes, list[Entry]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How many top-level buckets, packages in each, entries in each, and bytes in each value."""

    top: int
    packages: int
    entries: int
    size: int

    @property
    def total(self) -> int:
        """Entries in all."""
        return self.top * self.packages * self.entries

    def words(self) -> list[str]:
        """As command-line arguments of a run."""
        return [str(self.top), str(self.packages), str(self.entries), str(self.size)]


def make_entries(shape: Shape) -> list[tuple[bytes, list[Package]]]:
    """The same entries as `makeEntries` of the peer."""
    return [
        (b"distribution %03d" % top, [_package(shape, top, number) for number in range(shape.packages)])
        for top in range(shape.top)
    ]


def _package(shape: Shape, top: int, number: int) -> Package:
    entries = []
    for item in range(shape.entries):
        value = b'{"FixedVersion":"%d.%d.%d","Title":"' % (top, number, item)
        entries.append((b"CVE-2024-%07d" % item, value.ljust(shape.size - 2, b"x") + b'"}'))
    return b"package-%05d" % number, entries


def write_once(path: Path, shape: Shape) -> dict[str, float]:
    """One run of ours: seconds, bytes of the file, peak memory and how much of it came with the writing."""
    everything = make_entries(shape)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    with path.open("wb") as out:
        writer = BoltWriter(out)

        def packages(name: bytes, listed: list[Package]) -> BucketHandle:
            return writer.bucket(((package, writer.leaf_bucket(rows)) for package, rows in listed), name=name)

        writer.finish((name, packages(name, listed)) for name, listed in everything)
        os.fsync(out.fileno())
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "bytes": path.stat().st_size,
        "peakRss": after.ru_maxrss * 1024,
        "growth": (after.ru_maxrss - before.ru_maxrss) * 1024,
    }


def _run_ours(path: Path, shape: Shape) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.bolt_write", "--once", str(path), *shape.words()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(shape: Shape, runs: int, directory: Path) -> dict[str, Any]:
    """Alternate the two writers; medians, and the ratio of the walls."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        try:
            peer = bolt_go.build(Path(scratch))
            without = ""
        except bolt_go.Unavailable as reason:
            peer, without = None, str(reason)
        ours_path, peer_path = Path(scratch) / "ours.db", Path(scratch) / "peer.db"
        ours, theirs = [], []
        for _ in range(runs):
            ours.append(_run_ours(ours_path, shape))
            if peer is not None:
                peer_path.unlink(missing_ok=True)
                theirs.append(bolt_go.ask(peer, "write", peer_path, *shape.words()))
        result: dict[str, Any] = {
            "machine": machine.describe(),
            "shape": asdict(shape),
            "runs": runs,
            "ours": _median(ours, shape),
        }
        if peer is None:
            return {**result, "peerMissing": without}
        return {
            **result,
            "peer": _median(theirs, shape),
            "ratio": round(_wall(theirs) / _wall(ours), 2),
            "sameContent": _same_content(peer, ours_path, peer_path),
        }


def _wall(results: list[dict[str, Any]]) -> float:
    return float(statistics.median(result["wall"] for result in results))


def _median(results: list[dict[str, Any]], shape: Shape) -> dict[str, float]:
    medians = {name: round(statistics.median(result[name] for result in results), 3) for name in _MEASURES}
    return {
        "entriesPerSecond": round(shape.total / _wall(results)),
        "bestEntriesPerSecond": round(shape.total / min(result["wall"] for result in results)),
        **medians,
    }


def _same_content(peer: Path, ours: Path, theirs: Path) -> bool:
    reports = [bolt_go.ask(peer, "check", path) for path in (ours, theirs)]
    return not any(report["problems"] for report in reports) and len({r["digest"] for r in reports}) == 1


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        f"{'writer':<14}{'entries/s':>11}{'best':>11}{'wall s':>8}{'CPU s':>8}{'file MB':>9}{'RSS MiB':>9}{'grown':>7}",
    ]
    for name, label in (("ours", "ours"), ("peer", "bbolt Batch")):
        if row := result.get(name):
            lines.append(
                f"{label:<14}{row['entriesPerSecond']:>11,}{row['bestEntriesPerSecond']:>11,}{row['wall']:>8.2f}"
                f"{row['cpu']:>8.2f}{row['bytes'] / 1e6:>9.1f}{row['peakRss'] / _MIB:>9.0f}{row['growth'] / _MIB:>7.0f}"
            )
    if "ratio" in result:
        same = "the same content" if result["sameContent"] else "NOT THE SAME CONTENT"
        lines.append(f"ours is {result['ratio']} times as fast; {same} by bbolt's Check and a digest")
    else:
        lines.append(f"no peer: {result['peerMissing']}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--top", type=int, default=50)
    parser.add_argument("--packages", type=int, default=2000)
    parser.add_argument("--entries", type=int, default=10)
    parser.add_argument("--size", type=int, default=396, help="bytes in a value; keys have 16")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument(
        "--once", nargs=5, metavar=("PATH", "TOP", "PACKAGES", "ENTRIES", "SIZE"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.once:
        path, *numbers = options.once
        print(json.dumps(write_once(Path(path), Shape(*map(int, numbers)))))
        return 0
    shape = Shape(options.top, options.packages, options.entries, options.size)
    result = compare(shape, options.runs, options.directory or Path(tempfile.gettempdir()))
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0 if result.get("sameContent", True) else 1


if __name__ == "__main__":
    sys.exit(main())
