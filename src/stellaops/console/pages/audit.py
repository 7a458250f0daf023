"""Audit: who changed what."""

from __future__ import annotations

from starlette.responses import Response

from stellaops.console.pages.page import Page
from stellaops.console.visit import Visit


async def audit(visit: Visit) -> Response:
    """Changes, newest first."""
    query = visit.query
    found = await visit.get(
        "/api/export/audit", limit=100, action=query.get("action"), actor=query.get("actor"),
        target=query.get("target"), cursor=query.get("cursor"),
    )  # fmt: skip
    return await visit.page("audit.html", entries=found["items"], next=found["next"], query=query)


PAGES = (Page("/audit", audit),)
