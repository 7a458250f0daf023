"""The Trivy rows of one document, and what several documents together become in the database."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, assess
from stellaops.bundles.trivy import inspect
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.bundles.trivy.values import decode_detail, highest_fix, merge_fixed
from stellaops.bundles.trivy.vulnerability_db import DataSource, metadata, write_database
from tests.unit.cli.running import osv, package, until

NPM = "npm::GitHub Security Advisory npm"


def projected(document: Mapping[str, Any], database: str = "ghsa") -> Projection:
    known = databases.get(database)
    assert known is not None
    advisory = msgspec.convert(document, Advisory)
    return project(advisory, known, assess(advisory))


def rows(document: Mapping[str, Any], database: str = "ghsa") -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (row.bucket, row.package, row.vulnerability): json.loads(row.value)
        for row in projected(document, database).advisories
    }


def value(document: Mapping[str, Any], database: str = "ghsa") -> dict[str, Any]:
    (only,) = rows(document, database).values()
    return only


Document = tuple[str, Mapping[str, Any]]


def database_of(*documents: Document) -> BoltReader:
    """A database of some databases' documents."""
    advisories, details, sources = [], [], {}
    for number, (name, document) in enumerate(documents):
        known = databases.get(name)
        assert known is not None
        projection = projected(document, name)
        for row in projection.advisories:
            advisories.append(((row.bucket, row.package, row.vulnerability, number), row.strength, row.value))
            sources[row.bucket] = DataSource(known.trivy_id, row.bucket.rpartition(":")[2], known.url)
        details += [
            ((vulnerability, known.rank, number), known.trivy_id, told.value)
            for told in projection.details
            for vulnerability in told.vulnerabilities
        ]
    out = io.BytesIO()
    write_database(
        out,
        [(*place[:3], strength, entry) for place, strength, entry in sorted(advisories)],
        [(place[0], source, decode_detail(detail)) for place, source, detail in sorted(details)],
        sources,
    )
    return BoltReader(out.getvalue())


def at(reader: BoltReader, *path: str) -> Any:
    *parents, key = (part.encode() for part in path)
    bucket = reader.at(*parents)
    found = None if bucket is None else bucket.get(key)
    return None if found is None else json.loads(bytes(found))


# ---- ids


def test_a_document_stands_under_every_one_of_its_cves_and_under_no_other_id() -> None:
    document = osv(
        "GHSA-aaaa-aaaa-aaaa",
        package("npm", "left", *until("1.0.0")),
        aliases=["CVE-2026-10002", " CVE-2026-10001 ", "SNYK-1", "CVE-26-1"],
        related=["CVE-2026-10003"],
        upstream=["CVE-2026-10004"],
    )
    found = rows(document)
    assert [key[2] for key in found] == ["CVE-2026-10001", "CVE-2026-10002"]
    for entry in found.values():
        assert entry["VendorIDs"] == ["GHSA-aaaa-aaaa-aaaa", "SNYK-1"]


@pytest.mark.parametrize(
    ("database", "identifier", "fields", "expected"),
    [
        ("ghsa", "GHSA-1", {"upstream": ["CVE-2026-1001"]}, ["GHSA-1"]),
        ("julia", "JLSEC-1", {"upstream": ["CVE-2026-1001"]}, ["CVE-2026-1001"]),
        ("almalinux", "ALSA-1", {"related": ["CVE-2026-1001"]}, ["CVE-2026-1001"]),
        (
            "almalinux",
            "ALSA-1",
            {"upstream": ["CVE-2026-1002"], "related": ["CVE-2026-1001"]},
            ["CVE-2026-1002"],
        ),
        ("almalinux", "ALSA-1", {}, ["ALSA-1"]),
        ("almalinux", "ALBA-1", {}, []),
        ("almalinux", "ALBA-1", {"related": ["CVE-2026-1001"]}, ["CVE-2026-1001"]),
        ("debian", "DEBIAN-CVE-2026-1001", {"upstream": ["CVE-2026-1001"]}, ["CVE-2026-1001"]),
        ("k8s", "CVE-2026-1001", {}, ["CVE-2026-1001"]),
    ],
)
def test_where_cves_stand_depends_on_the_database(
    database: str, identifier: str, fields: dict[str, Any], expected: list[str]
) -> None:
    versions = {
        "Debian:12": "1",
        "AlmaLinux:8": "1-1",
        "npm": "1.0.0",
        "Julia": "1.0.0",
        "kubernetes": "1.0.0",
    }
    affected = [package(ecosystem, "x", *until(fixed)) for ecosystem, fixed in versions.items()]
    found = projected(osv(identifier, *affected, **fields), database)
    assert list(found.vulnerabilities) == expected
    assert sorted({row.vulnerability for row in found.advisories}) == expected


