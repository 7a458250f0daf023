"""Canonical form, case by case; what holds for all input is in tests/property."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from stellaops.advisories import canonical
from stellaops.advisories.canonical import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_YAML_CHARACTERS,
    Malformed,
    from_json,
    from_yaml,
)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b'{"b": 1, "a": [true, null]}', b'{"a":[true,null],"b":1}'),
        (b'{"a":1.0,"b":-0.0,"c":1E3}', b'{"a":1,"b":0,"c":1000}'),
        (b'{"\\u0061\\/": "\\u00E9"}', '{"a/":"é"}'.encode()),
        (b'"\\u001F\\u0008\x7f"', b'"\\u001f\\b\x7f"'),
        (b"\xef\xbb\xbf{}", b"{}"),
        (b"[9007199254740991, -9007199254740991]", b"[9007199254740991,-9007199254740991]"),
        (b'{"digits": "12345678901234567890"}', b'{"digits":"12345678901234567890"}'),
        # Keys are sorted by UTF-16 units: a letter beyond the BMP comes before U+FFFF.
        ('{"\uffff": 1, "\U0001f600": 2}'.encode(), '{"\U0001f600":2,"\uffff":1}'.encode()),
        (b"[1e21, 1e-7, 123456.789]", b"[1e+21,1e-7,123456.789]"),
    ],
)
def test_json_becomes_rfc_8785(raw: bytes, body: bytes) -> None:
    found = from_json(raw)
    assert (found.body, found.verbatim, found.parsed) == (body, False, json.loads(raw))


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        (b'{"a": 1, "a": 2}', b'{"a":2}'),
        (b'{"x": {"k": 1, "\\u006b": 1}}', b'{"x":{"k":1}}'),
        (b"[9007199254740993]", b'["9007199254740993"]'),
        (b"[-123456789012345678901234567890]", b'["-123456789012345678901234567890"]'),
        (b"[0.1000000000000000055511151231257827]", b'["0.1000000000000000055511151231257827"]'),
        (b"[1e400, 1e-400]", b'["1e400","1e-400"]'),
        (b'{"lone": "\\ud800x"}', b'{"lone":"?x"}'),
        (b'{"\\udfff": 1}', b'{"?":1}'),
        (b'\xef\xbb\xbf {"a":1,"a":1}', b'{"a":1}'),
    ],
)
def test_what_the_form_would_change_in_value_travels_verbatim(raw: bytes, parsed: bytes) -> None:
    found = from_json(raw)
    assert (found.body, found.verbatim, found.parsed) == (raw, True, json.loads(parsed))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"{} {}", "not-json"),
        (b"[NaN]", "not-json"),
        (b"[-Infinity]", "not-json"),
        (b"[01]", "not-json"),
        (b"['a']", "not-json"),
        (b'["a\nb"]', "not-json"),
        (b"[1,]", "not-json"),
        (b'"\xff"', "not-utf-8"),
        (b'"\xed\xa0\x80"', "not-utf-8"),
        ('{"a": 1}'.encode("utf-16"), "not-utf-8"),
    ],
)
def test_what_is_no_json_is_malformed_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        from_json(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("extra", [b"0", b"0.5", b'"\\u00e9"'])
def test_nesting_is_bounded_at_the_same_depth_on_every_path(
    opening: bytes, closing: bytes, extra: bytes
) -> None:
    def nested(depth: int) -> bytes:
        return opening * depth + extra + closing * depth

    assert not from_json(nested(MAX_DEPTH)).verbatim
    for depth in (MAX_DEPTH + 1, 1000, 200_000):
        with pytest.raises(Malformed, match="too-deep"):
            from_json(nested(depth))


def test_brackets_in_strings_are_no_nesting() -> None:
    raw = b'["' + b"[{" * 500 + b'"]'
    assert from_json(raw).body == raw


def test_yaml_scalars_stay_the_strings_that_they_are() -> None:
    raw = b"""
version: 1.10
date: 2024-01-01T00:00:00Z
day: 2024-01-01
yes: yes
octal: 010
float: 1e3
quoted: "1.10"
folded: >-
  two
  lines
