"""When a domain was synced last: a small file beside the tree, for whoever watches the mirror host.

    <side>/.synced/<domain>.json    {"exportId", "syncedAt", "givenUp"?}

It is no evidence of anything: the host wrote it itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec import Struct

from stellaops.core import timestamps

FOLDER = ".synced"
SUFFIX = ".json"


class _Wire(Struct, frozen=True, omit_defaults=True, rename="camel"):
    export_id: str
    synced_at: str
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class SyncState:
    """The last sync of a domain's side that went through, whether it changed anything or not.

    Attributes:
        given_up: it took the domain away, since its publisher has none any more.
    """

    export_id: str
    synced_at: datetime
    given_up: bool = False

    def encode(self) -> bytes:
        """As it is stored."""
        return msgspec.json.encode(_Wire(self.export_id, timestamps.render(self.synced_at), self.given_up))


def decode(data: bytes | None) -> SyncState | None:
    """Read a state; None where there is none, or it is damaged: the next sync writes it anew."""
    try:
        wire = msgspec.json.decode(data or b"", type=_Wire)
    except msgspec.DecodeError:
        return None
    instant = timestamps.parse(wire.synced_at)
    return None if instant is None else SyncState(wire.export_id, instant, wire.given_up)


@dataclass(frozen=True, slots=True)
class SideState:
    """What one side of a mirror host shows of its syncs.

    Attributes:
        synced: by domain, when it was synced last.
        is_synced: whether the side was ever filled by a sync; else whoever publishes writes into it.
        is_there: whether there is a tree that readers follow.
        given_up: domains that a sync took away: nothing of them is waited for.
    """

    synced: Mapping[str, datetime]
    is_synced: bool
    is_there: bool
    given_up: Collection[str] = frozenset()


def lag(domain: str, sides: Iterable[SideState], now: datetime, begun: datetime) -> float:
    """Seconds since the last sync of a domain that went through, of the side that was synced longer ago.

    Nothing is behind where the trees are published on the host itself, nor what its publisher gave up. What should have
    been synced and never was, has been waited for since the host began.
    """
    known = list(sides)
    instants = [side.synced[domain] for side in known if domain in side.synced]
    if instants:
        return max(0.0, (now - min(instants)).total_seconds())
    if any(domain in side.given_up for side in known):
        return 0.0
    if any(side.is_there for side in known) and not any(side.is_synced for side in known):
        return 0.0
    return max(0.0, (now - begun).total_seconds())