def test_a_withdrawn_document_gives_nothing() -> None:
    document = osv("GHSA-a", package("npm", "left", *until("1.0.0")), withdrawn="2026-01-01T00:00:00Z")
    assert projected(document) == Projection()


# ---- ranges of language packages


@pytest.mark.parametrize(
    ("affected", "vulnerable", "patched"),
    [
        (package("npm", "x", *until("1.2.3")), ["<1.2.3"], ["1.2.3"]),
        (package("npm", "x", *until("1.2.3", "1.0.0")), [">=1.0.0, <1.2.3"], ["1.2.3"]),
        (package("npm", "x", {"introduced": "1.0.0"}), [">=1.0.0"], []),
        (package("npm", "x", {"introduced": "0"}), ["<0", ">=0"], []),
        (package("npm", "x", {"introduced": "0"}, {"last_affected": "1.9.9"}), ["<=1.9.9"], []),
        (package("npm", "x", {"introduced": "1.0.0"}, {"last_affected": "1.0.0"}), ["=1.0.0"], []),
        (
            package("npm", "x", *until("1.0.0"), *until("3.0.0", "2.0.0")), ["<1.0.0", ">=2.0.0, <3.0.0"],
            ["1.0.0", "3.0.0"],
        ),
        (package("npm", "x", {"fixed": "3.0.0"}, {"introduced": "2.0.0"}), [">=2.0.0, <3.0.0"], ["3.0.0"]),
        (package("npm", "x", versions=["1.0.0", "1.5.0", "1.0.0"]), ["=1.0.0", "=1.5.0"], []),
        (package("npm", "x", *until("1.2.3"), versions=["1.0.0", "1.2.3", "2.0.0"]), ["<1.2.3", "=2.0.0"], ["1.2.3"]),
        (package("PyPI", "x", *until("1.0RC1")), ["<1.0rc1"], ["1.0rc1"]),
        (package("npm", "x", *until("1.2")), ["<1.2.0"], ["1.2.0"]),
    ],
)  # fmt: skip
def test_a_range_becomes_constraints(
    affected: dict[str, Any], vulnerable: list[str], patched: list[str]
) -> None:
    entry = value(osv("GHSA-a", affected))
    assert entry["VulnerableVersions"] == vulnerable
    assert entry.get("PatchedVersions", []) == patched


def test_git_ranges_and_packages_without_versions_give_nothing() -> None:
    git = {"type": "GIT", "repo": "https://example.org", "events": [{"introduced": "0"}, {"fixed": "a" * 40}]}
    for affected in (
        {"package": {"ecosystem": "npm", "name": "x"}, "ranges": [git]}, package("npm", "x"),
        {"package": {"ecosystem": "npm", "name": "x"}, "ranges": [{"type": "SEMVER", "events": []}]},
        {"ranges": [git]}, {"package": {"ecosystem": "npm", "name": "x"}, "ranges": None, "versions": None},
    ):  # fmt: skip
        assert rows(osv("GHSA-a", affected)) == {}


def test_an_open_range_is_closed_by_the_last_known_affected_version() -> None:
    for text, expected in (("<= 1.9", "<=1.9.0"), ("< 2.0", "<2.0.0"), ("?", ">=0")):
        specific = {"database_specific": {"last_known_affected_version_range": text}}
        entry = value(osv("GHSA-a", package("npm", "x", {"introduced": "0"}, **specific)))
        assert expected in entry["VulnerableVersions"]


