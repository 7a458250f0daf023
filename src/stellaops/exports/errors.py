"""The errors of exports, with the codes that scripts and alerts know."""

from __future__ import annotations

from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    NotTrusted,
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
    """The publish gate found the evidence unfit for an export."""

    code = "ERR_EXPORT_GATE"
    hint = "Finish the import that the message names, then submit the run again."


class VerifyFailed(NotTrusted):
    """The bundle just built did not pass its own verification or smoke scan; it was not published."""

    code = "ERR_EXPORT_VERIFY"
    hint = "Nothing was published. Run again; if it stays, check the store with `stella concelier status`."


class SmokeUnavailable(MissingPrerequisite):
    """The profile demands a smoke scan and there is no Trivy."""

    code = "ERR_EXPORT_SMOKE_UNAVAILABLE"
    hint = "Install Trivy, or set smoke: ifAvailable in the profile."


class SigningFailed(DependencyFailed):
    """The tenant's key could not sign; nothing is published unsigned."""

    code = "ERR_EXPORT_SIGNING"
    hint = "Check the key with `stella authority key list`, then submit the run again."


class NoRoom(MissingPrerequisite):
    """The disk of the data directory is full or cannot be written."""

    code = "ERR_EXPORT_NO_ROOM"
    hint = "Free room or give write permission, then submit the run again; nothing half written was left."


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
}
"""The short word of a failed run's `errorCode` by the error's code; anything else is `adapter` or `internal`."""


def error_code(error: BaseException) -> str:
    """The run's `errorCode` for an error."""
    if isinstance(error, StellaError):
        return ERROR_CODES.get(error.code, "adapter")
    return "internal"
