"""Canonical form: for any JSON, however it is spelled, and for any bytes at all."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import msgspec
import rfc8785
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.osv import OsvFeed

EXACT = 2**53 - 1

texts = st.text(st.characters(codec="utf-8"), max_size=12)
wild_texts = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates too
numbers = st.integers(-EXACT, EXACT) | st.floats(allow_nan=False, allow_infinity=False)
plain_leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    plain_leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)
wild_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | wild_texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(wild_texts, inner, max_size=5),
    max_leaves=20,
)


@st.composite
def spellings(draw: st.DrawFn, value: Any) -> str:
    """One of the many JSON texts of a value."""
    blank = draw(st.sampled_from(["", " ", "\n", "\t\r\n "]))
    if isinstance(value, str):
        return '"' + "".join(draw(_letter(letter)) for letter in value) + '"'
    if isinstance(value, float):
        return draw(_number(value))
    if isinstance(value, dict):
        members = draw(st.permutations(sorted(value.items())))
        inner = [f"{draw(spellings(key))}{blank}:{blank}{draw(spellings(item))}" for key, item in members]
        return "{" + blank + f"{blank},{blank}".join(inner) + blank + "}"
    if isinstance(value, list):
        return "[" + blank + f"{blank},{blank}".join(draw(spellings(item)) for item in value) + blank + "]"
    return blank + json.dumps(value) + blank


def _letter(letter: str) -> st.SearchStrategy[str]:
    units = letter.encode("utf-16-be", "surrogatepass")
    pairs = [units[place : place + 2].hex() for place in range(0, len(units), 2)]
    escaped = ["".join(f"\\u{pair}" for pair in pairs), "".join(f"\\u{pair.upper()}" for pair in pairs)]
    short = {
        "\n": "\\n",
        '"': '\\"',
        "\\": "\\\\",
        "/": "\\/",
        "\t": "\\t",
        "\b": "\\b",
        "\f": "\\f",
        "\r": "\\r",
    }
    if letter in short:
        escaped.append(short[letter])
    if letter not in '"\\' and ord(letter) >= 0x20:
        escaped.append(letter)
    return st.sampled_from(escaped)


def _number(value: float) -> st.SearchStrategy[str]:
    forms = [repr(value), repr(value).upper()]
    if math.isfinite(value) and "e" not in repr(value):
        forms.extend((f"{value!r}0", f"{value!r}e0", f"{value!r}E+00"))
    return st.sampled_from(forms)


@given(st.data(), values)
@settings(max_examples=60)
def test_any_two_spellings_of_one_value_have_one_canonical_form(data: st.DataObject, value: Any) -> None:
    first, second = (from_json(data.draw(spellings(value)).encode()) for _ in range(2))
    for found in (first, second):
        assert (found.body, found.verbatim) == (rfc8785.dumps(value), False)
        assert rfc8785.dumps(found.parsed) == found.body


@given(st.data(), values)
@settings(max_examples=60)
def test_a_byte_order_mark_changes_nothing(data: st.DataObject, value: Any) -> None:
    text = data.draw(spellings(value)).encode()
    assert from_json(b"\xef\xbb\xbf" + text) == from_json(text)


@given(values)
def test_the_canonical_form_of_a_canonical_form_is_itself(value: Any) -> None:
    body = from_json(json.dumps(value).encode()).body
    assert from_json(body).body == body


@given(wild_values, st.booleans())
@example({"\ud800": 1}, True)
@example([2**53], True)
@example([float("nan")], True)
@example({"\U00010000": 1, "\uffff": 2}, False)
def test_any_json_is_rfc_8785_or_travels_verbatim_with_its_exact_bytes(value: Any, escape: bool) -> None:
    raw = json.dumps(value, ensure_ascii=escape).encode("utf-8", "surrogatepass")
    try:
        found = from_json(raw)
    except Malformed:
        # Only what is no JSON: NaN and infinities, and surrogates written as if they were letters.
        assert _has_no_json(value) or not escape
        return
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        assert found.verbatim
        assert found.body == raw
    else:
        assert (found.body, found.verbatim) == (expected, False)
        assert found.parsed == json.loads(raw)


def _has_no_json(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_no_json, value.values()))
    if isinstance(value, list):
        return any(map(_has_no_json, value))
    return isinstance(value, float) and not math.isfinite(value)


@given(st.lists(st.tuples(texts, values), min_size=1, max_size=6), st.data())
@settings(max_examples=60)
def test_a_duplicate_key_anywhere_makes_a_document_travel_verbatim(pairs: Any, data: st.DataObject) -> None:
    members = [f"{data.draw(spellings(key))}:{json.dumps(value)}" for key, value in pairs]
    raw = ('[0,{"x":{' + ",".join(members) + "}}]").encode()
    repeated = len({key for key, _ in pairs}) < len(pairs)
    found = from_json(raw)
    assert found.verbatim is repeated
    if repeated:
        assert found.body == raw
        assert found.parsed == [0, {"x": dict(pairs)}]


@given(st.integers(-(10**40), 10**40), st.sampled_from(["[%d]", '{"a":%d}', "%d", '[{"a": [1, %d ]}]']))
def test_an_integer_is_canonical_as_far_as_every_reader_carries_it_exactly(number: int, place: str) -> None:
    raw = (place % number).encode()
    found = from_json(raw)
    assert found.verbatim is (abs(number) > EXACT)
    if found.verbatim:
        assert found.body == raw


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_a_decimal_is_canonical_only_where_its_double_says_the_same(text: str) -> None:
    assume("." in text or "e" in text.lower())
    raw = f"[{text}]".encode()
    found = from_json(raw)
    value = float(text)
    exact = math.isfinite(value) and Decimal(text) == Decimal(repr(value))
    assert found.verbatim is not exact
    assert found.body == (rfc8785.dumps([value]) if exact else raw)


short_decimals = st.from_regex(r"-?(0|[1-9][0-9]{0,8})\.[0-9]{1,6}", fullmatch=True)


@given(st.dictionaries(texts, short_decimals, max_size=4), st.lists(short_decimals, max_size=4))
@example({"a": "7.50", "b": "8.0"}, ["0.0", "-0.0", "0.0001", "9.99"])
def test_scores_are_in_their_shortest_form_beside_anything_else(
    named: dict[str, str], listed: list[str]
) -> None:
    members = ", ".join(f"{json.dumps(name)} : {text}" for name, text in named.items())
    raw = f'{{"listed": [{", ".join(listed)}], "named": {{{members}}}}}'.encode()
    found = from_json(raw)
    assert (found.body, found.verbatim) == (rfc8785.dumps(json.loads(raw)), False)
    assert found.parsed == json.loads(raw)
    doubled = raw.replace(b'{"listed"', b'{"named": 1.50, "listed"', 1)
    assert from_json(doubled).verbatim


@given(st.binary(max_size=200))
@example(b"\xff\xfe[\x001\x00]\x00")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'"\\ud83d"')
@example(b"9" * 10_000)
@example(b"1e" + b"9" * 5000)
def test_any_bytes_as_json_are_a_document_or_malformed(raw: bytes) -> None:
    _read(from_json, raw)


json_like = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\\u", b"d800", b"0", b"1e", b"-", b".", b"null", b"NaN",
         b'"a"', b'"a":', b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\x00", b"\n", b"12345678901234567"]
    ),
    max_size=25,
).map(b"".join)  # fmt: skip
yaml_like = st.lists(
    st.sampled_from(
        [b"a", b": ", b":", b"- ", b"\n", b"  ", b"&x ", b"*x", b"? ", b"!!str ", b"!!binary ", b"!<y> ", b"|\n",
         b">-\n",
         b"{", b"}", b"[", b"]", b", ", b"'", b'"', b"%", b"---\n", b"...\n", b"#", b"\t", b"\\x", b"~", b"<<: ",
         b"\xc3", b"\xef\xbb\xbf", b"\x00", b"\xff\xfe", b"@", b"`"]
    ),
    max_size=25,
).map(b"".join)  # fmt: skip


@given(json_like)
def test_anything_like_json_is_a_document_or_malformed(raw: bytes) -> None:
    found = _read(from_json, raw)
    if found is not None:
        json.loads(raw.decode("utf-8-sig"))


@given(st.binary(max_size=100) | yaml_like)
@example(b"[" * 5000)
@example(b"- " * 5000)
@example(b"{" * 5000)
@example(b"? " * 5000)
@example(b"&a [*a]")
@example(b"a: &a\n  *a")
def test_any_bytes_as_yaml_are_a_document_or_malformed(raw: bytes) -> None:
    _read(from_yaml, raw)


@given(
    st.binary(max_size=60) | json_like | yaml_like,
    st.sampled_from(["a.json", "a.yaml", "a.jsonl", "b.ndjson"]),
)
@example(b'[{"id": "\\ud800"}', "a.json")
def test_any_bytes_in_a_file_are_records_or_malformed(raw: bytes, path: str) -> None:
    feed = OsvFeed()
    try:
        pieces = list(feed.records(path, raw))
    except Malformed:
        return
    for piece in pieces:
        assert raw[piece.offset : piece.offset + len(piece.raw)] == piece.raw
        try:
            feed.read(feed.canonical(path, piece.raw).parsed)
        except Malformed:
            continue


def _read(reader: Any, raw: bytes) -> Canonical | None:
    found: Canonical | None = None
    reason = "none"
    try:
        found = reader(raw)
    except Malformed as error:
        reason = error.reason
    assert re.fullmatch(r"[a-z0-9-]+", reason)
    if found is None:
        return None
    assert not found.verbatim or found.body == raw
    msgspec.json.encode(found.parsed)  # nothing in it that cannot be written again
    return found


yaml_values = st.recursive(
    st.none() | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_0-", max_size=6), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(yaml_values, st.booleans(), st.sampled_from([None, '"', "'"]))
@settings(max_examples=60)
def test_yaml_of_strings_and_nulls_is_the_same_as_its_json(value: Any, flow: bool, style: str | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, default_style=style, allow_unicode=True)
    if style is None:  # with quotes, the writer gives nulls a tag, which a reader of strings ignores
        assert from_yaml(text.encode()).body == rfc8785.dumps(value)
    assert from_yaml(text.encode()).body == from_yaml(text.encode("utf-16")).body


@given(st.lists(values, max_size=6), st.data())
@settings(max_examples=60)
def test_the_elements_of_an_array_are_cut_out_exactly(items: list[Any], data: st.DataObject) -> None:
    pieces = [data.draw(spellings(item)) for item in items]
    blank = data.draw(st.sampled_from(["", " ", "\r\n"]))
    extra = data.draw(st.sampled_from(["", '"\\ud800"', "NaN"]))  # what only the careful cutter can read
    pieces += [extra] if extra else []
    raw = ("[" + blank + f"{blank},".join(pieces) + blank + "]").encode()
    found = list(OsvFeed().records("x.json", raw))
    assert [piece.raw.strip() for piece in found] == [piece.strip().encode() for piece in pieces]
    assert all(raw[piece.offset :].startswith(piece.raw) for piece in found)
