"""Mirrors: domains, what each was last given, who may read them, keys and targets with their dates."""

from __future__ import annotations

from starlette.responses import Response

from stellaops.console.pages.page import Page
from stellaops.console.visit import Visit


async def mirrors(visit: Visit) -> Response:
    """Everything that is brought to readers."""
    domains, targets, verifications, keys, tokens = await visit.all(
        "/api/mirror/domains",
        "/api/export/targets",
        "/api/export/verifications",
        "/api/export/keys",
        "/api/export/download-tokens",
    )
    return visit.page(
        "mirrors.html", domains=domains["items"] if domains else None, targets=targets["items"] if targets else (),
        verifications=verifications["items"] if verifications else (), keys=keys["items"] if keys else (),
        tokens=tokens["items"] if tokens else None,
    )  # fmt: skip


PAGES = (Page("/mirrors", mirrors),)
