"""What stands about a vulnerability, and why: the consensus of one name, with every statement behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from stellaops.advisories.aliases import Statement, identify
from stellaops.ingest.vex_ports import ConsensusStore
from stellaops.vex.consensus import Consensus, Held, Subject, decide, subjects
from stellaops.vex.names import stands_for
from stellaops.vex.products import applies, bounded, package_of
from stellaops.vex.products import identify as identify_product
from stellaops.vex.statement import vulnerability as tidy
from stellaops.vex.weights import Weights


class Explanation(Struct, frozen=True):
    """What stands about a vulnerability.

    Attributes:
        vulnerability: the name that stands for it.
        names: all names that statements about it may stand under, sorted.
        states: what it is about, with its consensus; sorted.
    """

    vulnerability: str
    names: tuple[str, ...]
    states: tuple[tuple[Subject, Consensus], ...]


def explain_consensus(
    name: str,
    store: ConsensusStore,
    *,
    tenant: str,
    weights: Weights,
    product: str | None = None,
    sequence: int | None = None,
) -> Explanation:
    """The consensus about a vulnerability under any of its names.

    Args:
        product: only what holds for this product. With a version, statements that leave the version open hold for it
            as well, and all of them decide together.
        sequence: as of then; now when None.
    """

    def linked(ids: Collection[str]) -> Sequence[Statement]:
        return store.links(ids, tenant, sequence)

    vulnerability, _ = stands_for(tidy(name), linked)
    names = tuple(
        each
        for each in identify(vulnerability, linked).names
        if each == vulnerability or stands_for(each, linked)[0] == vulnerability
    )
    asked = None if product is None else identify_product(product)
    package = None if asked is None else bounded(package_of(asked))
    held = store.statements(names, tenant, sequence=sequence, package=package)
    about: dict[Subject, list[Held]] = {}
    for each in held:
        for subject in _subjects(vulnerability, each, asked):
            about.setdefault(subject, []).append(each)
    decided = ((subject, decide(subject, about[subject], weights)) for subject in sorted(about))
    return Explanation(vulnerability, names, tuple(_found(decided)))


def _subjects(vulnerability: str, held: Held, asked: str | None) -> list[Subject]:
    if asked is None or applies(asked, held.product):
        return subjects(vulnerability, held)
    return subjects(vulnerability, held, asked) if applies(held.product, asked) else []


def _found(states: Iterator[tuple[Subject, Consensus | None]]) -> Iterator[tuple[Subject, Consensus]]:
    for subject, found in states:
        if found is not None:
            yield subject, found
