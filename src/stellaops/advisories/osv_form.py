"""Advisories of every feed as OSV documents, for readers who want one form.

What the OSV schema has no field for stands in `database_specific` of the document or of the package, under `stellaops`:
the severity as a word, a distribution's word on a package without a fix, constraints in an ecosystem's own syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import rfc8785

from stellaops.advisories.advisory import (
    Advisory,
    Affected,
    Range,
    SeverityEntry,
    Specific,
    assess,
    cwe_ids,
    names,
    parts,
)
from stellaops.advisories.severity import Severity
from stellaops.core import canonical_json, timestamps
from stellaops.core.canonical_json import NotCanonical

SCHEMA_VERSION = "1.7.3"
_SCORES = frozenset(("CVSS_V2", "CVSS_V3", "CVSS_V4", "Ubuntu"))
_RANGES = frozenset(("SEMVER", "ECOSYSTEM", "GIT"))
_OURS = "stellaops"
_CONSTRAINTS = ("vulnerable", "patched", "unaffected")


def osv_documents(advisory: Advisory, own: Mapping[str, Any] | None = None) -> Iterator[tuple[str, bytes]]:
    """The documents that a record becomes, in canonical JSON.

    Args:
        advisory: what it says.
        own: the record itself, where it is an OSV document: it stays as it is, but for the version of its schema.

    Yields:
        Vulnerability and document, in ascending order; the vulnerability is empty where the record is about one alone.

    Raises:
        NotCanonical: a value that canonical JSON would change.
    """
    if own is not None:
        yield "", _encoded(_dated(dict(own) | _version(own)))
        return
    if advisory.parts is None:
        yield "", _encoded(_document(advisory, advisory))
        return
    together: dict[str, Advisory] = {}
    for part in parts(advisory):
        held = together.get(part.id)
        together[part.id] = part if held is None else _joined(held, part)
    for name in sorted(together):
        yield name, _encoded(_document(together[name], advisory))


def _version(own: Mapping[str, Any]) -> dict[str, str]:
    stated = own.get("schema_version")
    kept = isinstance(stated, str) and stated.startswith("1.7.")
    return {} if kept else {"schema_version": SCHEMA_VERSION}


def _dated(document: dict[str, Any]) -> dict[str, Any]:
    """OSV demands an instant of the last change; where none is stated, the oldest that there is."""
    if not document.get("modified"):
        document["modified"] = document.get("published") or timestamps.render(timestamps.EPOCH)
    return document


def _encoded(document: dict[str, Any]) -> bytes:
    with suppress(NotCanonical, UnicodeEncodeError):
        return canonical_json.encode(document)  # nearly all of them, several times faster
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from error


def _joined(one: Advisory, other: Advisory) -> Advisory:
    """One advisory about the packages of both."""
    fields = {name: getattr(one, name) or getattr(other, name) for name in one.__struct_fields__}
    return Advisory(**{**fields, "affected": [*(one.affected or ()), *(other.affected or ())]})


def _document(advisory: Advisory, whole: Advisory) -> dict[str, Any]:
    """A document; dates of the record count where its part has none."""
    wire: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "id": advisory.id}
    for field in ("published", "modified", "withdrawn"):
        stated = getattr(advisory, field) or getattr(whole, field)
        instant = timestamps.parse(stated) if stated else None
        if instant is not None:
            wire[field] = timestamps.render(instant)
    for field in ("aliases", "upstream", "related"):
        told = [name for name in names(getattr(advisory, field)) if name != advisory.id]
        if told:
            wire[field] = told
    for field in ("summary", "details"):
        if getattr(advisory, field):
            wire[field] = getattr(advisory, field)
    wire |= _listed("severity", _scores(advisory.severity))
    wire |= _listed("affected", [_affected(each) for each in advisory.affected or ()])
    references = [
        {"type": each.type or "WEB", "url": each.url} for each in advisory.references or () if each.url
    ]
    wire |= _listed("references", references)
    specific: dict[str, Any] = _listed("cwe_ids", cwe_ids(advisory))
    highest = assess(advisory).highest
    if highest is not Severity.UNKNOWN:
        specific["severity"] = highest.name
    if specific:
        wire["database_specific"] = specific
    return _dated(wire)


def _listed(name: str, items: list[Any]) -> dict[str, Any]:
    return {name: items} if items else {}


def _scores(stated: list[SeverityEntry] | str | None) -> list[dict[str, str]]:
    if not isinstance(stated, list):
        return []
    return [
        {"type": entry.type, "score": entry.score}
        for entry in stated
        if entry.type in _SCORES and isinstance(entry.score, str)
    ]


def _affected(affected: Affected) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    if affected.package is not None:
        stated = {
            "ecosystem": affected.package.ecosystem,
            "name": affected.package.name,
            "purl": affected.package.purl,
        }
        wire["package"] = {name: text for name, text in stated.items() if text}
    wire |= _listed("ranges", [_range(each) for each in affected.ranges or () if each.type in _RANGES])
    wire |= _listed("versions", [version for version in affected.versions or () if version])
    wire |= _listed("severity", _scores(affected.severity))
    ours = _ours(affected.database_specific) | _ours(affected.ecosystem_specific)
    if ours:
        wire["database_specific"] = {_OURS: ours}
    return wire


def _range(stated: Range) -> dict[str, Any]:
    events = [
        {name: bound}
        for event in stated.events or ()
        for name in ("introduced", "fixed", "last_affected", "limit")
        if (bound := getattr(event, name)) is not None
    ]
    return {"type": stated.type, "events": events}


def _ours(specific: Specific | list[Any] | str | None) -> dict[str, Any]:
    if not isinstance(specific, Specific):
        return {}
    held = {name: getattr(specific, name) for name in ("status", *_CONSTRAINTS)}
    return {name: value for name, value in held.items() if value and isinstance(value, str | list | int)}
