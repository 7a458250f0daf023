"""Take policy snapshots and find them again."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from stellaops.core.digests import PREFIX, Digest
from stellaops.core.errors import NotFound
from stellaops.findings.ports import Policies
from stellaops.policy.overlay import Rule
from stellaops.policy.snapshot import EMPTY, Snapshot, take

LATEST = "latest"
NONE = "none"


class SnapshotNotFound(NotFound):
    """The tenant has no policy snapshot of this digest."""

    code = "ERR_POLICY_SNAPSHOT_NOT_FOUND"
    hint = "See `stella policy show`; `stella policy snapshot` takes one."


class Taken(Struct, frozen=True):
    """A snapshot with what was left out of it because it has expired."""

    snapshot: Snapshot
    expired: tuple[Rule, ...]


def take_snapshot(tenant: str, policies: Policies, *, at: datetime, keep: bool = True) -> Taken:
    """The rules of a tenant's overlays that are in force at an instant, kept under their digest.

    Raises:
        BadOverlay: two overlays have rules of one id.
    """
    snapshot, expired = take(policies.overlays(tenant), at)
    if keep:
        policies.keep(tenant, snapshot, at)
    return Taken(snapshot, expired)


def find_snapshot(tenant: str, wanted: str, policies: Policies) -> Snapshot:
    """A snapshot by its digest (or a beginning of at least 8 digits), `latest`, or `none` for the empty one.

    `latest` is the empty one too where none was taken.

    Raises:
        SnapshotNotFound: there is none.
    """
    if wanted in (NONE, EMPTY.digest):
        return EMPTY
    taken = policies.snapshots(tenant)
    if wanted == LATEST:
        return _load(tenant, taken[-1].digest, policies) if taken else EMPTY
    digits = wanted.removeprefix(PREFIX)
    found = [each.digest for each in taken if len(digits) >= 8 and each.digest.startswith(PREFIX + digits)]
    if len(found) != 1:
        raise SnapshotNotFound(f"tenant {tenant} has no policy snapshot {wanted[:80]!r}")
    return _load(tenant, found[0], policies)


def _load(tenant: str, digest: Digest, policies: Policies) -> Snapshot:
    snapshot = policies.snapshot(tenant, digest)
    if snapshot is None:
        raise SnapshotNotFound(f"tenant {tenant} has no policy snapshot {digest}")
    return snapshot
