"""Exit codes of commands, by the category of the error that ended them."""

from __future__ import annotations

from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    NotPermitted,
    NotTrusted,
    QuotaExceeded,
    StellaError,
)

EXIT_CODES: tuple[tuple[type[StellaError], int, str], ...] = (
    (InvalidInput, 2, "bad input"),
    (NotPermitted, 3, "not authenticated or not allowed"),
    (NotFound, 4, "not found"),
    (MissingPrerequisite, 5, "something it needs is missing"),
    (NotTrusted, 6, "not trusted, or verification failed"),
    (QuotaExceeded, 10, "worth retrying: a quota"),
    (DependencyFailed, 10, "worth retrying: another system"),
)
UNEXPECTED = 1
INTERRUPTED = 130


def exit_code(error: StellaError | type[StellaError]) -> int:
    """The exit code of an error, by its category."""
    kind = error if isinstance(error, type) else type(error)
    return next((code for category, code, _ in EXIT_CODES if issubclass(kind, category)), UNEXPECTED)
