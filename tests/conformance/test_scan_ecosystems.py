"""Every ecosystem and distribution that can get a bucket, from a document to a finding of stock Trivy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stellaops.advisories import databases
from stellaops.bundles.trivy import buckets
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.bolt.writer import BoltWriter
from stellaops.bundles.trivy.buckets import bucket_for, bucket_named
from stellaops.bundles.trivy.values import highest_fix
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import component, findings, once, sbom, scan, vulnerabilities


class Language(NamedTuple):
    """A language package: its OSV ecosystem and name, its purl type and path, its bucket and key, its database.

    GHSA in a bucket's name stands for GitHub's words there.
    """

    ecosystem: str
    name: str
    purl: str
    path: str
    short: str
    key: str
    database: str = "ghsa"

    @property
    def bucket(self) -> str:
        return self.short.replace("GHSA", "GitHub Security Advisory")


LANGUAGES = (
    Language("PyPI", "My_Pkg.x", "pypi", "my-pkg.x", "pip::GHSA pip", "my-pkg.x"),
    Language("npm", "@Scope/Thing", "npm", "@scope/thing", "npm::GHSA npm", "@scope/thing"),
    Language("Go", "example.org/Mod", "golang", "example.org/Mod", "go::GHSA Go", "example.org/Mod"),
    Language("crates.io", "crate", "cargo", "crate", "cargo::GHSA Rust", "crate"),
    Language("Maven", "org.Group:art", "maven", "org.group/art", "maven::GHSA Maven", "org.group:art"),
    Language("RubyGems", "gem", "gem", "gem", "rubygems::GHSA RubyGems", "gem"),
    Language("Packagist", "Vendor/Pack", "composer", "vendor/pack", "composer::GHSA Composer", "vendor/pack"),
    Language("NuGet", "New.Thing", "nuget", "New.Thing", "nuget::GHSA NuGet", "new.thing"),
    Language("Hex", "hexp", "hex", "hexp", "erlang::GHSA Erlang", "hexp"),
    Language("Pub", "pubp", "pub", "pubp", "pub::GHSA Pub", "pubp"),
    Language("SwiftURL", "https://github.com/x/Y.git", "swift", "github.com/x/Y", "swift::GHSA Swift",
             "github.com/x/Y"),
    Language("ConanCenter", "conanp", "conan", "conanp", "conan::GHSA Conan", "conanp"),
    Language("Bitnami", "bitp", "bitnami", "bitp", "bitnami::Bitnami Vulnerability Database", "bitp", "bitnami"),
    Language("Julia", "JulP", "julia", "JulP", "julia::Julia Ecosystem Security Advisories", "JulP", "julia"),
    Language("kubernetes", "k8s.io/kubelet", "k8s", "k8s.io/kubelet", "k8s::Official Kubernetes CVE Feed",
             "k8s.io/kubelet", "k8s"),
)  # fmt: skip


class System(NamedTuple):
    """A distribution: its OSV ecosystem, its bucket and database, and what an SBOM calls it."""

    ecosystem: str
    bucket: str
    database: str
    purl: str
    namespace: str
    family: str
    release: str


SYSTEMS = (
    System("Debian:12", "debian 12", "debian", "deb", "debian", "debian", "12.4"),
    System("Ubuntu:22.04:LTS", "ubuntu 22.04", "ubuntu", "deb", "ubuntu", "ubuntu", "22.04"),
    System("Ubuntu:Pro:18.04:LTS", "ubuntu 18.04-ESM", "ubuntu", "deb", "ubuntu", "ubuntu", "18.04-ESM"),
    System("Alpine:v3.20", "alpine 3.20", "alpine", "apk", "alpine", "alpine", "3.20.1"),
    System("Alpine:edge", "alpine edge", "alpine", "apk", "alpine", "alpine", "edge"),
    System("AlmaLinux:9", "alma 9", "almalinux", "rpm", "alma", "alma", "9.2"),
    System("Rocky Linux:8", "rocky 8", "rocky", "rpm", "rocky", "rocky", "8.9"),
    System("SUSE:Linux Enterprise Server 15 SP5", "SUSE Linux Enterprise 15.5", "suse", "rpm", "suse", "sles", "15.5"),
    System("SUSE:Linux Enterprise Micro 5.3", "SUSE Linux Enterprise Micro 5.3", "suse", "rpm", "suse", "slem", "5.3"),
    System("openSUSE:Leap 15.5", "openSUSE Leap 15.5", "suse", "rpm", "opensuse", "opensuse-leap", "15.5"),
    System("openSUSE:Leap Micro 5.4", "openSUSE Leap Micro 5.4", "suse", "rpm", "opensuse", "opensuse-leap",
           "Micro 5.4"),
    System("openSUSE:Tumbleweed", "openSUSE Tumbleweed", "suse", "rpm", "opensuse", "opensuse-tumbleweed", "20260101"),
    System("Photon OS:5.0", "Photon OS 5.0", "photon", "rpm", "photon", "photon", "5.0"),
    System("Azure Linux:3", "Azure Linux 3.0", "azurelinux", "rpm", "azurelinux", "azurelinux", "3.0"),
    System("Azure Linux:2", "CBL-Mariner 2.0", "azurelinux", "rpm", "cbl-mariner", "cbl-mariner", "2.0"),
    System("Wolfi", "wolfi", "wolfi", "apk", "wolfi", "wolfi", "20230201"),
    System("Chainguard", "chainguard", "chainguard", "apk", "chainguard", "chainguard", "20230214"),
    System("MinimOS", "minimos", "minimos", "apk", "minimos", "minimos", "1.0"),
    System("Echo", "echo", "echo", "deb", "echo", "echo", "1"),
)  # fmt: skip
FIXED = {"deb": "1:2.0-1", "rpm": "2.0-1.el9", "apk": "2.0-r1"}
OLDER = {"deb": "1:1.9-9", "rpm": "1.9-9.el9", "apk": "1.9-r9"}
each_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.ecosystem)
each_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.bucket)


def cve(place: int) -> str:
    return f"CVE-2026-{1000 + place}"


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    for number, language in enumerate(LANGUAGES):
        document = osv(
            f"TEST-{number}",
            package(language.ecosystem, language.name, *until("2.0.0")),
            aliases=[cve(number)],
        )
        more = ("--database", language.database)
        stella.take(place / f"language-{number}", f"language-{number}", document, more=more)
    for number, system in enumerate(SYSTEMS):
        affected = package(system.ecosystem, "tool", *until(FIXED[system.purl]))
        document = osv(f"TEST-{number}", affected, aliases=[cve(100 + number)])
        more = ("--database", system.database)
        stella.take(place / f"system-{number}", f"system-{number}", document, more=more)
    run = stella.submit("trivy:db")
    assert run["warnings"] == []
    bundle = stella.bundle(run)
    (place / "sentinels.json").write_bytes((bundle / "trivy" / "sentinels.json").read_bytes())
    stella("trivy", "import", str(bundle / "trivy" / "db.bundle"), "--cache-dir", str(place / "cache"))


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "scanned-ecosystems", prepare)


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Ask:
    def report(
        components: Sequence[Mapping[str, Any]],
        system: tuple[str, str] | None = None,
        cache: Path | None = None,
    ) -> dict[str, Any]:
        target = tmp_path / "bom.cdx.json"
        target.write_text(json.dumps(sbom(map(dict, components), system)), encoding="utf-8")
        return scan(no_network, trivy, cache or made / "cache", target)

    return report


def test_every_language_that_has_a_bucket_is_tried_here() -> None:
    assert {language.ecosystem for language in LANGUAGES} == set(buckets._LANGUAGES)


def test_every_family_that_a_database_is_trusted_for_is_tried_here() -> None:
    trusted = {family for database in databases.DATABASES for family in database.os_families}
    told = {
        family
        for system in SYSTEMS
        for family in trusted
        if bucket_for(system.ecosystem, databases.Database("one", "One", "", os_families=(family,)))
    }
    assert told == trusted


@each_language
def test_a_document_reaches_its_bucket_and_trivy_finds_it(language: Language, made: Path, ask: Ask) -> None:
    number = LANGUAGES.index(language)
    qualifiers = "uuid=00000000-0000-4000-8000-000000000000" if language.purl == "julia" else ""
    versions = ("1.9.9", "2.0.0", "2.0.1")
    mark = "v" if language.purl == "golang" else ""
    parts = [
        component(language.purl, language.path, mark + version, qualifiers, name=language.path)
        for version in versions
    ]
    found = vulnerabilities(ask(parts))
    assert [(one["InstalledVersion"], one["VulnerabilityID"]) for one in found] == [
        (f"{mark}1.9.9", cve(number))
    ]
    assert found[0]["FixedVersion"] == "2.0.0"
    assert found[0]["DataSource"]["Name"] == language.bucket.partition("::")[2]
    assert entry(made, language.bucket, language.key, cve(number)) is not None


@each_system
def test_an_erratum_reaches_its_bucket_and_trivy_finds_it(system: System, made: Path, ask: Ask) -> None:
    number = 100 + SYSTEMS.index(system)
    parts = []
    for version in (OLDER[system.purl], FIXED[system.purl]):
        epoch, colon, rest = version.rpartition(":")
        qualifiers = f"epoch={epoch}" if colon and system.purl != "deb" else ""
        parts.append(
            component(system.purl, f"{system.namespace}/tool", rest if qualifiers else version, qualifiers)
        )
    found = vulnerabilities(ask(parts, (system.family, system.release)))
    assert [(one["InstalledVersion"], one["VulnerabilityID"]) for one in found] == [
        (OLDER[system.purl], cve(number))
    ]
    assert found[0]["FixedVersion"] == FIXED[system.purl]
    assert entry(made, system.bucket, "tool", cve(number)) is not None


def test_every_bucket_has_its_sentinel_and_its_data_source(made: Path) -> None:
    sentinels = json.loads((made / "sentinels.json").read_text(encoding="utf-8"))
    expected = {language.bucket for language in LANGUAGES} | {system.bucket for system in SYSTEMS}
    assert {sentinel["bucket"] for sentinel in sentinels} == expected
    reader = BoltReader((made / "cache" / "db" / "trivy.db").read_bytes())
    sources = reader.at(b"data-source")
    assert sources is not None
    assert {name.decode() for name, _ in sources.items()} == expected
    names = [name.decode() for name, _ in reader.buckets()]
    assert names == sorted(expected | {"data-source", "vulnerability"}, key=str.encode)


@each_system
def test_what_trivy_does_with_an_advisory_without_a_fix_is_what_merging_counts_on(
    system: System, ask: Ask, tmp_path: Path
) -> None:
    """Some families pass over it; there a known fix must not be given up for it."""
    cache = tmp_path / "cache"
    (cache / "db").mkdir(parents=True)
    with (cache / "db" / "trivy.db").open("wb") as out:
        writer = BoltWriter(out)
        advisories = writer.leaf_bucket([(b"CVE-2000-0001", b"{}")])
        described = writer.leaf_bucket([(b"CVE-2000-0001", b'{"Title":"x"}')])
        roots = [
            (system.bucket.encode(), writer.bucket([(b"tool", advisories)])),
            (b"vulnerability", described),
        ]
        writer.finish(sorted(roots))
    times = dict.fromkeys(("NextUpdate", "UpdatedAt", "DownloadedAt"), "2026-01-01T00:00:00Z")
    (cache / "db" / "metadata.json").write_text(json.dumps({"Version": 2, **times}), encoding="utf-8")
    part = component(system.purl, f"{system.namespace}/tool", OLDER[system.purl].rpartition(":")[2])
    reported = bool(findings(ask([part], (system.family, system.release), cache)))
    scheme = bucket_named(system.bucket).scheme
    fix = FIXED[system.purl]
    assert highest_fix(scheme, ["", fix]) == ("" if reported else fix)
    assert highest_fix(scheme, [""]) == ""


def entry(made: Path, *path: str) -> bytes | None:
    *parents, key = (part.encode() for part in path)
    bucket = BoltReader((made / "cache" / "db" / "trivy.db").read_bytes()).at(*parents)
    return None if bucket is None else bucket.get(key)


def test_several_databases_speak_and_trivy_takes_the_severity_of_the_one_whose_bucket_found_it(
    trivy: Path, ask: Ask, tmp_path: Path
) -> None:
    stella = Stella(tmp_path / "data")
    word = {"database_specific": {"severity": "LOW"}}
    score = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}
    alias = {"aliases": ["CVE-2026-10001"]}
    one = osv("GHSA-aaaa-bbbb-cccc", package("npm", "left", *until("2.0.0")), **alias, **word)
    two = osv("PYSEC-2026-1", package("PyPI", "right", *until("2.0.0")), **alias, **score)
    three = osv("DSA-1-1", package("Debian:12", "tool", *until("2.0-1")), **alias)
    stella.take(tmp_path / "a", "ghsa", one)
    stella.take(tmp_path / "b", "pypa", two)
    stella.take(tmp_path / "c", "debian", three)
    run = stella.submit("trivy:db")
    cache = tmp_path / "cache"
    stella("trivy", "import", str(stella.bundle(run) / "trivy" / "db.bundle"), "--cache-dir", str(cache))
    parts = [component("npm", "left", "1.0.0"), component("pypi", "right", "1.0.0")]
    found = {one["PkgName"]: one for one in vulnerabilities(ask(parts, None, cache))}
    assert {name: (one["Severity"], one["SeveritySource"]) for name, one in found.items()} == {
        "left": ("LOW", "ghsa"),
        "right": ("CRITICAL", "osv"),
    }
    assert found["left"]["VendorSeverity"] == found["right"]["VendorSeverity"] == {"ghsa": 1, "osv": 4}
    system = component("deb", "debian/tool", "1.0-1")
    (debian,) = vulnerabilities(ask([system], ("debian", "12"), cache))
    # Debian says nothing of its severity, so what the others say in their order stands: GitHub first.
    assert (debian["Severity"], debian["DataSource"]["ID"]) == ("LOW", "debian")
