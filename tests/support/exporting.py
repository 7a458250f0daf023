"""One data directory through its use cases: imports, runs, archives. No command line, no server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.exports.manage_profiles import create_profile, find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.read_profile import read
from stellaops.exports.run import Run
from stellaops.exports.run_export import run_export
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport
from stellaops.kit.apply import Trust
from tests.contract.stores import Files

TENANT = "default"


class Sender:
    """Who makes the bundles."""

    def __init__(self, data: Path) -> None:
        self.local = Local(settings.load({"dataDir": str(data)}, {}))

    def close(self) -> None:
        """End all connections."""
        self.local.evidence_engine.dispose()
        self.local.service_engine.dispose()

    def take(
        self, files: Mapping[str, object], source: str, side: Side = Side.ADVISORIES, **more: Any
    ) -> int:
        """Import files; the sequence afterwards."""
        request = ImportRequest(source, side=side, **more)
        done = import_documents(
            request, Files(files), sources=self.local.sources, store=self.local.imports, now=now
        )
        return done.sequence

    def take_path(self, path: Path, source: str, side: Side = Side.ADVISORIES, **more: Any) -> ImportReport:
        """Import a file or a folder."""
        return import_documents(
            ImportRequest(source, side=side, **more),
            FileInputs([path]),
            sources=self.local.sources,
            store=self.local.imports,
            now=now,
        )

    def profile(self, name: str, **spec: Any) -> None:
        """Store a profile of mirrors."""
        kind, _, variant = str(spec.pop("kind", "mirror:full")).partition(":")
        wire = {
            "apiVersion": "stellaops.io/export.v1",
            "kind": "ExportProfile",
            "metadata": {"name": name},
            "spec": {"kind": kind, "variant": variant, **spec},
        }
        create_profile(TENANT, read(wire), self.local.profiles, now=now(), by="test")

    def run(self, profile: str, *, selectors: Mapping[str, Any] | None = None, **more: Any) -> Run:
        """Run an export to its end."""
        recipe = find_profile(TENANT, profile, self.local.profiles)
        request = RunRequest(new_run_id(), TENANT, recipe, selectors or {}, **{"allow_empty": True, **more})
        return run_export(request, self.local.export_tools)

    def archive(self, run: Run) -> Path:
        """The archive of a run."""
        assert run.archive is not None
        root = self.local.artefacts.local_root(run.archive)
        assert root is not None
        (found,) = root.glob("mirror-*.tar.zst")
        return found

    def trust(self) -> Trust:
        """The keys of the tenant."""
        return Trust(*self.local.tenant_keys.trusted(TENANT))
