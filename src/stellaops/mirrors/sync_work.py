"""What a sync works with: what is wished, what the source says with a signature that holds, what is missing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from stellaops.bundles.freshness import Freshness
from stellaops.mirrors.domain import Side
from stellaops.mirrors.fetching import split
from stellaops.mirrors.forms import Entry, TreeList
from stellaops.mirrors.publish import KEEP
from stellaops.mirrors.sync_ports import Destination, TreeSource
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PublicKey


@dataclass(frozen=True, slots=True)
class Wish:
    """What is synced.

    Attributes:
        domains: all that the source tells of where empty.
        allow_stale: also take a statement that is missing, expired, or older than the one that is held.
        check_held: hash what is held, and fetch again what is not as it was signed.
        drops: domains of the tree in force that another tree may come without.
        in_turn: other syncs bring other domains of the same tree: it is followed when all have come.
        at_once: files that are fetched at a time.
    """

    sides: Sequence[Side]
    domains: Sequence[str] = ()
    allow_stale: bool = False
    check_held: bool = False
    dry_run: bool = False
    at_once: int = 4
    keep: timedelta = KEEP
    drops: Sequence[str] = ()
    in_turn: bool = False


@dataclass(frozen=True, slots=True)
class Trusted:
    """Public keys that are believed, by key id; those of `revoked` verify nothing."""

    keys: Mapping[str, PublicKey]

    @classmethod
    def of(cls, pems: Iterable[bytes], revoked: Iterable[str]) -> Trusted:
        """From PEM."""
        found = (ecdsa_p256.load_public_key(pem) for pem in pems)
        gone = frozenset(revoked)
        return cls({key.key_id: key for key in found if key.key_id not in gone})


@dataclass(frozen=True, slots=True)
class SyncTools:
    """With what a mirror is synced."""

    source: TreeSource
    destination: Destination
    trusted: Trusted
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    told: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Claim:
    """What the source says of a domain, with a signature that holds."""

    domain: str
    export_id: str
    statement: Freshness | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One domain of the tree.

    Attributes:
        own: the list of its files with its signatures, by path.
        key: that signed it.
        held: files that can be linked, by digest.
        missing: what has to be brought.
    """

    claim: Claim
    tree: TreeList
    own: Mapping[str, bytes]
    key: PublicKey
    held: Mapping[str, Path] = field(default_factory=dict)
    missing: tuple[Entry, ...] = ()

    @property
    def fetched(self) -> Sequence[Entry]:
        """What the source is asked for."""
        return split(self.tree, self.missing)[0]


@dataclass(frozen=True, slots=True)
class Work:
    """One side's tree under way."""

    side: Side
    export_id: str
    wish: Wish
    tools: SyncTools
