"""The clock and chance: nothing below reads either by itself."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime

sleep = time.sleep
monotonic = time.monotonic
chance = random.SystemRandom().random


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """An id for a run: sorts by time, and cannot be guessed."""
    return run_id_of(now(), secrets.token_hex(4))


def run_id_of(moment: datetime, chance: str) -> str:
    """The id of a run that was asked for at a moment; `chance` is 8 hex digits."""
    return f"run-{moment:%Y%m%dt%H%M%S}-{chance}"
