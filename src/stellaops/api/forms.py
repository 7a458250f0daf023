"""What the routes of exports take and give, for the OpenAPI document and for checking what comes in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from stellaops.exports.run import Priority, RunStatus

Sha256 = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
Text = Annotated[str, msgspec.Meta(max_length=200)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"\S")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class Form(msgspec.Struct, frozen=True, rename="camel"):
    """Of what goes out."""


class Asking(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of what comes in: an unknown field is an error."""


# Profiles


class ProfileChange(Asking, frozen=True):
    """What changes in a profile: the whole document, or merge patches (RFC 7396) of its specification and labels."""

    change_reason: Reason
    profile: dict[str, Any] | None = None
    spec: dict[str, Any] | None = None
    labels: dict[str, str | None] | None = None


class ProfileClone(Asking, frozen=True):
    """The name of the copy."""

    name: Name


class ProfileMetadata(Form, frozen=True):
    """Name, tenant, revision and labels of a profile."""

    name: str
    tenant: str = ""
    revision: str = ""
    labels: dict[str, str] = {}


class ProfileForm(Form, frozen=True):
    """A profile; docs/use/profiles.md describes `spec`."""

    api_version: str
    kind: str
    metadata: ProfileMetadata
    spec: dict[str, Any]


class ProfileRevision(Form, frozen=True):
    """One revision: who made it, when and why."""

    revision: str
    created_at: datetime | None
    created_by: str | None
    reason: str | None
    profile: ProfileForm


class ProfileChecked(Form, frozen=True):
    """A profile that could be stored; `expectedBytes` is the size of the newest bundle of this name."""

    profile: str
    kind: str
    exists: bool
    expected_bytes: int | None


class ProfileRemoved(Form, frozen=True):
    """A profile that was removed, or would be."""

    profile: str
    revision: str
    removed: bool


# Runs


class RunSubmission(Asking, frozen=True):
    """A run that is asked for.

    `selectors` go over those of the profile; `snapshot` is the sequence to cut, the newest if left out; `base` is an
    export's id or `latest`.
    """

    profile: Name
    selectors: dict[str, Any] = {}
    snapshot: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    base: Text | None = None
    priority: Priority = Priority.NORMAL
    allow_empty: bool = False
    policy_snapshot: Text | None = None


class RunReplay(Asking, frozen=True):
    """How to do it again.

    `latest` cuts the newest snapshot instead of the run's; `profile` takes another recipe, such as a corrected clone.
    """

    latest: bool = False
    profile: Name | None = None
    allow_empty: bool = False
    priority: Priority | None = None


class RunApproval(Asking, frozen=True):
    """Why a held run may go on."""

    reason: Reason


class RunCancellation(Asking, frozen=True):
    """Why a run is stopped."""

    reason: Text = ""


class RunDistribution(Asking, frozen=True):
    """To which target; to all of the profile's if left out."""

    target: Text | None = None


class RunSnapshot(Form, frozen=True):
    """The state of the evidence that was cut: its sequence, and the digest of what was selected."""

    sequence: int | None
    digest: str | None


class ArtifactForm(Form, frozen=True):
    """A file of the bundle."""

    name: str
    path: str
    sha256: Sha256
    bytes: int


class RunForm(Form, frozen=True):
    """A run."""

    run_id: str
    export_id: str | None
    archive_id: str | None
    status: RunStatus
    error_code: str | None
    error: str | None
    degraded: bool
    targets: list[dict[str, Any]]
    tenant: str
    profile: str
    profile_revision: str
    kind: str
    selectors: dict[str, Any]
    snapshot: RunSnapshot
    policy_snapshot: str | None
    rerun_hash: str | None
    artifacts: list[ArtifactForm]
    signatures: list[str]
    durations: dict[str, float]
    warnings: list[str]
    checks: list[dict[str, Any]]
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replay_of: str | None
    priority: Priority
    submitted_by: str | None
    attempt: int
    waiting: str | None
    held: list[str]
    approved_by: str | None
    shared_from: str | None
    expired: str | None
    removed_at: datetime | None


class RunsOfDay(Form, frozen=True):
    """Runs that were submitted on a day (UTC) and have a state by now."""

    day: str
    status: RunStatus
    runs: int


class RunRemoved(Form, frozen=True):
    """What of a run was removed, or would be."""

    run_id: str
    removed: list[str]
    dry_run: bool


class BundleFile(Form, frozen=True):
    """A file of a bundle; `sha256` is null of signatures, which may be renewed."""

    path: str
    bytes: int
    sha256: str | None


class CheckForm(Form, frozen=True):
    """One check of a verification."""

    id: str
    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str


class ReportForm(Form, frozen=True):
    """What a verification found."""

    verdict: Literal["ok", "failed"]
    export_id: str | None
    rerun_hash: str | None
    checks: list[CheckForm]


class PlanForm(Form, frozen=True):
    """What a run would select."""

    profile: str
    kind: str
    selectors: dict[str, Any]
    snapshot: RunSnapshot
    generated_at: datetime
    policy_snapshot: str | None
    records: int
    sources: list[str]


# The installation, as a tenant sees it


class QueueForm(Form, frozen=True):
    """What waits and what runs, by tenant: the caller's own, and all of them for an operator."""

    paused: bool
    ready: dict[str, int]
    running: dict[str, int]


class WorkerForm(Form, frozen=True):
    """A worker process, with the runs of the caller's tenant."""

    id: str
    state: str
    slots: int
    seen_at: datetime
    runs: list[str]


class AuditForm(Form, frozen=True):
    """One change: who, what, from where, and what it was before and after."""

    id: str
    at: datetime
    tenant: str | None
    actor: str
    origin: str
    action: str
    target: str
    before: str | None
    after: str | None
    reason: str | None
    details: dict[str, Any]
    outcome: str
    trace_id: str | None


class KeyForm(Form, frozen=True):
    """A signing key's public part."""

    key_id: str
    state: str
    created_at: datetime
    retired_at: datetime | None
    revoked_at: datetime | None
    revocation_reason: str | None
    public_key: str


class LatestForm(Form, frozen=True):
    """What the moving names of a target stand for, for one profile."""

    profile: str
    run_id: str
    sequence: int
    reference: str
    at: datetime


class TargetForm(Form, frozen=True):
    """Where bundles are brought: `http` is the store that downloads come from."""

    name: str
    driver: str
    problem: str | None
    latest: list[LatestForm]


class TargetTest(Form, frozen=True):
    """Whether a target answers: something small was sent, read back and removed."""

    name: str
    status: Literal["ok", "failed"]
    detail: str
    reference: str | None
    seconds: float | None
    remarks: list[str]
    error_code: str | None
    hint: str | None
