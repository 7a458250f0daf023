"""Evidence: what sources say of a vulnerability, what VEX comes down to, where it lands, what could not be read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.responses import Response

from stellaops.console.pages.page import Page, form
from stellaops.console.visit import Listed, Visit, listed

_SIDES = ("concelier", "excititor")
_LONGEST = 20_000  # characters of a document that a page shows; the whole of it is one click away


async def evidence(visit: Visit) -> Response:
    """Search, and what was found."""
    wanted = visit.query.get("id", "")
    if not wanted:
        advisories, vex = await visit.all("/api/concelier/status", "/api/excititor/status")
        return await visit.page("evidence.html", wanted="", advisories=advisories, vex=vex)
    documents, aliases, statements, consensus = await asyncio.gather(
        visit.maybe("/api/concelier/documents", id=wanted),
        visit.maybe("/api/concelier/aliases", id=wanted),
        visit.maybe("/api/excititor/documents", id=wanted),
        visit.maybe("/api/excititor/consensus", vulnerability=wanted),
    )
    lands = await visit.maybe("/api/export/landings", id=wanted) if documents else None
    return await visit.page(
        "advisory.html",
        wanted=wanted,
        documents=_shown_all(documents),
        aliases=aliases,
        statements=_shown_all(statements),
        consensus=consensus,
        lands=listed(lands),
    )


def _shown_all(found: Any) -> Listed:
    told = listed(found)
    return Listed((_shown(each) for each in told), told.absent)


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    """A document with its content as text."""
    text = json.dumps(document.get("document"), indent=2, ensure_ascii=False)
    whole = len(text) <= _LONGEST
    return {**document, "text": text if whole else text[:_LONGEST], "whole": whole}


async def quarantine(visit: Visit) -> Response:
    """What could not be read, and why, of both sides."""
    source = visit.query.get("source")
    found = await asyncio.gather(*(visit.maybe(f"/api/{side}/quarantine", source=source) for side in _SIDES))
    sides = [(side, listed(entries)) for side, entries in zip(_SIDES, found, strict=True)]
    return await visit.page(
        "quarantine.html", sides=sides, source=source or "", again=visit.query.get("again", "")
    )


async def retry(visit: Visit) -> Response:
    """Read a source's quarantine again."""
    side, source = visit.form.get("side", ""), visit.form.get("source", "")
    if side not in _SIDES:
        return visit.go("/quarantine")
    done = await visit.change("POST", f"/api/{side}/quarantine/retry", {"source": source})
    left = done.get("quarantined", 0)
    told = f"{left} records could still not be read" if left else "every record could be read"
    return visit.go("/quarantine", again=f"{source}: {told}")


PAGES = (
    Page("/evidence", evidence),
    Page("/quarantine", quarantine),
    form("/quarantine/retry", retry),
)
