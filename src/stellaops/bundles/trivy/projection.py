"""The Trivy rows of one advisory: a pure function of the document and of its database.

Rows are made when evidence changes, not at every export. An advisory row stands under (bucket, package,
vulnerability) and holds the bytes that go into the database when no other document speaks of the same; a detail row
stands under the vulnerability and holds what the document says of it as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct, structs

from stellaops.advisories import advisory as fields
from stellaops.advisories.advisory import Advisory, Affected, Artefact, Assessment, Specific
from stellaops.advisories.databases import Database
from stellaops.advisories.severity import Severity, of_word
from stellaops.bundles.trivy.buckets import Bucket, bucket_for, bucket_named, package_key
from stellaops.bundles.trivy.constraints import misreading, problem
from stellaops.bundles.trivy.constraints.spelling import requirement, spelling
from stellaops.bundles.trivy.marks import ABOUT, MARKS, REJECTED, encode_mark, is_rejected
from stellaops.bundles.trivy.ranges import intervals, listed, sort_key
from stellaops.bundles.trivy.values import (
    STATUSES,
    Detail,
    encode_detail,
    fixed_value,
    highest_fix,
    merge_fixed,
    merge_ranges,
    ranges_value,
)
from stellaops.core import timestamps

VERSION = 3
"""Version of this projection; another value makes the store rebuild its rows."""

_LONGEST_PACKAGE = 1024  # bytes


class AdvisoryRow(Struct, frozen=True):
    """One entry of the database: bucket → package → vulnerability → value (JSON).

    Attributes:
        bucket: a root bucket, or `ABOUT`.
        strength: of several about one package and vulnerability, only those of the greatest count.
    """

    bucket: str
    package: str
    vulnerability: str
    value: bytes
    strength: int = 1


class Problem(Struct, frozen=True):
    """A constraint that Trivy could not read; it is reported and never written."""

    bucket: str
    package: str
    constraint: str
    reason: str


class DetailRow(Struct, frozen=True):
    """What one part of a document says of vulnerabilities as a whole (`values.Detail`, encoded)."""

    vulnerabilities: tuple[str, ...]
    value: bytes


class Projection(Struct, frozen=True):
    """All rows of one document; none of a withdrawn one.

    Attributes:
        details: one for each part.
        artefacts: rows of the Java database, which has nothing to do with vulnerabilities.
    """

    advisories: tuple[AdvisoryRow, ...] = ()
    details: tuple[DetailRow, ...] = ()
    problems: tuple[Problem, ...] = ()
    artefacts: tuple[Artefact, ...] = ()

    @property
    def vulnerabilities(self) -> tuple[str, ...]:
        """The ids that the document is about, sorted."""
        return tuple(sorted({name for told in self.details for name in told.vulnerabilities}))


@dataclass(slots=True)
class _Entry:
    """What a document says about one package in one bucket."""

    bucket: Bucket
    vulnerable: dict[str, None] = field(default_factory=dict)
    patched: dict[str, None] = field(default_factory=dict)
    unaffected: dict[str, None] = field(default_factory=dict)
    introduced: str = ""
    fixed: list[str] = field(default_factory=list)
    severity: Severity = Severity.UNKNOWN
    status: int = 0
    vendor_ids: set[str] = field(default_factory=set)
    weak: bool = False


def project(advisory: Advisory, database: Database, assessment: Assessment) -> Projection:
    """The rows of a document; none for a withdrawn one."""
    if advisory.withdrawn:
        ids = fields.cve_ids(advisory, database.cve_fields) if database.rejects else ()
        return Projection(tuple(AdvisoryRow(ABOUT, REJECTED, name, b"{}") for name in ids))
    if advisory.artefact is not None:
        return Projection(artefacts=(advisory.artefact,))
    if advisory.parts is None:
        return _project_one(advisory, database, assessment)
    rows: dict[tuple[str, str, str], AdvisoryRow] = {}
    details: list[DetailRow] = []
    problems: list[Problem] = []
    for part in advisory.parts:
        found = _project_one(part, database, fields.assess(part))
        for row in found.advisories:
            place = (row.bucket, row.package, row.vulnerability)
            rows[place] = united(rows[place], row) if place in rows else row
        details.extend(found.details)
        problems.extend(found.problems)
    return Projection(tuple(rows[place] for place in sorted(rows)), tuple(details), tuple(problems))


def united(one: AdvisoryRow, other: AdvisoryRow) -> AdvisoryRow:
    """One row from two parts of a document about one package and vulnerability."""
    if one.strength != other.strength:
        return max(one, other, key=lambda row: row.strength)
    bucket = bucket_named(one.bucket)
    merge = merge_ranges if bucket.language else merge_fixed
    return structs.replace(one, value=merge(bucket.scheme, [one.value, other.value]))


def _project_one(advisory: Advisory, database: Database, assessment: Assessment) -> Projection:
    if advisory.withdrawn:
        return Projection()
    vulnerabilities = fields.cve_ids(advisory, database.cve_fields)
    if not vulnerabilities:
        if advisory.id.startswith(database.needs_cve or ("\0",)):
            return Projection()
        vulnerabilities = [advisory.id]
    if is_rejected(advisory.details or ""):
        return Projection(tuple(AdvisoryRow(ABOUT, REJECTED, name, b"{}") for name in vulnerabilities))
    problems: list[Problem] = []
    entries = _entries(advisory, database, problems)
    vendor_ids = _vendor_ids(advisory, vulnerabilities)
    rows: list[AdvisoryRow] = []
    for (bucket, package), entry in sorted(entries.items()):
        value = _value(entry, tuple(sorted({*vendor_ids, *entry.vendor_ids})))
        if value is not None:
            strength = 0 if entry.weak else 1
            rows.extend(AdvisoryRow(bucket, package, name, value, strength) for name in vulnerabilities)
    detail = encode_detail(_detail(advisory, assessment, has_rows=bool(rows)))
    rows = [*_marks(advisory, vulnerabilities), *rows]
    return Projection(tuple(rows), (DetailRow(tuple(vulnerabilities), detail),), tuple(problems))


def _entries(
    advisory: Advisory, database: Database, problems: list[Problem]
) -> dict[tuple[str, str], _Entry]:
    entries: dict[tuple[str, str], _Entry] = {}
    for affected in advisory.affected or ():
        package = affected.package
        if package is None or not package.ecosystem or not package.name:
            continue
        bucket = bucket_for(package.ecosystem, database)
        if bucket is None:
            continue
        key = package_key(bucket, package.name)
        if not _fits(key):
            problems.append(Problem(bucket.name, key[:100], "", f"a package name of {len(key)} characters"))
            continue
        if bucket.scheme in _MODULAR:
            key = _modular(advisory, affected, key)
        specific = _specific(affected)
        weak = specific.weak is True
        entry = entries.get((bucket.name, key))
        if entry is None or (entry.weak and not weak):
            entry = entries[bucket.name, key] = _Entry(bucket, weak=weak)
        elif weak and not entry.weak:
            continue
        entry.vendor_ids.update(_texts(specific.vendor_ids))
        if bucket.language:
            _add_requirements(entry, specific, key, problems)
            _add_ranges(entry, affected, key, problems)
        else:
            _add_fixed(entry, affected, key, problems)
    return entries


def _specific(affected: Affected) -> Specific:
    """What a distribution says of the package beyond OSV's own fields."""
    specific = affected.ecosystem_specific
    return specific if isinstance(specific, Specific) else Specific()


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str) and text] if isinstance(value, list) else []


