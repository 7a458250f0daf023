"""The errors of exports, with the codes that scripts and alerts know."""

from __future__ import annotations

from collections.abc import Iterable

from stellaops.core.errors import (
    Conflict,
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    NotTrusted,
    QuotaExceeded,
    StellaError,
)


class ProfileNotFound(NotFound):
    """No profile of this name for the tenant."""

    code = "ERR_EXPORT_PROFILE_NOT_FOUND"
    hint = "See `stella export profile list`."


class RunNotFound(NotFound):
    """No run of this id for the tenant."""

    code = "ERR_EXPORT_RUN_NOT_FOUND"
    hint = "See `stella export run list`."


class InvalidProfile(InvalidInput):
    """A profile that breaks the rules; all that is wrong is listed."""

    code = "ERR_EXPORT_INVALID_PROFILE"
    hint = "Correct what is listed; docs/use/profiles.md describes every field."


class InvalidSelector(InvalidInput):
    """A selector that is not known or not well formed; all that is wrong is listed."""

    code = "ERR_EXPORT_INVALID_SELECTOR"
    hint = "Correct what is listed; docs/use/profiles.md describes every selector."


class EmptyExport(InvalidInput):
    """Nothing was selected."""

    code = "ERR_EXPORT_EMPTY"
    hint = "Import evidence, widen the selectors, or pass --allow-empty when an empty export is meant."


class UnsupportedSchema(InvalidInput):
    """A Trivy schema that is not written here."""

    code = "ERR_EXPORT_UNSUPPORTED_SCHEMA"
    hint = "Pin schemaVersion: 2 in the profile, or 1 in one of trivy:java-db."


class GateRefused(DependencyFailed):
    """The publish gate found the evidence, or what was made of it, unfit for an export."""

    code = "ERR_EXPORT_GATE"
    hint = "Set right what the message names, then submit the run again."


class RunChanged(Conflict):
    """The record of a run is not the one that a change was made from: someone else has changed it meanwhile."""

    code = "ERR_EXPORT_RUN_CHANGED"
    hint = "Look at the run with `stella export run show`, then ask again if it still makes sense."


class RunState(Conflict):
    """What was asked for does not fit the state that the run is in."""

    code = "ERR_EXPORT_RUN_STATE"
    hint = "Look at the run with `stella export run show`."


class RunQuotaExceeded(QuotaExceeded):
    """The tenant may submit no run at the moment: its queue is full, submissions closed, or its storage used up.

    Args:
        limit: how many runs may wait; of storage, how many bytes may be kept.
        remaining: how many more could be.
        reset: seconds after which a retry makes sense.
    """

    code = "ERR_EXPORT_QUOTA"
    hint = "Wait until runs have ended, or have the tenant's limits raised."

    def __init__(
        self, what: str, *, limit: int, remaining: int = 0, reset: int = 60, hint: str | None = None
    ) -> None:
        super().__init__(what, hint=hint)
        self.limit, self.remaining, self.reset = limit, remaining, reset


class NoStagingRoom(MissingPrerequisite):
    """The disk that bundles are built on has less room than the run will take; nothing of it was built."""

    code = "ERR_EXPORT_STAGING_ROOM"
    hint = "Free room on the disk that the message names, or have `dataDir` on a larger one; then submit the run again."


class StagingTaken(DependencyFailed):
    """There would be room for the run, but others that are being built on the same disk have it; it is tried again."""

    code = "ERR_EXPORT_STAGING_TAKEN"
    hint = "Wait until other runs have ended, or have fewer at once: `worker.slots`."


class RunTimeout(QuotaExceeded):
    """The run took longer than its profile allows."""

    code = "ERR_EXPORT_TIMEOUT"
    hint = "Submit the run again when there is less to do, or raise the profile's time limit."


class DistributionFailed(DependencyFailed):
    """A target did not take a bundle, or does not have it as it was brought; the bundle is kept and can be downloaded.

    Args:
        retry_after: seconds after which the target asked to be tried again.
        again: whether the same attempt may work a moment later; False where somebody has to act first.
    """

    code = "ERR_EXPORT_DISTRIBUTION"
    hint = "Check the target that the message names, then run `stella export distribute`."

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        again: bool = True,
        hint: str | None = None,
        details: Iterable[str] = (),
    ) -> None:
        super().__init__(what, hint=hint, details=details)
        self.retry_after, self.again = retry_after, again


class TargetIsNewer(DistributionFailed):
    """The moving names of a target stand for something newer than what was brought; they stay."""

    code = "ERR_EXPORT_TARGET_NEWER"
    hint = "Nothing has to be done: the bundle is there, and the newer one stays the latest."


class TargetNotFound(NotFound):
    """There is no such target for the tenant."""

    code = "ERR_EXPORT_TARGET_NOT_FOUND"
    hint = "See the targets with `stella export target list`."


