"""Each store adapter in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.stores import STORES, Place, Store


@pytest.fixture(params=sorted(STORES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Room for two empty stores, on each database."""
    with ExitStack() as stack:
        found = STORES[request.param](request, tmp_path / "data", stack)
        stack.callback(found.close)
        yield found


@pytest.fixture
def store(place: Place) -> Store:
    """An empty evidence store of each kind."""
    return place.evidence()
