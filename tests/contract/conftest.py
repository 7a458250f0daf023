"""Each store adapter in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.stores import STORES, Store


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty evidence store of each kind."""
    return STORES[request.param](tmp_path / "data")
