"""How much memory an import and both exports take at most, with some data and with four times as much.

    python -m benchmarks.memory [--documents 40000] [--format json]

Every figure is the peak of a process of its own: the most that was resident (`ru_maxrss`), with files that it maps,
and the most seen of what belongs to it alone (a look every 10 ms), which no other process can be given meanwhile.
The documents are made up (`benchmarks.documents`). What grows with the data shows as a ratio near 4.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import documents, machine, stores

_MIB = 1024 * 1024
_FACTOR = 4
_LOOK_SECONDS = 0.01
_STEPS = ("import", "again", "json:raw", "trivy:db")


def run_step(step: str, store: Path, archive: Path) -> dict[str, int]:
    """One step in this process; its peaks in bytes."""
    local = stores.open_store(store)

    def work() -> None:
        if step in ("import", "again"):
            stores.fill(local, "generated", [archive])
        else:
            stores.export(local, step)

    return _peaks(work)


def _peaks(work: Callable[[], None]) -> dict[str, int]:
    own = _own_memory()
    highest = own
    done = threading.Event()

    def look() -> None:
        nonlocal highest
        while not done.wait(_LOOK_SECONDS):
            highest = max(highest, _own_memory())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"resident": peak, "own": highest, "ownBefore": own}


def _own_memory() -> int:
    """Resident memory that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(count: int, directory: Path) -> dict[str, Any]:
    """Every step at both sizes."""
    sizes: list[dict[str, Any]] = []
    for documents_made in (count, count * _FACTOR):
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            archive, store = Path(scratch) / "documents.zip", Path(scratch) / "data"
            _in_process("--generate", str(archive), str(documents_made))
            steps = {step: _in_process("--step", step, str(store), str(archive)) for step in _STEPS}
        sizes.append({"documents": documents_made, "steps": steps})
    few, many = sizes
    ratios = {
        step: {
            name: round(many["steps"][step][name] / few["steps"][step][name], 2)
            for name in ("resident", "own")
        }
        for step in _STEPS
    }
    return {"machine": machine.describe(), "sizes": sizes, "ratios": ratios}


def _in_process(*words: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, int] = json.loads(done.stdout or "{}")
    return result


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    few, many = result["sizes"]
    lines = [
        machine.line(result["machine"]),
        f"{'peak MiB':<10}{few['documents']:>10,}{'own':>6}{many['documents']:>12,}{'own':>6}{'ratio':>8}{'own':>6}",
    ]
    for step in _STEPS:
        first, second, ratio = few["steps"][step], many["steps"][step], result["ratios"][step]
        lines.append(
            f"{step:<10}{first['resident'] / _MIB:>10.0f}{first['own'] / _MIB:>6.0f}"
            f"{second['resident'] / _MIB:>12.0f}{second['own'] / _MIB:>6.0f}{ratio['resident']:>8}{ratio['own']:>6}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=40_000, help="the smaller number")
    parser.add_argument(
        "--runs", type=int, default=1, help="taken for the sake of `make bench`; one run tells"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--generate", nargs=2, metavar=("ARCHIVE", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs=3, metavar=("STEP", "STORE", "ARCHIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        documents.write_zip(Path(options.generate[0]), int(options.generate[1]))
    elif options.step:
        step, store, archive = options.step
        print(json.dumps(run_step(step, Path(store), Path(archive))))
    else:
        result = measure(options.documents, options.directory or Path(tempfile.gettempdir()))
        print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
