"""`freshness.json`: until when an export counts as the newest of its profile. Renewed without a new export.

An export never says when it was made, so a receiver who is given an old one cannot tell. This small signed statement
tells: its version grows with every issue, and it expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from stellaops.core import canonical_json, timestamps
from stellaops.core.errors import NotTrusted

FILE = "freshness.json"
SIGNATURE = "freshness.json.sig"
SCHEMA = "https://stellaops.io/export-center/freshness/v1"
LARGEST = 1 << 20
CADENCES = 3
"""How many cadences a statement holds for: two renewals may fail before anyone is refused."""

_Text = Annotated[str, msgspec.Meta(max_length=512)]


class BadFreshness(NotTrusted):
    """A freshness statement that is not in the form that is written."""

    code = "ERR_FRESHNESS_INVALID"
    hint = "Fetch the statement again from where the bundle came from."


@dataclass(frozen=True, slots=True)
class Checked:
    """When a source was last read, and whether to its end."""

    name: str
    checked_at: datetime | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Freshness:
    """One statement.

    Attributes:
        profile: the name of the profile whose newest export this is.
        version: grows by one with each issue for this tenant and profile.
    """

    tenant: str
    profile: str
    export_id: str
    version: int
    issued: datetime
    expires: datetime
    sources: tuple[Checked, ...] = ()


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    name: _Text
    checked_at: _Text | None
    complete: bool


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    schema: _Text
    tenant: _Text
    profile: _Text
    export_id: _Text
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    issued: _Text
    expires: _Text
    sources: tuple[_Source, ...]


def issue(
    tenant: str, profile: str, export_id: str, version: int, sources: Sequence[Checked],
    *, now: datetime, cadence: timedelta,
) -> Freshness:  # fmt: skip
    """A statement that holds from now for three cadences."""
    moment = now.replace(microsecond=0)
    held = tuple(sorted(sources, key=lambda source: source.name))
    return Freshness(tenant, profile, export_id, version, moment, moment + CADENCES * cadence, held)


def encode(statement: Freshness) -> bytes:
    """The statement in its only form."""
    return canonical_json.encode(
        {
            "schema": SCHEMA,
            "tenant": statement.tenant,
            "profile": statement.profile,
            "exportId": statement.export_id,
            "version": statement.version,
            "issued": timestamps.render(statement.issued),
            "expires": timestamps.render(statement.expires),
            "sources": [
                {
                    "name": source.name,
                    "checkedAt": timestamps.render(source.checked_at) if source.checked_at else None,
                    "complete": source.complete,
                }
                for source in statement.sources
            ],
        }
    )


def parse(data: bytes) -> Freshness:
    """The statement in some bytes, whose signature has been checked.

    Raises:
        BadFreshness: anything but what `encode` writes.
    """
    try:
        wire = msgspec.json.decode(data, type=_Wire)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFreshness(f"the freshness statement cannot be read: {error}") from error
    if wire.schema != SCHEMA:
        raise BadFreshness(f"the freshness statement is of the unknown form {wire.schema[:80]!r}")
    statement = Freshness(
        wire.tenant,
        wire.profile,
        wire.export_id,
        wire.version,
        _instant(wire.issued),
        _instant(wire.expires),
        tuple(
            Checked(each.name, _instant(each.checked_at) if each.checked_at else None, each.complete)
            for each in wire.sources
        ),
    )
    if encode(statement) != data:
        raise BadFreshness("the freshness statement is not in its canonical form")
    return statement


def _instant(text: str) -> datetime:
    found = timestamps.parse(text)
    if found is None:
        raise BadFreshness(f"{text[:40]!r} is no instant")
    return found
