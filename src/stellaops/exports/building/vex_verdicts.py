"""The consensus of selected statements, one vulnerability after the other, worked out as it is read.

What a bundle or a document states is a function of its selection alone: of the statements in it, and of what its
advisories say about names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Protocol

from stellaops.advisories.aliases import Statement, identify
from stellaops.bundles.vex.verdict import Verdict
from stellaops.exports.ports import Selection
from stellaops.vex.consensus import Consensus, Held, Subject, decide, subjects
from stellaops.vex.names import stands_for
from stellaops.vex.products import applies, package_of
from stellaops.vex.statement import Words
from stellaops.vex.weights import Weights

_AT_ONCE = 50
_MOST_ROUNDS = 20

Place = tuple[int, int]
"""Where the texts of a statement are: revision and number."""


class VexRows(Protocol):
    """The statements of a selection; those of withdrawn documents are not among them."""

    def vulnerabilities(self, selection: Selection, package: str | None = None) -> Sequence[str]:
        """The names under which there are statements, on a package where one is given."""
        ...

    def statements(
        self, selection: Selection, names: Collection[str], package: str | None = None
    ) -> Sequence[Held]:
        """The statements under some names, in any order.

        Args:
            package: only those on this package, where one is given.
        """
        ...

    def links(self, selection: Selection, names: Collection[str]) -> Sequence[Statement]:
        """What the selection's documents say about any of some ids."""
        ...

    def words(self, places: Collection[Place]) -> Mapping[Place, Words]:
        """Texts of statements."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        weights: of the issuers.
        widened: whether a statement on all versions is weighed for each version too, as a scanner weighs it; else
            only for what it names, as the states of the consensus are kept.
        package: only products of this package, where one is given (`vex.products.package_of`).
        vulnerability: only this one, by any of its names.
    """

    weights: Weights
    widened: bool = False
    package: str | None = None
    vulnerability: str | None = None


def verdicts(rows: VexRows, selection: Selection, question: Question) -> Iterator[list[Verdict]]:
    """The verdicts on each vulnerability, sorted by subject; vulnerabilities in ascending order."""
    names = _Names(rows, selection, question.package)
    stated: dict[str, list[str]] = {}
    for name in names.stated:
        stated.setdefault(names.stands_for(name), []).append(name)
    wanted = sorted(stated)
    if question.vulnerability is not None:
        wanted = [name for name in wanted if question.vulnerability in (name, *names.others(name))]
    for begin in range(0, len(wanted), _AT_ONCE):
        some = wanted[begin : begin + _AT_ONCE]
        yield from _decided(rows, selection, question, names, {name: stated[name] for name in some})


class _Names:
    """All names of the vulnerabilities that a selection's statements are about."""

    def __init__(self, rows: VexRows, selection: Selection, package: str | None) -> None:
        self.stated = sorted(rows.vulnerabilities(selection, package))
        self._links: dict[str, list[Statement]] = {}
        border = set(self.stated)
        for _ in range(_MOST_ROUNDS):
            found = rows.links(selection, border)
            self._links.update((name, []) for name in border)
            reached = {name for one in found for name in (one.link.subject, one.link.object)}
            for one in found:
                for name in {one.link.subject, one.link.object} & border:
                    self._links[name].append(one)
            border = reached - self._links.keys()
            if not border:
                break

    def stands_for(self, name: str) -> str:
        return stands_for(name, self._said)[0]

    def others(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in identify(name, self._said).names if each != name)

    def _said(self, names: Collection[str]) -> list[Statement]:
        return [one for name in names for one in self._links.get(name, ())]


def _decided(
    rows: VexRows,
    selection: Selection,
    question: Question,
    names: _Names,
    stated: Mapping[str, Sequence[str]],
) -> Iterator[list[Verdict]]:
    standing = {name: vulnerability for vulnerability, some in stated.items() for name in some}
    about: dict[str, list[Held]] = {vulnerability: [] for vulnerability in stated}
    for held in rows.statements(selection, standing.keys(), question.package):
        about[standing[held.vulnerability]].append(held)
    found = {name: list(_states(name, said, question)) for name, said in about.items() if said}
    places = {
        (state.decided.revision, state.decided.words)
        for states in found.values()
        for _, state in states
        if state.decided.words is not None
    }
    words = rows.words(places)
    for vulnerability, states in found.items():
        aliases = names.others(vulnerability)
        yield [
            Verdict(
                subject, aliases, state, words.get((state.decided.revision, state.decided.words), Words())
            )
            if state.decided.words is not None
            else Verdict(subject, aliases, state, Words())
            for subject, state in states
        ]


def _states(
    vulnerability: str, said: Sequence[Held], question: Question
) -> Iterator[tuple[Subject, Consensus]]:
    by_package = attrgetter("package")
    for _, together in groupby(sorted(said, key=by_package), key=by_package):
        for subject, statements in _weighed(vulnerability, list(together), widened=question.widened):
            state = decide(subject, statements, question.weights)
            if state is not None:
                yield subject, state


def _weighed(
    vulnerability: str, said: Sequence[Held], *, widened: bool
) -> Iterator[tuple[Subject, Sequence[Held]]]:
    """The statements that have a say on each subject of a package."""
    direct: dict[Subject, list[Held]] = {}
    for held in said:
        for subject in subjects(vulnerability, held):
            direct.setdefault(subject, []).append(held)
    if not widened or len(direct) == 1:
        yield from sorted(direct.items(), key=itemgetter(0))
        return
    products = _broader({subject.product for subject in direct})
    parts = _broader({subject.subcomponent for subject in direct if subject.subcomponent})
    for subject in sorted(direct):
        platforms = {"", subject.platform}
        insides = ("", *parts[subject.subcomponent]) if subject.subcomponent else ("",)
        # A statement on several parts stands under each of them.
        together = {
            id(held): held
            for product in products[subject.product]
            for platform in platforms
            for inside in insides
            for held in direct.get(Subject(vulnerability, subject.package, product, platform, inside), ())
        }
        yield subject, list(together.values())


def _broader(identities: Collection[str]) -> dict[str, list[str]]:
    """For each of some identities those of them that hold for it, itself among them."""
    alike: dict[tuple[str, str], list[str]] = {}
    for identity in identities:
        alike.setdefault(_version(identity), []).append(identity)
    return {
        identity: [
            other
            for place in {(package, ""), (package, version)}
            for other in alike.get(place, ())
            if other == identity or applies(other, identity)
        ]
        for identity in identities
        for package, version in (_version(identity),)
    }


@lru_cache(maxsize=100_000)
def _version(identity: str) -> tuple[str, str]:
    """Package and version, by which what may hold for an identity is found."""
    package = package_of(identity)
    rest = identity[len(package) :]
    return package, rest.partition("#")[0].partition("?")[0] if identity.startswith("pkg:") else rest
