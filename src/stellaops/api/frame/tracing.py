"""The name of a request in logs, errors and headers."""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request

# W3C trace context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NONE = "0" * 32


def trace_id(request: Request) -> str:
    """32 hex digits: those of the caller's `traceparent`, else of chance."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found and found[1] != _NONE else secrets.token_hex(16)
