"""The JSON of the Debian security tracker: source package → vulnerability → what is known of it in each release.

A record is what the file says of one vulnerability in one source package; its key names both (`curl/CVE-2023-38545`).
A record for each package would be shorter to say, but the kernel's alone is several megabytes and changes every day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from stellaops.advisories import debian
from stellaops.advisories.advisory import Advisory, Affected
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.advisories.documents.json_cursor import JsonCursor

_MAX_ID = 256
# So many records are looked at to tell the form.
_LOOKED_AT = 5
# Versions that wait there are not in the release yet.
_NOT_RELEASED = "-proposed-updates"


class _Release(Struct, frozen=True):
    status: str | None = None
    repositories: dict[str, str] | None = None
    fixed_version: str | None = None
    urgency: str | None = None
    nodsa_reason: str | None = None

    @property
    def archive(self) -> list[str]:
        """The versions that the release has; none where it lacks the package."""
        repositories = self.repositories or {}
        return sorted({version for name, version in repositories.items() if not name.endswith(_NOT_RELEASED)})


class _Record(Struct, frozen=True):
    releases: dict[str, _Release]
    description: str | None = None


class DebianTrackerFeed:
    """The `debian-tracker` feed."""

    name = "debian-tracker"
    publishes_listings = True

    def recognises(self, path: str, content: bytes) -> bool:
        """A JSON object of objects of objects that have releases."""
        if not self.may_hold_documents(path) or b'"releases"' not in content:
            return False
        try:
            found = list(islice(_spans(JsonCursor(content)), _LOOKED_AT))
        except Malformed:
            return False
        return bool(found) and all(_is_record(value) for _, _, _, value in found)

    def listing(self, path: str, content: bytes) -> Listing | None:
        """The file lists all that the tracker knows, and states no date."""
        return Listing("") if self.recognises(path, content) else None

    def may_hold_documents(self, path: str) -> bool:
        """JSON files, and the name under which the tracker serves it, `json`."""
        base = path.rpartition("/")[2].lower()
        return base == "json" or (base.endswith(".json") and not base.startswith("."))

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The object of each vulnerability of each package; the context is `package/vulnerability`."""
        cursor = JsonCursor(content)
        spans = [(begin, end, context) for begin, end, context, _ in _spans(cursor)]
        cursor.end()
        return (Slice(*cursor.slice(begin, end), context) for begin, end, context in spans)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """RFC 8785 JSON."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """One vulnerability in one source package; releases that lack the package are passed over."""
        package, _, vulnerability = context.rpartition("/")
        if not (package and vulnerability and context.isprintable() and len(context) <= _MAX_ID):
            raise Malformed("no-id", f"{context[:80]!r} names no package and vulnerability")
        try:
            record = msgspec.convert(parsed, _Record)
        except msgspec.ValidationError as error:
            raise Malformed("schema", str(error)) from error
        affected = [
            said
            for name, release in sorted(record.releases.items())
            if name in debian.RELEASES and (said := _statement(name, package, release, record)) is not None
        ]
        part = Advisory(id=vulnerability, details=record.description, affected=affected)
        return Advisory(id=context, parts=[part])


def _spans(cursor: JsonCursor) -> Iterator[tuple[int, int, str, Any]]:
    """Begin, end, context and value of each record."""
    for package in cursor.keys():  # noqa: SIM118 - a cursor is no mapping
        for vulnerability in cursor.keys():  # noqa: SIM118
            begin = cursor.place
            value = cursor.value()
            name = f"{package}/{vulnerability}"
            # What cannot be a key must not travel beside the record either.
            yield begin, cursor.place, name if name.isprintable() else "", value


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("releases"), dict)


def _statement(name: str, package: str, release: _Release, record: _Record) -> Affected | None:
    if not release.archive or release.status == "undetermined":
        return None
    words = [release.urgency or ""]
    urgency = debian.urgency(words)
    if release.status == "resolved":
        fixed = release.fixed_version or _of_unstable(record)
        # Version 0: the release never had the flaw.
        if fixed in (None, "", "0"):
            return None
        return debian.statement(name, package, fixed, urgency=urgency, archive=release.archive)
    reason = "end-of-life" if "end-of-life" in words else (release.nodsa_reason or "")
    status = debian.STATUSES.get(reason, debian.AFFECTED)
    return debian.statement(name, package, None, status=status, urgency=urgency)


def _of_unstable(record: _Record) -> str | None:
    unstable = record.releases.get("sid")
    return unstable.fixed_version if unstable is not None and unstable.status == "resolved" else None
