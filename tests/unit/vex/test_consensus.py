"""What several statements come down to, and why."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from stellaops.core.errors import StellaError
from stellaops.vex.consensus import Consensus, Held, Subject, decide, reason, subjects
from stellaops.vex.statement import Role, role
from stellaops.vex.weights import BadWeights, Weights, parse

SUBJECT = Subject("CVE-2025-9232", "pkg:deb/debian/libssl-dev", "pkg:deb/debian/libssl-dev")


def held(status: str = "not_affected", issuer: str = "Acme", stated_at: int | None = 1, **more: Any) -> Held:
    fields: dict[str, Any] = {
        "vulnerability": SUBJECT.vulnerability, "package": SUBJECT.package, "product": SUBJECT.product, "platform": "",
        "subcomponents": (), "status": status, "justification": "", "stated_at": stated_at, "issuer": issuer,
        "role": "other", "source": "demo", "key": "a.json", "words": None, "revision": 1, "position": 0, "number": 0,
    }  # fmt: skip
    return Held(**(fields | more))


def decided(*statements: Held, weights: Weights | None = None) -> Consensus:
    found = decide(SUBJECT, statements, weights or Weights())
    assert found is not None
    return found


def test_the_newest_statement_of_an_issuer_counts_wherever_it_stands() -> None:
    newer = held("under_investigation", stated_at=2, position=0)
    older = held("not_affected", stated_at=1, position=9)
    found = decided(newer, older)
    assert found.decided is newer
    assert not found.conflict
    assert found.superseded == (older,)
    assert "its newest of 2 statements" in reason(found)


def test_a_statement_without_an_instant_is_older_than_any_other() -> None:
    assert decided(held("affected", stated_at=None), held("fixed", stated_at=-5)).decided.status == "fixed"


def test_of_equally_old_ones_the_more_cautious_counts() -> None:
    order = ["affected", "under_investigation", "fixed", "not_affected"]
    for place, status in enumerate(order):
        assert decided(*map(held, order[place:])).decided.status == status


def test_the_greater_weight_decides_and_the_other_is_a_conflict() -> None:
    supplier = held("not_affected", "Vendor", 1, role="supplier")
    researcher = held("affected", "Lab", 9, role="researcher")
    found = decided(researcher, supplier)
    assert found.decided is supplier
    assert found.conflict
    assert "outweighs Lab" in reason(found)


def test_among_equal_weights_the_more_cautious_status_counts() -> None:
    found = decided(held("not_affected", "A", 9), held("affected", "B", 1))
    assert found.decided.issuer == "B"
    assert "more cautious" in reason(found)


def test_an_issuer_is_one_however_its_name_is_written() -> None:
    found = decided(held("affected", "Rancher Security team", 1), held("fixed", "rancher  security TEAM", 2))
    assert [voice.held.status for voice in found.voices] == ["fixed"]


def test_documents_that_name_no_issuer_speak_for_their_source() -> None:
    found = decided(held("affected", "", 1, source="a"), held("fixed", "", 2, source="b"))
    assert len(found.voices) == 2
    assert "the unnamed issuer of" in reason(found)


def test_weights_of_issuers_come_before_those_of_sources_and_roles() -> None:
    weights = Weights(issuers={"Lab": 500}, sources={"demo": 7})
    assert weights.of("Lab", "researcher", "demo") == 500
    assert weights.of("Other", "supplier", "demo") == 7
    assert weights.of("Other", "supplier", "elsewhere") == 100


def test_an_issuer_without_weight_is_not_heard() -> None:
    weights = Weights(issuers={"Lab": 0})
    assert decided(held("affected", "Lab"), held("fixed", "A"), weights=weights).decided.status == "fixed"
    assert decide(SUBJECT, [held("affected", "Lab")], weights) is None


def test_the_state_has_one_digest_whatever_the_order_and_another_when_anything_counts() -> None:
    statements = [
        held("affected", "A", 1),
        held("fixed", "A", 2),
        held("not_affected", "B", 2),
        held("fixed", "C"),
    ]
    digests = {decided(*order).digest for order in permutations(statements)}
    assert len(digests) == 1
    assert decided(*statements[1:]).digest in digests, "a superseded statement changes nothing"
    assert decided(*statements[:2]).digest not in digests
    assert decided(*statements, weights=Weights(issuers={"B": 99})).digest not in digests


def test_a_statement_has_a_say_on_each_of_its_subcomponents() -> None:
    one = held(subcomponents=("pkg:golang/stdlib@v1.20.3", "pkg:golang/x"))
    assert [each.subcomponent for each in subjects("CVE-1", one)] == list(one.subcomponents)
    assert [each.subcomponent for each in subjects("CVE-1", held())] == [""]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("Document Creator", Role.OTHER), ("Software Vendor", Role.SUPPLIER), ("distributor", Role.DISTRIBUTOR),
     ("Security Researcher", Role.RESEARCHER), ("", Role.OTHER)],
)  # fmt: skip
def test_roles_are_told_from_the_issuers_words(words: str, expected: Role) -> None:
    assert role(words) is expected


def test_a_file_of_weights_changes_what_it_names() -> None:
    weights = parse(b"roles: {researcher: 200}\nissuers: {Rancher Security team: 300}\n")
    assert weights.of("x", "researcher", "s") == 200
    assert weights.of("x", "supplier", "s") == 100
    assert weights.of("Rancher Security team", "other", "s") == 300
    assert weights.digest != Weights().digest
    assert parse(b"{}").digest == Weights().digest


def test_everything_that_is_wrong_with_weights_is_told_at_once() -> None:
    with pytest.raises(BadWeights) as caught:
        parse(b"roles: {boss: 1, supplier: much}\nissuers: [a]\nsources: {a: 1001}\nmore: {}\n")
    assert isinstance(caught.value, StellaError)
    assert len(caught.value.details) == 5
    for wrong in ("roles.boss", "roles.supplier", "issuers:", "sources.a", "more:"):
        assert any(wrong in each for each in caught.value.details), wrong
