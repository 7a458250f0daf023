"""`export.json`: what an export holds, and nothing about how, when or where it was made.

Its bytes are canonical JSON and a function of the state alone, so equal states have equal manifests and the same
`exportId`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from stellaops.bundles import layout
from stellaops.bundles.content import Content, rerun_hash
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

SCHEMA = "https://stellaops.io/export-center/manifest/v1alpha2"
VERSION = "1.1.0"
LARGEST = 16 * 1024 * 1024
"""Bytes that a manifest may have."""


class BadManifest(InvalidInput):
    """A manifest that is not what `build` writes."""

    code = "ERR_MANIFEST_INVALID"
    hint = "Fetch the bundle again; if it stays, it was made by another version of the product."


@dataclass(frozen=True, slots=True)
class Profile:
    """The state profile: `kind:variant` (`json:raw`) and its name."""

    kind: str
    variant: str
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """A source with selected documents; `updated_at` is the newest instant that they state, None where none is."""

    name: str
    database: str
    licence: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """A manifest and its exact bytes."""

    tenant: str
    profile: Profile
    selectors: Mapping[str, Any]
    generated_at: datetime
    snapshot: Digest
    sources: tuple[Source, ...]
    policy_snapshot: Digest | None
    projections: Mapping[str, int]
    contents: tuple[Content, ...]
    rerun_hash: Digest
    export_id: str
    data: bytes

    def content(self, path: str) -> Content | None:
        """The content of a path."""
        return next((content for content in self.contents if content.path == path), None)

    def true_export_id(self) -> str:
        """The id that the manifest's own bytes give; equal to `export_id` in an honest manifest."""
        wire = msgspec.json.decode(self.data)
        del wire["exportId"]
        return digests.content_id(canonical_json.encode(wire))

    def true_rerun_hash(self) -> Digest:
        """The hash that the contents give; equal to `rerun_hash` in an honest manifest."""
        return rerun_hash(self.contents)


def build(
    *,
    tenant: str,
    profile: Profile,
    selectors: Mapping[str, Any],
    generated_at: datetime,
    snapshot: Digest,
    sources: Iterable[Source],
    policy_snapshot: Digest | None,
    projections: Mapping[str, int],
    contents: Iterable[Content],
) -> ExportManifest:
    """Write a manifest; sources and contents may come in any order.

    Raises:
        BadManifest: the values contradict the rules of a manifest, all of which are named; for example
            `generated_at` is not the newest of the sources' instants.
    """
    ordered = sorted(contents, key=lambda content: content.path)
    wire: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "tenant": tenant,
        "profile": {"kind": profile.kind, "variant": profile.variant, "name": profile.name},
        "selectors": dict(selectors),
        "generatedAt": timestamps.render(generated_at),
        "snapshot": {"digest": snapshot},
        "sources": [_source_wire(source) for source in sorted(sources, key=lambda source: source.name)],
        "policySnapshot": policy_snapshot,
        "projections": dict(projections),
        "contents": [_content_wire(content) for content in ordered],
        "rerunHash": rerun_hash(ordered),
    }
    try:
        wire["exportId"] = digests.content_id(canonical_json.encode(wire))
        return parse(canonical_json.encode(wire))
    except canonical_json.NotCanonical as error:
        raise BadManifest(f"the manifest cannot be written: {error}") from error


def parse(data: bytes) -> ExportManifest:
    """Read a manifest that must be in canonical form, of this schema, with nothing unknown in it.

    Whether `exportId` and `rerunHash` are true is left to `true_export_id` and `true_rerun_hash`.

    Raises:
        BadManifest: anything else.
    """
    try:
        wire = msgspec.convert(canonical_json.decode(data), _Manifest, strict=True)
    except (canonical_json.NotCanonical, msgspec.ValidationError, RecursionError) as error:
        raise BadManifest(f"export.json: {error}") from error
    problems = _problems(wire)
    if problems:
        raise BadManifest(f"export.json: {problems[0]}", details=problems)
    return ExportManifest(
        tenant=wire.tenant,
        profile=Profile(wire.profile.kind, wire.profile.variant, wire.profile.name),
        selectors=wire.selectors,
        generated_at=_instant(wire.generated_at),
        snapshot=Digest(wire.snapshot.digest),
        sources=tuple(_source(source) for source in wire.sources),
        policy_snapshot=None if wire.policy_snapshot is None else Digest(wire.policy_snapshot),
        projections=wire.projections,
        contents=tuple(
            Content(item.path, Digest(item.content_digest), item.records, item.content_type)
            for item in wire.contents
        ),
        rerun_hash=Digest(wire.rerun_hash),
        export_id=wire.export_id,
        data=data,
    )


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _Profile(_Strict, frozen=True):
    kind: str
    variant: str
    name: str


