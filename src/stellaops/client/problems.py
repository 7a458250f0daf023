"""Problem documents (RFC 9457) turned back into the errors that they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stellaops.client.errors import ServerAnswerUnusable
from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotTrusted,
    QuotaExceeded,
    StellaError,
)

CATEGORIES: tuple[type[StellaError], ...] = (
    InvalidInput, NotAuthenticated, NotPermitted, NotFound, MissingPrerequisite, NotTrusted, QuotaExceeded,
    DependencyFailed,
)  # fmt: skip
"""What decides the exit code, the more exact ones first."""

_BY_STATUS: Mapping[int, type[StellaError]] = {
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    410: MissingPrerequisite,
    422: NotTrusted,
    429: QuotaExceeded,
    502: DependencyFailed,
    503: DependencyFailed,
    504: DependencyFailed,
    507: MissingPrerequisite,
}
"""For codes that this release does not know."""


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    hint: str | None = None
    details: tuple[str, ...] = ()


def error_of(status: int, body: bytes, where: str) -> StellaError:
    """The error that an answer tells of.

    Args:
        where: what was asked, for an answer that tells nothing.
    """
    try:
        found = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status in (502, 503, 504):
            return DependencyFailed(f"{where}: the server answers {status}")
        return ServerAnswerUnusable(f"{where}: the server answers {status} and no problem document")
    return told(found.code, found.detail, found.hint, found.details, status)


def told(
    code: str, what: str, hint: str | None = None, details: tuple[str, ...] = (), status: int = 500
) -> StellaError:
    """The error of a code, in the category that it has here; by the status where the code is not known."""
    known = known_errors().get(code)
    category = _category(known) if known is not None else _by_status(status)
    if hint is None:
        hint = (known or category).hint
    error = category(what, hint=hint, details=details)
    vars(error)["code"] = code
    return error


def known_errors() -> dict[str, type[StellaError]]:
    """The product's errors by code."""
    return {each.code: each for each in _below(StellaError)}


def _below(kind: type[StellaError]) -> Iterator[type[StellaError]]:
    for each in kind.__subclasses__():
        # A subclass without a code of its own does not stand for the code.
        yield from _below(each)
        if "code" in vars(each):
            yield each


def _category(kind: type[StellaError]) -> type[StellaError]:
    return next((each for each in CATEGORIES if issubclass(kind, each)), StellaError)


def _by_status(status: int) -> type[StellaError]:
    return _BY_STATUS.get(status, InvalidInput if 400 <= status < 500 else StellaError)


_FAILED_RUNS: Mapping[str, str] = {"adapter": "ERR_EXPORT_ADAPTER", "internal": "ERR_INTERNAL"}


def error_of_run(run: Mapping[str, Any], words: Mapping[str, str]) -> StellaError | None:
    """The error that the end of a run is to whoever waited for it; None for a run that is no failure.

    Args:
        words: the run's `errorCode` by the code of its error.
    """
    run_id, word = run["runId"], run.get("errorCode")
    match run["status"]:
        case "held":
            reasons = tuple(run.get("held") or ())
            text = f"run {run_id} waits for an approval: {'; '.join(reasons)}"
            return told("ERR_EXPORT_HELD", text, "Approve it with `stella export run approve`.", reasons, 503)
        case "cancelled":
            return told(
                "ERR_EXPORT_CANCELLED", f"run {run_id} was cancelled", "Submit it again if it is wanted."
            )
        case "failed":
            codes = {short: code for code, short in words.items()} | dict(_FAILED_RUNS)
            text = f"run {run_id}: {run.get('error') or 'failed'}"
            return told(codes.get(str(word), "ERR_INTERNAL"), text)
    return None
