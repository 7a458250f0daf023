"""The one place that pairs ports with adapters."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from stellaops.adapters.files.workspace import FileWorkspace
from stellaops.adapters.keys.disk import passphrase_file
from stellaops.adapters.keys.file import FileKeyStore
from stellaops.adapters.keys.openpgp import SequoiaOpenPgp
from stellaops.adapters.scanners.trivy import StockTrivy
from stellaops.adapters.settings import Settings
from stellaops.adapters.sql import migrations, schema
from stellaops.adapters.sql.address import Address, SqliteFile, parse_address
from stellaops.adapters.sql.administration import Stores
from stellaops.adapters.sql.engine import open_engine
from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.adapters.sql.findings import SqlAdvisories, SqlSboms
from stellaops.adapters.sql.imports import SqlImports
from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.adapters.sql.policies import SqlPolicies
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.pulls import SqlPulls
from stellaops.adapters.sql.quarantine import SqlQuarantine
from stellaops.adapters.sql.records import SqlRecords
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns
from stellaops.adapters.sql.sources import SqlSources
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.adapters.sql.vex_exports import SqlVexRows
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.adapters.web.download import FileSpools, Network
from stellaops.authority.manage_keys import active_signer, trusted_keys
from stellaops.core.egress import EgressPolicy, networks
from stellaops.exports.run_export import Tools
from stellaops.findings import find
from stellaops.ingest.pull import PullTools
from stellaops.signing.interface import Signer

_CHANCE = random.SystemRandom()


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
        """The evidence store, in this release's schema."""
        return self._opened(migrations.EVIDENCE)

    @cached_property
    def service_engine(self) -> Engine:
        """The service store, in this release's schema."""
        return self._opened(migrations.SERVICE)

    @property
    def stores(self) -> Stores:
        """Both stores as a whole."""
        return Stores(
            {store.name: self.store_address(store) for store in (migrations.EVIDENCE, migrations.SERVICE)}
        )

    def store_address(self, store: migrations.Store) -> Address:
        """Where a store lies: as the settings say, else a file in the data directory."""
        told, password = self.settings.get(f"store.{store.name}"), self.settings.get("store.passwordFile")
        if told is None:
            return SqliteFile(self.data_dir / f"{store.name}.db")
        return parse_address(told, Path(password) if password else None)

    def _opened(self, store: migrations.Store) -> Engine:
        return migrations.open_checked(open_engine(self.store_address(store), store.name), store)

    @cached_property
    def sources(self) -> SqlSources:
        """The registry of sources."""
        return SqlSources(self.evidence_engine, self.data_dir / "locks")

    @cached_property
    def imports(self) -> SqlImports:
        """Staging and applying of imports."""
        return SqlImports(self.evidence_engine)

    @cached_property
    def sboms(self) -> SqlSboms:
        """Bills of materials."""
        return SqlSboms(self.evidence_engine)

    @cached_property
    def policies(self) -> SqlPolicies:
        """Policy overlays and snapshots."""
        return SqlPolicies(self.evidence_engine)

    @property
    def finding_tools(self) -> find.Tools:
        """What findings are worked out with."""
        return find.Tools(self.sboms, SqlAdvisories(self.evidence_engine), self.consensus)

    def bring_projections_up_to_date(self) -> None:
        """Make the derived rows that this release lacks."""
        SqlProjections(self.evidence_engine).complete()

    @cached_property
    def consensus(self) -> SqlConsensus:
        """VEX statements and their consensus, with every row that this release makes of them."""
        self.bring_projections_up_to_date()
        return SqlConsensus(self.evidence_engine)

    @cached_property
    def vex_rows(self) -> SqlVexRows:
        """VEX statements as exports read them."""
        return SqlVexRows(self.evidence_engine)

    @cached_property
    def pulls(self) -> SqlPulls:
        """Definitions of sources, and what their pulls left behind."""
        return SqlPulls(self.evidence_engine)

    def pull_tools(self, parallel: int | None = None) -> PullTools:
        """Everything that pulls work with.

        Args:
            parallel: downloads at once; by the settings when None.
        """
        at_once = parallel or self.settings.number("pull.parallel")
        network = Network(
            WebClient(self.web_settings, connections=at_once),
            now,
            time.sleep,
            _CHANCE.random,
            threading.Semaphore(at_once),
            self.settings.number("pull.maxFileSize"),
        )
        spools = FileSpools(self.data_dir / "pulls", network)
        return PullTools(self.pulls, spools, self.sources, self.imports, now, _CHANCE.random, at_once)

    @property
    def web_settings(self) -> WebSettings:
        """How the network is reached."""
        settings = self.settings
        policy = EgressPolicy(
            private=networks(settings.listed("egress.allowPrivate")),
            plain_hosts=frozenset(settings.listed("egress.allowHttp")),
            offline=settings.is_on("egress.offline"),
        )
        ca_file = settings.get("egress.caFile")
        return WebSettings(
            policy,
            settings.get("egress.proxy"),
            settings.listed("egress.noProxy"),
            Path(ca_file) if ca_file else None,
        )

    @cached_property
    def openpgp(self) -> SequoiaOpenPgp:
        """What checks OpenPGP signatures."""
        return SequoiaOpenPgp()

    @cached_property
    def inspection(self) -> SqlInspection:
        """A look into the evidence store that trusts nothing in it."""
        return SqlInspection(self.evidence_engine)

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
            java=self.evidence,
            vex=self.vex_rows,
            findings=self.finding_tools,
            policies=self.policies,
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
