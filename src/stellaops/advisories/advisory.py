"""The fields of an advisory that selectors, indexes and scanner databases are made from.

The shape is that of the OSV schema, which all other feeds are mapped to. Types are lenient where real feeds break
their schema: what has no use here is not looked at, and null stands for absent everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from msgspec import Struct

from stellaops.advisories.severity import Score, Severity, of_word, score
from stellaops.core import timestamps

# As long as the longest word for a severity, with room for blanks around it.
_LONGEST_WORD = 16
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)


# Fields that feeds of other forms fill; documents do not name them so.
_OURS = {
    name: f"stellaops.{name}"
    for name in (
        "parts",
        "artefact",
        "status",
        "weak",
        "vendor_ids",
        "archive",
        "tlp",
        "publisher",
        "origin",
        "marks",
        "vulnerable",
        "patched",
        "unaffected",
    )
}


class Package(Struct, frozen=True, gc=False):
    """The package of an affected entry."""

    ecosystem: str | None = None
    name: str | None = None
    purl: str | None = None


class Event(Struct, frozen=True, gc=False):
    """One bound of a range; exactly one field is set in a well-formed document."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class Range(Struct, frozen=True, gc=False):
    """A version range: SEMVER, ECOSYSTEM or GIT."""

    type: str | None = None
    events: list[Event] | None = None


class SeverityEntry(Struct, frozen=True, gc=False):
    """A CVSS vector, or a vendor's word, with its type."""

    type: str | None = None
    score: str | float | None = None


class Specific(Struct, frozen=True, gc=False, rename=_OURS):
    """What the product reads from `database_specific` and `ecosystem_specific` objects.

    Attributes:
        status: a distribution's word on a package without a fix, as in `bundles.trivy.values.STATUSES`.
        weak: a general statement that gives way to another about the same package and release.
        vendor_ids: names of the issuer for the statement about this package alone.
        vulnerable, patched, unaffected: constraints in the syntax of the package's ecosystem, instead of ranges. A
            version is vulnerable if one of the first holds (any version, where there is none) and none of the others.
        archive: the versions that the release has; a fix that is newer than all of them is none yet.
        origin: who says what the document says as a whole, where that is not its database: a SourceID of Trivy's kind.
        marks: what the record says of a vulnerability that is no detail of it, by name (`kev`).
    """

    severity: Any = None
    cwe_ids: Any = None
    urgency: Any = None
    last_known_affected_version_range: Any = None
    status: Any = None
    weak: Any = None
    vendor_ids: Any = None
    vulnerable: Any = None
    patched: Any = None
    unaffected: Any = None
    archive: Any = None
    origin: Any = None
    marks: Any = None


class Affected(Struct, frozen=True, gc=False):
    """One affected package."""

    package: Package | None = None
    ranges: list[Range] | None = None
    versions: list[str] | None = None
    severity: list[SeverityEntry] | None = None
    database_specific: Specific | list[Any] | str | None = None
    ecosystem_specific: Specific | list[Any] | str | None = None


class Reference(Struct, frozen=True, gc=False):
    """A link."""

    type: str | None = None
    url: str | None = None


class Artefact(Struct, frozen=True, gc=False, order=True):
    """A file of a Maven repository and its digest: what a list of artefacts says of each.

    Attributes:
        archive_type: `jar` or `aar`.
        sha1: 40 lower-case hexadecimal digits.
    """

    group: str
    artifact: str
    version: str
    archive_type: str
    sha1: str


class Advisory(Struct, frozen=True, gc=False, rename=_OURS):
    """One advisory.

    Attributes:
        artefact: of a record that tells of no vulnerability but names a file of the package in `affected`.
        parts: of a document that speaks of several vulnerabilities each with its own packages: one advisory for each.
            Its own `affected` is then empty.
        tlp: its traffic light marking, as a label of version 2; None where its form has none.
        publisher: the address that stands for who issued it, where the form says it.
    """

    id: str
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    published: str | None = None
    modified: str | None = None
    withdrawn: str | None = None
    summary: str | None = None
    details: str | None = None
    severity: list[SeverityEntry] | str | None = None
    affected: list[Affected] | None = None
    references: list[Reference] | None = None
    database_specific: Specific | list[Any] | str | None = None
    parts: list[Advisory] | None = None
    artefact: Artefact | None = None
    tlp: str | None = None
    publisher: str | None = None


def parts(advisory: Advisory) -> Sequence[Advisory]:
    """The advisories about single vulnerabilities that a document consists of: often only itself."""
    return advisory.parts or (advisory,)


def affected_packages(advisory: Advisory) -> list[Affected]:
    """What a document says of packages, of all its parts."""
    if advisory.parts is None:
        return advisory.affected or []
    return [affected for part in advisory.parts for affected in part.affected or ()]


