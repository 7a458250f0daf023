"""Real advisories against real lock files and SBOMs: stock Trivy finds what the documents themselves say.

What must be found is worked out here once more, with nothing of the product: lock files and documents are read as they
stand, ranges are evaluated event by event as OSV describes it, versions are ordered by `packaging` for PyPI and by
plain semantic versioning for Go and crates.io. docs/use/scan-agreement.md explains the numbers.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.version import Version

from stellaops.matching.versions.registry import scheme_of
from tests.support.shared import require_shared
from tests.support.tools import ROOT
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import Finding, component, findings, once, packages, sbom, scan

SOURCES = (
    "pypa-osv", "rustsec-osv", "govuln-osv", "bitnami-osv", "almalinux-osv", "julia-osv", "ossfuzz-osv",
    "cleanstart-osv", "dhi-osv", "k8s-osv", "haskell-osv", "rconsortium-osv", "ghsa-sample",
)  # fmt: skip
TARGETS = "data/scan-targets"
Document = dict[str, Any]
Packages = set[tuple[str, str]]
Order = Callable[[str], Any]


# ---- the documents, as they stand


@functools.cache
def documents(source: str) -> tuple[Document, ...]:
    """All documents of a source that are not withdrawn."""
    found = []
    with zipfile.ZipFile(require_shared(f"data/advisories/{source}/all.zip")) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                found.append(json.loads(archive.read(name)))
            elif name.endswith((".yaml", ".yml")):
                found.append(yaml.load(archive.read(name), Loader=yaml.CBaseLoader))  # noqa: S506
    return tuple(document for document in found if not document.get("withdrawn"))


def found_as(document: Document, fields: Iterable[str] = ("aliases",)) -> list[str]:
    """Every CVE of a document, or its own id where it has none."""
    for field in fields:
        names = {name.strip() for name in [document["id"], *document.get(field, ())]}
        cves = sorted(name for name in names if re.fullmatch(r"CVE-\d{4}-\d{4,}", name))
        if cves:
            return cves
    return [document["id"]]


def in_range(events: list[dict[str, str]], version: str, order: Order) -> bool:
    """OSV's evaluation: events in the order of their versions switch a version on and off."""
    key, affected = order(version), False

    def place(event: dict[str, str]) -> Any:
        ((kind, bound),) = event.items()
        return (False,) if kind == "introduced" and bound == "0" else (True, order(bound))

    for event in sorted(events, key=place):
        ((kind, bound),) = event.items()
        if kind == "introduced" and (bound == "0" or key >= order(bound)):
            affected = True
        elif (kind == "fixed" and key >= order(bound)) or (kind == "last_affected" and key > order(bound)):
            affected = False
    return affected


def is_affected(affected: dict[str, Any], version: str, order: Order) -> bool:
    ranges = (one for one in affected.get("ranges", ()) if one["type"] != "GIT")
    return any(in_range(one["events"], version, order) for one in ranges) or any(
        same(listed, version, order) for listed in affected.get("versions", ())
    )


def same(listed: str, version: str, order: Order) -> bool:
    try:
        return bool(order(listed) == order(version))
    except ValueError:
        return False


class Semver(NamedTuple):
    """A place in the order of semantic versioning 2.0."""

    release: tuple[int, ...]
    is_release: bool
    labels: tuple[tuple[bool, int, str], ...]


def semver(text: str) -> Semver:
    version, _, _build = text.removeprefix("v").partition("+")
    release, _, labels = version.partition("-")
    numbers = [int(number) for number in release.split(".")]
    return Semver(
        (*numbers, *[0] * (3 - len(numbers))),
        not labels,
        tuple(
            (False, int(label), "") if label.isdigit() else (True, 0, label)
            for label in labels.split(".")
            if labels
        ),
    )


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


@functools.cache
def affected_by_name(ecosystem: str) -> Mapping[str, list[tuple[Document, dict[str, Any]]]]:
    found = defaultdict(list)
    for source in ("pypa-osv", "rustsec-osv", "govuln-osv", "ghsa-sample"):
        for document in documents(source):
            for affected in document.get("affected", ()):
                package = affected.get("package") or {}
                if package.get("ecosystem") == ecosystem:
                    name = package["name"]
                    found[normal(name) if ecosystem == "PyPI" else name].append((document, affected))
    return found


def expected(ecosystem: str, installed: Packages) -> dict[Finding, set[str]]:
    """What must be found, with the documents that say so."""
    order: Order = Version if ecosystem == "PyPI" else semver
    found: dict[Finding, set[str]] = defaultdict(set)
    for name, version in installed:
        known = normal(name) if ecosystem == "PyPI" else name
        for document, affected in affected_by_name(ecosystem).get(known, ()):
            if is_affected(affected, version, order):
                for identifier in found_as(document):
                    found[Finding(name, version, identifier)].add(document["id"])
    return found


# ---- lock files and SBOMs, as they stand


def requirements(path: Path) -> Packages:
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE))


def cargo_lock(path: Path) -> Packages:
    lock = tomllib.loads(path.read_text(encoding="utf-8"))
    return {(package["name"], package["version"]) for package in lock["package"]}


