"""The one place that pairs ports with adapters."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from stellaops.adapters.files.kept_lists import FileKeptLists
from stellaops.adapters.files.workspace import FileWorkspace
from stellaops.adapters.keys.disk import passphrase_file
from stellaops.adapters.keys.file import FileKeyStore
from stellaops.adapters.keys.link_keys import FileLinkKeys
from stellaops.adapters.keys.openpgp import SequoiaOpenPgp, read_keys
from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.adapters.keys.services.registry import KeyServices
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_copy
from stellaops.adapters.notify.context import NotifyContext
from stellaops.adapters.notify.registry import KnownProviders
from stellaops.adapters.objects.opening import open_artefacts
from stellaops.adapters.scanners.trivy import StockTrivy
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.settings.notify import mail_of, rate_limit, secrets_of
from stellaops.adapters.settings.retention import retention_grace, retention_rules
from stellaops.adapters.sql import migrations, schema
from stellaops.adapters.sql.address import Address, SqliteFile, parse_address
from stellaops.adapters.sql.administration import Stores
from stellaops.adapters.sql.audit import SqlAudit
from stellaops.adapters.sql.authority import SqlClients, SqlTenants, SqlTokenKeys
from stellaops.adapters.sql.changes import SqlChanges
from stellaops.adapters.sql.chores import SqlChores
from stellaops.adapters.sql.download_tokens import SqlDownloadTokens
from stellaops.adapters.sql.engine import open_engine
from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.adapters.sql.findings import SqlAdvisories, SqlSboms, selected_findings
from stellaops.adapters.sql.freshness import SqlFreshness
from stellaops.adapters.sql.import_counts import SqlImportCounts
from stellaops.adapters.sql.imports import SqlImports
from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.adapters.sql.losses import SqlLosses
from stellaops.adapters.sql.metering import SqlMetering
from stellaops.adapters.sql.mirrors import SqlDomains, SqlPublications
from stellaops.adapters.sql.notify_channels import SqlChannels, SqlRules
from stellaops.adapters.sql.notify_conditions import SqlConditions
from stellaops.adapters.sql.notify_deliveries import SqlDeliveries
from stellaops.adapters.sql.notify_outbox import SqlOutbox
from stellaops.adapters.sql.policies import SqlPolicies
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.pruning import SqlEvidenceFloor
from stellaops.adapters.sql.pulls import SqlPulls
from stellaops.adapters.sql.quarantine import SqlQuarantine
from stellaops.adapters.sql.records import SqlRecords
from stellaops.adapters.sql.retention import SqlBundleTurns, SqlPasses, SqlPins
from stellaops.adapters.sql.schedules import SqlSchedules
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns
from stellaops.adapters.sql.sources import SqlSources
from stellaops.adapters.sql.staging_rooms import SqlStagingRooms
from stellaops.adapters.sql.storage import SqlStorage, database_bytes
from stellaops.adapters.sql.target_checks import SqlTargetChecks
from stellaops.adapters.sql.target_latest import SqlLatest
from stellaops.adapters.sql.target_turns import SqlTurns
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.adapters.sql.vex_exports import SqlVexRows
from stellaops.adapters.targets.context import TargetContext
from stellaops.adapters.targets.registry import SettingsTargets
from stellaops.adapters.telemetry.metrics import Watched
from stellaops.adapters.telemetry.upkeep import Places
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.adapters.web.download import FileSpools, Network
from stellaops.authority.check_tokens import Access
from stellaops.authority.issue_tokens import Issuer
from stellaops.authority.keys import KeyKnown
from stellaops.authority.login_limits import LoginLimits
from stellaops.authority.manage_keys import (
    active_signer,
    create_key_of_service,
    named_signer,
    trusted_keys,
)
from stellaops.authority.tokens import TokenSettings
from stellaops.core.egress import EgressPolicy, networks
from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.building.delta import DeltaTools
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.distribution.deliver import DeliverTools
from stellaops.exports.distribution.verify_targets import VerifyTools
from stellaops.exports.issue_freshness import FreshnessTools
from stellaops.exports.plan_run import Tools
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.retention.pin_runs import PinTools
from stellaops.exports.retention.prune_exports import RetentionTools
from stellaops.exports.submit_run import SubmitTools
from stellaops.findings import find
from stellaops.ingest.pull import PullTools
from stellaops.mirrors.ports import Bucket
from stellaops.mirrors.publish import PublishTools
from stellaops.notify.deliver import NotifyTools
from stellaops.notify.rate_limits import DELIVERY_HISTORY, TEST_SEND, RateLimit
from stellaops.signing.interface import Signer
from stellaops.signing.key_services import Patience

if TYPE_CHECKING:
    from stellaops.adapters.engine.dbos_queue import DbosQueue

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
        return PullTools(
            self.pulls,
            spools,
            self.sources,
            self.imports,
            now,
            _CHANCE.random,
            at_once,
            openpgp=self.openpgp,
            keys_of=lambda definition: read_keys(definition.openpgp_keys),
        )

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
    def tenants(self) -> SqlTenants:
        """The tenants of the service."""
        return SqlTenants(self.service_engine)

    @property
    def limits(self) -> SqlTenants:
        """How much each tenant may run."""
        return self.tenants

    @cached_property
    def clients(self) -> SqlClients:
        """The clients of the service."""
        return SqlClients(self.service_engine)

    @cached_property
    def download_tokens(self) -> SqlDownloadTokens:
        """Tokens that open downloads and nothing else."""
        return SqlDownloadTokens(self.service_engine)

    @cached_property
    def link_keys(self) -> FileLinkKeys:
        """What signs links to files of bundles."""
        return FileLinkKeys(self.data_dir / "authority" / "links")

    @cached_property
    def audit(self) -> SqlAudit:
        """The audit log."""
        return SqlAudit(self.service_engine)

    @cached_property
    def token_keys(self) -> SqlTokenKeys:
        """Public keys of access tokens."""
        return SqlTokenKeys(self.service_engine)

    @property
    def token_settings(self) -> TokenSettings:
        """What access tokens say, and for how long."""
        settings = self.settings
        return TokenSettings(
            settings.get("authority.issuer") or "",
            settings.get("authority.audience") or "",
            timedelta(seconds=settings.number("authority.tokenSeconds")),
            timedelta(days=settings.number("authority.keyDays")),
        )

    @cached_property
    def access(self) -> Access:
        """What tells who sends an access token."""
        with server_extra():
            from stellaops.adapters.tokens.jws import JwsReader  # noqa: PLC0415 - of the extra `server`
        return Access(self.token_keys, JwsReader(), self.token_settings, now, time.monotonic)

    @cached_property
    def login_limits(self) -> LoginLimits:
        """How often an address may log in at this process."""
        return LoginLimits()

    @cached_property
    def issuer(self) -> Issuer:
        """What gives access tokens to clients."""
        with server_extra():
            from stellaops.adapters.tokens.signing import FileTokenSigner  # noqa: PLC0415 - of the extra `server`
        signer = FileTokenSigner(
            self.data_dir / "authority", self.token_keys, self.token_settings, self._passphrase
        )
        return Issuer(self.clients, self.tenants, signer, self.token_settings, now)

    @cached_property
    def queue(self) -> DbosQueue:
        """The queue of runs. Only services ask for it: a local run needs none, and loads nothing of it."""
        with server_extra():
            from stellaops.adapters.engine.dbos_queue import DbosQueue  # noqa: PLC0415 - of the extra `server`
        engine = self.service_engine
        return DbosQueue(self.store_address(migrations.SERVICE), engine, self.limits)

    @property
    def submit_tools(self) -> SubmitTools:
        """What submissions to the queue work with."""
        return SubmitTools(
            self.runs, self.profiles, self.evidence, self.policies, self.limits, self.queue, new_run_id, now,
            self.storage,
        )  # fmt: skip

    @cached_property
    def losses(self) -> SqlLosses:
        """Attempts that were lost with their processes."""
        return SqlLosses(self.service_engine)

    @cached_property
    def storage(self) -> SqlStorage:
        """How much is kept."""
        return SqlStorage(self.service_engine)

    @cached_property
    def target_checks(self) -> SqlTargetChecks:
        """What was last found at targets."""
        return SqlTargetChecks(self.service_engine)

    @cached_property
    def staging_rooms(self) -> SqlStagingRooms:
        """The disks that bundles are built on."""
        return SqlStagingRooms(self.service_engine)

    @property
    def verify_tools(self) -> VerifyTools:
        """What verification at targets works with."""
        return VerifyTools(
            self.runs, self.profiles, self.artefacts, self.targets, self.latest_names, self.target_checks,
            self.tenant_keys, self.scanner, self.workspace, time.sleep, now,
        )  # fmt: skip

    @property
    def watched(self) -> Watched:
        """What metrics are made of."""
        databases = {
            "evidence": lambda: database_bytes(self.evidence_engine),
            "service": lambda: database_bytes(self.service_engine),
        }
        places = Places(
            self.storage, self.tenants.list, self.staging_rooms.all, databases, self.target_checks
        )
        metering, imports = SqlMetering(self.service_engine), SqlImportCounts(self.evidence_engine)
        return Watched(metering, imports, self.chores, self.queue.workers, places)

    @cached_property
    def chores(self) -> SqlChores:
        """What workers do by themselves now and then."""
        return SqlChores(self.service_engine)

    @cached_property
    def schedules(self) -> SqlSchedules:
        """What is run by itself."""
        return SqlSchedules(self.service_engine)

    @cached_property
    def workspace(self) -> FileWorkspace:
        """Where bundles grow."""
        return FileWorkspace(self.data_dir / "exports")

    @cached_property
    def artefacts(self) -> ArtefactStore:
        """Where finished bundles are kept."""
        return open_artefacts(self.settings)

    @cached_property
    def targets(self) -> SettingsTargets:
        """Places that bundles are brought to."""
        return SettingsTargets(self.settings.targets, self._target_context, SqlTurns(self.service_engine))

    @cached_property
    def latest_names(self) -> SqlLatest:
        """What the moving names of targets stand for."""
        return SqlLatest(self.service_engine)

    @property
    def delivery(self) -> DeliverTools:
        """What brings bundles to targets."""
        return DeliverTools(self.targets, self.latest_names, self.artefacts, time.sleep, _CHANCE.random, now)

    def _target_context(self, tenant: str) -> TargetContext:
        scratch = self.data_dir / "exports" / ".staging"
        return TargetContext(tenant, self.web_settings, self.artefacts, self.tenant_keys, scratch, now)

    @cached_property
    def keys(self) -> FileKeyStore:
        """Signing keys."""
        return self._keys(self._passphrase)

    def key_store(self, passphrase: Path | None) -> FileKeyStore:
        """The keys, with the passphrase from another file where one is given."""
        return self._keys(passphrase_file(passphrase)) if passphrase else self.keys

    def unprotected_keys(self) -> FileKeyStore:
        """The keys, where new ones are written under no passphrase."""
        return self._keys(lambda: None)

    def _keys(self, passphrase: Callable[[], bytes | None]) -> FileKeyStore:
        return FileKeyStore(self.data_dir, passphrase, self.key_services.signer)

    @cached_property
    def key_services(self) -> KeyServices:
        """Keys that others keep."""
        settings = self.settings
        seconds = settings.number("keyServices.timeoutSeconds")
        attempts = settings.number("keyServices.attempts")

        def context(tenant: str) -> ServiceContext:
            return ServiceContext(settings, tenant, self.web_settings, self._passphrase, seconds)

        patience = Patience(attempts, time.sleep, _CHANCE.random)
        return KeyServices(context, patience, settings.listed("keyServices.allow"))

    @cached_property
    def tenant_keys(self) -> TenantKeys:
        """Keys as exports use them."""
        return TenantKeys(self.keys, self._first_key)

    def _first_key(self, tenant: str) -> None:
        """Give a tenant its first key, in the key service that the settings name for it."""
        uri = self.settings.get("keyServices.firstKey")
        if uri is None:
            self.keys.create(tenant, now())
            return
        with suppress(KeyKnown):  # another run was first
            named = uri.replace("{tenant}", tenant)
            create_key_of_service(self.keys, self.key_services, tenant, named, now=now())

    @cached_property
    def scanner(self) -> StockTrivy:
        """Stock Trivy."""
        return StockTrivy(self.settings.get("trivy"))

    @property
    def control_tools(self) -> ControlTools:
        """What controls of runs work with, where there is no queue."""
        return ControlTools(self.runs, self.artefacts, None, now, self.bundle_turns, self.pins, self.targets)

    @cached_property
    def pins(self) -> SqlPins:
        """Runs that retention leaves alone."""
        return SqlPins(self.service_engine)

    @cached_property
    def bundle_turns(self) -> SqlBundleTurns:
        """Who decides about the bundles of tenants."""
        return SqlBundleTurns(self.service_engine, self.data_dir / "locks")

    @property
    def pin_tools(self) -> PinTools:
        """What pins of runs work with."""
        return PinTools(self.runs, self.pins, self.bundle_turns, now)

    @property
    def retention_tools(self) -> RetentionTools:
        """What passes of retention work with."""
        passes = SqlPasses(self.service_engine)
        return RetentionTools(
            runs=self.runs,
            profiles=self.profiles,
            artefacts=self.artefacts,
            pins=self.pins,
            turns=self.bundle_turns,
            evidence=SqlEvidenceFloor(self.evidence_engine),
            lists=FileKeptLists(self.data_dir / "lists"),
            passes=passes,
            tenants=passes,
            targets=self.targets,
            latest=self.latest_names,
            rules=retention_rules(self.settings),
            grace=retention_grace(self.settings),
            now=now,
        )

    @property
    def delta_tools(self) -> DeltaTools:
        """What deltas work with beside all that."""
        lists = FileKeptLists(self.data_dir / "lists")
        return DeltaTools(SqlChanges(self.evidence_engine), lists, self.evidence)

    @cached_property
    def statements(self) -> SqlFreshness:
        """Freshness statements."""
        return SqlFreshness(self.service_engine)

    @property
    def freshness_tools(self) -> FreshnessTools:
        """What freshness statements are made with."""
        evidence = self.evidence
        return FreshnessTools(self.statements, evidence.read_states, self.tenant_keys, self.profiles, now)

    @property
    def export_tools(self) -> Tools:
        """Everything that a run works with."""
        return Tools(
            evidence=self.evidence,
            rows=self.evidence,
            trivy=self.evidence,
            java=self.evidence,
            vex=self.vex_rows,
            findings=lambda selection: selected_findings(self.evidence_engine, selection),
            policies=self.policies,
            projections=SqlProjections(self.evidence_engine),
            profiles=self.profiles,
            runs=self.runs,
            workspace=self.workspace,
            artefacts=self.artefacts,
            keys=self.tenant_keys,
            scanner=self.scanner,
            deltas=self.delta_tools,
            turns=self.bundle_turns,
            freshness=self.freshness_tools,
            delivery=self.delivery,
            projection_versions=schema.VERSIONS,
            wrapping=self.key_services,
            limits=self.limits,
            storage=self.storage,
            now=now,
        )

    @cached_property
    def mirror_domains(self) -> SqlDomains:
        """Domains of mirrors."""
        return SqlDomains(self.service_engine, now)

    @cached_property
    def mirror_publications(self) -> SqlPublications:
        """What was published where."""
        return SqlPublications(self.service_engine)

    def mirror_places(self, place: str | None) -> tuple[MirrorDirectory, list[Bucket]]:
        """Where mirrors are made, and where they are copied to.

        Args:
            place: a directory, `s3://…` or `oci://…`; `mirrors` in the data directory when None.
        """
        own = MirrorDirectory(self.data_dir / "mirrors")
        if place is None:
            return own, []
        copy = open_copy(place, self.settings, self.web_settings, now)
        return (MirrorDirectory(Path(place)), []) if copy is None else (own, [copy])

    @property
    def publish_tools(self) -> PublishTools:
        """What mirrors are published with."""
        return PublishTools(self.export_tools, self.mirror_domains, self.mirror_publications)

    @cached_property
    def notify_outbox(self) -> SqlOutbox:
        """What happened and was not told yet."""
        return SqlOutbox(self.service_engine)

    @cached_property
    def notify_deliveries(self) -> SqlDeliveries:
        """What is to be told, and what came of it."""
        return SqlDeliveries(self.service_engine)

    @cached_property
    def notify_conditions(self) -> SqlConditions:
        """What was noticed by looking."""
        return SqlConditions(self.service_engine)

    @cached_property
    def notify_providers(self) -> KnownProviders:
        """What sends through each kind of channels."""
        settings = self.settings
        return KnownProviders(NotifyContext(secrets_of(settings), mail_of(settings), self.web_settings, now))

    @cached_property
    def notify_limits(self) -> Mapping[str, RateLimit]:
        """What a client may ask of notifications at this process, by the policy's name."""
        return {name: RateLimit(rate_limit(self.settings, name)) for name in (TEST_SEND, DELIVERY_HISTORY)}

    @property
    def notify_tools(self) -> NotifyTools:
        """What notifications work with."""
        settings, engine = self.settings, self.service_engine
        return NotifyTools(
            SqlChannels(engine), SqlRules(engine), self.notify_outbox, self.notify_deliveries, self.notify_providers,
            attempts=settings.number("notify.attempts"),
            keep=timedelta(days=settings.number("notify.keepDays")),
            now=now,
            chance=_CHANCE.random,
            token=lambda: secrets.token_hex(6),
        )  # fmt: skip