class BaseMissing(MissingPrerequisite):
    """What a delta is to be based on is not kept any more."""

    code = "ERR_EXPORT_BASE_MISSING"
    hint = "Run the full profile, `stella export run submit --profile mirror:full`; deltas go on from there."


class SnapshotPruned(MissingPrerequisite):
    """The snapshot of a run is below what retention has kept of the evidence."""

    code = "ERR_EXPORT_SNAPSHOT_PRUNED"
    hint = "Replay the run with --latest: the same recipe on the newest evidence."


class BundleGone(MissingPrerequisite):
    """The run's bundle is not kept any more, or the run made none."""

    code = "ERR_EXPORT_BUNDLE_GONE"
    hint = "Replay the run with `stella export run replay`: the same snapshot gives the same export."


class RetentionBusy(DependencyFailed):
    """Another process decides which bundles are removed."""

    code = "ERR_EXPORT_RETENTION_BUSY"
    hint = "Wait until the other pass has ended, then run the command again."


class RunKept(Conflict):
    """A run is pinned or under a legal hold, another run builds on it, or a target has its bundle: it stays."""

    code = "ERR_EXPORT_RUN_KEPT"
    hint = (
        "Take a pin away with `stella export run unpin`, a legal hold with its `--legal-hold`, where that is right;"
        " delete or cancel first what builds on it."
    )


class ArtefactMissing(NotFound):
    """A bundle has no file of this path."""

    code = "ERR_EXPORT_ARTEFACT_MISSING"
    hint = "See the run's files with `stella export run show`."


class ArchiveGone(DependencyFailed):
    """An archive that was made for a run is not in the store of artefacts any more; another attempt makes it again."""

    code = "ERR_EXPORT_ARCHIVE_GONE"
    hint = "Submit the run again; if it stays, see what removes files from the store of artefacts."


class AdapterFailed(StellaError):
    """A builder failed in a way that it does not know."""

    code = "ERR_EXPORT_ADAPTER"
    hint = "Run again with --trace and report the trace; `stella doctor` checks the store."


class VerifyFailed(NotTrusted):
    """The bundle just built did not pass its own verification or smoke scan; it was not published."""

    code = "ERR_EXPORT_VERIFY"
    hint = "Nothing was published. Run again; if it stays, check the store with `stella concelier status`."


class SmokeUnavailable(MissingPrerequisite):
    """The profile demands a smoke scan and there is no Trivy."""

    code = "ERR_EXPORT_SMOKE_UNAVAILABLE"
    hint = "Install Trivy, or set smoke: ifAvailable in the profile."


class SigningFailed(DependencyFailed):
    """The tenant's key could not sign; nothing is published unsigned.

    Args:
        again: whether it may be tried again without anybody's doing; not with a PIN that was refused.
    """

    code = "ERR_EXPORT_SIGNING"
    hint = "Check the key with `stella authority key test`, then run `stella export run replay`."

    def __init__(self, what: str, *, hint: str | None = None, again: bool = True) -> None:
        super().__init__(what, hint=hint)
        self.again = again


class SnapshotUnknown(InvalidInput):
    """A sequence beyond the newest."""

    code = "ERR_EXPORT_SNAPSHOT_UNKNOWN"
    hint = "See the current sequence with `stella concelier status`."


class PolicySnapshotRequired(InvalidInput):
    """The profile demands a policy snapshot, and the tenant has taken none."""

    code = "ERR_EXPORT_POLICY_SNAPSHOT_REQUIRED"
    hint = "Take one with `stella policy snapshot`, or name one with --policy-snapshot."


class PolicyNotApplied(InvalidInput):
    """A policy snapshot is named for a profile that applies none."""

    code = "ERR_EXPORT_POLICY_NOT_APPLIED"
    hint = "Leave --policy-snapshot out, or set policySnapshotMode: optional in the profile."


ERROR_CODES: dict[str, str] = {
    EmptyExport.code: "empty",
    PolicySnapshotRequired.code: "policy",
    PolicyNotApplied.code: "policy",
    UnsupportedSchema.code: "unsupported_schema",
    GateRefused.code: "gate",
    VerifyFailed.code: "verify",
    SigningFailed.code: "signing",
    RunQuotaExceeded.code: "quota",
    RunTimeout.code: "timeout",
    DistributionFailed.code: "distribution",
    BaseMissing.code: "base_missing",
    SnapshotPruned.code: "base_missing",
}
"""The short word of a failed run's `errorCode` by the error's code; anything else is `adapter` or `internal`."""


def error_code(error: BaseException) -> str:
    """The run's `errorCode` for an error."""
    if isinstance(error, StellaError):
        return ERROR_CODES.get(error.code, "adapter")
    return "internal"
