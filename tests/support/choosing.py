"""Which of many like cases run in the quick suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet


def all_quick_but(names: Iterable[str], slow: Collection[str]) -> list[ParameterSet]:
    """Cases by name for `parametrize`, those that are named slow with their mark.

    Raises:
        ValueError: a name that there is not.
    """
    known = sorted(names)
    if unknown := set(slow) - set(known):
        raise ValueError(f"no such cases: {sorted(unknown)}")
    return [pytest.param(name, id=name, marks=pytest.mark.slow if name in slow else ()) for name in known]