class ServerExtraMissing(MissingPrerequisite):
    """The libraries of the service are not installed: clients and verifiers do without them."""

    code = "ERR_SERVER_EXTRA_MISSING"
    hint = "Install them: `pip install 'stellaops[server]'`."


@contextmanager
def server_extra() -> Iterator[None]:
    """Around imports of what the extra `server` brings.

    Raises:
        ServerExtraMissing: see there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ServerExtraMissing(f"the library {error.name} is not installed") from error


class TenantKeys:
    """`exports.ports.Keys` on a key store."""

    def __init__(self, store: FileKeyStore, first: Callable[[str], object] | None = None) -> None:
        self._store, self._first = store, first or (lambda tenant: store.create(tenant, now()))

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        """See the port."""
        if key is not None:
            return named_signer(self._store, self._store, tenant, key)
        store = self._store
        return active_signer(store, store, tenant, now=now(), first=lambda: self._first(tenant))

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """See the port."""
        keys = trusted_keys(self._store, tenant)
        return keys.pems, keys.revoked


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """An id for a run: sorts by time, and cannot be guessed."""
    return run_id_of(now(), secrets.token_hex(4))


def run_id_of(moment: datetime, chance: str) -> str:
    """The id of a run that was asked for at a moment; `chance` is 8 hex digits."""
    return f"run-{moment:%Y%m%dt%H%M%S}-{chance}"
