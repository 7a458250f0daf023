"""Submit a run: check it, write its record, and have the queue execute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stellaops.exports.errors import RunQuotaExceeded
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest, check_request
from stellaops.exports.ports import Evidence, Limits, Profiles, Queue, Runs
from stellaops.exports.retention.storage import Storage, demand_submittable
from stellaops.exports.run import Priority, Run
from stellaops.exports.run_export import pending, record_of
from stellaops.findings.ports import Policies


@dataclass(frozen=True, slots=True)
class Submission:
    """What someone asks to be run.

    Attributes:
        profile: a name; its newest revision is run, whatever becomes of the profile afterwards.
        selectors: over those of the profile, name by name.
        snapshot: the sequence to cut; the newest at the time of the plan when None.
        base: of a delta: an export's id, or `latest`.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
        by: who asks: a client's id, a user, or a schedule.
        traceparent: what it goes on from, see `Run`.
    """

    tenant: str
    profile: str
    selectors: Mapping[str, Any] = field(default_factory=dict)
    snapshot: int | None = None
    base: str | None = None
    allow_empty: bool = False
    policy_snapshot: str | None = None
    priority: Priority = Priority.NORMAL
    by: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class SubmitTools:
    """What submissions work with.

    Attributes:
        new_id: makes ids of runs, which sort by time and cannot be guessed.
    """

    runs: Runs
    profiles: Profiles
    evidence: Evidence
    policies: Policies
    limits: Limits
    queue: Queue
    new_id: Callable[[], str]
    now: Callable[[], datetime]
    storage: Storage


def submit_run(submission: Submission, tools: SubmitTools) -> Run:
    """Store a pending run and enqueue it. Where the process dies in between, a worker finds the record and enqueues it.

    Raises:
        ProfileNotFound, InvalidSelector, SnapshotUnknown, PolicySnapshotRequired, PolicyNotApplied: see there.
        RunQuotaExceeded: the tenant's queue is full, or its submissions are closed.
    """
    request = RunRequest(
        tools.new_id(),
        submission.tenant,
        find_profile(submission.tenant, submission.profile, tools.profiles),
        submission.selectors,
        sequence=submission.snapshot,
        allow_empty=submission.allow_empty,
        policy_snapshot=submission.policy_snapshot,
        base=submission.base,
    )
    return submit_request(
        request,
        tools,
        priority=submission.priority,
        by=submission.by,
        traceparent=submission.traceparent,
    )


def submit_request(
    request: RunRequest, tools: SubmitTools, *, priority: Priority, by: str, traceparent: str = ""
) -> Run:
    """The same for a request that was made from something else, such as another run.

    Raises:
        InvalidSelector, SnapshotUnknown, PolicySnapshotRequired, PolicyNotApplied, RunQuotaExceeded: see there.
    """
    check_request(request, tools.evidence, tools.policies)
    limits = tools.limits.limits(request.tenant)
    if limits.max_active_runs == 0:
        raise RunQuotaExceeded(
            f"submissions of tenant {request.tenant} are closed: max_active_runs is 0", limit=0
        )
    demand_submittable(request.tenant, tools.limits, tools.storage)
    run = record_of(request, tools.now(), by=by, priority=priority, traceparent=traceparent)
    stored = tools.runs.add(run, [pending(run)], most_pending=limits.max_queued_runs)
    tools.queue.enqueue(stored)
    return stored
