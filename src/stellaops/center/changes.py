"""What the audit log says of changes of runs, profiles and evidence, whoever makes them: a command or a request."""

from __future__ import annotations

from collections.abc import Sequence

from stellaops.authority.audit import Draft, digest_of
from stellaops.bootstrap import Local
from stellaops.center.wire import Wire
from stellaops.core.digests import Digest
from stellaops.exports.ports import Queue, RunFilter
from stellaops.exports.profile import Profile
from stellaops.exports.retention.report import Report
from stellaops.exports.retention.rules import Pin
from stellaops.exports.run import Run, RunStatus

_FRACTIONS = ("durations", "checks", "targets")
"""Of a run: durations are fractions, which no digest is made of."""
_COUNTS = ("added", "changed", "withdrawn", "vanished", "quarantined", "sequence")


def run_submitted(told: Draft, made: Run) -> None:
    """A run was asked for."""
    told.target, told.after = f"run/{made.id}", _digest(made)
    told.details |= {
        "profile": made.profile,
        "revision": made.profile_revision,
        "priority": made.priority.value,
    }
    if made.replay_of:
        told.details["replayOf"] = made.replay_of


def run_changed(told: Draft, before: Run, after: Run, reason: str = "") -> None:
    """A run is another one than before, or is as it was."""
    told.target, told.reason = f"run/{after.id}", reason
    told.before, told.after = _digest(before), _digest(after)
    told.details["profile"] = after.profile
    told.none = before.version == after.version


def run_approved(told: Draft, before: Run, after: Run, reason: str) -> None:
    """A held run goes on."""
    run_changed(told, before, after, reason)
    told.details["held"] = list(before.held)


def run_distributed(told: Draft, before: Run, after: Run) -> None:
    """A bundle was brought to its targets again."""
    run_changed(told, before, after)
    told.details["targets"] = {str(each["target"]): str(each["status"]) for each in after.targets}


def run_deleted(told: Draft, run: Run, removed: Sequence[str], *, dry_run: bool) -> None:
    """A run is gone, or would be."""
    told.target, told.before, told.none = f"run/{run.id}", _digest(run), dry_run
    told.details = {"removed": list(removed), "profile": run.profile}


def profile_changed(
    told: Draft, local: Local, before: Profile | None, after: Profile | None, reason: str
) -> None:
    """A profile was made, changed or removed; with what its last run made, as the size that is to be expected."""
    found = after or before
    assert found is not None  # noqa: S101 - one of the two is there
    told.target, told.reason = f"profile/{found.name}", reason
    told.before = None if before is None else digest_of(before.to_wire())
    told.after = None if after is None else digest_of(after.to_wire())
    told.details = {
        "tenants": [found.tenant],
        "expectedBytes": expected_bytes(local, found.tenant, found.name),
    }
    if after is not None:
        told.details["revision"] = after.revision
    told.none = before is not None and after is not None and before.revision == after.revision


def expected_bytes(local: Local, tenant: str, name: str) -> int | None:
    """What the last run of a profile that succeeded made."""
    last = local.runs.list(tenant, RunFilter(name, RunStatus.SUCCEEDED.value), limit=1)
    return last[0].bytes if last else None


def run_pinned(told: Draft, pin: Pin, reason: str) -> None:
    """A run's bundle stays, or need not stay any more."""
    told.target, told.reason, told.details = f"run/{pin.run_id}", reason, {"kind": pin.kind.value}


def retention_run(told: Draft, report: Report) -> None:
    """A pass of retention has removed what is over, or only said what it would."""
    told.target, told.none = "retention", report.dry
    told.details = {"archives": len(report.archives), "failures": len(report.failures)}


def switch_queue(told: Draft, queue: Queue, *, paused: bool) -> None:
    """Pause or resume the queue of runs."""
    before = queue.status().paused
    (queue.pause if paused else queue.resume)()
    told.target, told.none, told.details = "queue", before is paused, {"paused": paused}


def imported(told: Draft, report: Wire) -> Wire:
    """An import's report, whose counts are noted."""
    told.details |= {name: report[name] for name in _COUNTS}
    return report


def _digest(run: Run) -> Digest | None:
    return digest_of({name: value for name, value in run.to_wire().items() if name not in _FRACTIONS})