def test_two_entries_for_one_package_are_united() -> None:
    document = osv(
        "GHSA-a", package("npm", "x", *until("1.0.0")), package("npm", "X", *until("3.0.0", "2.0.0"))
    )
    assert value(document)["VulnerableVersions"] == ["<1.0.0", ">=2.0.0, <3.0.0"]


@pytest.mark.parametrize(
    ("ecosystem", "bad"),
    [
        ("PyPI", "0.1-bulbasaur"),
        ("npm", "not a version"),
        ("PyPI", "1.0||2.0"),
        ("crates.io", "x.y.z"),
        ("npm", ""),
        ("npm", "1.0.0, <9.0.0"),
        ("npm", "<9.0.0"),
        ("Maven", "1.0 2.0"),
    ],
)
def test_what_trivy_cannot_read_is_told_and_never_written(ecosystem: str, bad: str) -> None:
    document = osv("GHSA-a", package(ecosystem, "x", *until("1.0.0"), versions=["2.0.0", bad]))
    found = projected(document)
    entry = json.loads(found.advisories[0].value)
    assert entry["VulnerableVersions"] == ["<1.0.0", "=2.0.0"] or ecosystem == "PyPI"
    assert not [text for text in entry["VulnerableVersions"] if bad and bad in text]
    assert [problem.constraint for problem in found.problems] == ([f"={bad}"] if bad else [])
    assert all(problem.reason and problem.package == "x" for problem in found.problems)


def test_a_document_of_which_nothing_can_be_read_keeps_no_entry() -> None:
    found = projected(osv("GHSA-a", package("npm", "x", *until("neither", "nor"))))
    assert found.advisories == ()
    assert len(found.problems) == 1
    reader = database_of(("ghsa", osv("GHSA-a", package("npm", "x", *until("neither", "nor")))))
    assert at(reader, "vulnerability", "GHSA-a") is None


# ---- distributions


@pytest.mark.parametrize(
    ("database", "affected", "expected"),
    [
        ("debian", package("Debian:12", "x", *until("1.0-1")), {"FixedVersion": "1.0-1"}),
        ("debian", package("Debian:12", "x", {"introduced": "0"}), {}),
        (
            "debian", package("Debian:12", "x", *until("1.0-1"), ecosystem_specific={"urgency": "low"}),
            {"FixedVersion": "1.0-1", "Severity": 1},
        ),
        ("debian", package("Debian:12", "x", *until("0:9-1"), *until("1:2-1", "1:1")), {"FixedVersion": "1:2-1"}),
        (
            "alpine", package("Alpine:v3.20", "x", *until("1.0-r1", "0.9-r0")),
            {"FixedVersion": "1.0-r1", "AffectedVersion": "0.9-r0"},
        ),
        ("alpine", package("Alpine:v3.20", "x", *until("1.0-r1", "what")), {"FixedVersion": "1.0-r1"}),
        (
            "almalinux", package("AlmaLinux:8", "x", *until("1.0-1.el8"), {"introduced": "2"}),
            {"FixedVersion": "1.0-1.el8"},
        ),
    ],
)  # fmt: skip
def test_a_distributions_range_becomes_its_highest_fix(
    database: str, affected: dict[str, Any], expected: dict[str, Any]
) -> None:
    entry = value(osv("CVE-2026-1001", affected), database)
    entry.pop("VendorIDs", None)
    assert entry == expected


def test_a_fix_that_is_no_version_is_told() -> None:
    found = projected(osv("CVE-2026-1001", package("Alpine:v3.20", "x", *until("one"))), "alpine")
    assert [problem.constraint for problem in found.problems] == ["one"]
    assert found.advisories == ()


