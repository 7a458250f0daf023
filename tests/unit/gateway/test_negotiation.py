"""Encodings, conditions and ranges."""

from __future__ import annotations

import pytest

from stellaops.core.byte_ranges import Unsatisfiable
from stellaops.gateway.negotiation import accepted, matches, wanted_range

TAG = b'"sha256:ab"'


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        (b"", ()), (b"gzip", ("gzip",)), (b"gzip, zstd", ("zstd", "gzip")), (b"gzip;q=1, zstd;q=0.5", ("gzip", "zstd")),
        (b"*", ("zstd", "gzip")), (b"zstd;q=0, *", ("gzip",)), (b"identity", ()), (b"gzip;q=x", ()),
        (b"br, deflate", ()),
    ],
)  # fmt: skip
def test_the_codings_that_a_client_takes_come_best_first(header: bytes, codings: tuple[str, ...]) -> None:
    assert accepted(header) == codings


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (TAG, True),
        (b"W/" + TAG, True),
        (b'"x", ' + TAG, True),
        (b"*", True),
        (b'"sha256:a"', False),
        (b"", False),
    ],
)
def test_a_tag_that_the_client_has_matches(header: bytes, known: bool) -> None:
    assert matches(TAG, header) is known


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (b"bytes=0-9", (0, 10)), (b"bytes=90-", (90, 100)), (b"bytes=-10", (90, 100)), (b"bytes=-1000", (0, 100)),
        (b"bytes=50-1000", (50, 100)), (b"bytes=0-1,5-6", None), (b"lines=0-9", None), (b"bytes=9-0", None),
        (b"bytes=-", None), (b"bytes=\xb2-3", None),
    ],
)  # fmt: skip
def test_a_range_is_read_as_the_standard_says(header: bytes, part: tuple[int, int] | None) -> None:
    assert wanted_range(header, b"", 100, TAG) == part


def test_a_range_of_another_version_is_the_whole() -> None:
    assert wanted_range(b"bytes=0-9", b'"other"', 100, TAG) is None
    assert wanted_range(b"bytes=0-9", TAG, 100, TAG) == (0, 10)


@pytest.mark.parametrize("header", [b"bytes=100-", b"bytes=100-200", b"bytes=-0"])
def test_a_range_after_the_end_is_refused(header: bytes) -> None:
    with pytest.raises(Unsatisfiable):
        wanted_range(header, b"", 100, TAG)
