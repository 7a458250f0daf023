"""The name of a request in logs, errors, headers and traces."""

from __future__ import annotations

import re

from starlette.requests import Request

# W3C trace context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def remote_parent(request: Request) -> str:
    """The caller's `traceparent`; empty where it has none that can be gone on from."""
    text = request.headers.get("traceparent", "")
    found = _TRACEPARENT.fullmatch(text)
    return text if found and found[1].strip("0") and found[2].strip("0") else ""