def test_packages_of_a_module_stand_under_its_stream() -> None:
    modular, plain = "1:16.20-1.module_el8.9.0+1+a", "1.0-1.el8"
    affected = [
        package("AlmaLinux:8", "npm", *until(modular)),
        package("AlmaLinux:8", "glibc", *until(plain)),
    ]
    named = rows(osv("ALSA-1", *affected, summary="Important: nodejs:16 security update"), "almalinux")
    unnamed = rows(osv("ALSA-1", *affected, summary="Important: varnish security update"), "almalinux")
    assert {key[1] for key in named} == {"nodejs:16::npm", "glibc"}
    assert {key[1] for key in unnamed} == {"npm", "glibc"}


@pytest.mark.parametrize("family", ["debian", "ubuntu", "alpine", "azurelinux", "echo"])
def test_unfixed_wins_where_trivy_shows_what_has_no_fix(family: str) -> None:
    assert highest_fix(family, ["1-r1", "", "2-r1"]) == ""


@pytest.mark.parametrize(
    "family", ["alma", "rocky", "sles", "opensuse", "photon", "wolfi", "chainguard", "minimos"]
)
def test_a_known_fix_wins_where_trivy_shows_nothing_without_one(family: str) -> None:
    assert highest_fix(family, ["1-r1", "", "2-r1"]) == "2-r1"
    assert highest_fix(family, ["", ""]) == ""


def test_several_documents_about_a_distributions_package_make_one_entry() -> None:
    def entry(**fields: Any) -> bytes:
        return json.dumps(fields).encode()

    merged = merge_fixed(
        "debian",
        [
            entry(FixedVersion="1.9-1", VendorIDs=["DSA-2"], Severity=1),
            entry(FixedVersion="1.10-1", VendorIDs=["DSA-1"], Severity=3),
        ],
    )
    assert json.loads(merged) == {"FixedVersion": "1.10-1", "Severity": 3, "VendorIDs": ["DSA-1", "DSA-2"]}
    starts = [entry(FixedVersion="2-r0", AffectedVersion="1-r0"), entry(FixedVersion="2-r0")]
    assert json.loads(merge_fixed("alpine", starts)) == {"FixedVersion": "2-r0"}


# ---- several documents in one database


def test_vulnerable_ranges_are_united_and_a_contradicted_fix_is_dropped() -> None:
    cve = {"aliases": ["CVE-2026-1001"]}
    reader = database_of(
        ("ghsa", osv("GHSA-a", package("npm", "x", *until("1.0.0")), **cve)),
        ("ghsa", osv("GHSA-b", package("npm", "x", *until("2.0.0", "0.5.0")), **cve)),
    )
    assert at(reader, NPM, "x", "CVE-2026-1001") == {
        "VulnerableVersions": ["<1.0.0", ">=0.5.0, <2.0.0"],
        "PatchedVersions": ["2.0.0"],
        "VendorIDs": ["GHSA-a", "GHSA-b"],
    }


def test_what_is_told_of_a_vulnerability_comes_from_the_first_source_that_tells_it() -> None:
    v2, v3 = "AV:N/AC:L/Au:N/C:P/I:P/A:P", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    v4 = "CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"
    cve = {"aliases": ["CVE-2026-1001"]}
    ghsa = osv(
        "GHSA-a", package("npm", "x", *until("1.0.0")), summary="", published="2025-01-01T00:00:00Z",
        severity=[{"type": "CVSS_V3", "score": v3}, {"type": "CVSS_V2", "score": v2}],
        references=[{"type": "WEB", "url": "https://b.example\nhttps://a.example"}],
        database_specific={"severity": "MODERATE", "cwe_ids": ["CWE-79", "CWE-9", "cwe-79", 3]}, **cve,
    )  # fmt: skip
    pypa = osv(
        "PYSEC-1", package("PyPI", "x", *until("1.0")), severity=[{"type": "CVSS_V4", "score": v4}],
        references=[{"type": "WEB", "url": "https://a.example"}, {"type": "WEB", "url": "https://c.example"}], **cve,
    )  # fmt: skip
    for documents in ((("ghsa", ghsa), ("pypa", pypa)), (("pypa", pypa), ("ghsa", ghsa))):
        assert at(database_of(*documents), "vulnerability", "CVE-2026-1001") == {
            "Title": "about PYSEC-1",
            "Description": "All about GHSA-a.",
            "Severity": "MEDIUM",
            "CweIDs": ["CWE-9", "CWE-79"],
            "VendorSeverity": {"ghsa": 2, "osv": 2},
            "CVSS": {
                "ghsa": {"V2Score": 7.5, "V2Vector": v2, "V3Score": 9.8, "V3Vector": v3},
                "osv": {"V40Score": 4.8, "V40Vector": v4},
            },
            "References": ["https://a.example", "https://b.example", "https://c.example"],
            "PublishedDate": "2025-01-01T00:00:00Z",
            "LastModifiedDate": "2026-01-02T03:04:05Z",
        }


