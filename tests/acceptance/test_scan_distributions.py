"""Distributions' own feeds against SBOMs: stock Trivy finds what the feeds themselves say.

What must be found is worked out here once more, from the feeds' own words: text lists and YAML are read as they stand.
The versions are ordered by the schemes of apk, dpkg and rpm, which have tests of their own. The first half needs
nothing but the small samples of `tests/contract/feed_samples`; the second takes real feeds.
"""

from __future__ import annotations

import functools
import json
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import scheme_of
from tests.contract.feed_samples import alpine_secdb, alpine_secdb__wolfi, debian_dsa, debian_tracker
from tests.support.shared import require_shared
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import Finding, component, once, sbom, scan, vulnerabilities

Installed = Mapping[str, str]
"""Package name to version."""
Fixes = Mapping[str, list[tuple[str, list[str]]]]
"""Package name to fixed versions with what they fix."""


class System(NamedTuple):
    """A distribution: family, release, type and name space of its packages' purls."""

    family: str
    release: str
    kind: str

    def sbom(self, installed: Installed) -> dict[str, Any]:
        components = []
        for name, version in installed.items():
            epoch, colon, rest = version.rpartition(":")
            qualifier = f"epoch={epoch}" if colon else ""
            components.append(component(self.kind, f"{self.family}/{name}", rest, qualifier))
        return sbom(components, (self.family, self.release))


DEBIAN = System("debian", "11.6", "deb")
ALPINE = System("alpine", "3.11.6", "apk")
WOLFI = System("wolfi", "20230201", "apk")

Ask = Callable[[System, Installed, str], list[dict[str, Any]]]


# ---- databases


def take(place: Path, name: str, sources: Mapping[str, Iterable[Path]]) -> None:
    """Import sources into a data directory of their own, and load its database into a cache of the same name."""
    stella = Stella(place / name / "data")
    for source, paths in sources.items():
        stella("concelier", "import", *map(str, paths), "--source", source)
    bundle = stella.bundle(stella.submit("trivy:db")) / "trivy" / "db.bundle"
    stella("trivy", "import", str(bundle), "--cache-dir", str(place / name / "cache"))


def written(place: Path, files: Mapping[str, str | bytes]) -> Path:
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def prepare_samples(place: Path) -> None:
    samples = {
        "alpine": alpine_secdb.SAMPLE,
        "wolfi": alpine_secdb__wolfi.SAMPLE,
        "lists": debian_dsa.SAMPLE,
        "tracker": debian_tracker.SAMPLE,
    }
    for name, files in samples.items():
        take(place, name, {name: [written(place / name / "in", files)]})


REAL = ("alpine-secdb", "debian-dsa", "almalinux-osv")


def prepare_real(place: Path) -> None:
    take(place, "real", {source: [require_shared(f"data/advisories/{source}")] for source in REAL})


def asking(place: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Ask:
    def ask(system: System, installed: Installed, name: str) -> list[dict[str, Any]]:
        target = tmp_path / "target.cdx.json"
        target.write_text(json.dumps(system.sbom(installed)), encoding="utf-8")
        return vulnerabilities(scan(no_network, trivy, place / name / "cache", target))

    return ask


@pytest.fixture(scope="session")
def samples_made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "distributions-samples", prepare_samples)


@pytest.fixture(scope="session")
def real_made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for source in REAL:
        require_shared(f"data/advisories/{source}")
    return once(tmp_path_factory, "distributions-real", prepare_real)


