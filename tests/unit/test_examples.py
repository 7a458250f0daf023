"""The examples: every document keeps the rules, every lock file is read, and the expected findings follow from both.

The findings are worked out here a second time, from the documents' text and the versions in the lock files. What stock
Trivy says of them is the acceptance test's business.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import yaml

from stellaops.advisories import severity as severities
from stellaops.core import timestamps
from stellaops.matching.versions.registry import scheme_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ADVISORIES = EXAMPLES / "advisories"
Document = dict[str, Any]


class Package(NamedTuple):
    """A package as a lock file or an SBOM states it.

    `ecosystem` and `name` are what an advisory would call it (for operating systems the source package of Debian and
    Alpine); `shown` is how Trivy names it.
    """

    ecosystem: str
    name: str
    version: str
    shown: str


# ---- documents

DATABASES = {
    "ghsa": re.compile(r"GHSA(-[23456789cfghjmpqrvwx]{4}){3}"),
    "pypa": re.compile(r"PYSEC-\d{4}-\d+"),
    "govuln": re.compile(r"GO-\d{4}-\d{4,}"),
    "rustsec": re.compile(r"RUSTSEC-\d{4}-\d{4}"),
    "debian": re.compile(r"DSA-\d+-\d+|DEBIAN-CVE-\d{4}-\d{4,}"),
    "alpine": re.compile(r"ALPINE-CVE-\d{4}-\d{4,}"),
    "almalinux": re.compile(r"ALSA-\d{4}:\d+"),
}
SCHEMES = {
    "PyPI": "pip",
    "npm": "npm",
    "Go": "go",
    "crates.io": "cargo",
    "Maven": "maven",
    "RubyGems": "rubygems",
    "Packagist": "composer",
    "NuGet": "nuget",
    "Debian": "debian",
    "Alpine": "alpine",
    "AlmaLinux": "alma",
}
LANGUAGES = ("PyPI", "npm", "Go", "crates.io", "Maven", "RubyGems", "Packagist", "NuGet")
PATHS = sorted(path for path in ADVISORIES.rglob("*") if path.is_file())


def read(path: Path) -> Document:
    text = path.read_text(encoding="utf-8")
    document = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    assert isinstance(document, dict)
    return document


DOCUMENTS = {path: read(path) for path in PATHS}
each_document = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def ranges(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every range that counts versions, with the ecosystem it belongs to."""
    for affected in document["affected"]:
        for one in affected.get("ranges", ()):
            if one["type"] != "GIT":
                yield affected["package"]["ecosystem"].partition(":")[0], one


def spans(one: dict[str, Any]) -> list[tuple[str, str, str]]:
    """A range as `(introduced, "<" or "<=" or "", bound)`."""
    found: list[tuple[str, str, str]] = []
    for event in one["events"]:
        ((kind, version),) = event.items()
        if kind == "introduced":
            found.append((version, "", ""))
        else:
            assert kind in ("fixed", "last_affected")
            low, operator, _ = found.pop()
            assert not operator
            found.append((low, "<" if kind == "fixed" else "<=", version))
    return found


def test_there_are_at_least_seventy_documents_and_five_for_each_ecosystem() -> None:
    documents = Counter(
        ecosystem
        for document in DOCUMENTS.values()
        for ecosystem in {
            affected["package"]["ecosystem"].partition(":")[0] for affected in document["affected"]
        }
    )
    assert len(DOCUMENTS) >= 70
    assert set(documents) == set(SCHEMES)
    assert min(documents.values()) >= 5


@each_document
def test_the_file_is_named_by_the_id_and_lies_in_its_database(path: Path) -> None:
    document = DOCUMENTS[path]
    assert path.stem == document["id"].replace(":", "_")
    assert path.parent.parent == ADVISORIES
    assert DATABASES[path.parent.name].fullmatch(document["id"])
    assert path.suffix in (".json", ".yaml")


