"""Mirrors: domains, what each was last given, who may read them, keys and targets with their dates."""

from __future__ import annotations

from starlette.responses import Response

from stellaops.console.pages.page import Page
from stellaops.console.visit import Visit, listed


async def mirrors(visit: Visit) -> Response:
    """Everything that is brought to readers."""
    domains, targets, verifications, keys, tokens = await visit.all(
        "/api/mirror/domains",
        "/api/export/targets",
        "/api/export/verifications",
        "/api/export/keys",
        "/api/export/download-tokens",
    )
    return await visit.page(
        "mirrors.html", domains=listed(domains), targets=listed(targets), verifications=listed(verifications),
        keys=listed(keys), tokens=listed(tokens),
    )  # fmt: skip


PAGES = (Page("/mirrors", mirrors),)
