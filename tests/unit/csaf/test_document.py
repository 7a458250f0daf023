"""CSAF documents of both versions, sound and broken."""

from __future__ import annotations

from typing import Any

import pytest

from stellaops.csaf import tlp
from stellaops.csaf.document import AFFECTED, NotIdentified, is_csaf, read


def document(**parts: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "csaf_version": "2.0", "category": "csaf_security_advisory", "title": "Log4Shell in Example Server",
        "publisher": {"category": "vendor", "name": "Example", "namespace": "https://psirt.example.com"},
        "tracking": {"id": "EX-2021-1", "status": "final", "version": "1"},
    }  # fmt: skip
    return {"document": told | parts}


@pytest.mark.parametrize(
    ("distribution", "label"),
    [
        (None, "CLEAR"),
        ({}, "CLEAR"),
        ({"tlp": None}, "CLEAR"),
        ({"text": "Disclosure is not limited"}, "CLEAR"),
        ({"tlp": {"label": "WHITE", "url": "https://www.first.org/tlp/"}}, "CLEAR"),
        ({"tlp": {"label": "clear"}}, "CLEAR"),
        ({"tlp": "TLP:GREEN"}, "GREEN"),
        ({"tlp": {"label": "AMBER"}}, "AMBER"),
        ({"tlp": {"label": "AMBER+STRICT"}}, "AMBER+STRICT"),
        ({"tlp": {"label": "RED"}}, "RED"),
        ({"tlp": {"label": "PURPLE"}}, "RED"),
        ({"tlp": {"label": ["AMBER"]}}, "RED"),
        ({"tlp": {"url": "https://www.first.org/tlp/"}}, "RED"),
    ],
)
def test_the_marking_is_honoured_and_one_that_cannot_be_read_is_the_narrowest(
    distribution: Any, label: str
) -> None:
    assert read(document(distribution=distribution)).tlp == label


def test_every_label_is_its_own_label() -> None:
    assert [tlp.label(word) for word in tlp.LABELS] == list(tlp.LABELS)


def test_scores_of_2_0_and_metrics_of_2_1_come_out_alike() -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"
    old = {
        "cve": "CVE-2021-44228", "cwe": {"id": "CWE-502", "name": "Deserialization of Untrusted Data"},
        "release_date": "2021-12-10T00:00:00Z", "product_status": {"known_affected": ["P"]},
        "scores": [{"cvss_v3": {"vectorString": vector, "baseScore": 10.0}, "products": ["P"]}],
    }  # fmt: skip
    new = {
        "cve": "CVE-2021-44228", "cwes": [{"id": "CWE-502", "name": "Deserialization of Untrusted Data"}],
        "disclosure_date": "2021-12-10T00:00:00Z", "product_status": {"known_affected": ["P"]},
        "metrics": [{"content": {"cvss_v3": {"vectorString": vector, "baseScore": 10.0}}, "products": ["P"]}],
    }  # fmt: skip
    (one,) = read(document() | {"vulnerabilities": [old]}).vulnerabilities
    (other,) = read(document(csaf_version="2.1") | {"vulnerabilities": [new]}).vulnerabilities
    assert one == other
    assert one.ratings[0].vectors == (("V3", vector),)
    assert one.cwes == ("CWE-502",)
    assert one.disclosed == "2021-12-10T00:00:00Z"


def test_a_severity_without_a_vector_is_a_word() -> None:
    metrics = [
        {
            "content": {"qualitative_severity_rating": "high"},
            "products": ["P"],
            "source": "https://example.org",
        },
        {"content": {"cvss_v4": {"baseSeverity": "CRITICAL", "baseScore": 9.3}}, "products": ["P"]},
    ]
    (told,) = read(document() | {"vulnerabilities": [{"metrics": metrics}]}).vulnerabilities
    assert [(rating.words, rating.source) for rating in told.ratings] == [
        (("high",), "https://example.org"), (("CRITICAL",), ""),
    ]  # fmt: skip


