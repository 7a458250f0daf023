"""Cutting arrays and members out of files, whatever stands around them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.slices import elements, members

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_the_members_of_an_object_are_exact_slices(
    value: dict[str, Any], escape: bool, indent: int | None
) -> None:
    content = json.dumps(value, ensure_ascii=escape, indent=indent).encode("utf-8", "replace")
    for before in (b"", b"\xef\xbb\xbf", b" \n"):
        found = members(before + content)
        assert {name: json.loads(each.raw) for name, each in found.items()} == json.loads(content)
        for each in found.values():
            assert (before + content)[each.offset : each.offset + len(each.raw)] == each.raw


@pytest.mark.parametrize("odd", [b"NaN", b'"\\ud800"', b'{"a": Infinity}'])
def test_a_value_that_is_no_json_does_not_cost_its_neighbours(odd: bytes) -> None:
    content = '{"é": 1, "all": [{"b": "ü"}, '.encode() + odd + b', [2]], "z": {}}'
    found = members(content)
    assert (found["é"].raw, found["z"].raw) == (b"1", b"{}")
    place = found["all"]
    assert content[place.offset : place.offset + len(place.raw)] == place.raw
    cut = list(elements(content, place.offset, place.offset + len(place.raw)))
    assert [each.raw for each in cut] == ['{"b": "ü"}'.encode(), odd, b"[2]"]
    assert all(content[each.offset : each.offset + len(each.raw)] == each.raw for each in cut)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not-json"),
        (b"[1]", "not-json"),
        (b'{"a": NaN', "not-json"),
        (b'{"a": NaN} x', "not-json"),
        (b'{"a" 1, "b": NaN}', "not-json"),
        (b"{1: NaN}", "not-json"),
        (b'{"a": NaN "b": 1}', "not-json"),
        (b'{"a": NaN, "b": "\xff"}', "not-utf-8"),
        (b'{"a": ' + b"[" * 100_000, "too-deep"),
    ],
)
def test_what_is_no_object_is_malformed(content: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        members(content)
    assert caught.value.reason == reason


@pytest.mark.parametrize("content", [b"{}", b"[1", b"[NaN 1]", b"[1] 2", b"[NaN,]"])
def test_what_is_no_array_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed, match="not-json"):
        list(elements(content))
