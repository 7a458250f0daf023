"""Policy snapshots: the rules in force at one instant, immutable and named by their digest.

What has expired is left out when the snapshot is taken. So whatever is worked out with a snapshot stays the same,
whenever that is done; and two snapshots of equal rules are one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from stellaops.core import canonical_json
from stellaops.core.digests import Digest, sha256
from stellaops.core.errors import InvalidInput
from stellaops.policy.overlay import BadOverlay, Overlay, Rule, expired

SCHEMA = "https://stellaops.io/policy/snapshot/v1"


class BadSnapshot(InvalidInput):
    """Bytes that are no policy snapshot."""

    code = "ERR_POLICY_SNAPSHOT"
    hint = "Take the snapshot again with `stella policy snapshot`."


class Snapshot(Struct, frozen=True, rename="camel"):
    """The rules in force, in the order of their ids."""

    rules: tuple[Rule, ...] = ()
    schema: str = SCHEMA

    @property
    def body(self) -> bytes:
        """Canonical JSON."""
        return canonical_json.encode(msgspec.to_builtins(self))

    @property
    def digest(self) -> Digest:
        """What names it."""
        return sha256(self.body)


EMPTY = Snapshot()
"""The snapshot of a tenant without any rule."""


def take(overlays: Iterable[Overlay], at: datetime) -> tuple[Snapshot, tuple[Rule, ...]]:
    """The rules of all overlays that are in force at an instant, and those that have expired.

    Raises:
        BadOverlay: two overlays have rules of one id.
    """
    overlays = list(overlays)
    problems = duplicates(overlays)
    if problems:
        raise BadOverlay(problems[0], details=problems)
    rules = sorted((rule for overlay in overlays for rule in overlay.rules), key=lambda rule: rule.id)
    gone = tuple(rule for rule in rules if expired(rule, at))
    return Snapshot(tuple(rule for rule in rules if not expired(rule, at))), gone


def duplicates(overlays: Iterable[Overlay]) -> list[str]:
    """The ids that rules of several overlays have, in words."""
    first: dict[str, str] = {}
    problems: list[str] = []
    for overlay in sorted(overlays, key=lambda each: each.id):
        for rule in overlay.rules:
            if rule.id in first:
                problems.append(
                    f"the id {rule.id!r} stands in the overlays {first[rule.id]} and {overlay.id}"
                )
            first.setdefault(rule.id, overlay.id)
    return problems


def parse(body: bytes) -> Snapshot:
    """The snapshot of canonical JSON.

    Raises:
        BadSnapshot: any other bytes.
    """
    try:
        snapshot = msgspec.convert(canonical_json.decode(body), Snapshot)
    except (canonical_json.NotCanonical, msgspec.ValidationError) as error:
        raise BadSnapshot(f"no policy snapshot: {error}") from error
    # What is left out here or stands beside the rules would not come back.
    if snapshot.schema != SCHEMA or snapshot.body != body:
        raise BadSnapshot(f"no policy snapshot of {SCHEMA}")
    return snapshot