@each_document
def test_other_ids_have_their_form_and_stand_once(path: Path) -> None:
    document = DOCUMENTS[path]
    for field in ("aliases", "upstream", "related"):
        names = document.get(field, [])
        assert len(names) == len(set(names))
        for name in names:
            assert re.fullmatch(r"CVE-\d{4}-\d{4,}", name) or any(
                f.fullmatch(name) for f in DATABASES.values()
            )


@each_document
def test_it_says_when_what_and_where_to_read_on(path: Path) -> None:
    document = DOCUMENTS[path]
    known = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
    for field in ("published", "modified", "withdrawn"):
        if field != "modified" and field not in document:
            continue
        assert known.fullmatch(document[field])
        assert timestamps.parse(document[field]) is not None
    assert document.get("published", "") <= document["modified"]
    assert len(document["details"]) > 60
    assert document["references"]
    for reference in document["references"]:
        assert reference["type"] in ("ADVISORY", "ARTICLE", "EVIDENCE", "FIX", "PACKAGE", "REPORT", "WEB")
        assert re.fullmatch(r"https://[^\s]+", reference["url"])


@each_document
def test_severities_are_vectors_that_can_be_scored(path: Path) -> None:
    kinds = {"V2": "CVSS_V2", "V3": "CVSS_V3", "V40": "CVSS_V4"}
    for severity in DOCUMENTS[path].get("severity", ()):
        score = severities.score(severity["score"])
        assert score is not None
        assert (kinds[score.version], score.vector) == (severity["type"], severity["score"])
        assert score.tenths > 0
    if path.parent.name == "ghsa":
        own = DOCUMENTS[path]["database_specific"]
        assert own["severity"] in ("LOW", "MODERATE", "HIGH", "CRITICAL")
        assert all(re.fullmatch(r"CWE-\d+", cwe) for cwe in own["cwe_ids"])


@each_document
def test_ranges_are_well_formed(path: Path) -> None:
    document = DOCUMENTS[path]
    for affected in document["affected"]:
        assert affected["package"]["name"]
        assert affected.get("ranges") or affected.get("versions")
    for ecosystem, one in ranges(document):
        assert one["type"] == ("SEMVER" if ecosystem in ("Go", "crates.io") else "ECOSYSTEM")
        scheme = scheme_of(SCHEMES[ecosystem])
        for low, operator, high in spans(one):
            if operator:
                assert low == "0" or scheme.compare(low, high) < 0
            elif low != "0":
                scheme.parse(low)


@each_document
def test_listed_versions_lie_in_the_ranges_where_there_are_any(path: Path) -> None:
    for affected in DOCUMENTS[path]["affected"]:
        ecosystem = affected["package"]["ecosystem"].partition(":")[0]
        for version in affected.get("versions", ()):
            scheme_of(SCHEMES[ecosystem]).parse(version)
            assert not affected.get("ranges") or is_affected(affected, version, without_list=True)


def test_the_variety_of_real_feeds_is_there() -> None:
    documents = DOCUMENTS.values()
    everything = [one for document in documents for _, one in ranges(document)]
    kinds = {severity["type"] for document in documents for severity in document.get("severity", ())}
    assert kinds == {"CVSS_V2", "CVSS_V3", "CVSS_V4"}
    assert any("withdrawn" in document for document in documents)
    assert any(len(found_as(document)) > 1 for document in documents)
    assert any("last_affected" in event for one in everything for event in one["events"])
    assert any(len(spans(one)) > 1 for one in everything)
    assert any(not operator for one in everything for _, operator, _ in spans(one))
    assert any("ranges" not in affected for document in documents for affected in document["affected"])
    assert any(path.suffix == ".yaml" for path in PATHS)
    versions = {document.get("schema_version", "none")[:3] for document in documents}
    assert {"1.7", "1.3", "non"} <= versions


# ---- lock files and SBOMs


