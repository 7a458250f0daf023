"""CVEs of the NVD: out of pages and of single files, and which of its scores counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories.advisory import Advisory, assess, cwe_ids
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.nvd import NvdFeed
from stellaops.advisories.severity import Severity
from tests.support.cves import V2, V31, V31_MEDIUM, V40, nvd, nvd_metric, nvd_metric_2, page

FEED = NvdFeed()
ID = "CVE-2023-32681"


def read(document: object) -> Advisory:
    advisory = FEED.read(document)
    assert advisory is not None
    return advisory


def test_a_cve_is_the_same_record_out_of_a_page_and_of_a_file() -> None:
    one, other = nvd(ID), nvd("CVE-2021-44228")
    content = page(one, other, indent=2)
    cut = list(FEED.records("page.json", content))
    assert [content[each.offset : each.offset + len(each.raw)] for each in cut] == [each.raw for each in cut]
    bodies = [FEED.canonical("page.json", each.raw).body for each in cut]
    for form in (one, {"cve": one}):
        (alone,) = FEED.records("CVE.json", json.dumps(form).encode())
        assert FEED.canonical("CVE.json", alone.raw).body == bodies[0]
    assert len(bodies) == 2


def test_equal_cves_in_one_page_keep_their_own_places() -> None:
    content = page(nvd(ID), nvd(ID))
    first, second = FEED.records("page.json", content)
    assert first.raw == second.raw
    assert first.offset < second.offset


def test_a_page_with_a_lone_surrogate_is_cut_all_the_same() -> None:
    content = page(nvd(ID), nvd("CVE-2021-44228")).replace(b"Todo", b"\\udc00", 1)
    cut = list(FEED.records("page.json", content))
    assert [json.loads(each.raw)["id"] for each in cut] == [ID, "CVE-2021-44228"]
    assert all(content[each.offset : each.offset + len(each.raw)] == each.raw for each in cut)


def test_the_fields_are_the_nvds() -> None:
    advisory = read(nvd(ID, {"cvssMetricV31": [nvd_metric(V31, 9.8, "CRITICAL")]}))
    assert (advisory.id, advisory.summary, advisory.details) == (ID, None, f"The NVD on {ID}.")
    assert (advisory.published, advisory.modified) == ("2023-05-26T18:15:14.147", "2023-09-17T09:15:12.267")
    assert cwe_ids(advisory) == ["CWE-200"]
    assert [link.url for link in advisory.references or ()] == [f"https://nvd.example/{ID}"]


PRIMARY_3 = nvd_metric(V31_MEDIUM, 6.1, "MEDIUM")
SECONDARY_3 = nvd_metric(V31, 9.8, "CRITICAL", "Secondary")
METRICS: dict[str, tuple[dict[str, Any], Severity, set[str]]] = {
    "the primary score before one of others": (
        {"cvssMetricV31": [SECONDARY_3, PRIMARY_3]}, Severity.MEDIUM, {V31_MEDIUM},
    ),
    "the first of others where there is no primary one": (
        {"cvssMetricV31": [SECONDARY_3, nvd_metric(V31_MEDIUM, 6.1, "MEDIUM", "Secondary")]}, Severity.CRITICAL, {V31},
    ),
    "a primary 3.0 before others' 3.1": (
        {"cvssMetricV31": [SECONDARY_3], "cvssMetricV30": [PRIMARY_3]}, Severity.MEDIUM, {V31_MEDIUM},
    ),
    "version 3 before others' version 4": (
        {"cvssMetricV40": [nvd_metric(V40, 6.9, "LOW", "Secondary")], "cvssMetricV31": [SECONDARY_3]},
        Severity.CRITICAL, {V31, V40},
    ),
    "a primary version 4 before version 3": (
        {"cvssMetricV40": [nvd_metric(V40, 6.9, "MEDIUM")], "cvssMetricV31": [SECONDARY_3]},
        Severity.MEDIUM, {V31, V40},
    ),
    "the word of version 2, which has no critical": (
        {"cvssMetricV2": [nvd_metric_2(V2, 10.0, "HIGH")]}, Severity.HIGH, {V2},
    ),
    "nothing where nothing was analysed": ({}, Severity.UNKNOWN, set()),
}  # fmt: skip


@pytest.mark.parametrize("what", METRICS)
def test_the_severity_is_that_of_trivys_own_database(what: str) -> None:
    metrics, severity, vectors = METRICS[what]
    assessment = assess(read(nvd(ID, metrics)))
    assert assessment.word is severity
    assert {score.vector for score in assessment.scores} == vectors


def test_a_rejected_cve_is_withdrawn_since_it_was_changed() -> None:
    assert read(nvd(ID, vulnStatus="Rejected")).withdrawn == "2023-09-17T09:15:12.267"
    assert read(nvd(ID, vulnStatus="REJECTED", lastModified=None)).withdrawn == "REJECTED"
    assert read(nvd(ID, vulnStatus="Analyzed")).withdrawn is None


def test_overrides_of_the_nvd_are_not_the_nvd() -> None:
    content = json.dumps({"_annotation": {"cve_id": ID}, "cve": {"configurations": []}}).encode()
    assert not FEED.recognises("CVE-2007-2379.json", content)
    (whole,) = FEED.records("CVE-2007-2379.json", content)
    assert FEED.read(FEED.canonical("a.json", whole.raw).parsed) is None


def test_a_cve_without_an_id_is_malformed() -> None:
    with pytest.raises(Malformed, match="no-id"):
        FEED.read(nvd("CVE-2023-1"))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"vulnerabilities": 1}', b'{"vulnerabilities": [1, {}]}', b"{"]
)
def test_other_files_are_not_recognised(content: bytes) -> None:
    assert not FEED.recognises("a.json", content)
