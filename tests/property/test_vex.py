"""What must hold for all VEX: no order matters, no bytes break a parser, no history changes what is stored."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.advisories.canonical import Malformed
from stellaops.ingest.feeds import Side
from stellaops.vex.consensus import Held, Subject, decide
from stellaops.vex.documents.registry import FEEDS
from stellaops.vex.products import applies, identify, package_of
from stellaops.vex.projection import rows
from stellaops.vex.statement import Role, Status
from stellaops.vex.weights import Weights
from tests.contract.stores import Store, as_bytes, sqlite_store
from tests.contract.test_vex_store import Excititor, vex
from tests.property.test_aoc_history import revisions

SUBJECT = Subject("CVE-2025-9232", "pkg:oci/x", "pkg:oci/x")
statements = st.builds(
    Held,
    vulnerability=st.just(SUBJECT.vulnerability),
    package=st.just(SUBJECT.package),
    product=st.just(SUBJECT.product),
    platform=st.just(""),
    subcomponents=st.just(()),
    status=st.sampled_from([status.value for status in Status]),
    justification=st.sampled_from(["", "component_not_present"]),
    stated_at=st.one_of(st.none(), st.integers(0, 3)),
    issuer=st.sampled_from(["", "A", "B", "a"]),
    role=st.sampled_from([role.value for role in Role]),
    source=st.sampled_from(["one", "two"]),
    key=st.sampled_from(["a.json", "b.json"]),
    words=st.one_of(st.none(), st.integers(0, 2)),
    revision=st.integers(1, 3),
    position=st.integers(0, 3),
    number=st.just(0),
)


@given(st.lists(statements, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_consensus_is_the_same_in_any_order(held: list[Held], chance: random.Random) -> None:
    mixed = list(held)
    chance.shuffle(mixed)
    one, other = (decide(SUBJECT, each, Weights()) for each in (held, mixed))
    assert one is not None
    assert other is not None
    assert (one.digest, one.conflict) == (other.digest, other.conflict)
    assert one.decided == other.decided
    assert decide(SUBJECT, [*held, *held], Weights()).digest == one.digest  # type: ignore[union-attr]


@given(st.lists(statements, min_size=1, max_size=8))
def test_what_decides_is_the_newest_of_its_issuer_and_of_the_greatest_weight(held: list[Held]) -> None:
    weights = Weights()
    found = decide(SUBJECT, held, weights)
    assert found is not None
    assert len(found.voices) + len(found.superseded) == len(held)
    assert found.voices[0].weight == max(voice.weight for voice in found.voices)
    mine = [each for each in held if each.issuer == found.decided.issuer != ""]
    newest = max((each.stated_at if each.stated_at is not None else -1 for each in mine), default=None)
    if newest is not None:
        assert (found.decided.stated_at if found.decided.stated_at is not None else -1) == newest


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def _check(path: str, raw: bytes) -> None:
    for feed in FEEDS.values():
        feed.recognises(path, raw)
        try:
            found = feed.read(feed.canonical(path, raw).parsed)
        except Malformed:
            continue
        if found is not None:
            made = rows(found)
            assert made.statements == len(found.statements)
            assert all(row[2] for row in made.rows)


@given(st.binary(max_size=400), st.sampled_from(["a.json", "a.yaml", "a.xml"]))
@example(
    b'<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><vulnerabilities>x</vulnerabilities></bom>', "a.xml"
)
def test_any_bytes_raise_only_our_errors(raw: bytes, path: str) -> None:
    _check(path, raw)


@given(st.data())
def test_any_values_in_the_members_of_documents_raise_only_our_errors(data: st.DataObject) -> None:
    def some(*names: str) -> dict[str, Any]:
        return {name: data.draw(json_values) for name in names if data.draw(st.booleans())}

    openvex = {
        "@context": "https://openvex.dev/ns",
        "statements": [
            {"status": "fixed", "vulnerability": "CVE-2024-1086"}
            | some("vulnerability", "products", "subcomponents", "status", "justification", "timestamp")
        ],
    }
    cyclonedx = {
        "bomFormat": "CycloneDX",
        "components": data.draw(json_values),
        "metadata": some("timestamp", "supplier", "component", "authors"),
        "vulnerabilities": [
            {"id": "CVE-2024-1086", "analysis": {"state": "resolved"}} | some("id", "analysis", "affects", "references")
        ],
    }  # fmt: skip
    csaf = {
        "document": {"tracking": {"id": "x"}} | some("publisher", "distribution", "notes"),
        "product_tree": some("branches", "relationships", "product_groups", "full_product_names"),
        "vulnerabilities": [
            {"cve": "CVE-2024-1086"} | some("product_status", "flags", "threats", "remediations", "ids")
        ],
    }
    for value in (openvex, cyclonedx, csaf):
        _check("a.json", json.dumps(value).encode())


@given(st.text(max_size=60), st.text(max_size=20))
def test_identities_are_stable_and_hold_for_themselves(text: str, version: str) -> None:
    for name in (text, f"pkg:{text}", f"pkg:npm/{text}@{version}?a={version}#{text}"):
        once = identify(name)
        assert identify(once) == once
        assert applies(once, once)
        assert package_of(package_of(once)) == package_of(once) or not once.startswith("pkg:")


KEYS = ("a.json", "b.json", "c.json")
fates = st.one_of(
    st.none(),
    st.just("broken"),
    st.tuples(st.sampled_from(list(Status)), st.integers(1, 9), st.sampled_from([None, 1])),
)  # fmt: skip
portions = st.tuples(st.lists(fates, min_size=len(KEYS), max_size=len(KEYS)), st.booleans())


def _files(portion: list[Any]) -> dict[str, object]:
    found: dict[str, object] = {"first.json": vex()}
    for key, fate in zip(KEYS, portion, strict=True):
        if fate == "broken":
            found[key] = '{"@context": "https://openvex.dev/ns", "statements": ['
        elif fate is not None:
            status, day, indent = fate
            told = vex(("CVE-2025-9232", "pkg:oci/x", status.value, f"2025-01-0{day}T00:00:00Z"), author=key)
            found[key] = json.dumps(told, indent=indent)
    return found


@given(st.lists(portions, min_size=1, max_size=5))
@settings(max_examples=15)
def test_no_history_changes_a_stored_document_or_loses_a_revision(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[Any], bool]]
) -> None:
    store: Store = sqlite_store(tmp_path_factory.mktemp("store"))
    excititor = Excititor(store)
    excititor.take({"first.json": vex()})
    before = revisions(store)
    states = {store.sequence: excititor.worked_out()}
    current: dict[str, bytes] = {}
    for portion, prune in history:
        files = _files(portion)
        excititor.take(files, prune=prune)
        after = revisions(store)
        for number, (row, end) in before.items():
            assert after[number][0] == row
            assert after[number][1] <= end
        for key, fate in zip(KEYS, portion, strict=True):
            if fate is None and prune:
                current.pop(key, None)
            elif fate not in (None, "broken"):
                current[key] = as_bytes(files[key])
        for key, content in current.items():
            raw = store.records.raw("demo", key)
            assert raw is not None
            assert msgspec.json.decode(raw) == msgspec.json.decode(content)
        assert excititor.kept() == excititor.worked_out()
        states.setdefault(store.sequence, excititor.worked_out())
        before = after
    for sequence, found in states.items():
        assert excititor.worked_out(sequence) == excititor.kept(sequence) == found
    fresh = SqlConsensus(store.engine)
    assert fresh.refresh(Weights()).examined == 0
    assert store.sources.find("demo") is not None
    assert store.take({"first.json": vex()}, side=Side.VEX).unchanged == 1
