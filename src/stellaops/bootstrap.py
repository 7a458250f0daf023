"""The one place that pairs ports with adapters."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from stellaops.adapters.files.workspace import FileWorkspace
from stellaops.adapters.keys.file import FileKeyStore, passphrase_file
from stellaops.adapters.scanners.trivy import StockTrivy
from stellaops.adapters.settings import Settings
from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import open_sqlite
from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.adapters.sql.imports import SqlImports
from stellaops.adapters.sql.migrations import migrate
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.quarantine import SqlQuarantine
from stellaops.adapters.sql.records import SqlRecords
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns, open_service
from stellaops.adapters.sql.sources import SqlSources
from stellaops.authority.manage_keys import active_signer, trusted_keys
from stellaops.exports.run_export import Tools
from stellaops.signing.interface import Signer


@dataclass(frozen=True)
class Local:
    """Everything that works on one local data directory; each part is opened when it is first needed."""

    settings: Settings

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.settings.data_dir

    @cached_property
    def _passphrase(self) -> Callable[[], bytes | None]:
        file = self.settings.get("keyPassphraseFile")
        return passphrase_file(Path(file)) if file else lambda: None

    @cached_property
    def evidence_engine(self) -> Engine:
        """The evidence store, brought to this release's schema."""
        engine = open_sqlite(self.data_dir / "evidence.db")
        migrate(engine)
        return engine

    @cached_property
    def service_engine(self) -> Engine:
        """The service store."""
        return open_service(self.data_dir / "service.db")

    @cached_property
    def sources(self) -> SqlSources:
        """The registry of sources."""
        return SqlSources(self.evidence_engine, self.data_dir / "locks")

    @cached_property
    def imports(self) -> SqlImports:
        """Staging and applying of imports."""
        return SqlImports(self.evidence_engine)

    @cached_property
    def quarantine(self) -> SqlQuarantine:
        """Records that could not be read."""
        return SqlQuarantine(self.evidence_engine)

    @cached_property
    def records(self) -> SqlRecords:
        """Look-ups of single documents."""
        return SqlRecords(self.evidence_engine)

    @cached_property
    def evidence(self) -> SqlEvidence:
        """The evidence as exports read it."""
        return SqlEvidence(self.evidence_engine)

    @cached_property
    def runs(self) -> SqlRuns:
        """Records of runs."""
        return SqlRuns(self.service_engine)

    @cached_property
    def profiles(self) -> SqlProfiles:
        """Stored profiles."""
        return SqlProfiles(self.service_engine)

    @cached_property
    def workspace(self) -> FileWorkspace:
        """Where bundles lie."""
        return FileWorkspace(self.data_dir / "exports")

    @cached_property
    def keys(self) -> FileKeyStore:
        """Signing keys."""
        return FileKeyStore(self.data_dir, self._passphrase)

    def key_store(self, passphrase: Path | None) -> FileKeyStore:
        """The keys, with the passphrase from another file where one is given."""
        return FileKeyStore(self.data_dir, passphrase_file(passphrase)) if passphrase else self.keys

    @cached_property
    def tenant_keys(self) -> TenantKeys:
        """Keys as exports use them."""
        return TenantKeys(self.keys)

    @cached_property
    def scanner(self) -> StockTrivy:
        """Stock Trivy."""
        return StockTrivy(self.settings.get("trivy"))

    @property
    def export_tools(self) -> Tools:
        """Everything that a run works with."""
        return Tools(
            evidence=self.evidence,
            rows=self.evidence,
            trivy=self.evidence,
            projections=SqlProjections(self.evidence_engine),
            runs=self.runs,
            workspace=self.workspace,
            keys=self.tenant_keys,
            scanner=self.scanner,
            projection_versions=schema.VERSIONS,
            now=now,
        )


class TenantKeys:
    """`exports.ports.Keys` on a key store."""

    def __init__(self, store: FileKeyStore) -> None:
        self._store = store

    def signer(self, tenant: str) -> Signer:
        """See the port."""
        return active_signer(self._store, self._store, tenant, now=now())

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """See the port."""
        keys = trusted_keys(self._store, tenant)
        return keys.pems, keys.revoked


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """An id for a run: sorts by time, and cannot be guessed."""
    return f"run-{now():%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"
