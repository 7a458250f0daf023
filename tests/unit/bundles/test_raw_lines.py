"""Lines that carry documents: read strictly, and alike all at once and one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import rows
from stellaops.bundles.jsonl.shards import raw_line
from stellaops.bundles.rows import BadRow, Form, Placed
from stellaops.core import canonical_json, digests

_FETCHED = digests.sha256(b"as fetched").encode()
_DOCUMENT = b'{"a":[1.50,"\\u00e9",{}],"b":null}'


def raw(key: str = "k", source: str = "s", body: bytes = _DOCUMENT, *, verbatim: bool = False) -> bytes:
    return raw_line(source, key, digests.sha256(body), _FETCHED.decode(), body, verbatim=verbatim)


def normalized(key: str = "k", body: bytes = _DOCUMENT) -> bytes:
    return rows.normalized_line("s", key, digests.sha256(body), body)


def index(key: str = "k") -> bytes:
    return canonical_json.encode({
        "aliases": ["CVE-1"], "digest": digests.sha256(b"a"), "ecosystems": [], "id": key, "key": key,
        "modified": None, "packages": [], "published": None, "severity": "LOW", "source": "s", "withdrawn": None,
    })  # fmt: skip


def together(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def places(found: list[Placed]) -> list[tuple[str, str, str, str]]:
    return [(row.owner, row.source, row.key, row.digest) for row in found]


def outcome(read: Callable[[], list[Placed]]) -> list[tuple[str, str, str, str]] | None:
    try:
        return places(read())
    except BadRow:
        return None


FORMS = pytest.mark.parametrize(("form", "line"), [
    (rows.RAW, raw), (rows.NORMALIZED, normalized), (rows.INDEX, index),
])  # fmt: skip


@FORMS
def test_the_usual_lines_are_read_all_at_once(form: Form, line: Callable[[str], bytes]) -> None:
    lines = together([line("a"), line("b"), line("ü\t\\")])
    assert form.usual(lines, 3) is not None
    assert [row.key for row in form.read(lines, 3)] == ["a", "b", "ü\t\\"]


@pytest.mark.parametrize("source", ["osv", "osv@acme"])
def test_lines_of_documents_and_of_records_stand_together(source: str) -> None:
    lines = [raw("a", source), raw("b", source, b"\xff", verbatim=True), raw("c", source)]
    found = rows.RAW.read(together(lines), 3)
    assert [(row.owner, row.source, row.key) for row in found] == [
        (source.partition("@")[2], source, key) for key in "abc"
    ]
    assert found[1].digest == digests.sha256(b"\xff")


@FORMS
@given(data=st.data())
def test_whatever_byte_differs_both_ways_say_the_same(
    form: Form, line: Callable[[str], bytes], data: st.DataObject
) -> None:
    lines = together([line("a"), line("b"), line("c")])
    place = data.draw(st.integers(0, len(lines) - 2))
    other = data.draw(
        st.one_of(st.binary(min_size=0, max_size=2), st.sampled_from([b"\n", b" ", b"\\", b'"', b"\r"]))
    )
    changed = lines[:place] + other + lines[place + 1 :]
    split = changed.split(b"\n")[:-1]
    alone = outcome(lambda: [form.parse(each) for each in split])
    assert outcome(lambda: list(form.read(changed, len(split)))) == alone
    if form is not rows.INDEX:  # an index line states what it says nowhere else
        assert alone is None or changed == lines or places(list(form.read(lines, 3))) != alone


@pytest.mark.parametrize("line", [
    raw()[:-1], b" " + raw(), raw() + b" ", raw().replace(b'"document":', b'"document": '), b"", b"{}", b"null",
    raw().replace(b',"key"', b' ,"key"'), raw().replace(b'"key":"k"', b'"key":"\\u006b"'),
    raw().replace(_DOCUMENT, b"{}"), raw(body=b"{"), raw(body=b"[" * 100_000),
    raw().replace(digests.sha256(_DOCUMENT).encode(), digests.sha256(_DOCUMENT).upper().encode()),
    raw().replace(_FETCHED, b"sha256:" + b"g" * 64), raw().replace(_FETCHED, _FETCHED[:-1]),
    raw().replace(_FETCHED, b"sha512:" + b"0" * 64), raw().replace(_FETCHED, f"sha256:{'0' * 63}é".encode()),
    raw()[:-1] + b',"source":"s"}', raw()[:-1] + b',"zone":1}', raw().replace(b'"k"', b"1"),
    raw().replace(b'"k"', b'"\xff"'), raw(verbatim=True).replace(b'"verbatim":"', b'"verbatim":"='),
])  # fmt: skip
def test_every_other_form_of_a_raw_line_is_refused_alone_and_among_others(line: bytes) -> None:
    with pytest.raises(BadRow):
        rows.RAW.parse(line)
    lines = together([raw("a"), line, raw("z")])
    with pytest.raises(BadRow):
        rows.RAW.read(lines, lines.count(b"\n"))


@pytest.mark.parametrize(("line", "told"), [
    (raw() + b" ", "not in its canonical form"), (raw().replace(_FETCHED, b"sha256:1"), "no digest as its rawDigest"),
    (raw().replace(_DOCUMENT, b"{}"), "another digest than its line states"),
    (raw()[:-5], "a raw line is not of its form: .*truncated"),
    (raw().replace(_DOCUMENT, b'{"a":}'), "a raw line is not of its form: JSON is malformed"),
    (raw().replace(b'"key"', b'"extra":1,"key"'), "unknown field `extra`"),
    (raw().replace(b'"k"', b"1"), "got `int` - at `.*key`"),
    (raw().replace(b'"document"', b'"documents"'), "unknown field `documents`"),
    (raw(verbatim=True).replace(b'"key"', b'"extra":1,"key"'), "unknown field `extra`"),
    (raw(verbatim=True)[:-5], "a raw line is not of its form: .*truncated"),
])  # fmt: skip
def test_a_refusal_says_what_is_wrong(line: bytes, told: str) -> None:
    with pytest.raises(BadRow, match=told):
        rows.RAW.read(line + b"\n", 1)


def test_a_document_is_not_spread_over_lines() -> None:
    lines = raw(body=b'{"a":\n1}') + b"\n"
    with pytest.raises(BadRow):
        rows.RAW.read(lines, lines.count(b"\n"))
