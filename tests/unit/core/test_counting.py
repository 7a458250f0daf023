"""Numbers of things, as people read them."""

from __future__ import annotations

import pytest

from stellaops.core.counting import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1200, "1,200 files")]
)
def test_a_number_comes_with_its_noun(number: int, told: str) -> None:
    assert counted(number, "file") == told
