"""Stock Trivy as a process, always offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stellaops.bundles.trivy.buckets import Bucket, bucket_named
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaSentinel
from stellaops.core.errors import DependencyFailed, MissingPrerequisite
from stellaops.kit import trivy_cache

OFFLINE = (
    "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry",
    "--skip-vex-repo-update", "--quiet", "--no-progress",
)  # fmt: skip
_TIMEOUT_SECONDS = 300
_ANY_UUID = "00000000-0000-4000-8000-000000000000"

_PURL_TYPES = {
    "bitnami": "bitnami", "cargo": "cargo", "cocoapods": "cocoapods", "composer": "composer", "conan": "conan",
    "erlang": "hex", "go": "golang", "julia": "julia", "k8s": "k8s", "maven": "maven", "npm": "npm",
    "nuget": "nuget", "pip": "pypi", "pub": "pub", "rubygems": "gem", "swift": "swift",
}  # fmt: skip
# Distributions by the beginning of their buckets: purl type, purl namespace, family. Trivy passes over packages whose
# namespace is not the one that belongs to the family. What follows in the bucket's name is the release.
_DISTRIBUTIONS = (
    ("debian ", "deb", "debian", "debian"), ("ubuntu ", "deb", "ubuntu", "ubuntu"),
    ("alpine ", "apk", "alpine", "alpine"), ("alma ", "rpm", "alma", "alma"), ("rocky ", "rpm", "rocky", "rocky"),
    ("Photon OS ", "rpm", "photon", "photon"), ("Azure Linux ", "rpm", "azurelinux", "azurelinux"),
    ("CBL-Mariner ", "rpm", "cbl-mariner", "cbl-mariner"), ("SUSE Linux Enterprise Micro ", "rpm", "suse", "slem"),
    ("SUSE Linux Enterprise ", "rpm", "suse", "sles"), ("openSUSE Leap ", "rpm", "opensuse", "opensuse-leap"),
    ("openSUSE Tumbleweed", "rpm", "opensuse", "opensuse-tumbleweed"), ("wolfi", "apk", "wolfi", "wolfi"),
    ("chainguard", "apk", "chainguard", "chainguard"), ("minimos", "apk", "minimos", "minimos"),
    ("echo", "deb", "echo", "echo"),
)  # fmt: skip
_ROLLING = "20230201"
"""A release for distributions that have none: any will do, but one must be there."""


class TrivyMissing(MissingPrerequisite):
    """No trivy program was found."""

    code = "ERR_TRIVY_MISSING"
    hint = "Install Trivy, or give its path with STELLA_TRIVY; `make setup` installs it where a wheel exists."


class TrivyFailed(DependencyFailed):
    """Trivy ended with an error."""

    code = "ERR_TRIVY_FAILED"
    hint = "Run the scan by hand with the options shown to see Trivy's own messages."


class StockTrivy:
    """`exports.ports.Scanner`."""

    def __init__(self, program: str | None = None) -> None:
        self._program = program

    def program(self) -> Path:
        """The trivy binary: as configured, beside the running Python, or on PATH.

        Raises:
            TrivyMissing: there is none.
        """
        beside = Path(sys.executable).parent / "trivy"
        found = self._program or (str(beside) if beside.exists() else shutil.which("trivy"))
        if not found or not Path(found).exists():
            raise TrivyMissing("no trivy was found")
        return Path(found)

    def available(self) -> str | None:
        """See the port."""
        try:
            done = subprocess.run(
                [self.program(), "--version"], capture_output=True, text=True, timeout=60, check=True
            )
        except (TrivyMissing, OSError, subprocess.SubprocessError):
            return None
        return done.stdout.partition("\n")[0].removeprefix("Version: ").strip()

    def scan(self, target: Path, cache: Path, *, kind: str = "fs") -> dict[str, Any]:
        """Scan a directory (`fs`) or an SBOM (`sbom`) with a cache's database; Trivy's JSON report.

        The kind `rootfs` lists the packages of a directory, jars among them, as CycloneDX: without any vulnerability.

        Raises:
            TrivyMissing, TrivyFailed: see there.
        """
        command = [
            str(self.program()), kind, *OFFLINE, "--cache-dir", str(cache),
            "--format", "cyclonedx" if kind == "rootfs" else "json",
            *(("--scanners", "vuln") if kind == "fs" else ()), str(target),
        ]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRIVY_")}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
                env=environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrivyFailed(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            raise TrivyFailed(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
        report = json.loads(done.stdout)
        assert isinstance(report, dict)  # noqa: S101 - Trivy's report is an object
        return report

    def missing(self, archive: Path, sentinels: Sequence[Sentinel], scratch: Path) -> list[str]:
        """See the port: one SBOM for the language packages, one for each release of a distribution."""
        cache = scratch / "trivy-cache"
        trivy_cache.load(archive, cache)
        groups: dict[str, list[Sentinel]] = {}
        for sentinel in sentinels:
            bucket = bucket_named(sentinel.bucket)
            groups.setdefault("" if bucket.language else bucket.name, []).append(sentinel)
        problems = []
        for name, group in sorted(groups.items()):
            sbom = scratch / "smoke.cdx.json"
            sbom.write_text(json.dumps(_sbom(bucket_named(name) if name else None, group)), encoding="utf-8")
            found = _found(self.scan(sbom, cache, kind="sbom"))
            problems += [
                f"{s.id} was not found in {s.package} {s.version} ({s.bucket})"
                for s in group
                if (_purl(s), s.id) not in found
            ]
        shutil.rmtree(cache, ignore_errors=True)
        return problems

    def unrecognised(self, archive: Path, sentinels: Sequence[JavaSentinel], scratch: Path) -> list[str]:
        """See the port: a jar that says nothing of itself for each, which Trivy can only look up by its name."""
        if not sentinels:
            return []
        cache, target = scratch / "trivy-java-cache", scratch / "jars"
        trivy_cache.load(archive, cache)
        for number, each in enumerate(sentinels):
            folder = target / f"{number:03}"
            folder.mkdir(parents=True)
            with zipfile.ZipFile(folder / each.file_name, "w") as jar:
                jar.writestr("smoke.txt", f"{each.group} {each.file_name}")
        components = self.scan(target, cache, kind="rootfs").get("components") or ()
        found = {
            (component.get("group"), component.get("name"), component.get("version"))
            for component in components
        }
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        return [
            f"{each.file_name} was not recognised as of {each.group}"
            for each in sentinels
            if (each.group, each.artifact, each.version) not in found
        ]


def _found(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (finding["PkgIdentifier"]["BOMRef"], finding["VulnerabilityID"])
        for result in report.get("Results") or ()
        for finding in result.get("Vulnerabilities") or ()
    }


def _sbom(bucket: Bucket | None, sentinels: Sequence[Sentinel]) -> dict[str, Any]:
    components = [_component(sentinel) for sentinel in sentinels]
    if bucket is not None:
        _, _, family, release = _system(bucket)
        components.append({"type": "operating-system", "bom-ref": "os", "name": family, "version": release})
    # Two buckets may have the same package for their sentinel; a document names a component once.
    once = {component["bom-ref"]: component for component in components}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": list(once.values())}


def _component(sentinel: Sentinel) -> dict[str, Any]:
    purl = _purl(sentinel)
    return {
        "type": "library",
        "bom-ref": purl,
        "name": sentinel.package,
        "version": sentinel.version,
        "purl": purl,
    }


def _purl(sentinel: Sentinel) -> str:
    bucket = bucket_named(sentinel.bucket)
    version = quote(sentinel.version, safe="")
    if not bucket.language:
        kind, namespace, family, release = _system(bucket)
        name = quote(sentinel.package, safe="")
        return f"pkg:{kind}/{namespace}/{name}@{version}?distro={family}-{quote(release, safe='')}"
    path = sentinel.package.replace(":", "/") if bucket.scheme == "maven" else sentinel.package
    # Components of Kubernetes have no namespace; the slash belongs to their name.
    purl = f"pkg:{_PURL_TYPES[bucket.scheme]}/{quote(path, safe='' if bucket.scheme == 'k8s' else '/')}@{version}"
    # Trivy reads no Julia package without a uuid; which one does not matter to a match.
    return f"{purl}?uuid={_ANY_UUID}" if bucket.scheme == "julia" else purl


def _system(bucket: Bucket) -> tuple[str, str, str, str]:
    for prefix, kind, namespace, family in _DISTRIBUTIONS:
        if bucket.name.startswith(prefix):
            return kind, namespace, family, bucket.name.removeprefix(prefix) or _ROLLING
    raise TrivyFailed(f"no SBOM can be made for the bucket {bucket.name!r}")
