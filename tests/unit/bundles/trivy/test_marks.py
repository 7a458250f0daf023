"""Rejections and marks: rows that lead all others, and what they make of a database."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, assess
from stellaops.advisories.databases import Database
from stellaops.advisories.documents.epss import EpssFeed, scores
from stellaops.advisories.documents.registry import FEEDS
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.inspect import survey
from stellaops.bundles.trivy.marks import ABOUT, NO_SCORES, REJECTED, About, Scores, is_rejected
from stellaops.bundles.trivy.projection import project
from stellaops.bundles.trivy.values import decode_detail, keeps_id
from stellaops.bundles.trivy.vulnerability_db import DataSource, write_database
from tests.support.cves import cve, known, nvd
from tests.unit.cli.running import osv, package, until

ID = "CVE-2021-44228"
BUCKET, PACKAGE = "pip::GitHub Security Advisory pip", "demo"


def database(name: str) -> Database:
    found = databases.get(name)
    assert found is not None
    return found


def read(feed: str, document: dict[str, Any]) -> Advisory:
    advisory = FEEDS[feed].read(document)
    assert advisory is not None
    return advisory


def made(*documents: tuple[str, str, dict[str, Any]], scored: Scores = NO_SCORES) -> BoltReader:
    """The database out of documents, each with its feed and database."""
    rows, details = [], []
    for number, (feed, name, document) in enumerate(documents):
        advisory, told = read(feed, document), database(name)
        found = project(advisory, told, assess(advisory))
        rows += [
            (r.bucket, r.package, r.vulnerability, number, r.strength, r.value) for r in found.advisories
        ]
        for part, row in enumerate(found.details):
            order = (told.rank, number, part)
            details += [(v, order, told.trivy_id, decode_detail(row.value)) for v in row.vulnerabilities]
    buckets = {row[0] for row in rows} - {ABOUT}
    out = io.BytesIO()
    write_database(
        out,
        [(*row[:3], *row[4:]) for row in sorted(rows)],
        [(v, source, detail) for v, _, source, detail in sorted(details, key=lambda row: row[:2])],
        {bucket: DataSource("ghsa", bucket.partition("::")[2], "https://example.org") for bucket in buckets},
        scored,
    )
    assert survey(out.getvalue()).problems == ()
    return BoltReader(out.getvalue())


def ghsa(
    identifier: str = "GHSA-jfh8-c2jp-5v3q", *, alias: str = ID, **more: Any
) -> tuple[str, str, dict[str, Any]]:
    affected = package("PyPI", PACKAGE, *until("2.15.0"))
    return "osv", "ghsa", osv(identifier, affected, aliases=[alias], **more)


def vulnerability(reader: BoltReader, identifier: str = ID) -> Any:
    bucket = reader.at(b"vulnerability")
    value = bucket.get(identifier.encode()) if bucket else None
    return None if value is None else json.loads(value)


def advisory(reader: BoltReader, identifier: str = ID) -> Any:
    bucket = reader.at(BUCKET.encode(), PACKAGE.encode())
    value = bucket.get(identifier.encode()) if bucket else None
    return None if value is None else json.loads(value)


@pytest.mark.parametrize(
    ("description", "rejected"),
    [
        ("** REJECT ** DO NOT USE THIS CANDIDATE NUMBER. ConsultIDs: CVE-2020-1.", True),
        ("Rejected reason: This CVE ID has been rejected by its CNA.", True),
        ("\n  Rejected reason: with blanks before", True),
        ("Long words.\nDO NOT USE THIS CANDIDATE NUMBER. More.", True),
        ("The server gave a Rejected reason: none.", False),
        ("Requests that the firewall would REJECT get through.", False),
        ("", False),
    ],
)
def test_a_description_tells_that_an_id_is_void_as_in_trivys_own_rule(
    description: str, rejected: bool
) -> None:
    assert is_rejected(description) is rejected


REJECTIONS = {
    "a record of the CVE list": ("cve", "cve", cve(ID, state="REJECTED")),
    "a CVE of the NVD": ("nvd", "nvd", nvd(ID, vulnStatus="Rejected")),
    "a description of the NVD": (
        "nvd", "nvd", nvd(ID, descriptions=[{"lang": "en", "value": "Rejected reason: none"}]),
    ),
    "a description of a third": (
        "osv", "rustsec", osv("RUSTSEC-2021-0001", aliases=[ID], details="** REJECT ** DO NOT USE"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("who", REJECTIONS)
def test_a_rejected_id_is_nowhere_in_the_database_whoever_says_so(who: str) -> None:
    other = ghsa("GHSA-j8r2-6x86-q33q", alias="CVE-2023-32681")
    assert advisory(made(ghsa(), other)) is not None
    reader = made(ghsa(), REJECTIONS[who], other)
    assert advisory(reader) is None
    assert vulnerability(reader) is None
    assert advisory(reader, "CVE-2023-32681") is not None
    assert vulnerability(reader, "CVE-2023-32681") is not None


def test_a_bucket_of_rejected_ids_alone_is_not_written() -> None:
    reader = made(ghsa(), REJECTIONS["a CVE of the NVD"])
    assert {name for name, _ in reader.buckets()} == {b"data-source", b"vulnerability"}


def test_an_advisory_that_is_withdrawn_by_its_issuer_rejects_no_cve() -> None:
    advisory_of = read("osv", osv("GHSA-jfh8-c2jp-5v3q", aliases=[ID], withdrawn="2024-01-01T00:00:00Z"))
    found = project(advisory_of, database("ghsa"), assess(advisory_of))
    assert found.advisories == ()


def test_what_only_the_nvd_and_the_cve_list_know_is_left_out() -> None:
    reader = made(("nvd", "nvd", nvd("CVE-2023-0001")), ("cve", "cve", cve("CVE-2023-0002")), ghsa())
    bucket = reader.at(b"vulnerability")
    assert bucket is not None
    assert [key for key, _ in bucket.items()] == [ID.encode()]


def test_marks_stand_under_custom_of_the_vulnerability_and_of_its_advisories() -> None:
    scored = Scores("2024-10-09", [(ID, "0.97565", "0.99996"), ("CVE-2020-0001", "0.1", "0.2")])
    reader = made(ghsa(), ("kev", "kev", known(ID)), scored=scored)
    custom = {
        "epss": {"date": "2024-10-09", "percentile": 0.99996, "score": 0.97565},
        "kev": {"dateAdded": "2021-12-10", "dueDate": "2021-12-24", "knownRansomwareCampaignUse": "Known"},
    }
    assert vulnerability(reader)["Custom"] == custom
    assert advisory(reader)["Custom"] == custom
    assert advisory(reader)["VulnerableVersions"] == ["<2.15.0"]


def test_without_a_mark_there_is_no_custom() -> None:
    reader = made(ghsa(), ("kev", "kev", known("CVE-2020-0001")), scored=Scores("2024-10-09", []))
    assert "Custom" not in vulnerability(reader)
    assert "Custom" not in advisory(reader)
    assert vulnerability(reader, "CVE-2020-0001") is None


def test_of_two_marks_of_one_kind_the_choice_does_not_depend_on_the_order() -> None:
    one, other = b'{"dateAdded":"2021-12-10"}', b'{"dateAdded":"2022-01-01"}'
    told = []
    for marks in ((one, other), (other, one)):
        about = About()
        for mark in marks:
            about.add("kev", ID, mark)
        about.add("unknown", ID, b"{}")
        told.append(about.custom(ID))
    assert told == [b'{"kev":%b}' % one] * 2


def test_the_catalogue_gives_the_last_word_only_where_nobody_else_has_any() -> None:
    untitled = ghsa(summary="", details="")
    assert vulnerability(made(untitled, ("kev", "kev", known(ID))))["Title"] == f"The name of {ID}, in short"
    assert vulnerability(made(ghsa(), ("kev", "kev", known(ID))))["Title"] == "about GHSA-jfh8-c2jp-5v3q"


def test_scores_are_read_out_of_the_canonical_day_as_they_were_published() -> None:
    day = b"#model_version:v1,score_date:2024-10-09T00:00:00Z\ncve,epss,percentile\nCVE-2021-44228,0.970,1e-05\n"
    body = EpssFeed().canonical("epss.csv", day).body
    assert list(scores(body)) == [(ID, "0.970", "1e-05")]
    mark = Scores("2024-10-09", scores(body)).mark(ID)
    assert mark == b'{"date":"2024-10-09","percentile":1e-05,"score":0.970}'
    assert json.loads(mark)["percentile"] == 0.00001


def test_a_detail_without_rows_is_told_from_its_bytes_even_if_its_text_says_otherwise() -> None:
    texts = nvd(ID, descriptions=[{"lang": "en", "value": 'It says "has_rows":true in its text.'}])
    advisory_of = read("nvd", texts)
    (row,) = project(advisory_of, database("nvd"), assess(advisory_of)).details
    assert not keeps_id(row.value)
    with_rows = read("osv", ghsa()[2])
    (kept,) = project(with_rows, database("ghsa"), assess(with_rows)).details
    assert keeps_id(kept.value)


def test_rejections_come_first_in_the_order_of_the_scan() -> None:
    advisory_of = read("cve", cve(ID, state="REJECTED"))
    (row,) = project(advisory_of, database("cve"), assess(advisory_of)).advisories
    assert (row.bucket, row.package, row.vulnerability) == (ABOUT, REJECTED, ID)
    assert row.bucket < "a"
