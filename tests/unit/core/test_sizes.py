"""Sizes as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.core import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("4096", 4096), ("12 b", 12), ("1k", 1000), ("1KiB", 1024), ("50GiB", 50 << 30),
        ("50 Gi", 50 << 30), ("50GB", 50 * 1000**3), ("1.5TiB", 3 << 39), ("2p", 2 * 1000**5), ("0.5 MiB", 1 << 19),
    ],
)  # fmt: skip
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert sizes.parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1", "1 XB", "1e9", "1,5GB", "1.5.5", "12 Gib b", "ib", "1" * 40]
)
def test_another_form_is_none(text: str) -> None:
    assert sizes.parse(text) is None


@given(st.integers(0, 1 << 62))
def test_what_is_shown_is_near_what_is_meant(size: int) -> None:
    found = sizes.parse(sizes.render(size).replace("bytes", "b"))
    assert found is not None
    assert abs(found - size) <= max(0.05 * 1024 / 1000 * size, 0)
