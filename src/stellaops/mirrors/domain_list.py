"""Which domains a side of a mirror has, and which it had and gave up: told to everybody, readable by who knows them.

    <side>/<exportId>/mirror/<domain>/domains.json

Each domain's tree holds the same list, so that whoever may read one domain gets it, and the signed list of its files
signs it too. A mirror host that knows a domain finds it there by name. Names do not stand there: one audience is not to
learn of the others, so each is told as a digest that is another one in every export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Struct

from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree

SCHEMA = "https://stellaops.io/mirror/domains/v1"
FILE = "domains.json"
LARGEST = 16 << 20

_Hidden = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class _Wire(Struct, frozen=True, rename="camel"):
    schema: str
    side: str
    export_id: str
    in_force: tuple[_Hidden, ...]
    given_up: tuple[_Hidden, ...]


@dataclass(frozen=True, slots=True)
class DomainList:
    """What one export says of the domains of its side."""

    side: Side
    export_id: str
    in_force: frozenset[str]
    given_up: frozenset[str]

    def has(self, domain: str) -> bool:
        """Whether a domain is in force."""
        return hidden(self.side, self.export_id, domain) in self.in_force

    def gave_up(self, domain: str) -> bool:
        """Whether a domain was there once, and is not any more."""
        found = hidden(self.side, self.export_id, domain)
        return found in self.given_up and found not in self.in_force


def hidden(side: Side, export_id: str, domain: str) -> str:
    """How a list tells a domain: hexadecimal SHA-256 of `mirror-domain`, side, export id and domain, a line each."""
    return hashlib.sha256(f"mirror-domain\n{side}\n{export_id}\n{domain}\n".encode()).hexdigest()


def encode(side: Side, export_id: str, in_force: Iterable[str], given_up: Iterable[str]) -> bytes:
    """`domains.json` of an export; the digests are sorted, so that their order tells nothing."""
    wire = _Wire(
        SCHEMA,
        side,
        export_id,
        tuple(sorted(hidden(side, export_id, each) for each in in_force)),
        tuple(sorted(hidden(side, export_id, each) for each in given_up)),
    )
    return msgspec.json.format(msgspec.json.encode(wire), indent=2) + b"\n"


def parse(data: bytes, side: Side, export_id: str) -> DomainList:
    """Read a list whose digest has been checked.

    Raises:
        BadTree: it has another form, or is of another export.
    """
    try:
        wire = msgspec.json.decode(data, type=_Wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadTree(f"the list of domains cannot be read: {error}") from error
    if (wire.schema, wire.side, wire.export_id) != (SCHEMA, side, export_id):
        raise BadTree(f"the list of domains is of {wire.side[:20]!r} {wire.export_id[:80]!r}")
    return DomainList(side, export_id, frozenset(wire.in_force), frozenset(wire.given_up))
