"""What must hold of selectors, whatever is typed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stellaops.core import timestamps
from stellaops.exports import selectors
from stellaops.exports.errors import InvalidSelector

words = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3)
instants = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - hypothesis wants naive ones
    lambda naive: timestamps.render(naive.replace(tzinfo=UTC))
)
sound = st.fixed_dictionaries(
    {},
    optional={
        "sources": words,
        "ecosystems": words,
        "ids": words,
        "products": words,
        "packages": st.lists(st.sampled_from(["pkg:npm/%40a/b", "pkg:pypi/x", "pkg:maven/g/a"]), min_size=1),
        "since": instants,
        "until": instants,
        "severityAtLeast": st.sampled_from(["low", "MEDIUM", "High", "critical"]),
        "severityUnknown": st.sampled_from(["keep", "drop"]),
        "tlpAtMost": st.sampled_from(["clear", "TLP:GREEN", "AMBER+STRICT", "red"]),
    },
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(wire=sound)
def test_the_canonical_form_reads_back_as_itself(wire: dict[str, Any]) -> None:
    read = selectors.parse(wire)
    again = selectors.parse(read.canonical())
    assert again.canonical() == read.canonical()
    assert list(read.canonical()) == list(again.canonical())


@given(wire=sound, data=st.data())
def test_order_and_repetition_make_no_other_selection(wire: dict[str, Any], data: st.DataObject) -> None:
    shuffled = {
        name: data.draw(st.permutations([*value, *value])) if isinstance(value, list) else value
        for name, value in data.draw(st.permutations(list(wire.items())))
    }
    assert selectors.parse(shuffled) == selectors.parse(wire)


@given(wire=st.dictionaries(st.sampled_from([*selectors._NAMES, "colour", ""]), anything, max_size=5))
def test_whatever_stands_there_is_read_or_refused_with_a_line_for_each_name(wire: dict[str, Any]) -> None:
    try:
        selectors.parse(wire)
    except InvalidSelector as error:
        told = [detail.partition(":")[0] for detail in error.details]
        assert told
        assert set(told) <= set(wire)
        assert len(told) == len(set(told))


@given(typed=st.lists(st.text(st.sampled_from("abc=,: "), max_size=12), max_size=3))
def test_whatever_is_typed_is_pairs_or_refused(typed: list[str]) -> None:
    try:
        wire = selectors.parse_pairs(typed)
    except InvalidSelector:
        return
    assert all(isinstance(name, str) for name in wire)