@pytest.fixture
def ask(samples_made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Ask:
    """Trivy on an SBOM, with the database of one of the samples."""
    return asking(samples_made, trivy, no_network, tmp_path)


@pytest.fixture
def ask_real(real_made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Ask:
    """Trivy on an SBOM, with the database of the real feeds."""
    return asking(real_made, trivy, no_network, tmp_path)


def told(found: Iterable[dict[str, Any]]) -> set[tuple[str, ...]]:
    """Package, vulnerability, fix and status of each finding."""
    return {
        (one["PkgName"], one["VulnerabilityID"], one.get("FixedVersion", ""), one["Status"]) for one in found
    }


# ---- the JSON of Debian's tracker

OF_TRACKER = {
    "bash": "5.1-2+deb11u1", "chromium": "116.0.5845.180-1~deb11u1", "curl": "7.74.0-1.3+deb11u7",
    "libxml2": "2.9.10+dfsg-6.7+deb11u4", "openssl": "1.1.1n-0+deb11u4", "perl": "5.32.1-4+deb11u2",
    "python3.9": "3.9.2-1", "zlib": "1:1.2.11.dfsg-2", "coreutils": "8.32-4",
}  # fmt: skip


def of_tracker(installed: Installed, release: str) -> Iterator[tuple[str, ...]]:
    """By the tracker's own words: its status of the release, and what the release has."""
    dpkg = scheme_of("deb")
    for package, version in installed.items():
        for name, record in debian_tracker.DATA.get(package, {}).items():
            said = record["releases"].get(release, {"status": "undetermined"})
            has = [
                dpkg.key(v) for at, v in said.get("repositories", {}).items() if not at.endswith("-updates")
            ]
            if said["status"] == "undetermined" or not has:
                continue
            fixed = said.get("fixed_version") or record["releases"].get("sid", {}).get("fixed_version", "0")
            if said["status"] == "resolved" and dpkg.key(fixed) <= max(has):
                if dpkg.compare(version, fixed) < 0:
                    yield package, name, fixed, "fixed"
                continue
            status = {"ignored": "will_not_fix", "postponed": "fix_deferred"}.get(
                said.get("nodsa_reason", "")
            )
            yield (
                package,
                name,
                "",
                "end_of_life" if said["urgency"] == "end-of-life" else status or "affected",
            )


def test_trivy_finds_in_debian_11_exactly_what_the_tracker_says_with_its_words_and_severities(
    ask: Ask,
) -> None:
    found = ask(DEBIAN, OF_TRACKER, "tracker")
    must = set(of_tracker(OF_TRACKER, "bullseye"))
    assert told(found) == must
    assert len(must) >= 10
    assert {status for *_, status in must} == {
        "affected", "fixed", "will_not_fix", "fix_deferred", "end_of_life",
    }  # fmt: skip
    of_debian = {
        (one["PkgName"], one["VulnerabilityID"]): one
        for one in found
        if one.get("SeveritySource") == "debian"
    }
    assert {place: one["Severity"] for place, one in of_debian.items()} == {
        ("bash", "TEMP-0841856-B18BAF"): "LOW",
        ("openssl", "CVE-2023-5678"): "LOW",
        ("perl", "CVE-2011-4116"): "LOW",
        ("python3.9", "CVE-2023-27043"): "MEDIUM",
        ("zlib", "CVE-2022-37434"): "HIGH",
    }
    assert all(one["DataSource"]["ID"] == "debian" for one in found)
    assert next(one for one in found if one["PkgName"] == "zlib")["Description"].startswith(
        "zlib through 1.2.12"
    )


def test_trivy_finds_nothing_of_the_tracker_in_a_release_that_lacks_the_package(ask: Ask) -> None:
    stretch = {"curl": "7.52.1-1", "openssl": "1.0.1-1"}
    assert ask(System("debian", "9.13", "deb"), stretch, "tracker") == []
    bookworm = {"bash": "5.2.15-2", "curl": "7.0-1"}
    found = ask(System("debian", "12.1", "deb"), bookworm, "tracker")
    assert (
        told(found)
        == {("bash", "TEMP-0841856-B18BAF", "", "affected")}
        == set(of_tracker(bookworm, "bookworm"))
    )


# ---- Debian's text lists

OF_LISTS = {
    "apache2": "2.4.54-1~deb11u1", "apt": "2.2.4", "bash": "5.1-2+deb11u1", "dino-im": "0.2.0-3", "duktape": "2.5.0-2",
    "libzstd": "1.4.8+dfsg-2.1", "pkgconf": "1.7.4~git20210206+dfsg-0+deb11u1", "shadow": "1:4.8.1-1",
    "sox": "14.4.2+git20190427-2", "tar": "1.34+dfsg-1", "xorg-server": "2:1.20.11-1+deb11u5", "xwayland": "2:1.0-1",
}  # fmt: skip


def test_trivy_finds_in_debian_what_the_lists_say_of_the_release_before_what_they_say_of_unstable(
    ask: Ask,
) -> None:
    found = ask(DEBIAN, OF_LISTS, "lists")
    assert told(found) == {
        ("apache2", "CVE-2006-20001", "2.4.56-1~deb11u1", "fixed"),
        ("apache2", "CVE-2022-36760", "2.4.56-1~deb11u1", "fixed"),
        ("apache2", "CVE-2022-37436", "2.4.56-1~deb11u1", "fixed"),
        # The second advisory has the newer version.
        ("apache2", "CVE-2023-25690", "2.4.56-1~deb11u2", "fixed"),
        ("apache2", "CVE-2023-27522", "2.4.56-1~deb11u1", "fixed"),
        # Nothing is said of the release: what is said of unstable counts.
        ("apt", "CVE-2011-3374", "", "affected"),
        ("bash", "TEMP-0841856-B18BAF", "", "affected"),
        ("tar", "CVE-2005-2541", "", "affected"),
        # Not 0.4.2-1 of unstable.
        ("dino-im", "CVE-2023-28686", "0.2.0-3+deb11u1", "fixed"),
        ("duktape", "CVE-2021-46322", "", "affected"),
        ("libzstd", "CVE-2022-4899", "", "will_not_fix"),
        ("pkgconf", "CVE-2023-24056", "", "affected"),
        ("sox", "DSA-5356-2", "14.4.2+git20190427-2+deb11u2", "fixed"),
        ("xorg-server", "CVE-2023-1393", "2:1.20.11-1+deb11u6", "fixed"),
    }
    issued = {one["VulnerabilityID"]: one["VendorIDs"] for one in found if one.get("VendorIDs")}
    assert issued["CVE-2023-25690"] == ["DSA-5376-1", "DSA-5376-2"]
    assert issued["CVE-2023-1393"] == ["DSA-5380-1"]
    severities = {one["PkgName"]: one["Severity"] for one in found if one.get("SeveritySource") == "debian"}
    assert severities == {"apt": "LOW", "bash": "LOW", "pkgconf": "LOW", "tar": "LOW"}


def test_trivy_finds_in_another_release_of_debian_what_the_lists_say_of_that(ask: Ask) -> None:
    buster = {
        "duktape": "2.3.0-1",
        "pkgconf": "1.6.0-1",
        "xorg-server": "2:1.20.4-1+deb10u9",
        "apache2": "2.4.38-3",
    }
    assert told(ask(System("debian", "10.13", "deb"), buster, "lists")) == {
        ("duktape", "CVE-2021-46322", "2.3.0-1+deb10u1", "fixed"),
        ("pkgconf", "CVE-2023-24056", "", "fix_deferred"),
    }
    bookworm = {"duktape": "2.5.0-1", "libzstd": "1.5.4+dfsg2-5", "dino-im": "0.4.0-1"}
    assert told(ask(System("debian", "12.1", "deb"), bookworm, "lists")) == {
        ("duktape", "CVE-2021-46322", "2.7.0-1", "fixed"),
        ("dino-im", "CVE-2023-28686", "0.4.2-1", "fixed"),
    }


# ---- secdb


def test_trivy_finds_in_alpine_what_secdb_says_under_the_ids_that_stand_there(ask: Ask) -> None:
    installed = {
        "curl": "7.65.1-r0", "exim": "4.92.2-r0", "ffmpeg": "4.2.1-r1", "openjdk8": "8.201.08-r0", "rsync": "3.1.2-r6",
        "tcpdump": "4.9.2-r4", "util-linux": "2.29.2-r0", "xen": "4.11.1-r0",
    }  # fmt: skip
    found = ask(ALPINE, installed, "alpine")
    assert {(package, name) for package, name, *_ in told(found)} == {
        ("curl", "CVE-2019-5481"), ("curl", "CVE-2019-5482"),
        ("ffmpeg", "CVE-2020-12284"),
        ("openjdk8", "CVE-2019-2426"), ("openjdk8", "CVE-2019-2602"),
        # As it is written: nobody knows which CVE was meant.
        ("rsync", "CVE-2017-17434-1"), ("rsync", "CVE-2017-17434-2"),
        ("rsync", "CVE-2017-16548"), ("rsync", "CVE-2017-17433"),
        ("tcpdump", "CVE-2018-10103"), ("tcpdump", "CVE-2018-14469"),
        ("util-linux", "CVE-2017-2616"),
        ("xen", "XSA-295"), ("xen", "CVE-2019-17349"), ("xen", "CVE-2019-17350"),
    }  # fmt: skip
    assert all(one["DataSource"]["ID"] == "alpine" and one["Status"] == "fixed" for one in found)
    older = {name for _, name, *_ in told(ask(ALPINE, {"xen": "4.10.0-r0"}, "alpine"))}
    # A CVE stands before what else is in its cell.
    assert older >= {"CVE-2018-3620", "CVE-2018-3646", "CVE-2018-19961", "XSA-248", "XSA-295"}
    assert not older & {"XSA-273", "XSA-275"}


def test_trivy_finds_in_wolfi_what_its_secdb_says(ask: Ask) -> None:
    installed = {"curl": "8.3.0-r1", "go-1.21": "1.21.2-r0"}
    found = ask(WOLFI, installed, "wolfi")
    assert told(found) == {
        ("curl", "CVE-2023-38039", "8.4.0-r0", "fixed"), ("curl", "CVE-2023-38545", "8.4.0-r0", "fixed"),
        ("curl", "CVE-2023-38546", "8.4.0-r0", "fixed"), ("go-1.21", "CVE-2023-39325", "1.21.3-r0", "fixed"),
    }  # fmt: skip


# ---- the real feeds


def agree(ask: Ask, system: System, installed: Installed, fixes: Fixes) -> set[Finding]:
    """Trivy must find every fix that is newer than what is installed, and nothing else."""
    scheme = scheme_of(system.family)
    must = {
        Finding(name, version, identifier)
        for name, version in installed.items()
        for fixed, identifiers in fixes[name]
        if scheme.compare(version, fixed) < 0
        for identifier in identifiers
    }
    found = ask(system, installed, "real")
    got = {Finding(one["PkgName"], one["InstalledVersion"], one["VulnerabilityID"]) for one in found}
    assert sorted(got - must) == []
    assert sorted(must - got) == []
    # Some are old enough to be found, and some are not.
    assert {each.package for each in must} < set(installed)
    assert len(must) >= 10
    return must


def middling(fixes: Fixes, family: str) -> dict[str, str]:
    """Of each package a version that has some of the fixes; of those with one fix, every other one has it."""
    scheme, installed = scheme_of(family), {}
    for number, name in enumerate(sorted(fixes)):
        versions = sorted({fixed for fixed, _ in fixes[name]}, key=scheme.key)
        if len(versions) > 1:
            installed[name] = versions[len(versions) // 2 - number % 2 * (len(versions) // 2)]
        elif number % 2:
            installed[name] = versions[0]
        elif family == "debian":
            installed[name] = f"{versions[0]}~before"
    return installed


def is_version(text: str, family: str) -> bool:
    try:
        scheme_of(family).key(text)
    except InvalidVersion:
        return False
    return True


@functools.cache
def alpine_fixes(release: str) -> Fixes:
    """What the YAML of a release says; the first CVEs of a cell, else its first word that looks like an id."""
    fixes = defaultdict(list)
    with tarfile.open(require_shared("data/advisories/alpine-secdb/data.tar.xz")) as archive:
        for member in archive:
            if f"{release}/" not in member.name or not (file := archive.extractfile(member)):
                continue
            for item in yaml.load(file.read(), Loader=yaml.CBaseLoader)["packages"] or ():  # noqa: S506
                for version, cells in item["pkg"]["secfixes"].items():
                    if version != "0" and is_version(version, "alpine"):
                        for cell in cells or ():
                            fixes[item["pkg"]["name"]].append((version, in_cell(cell)))
    return fixes


def in_cell(cell: str) -> list[str]:
    words = re.sub(r"CVE[_ ](?=\d)", "CVE-", re.sub(r"\(.*", "", cell)).split()
    cves = [word for word in words if re.fullmatch(r"CVE-\d{4}-\d{4,}", word)]
    return cves or [next(word for word in words if re.fullmatch(r"[A-Za-z]+-[\w.-]*\d[\w.-]*", word))]


@pytest.mark.slow
def test_trivy_finds_in_alpine_3_11_exactly_what_the_real_secdb_says(ask_real: Ask) -> None:
    fixes = alpine_fixes("v3.11")
    must = agree(ask_real, ALPINE, middling(fixes, "alpine"), fixes)
    assert len(must) > 100
    assert {"curl", "openssl", "xen"} <= {each.package for each in must}


@functools.cache
def debian_fixes(codename: str) -> Fixes:
    """What the advisories of the two teams say of a release."""
    fixes = defaultdict(list)
    with tarfile.open(require_shared("data/advisories/debian-dsa/data.tar.xz")) as archive:
        for member in archive:
            if not re.search(r"D[LS]A/list$", member.name) or not (file := archive.extractfile(member)):
                continue
            for entry in re.split(r"\n(?=\[)", file.read().decode()):
                identifier = entry.split("]")[1].split()[0]
                cves = re.findall(
                    r"CVE-\d{4}-\d{4,}", "".join(re.findall(r"^\s+\{(.*)\}", entry, re.MULTILINE))
                )
                for name, version in re.findall(
                    rf"^\s+\[{codename}\] - (\S+) +([0-9]\S*)", entry, re.MULTILINE
                ):
                    fixes[name].append((version, cves or [identifier]))
    return fixes


@pytest.mark.parametrize(("codename", "release"), [("bullseye", "11.6"), ("buster", "10.13")])
def test_trivy_finds_in_debian_exactly_what_the_real_advisories_say(
    codename: str, release: str, ask_real: Ask
) -> None:
    fixes = debian_fixes(codename)
    must = agree(ask_real, System("debian", release, "deb"), middling(fixes, "debian"), fixes)
    assert len(must) > 500


@functools.cache
def alma_fixes(release: str) -> Fixes:
    """What the errata say of packages outside modules; a fixed version has its epoch in it."""
    fixes = defaultdict(list)
    with zipfile.ZipFile(require_shared("data/advisories/almalinux-osv/all.zip")) as archive:
        for name in archive.namelist():
            if not name.endswith(".json"):
                continue
            document = json.loads(archive.read(name))
            ids = {each for each in document.get("related", ()) if each.startswith("CVE-")}
            # Without a CVE only a security erratum is one; a bug fix may bring one that was found later.
            if not ids and document["id"].startswith("ALSA-"):
                ids = {document["id"]}
            for affected in document["affected"]:
                for event in (event for one in affected["ranges"] for event in one["events"]):
                    if affected["package"]["ecosystem"] == f"AlmaLinux:{release}" and "fixed" in event:
                        fixes[affected["package"]["name"]].append((event["fixed"], sorted(ids)))
    plain = [name for name, told in fixes.items() if not any("module" in fixed for fixed, _ in told)]
    # There are thousands, and all of them are alike.
    return {name: fixes[name] for name in sorted(plain)[::12]}


@pytest.mark.parametrize("release", ["8", "9"])
def test_trivy_finds_in_almalinux_exactly_what_the_real_errata_say(release: str, ask_real: Ask) -> None:
    fixes = alma_fixes(release)
    must = agree(ask_real, System("alma", f"{release}.4", "rpm"), middling(fixes, "alma"), fixes)
    assert len(must) > 500
