"""How much a delta takes beside the full archive of the same state: seconds, bytes, memory.

    python -m benchmarks.deltas [--documents 20000] [--share 1000] [--runs 1] [--format json]

A store is filled with made-up documents and exported in full. Then one document in `--share` changes, and the delta is
made and, for comparison, the full archive of the new state. `changed` is what the changed documents take packed alone,
at the level of the archive. Receiving is measured too: the delta applied, and the full archive restored.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backports import zstd

from benchmarks import documents, machine, stores
from stellaops.bootstrap import Local
from stellaops.bundles.jsonl.shards import LEVEL
from stellaops.exports.run import Run
from stellaops.kit.apply import Trust, apply_delta, restore

_SOURCE = "ghsa"


def write_changed(path: Path, count: int, share: int) -> int:
    """An archive of every `share`-th document, changed; the bytes of them packed alone."""
    changed = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(documents.documents(count)):
            if number % share == 0:
                document = json.loads(content)
                document["summary"] = f"{document.get('summary', '')} (corrected)"
                changed.append(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
                archive.writestr(name, changed[-1])
    return len(zstd.compress(b"\n".join(changed), LEVEL))


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call gives, and the seconds that it took."""
    wall, spent = time.perf_counter(), time.process_time()
    found = call()
    return found, {
        "seconds": round(time.perf_counter() - wall, 3),
        "processor": round(time.process_time() - spent, 3),
    }


def archive_of(local: Local, run: Run) -> Path:
    """The archive of a run."""
    root = local.artefacts.local_root(run.archive) if run.archive else None
    if root is None:
        raise SystemExit("the run has no archive on this disk")
    return next(root.glob("mirror-*.tar.zst"))


def measure(count: int, share: int, place: Path) -> dict[str, Any]:
    """Fill, export, change, export again."""
    documents.write_zip(place / "all.zip", count)
    alone = write_changed(place / "changed.zip", count, share)
    local = stores.open_store(place / "data")
    stores.fill(local, _SOURCE, [place / "all.zip"])
    base = stores.export(local, "mirror:full")
    report = stores.fill(local, _SOURCE, [place / "changed.zip"])
    delta, delta_time = timed(lambda: stores.export(local, "mirror:delta"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    full, full_time = timed(lambda: stores.export(local, "mirror:full"))
    if delta.export_id != full.export_id:
        raise SystemExit("the delta does not lead to the full archive's state")
    trust = Trust(*local.tenant_keys.trusted(stores.TENANT))
    restore([archive_of(local, base)], place / "into", trust)
    _, applied = timed(lambda: apply_delta(archive_of(local, delta), place / "into", trust))
    _, restored = timed(lambda: restore([archive_of(local, full)], place / "other", trust))
    return {
        "machine": machine.describe(),
        "documents": count,
        "changed": report.changed,
        "changedBytes": alone,
        "delta": {**delta_time, "bytes": archive_of(local, delta).stat().st_size, "peakMiB": peak},
        "full": {**full_time, "bytes": archive_of(local, full).stat().st_size},
        "apply": applied,
        "restore": restored,
    }


def table(found: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        f"{found['changed']} of {found['documents']} documents changed: {found['changedBytes']:,} bytes alone",
        "",
    ]
    lines.insert(0, machine.line(found["machine"]))
    lines.append(f"{'':<10}{'seconds':>9}{'processor':>11}{'bytes':>14}")
    for name in ("delta", "full", "apply", "restore"):
        row = found[name]
        size = f"{row['bytes']:,}" if "bytes" in row else ""
        lines.append(f"{name:<10}{row['seconds']:>9.2f}{row['processor']:>11.2f}{size:>14}")
    lines.append(f"\npeak memory until the delta was made: {found['delta']['peakMiB']} MiB")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--share", type=int, default=1000, help="one document in so many changes")
    parser.add_argument("--runs", type=int, default=1, help="of which the one of the median delta is told")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    options = parser.parse_args()
    made = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="stella-deltas-", dir=options.directory) as directory:
            made.append(measure(options.documents, options.share, Path(directory)))
    found = sorted(made, key=lambda each: each["delta"]["seconds"])[len(made) // 2]
    print(json.dumps(found, indent=2) if options.format == "json" else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
