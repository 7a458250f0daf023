"""Stock Trivy without a network, and things that all test processes of one session share."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

OFFLINE = (
    "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry",
    "--quiet", "--format", "json",
)  # fmt: skip


class Finding(NamedTuple):
    """A vulnerability that Trivy reports of a package."""

    package: str
    version: str
    id: str


def scan(
    before: Sequence[str], trivy: Path, cache: Path, target: Path, *more: str, kind: str | None = None
) -> dict[str, Any]:
    """Trivy's report of a directory (`fs`) or of an SBOM (`sbom`)."""
    chosen = kind or ("fs" if target.is_dir() else "sbom")
    scanners = ("--scanners", "vuln") if chosen == "fs" else ()
    done = subprocess.run(
        [*before, str(trivy), chosen, "--cache-dir", str(cache), *OFFLINE, *scanners, *more, str(target)],
        env={name: value for name, value in os.environ.items() if not name.startswith("TRIVY_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def vulnerabilities(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that a report lists, in its order."""
    return [found for result in report.get("Results") or () for found in result.get("Vulnerabilities") or ()]


def findings(report: dict[str, Any]) -> set[Finding]:
    """What a report lists, without the rest."""
    return {
        Finding(found["PkgName"], found["InstalledVersion"], found["VulnerabilityID"])
        for found in vulnerabilities(report)
    }


def packages(report: dict[str, Any]) -> set[tuple[str, str]]:
    """The packages with versions that Trivy saw; needs `--list-all-pkgs`."""
    return {
        (package["Name"], package["Version"])
        for result in report.get("Results") or ()
        for package in result.get("Packages") or ()
        if package.get("Version")
    }


def sbom(components: Iterable[dict[str, Any]], system: tuple[str, str] | None = None) -> dict[str, Any]:
    """A CycloneDX document; `system` is family and release of an operating system."""
    listed = list(components)
    if system is not None:
        listed.insert(
            0, {"type": "operating-system", "bom-ref": "os", "name": system[0], "version": system[1]}
        )
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": listed}


def component(
    kind: str, path: str, version: str, qualifiers: str = "", *, name: str = "", **properties: str
) -> dict[str, Any]:
    """A library named by its package URL, with properties in Trivy's name space."""
    place = quote(path, safe="" if kind == "k8s" else "/")
    purl = f"pkg:{kind}/{place}@{quote(version, safe='')}{'?' if qualifiers else ''}{qualifiers}"
    return {
        "type": "library",
        "bom-ref": purl + "".join(f"#{value}" for value in properties.values()),
        "name": name or path.rpartition("/")[2],
        "version": version,
        "purl": purl,
        "properties": [
            {"name": f"aquasecurity:trivy:{key}", "value": value} for key, value in properties.items()
        ],
    }


def unpack(archive: Path, into: Path) -> Path:
    """The `trivy.db` of a `db.bundle`."""
    with tarfile.open(archive, "r:gz") as members:
        members.extractall(into, filter="data")
    return into / "trivy.db"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory that the first test process of a session makes and all others use."""
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    place = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            growing = shared / f"{name}.growing"
            growing.mkdir()
            make(growing)
            growing.rename(place)
    return place
