"""Databases that a mirror offers and no source takes: who pulls a mirror should learn of those that come later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stellaops.ingest.pull_model import Definition

MIRROR = "mirror"
UNWANTED = "unwanted"
"""Option of a definition: databases of the mirror that nobody here wants."""


@dataclass(frozen=True, slots=True)
class Untaken:
    """What is left of one domain of one mirror.

    Attributes:
        sources: those that pull it, by name.
        databases: that none of them takes, sorted.
    """

    url: str
    domain: str
    sources: tuple[str, ...]
    databases: tuple[str, ...]

    @property
    def told(self) -> str:
        """In words."""
        names = ", ".join(self.databases)
        return f"domain {self.domain} of {self.url} has documents of {names}, which no source takes"

    @property
    def advice(self) -> str:
        """What to do about it."""
        name = self.databases[0]
        return (
            f"Define a source for each that you want, like {self.sources[0]}: `stella concelier sources add "
            f"{self.sources[0].rpartition('-')[0] or self.sources[0]}-{name} … --database {name}`; for one that you "
            f"do not want, add `--option {UNWANTED}={name}` to the definition of {self.sources[0]}"
        )


def untaken(definitions: Iterable[Definition], offered: Mapping[str, Sequence[str]]) -> Sequence[Untaken]:
    """What is left of each mirror, by address and domain.

    Args:
        offered: by source, the databases that its last pull saw at the mirror.
    """
    groups: defaultdict[tuple[str, str], list[Definition]] = defaultdict(list)
    for each in definitions:
        if each.layout == MIRROR and each.options.get("side", "concelier") == "concelier":
            groups[each.url.rstrip("/"), str(each.options.get("domain", ""))].append(each)
    found = []
    for (url, domain), group in sorted(groups.items()):
        there = {database for each in group for database in offered.get(each.name, ())}
        left = (
            there - {each.database for each in group} - {name for each in group for name in _unwanted(each)}
        )
        takes_all = any(not each.database for each in group)  # told from the documents: the only one there
        if left and not takes_all:
            names = tuple(sorted(each.name for each in group))
            found.append(Untaken(url, domain, names, tuple(sorted(left))))
    return found


def _unwanted(definition: Definition) -> Sequence[str]:
    told = definition.options.get(UNWANTED, ())
    return (told,) if isinstance(told, str) else tuple(told)
