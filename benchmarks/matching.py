"""Seconds to work out the findings of one bill of materials on a store that holds many advisories.

    python -m benchmarks.matching [--advisories PATH… --sbom FILE] [--documents 20000] [--runs 5] [--format json]

Each path becomes a source of its own. Without any, advisories are made up, and the bill of materials lists packages
that they are about. Measured is what `stella evidence findings` does once it has started: read the components, their
advisories, names and VEX statements, match, and render every finding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import documents, machine
from benchmarks.stores import TENANT, fill, open_store
from stellaops.adapters.files.inputs import FileInputs
from stellaops.bootstrap import Local, now
from stellaops.findings.find import Request, find
from stellaops.findings.finding import digest
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import owned_source

_COMPONENTS = 200
_TYPES = {
    "npm": "npm", "PyPI": "pypi", "Maven": "maven", "Go": "golang", "Packagist": "composer", "crates.io": "cargo",
    "RubyGems": "gem", "NuGet": "nuget",
}  # fmt: skip


def generate(folder: Path, count: int) -> tuple[Path, Path]:
    """Made-up advisories, and a bill of materials of packages that some of them are about."""
    advisories, bom = folder / "advisories.zip", folder / "bom.json"
    documents.write_zip(advisories, count)
    listed: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(advisories) as archive:
        for name in archive.namelist():
            for affected in json.loads(archive.read(name)).get("affected", ()):
                package = affected["package"]
                path = package["name"].replace(":", "/").replace("@", "%40")
                purl = f"pkg:{_TYPES[package['ecosystem']]}/{path}@1.0.0"
                listed[purl] = {"type": "library", "name": package["name"], "version": "1.0.0", "purl": purl}
            if len(listed) >= _COMPONENTS:
                break
    subject = {"type": "application", "name": "generated", "version": "1"}
    value = {"bomFormat": "CycloneDX", "specVersion": "1.5", "metadata": {"component": subject}}
    bom.write_text(json.dumps({**value, "components": list(listed.values())}), encoding="utf-8")
    return advisories, bom


def take_bom(local: Local, path: Path) -> None:
    """Take a bill of materials in as the tenant's."""
    request = ImportRequest(owned_source("sboms", TENANT), side=Side.SBOMS)
    import_documents(request, FileInputs([path]), sources=local.sources, store=local.imports, now=now)


def measure(advisories: Sequence[Path], bom: Path, runs: int, folder: Path) -> dict[str, Any]:
    """Fill a store, then work the findings out again and again."""
    local = open_store(folder / "data")
    stored = sum(fill(local, f"source-{number}", [path]).added for number, path in enumerate(advisories))
    take_bom(local, bom)
    tools = local.finding_tools
    (listed,) = tools.sboms.sboms(TENANT)
    seconds: list[float] = []
    digests: set[str] = set()
    count = 0
    for _ in range(runs):
        start = time.perf_counter()
        found = find(Request(TENANT), tools)
        digests.add(digest(found))
        seconds.append(time.perf_counter() - start)
        count = len(found)
    return {
        "machine": machine.describe(),
        "documents": stored,
        "components": listed.components,
        "findings": count,
        "runs": runs,
        "firstSeconds": seconds[0],
        "medianSeconds": statistics.median(seconds),
        "sameFindings": len(digests) == 1,
    }


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    same = "the same findings every time" if result["sameFindings"] else "NOT THE SAME FINDINGS"
    return "\n".join(
        (
            machine.line(result["machine"]),
            f"{'documents':>10}{'components':>12}{'findings':>10}{'first s':>9}{'median s':>10}",
            (
                f"{result['documents']:>10,}{result['components']:>12,}{result['findings']:>10,}"
                f"{result['firstSeconds']:>9.3f}{result['medianSeconds']:>10.3f}"
            ),
            f"{result['runs']} runs; {same}",
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--advisories", type=Path, nargs="+", default=[], help="what the store holds")
    parser.add_argument("--sbom", type=Path, help="the bill of materials, with --advisories")
    parser.add_argument("--documents", type=int, default=20_000, help="how many to make up otherwise")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the store is made")
    options = parser.parse_args()
    if bool(options.advisories) is not bool(options.sbom):
        parser.error("--advisories and --sbom go together")
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        folder = Path(scratch)
        if options.sbom:
            advisories, bom = options.advisories, options.sbom
        else:
            made, bom = generate(folder, options.documents)
            advisories = [made]
        result = measure(advisories, bom, options.runs, folder)
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0 if result["sameFindings"] else 1


if __name__ == "__main__":
    sys.exit(main())
