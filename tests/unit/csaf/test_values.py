"""Numbers that stand for texts: the same however JSON wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from stellaops.csaf import values


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (" 1.2 ", "1.2"),
        (1, "1"),
        (1.0, "1"),
        (1e9, "1000000000"),
        (4.044292922463529e16, "40442929224635290"),
        (1.5, "1.5"),
        (True, ""),
        (None, ""),
        ([1], ""),
    ],
)
def test_a_number_is_told_as_the_canonical_form_writes_it(found: Any, told: str) -> None:
    assert values.text({"version": found}, "version") == told