def test_statements_keep_the_products_and_groups_they_are_about() -> None:
    vulnerability = {
        "product_status": {
            "known_affected": ["A"],
            "last_affected": ["B", "A"],
            "unknown": ["C"],
            "made_up": ["D"],
        },
        "remediations": [
            {"category": "vendor_fix", "details": "Update", "group_ids": ["G"], "url": "https://x.example"}
        ],
        "threats": [{"category": "impact", "details": "Moderate", "product_ids": ["A"]}],
        "flags": [{"label": "component_not_present", "product_ids": ["E"], "date": "2024-01-01T00:00:00Z"}],
        "ids": [{"system_name": "Red Hat Bugzilla ID", "text": "2158081"}, {"system_name": "empty"}],
    }
    (told,) = read(document() | {"vulnerabilities": [vulnerability]}).vulnerabilities
    assert told.products(*AFFECTED) == ("A", "B")
    assert set(told.status) == {"known_affected", "last_affected", "unknown"}
    assert (told.remediations[0].targets.group_ids, told.remediations[0].url) == (("G",), "https://x.example")
    assert told.threats[0].targets.product_ids == ("A",)
    assert told.flags[0].label == "component_not_present"
    assert told.ids == (("Red Hat Bugzilla ID", "2158081"),)


@pytest.mark.parametrize(
    ("parts", "taken_back"),
    [
        ({}, False),
        ({"tracking": {"id": "X", "status": "deleted"}}, True),
        ({"category": "csaf_withdrawn"}, True),
        ({"category": "csaf_superseded"}, True),
        ({"category": "Csaf-Superseded"}, True),
        ({"category": "csaf_deprecated_security_advisory"}, False),
        ({"tracking": {"id": "X", "status": "draft"}}, False),
    ],
)
def test_a_publisher_can_take_a_document_back(parts: dict[str, Any], taken_back: bool) -> None:
    assert read(document(**parts)).taken_back is taken_back


def test_red_hats_stub_of_a_deleted_document_is_a_document() -> None:
    stub = {"document": {"tracking": {"id": "CVE-2023-0030", "status": "deleted"}}}
    assert is_csaf(stub)
    told = read(stub)
    assert (told.tracking.id, told.taken_back, told.vulnerabilities, told.tlp) == (
        "CVE-2023-0030",
        True,
        (),
        "CLEAR",
    )


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"document": {}}, {"document": []}, {"document": {"title": "a letter"}},
     {"dataType": "CVE_RECORD", "cveMetadata": {}}, {"feed": {"entry": []}}],
)  # fmt: skip
def test_other_json_is_no_csaf(value: Any) -> None:
    assert not is_csaf(value)


@pytest.mark.parametrize(
    "tracking", [{"id": ""}, {"id": "  "}, {"id": None, "status": "final"}, {"id": []}, {"status": "x"}]
)
def test_a_document_without_an_id_is_refused(tracking: dict[str, Any]) -> None:
    assert is_csaf(document(tracking=tracking))
    with pytest.raises(NotIdentified, match=r"tracking\.id"):
        read(document(tracking=tracking))


def test_lists_inside_lists_are_flattened_as_fortinet_writes_them() -> None:
    told = read(
        document() | {"vulnerabilities": [[{"cve": "CVE-2017-14186"}], {"cve": "CVE-2017-14187"}, None, "x"]}
    )
    assert [one.cve for one in told.vulnerabilities] == ["CVE-2017-14186", "CVE-2017-14187"]


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, "x", [], [[]], [None], {}, {"text": {}}, [{"products": 3}]]
)
@pytest.mark.parametrize("place", ["notes", "scores", "metrics", "product_status", "ids", "cwe", "references", "flags",
                                   "threats", "remediations", "title", "cve"])  # fmt: skip
def test_members_of_any_type_are_read_as_far_as_they_go(place: str, value: Any) -> None:
    (told,) = read(
        document() | {"vulnerabilities": [{"discovery_date": "2024-01-01", place: value}]}
    ).vulnerabilities
    assert told.discovered == "2024-01-01"
