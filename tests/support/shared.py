"""Real upstream data that stands beside the checkout, in `../shared`, and is no part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tools import ROOT

SHARED = Path(os.environ.get("STELLA_TEST_SHARED") or ROOT.parent / "shared")


def require_shared(path: str) -> Path:
    """Path of something under `shared/`, such as `data/advisories/pypa-osv`; a skip where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(
            f"real data is absent: no {path} in a `shared` beside the checkout (or at STELLA_TEST_SHARED)"
        )
    return found