_NO_VERSION = re.compile(r"[|,<>=^\s]")


def _fits(key: str) -> bool:
    """Whether a text can be a package's key: no registry has longer names, and no index of a store holds them."""
    return 0 < len(key.encode()) <= _LONGEST_PACKAGE


def _add_requirements(entry: _Entry, specific: Specific, package: str, problems: list[Problem]) -> None:
    """Constraints in the ecosystem's own syntax, which the comparer reads too.

    Without one that it cannot read, more versions count as vulnerable, never less: unless nothing is left that tells
    them apart, or nothing of what is vulnerable.
    """
    scheme = entry.bucket.scheme

    def readable(texts: list[str]) -> dict[str, None]:
        found: dict[str, None] = {}
        for text in texts:
            constraint = requirement(scheme, text)
            reason = problem(scheme, constraint) or misreading(scheme, constraint)
            if reason is None:
                found[constraint] = None
            else:
                problems.append(Problem(entry.bucket.name, package, constraint, reason))
        return found

    stated = _texts(specific.vulnerable)
    vulnerable, patched = readable(stated), readable(_texts(specific.patched))
    if bool(stated) == bool(vulnerable):
        entry.vulnerable.update(vulnerable)
        entry.patched.update(patched)
        entry.unaffected.update(readable(_texts(specific.unaffected)))


def _add_ranges(entry: _Entry, affected: Affected, package: str, problems: list[Problem]) -> None:
    scheme = entry.bucket.scheme
    spans = intervals(affected, scheme)

    def accept(constraint: str, *versions: str) -> bool:
        # A version with a separator or an operator in it would be read as more constraints than one.
        told = next((version for version in versions if _NO_VERSION.search(version.strip())), None)
        reason = f"{told!r} is no version" if told is not None else None
        reason = reason or problem(scheme, constraint) or misreading(scheme, constraint)
        if reason is not None:
            problems.append(Problem(entry.bucket.name, package, constraint, reason))
        return reason is None

    for span in spans:
        bounds = (span.introduced, span.fixed, span.last_affected)
        accepted = [constraint for constraint in span.constraints(scheme) if accept(constraint, *bounds)]
        entry.vulnerable.update(dict.fromkeys(accepted))
        fixed = spelling(scheme, span.fixed) if span.fixed else ""
        if accepted and fixed and accept(fixed):
            entry.patched[fixed] = None
    for version in listed(affected, spans, scheme):
        constraint = f"={spelling(scheme, version)}"
        if accept(constraint, version):
            entry.vulnerable[constraint] = None


