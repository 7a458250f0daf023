"""One root of errors, a few categories, and a code and a hint for each concrete error.

The category decides the exit code, the HTTP status and whether a retry is worth it, at the edges only. A concrete
error class sets `code` (stable, `ERR_…`) and `hint` (what to do now, one sentence); `what` names the input and the
reason. The error reference under `docs/reference/` is generated from these classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class StellaError(Exception):
    """Root of every error that the product raises on purpose.

    Args:
        what: a sentence that names the input and the reason.
        hint: what to do now, where the class's own hint can be made more exact.
        details: all problems of one input, when there are several.
    """

    code: ClassVar[str] = "ERR_INTERNAL"
    hint: ClassVar[str] = "Run again with --trace and report the trace."

    def __init__(self, what: str, *, hint: str | None = None, details: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.advice = hint if hint is not None else type(self).hint
        self.details = tuple(details)


class InvalidInput(StellaError):
    """What was given cannot be used: wrong form, wrong value, not known."""

    code = "ERR_INVALID_INPUT"
    hint = "Correct the input that the message names."


class NotFound(StellaError):
    """Something named does not exist (or belongs to another tenant)."""

    code = "ERR_NOT_FOUND"
    hint = "List what exists with the matching `list` or `status` command."


class NotPermitted(StellaError):
    """The caller is not known or may not do this."""

    code = "ERR_NOT_PERMITTED"
    hint = "Use credentials that have the scope the message names."


class NotAuthenticated(NotPermitted):
    """The caller gave no credentials, or none that hold."""

    code = "ERR_NOT_AUTHENTICATED"
    hint = "Log in with `stella authority login`, or send a valid access token."


class QuotaExceeded(StellaError):
    """A limit was reached; later it may work."""

    code = "ERR_QUOTA_EXCEEDED"
    hint = "Wait, or have the limit raised."


class MissingPrerequisite(StellaError):
    """Something needed is not there: a program, a base, a key, a disk with room."""

    code = "ERR_MISSING_PREREQUISITE"
    hint = "Provide what the message names, then run the command again."


class OutputUnwritable(MissingPrerequisite):
    """Standard output is closed, or what it goes to takes no more."""

    code = "ERR_OUTPUT_UNWRITABLE"
    hint = "Free room where the output goes, or send it elsewhere (`>/dev/null` for nowhere); what was done stands."


class NotTrusted(StellaError):
    """A signature, a digest or a rule of the bundle does not hold."""

    code = "ERR_NOT_TRUSTED"
    hint = "Do not use this bundle; fetch it again from its source."


class DependencyFailed(StellaError):
    """Another system failed in a way that a later attempt may not meet."""

    code = "ERR_DEPENDENCY_FAILED"
    hint = "Try again; if it stays, look at the system that the message names."


class AlreadyExists(InvalidInput):
    """A name is taken."""

    code = "ERR_ALREADY_EXISTS"
    hint = "Choose another name, or change the existing one."


class Conflict(InvalidInput):
    """What was asked for does not fit the state that the thing is in."""

    code = "ERR_CONFLICT"
    hint = "Look at its state, then ask again."
