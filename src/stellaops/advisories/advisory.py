"""The fields of an advisory that selectors, indexes and scanner databases are made from.

The shape is that of the OSV schema, which all other feeds are mapped to. Types are lenient where real feeds break
their schema: what has no use here is not looked at, and null stands for absent everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from stellaops.advisories.severity import Score, Severity, of_word, score
from stellaops.core import timestamps

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)


# Fields that feeds of other forms fill; documents do not name them so.
_OURS = {name: f"stellaops.{name}" for name in ("parts", "status", "weak", "vendor_ids")}


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
    """

    severity: Any = None
    cwe_ids: Any = None
    urgency: Any = None
    last_known_affected_version_range: Any = None
    status: Any = None
    weak: Any = None
    vendor_ids: Any = None


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


class Advisory(Struct, frozen=True, gc=False, rename=_OURS):
    """One advisory.

    Attributes:
        parts: of a document that speaks of several vulnerabilities each with its own packages: one advisory for each.
            Its own `affected` is then empty.
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


def stated_instant(advisory: Advisory, fetched_at: datetime) -> datetime | None:
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
    words: list[Any] = []
    vectors: list[Any] = []
    if isinstance(advisory.severity, list):
        vectors.extend(entry.score for entry in advisory.severity)
    else:
        words.append(advisory.severity)
    if isinstance(advisory.database_specific, Specific):
        words.append(advisory.database_specific.severity)
    for affected in advisory.affected or ():
        if affected.severity:
            vectors.extend(entry.score for entry in affected.severity)
        specific = affected.database_specific
        if specific is not None and isinstance(specific, Specific) and specific.severity:
            words.append(specific.severity)
    scores = _highest(vectors)
    stated = [text for text in (*words, *vectors) if isinstance(text, str) and ":" not in text]
    word = max(map(of_word, stated), default=Severity.UNKNOWN)
    # Errata of the Red Hat family have their severity as the first word of the title: "Important: curl update".
    word = word or of_word((advisory.summary or "").partition(":")[0])
    return Assessment(scores, word, max([word, *(found.severity for found in scores)]))


def _highest(vectors: list[Any]) -> tuple[Score, ...]:
    best: dict[str, Score] = {}
    for text in dict.fromkeys(vector for vector in vectors if isinstance(vector, str)):
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
