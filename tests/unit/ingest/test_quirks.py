"""What real feeds look like: every quirk that import must survive, on a small document of each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stellaops.advisories import advisory as fields
from stellaops.advisories.advisory import assess
from stellaops.advisories.databases import Database, get
from stellaops.advisories.documents.osv import OsvFeed
from stellaops.bundles.trivy.projection import Projection, project
from tests.contract.stores import Store, folder_of, osv, sqlite_store

YAML = """\
id: {id}
modified: {modified}
published: "2021-01-20T00:00:00Z"
aliases: [CVE-2021-1234]
details: A quirk
affected:
- package: {{name: quirky, ecosystem: PyPI, purl: pkg:pypi/quirky}}
  ranges:
  - {{type: ECOSYSTEM, events: [{{introduced: "0"}}, {{fixed: 1.10}}]}}
  versions: [1.0, 1.1, 1.10]
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return sqlite_store(tmp_path / "data")


def index(store: Store, identifier: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(store.one(identifier).index_row)
    return row


def rows(document: Mapping[str, Any], database: str) -> Projection:
    advisory = OsvFeed().read(document)
    assert advisory is not None
    return project(advisory, known(database), assess(advisory))


def known(name: str) -> Database:
    found = get(name)
    assert found is not None
    return found


def affected(
    ecosystem: str, *events: Mapping[str, str], kind: str = "SEMVER", **more: Any
) -> list[dict[str, Any]]:
    return [
        {
            "package": {"ecosystem": ecosystem, "name": "thing"},
            "ranges": [{"type": kind, "events": list(events)}],
        }
        | more
    ]


# Identity and aliases


def test_1a_one_errata_in_two_folders_is_one_document(store: Store) -> None:
    errata = osv(
        "ALSA-2024:8127", affected=affected("AlmaLinux:8", {"introduced": "0"}, {"fixed": "1-1.el8"})
    )
    report = store.take({"almalinux8/ALSA-2024:8127.json": errata, "almalinux9/ALSA-2024:8127.json": errata})
    assert (report.database, report.read, report.added, report.equal_keys) == ("almalinux", 2, 1, 1)
    assert store.keys() == ["ALSA-2024:8127"]


def test_1b_images_that_say_different_things_of_one_id_keep_a_document_each(store: Store) -> None:
    files = {
        f"{image}/CVE-2023-44487.json": osv(
            "CVE-2023-44487", details=image, affected=affected("DHI", {"introduced": "0"})
        )
        for image in ("envoy", "nginx")
    }
    report = store.take(files)
    assert (report.database, report.added, report.equal_keys) == ("dhi", 2, 0)
    assert store.keys() == [
        "CVE-2023-44487#envoy/CVE-2023-44487.json",
        "CVE-2023-44487#nginx/CVE-2023-44487.json",
    ]


def test_2_an_id_may_be_a_cve_or_hold_a_colon(store: Store) -> None:
    store.take({"one.json": osv("CVE-2024-1", aliases=None), "two.json": osv("ALSA-2024:1", aliases=None)})
    assert store.keys() == ["ALSA-2024:1", "CVE-2024-1"]
    assert rows(osv("CVE-2024-1000", aliases=None), "k8s").vulnerabilities == ("CVE-2024-1000",)


def test_3_aliases_in_common_link_documents_and_never_merge_them(store: Store) -> None:
    cves = ["CVE-2020-35866", "CVE-2020-35867", "CVE-2020-35868"]
    one, other = osv("RUSTSEC-2020-0014", aliases=cves), osv("RUSTSEC-2021-0001", aliases=cves[2:])
    store.take(folder_of([one, other]))
    assert [record.key for record in store.records.find(cves[2], "default")] == [one["id"], other["id"]]
    assert [record.key for record in store.records.find(cves[0], "default")] == [one["id"]]
    assert rows(one, "rustsec").vulnerabilities == tuple(cves)
    assert rows(other, "rustsec").vulnerabilities == ("CVE-2020-35868",)


@pytest.mark.parametrize(
    ("aliases", "cves"),
    [
        (["whhr-7f2w-qqj2"], ()),
        (["CAN-2021-1000007"], ()),
        ([" CVE-2026-49977 "], ("CVE-2026-49977",)),
        (["CVE_2019-2426", "CVE 2018-16859", "CVE-????-?????  XSA-295", "CVE-2017-17434-1"], ()),
        (["CVE-2017-14450 TALOS-2017-0499", "cve-2017-1000001"], ()),
        (["CVE-2025-1000", "CVE-2025-1000"], ("CVE-2025-1000",)),
        (["", "  "], ()),
    ],
)
def test_4_a_malformed_alias_is_kept_as_it_is_and_taken_for_no_cve(
    aliases: list[str], cves: tuple[str, ...]
) -> None:
    document = osv("PYSEC-2025-1", aliases=aliases)
    assert rows(document, "pypa").vulnerabilities == (cves or ("PYSEC-2025-1",))


def test_4_duplicate_aliases_and_blanks_around_them_are_gone_from_the_index_alone(store: Store) -> None:
    store.take(folder_of([osv("GO-2025-3828", aliases=[" CVE-2025-1 ", "CVE-2025-1", "GHSA-x"])]))
    assert index(store, "GO-2025-3828")["aliases"] == ["CVE-2025-1", "GHSA-x"]
    assert b'"aliases":[" CVE-2025-1 ","CVE-2025-1","GHSA-x"]' in store.one("GO-2025-3828").body


@pytest.mark.parametrize(
    ("database", "field", "found"),
    [
        ("cleanstart", "upstream", True),
        ("julia", "upstream", True),
        ("rconsortium", "upstream", True),
        ("almalinux", "upstream", True),
        ("almalinux", "related", True),
        ("pypa", "upstream", False),
        ("pypa", "related", False),
        ("julia", "related", False),
    ],
)
def test_5_cves_are_taken_from_where_their_database_puts_them(database: str, field: str, found: bool) -> None:
    document = osv("X-1", aliases=None, **{field: ["CVE-2024-9999"]})
    assert rows(document, database).vulnerabilities == (("CVE-2024-9999",) if found else ("X-1",))


def test_5_errata_without_any_cve_are_stored_and_no_vulnerability(store: Store) -> None:
    errata = osv(
        "ALBA-2024:1", aliases=None, affected=affected("AlmaLinux:8", {"introduced": "0"}, {"fixed": "1-1"})
    )
    assert store.take(folder_of([errata])).added == 1
    assert rows(errata, "almalinux") == Projection()


# Time


def test_6_year_1_states_nothing(store: Store) -> None:
    store.take(
        folder_of([osv("GO-2024-1", modified="0001-01-01T00:00:00Z", published="2023-03-02T00:00:00Z")])
    )
    assert store.status().updated_at is not None
    assert f"{store.status().updated_at:%Y-%m-%d}" == "2023-03-02"
    assert index(store, "GO-2024-1")["modified"] is None


def test_7_an_instant_in_the_future_states_nothing(store: Store) -> None:
    store.take(folder_of([osv("PYSEC-2024-115", modified="2027-07-09T00:00:00Z"), osv("PYSEC-2024-1")]))
    assert f"{store.status().updated_at:%Y-%m-%d}" == "2024-05-01"


def test_8_a_change_is_told_by_content_and_not_by_a_stated_instant(store: Store) -> None:
    store.take(folder_of([osv("PYSEC-2024-1", modified="2023-10-02T22:26:51.46103Z")]))
    same_instant = osv("PYSEC-2024-1", modified="2023-10-02T22:26:51.461030Z", aliases=["CVE-2024-2"])
    assert store.take(folder_of([same_instant])).changed == 1
    older = osv("PYSEC-2024-1", modified="2020-01-01T00:00:00Z")
    assert store.take(folder_of([older])).changed == 1


def test_8_instants_are_compared_and_not_their_texts(store: Store) -> None:
    later = osv("PYSEC-2024-1", modified="2023-10-02T23:30:00+01:00", summary="Half an hour later")
    earlier = osv("PYSEC-2024-1", modified="2023-10-02T22:00:00.999999999Z", summary="First")
    store.take({"a.json": later, "b.json": earlier})
    assert b"Half an hour later" in store.one("PYSEC-2024-1").body


def test_9_a_yaml_instant_stays_the_text_that_it_was(store: Store) -> None:
    store.take({"x.yaml": YAML.format(id="PYSEC-2021-1", modified="2021-02-03 04:05:06.1+02:00")})
    assert b'"modified":"2021-02-03 04:05:06.1+02:00"' in store.one("PYSEC-2021-1").body
    assert index(store, "PYSEC-2021-1")["modified"] == "2021-02-03T02:05:06.1Z"


def test_10_published_may_be_missing_or_later_than_modified(store: Store) -> None:
    later = osv("X-2", modified="2024-01-01T00:00:00Z", published="2025-01-01T00:00:00Z")
    assert store.take(folder_of([osv("X-1", published=None), later])).added == 2
    assert index(store, "X-1")["published"] is None
    assert f"{store.status().updated_at:%Y-%m-%d}" == "2024-05-01"


# Ranges and versions


def test_11_a_distribution_that_calls_itself_another_gets_no_bucket_of_it() -> None:
    document = osv(
        "CLEANSTART-2026-AA33691",
        affected=affected("Alpine", {"introduced": "0"}, {"fixed": "3.28.5-r4"}, versions=["3.28.5-r4"]),
    )
    assert rows(document, "cleanstart").advisories == ()
    assert rows(osv("ALPINE-CVE-2024-1", affected=document["affected"]), "osv").advisories == ()


def test_12_a_fixed_version_in_the_list_of_affected_ones_is_not_affected() -> None:
    document = osv(
        "PYSEC-2023-177",
        affected=affected(
            "PyPI", {"introduced": "0"}, {"fixed": "23.9.0"}, kind="ECOSYSTEM", versions=["1.0", "23.9.0"]
        ),
    )
    (row,) = rows(document, "pypa").advisories
    assert json.loads(row.value)["VulnerableVersions"] == ["<23.9.0"]


@pytest.mark.parametrize(
    "parts",
    [
        affected("npm"),
        [{"package": {"ecosystem": "npm", "name": "thing"}}],
        [{"package": {"ecosystem": "npm", "name": "thing"}, "ranges": None, "versions": None}],
        [{"package": {"ecosystem": "npm", "name": "thing"}, "ranges": [{"type": "SEMVER", "events": None}]}],
        [],
        None,
    ],
)
def test_13_documents_that_affect_nothing_are_stored_and_make_no_rows(
    store: Store, parts: list[dict[str, Any]] | None
) -> None:
    document = osv("GHSA-2r7g-8hpc-rpq9", affected=parts)
    assert store.take(folder_of([document])).added == 1
    found = rows(document, "ghsa")
    assert found.advisories == ()
    assert found.vulnerabilities == ("CVE-2024-10001",)


def test_13_fixed_and_last_affected_may_stand_in_one_range() -> None:
    events = (
        {"introduced": "1.0.2"},
        {"last_affected": "1.6.3"},
        {"introduced": "2.3.0"},
        {"fixed": "2.3.2"},
    )
    (row,) = rows(osv("GHSA-x", affected=affected("npm", *events)), "ghsa").advisories
    assert json.loads(row.value) == {
        "VulnerableVersions": [">=1.0.2, <=1.6.3", ">=2.3.0, <2.3.2"], "PatchedVersions": ["2.3.2"],
        "VendorIDs": ["GHSA-x"],
    }  # fmt: skip


def test_14_two_beginnings_without_an_end_are_survived(store: Store) -> None:
    document = osv(
        "OSV-2026-521",
        affected=affected("OSS-Fuzz", {"introduced": "72b9"}, {"introduced": "fee5"}, kind="GIT"),
    )
    assert store.take(folder_of([document])).added == 1
    assert rows(document, "ossfuzz").advisories == ()


def test_14_events_out_of_order_are_brought_into_order() -> None:
    events = ({"fixed": "1.28.4"}, {"introduced": "1.27.0"}, {"fixed": "1.27.8"}, {"introduced": "1.28.0"})
    (row,) = rows(osv("GHSA-x", affected=affected("npm", *events)), "ghsa").advisories
    assert json.loads(row.value)["VulnerableVersions"] == [">=1.27.0, <1.27.8", ">=1.28.0, <1.28.4"]


def test_15_a_version_that_its_scheme_does_not_know_is_reported_and_never_written(store: Store) -> None:
    document = osv(
        "BIT-mastodon-2026-47777",
        affected=affected("Bitnami", {"introduced": "nightly.2026-03-10.0"}, {"fixed": "4.5.1"}),
    )
    assert store.take(folder_of([document])).added == 1
    found = rows(document, "bitnami")
    assert b"nightly" not in b"".join(row.value for row in found.advisories)
    assert [problem.package for problem in found.problems] == ["thing"]


def test_15_hundreds_of_listed_versions_are_survived(store: Store) -> None:
    document = osv(
        "PYSEC-2021-1", affected=affected("PyPI", versions=[f"1.{number}" for number in range(700)])
    )
    assert store.take(folder_of([document])).added == 1
    (row,) = rows(document, "pypa").advisories
    assert len(json.loads(row.value)["VulnerableVersions"]) == 700


@pytest.mark.parametrize(
    ("parts", "ecosystems"),
    [
        (
            [{"ranges": [{"type": "GIT", "repo": "https://example.org/x", "events": [{"introduced": "0"}]}]}],
            [],
        ),
        (affected("AlmaLinux:8", {"introduced": "0"}), ["AlmaLinux:8"]),
        (
            affected("Packagist:https://packages.example.org", {"introduced": "0"}),
            ["Packagist:https://packages.example.org"],
        ),
        (affected("Never Heard Of", {"introduced": "0"}), ["Never Heard Of"]),
        ([{"package": None}], []),
    ],
)
def test_16_packages_may_be_missing_and_ecosystems_unknown_or_suffixed(
    store: Store, parts: list[dict[str, Any]], ecosystems: list[str]
) -> None:
    assert store.take(folder_of([osv("X-1", affected=parts)])).added == 1
    assert index(store, "X-1")["ecosystems"] == ecosystems


def test_17_events_that_break_the_schema_do_not_cost_the_document(store: Store) -> None:
    parts = affected("PyPI", {"introduced": "0"}, {"fixed": "0.2.0-n653"}, kind="ECOSYSTEM")
    parts[0]["ranges"].append({"type": "GIT", "events": [{"introduced": "0"}, {"fixed": "195caac.patch"}]})
    document = osv("PYSEC-2021-371", affected=parts, schema_version=None)
    assert store.take(folder_of([document])).added == 1
    found = rows(document, "pypa")
    assert b"n653" not in b"".join(row.value for row in found.advisories)
    assert found.problems


def test_18_a_severity_counts_at_the_top_under_affected_or_nowhere(store: Store) -> None:
    vector = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
    v2 = [{"type": "CVSS_V2", "score": "AV:L/AC:H/Au:N/C:N/I:N/A:P"}]
    store.take(
        folder_of(
            [
                osv("X-1", severity=v2 + vector),
                osv("X-2", affected=affected("npm", severity=vector)),
                osv("X-3"),
            ]
        )
    )
    assert [index(store, f"X-{number}")["severity"] for number in (1, 2, 3)] == [
        "CRITICAL",
        "CRITICAL",
        "UNKNOWN",
    ]


def test_19_a_withdrawn_document_is_stored_counted_and_in_no_scanner_database(store: Store) -> None:
    document = osv("PYSEC-2021-1", withdrawn="2024-05-01T00:00:00Z")
    store.take(folder_of([document, osv("PYSEC-2021-2", withdrawn=None)]))
    assert store.status().withdrawn == 1
    assert rows(document, "pypa") == Projection()
    assert index(store, "PYSEC-2021-1")["withdrawn"] == "2024-05-01T00:00:00Z"


def test_19_an_unreadable_withdrawal_instant_withdraws_all_the_same(store: Store) -> None:
    store.take(folder_of([osv("X-1", withdrawn="last week"), osv("X-2", withdrawn="")]))
    assert store.one("X-1").withdrawn
    assert index(store, "X-1")["withdrawn"] == "last week"
    assert not store.one("X-2").withdrawn


# YAML sources of OSV documents


def test_a_yaml_source_keeps_versions_and_dates_as_texts(store: Store) -> None:
    assert (
        store.take({"vulns/x/PYSEC-2021-1.yaml": YAML.format(id="PYSEC-2021-1", modified="2021-02-03")}).added
        == 1
    )
    body = json.loads(store.one("PYSEC-2021-1").body)
    assert body["affected"][0]["versions"] == ["1.0", "1.1", "1.10"]
    assert body["affected"][0]["ranges"][0]["events"][1] == {"fixed": "1.10"}
    assert body["modified"] == "2021-02-03"


def test_json_and_yaml_of_one_document_are_one_content(store: Store) -> None:
    document = osv("PYSEC-2021-1")
    store.take({"x.json": document})
    report = store.take({"x.yaml": json.dumps(document)})
    assert (report.unchanged, report.changed) == (1, 0)


@pytest.mark.parametrize("version", [None, "1.0.0", "1.8.0", "17", 5])
def test_any_schema_version_is_read(store: Store, version: object) -> None:
    assert store.take(folder_of([osv("X-1", schema_version=version)])).added == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"affected": []}, "no-id"),
        (osv(""), "no-id"),
        (osv(" X-1"), "no-id"),
        (osv("X" * 257), "no-id"),
        (osv("X\0Y"), "no-id"),
        (osv("X\nY"), "no-id"),
        (osv("X\u202eY"), "no-id"),
        (osv("X-1", affected="all"), "schema"),
        (osv("X-1", aliases="CVE-2024-1"), "schema"),
        (osv("X-1", affected=[{"versions": [1.5]}]), "schema"),
        (osv("X-1", id=7), "schema"),
    ],
)
def test_a_document_without_identity_or_of_wrong_types_goes_to_quarantine(
    store: Store, document: dict[str, Any], reason: str
) -> None:
    report = store.take({"good.json": osv("GHSA-x"), "bad.json": document})
    assert (report.added, report.quarantined) == (1, 1)
    assert store.reasons() == [("bad.json", reason)]


def test_names_of_ids_are_read_without_blanks() -> None:
    assert fields.names([" a ", "b", "a", "", " "]) == ["a", "b"]
    assert fields.names(None) == []
