"""Who says that two ids mean the same vulnerability, and how far that may be believed.

Documents name other ids as aliases. Taken at their word and joined end to end, a bulletin about eight CVEs makes these
eight one vulnerability. So each document's statements are read by rules, kept as links with the document that makes
them, and followed by rules:

1. A document that names one CVE is about that CVE: its id and its aliases are the `same` as the CVE.
2. A document that names several CVEs `covers` them: they are not the same as each other, nor as its id. So it is with
   several aliases of one naming scheme, such as eight GHSA ids. Its other aliases are the `same` as its id.
3. A document that names no CVE is the `same` as its aliases, unless there are several of one scheme: those it covers.
4. What stands under `upstream` or `related` is covered or `related`, never the same. Errata have their CVEs there.
5. Two CVEs are never the same, whatever chain joins them: following links ends at the first CVE.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum

from msgspec import Struct

from stellaops.advisories import advisory as fields
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.databases import Database

VERSION = 1
"""Version of this projection; another value makes the store rebuild its rows."""

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)
_MOST_NAMES = 2000


class Relation(StrEnum):
    """What a document says of two ids."""

    SAME = "same"
    COVERS = "covers"
    RELATED = "related"


class Link(Struct, frozen=True, order=True):
    """One statement of a document.

    Attributes:
        subject: the document's id, or the only CVE that it names.
        object: the id that stands in the relation to it.
        rule: which of the module's rules read it so.
    """

    subject: str
    object: str
    relation: Relation
    rule: int


class Statement(Struct, frozen=True, order=True):
    """A link with who makes it."""

    link: Link
    source: str
    key: str


class Step(Struct, frozen=True):
    """A statement that was looked at, and what came of it.

    Attributes:
        followed: whether both ids are taken as one vulnerability because of it.
        reason: in words, for people.
    """

    statement: Statement
    followed: bool
    reason: str


class Identity(Struct, frozen=True):
    """What one id stands for.

    Attributes:
        names: the ids of the same vulnerability, sorted, with the one that was asked for.
        covers: vulnerabilities that documents of these ids cover without being them, sorted.
        steps: every statement that was looked at.
    """

    names: tuple[str, ...]
    covers: tuple[str, ...]
    steps: tuple[Step, ...]


def links(advisory: Advisory, database: Database) -> list[Link]:
    """What a document says about ids, by the rules above; sorted, each once."""
    if advisory.parts is None:
        return sorted(set(_links(advisory, database)))
    found: set[Link] = set()
    for part in advisory.parts:
        if part.id != advisory.id:
            found.add(Link(advisory.id, part.id, Relation.COVERS, 2))
        found.update(_links(part, database))
    own = fields.names(advisory.aliases)
    found.update(Link(advisory.id, name, Relation.SAME, 3) for name in own if name != advisory.id)
    return sorted(found)


def _links(advisory: Advisory, database: Database) -> Iterable[Link]:
    identifier = advisory.id
    aliases = [name for name in fields.names(advisory.aliases) if name != identifier]
    cves = {name for name in (identifier, *aliases) if _CVE.match(name)}
    others = [name for name in aliases if name not in cves]
    if len(cves) == 1:
        cve = next(iter(cves))
        for name in (identifier, *others):
            if name != cve:
                yield Link(cve, name, Relation.SAME, 1)
    else:
        rule = 2 if cves else 3
        schemes = Counter(_scheme(name) for name in (*others, *cves))
        for name in (*sorted(cves - {identifier}), *others):
            relation = Relation.COVERS if name in cves or schemes[_scheme(name)] > 1 else Relation.SAME
            yield Link(identifier, name, relation, rule)
    for field in ("upstream", "related"):
        covered = field in database.cve_fields and not cves
        for name in fields.names(getattr(advisory, field)):
            if name not in cves and name != identifier:
                relation = Relation.COVERS if covered and _CVE.match(name) else Relation.RELATED
                yield Link(identifier, name, relation, 4)


def _scheme(name: str) -> str:
    return name.partition("-")[0]


def identify(start: str, stated: Callable[[Collection[str]], Iterable[Statement]]) -> Identity:
    """What an id stands for, and why.

    An id that documents give to several CVEs stands for itself alone, while each of these CVEs has it among its names.

    Args:
        start: any id.
        stated: all statements that have one of some ids as subject or object.
    """
    walk = _Walk(start)
    while walk.border and len(walk.names) < _MOST_NAMES:
        walk.go(stated(walk.border))
    covers = {
        one.link.object
        for one in walk.steps
        if one.link.relation is Relation.COVERS and one.link.subject in walk.names
    }
    steps = tuple(walk.steps[one] for one in sorted(walk.steps))
    return Identity(tuple(sorted(walk.names)), tuple(sorted(covers - walk.names)), steps)


class _Walk:
    """Following links from an id outwards, one distance at a time, so that the order of statements does not matter."""

    def __init__(self, start: str) -> None:
        self.names = {start}
        self.border: set[str] = {start}
        self.steps: dict[Statement, Step] = {}
        self._cve = start if _CVE.match(start) else None

    def go(self, stated: Iterable[Statement]) -> None:
        found = set(stated).difference(self.steps)
        cves = {name for one in found if one.link.relation is Relation.SAME for name in _cves(one.link)}
        if self._cve is None and len(cves) == 1:
            (self._cve,) = cves
        for one in found:
            self.steps[one] = self._step(one)
        reached = {
            name for one in found if self.steps[one].followed for name in (one.link.subject, one.link.object)
        }
        self.border = reached - self.names
        self.names |= self.border

    def _step(self, statement: Statement) -> Step:
        link = statement.link
        if link.relation is not Relation.SAME:
            return Step(statement, False, _NOT_SAME[link.relation, link.rule])
        foreign = _cves(link) - {self._cve}
        if foreign:
            why = f"{min(foreign)} is another CVE" if self._cve else "several CVEs have this name"
            return Step(statement, False, f"rule 5: {why}")
        return Step(statement, True, f"rule {link.rule}: {_SAME[link.rule]}")


def _cves(link: Link) -> set[str]:
    return {name for name in (link.subject, link.object) if _CVE.match(name)}


_SAME = {
    1: "the only CVE that the document names",
    2: "another name of a document about several CVEs",
    3: "another name in a document without a CVE",
}
_NOT_SAME = {
    (Relation.COVERS, 2): "rule 2: a document about several vulnerabilities is none of them",
    (Relation.COVERS, 3): "rule 3: a document about several vulnerabilities is none of them",
    (Relation.COVERS, 4): "rule 4: an erratum covers its vulnerabilities",
    (Relation.RELATED, 4): "rule 4: related is not the same",
}