def statements(text: str, word: str) -> Iterator[str]:
    """The lines of a word's blocks and single lines in a go.mod."""
    for block in re.findall(rf"^{word} \((.*?)^\)", text, re.MULTILINE | re.DOTALL):
        yield from filter(str.strip, block.splitlines())
    yield from re.findall(rf"^{word} ([^(].*)$", text, re.MULTILINE)


def go_module(folder: Path) -> Packages:
    """What a go.mod requires after its replacements; before Go 1.17 the rest stands in go.sum alone."""
    text = re.sub(r"//.*", "", (folder / "go.mod").read_text(encoding="utf-8"))
    installed = dict(line.split()[:2] for line in statements(text, "require"))
    for line in statements(text, "replace"):
        old, new = (side.split() for side in line.split("=>"))
        if old[0] in installed and old[1:] in ([], [installed[old[0]]]):
            del installed[old[0]]
            if len(new) == 2:
                installed[new[0]] = new[1]
    release = re.search(r"^go (\d+)\.(\d+)", text, re.MULTILINE)
    if release and (int(release[1]), int(release[2])) < (1, 17):
        lines = (folder / "go.sum").read_text(encoding="utf-8").splitlines()
        highest = {name: version.removesuffix("/go.mod") for name, version, _ in map(str.split, lines)}
        installed = highest | installed
    return set(installed.items())


def go_components(path: Path) -> Packages:
    bom = json.loads(path.read_text(encoding="utf-8"))
    return {
        (component["name"], component["version"])
        for component in bom["components"]
        if component.get("purl", "").startswith("pkg:golang/")
    }


SYFT = "sbom-cyclonedx-syft/syft-cyclonedx-docker.io-library-{}.latest.json"


class Case(NamedTuple):
    """A target; `counts` are its packages, findings, and findings without the documents of `ghsa-sample`."""

    path: str
    ecosystem: str
    read: Callable[[Path], Packages]
    counts: tuple[int, int, int]


CASES = {
    "warehouse": Case("warehouse-2021/requirements/main.txt", "PyPI", requirements, (122, 77, 77)),
    "healthchecks": Case("healthchecks-2020/requirements.txt", "PyPI", requirements, (7, 13, 13)),
    "crates.io": Case("crates.io-2021/Cargo.lock", "crates.io", cargo_lock, (351, 59, 59)),
    "ripgrep": Case("ripgrep-11.0.1-2019/Cargo.lock", "crates.io", cargo_lock, (82, 14, 14)),
    "csaf-rs": Case("csaf-rs-2026/Cargo.lock", "crates.io", cargo_lock, (281, 0, 0)),
    "harbor": Case("harbor-2021/src", "Go", go_module, (566, 193, 191)),
    "longhorn": Case("longhorn-manager-v1.9.1", "Go", go_module, (126, 37, 37)),
    "consul": Case(SYFT.format("consul"), "Go", go_components, (161, 87, 85)),
    "caddy": Case(SYFT.format("caddy"), "Go", go_components, (115, 74, 72)),
}


# ---- the database


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    for source in SOURCES:
        folder = require_shared(f"data/advisories/{source}")
        stella("concelier", "import", str(folder), "--source", source.removesuffix("-osv"))
    run = stella.submit("trivy:db")
    (place / "run.json").write_text(json.dumps(run), encoding="utf-8")
    stella(
        "trivy",
        "import",
        str(stella.bundle(run) / "trivy" / "db.bundle"),
        "--cache-dir",
        str(place / "cache"),
    )


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for source in SOURCES:
        require_shared(f"data/advisories/{source}/all.zip")
    return once(tmp_path_factory, "scanned-real", prepare)


def target(case: Case, tmp_path: Path) -> Path:
    """What to give to Trivy: a folder with one lock file, or the SBOM."""
    path = require_shared(f"{TARGETS}/{case.path}")
    if path.is_dir():
        return path
    if path.suffix != ".json":
        name = "requirements.txt" if path.suffix == ".txt" else path.name
        path = Path(shutil.copyfile(path, tmp_path / name))
        return path.parent
    return path


