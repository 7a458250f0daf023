"""How far behind a mirror host is: since its last sync, and never nothing where nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stellaops.mirrors import sync_state
from stellaops.mirrors.sync_state import SideState, SyncState

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BEGUN = NOW - timedelta(seconds=100)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([SideState({"primary": ago(30)}, True, True), SideState({"primary": ago(700)}, True, True)], 700),
        ([SideState({"primary": ago(30)}, True, True), SideState({"community": ago(700)}, True, True)], 30),
        ([SideState({}, False, True), SideState({}, False, False)], 0),
        ([SideState({"community": ago(3)}, True, True)], 100),
        ([SideState({}, False, False)], 100),
        ([], 100),
        ([SideState({"primary": NOW + timedelta(seconds=5)}, True, True)], 0),
        ([SideState({"community": ago(3)}, True, True, {"primary"})], 0),
        ([SideState({}, True, True, {"primary"}), SideState({"primary": ago(30)}, True, True)], 30),
    ],
    ids=["the older side", "a domain of one side", "published here", "never synced, others are", "nothing yet",
         "no root", "a clock that was set back",
         "given up", "given up on one side"],
)  # fmt: skip
def test_the_lag_is_that_of_the_side_that_was_synced_longest_ago(
    sides: list[SideState], expected: int
) -> None:
    assert sync_state.lag("primary", sides, NOW, BEGUN) == expected


def test_a_state_comes_back_and_what_is_damaged_says_nothing() -> None:
    state = SyncState("a" * 26, NOW)
    assert sync_state.decode(state.encode()) == state
    gone = SyncState("a" * 26, NOW, given_up=True)
    assert sync_state.decode(gone.encode()) == gone
    for data in (None, b"", b"{}", b"[1]", b'{"exportId":"a","syncedAt":"yesterday"}', b"\xff"):
        assert sync_state.decode(data) is None
