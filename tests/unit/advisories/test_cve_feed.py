"""CVE records: who says what in them."""

from __future__ import annotations

import json

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, assess, stated_instant
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.cve import CveFeed
from stellaops.bundles.trivy.projection import project
from stellaops.bundles.trivy.values import Detail, decode_detail
from stellaops.core import timestamps
from tests.support.cves import V2, V31, V31_MEDIUM, V40, cisa, cve, cvss

FEED = CveFeed()
ID = "CVE-2023-32681"


def read(document: object) -> Advisory:
    advisory = FEED.read(document)
    assert advisory is not None
    return advisory


def details(document: object) -> list[Detail]:
    database = databases.get("cve")
    assert database is not None
    advisory = read(document)
    projection = project(advisory, database, assess(advisory))
    assert all(row.vulnerabilities == (ID,) for row in projection.details)
    return [decode_detail(row.value) for row in projection.details]


def test_the_cna_and_each_adp_speak_for_themselves() -> None:
    document = cve(
        ID,
        cisa(cvss(V31, 9.8, "CRITICAL"), problemTypes=[{"descriptions": [{"cweId": "CWE-522"}]}]),
        {"providerMetadata": {"shortName": "CVE"}, "references": [{"url": "https://lists.example/1"}]},
        {"providerMetadata": {"shortName": "Silent-ADP"}, "affected": []},
        title="A leak",
        metrics=[cvss(V31_MEDIUM, 6.1, "MEDIUM"), cvss(V2, 10.0, "", "cvssV2_0")],
        problemTypes=[{"descriptions": [{"description": "CWE-200: Exposure of information"}]}],
        references=[{"url": "https://example.org/a"}, {"name": "without a link"}],
    )
    cna, adp, program = details(document)
    assert (cna.source, adp.source, program.source) == ("", "cisa-adp", "")
    assert (cna.title, cna.description) == ("A leak", f"All about {ID}.")
    assert {version: vector for version, (vector, _) in cna.scores.items()} == {"V2": V2, "V3": V31_MEDIUM}
    assert (cna.cwe_ids, cna.references) == (["CWE-200"], ["https://example.org/a"])
    assert (cna.published, cna.modified) == ("2023-05-26T17:02:52.899Z", "2024-08-02T15:25:36.892Z")
    assert (adp.scores, adp.cwe_ids) == ({"V3": (V31, 98)}, ["CWE-522"])
    assert (adp.title, adp.published) == ("", None)
    assert program.references == ["https://lists.example/1"]


def test_the_newest_version_of_cvss_gives_the_severity() -> None:
    (cna,) = details(cve(ID, metrics=[cvss(V31, 9.8, "CRITICAL"), cvss(V40, 6.9, "MEDIUM", "cvssV4_0")]))
    assert set(cna.scores) == {"V3", "V40"}
    assert cna.severity == 0


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"value": "Important", "namespace": "https://access.redhat.com"}, "Red Hat severity rating"),
        ({"text": "important"}, "Textual description of severity"),
        ({"other": "important"}, "unknown"),
    ],
)
def test_a_word_stands_in_for_a_vector(content: dict[str, str], kind: str) -> None:
    (cna,) = details(cve(ID, metrics=[{"other": {"type": kind, "content": content}}]))
    assert cna.severity == 3
    metrics = [{"other": {"type": kind, "content": content}}, cvss(V31_MEDIUM, 6.1, "MEDIUM")]
    (cna,) = details(cve(ID, metrics=metrics))
    assert (cna.severity, set(cna.scores)) == (0, {"V3"})


def test_an_english_description_is_preferred() -> None:
    texts = [{"lang": "de", "value": "Alles"}, {"lang": "en-US", "value": "All"}]
    assert read(cve(ID, descriptions=texts)).details == "All"
    assert read(cve(ID, descriptions=texts[:1])).details == "Alles"


def test_a_rejected_record_is_withdrawn_since_its_rejection() -> None:
    rejected = cve(ID, state="REJECTED")
    assert read(rejected).withdrawn == "2024-08-31T05:37:21.787Z"
    del rejected["cveMetadata"]["dateRejected"], rejected["cveMetadata"]["dateUpdated"]
    assert read(rejected).withdrawn == "REJECTED"
    assert read(cve(ID)).withdrawn is None


def test_the_record_states_when_it_was_changed() -> None:
    now = timestamps.parse("2026-01-01T00:00:00Z")
    assert now is not None
    assert stated_instant(read(cve(ID)), now) == timestamps.parse("2024-08-02T15:25:36.892Z")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (cve("CVE-2023-1"), "no-id"),
        (cve(" "), "no-id"),
        (cve(ID) | {"containers": None}, "schema"),
        ({"cveMetadata": {"cveId": ID}}, "schema"),
    ],
)
def test_a_record_without_what_it_must_have_is_malformed(document: object, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        FEED.read(document)
    assert caught.value.reason == reason


@pytest.mark.parametrize("document", [None, [], "text", {"id": ID}, {"dataType": "OTHER"}])
def test_json_of_another_kind_is_no_record(document: object) -> None:
    assert FEED.read(document) is None
    assert not FEED.recognises("a.json", json.dumps(document).encode())


def test_the_logs_of_the_cve_list_are_no_documents() -> None:
    assert not FEED.may_hold_documents("cves/deltaLog.json")
    assert FEED.may_hold_documents("cves/2023/32xxx/CVE-2023-32681.json")