def requirements(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()  # type: ignore[union-attr]
            yield name, version


def package_lock(text: str) -> Iterator[tuple[str, str]]:
    lock = json.loads(text)
    assert lock["lockfileVersion"] in (2, 3)
    for place, package in lock["packages"].items():
        if place and not package.get("dev"):  # Trivy leaves out what only developers install
            yield place.rpartition("node_modules/")[2], package["version"]


def go_mod(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^\t(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE)


def cargo_lock(text: str) -> Iterator[tuple[str, str]]:
    packages = tomllib.loads(text)["package"]
    names = {package["name"] for package in packages}
    for package in packages:
        assert set(package.get("dependencies", ())) <= names
        yield package["name"], package["version"]


def gemfile_lock(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^    ([\w-]+) \(([\w.]+)\)$", text, re.MULTILINE)


def composer_lock(text: str) -> Iterator[tuple[str, str]]:
    for package in json.loads(text)["packages"]:
        yield package["name"], package["version"]


def nuget_lock(text: str) -> Iterator[tuple[str, str]]:
    for framework in json.loads(text)["dependencies"].values():
        for name, package in framework.items():
            yield name, package["resolved"]


def gradle_lock(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^([\w.-]+:[\w.-]+):([\w.-]+)=", text, re.MULTILINE)


def pom_xml(text: str) -> Iterator[tuple[str, str]]:
    for dependency in re.findall(r"<dependency>(.*?)</dependency>", text, re.DOTALL):
        fields = dict(re.findall(r"<(\w+)>([^<]+)</", dependency))
        yield f"{fields['groupId']}:{fields['artifactId']}", fields["version"]


READERS: dict[str, tuple[str, Callable[[str], Iterator[tuple[str, str]]]]] = {
    "requirements.txt": ("PyPI", requirements),
    "package-lock.json": ("npm", package_lock),
    "go.mod": ("Go", go_mod),
    "Cargo.lock": ("crates.io", cargo_lock),
    "Gemfile.lock": ("RubyGems", gemfile_lock),
    "composer.lock": ("Packagist", composer_lock),
    "packages.lock.json": ("NuGet", nuget_lock),
    "gradle.lockfile": ("Maven", gradle_lock),
    "pom.xml": ("Maven", pom_xml),
}
RELEASES = {"debian": "Debian:{0}", "alpine": "Alpine:v{0}.{1}", "alma": "AlmaLinux:{0}"}


def lock_files(project: Path) -> Iterator[Package]:
    for path in sorted(project.rglob("*")):
        if path.is_file():
            ecosystem, reader = READERS[
                path.name
            ]  # a file that none of Trivy's readers takes has no place here
            found = list(reader(path.read_text(encoding="utf-8")))
            assert found, path
            for name, version in found:
                yield Package(ecosystem, name, version, name)


def sbom(path: Path) -> Iterator[Package]:
    bom = json.loads(path.read_text(encoding="utf-8"))
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    release = ""
    for component in bom["components"]:
        if component["type"] == "operating-system":
            release = RELEASES[component["name"]].format(*component["version"].split("."))
            continue
        properties = {one["name"].rpartition(":")[2]: one["value"] for one in component.get("properties", ())}
        kind, _, rest = component["purl"].removeprefix("pkg:").partition("/")
        location, _, version = rest.partition("?")[0].rpartition("@")
        assert component["version"].endswith(unquote(version))  # an epoch stands in the purl's qualifiers
        if kind in ("deb", "apk", "rpm"):
            assert component["name"] == location.rpartition("/")[2]
            name = component["name"] if kind == "rpm" else properties["SrcName"]
            yield Package(release, name, component["version"], component["name"])
        else:
            separator, ecosystem = {"maven": (":", "Maven"), "golang": ("/", "Go")}[kind]
            name = separator.join(location.rsplit("/", 1)) if kind == "maven" else location
            yield Package(ecosystem, name, component["version"], name)


def targets() -> dict[str, list[Package]]:
    """Everything there is to scan, by its path below `examples/`."""
    found = {f"projects/{path.name}": list(lock_files(path)) for path in (EXAMPLES / "projects").iterdir()}
    return found | {f"sboms/{path.name}": list(sbom(path)) for path in (EXAMPLES / "sboms").iterdir()}


# ---- what is found

EXPECTED: dict[str, list[list[str]]] = json.loads(
    (EXAMPLES / "expected-findings.json").read_text(encoding="utf-8")
)


def found_as(document: Document) -> list[str]:
    """The ids under which a scanner shows a document: its CVEs, or its own id where it has none."""
    fields = ["aliases"] + (
        ["upstream", "related"] if document["id"][:3] in ("DSA", "DEB", "ALP", "ALS") else []
    )
    for field in fields:
        if names := [name for name in document.get(field, ()) if name.startswith("CVE-")]:
            return names
    return [document["id"]]


def is_affected(affected: dict[str, Any], version: str, *, without_list: bool = False) -> bool:
    ecosystem = affected["package"]["ecosystem"].partition(":")[0]
    scheme = scheme_of(SCHEMES[ecosystem])

    def order(other: str) -> int:
        return scheme.compare(version, other)

    for one in affected.get("ranges", ()):
        if one["type"] == "GIT":
            continue
        for low, operator, high in spans(one):
            above = low == "0" or order(low) >= 0
            below = not operator or order(high) < 0 or (operator == "<=" and order(high) == 0)
            if above and below:
                return True
    return not without_list and any(order(other) == 0 for other in affected.get("versions", ()))


def same_name(affected: dict[str, Any], package: Package) -> bool:
    named, ecosystem = affected["package"]["name"], affected["package"]["ecosystem"]
    folded = package.ecosystem in ("PyPI", "Packagist", "NuGet")
    equal = named.lower() == package.name.lower() if folded else named == package.name
    return bool(ecosystem == package.ecosystem and equal)


def findings(packages: list[Package]) -> list[list[str]]:
    return sorted(
        list(row)
        for row in {
            (package.shown, package.version, identifier)
            for package in packages
            for document in DOCUMENTS.values()
            if "withdrawn" not in document
            for affected in document["affected"]
            if same_name(affected, package) and is_affected(affected, package.version)
            for identifier in found_as(document)
        }
    )


def test_every_target_has_its_expected_findings_in_order() -> None:
    assert sorted(EXPECTED) == sorted(targets()) == list(EXPECTED)
    for rows in EXPECTED.values():
        assert rows == sorted(rows)


@pytest.mark.parametrize("target", sorted(EXPECTED))
def test_what_is_expected_is_what_the_documents_say(target: str) -> None:
    assert findings(targets()[target]) == EXPECTED[target]


def test_each_expected_finding_names_a_package_of_its_target_and_a_document() -> None:
    known = {identifier for document in DOCUMENTS.values() for identifier in found_as(document)}
    installed = targets()
    for target, rows in EXPECTED.items():
        packages = {(package.shown, package.version) for package in installed[target]}
        for name, version, identifier in rows:
            assert (name, version) in packages
            assert identifier in known


def test_the_mixed_project_has_findings_in_every_language_and_the_clean_one_has_none() -> None:
    mixed = targets()["projects/webshop"]
    found = {(name, version) for name, version, _ in EXPECTED["projects/webshop"]}
    hit = {package.ecosystem for package in mixed if (package.shown, package.version) in found}
    assert hit == set(LANGUAGES)
    assert EXPECTED["projects/clean-service"] == []
    assert len(targets()["projects/clean-service"]) >= 10


def test_withdrawn_and_fixed_packages_are_there_to_be_passed_over() -> None:
    packages = {package for found in targets().values() for package in found}
    for document in DOCUMENTS.values():
        if "withdrawn" in document:
            affected = document["affected"][0]
            hits = [p for p in packages if same_name(affected, p) and is_affected(affected, p.version)]
            assert hits, document["id"]


def test_every_database_is_seen_by_some_scan() -> None:
    found = {identifier for rows in EXPECTED.values() for *_, identifier in rows}
    seen = {path.parent.name for path, document in DOCUMENTS.items() if found & set(found_as(document))}
    assert seen == set(DATABASES)
