"""Domains as they are written, and what is wrong with them, told at once."""

from __future__ import annotations

import pytest

from stellaops.exports.selectors import Selectors
from stellaops.mirrors.domain import Domain, read, read_file
from stellaops.mirrors.errors import InvalidDomain


def test_a_domain_says_little_and_means_much() -> None:
    domain = Domain("default", read({"id": "primary"}))
    assert domain.display_name == "primary"
    assert domain.document.require_authentication
    assert domain.selectors("concelier") == domain.selectors("excititor") == Selectors()
    assert domain.advisory_formats == ("osv", "trivy-db", "trivy-java-db")
    assert [each.key for each in domain.vex_exports] == [
        f"consensus-{name}" for name in ("csaf", "cyclonedx", "json", "jsonl", "openvex")
    ]
    assert domain.has_repository


def test_what_is_shown_is_what_is_read() -> None:
    wire = {
        "id": "edge",
        "requireAuthentication": False,
        "tlpAtMost": "GREEN",
        "quotas": {"maxDownloadRequestsPerHour": 10},
        "vex": {"formats": ["json"], "exports": [{"key": "top", "format": "csaf", "limit": 5}]},
    }
    document = read(wire)
    shown = Domain("default", document).to_wire()
    assert shown["advisories"]["formats"] == ["osv", "trivy-db", "trivy-java-db"]
    assert read(shown) == document
    assert Domain("default", document).selectors("excititor").tlp_at_most == "GREEN"


def test_a_file_lists_domains_in_yaml() -> None:
    first, second = read_file(
        b"domains:\n- id: a\n  requireAuthentication: false\n  quotas: {maxIndexRequestsPerHour: 5}\n- id: b\n"
    )
    assert (first.require_authentication, first.quotas.max_index_requests_per_hour) == (False, 5)
    assert second.id == "b"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"id": "A b"}, "id must be 1 to 63 of a-z"),
        ({"id": "-a"}, "id must be 1 to 63 of a-z"),
        ({"displayName": "a\nb"}, "displayName must be at most"),
        ({"tlpAtMost": "PINK"}, "tlpAtMost 'PINK' is none of CLEAR"),
        ({"keyRef": "mine"}, "keyRef is no id of a key"),
        ({"cadence": "soon"}, "cadence 'soon' is no duration"),
        ({"quotas": {"maxIndexRequestsPerHour": -1}}, "quotas.maxIndexRequestsPerHour must not be below 0"),
        ({"advisories": {"selectors": {"colour": "red"}}}, "advisories.selectors: colour: not a selector"),
        ({"vex": {"selectors": {"tenants": ["other"]}}}, "vex.selectors: tenants is no selector of a domain"),
        ({"advisories": {"selectors": {"tlpAtMost": "RED"}}}, "the marking stands beside its id"),
        ({"advisories": {"formats": ["tar"]}}, "advisories.formats: 'tar' is none of osv"),
        ({"vex": {"formats": ["pdf"]}}, "vex.formats: 'pdf' is none of json"),
        ({"vex": {"exports": [{"key": "../x", "format": "json"}]}}, "a key must be 1 to 63"),
        ({"vex": {"exports": [{"key": "consensus-json", "format": "json"}]}}, "the key is taken"),
        ({"vex": {"exports": [{"key": "a", "format": "pdf"}]}}, "format: 'pdf' is none of json"),
        ({"vex": {"exports": [{"key": "a", "format": "json", "sort": "size"}]}}, "sort: 'size' is none of"),
        ({"vex": {"exports": [{"key": "a", "format": "json", "sort": "newest"}]}}, "under a limit, and there is none"),
        ({"vex": {"exports": [{"key": "a", "format": "json", "limit": 0}]}}, "limit must be 1 to"),
        ({"vex": {"exports": [{"key": "a", "format": "json", "productKey": "app"}]}}, "must be a package URL"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(more: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidDomain) as refused:
        read({"id": "primary", **more})
    assert problem in refused.value.what


def test_all_that_is_wrong_in_a_file_is_told_at_once() -> None:
    with pytest.raises(InvalidDomain) as refused:
        read_file(b"domains: [{id: A}, {id: b, cadence: soon}, {id: b}]")
    assert len(refused.value.details) == 3
    assert "b: stands there twice" in refused.value.details


def test_a_file_that_is_no_list_of_domains_is_refused() -> None:
    for data in (b"", b"domains: 5", b"- a", b"{"):
        with pytest.raises(InvalidDomain):
            read_file(data)
