"""The sources of one side of the evidence: what `stella concelier status` and `stella excititor status` print."""

from __future__ import annotations

from typing import Any

from stellaops.cli.frame import App
from stellaops.core import timestamps
from stellaops.ingest.feeds import Side, side_of
from stellaops.ingest.model import SourceStatus

_COLUMNS = ("withdrawn", "vanished", "quarantined", "updatedAt", "complete")
_FIRST = {
    Side.ADVISORIES: ("source", "database", "documents"),
    Side.VEX: ("source", "feed", "documents", "statements"),
}


def print_status(app: App, side: Side, product: str) -> None:
    """Show every source of one side: how many documents, how fresh, what was set aside.

    Args:
        product: the command's name, for the hint where nothing is there.
    """
    sequence, lines = app.local.sources.status(app.tenant)
    found = [_wire(line) for line in lines if side_of(line.feed) is side]
    names = (*_FIRST[side], *_COLUMNS)
    wire = {"sequence": sequence, "sources": found}
    app.out.rows(wire, names, [[source[name] for name in names] for source in found])
    app.out.line(f"sequence {sequence}")
    if not found:
        app.out.note(
            f"nothing is imported in {app.settings.data_dir}: `stella {product} import PATH --source NAME`"
        )


def _wire(line: SourceStatus) -> dict[str, Any]:
    return {
        "source": line.source,
        "feed": line.feed,
        "database": line.database,
        "documents": line.documents,
        "statements": line.statements,
        "withdrawn": line.withdrawn,
        "vanished": line.vanished,
        "quarantined": line.quarantined,
        "licence": line.licence,
        "updatedAt": timestamps.render(line.updated_at) if line.updated_at else None,
        "checkedAt": timestamps.render(line.checked_at) if line.checked_at else None,
        "complete": line.complete,
    }
