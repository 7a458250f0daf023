"""The audit log: who changed what, from where, and what it was before and after. Records are only ever added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stellaops.core import canonical_json, timestamps
from stellaops.core.digests import Digest, sha256


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed.

    Attributes:
        action: what happened: `client.rotated`, `tenant.changed`, `profile.changed`, `run.submitted` and so on.
        target: what it happened to: its kind and its name, as `client/ci`, `profile/nightly`, `run/run-…`.
        before: digest of it before, as `digest_of` makes it; None where it was not.
        after: digest of it afterwards; None where it is gone.
        reason: what the one who did it said; empty for nothing.
        details: a few facts more, none of them secret: what scripts read, in JSON's types without fractions.
    """

    action: str
    target: str
    before: Digest | None = None
    after: Digest | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """What will be said of a change: whoever makes it fills it in meanwhile.

    Attributes:
        target, reason, before, after, details: see `Change`.
        none: nothing was changed, and nothing is written.
    """

    target: str = ""
    reason: str = ""
    before: Digest | None = None
    after: Digest | None = None
    details: dict[str, Any] = field(default_factory=dict)
    none: bool = False

    def take(self, change: Change) -> None:
        """Say what a change says that was made in one step."""
        self.target, self.reason = change.target, change.reason
        self.before, self.after = change.before, change.after
        self.details.update(change.details)

    def final(self, action: str) -> Change:
        """The change under its action's name."""
        return Change(action, self.target, self.before, self.after, self.reason, self.details)


Noting = Callable[[str, str], AbstractContextManager[Draft]]
"""Says what is done within: by an action's name and a target, which may be empty until it is known."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change, by whom, for whom, from where and when.

    Attributes:
        tenant: whose things were changed; empty for the installation's own, such as tenants and their limits.
        actor: a client's id; `local:` and the user's name for the command line on a data directory.
        origin: the caller's address; `local` for the command line on a data directory.
        trace_id: of the request; empty where there was none.
        outcome: `ok`, or the code of the error that the change ended with.
        id: names the record, and orders records by time; empty until it is stored.
    """

    at: datetime
    tenant: str
    actor: str
    origin: str
    change: Change
    trace_id: str = ""
    outcome: str = "ok"
    id: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The record as scripts read it."""
        return {
            "id": self.id,
            "at": timestamps.render(self.at),
            "tenant": self.tenant or None,
            "actor": self.actor,
            "origin": self.origin,
            "action": self.change.action,
            "target": self.change.target,
            "before": self.change.before,
            "after": self.change.after,
            "reason": self.change.reason or None,
            "details": dict(self.change.details),
            "outcome": self.outcome,
            "traceId": self.trace_id or None,
        }


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records; None restricts nothing.

    Attributes:
        action: exactly this action, or with a dot at its end all that begin so: `client.`.
    """

    action: str | None = None
    actor: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = AuditFilter()


def digest_of(wire: Mapping[str, Any] | None) -> Digest | None:
    """The digest of what scripts read of a thing; None for nothing.

    Raises:
        NotCanonical: it holds fractions or larger integers than JSON carries exactly.
    """
    return None if wire is None else sha256(canonical_json.encode(wire))
