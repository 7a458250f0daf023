"""A data directory of its own for a benchmark, worked on through the product's use cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.run import Run
from stellaops.exports.run_export import run_export
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import ImportStore, Inputs

TENANT = "default"


def open_store(directory: Path, url: str | None = None) -> Local:
    """A local data directory, made when absent; nothing of the user's settings is read.

    Args:
        url: of an empty PostgreSQL database, for both stores; else they are SQLite files.
    """
    variables = {"STELLA_CONFIG": str(directory / "none.yaml")}
    if url is not None:
        variables |= {"STELLA_STORE_EVIDENCE": url, "STELLA_STORE_SERVICE": url}
    local = Local(settings.load({"dataDir": str(directory)}, variables))
    if url is not None:
        for store in local.stores.chosen(()):
            store.migrate()
    return local


def fill(local: Local, source: str, paths: Sequence[Path]) -> ImportReport:
    """Import files under a source name."""
    return bring_in(local, source, FileInputs(paths), local.imports)


def bring_in(local: Local, source: str, inputs: Inputs, store: ImportStore) -> ImportReport:
    """The same with inputs and a store that measure."""
    return import_documents(ImportRequest(source), inputs, sources=local.sources, store=store, now=now)


def export(local: Local, profile: str, progress: Callable[[str], None] = lambda step: None) -> Run:
    """Run a built-in profile."""
    request = RunRequest(new_run_id(), TENANT, find_profile(TENANT, profile, local.profiles), {})
    return run_export(request, local.export_tools, progress)
