"""The sources of one side of the evidence: what `stella concelier status` and `stella excititor status` print."""

from __future__ import annotations

from stellaops.center.wire import Wire
from stellaops.cli.frame import App

_COLUMNS = ("withdrawn", "vanished", "quarantined", "updatedAt", "complete")
_FIRST = {
    "concelier": ("source", "database", "documents"),
    "excititor": ("source", "feed", "documents", "statements"),
}


def print_status(app: App, wire: Wire, product: str) -> None:
    """Show every source of one side: how many documents, how fresh, what was set aside.

    Args:
        product: the command's name, for the hint where nothing is there.
    """
    names, found = (*_FIRST[product], *_COLUMNS), wire["sources"]
    app.out.rows(wire, names, [[source[name] for name in names] for source in found])
    app.out.line(f"sequence {wire['sequence']}")
    if not found:
        place = app.settings.data_dir if app.server is None else app.server.shown
        app.out.note(f"nothing is imported in {place}: `stella {product} import PATH --source NAME`")