@pytest.mark.parametrize(
    ("score", "word"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CRITICAL"), ("AV:N/AC:L/Au:N/C:P/I:P/A:P", "HIGH"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", "CRITICAL"),
        ("CVSS:3.0/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", "LOW"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "UNKNOWN"),
        ("nonsense", "UNKNOWN"),
    ],
)  # fmt: skip
def test_a_score_gives_its_severity(score: str, word: str) -> None:
    document = osv(
        "GHSA-a", package("npm", "x", *until("1.0.0")), severity=[{"type": "CVSS", "score": score}]
    )
    entry = at(database_of(("ghsa", document)), "vulnerability", "GHSA-a")
    assert entry["Severity"] == word
    assert ("VendorSeverity" in entry) is (word != "UNKNOWN")


def test_details_alone_keep_no_vulnerability() -> None:
    reader = database_of(
        ("ghsa", osv("GHSA-a", package("npm", "x", *until("1.0.0")))),
        ("ossfuzz", osv("OSV-1", package("OSS-Fuzz", "y", *until("1.0.0")))),
    )
    described = reader.at(b"vulnerability")
    assert described is not None
    assert [key for key, _ in described.items()] == [b"GHSA-a"]


def test_every_value_is_what_the_survey_of_a_finished_database_accepts() -> None:
    reader_bytes = io.BytesIO()
    document = osv("GHSA-a", package("npm", "x", *until("1.0.0")), aliases=["CVE-2026-1001"])
    projection = projected(document)
    write_database(
        reader_bytes,
        [
            (row.bucket, row.package, row.vulnerability, row.strength, row.value)
            for row in projection.advisories
        ],
        [(name, "ghsa", decode_detail(projection.details[0].value)) for name in projection.vulnerabilities],
        {NPM: DataSource("ghsa", "GitHub Security Advisory npm", "https://example.org")},
    )
    survey = inspect.survey(reader_bytes.getvalue())
    assert (survey.problems, survey.buckets, survey.advisories, survey.vulnerabilities) == ((), (NPM,), 1, 1)


# ---- times


def test_metadata_have_the_evidences_times_and_no_clock() -> None:
    generated = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    data = metadata(generated, timedelta(hours=36))
    assert json.loads(data) == {
        "Version": 2,
        "UpdatedAt": "2026-01-02T03:04:05.6Z",
        "NextUpdate": "2026-01-03T15:04:05.6Z",
        "DownloadedAt": "0001-01-01T00:00:00Z",
    }
    assert inspect.metadata_problems(data, generated) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Version": 1}, "schema 1"), ({"Version": 3}, "schema 3"),
        ({"UpdatedAt": "2026-01-01T00:00:00Z"}, "UpdatedAt"),
        ({"NextUpdate": "2026-01-02T03:04:05Z"}, "NextUpdate"),
        ({"DownloadedAt": "2026-01-03T00:00:00Z"}, "DownloadedAt"),
        ({"More": 1}, "More"), ({"Version": "2"}, "Version"),
    ],
)  # fmt: skip
def test_other_metadata_are_found(changes: dict[str, Any], said: str) -> None:
    generated = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    wire = json.loads(metadata(generated, timedelta(hours=24))) | changes
    problems: Iterable[str] = inspect.metadata_problems(json.dumps(wire).encode(), generated)
    assert any(said in problem for problem in problems)
