"""Every scheme orders totally, whatever the versions; ranges obey the laws of sets."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.matching.ranges import EVERYTHING, Span, Spans, comparison, complement, contains, intersection
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import scheme_of

NUMBERS = ["0", "1", "2", "10", "00", "01"]
DOTTED = ["0", "1", "1.0", "1.1", "1.0.0", "1.0.1", "1.10", "1.01", "0.0.0.1", "1.0.0.0.2", "2"]
# For each scheme the places of a version, with what may stand there.
PLACES: dict[str, list[list[str]]] = {
    "npm": [["", "v"], DOTTED[:8], ["", "-0", "-a", "-a.0", "-a.b", "-0.a", "-10", "-2", "--"], ["", "+0", "+a"]],
    "cargo": [["", "v"], DOTTED, ["", "-0", "-a", "a", "a.1", "-a.b", "-10.x", "-~", "~1"], ["", "+0", "+a~.b"]],
    "pip": [["", "1!"], DOTTED, ["", "a1", "b0", ".rc1"], ["", ".post0", "-1"], ["", ".dev1"],
            ["", "+1", "+a.1", "+1.a"]],
    "rubygems": [DOTTED, ["", ".a", ".b1", ".0a", ".rc"], ["", ".0", ".0.0", ".1"], ["", ".a", ".0.b", "-1"]],
    "maven": [DOTTED, *3 * [["", "-", ".", "-0", ".0", "-1", ".1", "a1", "-alpha", ".rc", "-sp", ".ga", "final", "-x",
                             "x2"]]],
    "bitnami": [DOTTED[:8], ["", "-0", "-1", "-10", "-r1", "-1.1"]],
    "deb": [["", "0:", "1:"], NUMBERS, *3 * [["", "a", "~", "~~", ".", "+b", "0", "1", ".0", "-", "~0"]],
            ["", "-0", "-1", "-a~"]],
    "rpm": [["", "0:", "1:"], NUMBERS, *3 * [["", "a", "~", "^", ".", "_", "0", "1", ".0", "~^", "b1"]],
            ["", "-0", "-1", "-a~"]],
    "apk": [DOTTED, ["", "a", "b"], *2 * [["", "_alpha", "_rc1", "_p", "_p1", "_git0"]], ["", "~a1"],
            ["", "-r0", "-r1"]],
}  # fmt: skip
SCHEMES = sorted(PLACES)


def versions_of(name: str) -> st.SearchStrategy[str]:
    def parses(text: str) -> bool:
        try:
            scheme_of(name).parse(text)
        except InvalidVersion:
            return False
        return True

    return st.tuples(*map(st.sampled_from, PLACES[name])).map("".join).filter(parses)


@pytest.mark.parametrize("name", SCHEMES)
@given(data=st.data())
def test_compare_is_antisymmetric_transitive_and_connected(name: str, data: st.DataObject) -> None:
    a, b, c = (data.draw(versions_of(name)) for _ in range(3))
    compare = scheme_of(name).compare
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    low, middle, high = sorted((a, b, c), key=scheme_of(name).key)
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0
    if compare(a, b) == 0:
        assert compare(a, c) == compare(b, c)


@pytest.mark.parametrize("name", SCHEMES)
@given(data=st.data(), seed=st.integers(0, 2**16))
def test_sorting_gives_one_result_from_any_arrangement(name: str, data: st.DataObject, seed: int) -> None:
    texts = data.draw(st.lists(versions_of(name), max_size=6))
    shuffled = random.Random(seed).sample(texts, len(texts))
    key = scheme_of(name).key
    assert [key(text) for text in sorted(texts, key=key)] == [key(text) for text in sorted(shuffled, key=key)]
    assert all(not key(after) < key(before) for before, after in pairwise(sorted(texts, key=key)))


@given(text=st.text(max_size=40), name=st.sampled_from(SCHEMES))
def test_any_text_is_a_version_or_refused_by_our_error(text: str, name: str) -> None:
    try:
        scheme_of(name).key(text)
    except InvalidVersion:
        return


@pytest.mark.parametrize("name", ["cargo", "npm"])
@given(
    numbers=st.lists(st.integers(0, 30), min_size=3, max_size=3),
    more=st.lists(st.integers(0, 30), min_size=3, max_size=3),
)
def test_plain_numbers_order_as_numbers(name: str, numbers: list[int], more: list[int]) -> None:
    a, b = ".".join(map(str, numbers)), ".".join(map(str, more))
    assert scheme_of(name).compare(a, b) == (numbers > more) - (numbers < more)


# ---- ranges: integers stand for versions

INTEGERS = range(-1, 9)


def spans_of(draw_from: st.SearchStrategy[int]) -> st.SearchStrategy[Spans]:
    cut = st.none() | st.tuples(st.tuples(draw_from), st.integers(0, 1))
    span = st.builds(Span, cut, cut).filter(lambda found: not found.is_empty)
    return st.lists(span, max_size=4).map(tuple)


SPANS = spans_of(st.integers(0, 7))


def members(spans: Spans) -> set[int]:
    return {number for number in INTEGERS if contains(spans, (number,))}


@given(SPANS, SPANS)
def test_intersection_and_complement_are_those_of_sets(left: Spans, right: Spans) -> None:
    assert members(intersection(left, right)) == members(left) & members(right)
    assert members(complement(left)) == set(INTEGERS) - members(left)


@given(SPANS)
def test_a_set_and_its_complement_share_nothing_and_leave_nothing_out(spans: Spans) -> None:
    rest = complement(spans)
    assert intersection(spans, rest) == ()
    assert complement((*spans, *rest)) == ()
    assert complement(()) == EVERYTHING


@given(st.integers(0, 7), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
def test_comparisons_hold_the_versions_that_compare(number: int, operator: str) -> None:
    spans = comparison(operator, (number,))
    assert spans is not None
    python = "==" if operator == "=" else operator
    expected = {other for other in INTEGERS if eval(f"{other} {python} {number}")}  # noqa: S307 (our own text)
    assert members(spans) == expected


def test_an_unknown_operator_has_no_spans() -> None:
    assert comparison("~>", (1,)) is None