def _add_fixed(entry: _Entry, affected: Affected, package: str, problems: list[Problem]) -> None:
    scheme = entry.bucket.scheme
    specific = _specific(affected)
    for span in intervals(affected, scheme):
        if span.fixed and sort_key(span.fixed, scheme) is None:
            problems.append(Problem(entry.bucket.name, package, span.fixed, f"not a version of {scheme}"))
        elif span.fixed and not _awaited(span.fixed, _texts(specific.archive), scheme):
            entry.fixed.append(span.fixed)
            # A start that Trivy could not compare would hide the finding.
            known = span.introduced != "0" and sort_key(span.introduced, scheme) is not None
            entry.introduced = span.introduced if known else ""
        else:
            entry.fixed.append("")
    if isinstance(specific.status, str):
        entry.status = max(entry.status, STATUSES.get(specific.status, 0))
    if scheme == "debian" and isinstance(specific.urgency, str):
        entry.severity = max(entry.severity, of_word(specific.urgency))


def _awaited(fixed: str, archive: list[str], scheme: str) -> bool:
    """Whether a fix is newer than every version that the release has, so that nobody can install it yet."""
    key = sort_key(fixed, scheme)
    keys = [known for version in archive if (known := sort_key(version, scheme)) is not None]
    return key is not None and bool(keys) and max(keys) < key


def _value(entry: _Entry, vendor_ids: tuple[str, ...]) -> bytes | None:
    if entry.bucket.language:
        lists = (tuple(entry.vulnerable), tuple(entry.patched), tuple(entry.unaffected))
        return ranges_value(lists[0], lists[1], vendor_ids, lists[2]) if any(lists) else None
    if not entry.fixed:
        return None
    fixed = highest_fix(entry.bucket.scheme, entry.fixed)
    # Only Alpine's detector knows where a vulnerability begins.
    introduced = entry.introduced if entry.bucket.scheme == "alpine" and len(entry.fixed) == 1 else ""
    return fixed_value(fixed, introduced, int(entry.severity), vendor_ids, entry.status)


_MODULAR = frozenset(("alma", "rocky"))


def _modular(advisory: Advisory, affected: Affected, name: str) -> str:
    """The key of a package of a module stream, `nodejs:16::npm`.

    Errata of modules name the stream in the title ("Important: nodejs:16 security update") and nowhere else.
    """
    fixed = [event.fixed for span in affected.ranges or () for event in span.events or () if event.fixed]
    if not any(".module_" in version or ".module+" in version for version in fixed):
        return name
    words = (advisory.summary or "").rpartition(": ")[2].split()
    stream = words[0] if words and ":" in words[0] else ""
    return f"{stream}::{name}" if stream else name


def _vendor_ids(advisory: Advisory, vulnerabilities: list[str]) -> tuple[str, ...]:
    others = {advisory.id, *fields.names(advisory.aliases)}
    return tuple(
        sorted(name for name in others if name not in vulnerabilities and not name.startswith("CVE-"))
    )


def _marks(advisory: Advisory, vulnerabilities: list[str]) -> Iterator[AdvisoryRow]:
    specific = advisory.database_specific
    marks = specific.marks if isinstance(specific, Specific) else None
    for name, mark in sorted(marks.items()) if isinstance(marks, dict) else ():
        if name in MARKS and isinstance(mark, dict):
            value = encode_mark(mark)
            yield from (AdvisoryRow(ABOUT, name, vulnerability, value) for vulnerability in vulnerabilities)


def _detail(advisory: Advisory, assessment: Assessment, *, has_rows: bool) -> Detail:
    specific = advisory.database_specific
    origin = specific.origin if isinstance(specific, Specific) else None
    return Detail(
        source=origin if isinstance(origin, str) else "",
        title=(advisory.summary or "").strip(),
        description=(advisory.details or "").strip(),
        severity=int(assessment.word),
        scores={found.version: (found.vector, found.tenths) for found in assessment.scores},
        cwe_ids=fields.cwe_ids(advisory),
        references=sorted(set(_links(advisory))),
        published=_instant(advisory.published),
        modified=_instant(advisory.modified),
        has_rows=has_rows,
    )


def _links(advisory: Advisory) -> Iterator[str]:
    for reference in advisory.references or ():
        for line in (reference.url or "").splitlines():
            if line.strip():
                yield line.strip()


def _instant(text: str | None) -> str | None:
    instant = timestamps.parse(text) if text else None
    return timestamps.render(instant) if instant else None
