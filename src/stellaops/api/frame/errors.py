"""Errors of the protocol itself, beside those of the use cases."""

from __future__ import annotations

from collections.abc import Collection

from stellaops.core.errors import Conflict, InvalidInput, NotFound, QuotaExceeded


class InvalidRequest(InvalidInput):
    """A parameter, a header or the body does not have the form that openapi.json describes."""

    code = "ERR_INVALID_REQUEST"
    hint = "Correct what is listed; /openapi.json describes every operation."


class RouteNotFound(NotFound):
    """There is no such path."""

    code = "ERR_ROUTE_NOT_FOUND"
    hint = "See /openapi.json for every path."


class MethodNotAllowed(InvalidInput):
    """The path is there, and does not take the method."""

    code = "ERR_METHOD_NOT_ALLOWED"
    hint = "Use one of the methods in the Allow header."

    def __init__(self, wanted: str, allowed: Collection[str]) -> None:
        """`allowed` are the methods that the path takes."""
        self.allowed = ", ".join(sorted({*allowed, *(("HEAD",) if "GET" in allowed else ())}))
        super().__init__(f"{wanted[:40]} is not among {self.allowed}")


class BodyTooLarge(InvalidInput):
    """The body has more bytes than are taken."""

    code = "ERR_BODY_TOO_LARGE"
    hint = "Send less at once, or have the limit raised (api.maxBody, api.maxUpload)."


class MediaTypeUnsupported(InvalidInput):
    """The body's Content-Type is not one that the operation takes."""

    code = "ERR_MEDIA_TYPE_UNSUPPORTED"
    hint = "Send the media type that the message names."


class HeadersTooMany(InvalidInput):
    """The request has more header fields than are taken."""

    code = "ERR_HEADERS_TOO_MANY"
    hint = "Send fewer header fields."


class RequestRateExceeded(QuotaExceeded):
    """The caller sends more requests than it may."""

    code = "ERR_REQUEST_RATE"
    hint = "Wait as long as Retry-After says, or have api.requestsPerMinute raised."

    def __init__(self, limit: int, reset: int) -> None:
        """`limit` requests a minute; the next one may come in `reset` seconds."""
        super().__init__(f"more than {limit} requests a minute")
        self.limit, self.remaining, self.reset = limit, 0, reset


class IdempotencyConflict(Conflict):
    """An Idempotency-Key came before with another request."""

    code = "ERR_IDEMPOTENCY_CONFLICT"
    hint = "Use a key of its own for every request; send an equal request to get its answer again."


class IdempotencyInProgress(Conflict):
    """The first request with an Idempotency-Key is still being worked on."""

    code = "ERR_IDEMPOTENCY_IN_PROGRESS"
    hint = "Wait as long as Retry-After says, then send the request again."


class SecretShown(Conflict):
    """A request that made a secret came again; the secret was in the first answer and is kept nowhere."""

    code = "ERR_IDEMPOTENCY_SECRET_SHOWN"
    hint = "Use the secret of the first answer; if it was lost, have another one made."
