"""The consensus about those vulnerabilities alone that changed documents speak of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stellaops.advisories.aliases import Relation, Statement
from stellaops.bundles.digest_list import Place
from stellaops.bundles.vex import consensus_rows
from stellaops.exports.building.vex_verdicts import Question, VexRows, verdicts
from stellaops.exports.ports import Selection
from stellaops.vex.consensus import Held
from stellaops.vex.statement import Words

_MOST_NAMES = 50_000
"""More names than these are not followed one by one: the consensus is listed as a whole."""
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class _Only:
    """The statements under some names."""

    vex: VexRows
    names: frozenset[str]

    def vulnerabilities(self, selection: Selection, package: str | None = None) -> Sequence[str]:
        """See the port: those of the names under which there are statements."""
        found = self.vex.statements(selection, self.names, package)
        return sorted({held.vulnerability for held in found})

    def statements(
        self, selection: Selection, names: Collection[str], package: str | None = None
    ) -> Sequence[Held]:
        """See the port."""
        return self.vex.statements(selection, names, package)

    def links(self, selection: Selection, names: Collection[str]) -> Sequence[Statement]:
        """See the port."""
        return self.vex.links(selection, names)

    def words(self, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
        """See the port."""
        return self.vex.words(places)


def lines_about(
    vex: VexRows, names: frozenset[str], selection: Selection, question: Question
) -> dict[Place, bytes]:
    """The lines of the consensus about some names alone, by their places."""
    found = verdicts(_Only(vex, names), selection, question)
    lines = (consensus_rows.line(verdict) for some in found for verdict in some)
    return {(line.owner, line.source, line.key): line.text for line in lines}


def connected(vex: VexRows, selections: Sequence[Selection], names: set[str]) -> frozenset[str] | None:
    """Some names with all that documents give the same vulnerability, before or after; None for too many."""
    found, border = set(names), set(names)
    for _ in range(_MOST_ROUNDS):
        if len(found) > _MOST_NAMES:
            return None
        told = {one.link for selection in selections for one in vex.links(selection, border)}
        reached = {
            name for link in told if link.relation is Relation.SAME for name in (link.subject, link.object)
        }
        border = reached - found
        if not border:
            return frozenset(found)
        found |= border
    return None
