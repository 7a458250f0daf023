"""How much tenants keep, and how much they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stellaops.core import sizes
from stellaops.exports.errors import RunQuotaExceeded
from stellaops.exports.ports import Limits

_HINT = (
    "Free storage with `stella export retention run` or `stella export run delete`,"
    " or raise the bound with `stella authority tenant set NAME --max-storage`."
)


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that a tenant has at a place: kept bundles of a profile, each counted once.

    Attributes:
        store: `artefacts`, or a target that bundles were brought to.
        bundles: how many they are.
    """

    tenant: str
    profile: str
    kind: str
    store: str
    bytes: int
    bundles: int

    def to_wire(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "store": self.store,
            "profile": self.profile,
            "kind": self.kind,
            "bytes": self.bytes,
            "bundles": self.bundles,
        }


class Storage(Protocol):
    """What is kept, by the records of runs."""

    def stored(self, tenant: str | None = None) -> Sequence[Stored]:
        """Of a tenant, or of all, by tenant, store and profile."""
        ...


ARTEFACTS = "artefacts"
"""The store that counts for bounds."""


def used(storage: Storage, tenant: str) -> int:
    """The bytes of a tenant's kept bundles."""
    return sum(each.bytes for each in storage.stored(tenant) if each.store == ARTEFACTS)


def demand_submittable(tenant: str, limits: Limits, storage: Storage) -> None:
    """Refuse a run of a tenant whose storage is used up.

    Raises:
        RunQuotaExceeded: see there.
    """
    most = limits.limits(tenant).max_storage
    if most is None:
        return
    taken = used(storage, tenant)
    if taken >= most:
        raise exceeded(f"tenant {tenant} has used up its storage", taken, most)


def exceeded(what: str, taken: int, most: int) -> RunQuotaExceeded:
    """The error of a bound of storage.

    Args:
        what: what would break it, as the beginning of a sentence.
        taken, most: in bytes.
    """
    return RunQuotaExceeded(
        f"{what}; its bundles take {sizes.render(taken)} of {sizes.render(most)}",
        limit=most,
        remaining=max(0, most - taken),
        reset=3600,
        hint=_HINT,
    )
