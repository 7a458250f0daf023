"""Refuse what was read of a state that retention has begun to remove."""

from __future__ import annotations

from typing import Protocol

from stellaops.exports.errors import SnapshotPruned


class Floor(Protocol):
    """How far back the evidence reaches."""

    def floor(self) -> int:
        """The oldest sequence whose state is whole."""
        ...


def demand_whole(sequence: int, evidence: Floor) -> None:
    """See that the state at a sequence is whole. Asked after it was read, the answer holds for what was read.

    Raises:
        SnapshotPruned: retention has removed something of it.
    """
    floor = evidence.floor()
    if sequence < floor:
        raise SnapshotPruned(
            f"snapshot {sequence} is not kept any more; the evidence reaches back to {floor}"
        )