def all_aliases(advisory: Advisory) -> list[str]:
    """The other names of what a document is about, its parts' ids and aliases included, each once."""
    if advisory.parts is None:
        return names(advisory.aliases)
    told = [name for part in advisory.parts for name in (part.id, *(part.aliases or ()))]
    return [name for name in names([*(advisory.aliases or ()), *told]) if name != advisory.id]


def ecosystems(advisory: Advisory) -> list[str]:
    """Ecosystem names with their suffixes (`AlmaLinux:8`), sorted, each once."""
    packages = (affected.package for affected in affected_packages(advisory))
    return sorted({package.ecosystem for package in packages if package and package.ecosystem})


def names(ids: list[str] | None) -> list[str]:
    """Ids without the blanks that some feeds leave around them, each once, in the order given."""
    return list(dict.fromkeys(text for raw in ids or () if (text := raw.strip())))


def cve_ids(advisory: Advisory, fields: tuple[str, ...]) -> list[str]:
    """The CVE ids that an advisory is about, sorted: its own id and the first of the fields that names any."""
    own = [advisory.id] if _CVE.match(advisory.id) else []
    for field in fields:
        found = [name for name in names(getattr(advisory, field)) if _CVE.match(name)]
        if found:
            return sorted({*own, *found})
    return own


class Dated(Protocol):
    """A document that may say when it was published and last changed."""

    @property
    def published(self) -> str | None:
        """As stated."""
        ...

    @property
    def modified(self) -> str | None:
        """As stated."""
        ...


def stated_instant(advisory: Dated, fetched_at: datetime) -> datetime | None:
    """When the document says it was last changed: modified, else published.

    An instant after the fetch, like one in year 1, counts as not stated: upstream clocks do go wrong.
    """
    for text in (advisory.modified, advisory.published):
        instant = timestamps.parse(text) if text else None
        if instant is not None and instant <= fetched_at:
            return instant
    return None


class Assessment(Struct, frozen=True):
    """How severe a document says its vulnerabilities are.

    Attributes:
        scores: the CVSS vectors that parse: the highest of each version.
        word: the severity stated as a word, wherever the database puts it.
        highest: the higher of both.
    """

    scores: tuple[Score, ...] = ()
    word: Severity = Severity.UNKNOWN
    highest: Severity = Severity.UNKNOWN


def assess(advisory: Advisory) -> Assessment:
    """Read severities from everywhere a document may state them; of several parts, the highest."""
    if advisory.parts is None:
        return _assess_one(advisory)
    found = [_assess_one(advisory), *map(_assess_one, advisory.parts)]
    return Assessment((), max(one.word for one in found), max(one.highest for one in found))


def _assess_one(advisory: Advisory) -> Assessment:
    stated: list[Any] = []
    if isinstance(advisory.severity, list):
        stated += [entry.score for entry in advisory.severity]
    elif advisory.severity:
        stated.append(advisory.severity)
    if isinstance(advisory.database_specific, Specific):
        stated.append(advisory.database_specific.severity)
    for affected in advisory.affected or ():
        if affected.severity:
            stated += [entry.score for entry in affected.severity]
        if isinstance(affected.database_specific, Specific):
            stated.append(affected.database_specific.severity)
    # Errata of the Red Hat family have their severity as the first word of the title: "Important: curl update".
    title = (advisory.summary or "")[:_LONGEST_WORD].partition(":")
    return _assessed(tuple(text for text in stated if isinstance(text, str)), title[0] if title[1] else "")


@lru_cache(maxsize=20_000)
def _assessed(stated: tuple[str, ...], first_word: str) -> Assessment:
    scores = _highest(stated)
    word = max((of_word(text) for text in stated if ":" not in text), default=Severity.UNKNOWN)
    word = word or of_word(first_word)
    return Assessment(scores, word, max([word, *(found.severity for found in scores)]))


def _highest(vectors: Iterable[str]) -> tuple[Score, ...]:
    best: dict[str, Score] = {}
    for text in dict.fromkeys(vectors):
        found = score(text)
        if found and (found.version not in best or _order(found) > _order(best[found.version])):
            best[found.version] = found
    return tuple(best[version] for version in sorted(best))


def cwe_ids(advisory: Advisory) -> list[str]:
    """CWE ids as `CWE-79`, sorted by number, each once."""
    specific = advisory.database_specific
    listed = specific.cwe_ids if isinstance(specific, Specific) else None
    found = (
        {text.upper() for text in listed or () if isinstance(text, str)}
        if isinstance(listed, list)
        else set()
    )
    return sorted((cwe for cwe in found if re.match(r"CWE-\d+$", cwe)), key=lambda cwe: int(cwe[4:]))


def _order(found: Score) -> tuple[int, str]:
    return found.tenths, found.vector
