"""Stock Trivy says of constraints, of installed versions and of merged statements what we say of them."""

from __future__ import annotations

import json
import random
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
import yaml

from stellaops.bundles.trivy.bolt.writer import BoltWriter
from stellaops.bundles.trivy.constraints import misreading, problem, version_problem
from stellaops.bundles.trivy.constraints.merge import ANY_VERSION, Statement, merge
from stellaops.bundles.trivy.constraints.spelling import spelling
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import ECOSYSTEMS, scheme_of
from tests.support.shared import require_shared

# For each ecosystem: purl type, group in the SBOM, package key in the database.
PACKAGES = {
    "bitnami": ("bitnami", "", "{}"),
    "cargo": ("cargo", "", "{}"),
    "cocoapods": ("cocoapods", "", "{}"),
    "composer": ("composer", "vendor", "vendor/{}"),
    "conan": ("conan", "", "{}"),
    "erlang": ("hex", "", "{}"),
    "go": ("golang", "example.org", "example.org/{}"),
    "julia": ("julia", "", "{}"),
    "k8s": ("k8s", "", "{}"),
    "maven": ("maven", "group", "group:{}"),
    "npm": ("npm", "", "{}"),
    "nuget": ("nuget", "", "{}"),
    "pip": ("pypi", "", "{}"),
    "pub": ("pub", "", "{}"),
    "rubygems": ("gem", "", "{}"),
    "swift": ("swift", "example.org", "example.org/{}"),
}
OFFLINE = [
    "--skip-db-update",
    "--skip-java-db-update",
    "--offline-scan",
    "--skip-version-check",
    "--disable-telemetry",
]
ID = b"CVE-2000-0001"

Case: TypeAlias = tuple[str, dict[str, list[str]], str]
"""Ecosystem, advisory, installed version."""
Ask: TypeAlias = Callable[[Sequence[Case]], list[bool]]


