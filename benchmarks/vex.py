"""How fast VEX comes in, and how fast its consensus is worked out: of everything, and after one changed document.

    python -m benchmarks.vex [--archive ARCHIVE] [--documents 500] [--runs 3] [--format json]

* `import`: an empty store takes all documents.
* `consensus`: every state is worked out.
* `changed`: the consensus after one document changed, for the document of the median number of statements and for the
  largest one. The import of the document is not counted.

Every run is a process of its own, whose peak memory is that of import and consensus together. Without an archive the
documents are made up, in the manner of a hub for VEX: some products, the same vulnerabilities in each.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, stores
from stellaops.adapters.files.inputs import FileInputs
from stellaops.bootstrap import Local, now
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import Member
from stellaops.vex.weights import Weights

_KINDS = ("import", "consensus", "changed median", "changed largest")
_SOURCE = "hub"
_MOST = 1200


def write_archive(path: Path, documents: int) -> None:
    """Documents of 10 to 1,200 statements, the same every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(documents):
            product = f"pkg:golang/example.org/project-{number}"
            statements = [_statement(product, place) for place in range(10 + number * 7919 % (_MOST - 10))]
            document = {
                "@context": "https://openvex.dev/ns/v0.2.0",
                "@id": f"https://openvex.dev/docs/public/vex-{number}",
                "author": "Example Security Team",
                "timestamp": "2024-03-01T00:00:00Z",
                "version": 1,
                "statements": statements,
            }
            archive.writestr(f"pkg/project-{number}/scan.openvex.json", json.dumps(document, indent=2))


def _statement(product: str, place: int) -> dict[str, Any]:
    return {
        "vulnerability": {"name": f"CVE-2024-{10_000 + place // 2}", "aliases": [f"GO-2024-{place // 2}"]},
        "products": [
            {
                "@id": f"{product}@v1.{place % 9}.0",
                "subcomponents": [{"@id": f"pkg:golang/stdlib@v1.20.{place % 12}"}],
            }
        ],
        "status": "not_affected",
        "justification": "vulnerable_code_not_present",
        "impact_statement": "The vulnerable code is not called",
        "timestamp": "2024-02-01T00:00:00Z",
    }


class _One:
    """One document as the only input."""

    def __init__(self, path: str, content: bytes) -> None:
        self._member = Member(path, content, f"file:///{path}", None, len(content))

    def fingerprint(self) -> str:
        """See the port."""
        return str(hash(self._member.content))

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port."""
        return iter([] if skip else [self._member])


def run_once(archive: Path, directory: Path) -> dict[str, Any]:
    """One run in this process."""
    local = stores.open_store(directory)
    begun = time.perf_counter(), time.process_time()
    report = _take(local, FileInputs([archive]))
    imported = time.perf_counter(), time.process_time()
    done = local.consensus.refresh(Weights())
    decided = time.perf_counter(), time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {"import": imported[0] - begun[0], "consensus": decided[0] - imported[0]}
    cpu = {"import": imported[1] - begun[1], "consensus": decided[1] - imported[1]}
    sizes = _sizes(archive)
    for name, path in (("median", sizes[len(sizes) // 2][1]), ("largest", sizes[-1][1])):
        seconds[f"changed {name}"], cpu[f"changed {name}"] = _change(local, archive, path)
    local.evidence_engine.dispose()
    counted = {"statements": report.statements, "documents": report.added, "states": done.examined}
    return {**counted, "peakBytes": peak, "seconds": seconds, "cpu": cpu}


def _change(local: Local, archive: Path, path: str) -> tuple[float, float]:
    """Seconds by the clock and of the processor for the consensus after one document says something else."""
    content = next(member.content for member in FileInputs([archive]).members() if member.path == path)
    document = json.loads(content)
    document["statements"][0] |= {"status": "fixed", "timestamp": "2024-03-01T00:00:00Z"}
    _take(local, _One(path, json.dumps(document).encode()))
    wall, cpu = time.perf_counter(), time.process_time()
    local.consensus.refresh(Weights())
    return time.perf_counter() - wall, time.process_time() - cpu


def _sizes(archive: Path) -> list[tuple[int, str]]:
    """The documents by their sizes."""
    members = FileInputs([archive]).members()
    return sorted((len(each.content), each.path) for each in members if b'"statements"' in each.content)


def _take(local: Local, inputs: Any) -> ImportReport:
    request = ImportRequest(_SOURCE, side=Side.VEX)
    return import_documents(request, inputs, sources=local.sources, store=local.imports, now=now)


def measure(archive: Path | None, documents: int, runs: int, directory: Path) -> dict[str, Any]:
    """Several runs; medians."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        if archive is None:
            archive = Path(scratch) / "hub.zip"
            write_archive(archive, documents)
        results = [_in_process(archive, scratch) for _ in range(runs)]
    return {
        "machine": machine.describe(),
        "runs": runs,
        **{name: results[0][name] for name in ("documents", "statements", "states")},
        "peakMiB": round(max(result["peakBytes"] for result in results) / (1 << 20)),
        "seconds": {kind: _median(results, "seconds", kind) for kind in _KINDS},
        "cpu": {kind: _median(results, "cpu", kind) for kind in _KINDS},
    }


def _in_process(archive: Path, scratch: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        command = [sys.executable, "-m", "benchmarks.vex", "--once", str(archive), place]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _median(results: Sequence[dict[str, Any]], unit: str, kind: str) -> float:
    return round(float(statistics.median(result[unit][kind] for result in results)), 3)


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        (
            f"{result['documents']:,} documents with {result['statements']:,} statements, {result['states']:,} states,"
            f" {result['runs']} runs; at most {result['peakMiB']} MiB resident"
        ),
        f"{'':<16}{'seconds':>10}{'CPU':>10}",
    ]
    lines += [f"{kind:<16}{result['seconds'][kind]:>10}{result['cpu'][kind]:>10}" for kind in _KINDS]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--archive", type=Path, help="VEX documents in a zip or tar archive")
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--once", nargs=2, metavar=("ARCHIVE", "PLACE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(Path(options.once[0]), Path(options.once[1]))))
        return 0
    archive = None if options.archive is None else options.archive.absolute()
    place = options.directory or Path(tempfile.gettempdir())
    result = measure(archive, options.documents, options.runs, place)
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