class _Snapshot(_Strict, frozen=True):
    digest: str


class _Source(_Strict, frozen=True):
    name: str
    database: str
    licence: str
    updated_at: str | None


class _Content(_Strict, frozen=True):
    path: str
    content_digest: str
    records: int
    content_type: str


class _Manifest(_Strict, frozen=True):
    schema: str
    version: str
    export_id: str
    tenant: str
    profile: _Profile
    selectors: dict[str, Any]
    generated_at: str
    snapshot: _Snapshot
    sources: list[_Source]
    policy_snapshot: str | None
    projections: dict[str, int]
    contents: list[_Content]
    rerun_hash: str


def _source_wire(source: Source) -> dict[str, Any]:
    updated_at = None if source.updated_at is None else timestamps.render(source.updated_at)
    return {
        "name": source.name,
        "database": source.database,
        "licence": source.licence,
        "updatedAt": updated_at,
    }


def _content_wire(content: Content) -> dict[str, Any]:
    return {
        "path": content.path,
        "contentDigest": content.content_digest,
        "records": content.records,
        "contentType": content.content_type,
    }


def _source(wire: _Source) -> Source:
    updated_at = None if wire.updated_at is None else _instant(wire.updated_at)
    return Source(wire.name, wire.database, wire.licence, updated_at)


def _instant(text: str) -> datetime:
    instant = timestamps.parse(text)
    if instant is None or timestamps.render(instant) != text:
        raise BadManifest(f"export.json: {text[:80]!r} is not an instant in its canonical form")
    return instant


def _problems(wire: _Manifest) -> list[str]:
    found = []
    if wire.schema != SCHEMA:
        found.append(f"its schema is {wire.schema[:200]!r}, not {SCHEMA!r}")
    if not wire.version.startswith("1.1.") or not wire.version[4:].isdecimal():
        found.append(f"its version is {wire.version[:40]!r}, not 1.1.x")
    if not layout.is_content_id(wire.export_id):
        found.append("its exportId is no export id")
    empty = [not text for text in (wire.tenant, wire.profile.kind, wire.profile.variant, wire.profile.name)]
    if any(empty):
        found.append("its tenant or a part of its profile is empty")
    return found + _digest_problems(wire) + _list_problems(wire) + _time_problems(wire)


def _digest_problems(wire: _Manifest) -> list[str]:
    stated = [wire.snapshot.digest, wire.rerun_hash, *(item.content_digest for item in wire.contents)]
    if wire.policy_snapshot is not None:
        stated.append(wire.policy_snapshot)
    return [problem for text in stated if (problem := _digest_problem(text))]


def _digest_problem(text: str) -> str | None:
    try:
        digests.parse(text)
    except ValueError as error:
        return str(error)
    return None


def _list_problems(wire: _Manifest) -> list[str]:
    paths = [content.path for content in wire.contents]
    found = [f"content {path[:200]!r} is no portable path" for path in paths if not layout.is_portable(path)]
    for what, names in (("contents", paths), ("sources", [source.name for source in wire.sources])):
        if not _strictly_ascending(names):
            found.append(f"its {what} are not sorted, or one is there twice")
    if any(content.records < 0 for content in wire.contents):
        found.append("a content has a negative number of records")
    return found


def _strictly_ascending(names: Sequence[str]) -> bool:
    return all(first < second for first, second in pairwise(names))


def _time_problems(wire: _Manifest) -> list[str]:
    stated = [_instant(source.updated_at) for source in wire.sources if source.updated_at is not None]
    newest = max(stated, default=timestamps.EPOCH)
    if _instant(wire.generated_at) == newest:
        return []
    return [
        f"its generatedAt is {wire.generated_at}, but its sources' newest instant is {timestamps.render(newest)}"
    ]