@pytest.mark.parametrize("name", sorted(CASES))
def test_trivy_finds_in_a_real_target_exactly_what_the_documents_say(
    name: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    case = CASES[name]
    installed = case.read(require_shared(f"{TARGETS}/{case.path}"))
    must = expected(case.ecosystem, installed)
    report = scan(no_network, trivy, made / "cache", target(case, tmp_path), "--list-all-pkgs")
    found = findings(report)
    assert sorted(found - must.keys()) == []
    assert sorted(must.keys() - found) == []
    assert installed <= packages(report)
    without_sample = [one for one, by in must.items() if any(not each.startswith("GHSA-") for each in by)]
    assert (len(installed), len(found), len(without_sample)) == case.counts


def test_each_number_of_a_target_stands_in_the_document_that_explains_it() -> None:
    text = (ROOT / "docs" / "use" / "scan-agreement.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    for case in CASES.values():
        told = [row for row in rows if row[0] == f"`{case.path}`"]
        assert [tuple(map(int, row[2:5])) for row in told] == [case.counts]


def test_every_warning_of_the_run_is_about_a_text_that_no_scanner_could_compare(made: Path) -> None:
    run = json.loads((made / "run.json").read_text(encoding="utf-8"))
    assert 100 < len(run["warnings"]) < 400
    assert all(" left out: " in warning for warning in run["warnings"])
    sources = {warning.partition(" ")[0] for warning in run["warnings"]}
    assert sources <= {"bitnami", "pypa", "dhi", "julia", "k8s"}


# ---- AlmaLinux: an SBOM written here, with packages of both kinds

INSTALLED = (
    # name, version-release, epoch, module stream
    ("bind-libs", "9.11.26-3.el8", 32, ""),
    ("curl", "7.61.1-18.el8", 0, ""),
    ("glibc", "2.28-151.el8", 0, ""),
    ("gnutls", "3.6.14-7.el8_3", 0, ""),
    ("grub2-common", "2.02-99.el8", 1, ""),
    ("kernel", "4.18.0-305.el8", 0, ""),
    ("libxml2", "2.9.7-9.el8", 0, ""),
    ("nodejs", "16.8.0-1.module_el8.5.0+2551+9c5a6e3f", 1, "nodejs:16:8050020210914:abcdef12"),
    ("npm", "7.21.0-1.16.8.0.1.module_el8.5.0+2551+9c5a6e3f", 1, "nodejs:16:8050020210914:abcdef12"),
    ("openssl-libs", "1.1.1g-15.el8_3", 1, ""),
    ("perl-interpreter", "5.26.3-419.el8", 4, ""),
    ("python3-libs", "3.6.8-37.el8", 0, ""),
    ("sudo", "1.8.29-7.el8", 0, ""),
    ("vim-minimal", "8.0.1763-15.el8", 2, ""),
    ("zlib", "1.2.11-17.el8", 0, ""),
    # Newer than every fix, and a name that no erratum has: nothing to find.
    ("bzip2-libs", "99.0-1.el8", 0, ""),
    ("no-such-package", "1.0-1.el8", 0, ""),
)


def alma_fixes() -> Iterator[tuple[str, str, list[str]]]:
    """Package key, fixed version and CVEs of every security erratum of AlmaLinux 8."""
    for document in documents("almalinux-osv"):
        cves = found_as(document, ("aliases", "upstream", "related"))
        if not document["id"].startswith("ALSA-"):
            continue
        stream = document["summary"].rpartition(": ")[2].partition(" ")[0]
        for affected in document["affected"]:
            package = affected["package"]
            for event in (event for one in affected["ranges"] for event in one["events"]):
                if package["ecosystem"] == "AlmaLinux:8" and "fixed" in event:
                    modular = ".module_" in event["fixed"] and ":" in stream
                    yield (f"{stream}::" if modular else "") + package["name"], event["fixed"], cves


def test_trivy_finds_in_an_almalinux_sbom_exactly_what_the_errata_say(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    rpm = scheme_of("alma")
    fixes = defaultdict(list)
    for key, fixed, cves in alma_fixes():
        fixes[key].append((fixed, cves))
    must, components = set(), []
    for name, version, epoch, label in INSTALLED:
        shown = f"{epoch}:{version}" if epoch else version
        key = "::".join(filter(None, (":".join(label.split(":")[:2]) if label else "", name)))
        must |= {
            Finding(name, shown, cve)
            for fixed, cves in fixes[key]
            if rpm.compare(shown, fixed) < 0
            for cve in cves
        }
        properties = {"Modularitylabel": label} if label else {}
        qualifiers = f"arch=x86_64&epoch={epoch}&distro=alma-8.4"
        components.append(component("rpm", f"alma/{name}", version, qualifiers, **properties))
    target = tmp_path / "alma.cdx.json"
    target.write_text(json.dumps(sbom(components, ("alma", "8.4"))), encoding="utf-8")
    found = findings(scan(no_network, trivy, made / "cache", target))
    assert found == must
    assert len(found) >= 10
    assert {"nodejs", "npm", "openssl-libs", "zlib"} <= {each.package for each in found}
    assert not {"bzip2-libs", "no-such-package"} & {each.package for each in found}


def test_trivy_finds_nothing_from_a_source_that_is_not_trusted_for_the_distribution(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    """CleanStart's documents call themselves Alpine; no bucket of Alpine may come of them."""
    names = {
        affected["package"]["name"]
        for document in documents("cleanstart-osv")[:400]
        for affected in document.get("affected", ())
        if affected["package"]["ecosystem"].partition(":")[0] == "Alpine"
    }
    assert len(names) > 5
    components = [component("apk", f"alpine/{name}", "0.0.1-r0") for name in sorted(names)]
    for release in ("3.18.0", "3.20.1"):
        target = tmp_path / f"alpine-{release}.cdx.json"
        target.write_text(json.dumps(sbom(components, ("alpine", release))), encoding="utf-8")
        report = scan(no_network, trivy, made / "cache", target, "--list-all-pkgs")
        assert len(packages(report)) == len(names)
        assert findings(report) == set()