@pytest.fixture
def ask(trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Ask:
    """Ask Trivy for each case whether it reports the advisory: one package a case, one scan for all."""

    def scan(cases: Sequence[Case]) -> list[bool]:
        database, sbom, report = tmp_path / "db" / "trivy.db", tmp_path / "bom.json", tmp_path / "report.json"
        write_database(database, cases)
        sbom.write_text(json.dumps(sbom_of(cases)), encoding="utf-8")
        command = [*no_network, trivy, "sbom", "--cache-dir", tmp_path, *OFFLINE, "--format", "json"]
        done = subprocess.run(
            [*map(str, command), "--output", str(report), str(sbom)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[:4000]
        results = json.loads(report.read_text(encoding="utf-8")).get("Results") or []
        reported = {
            found["PkgIdentifier"]["BOMRef"]
            for result in results
            for found in result.get("Vulnerabilities") or []
        }
        return [package(at) in reported for at in range(len(cases))]

    return scan


def package(at: int) -> str:
    return f"p{at:06d}"


def write_database(path: Path, cases: Sequence[Case]) -> None:
    path.parent.mkdir(exist_ok=True)
    packages: dict[str, list[tuple[bytes, bytes]]] = {}
    for at, (ecosystem, advisory, _) in enumerate(cases):
        key = PACKAGES[ecosystem][2].format(package(at))
        packages.setdefault(ecosystem, []).append((key.encode(), json.dumps(advisory).encode()))
    with path.open("wb") as out:
        writer = BoltWriter(out)
        buckets = [
            (
                f"{ecosystem}::Test".encode(),
                writer.bucket((key, writer.leaf_bucket([(ID, value)])) for key, value in entries),
            )
            for ecosystem, entries in packages.items()
        ]
        buckets.append((b"vulnerability", writer.leaf_bucket([(ID, b'{"Title":"x"}')])))
        writer.finish(sorted(buckets))
    times = dict.fromkeys(("NextUpdate", "UpdatedAt", "DownloadedAt"), "2020-01-01T00:00:00Z")
    (path.parent / "metadata.json").write_text(json.dumps({"Version": 2, **times}), encoding="utf-8")


def sbom_of(cases: Sequence[Case]) -> dict[str, Any]:
    components = []
    for at, (ecosystem, _, version) in enumerate(cases):
        kind, group, _ = PACKAGES[ecosystem]
        path = f"{group}/{package(at)}" if group else package(at)
        uuid = f"?uuid={package(at)}" if ecosystem == "julia" else ""
        purl = f"pkg:{kind}/{path}@{quote(version, safe='')}{uuid}"
        component = {
            "type": "library",
            "name": package(at),
            "version": version,
            "purl": purl,
            "bom-ref": package(at),
        }
        components.append({**component, "group": group} if group else component)
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def parses(constraints: list[tuple[str, str]]) -> list[Case]:
    """Beside two constraints that match everything, a third one can only hide the finding by not parsing."""
    return [
        (ecosystem, {"VulnerableVersions": [text, *ANY_VERSION]}, "1.5.0") for ecosystem, text in constraints
    ]


def disagreements(ask: Ask, constraints: list[tuple[str, str]]) -> list[tuple[str, str, str | None]]:
    """Where Trivy parses and we see a problem, or the other way round."""
    accepted = ask(parses(constraints))
    return [
        (ecosystem, text, problem(ecosystem, text))
        for (ecosystem, text), parsed in zip(constraints, accepted, strict=True)
        if parsed != (problem(ecosystem, text) is None)
    ]


def test_every_ecosystem_is_scanned_and_two_constraints_match_everything(ask: Ask) -> None:
    lowest = {"pip": "0.dev0", "rubygems": "0.a", "cocoapods": "0.a", "maven": "0-alpha", "bitnami": "0.0.0"}
    cases: list[Case] = []
    for ecosystem in sorted(ECOSYSTEMS):
        cases.append((ecosystem, {"VulnerableVersions": list(ANY_VERSION)}, "1.5.0"))
        cases.append((ecosystem, {"VulnerableVersions": list(ANY_VERSION)}, lowest.get(ecosystem, "0.0.0-0")))
    assert [case[0::2] for case, reported in zip(cases, ask(cases), strict=True) if not reported] == []


# ---- odd constraints

VERSIONS = [
    "1.0", "1.2.3", "1.2.3.4", "1.2.34.5", "v1.2.3", "1.0-alpha", "1.0alpha1", "1.0.alpha", "1.0-rc.1", "1.0-x",
    "1.0rc1", "1.0RC1", "1!1.0", "1.0+abc", "1.0+1.0+b", "1.0_1", "1.0.RELEASE", "1.0-SNAPSHOT", "*", "1.*", "1.x",
    "1.0a.*", "1.0.dev1.*", "1.0+a.*", "1.0.post1", "1.0-1", "1.0-r4", "18446744073709551615", "18446744073709551616.1",
    "00.01", "1.99999999999999999999", "1..2", ".1", "1.", "-1", "a.b", "dev-master", "nightly.2026-03-10.0", "1|2.3",
    "1.2.3x", "", "  ", "1.0~1", "1.0~~", "1.0-~", "0.0.0-0", "2.0.0-20210101000000-abcdef", "[1.0,2.0,3.0]", "1,0",
    "1.0 2.0", "1.0\t", "1.0\n", "1.0\u000b", "\u00a01.0", "\uff11.0", "é", "1.0+A", "1.0+a_b", "1.0.post", "1.0c",
    "1.0preview", "1.0-", "1.0--1", "1.0.0+1.0.0-a", "1 . 0", "1/2", "1:1.0", '"1.0"', "1.0,", "1.0,,", "V1.0", "1e5",
    "1.0-a..b", "1.0-a.b.", "1.0.0-alpha..1", "1.0-01",
]  # fmt: skip
OPERATORS = [
    "",
    "=",
    "==",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "=>",
    "=<",
    "~>",
    "~",
    "^",
    "~=",
    "===",
    "<>",
    "> =",
    "> ",
]
JOINTS = [", ", ",", " ", " || ", "||", "", " ,", ", ,"]


def odd_constraints(ecosystem: str, count: int) -> Iterator[str]:
    chance = random.Random(ecosystem)
    for version in VERSIONS:
        for operator in ("", ">=", "~=", "=="):
            yield operator + version
    for _ in range(count):
        text = chance.choice(OPERATORS) + chance.choice(VERSIONS)
        while chance.random() < 0.4:
            text += chance.choice(JOINTS) + chance.choice(OPERATORS) + chance.choice(VERSIONS)
        yield text


@pytest.mark.parametrize("ecosystem", ["pip", "npm", "rubygems", "maven", "bitnami", "cargo"])
def test_odd_constraints_parse_for_us_where_they_parse_for_trivy(ecosystem: str, ask: Ask) -> None:
    texts = [text for text in odd_constraints(ecosystem, 600) if text]
    fatal = [text for text in texts if "panic" in (problem(ecosystem, text) or "")]
    constraints = [(ecosystem, text) for text in texts if text not in fatal]
    assert disagreements(ask, constraints) == []
    refused = [text for _, text in constraints if problem(ecosystem, text)]
    assert 100 < len(refused) < len(constraints) - 100


def test_a_constraint_that_makes_trivy_panic_is_a_problem(ask: Ask) -> None:
    for ecosystem, text in (("npm", "~1.2x"), ("bitnami", "^0.2x"), ("rubygems", "~> 18446744073709551616")):
        assert "panic" in (problem(ecosystem, text) or "")
        with pytest.raises(AssertionError, match="panic"):
            ask([(ecosystem, {"VulnerableVersions": [text]}, "2.0.0")])


def test_mavens_range_notation_makes_trivy_forget_its_neighbours(ask: Ask) -> None:
    assert problem("maven", "[1.0,2.0)")
    lists = [["[1.0,2.0)"], [">=3.0"], ["[1.0,2.0)", ">=3.0"]]
    assert ask([("maven", {"VulnerableVersions": texts}, "1.5") for texts in lists]) == [True, False, True]
    assert ask([("maven", {"VulnerableVersions": texts}, "3.5") for texts in lists]) == [False, True, False]


def test_what_we_call_a_misreading_is_one(ask: Ask) -> None:
    cases: list[tuple[str, str, str, bool]] = [
        ("pip", ">=1.0alpha1", "1.5", False), ("pip", ">=1.0a1", "1.5", True), ("pip", "=2.0beta1", "2.0b1", False),
        ("npm", "=1.2.34.5", "1.2.34", False), ("npm", "<=1.2", "1.2.9", True), ("npm", "<1.2.0-x", "1.2.0-a", False),
        ("bitnami", "<0.11.10.3", "0.11.9", False), ("bitnami", "=1", "1.9.0", True),
        ("go", "<1.0.0-rc.x", "1.0.0-rc.1", False), ("cargo", "=1.0+a1.0+b", "1.0", True),
    ]  # fmt: skip
    assert [case for case in cases if case[:2] != ("pip", ">=1.0a1") and not misreading(*case[:2])] == []
    answers = ask(
        [(ecosystem, {"VulnerableVersions": [text]}, version) for ecosystem, text, version, _ in cases]
    )
    assert answers == [expected for *_, expected in cases]


# ---- real constraints and versions

REAL = {
    "pypa-osv": "pip", "govuln-osv": "go", "rustsec-osv": "cargo", "bitnami-osv": "bitnami", "julia-osv": "julia",
    "k8s-osv": "k8s",
}  # fmt: skip


@cache
def real_versions(source: str, limit: int | None) -> tuple[str, ...]:
    """The versions that a source's documents state: all of them, or those of `limit` documents."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    found: set[str] = set()
    with zipfile.ZipFile(require_shared(f"data/advisories/{source}") / "all.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".json", ".yaml")))
        for name in random.Random(source).sample(names, min(limit or len(names), len(names))):
            text = archive.read(name)
            document = json.loads(text) if name.endswith(".json") else yaml.load(text, loader)  # noqa: S506
            found.update(versions_in(document))
    return tuple(sorted(found))


def versions_in(document: dict[str, Any]) -> Iterator[str]:
    for affected in document.get("affected") or []:
        yield from map(str, affected.get("versions") or [])
        for span in affected.get("ranges") or []:
            if span.get("type") != "GIT":
                for event in span.get("events") or []:
                    yield from map(str, event.values())


@pytest.mark.parametrize("source", sorted(REAL))
@pytest.mark.parametrize("limit", [300, pytest.param(None, marks=pytest.mark.slow)])
def test_real_versions_parse_for_us_where_they_parse_for_trivy(
    source: str, limit: int | None, ask: Ask
) -> None:
    ecosystem, versions = REAL[source], [version for version in real_versions(source, limit) if version]
    constraints = [(ecosystem, form + version) for version in versions for form in ("", ">=")]
    assert disagreements(ask, constraints) == []
    installed: list[Case] = [
        (ecosystem, {"VulnerableVersions": list(ANY_VERSION)}, version) for version in versions
    ]
    compared = [version for version, reported in zip(versions, ask(installed), strict=True) if reported]
    assert compared == [version for version in versions if version_problem(ecosystem, version) is None]


def test_respelt_real_python_versions_are_read_as_they_are_meant(ask: Ask) -> None:
    known = []
    for version in real_versions("pypa-osv", 1500):
        try:
            scheme_of("pip").parse(version)
        except InvalidVersion:
            continue
        known.append((version, spelling("pip", version)))
    hidden = [version for version, _ in known if problem("pip", version) or misreading("pip", version)]
    assert len(hidden) > 20  # what would be lost or misread without the other spelling
    cases: list[Case] = [("pip", {"VulnerableVersions": ["=" + spelt]}, version) for version, spelt in known]
    assert [case for case, reported in zip(cases, ask(cases), strict=True) if not reported] == []


def neighbours(ecosystem: str, versions: Sequence[str], limit: int) -> list[tuple[str, str]]:
    """Pairs of versions that stand side by side in our order, both ways round, that Trivy reads as they stand."""
    known = []
    for version in versions:
        try:
            scheme_of(ecosystem).parse(version)
        except InvalidVersion:
            continue
        bound = "<" + version
        refused = (
            problem(ecosystem, bound) or misreading(ecosystem, bound) or version_problem(ecosystem, version)
        )
        if not refused and "+" not in version:
            known.append(version)
    known.sort(key=scheme_of(ecosystem).key)
    start = random.Random(ecosystem).randrange(max(1, len(known) - limit))
    chosen = known[start : start + limit]
    return [pair for low, high in pairwise(chosen) for pair in ((low, high), (high, low))]


@pytest.mark.parametrize("source", sorted(REAL))
def test_trivy_orders_real_versions_as_our_schemes_do(source: str, ask: Ask) -> None:
    ecosystem = REAL[source]
    pairs = neighbours(ecosystem, real_versions(source, 300), 1500)
    cases: list[Case] = []
    expected: list[bool] = []
    for installed, bound in pairs:
        order = scheme_of(ecosystem).compare(installed, bound)
        cases += [
            (ecosystem, {"VulnerableVersions": [sign + bound]}, installed) for sign in ("<", "<=", ">=", "=")
        ]
        expected += [order < 0, order <= 0, order >= 0, order == 0]
    assert [
        case for case, reported, ours in zip(cases, ask(cases), expected, strict=True) if reported != ours
    ] == []


# ---- merged statements

MERGE_VERSIONS = {
    "cargo": ["0.0.0-0", "0.9", "1.0.0-a", "1.0.0", "1.0.1", "1.1.0-rc", "1.1.0", "2.0.0", "2.0.1"],
    "npm": ["0.0.0-0", "0.9.0", "1.0.0-a", "1.0.0", "1.0.1", "1.1.0-rc", "1.1.0", "2.0.0", "2.0.1"],
    "pip": ["0.dev0", "0.9", "1.0a1", "1.0", "1.0+x", "1.1rc1", "1.1", "1.1.post1", "2.0"],
    "rubygems": ["0.a", "0.9", "1.0.a", "1.0", "1.0.1", "1.1.rc", "1.1", "2.0", "2.0.1"],
    "maven": ["0-alpha", "0.9", "1.0-alpha", "1.0", "1.0.1", "1.1-rc", "1.1", "2.0", "2.0.1"],
    "bitnami": ["0.0.0", "0.9.0", "1.0.0", "1.0.0-1", "1.0.1", "1.1.0-0", "1.1.0", "2.0.0", "2.0.0-1"],
}
SHORT = {
    "cargo": "~> 1.0",
    "npm": "^1.0.0",
    "pip": "~=1.0",
    "rubygems": "~> 1.0.0",
    "maven": "!=1.0",
    "bitnami": "~1.0.0",
}


def random_statement(ecosystem: str, chance: random.Random) -> Statement:
    versions = [version for version in MERGE_VERSIONS[ecosystem] if "+" not in version]

    def constraint() -> str:
        low, high = chance.choice(versions), chance.choice(versions)
        return chance.choice([f"<{low}", f"<={low}", f">{low}", f">={low}", f"={low}", low, f">={low}, <{high}",
                              f">={low}, <{high} || ={high}", SHORT[ecosystem], f">={low}, <={high}"])  # fmt: skip

    def several(most: int) -> tuple[str, ...]:
        return tuple(constraint() for _ in range(chance.randint(0, most)))

    return Statement(several(2), several(2), several(1))


def as_advisory(statement: Statement) -> dict[str, list[str]]:
    lists = {
        "VulnerableVersions": statement.vulnerable,
        "PatchedVersions": statement.patched,
        "UnaffectedVersions": statement.unaffected,
    }
    return {name: list(texts) for name, texts in lists.items() if texts}


@pytest.mark.parametrize("ecosystem", sorted(MERGE_VERSIONS))
def test_trivy_reports_by_a_merged_statement_all_that_it_reports_by_its_parts(
    ecosystem: str, ask: Ask
) -> None:
    chance = random.Random(ecosystem)
    cases: list[Case] = []
    groups: list[int] = []
    for _ in range(150):
        parts = [random_statement(ecosystem, chance) for _ in range(chance.randint(2, 3))]
        for version in MERGE_VERSIONS[ecosystem]:
            told = [merge(ecosystem, parts), *parts]
            cases += [(ecosystem, as_advisory(statement), version) for statement in told]
            groups.append(len(told))
    answers = iter(ask(cases))
    rest = iter(cases)
    hidden = []
    reported = 0
    for size in groups:
        merged, *parts_reported = [next(answers) for _ in range(size)]
        asked = [next(rest) for _ in range(size)]
        reported += any(parts_reported)
        if any(parts_reported) and not merged:
            hidden.append(asked)
    assert hidden == []
    assert reported > 100
