"""Lines of indexes: read strictly, and alike by the quick way for the usual ones and by the general one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import rows
from stellaops.core import canonical_json, digests

_USUAL = {
    "aliases": ["CVE-2021-44228"], "digest": digests.sha256(b"a"), "ecosystems": ["Maven"], "id": "GHSA-jfh8-c2jp-5v3q",
    "key": "GHSA-jfh8-c2jp-5v3q", "modified": "2024-01-01T00:00:00Z", "packages": ["pkg:maven/a/b"],
    "published": None, "severity": "CRITICAL", "source": "ghsa", "withdrawn": None,
}  # fmt: skip


def index_line(**other: Any) -> bytes:
    return canonical_json.encode({**_USUAL, **other})


@given(key=st.text(min_size=1), source=st.text(), alias=st.text(), extra=st.booleans())
def test_a_line_names_its_row_with_and_without_fields_that_are_not_usual(
    key: str, source: str, alias: str, *, extra: bool
) -> None:
    row = rows.parse_index(
        index_line(key=key, source=source, aliases=[alias], **({"score": 7} if extra else {}))
    )
    assert (row.key, row.source, row.digest) == (key, source, _USUAL["digest"])
    assert row.owner == rows.owner_of(source)


@pytest.mark.parametrize("line", [
    index_line() + b" ", index_line().replace(b":", b": ", 1), index_line().replace(b"GHSA", b"\\u0047HSA", 1),
    index_line(digest="sha256:1"), index_line(key=None), index_line(source=1), b"{}", b"[]", b"",
    index_line().replace(b'"aliases":["CVE-2021-44228"],', b"")[:-1] + b',"aliases":[]}', b"\xff" + index_line(),
    index_line()[:-1] + b',"withdrawn":null}', index_line(digest=f"{_USUAL['digest']}0"),
])  # fmt: skip
def test_every_other_form_is_refused(line: bytes) -> None:
    with pytest.raises(rows.BadRow):
        rows.parse_index(line)
