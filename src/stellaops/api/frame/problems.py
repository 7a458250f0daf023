"""Errors as problem documents (RFC 9457) with the status of their category."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from stellaops.adapters.sql.errors import StoreFull
from stellaops.api.frame.errors import (
    BodyTooLarge,
    HeadersTooMany,
    IdempotencyInProgress,
    MediaTypeUnsupported,
    MethodNotAllowed,
)
from stellaops.api.ranges import RangeNotSatisfiable
from stellaops.core.errors import (
    AlreadyExists,
    Conflict,
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
from stellaops.exports.errors import BundleGone, GateRefused
from stellaops.kit.disk import NoRoom

MEDIA = "application/problem+json"
STATUSES: tuple[tuple[type[StellaError], int], ...] = (
    (BodyTooLarge, 413),
    (MediaTypeUnsupported, 415),
    (MethodNotAllowed, 405),
    (HeadersTooMany, 431),
    (RangeNotSatisfiable, 416),
    (AlreadyExists, 409),
    (Conflict, 409),
    (GateRefused, 409),
    (InvalidInput, 400),
    (NotAuthenticated, 401),
    (NotPermitted, 403),
    (NotFound, 404),
    (BundleGone, 410),
    (NoRoom, 507),
    (StoreFull, 507),
    (MissingPrerequisite, 409),
    (NotTrusted, 422),
    (QuotaExceeded, 429),
    (DependencyFailed, 503),
)
"""The status of every category of errors, and of those that differ from their category; the first that fits."""
_RETRY_AFTER = 5  # seconds, where an error knows no better


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """An error: what happened, its stable code, what to do, everything that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    details: list[str]
    trace_id: str


def status_of(error: StellaError | type[StellaError]) -> int:
    """The status of an error, by its category."""
    kind = error if isinstance(error, type) else type(error)
    return next((status for category, status in STATUSES if issubclass(kind, category)), 500)


class Problematic(Response):
    """The answer to a request that met an error."""

    def __init__(self, error: StellaError, content: bytes, status: int) -> None:
        headers = _headers(error, status) | {"cache-control": "no-store"}
        super().__init__(content, status, headers, MEDIA)
        self.code = error.code


def problem(error: StellaError, trace_id: str) -> Problematic:
    """The answer to a request that met an error."""
    status = status_of(error)
    document = Problem(
        "about:blank", HTTPStatus(status).phrase, status, error.what, error.code, error.advice,
        list(error.details), trace_id,
    )  # fmt: skip
    return Problematic(error, msgspec.json.encode(document), status)


def _headers(error: StellaError, status: int) -> dict[str, str]:
    match error:
        case MethodNotAllowed():
            return {"allow": error.allowed}
        case RangeNotSatisfiable():
            return {"content-range": f"bytes */{error.size}", "accept-ranges": "bytes"}
        case QuotaExceeded():
            return _quota_headers(error)
        case NotPermitted():
            return {"www-authenticate": f'Bearer realm="stella"{_challenge(error)}'}
    later = status == 503 or isinstance(error, IdempotencyInProgress)
    return {"retry-after": str(_RETRY_AFTER)} if later else {}


def _challenge(error: NotPermitted) -> str:
    """What RFC 6750 calls it; nothing where no token was sent."""
    if not isinstance(error, NotAuthenticated):
        return ', error="insufficient_scope"'
    return "" if error.code == NotAuthenticated.code else ', error="invalid_token"'


def _quota_headers(error: QuotaExceeded) -> dict[str, str]:
    """Limit, what remains and seconds until more does, as far as the error knows them."""
    reset = getattr(error, "reset", None)
    told = {
        "x-stella-quota-limit": getattr(error, "limit", None),
        "x-stella-quota-remaining": getattr(error, "remaining", None),
        "x-stella-quota-reset": reset,
    }
    wait = {"retry-after": str(max(1, int(reset)) if reset is not None else _RETRY_AFTER)}
    return wait | {name: str(value) for name, value in told.items() if value is not None}
