"""How long `trivy:db` and `json:raw` of all real data take, phase by phase, beside a peer.

    python -m benchmarks.export_phases [--runs 3] [--format json] [--generated 50000]

The data is every OSV source of `shared/data/advisories` beside the checkout (or at STELLA_BENCH_SHARED); where that is
absent, or with `--generated`, made-up documents. One import fills the store; every export is a process of its own, and
the two kinds alternate. Phases are what the run's record says.

The peer of `json:raw`, in the same process, packs the same lines that the export wrote: zstd with the same level and
workers, and SHA-256 over the same bytes; nothing is read, ordered, signed or verified. For `trivy:db` the share of its
build that the bbolt writer takes is told by sampling; the writer's own peer is in `benchmarks.bolt_write`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from backports import zstd

from benchmarks import documents, machine, real_documents, sampling, stores
from stellaops.bundles.jsonl.shards import ZSTD_OPTIONS
from stellaops.exports.run import Run

PHASES = ("plan", "collect", "build", "sign", "verify", "smoke", "store", "publish")
_KINDS = ("json:raw", "trivy:db")
_PIECE = 1 << 20
_FUNCTIONS_SHOWN = 8
_BOLT = "bundles/trivy/bolt/"


def fill(directory: Path, archives: dict[str, Path]) -> dict[str, Any]:
    """Import everything; what came in and how long it took."""
    local = stores.open_store(directory)
    start = time.perf_counter()
    reports = [stores.fill(local, name, [path]) for name, path in archives.items()]
    return {"documents": sum(report.added for report in reports), "wall": time.perf_counter() - start}


def export_once(directory: Path, kind: str) -> dict[str, Any]:
    """One export in this process: its phases, the bytes of its files, and a peer or the share of the bbolt writer."""
    shutil.rmtree(directory / "exports", ignore_errors=True)
    local = stores.open_store(directory)
    start = time.perf_counter()
    run = stores.export(local, kind)
    result: dict[str, Any] = {
        "wall": time.perf_counter() - start,
        "phases": run.durations,
        "bytes": sum(artifact.bytes for artifact in run.artifacts),
        "warnings": [text for text in run.warnings if text.startswith("no smoke")],
    }
    if kind == "json:raw":
        result["peer"] = _peer(_bundle(directory, run))
    return result


def sample_once(directory: Path, kind: str) -> dict[str, Any]:
    """One export in this process with looks at its stack: the functions that its phases wait for."""
    shutil.rmtree(directory / "exports", ignore_errors=True)
    phase = ""
    counted: Counter[tuple[str, str]] = Counter()

    def enter(name: str) -> None:
        nonlocal phase
        phase = name

    def count(function: str) -> None:
        counted[phase, function] += 1

    with sampling.sampled(count, wall=True):
        stores.export(stores.open_store(directory), kind, enter)
    build = Counter({function: number for (step, function), number in counted.items() if step == "build"})
    bolt = sum(number for function, number in build.items() if function.startswith(_BOLT))
    return {
        "boltShareOfBuild": round(100 * bolt / (build.total() or 1), 1),
        "functions": sampling.shares(
            Counter({name: n for (_, name), n in counted.items()}), _FUNCTIONS_SHOWN
        ),
    }


def _bundle(directory: Path, run: Run) -> Path:
    return directory / "exports" / str(run.export_id) / str(run.archive_id)


def _peer(bundle: Path) -> dict[str, float]:
    """Pack again what the export packed."""
    shards = [zstd.decompress(path.read_bytes()) for path in sorted(bundle.rglob("*.zst"))]
    start = time.perf_counter()
    with tempfile.TemporaryFile(dir=bundle) as out:
        for shard in shards:
            hasher = hashlib.sha256()
            compressor = zstd.ZstdCompressor(options=ZSTD_OPTIONS)
            for place in range(0, len(shard), _PIECE):
                piece = shard[place : place + _PIECE]
                hasher.update(piece)
                out.write(compressor.compress(piece))
            out.write(compressor.flush())
        out.flush()
        os.fsync(out.fileno())
    return {"wall": time.perf_counter() - start, "bytes": sum(map(len, shards))}


def measure(runs: int, generated: int | None, directory: Path) -> dict[str, Any]:
    """Fill a store, then alternate the exports; medians."""
    archives = {} if generated else real_documents.archives()
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        data = "real data of shared/data/advisories"
        if not archives:
            count = generated or 50_000
            data = f"{count:,} generated documents" + ("" if generated else " (real data is absent)")
            archives = {"generated": Path(scratch) / "generated.zip"}
            documents.write_zip(archives["generated"], count)
        store = Path(scratch) / "data"
        words = [word for name, path in archives.items() for word in (name, str(path))]
        filled = _in_process("--fill", str(store), *words)
        results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
        for _ in range(runs):
            for kind in _KINDS:
                results[kind].append(_in_process("--once", str(store), kind))
        sampled = {kind: _in_process("--sample", str(store), kind) for kind in _KINDS}
    return {
        "machine": machine.describe(),
        "data": data,
        "sources": len(archives),
        "documents": filled["documents"],
        "importSeconds": round(filled["wall"], 1),
        "runs": runs,
        "kinds": {kind: {**_summary(results[kind]), **sampled[kind]} for kind in _KINDS},
    }


def _in_process(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.export_phases", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    walls = [result["wall"] for result in results]
    summary: dict[str, Any] = {
        "wall": round(statistics.median(walls), 2),
        "fastest": round(min(walls), 2),
        "slowest": round(max(walls), 2),
        "phases": {
            phase: round(statistics.median(result["phases"].get(phase, 0.0) for result in results), 2)
            for phase in PHASES
        },
        "bytes": results[0]["bytes"],
        "warnings": results[0]["warnings"],
    }
    if "peer" in results[0]:
        peer = statistics.median(result["peer"]["wall"] for result in results)
        size = results[0]["peer"]["bytes"]
        summary["peer"] = {
            "wall": round(peer, 2),
            "bytes": size,
            "megabytesPerSecond": round(size / peer / 1e6),
        }
        summary["buildToPeer"] = round(summary["phases"]["build"] / peer, 2)
        summary["wholeToPeer"] = round(summary["wall"] / peer, 2)
    return summary


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    came = f"{result['documents']:,} documents of {result['sources']} sources"
    lines = [
        machine.line(result["machine"]),
        f"{result['data']}: {came}, imported in {result['importSeconds']} s; {result['runs']} runs each",
        f"{'median s':<12}"
        + "".join(f"{phase:>9}" for phase in PHASES)
        + f"{'whole':>9}{'spread':>16}{'MB':>8}",
    ]
    for kind, row in result["kinds"].items():
        spread = f"{row['fastest']} to {row['slowest']}"
        phases = "".join(f"{row['phases'][phase]:>9.2f}" for phase in PHASES)
        lines.append(f"{kind:<12}{phases}{row['wall']:>9.2f}{spread:>16}{row['bytes'] / 1e6:>8.1f}")
    raw, trivy = result["kinds"]["json:raw"], result["kinds"]["trivy:db"]
    lines.append(
        f"peer of json:raw (zstd and SHA-256 alone): {raw['peer']['wall']} s,"
        f" {raw['peer']['megabytesPerSecond']} MB/s; build takes {raw['buildToPeer']} times that,"
        f" the whole run {raw['wholeToPeer']} times"
    )
    lines.append(f"the bbolt writer takes {trivy['boltShareOfBuild']} % of the build of trivy:db")
    for kind, row in result["kinds"].items():
        lines.append(sampling.paragraph(f"time of {kind}", row["functions"]))
        lines.extend(f"{kind}: {warning}" for warning in row["warnings"])
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--generated", type=int, default=None, metavar="N", help="N made-up documents instead"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--fill", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--once", nargs=2, metavar=("STORE", "KIND"), help=argparse.SUPPRESS)
    parser.add_argument("--sample", nargs=2, metavar=("STORE", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        store, *words = options.fill
        archives = {name: Path(path) for name, path in zip(words[::2], words[1::2], strict=True)}
        print(json.dumps(fill(Path(store), archives)))
    elif options.once:
        print(json.dumps(export_once(Path(options.once[0]), options.once[1])))
    elif options.sample:
        print(json.dumps(sample_once(Path(options.sample[0]), options.sample[1])))
    else:
        result = measure(options.runs, options.generated, options.directory or Path(tempfile.gettempdir()))
        print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