"""
    assert from_yaml(raw).body == (
        b'{"date":"2024-01-01T00:00:00Z","day":"2024-01-01","float":"1e3","folded":"two lines","octal":"010",'
        b'"quoted":"1.10","version":"1.10","yes":"yes"}'
    )


def test_only_plain_nulls_are_null_in_yaml() -> None:
    raw = b"a:\nb: ~\nc: null\nd: NULL\ne: 'null'\nf: \"\"\ng: !!str null\nh: nil\n"
    assert (
        from_yaml(raw).body == b'{"a":null,"b":null,"c":null,"d":null,"e":"null","f":"","g":"null","h":"nil"}'
    )


def test_tags_in_yaml_make_nothing() -> None:
    raw = b"a: !!python/object/apply:os.system ['true']\nb: !!binary aGk=\nc: !own {x: y}\nd: !!int 5\n"
    assert from_yaml(raw).body == b'{"a":["true"],"b":"aGk=","c":{"x":"y"},"d":"5"}'


def test_anchors_and_aliases_in_yaml_are_resolved() -> None:
    raw = b"a: &x [1, &y two]\nb: *x\nc: *y\n&k key: 1\nd: *k\n"
    assert from_yaml(raw).body == b'{"a":["1","two"],"b":["1","two"],"c":"two","d":"key","key":"1"}'


def test_a_merge_key_in_yaml_is_a_key_like_any_other() -> None:
    assert from_yaml(b"a: &x {k: v}\nb:\n  <<: *x\n").body == b'{"a":{"k":"v"},"b":{"<<":{"k":"v"}}}'


def test_a_duplicate_key_in_yaml_travels_verbatim() -> None:
    raw = b"id: X\naliases: [a]\naliases: [b]\n"
    found = from_yaml(raw)
    assert (found.body, found.verbatim, found.parsed) == (raw, True, {"id": "X", "aliases": ["b"]})


def test_yaml_in_utf_16_is_read() -> None:
    assert from_yaml("a: é\n".encode("utf-16")).body == '{"a":"é"}'.encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"--- a\n--- b\n", "several-documents"),
        (b"? [a]\n: b\n", "odd-key"),
        (b"? &x {a: b}\n: b\n", "odd-key"),
        (b"a: *x\n", "not-yaml"),
        (b"a: &x\n  - *x\n", "not-yaml"),
        (b"a: [1\n", "not-yaml"),
        (b"a: \x01\n", "not-yaml"),
        (b"a: \xff\n", "not-yaml"),
        (b'a: "\\ud800"\n', "not-yaml"),
        (b"\t- a\n", "not-yaml"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too-deep"),
        (b"- " * 5000 + b"x", "too-deep"),
        (b"[" * 50_000, "too-deep"),
    ],
)
def test_what_is_no_yaml_document_is_malformed_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        from_yaml(raw)
    assert caught.value.reason == reason


def test_yaml_nesting_is_bounded_through_aliases_too() -> None:
    deep = b"a: &a " + b"[" * 90 + b"]" * 90 + b"\nb: " + b"[" * 50 + b"*a" + b"]" * 50 + b"\n"
    with pytest.raises(Malformed, match="too-deep"):
        from_yaml(deep)
    assert from_yaml(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).body == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


def test_a_bomb_of_nested_aliases_ends_at_a_bounded_number_of_nodes() -> None:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]".encode() for n in range(1, 12)]
    with pytest.raises(Malformed, match=f"alias-bomb: .*{MAX_NODES} nodes"):
        from_yaml(b"\n".join(lines))


def test_a_bomb_of_aliases_to_one_long_text_ends_at_a_bounded_size() -> None:
    text = b"x" * (1 << 20)
    times = MAX_YAML_CHARACTERS // len(text)
    with pytest.raises(Malformed, match="alias-bomb"):
        from_yaml(b"a: &a " + text + b"\nb: [" + b"*a," * times + b"]\n")
    with pytest.raises(Malformed, match="alias-bomb"):
        from_yaml(b"? &a " + text + b"\n: 1\nb: [" + b"*a," * times + b"]\n")
    assert len(from_yaml(b"a: &a " + text[:1000] + b"\nb: [*a, *a]\n").body) < 4000


def test_strings_of_nothing_but_escapes_cost_no_memory_of_their_own() -> None:
    raw = b'{"a":"' + b'\\"' * 2_000_000 + b'"}'
    tracemalloc.start()
    try:
        assert from_json(raw).parsed == {"a": '"' * 2_000_000}
        assert tracemalloc.get_traced_memory()[1] < 10 * len(raw)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [from_json, from_yaml])
def test_what_no_bundle_could_carry_is_not_read_at_all(
    read: Callable[[bytes], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical, "LARGEST_RECORD", 10)
    read(b'["456789"]')
    with pytest.raises(Malformed, match="too-large"):
        read(b'["4567890"]')
