"""What the use cases of VEX need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from stellaops.advisories.aliases import Statement
from stellaops.vex.consensus import Consensus, Held, Subject
from stellaops.vex.statement import Words
from stellaops.vex.weights import Weights


class Refreshed(Struct, frozen=True):
    """What a refresh of the consensus did.

    Attributes:
        sequence: the consensus is that of this one.
        examined: subjects that were worked out again.
        changed: those of which the state is another than before, or is gone.
    """

    sequence: int
    examined: int
    changed: int


class ConsensusStore(Protocol):
    """Statements of VEX documents, and the consensus that is kept of them."""

    def refresh(self, weights: Weights, progress: Callable[[int], None] = ...) -> Refreshed:
        """Bring the consensus that is kept to the current sequence: only what changed is worked out again."""
        ...

    def statements(
        self, names: Collection[str], tenant: str, *, sequence: int | None = None, package: str | None = None
    ) -> Sequence[Held]:
        """The statements under any of some names, as of a sequence or of now.

        Args:
            package: only of this package.
        """
        ...

    def links(self, names: Collection[str], tenant: str, sequence: int | None = None) -> Sequence[Statement]:
        """What documents say about any of some ids."""
        ...

    def words(self, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
        """The texts of statements by revision and number."""
        ...

    def states(
        self, weights: Weights, tenant: str, sequence: int | None = None
    ) -> Iterator[tuple[Subject, Consensus]]:
        """Every state as of a sequence, by vulnerability and package, worked out while it is read."""
        ...
