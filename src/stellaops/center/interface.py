"""What can be asked of StellaOps, wherever it is: the data directory of this machine, or a server.

Every answer is what scripts read (docs/reference), so that the one and the other look the same to whoever asked.
Whatever fails raises the same `StellaError` with the same code here and there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from stellaops.authority.download_tokens import Wanted as TokenWanted
from stellaops.authority.manage_clients import Wanted
from stellaops.center.wire import Wire

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class ImportWanted:
    """What to import and how.

    Attributes:
        feed, database: told from the documents when None.
        prune: the input is the complete listing of the source.
        openpgp_keys: keys of the publisher: then every document needs a good signature.
    """

    source: str
    feed: str | None = None
    database: str | None = None
    prune: bool = False
    openpgp_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class PullWanted:
    """Which sources to pull, and how: named ones, or every enabled one, or every one that is due.

    Attributes:
        full: everything again, not only what changed.
        at_once: also sources that rest after failures.
        parallel: downloads at once; by the settings when None.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    due: bool = False
    full: bool = False
    at_once: bool = False
    parallel: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that is asked for.

    Attributes:
        selectors: over those of the profile, name by name.
        sequence: the snapshot to cut; the newest when None.
        base: of a delta: an export's id or `latest`.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
    """

    profile: str
    selectors: Mapping[str, Any] = field(default_factory=dict)
    sequence: int | None = None
    allow_empty: bool = False
    policy_snapshot: str | None = None
    base: str | None = None
    priority: str = "normal"


@dataclass(frozen=True, slots=True)
class DeliveriesWanted:
    """Which deliveries of notifications; None restricts nothing.

    Attributes:
        status: `pending`, `delivered` or `failed`.
        event: a type, under which it was told or also told.
        limit: how many at most.
    """

    status: str | None = None
    channel: str | None = None
    rule: str | None = None
    event: str | None = None
    limit: int = 50


class RunFailed(Exception):
    """A run that was worked on here has failed, and its record is kept.

    Attributes:
        run: the record.
        error: what it failed of.
    """

    def __init__(self, run: Wire, error: Exception) -> None:
        super().__init__(str(error))
        self.run, self.error = run, error


@dataclass(frozen=True, slots=True)
class FindingsWanted:
    """Which findings.

    Attributes:
        sbom: of this subject, key or path only.
        policy_snapshot: by digest; also `latest` and `none`.
        sequence: the evidence as of then; the present one when None.
        weights: a document with the weights of issuers of VEX.
    """

    sbom: str | None = None
    policy_snapshot: str = "latest"
    sequence: int | None = None
    weights: bytes | None = None


@dataclass(frozen=True, slots=True)
class ConsensusWanted:
    """About which vulnerability, and which product of it.

    Attributes:
        weights: a document with the weights of issuers.
        policy_snapshot: whose weights go over them: by digest, `latest` or `none`.
    """

    vulnerability: str
    product: str | None = None
    sequence: int | None = None
    weights: bytes | None = None
    policy_snapshot: str = "latest"


class Ingest(Protocol):
    """One side of the evidence: advisories, or VEX."""

    def import_paths(self, wanted: ImportWanted, paths: Sequence[Path], progress: Progress = silent) -> Wire:
        """Import files, folders and archives; what the import did."""
        ...

    def pull(self, wanted: PullWanted, progress: Progress = silent) -> list[Wire]:
        """Pull sources; what each pull did, also a failed one."""
        ...

    def refresh(self, progress: Progress = silent) -> Wire:
        """Bring up to date what is worked out from imports; how much was `examined` and `changed`."""
        ...

    def status(self) -> Wire:
        """Every source: how many documents, how fresh, what was set aside."""
        ...

    def documents(self, identifier: str) -> list[Wire]:
        """The documents about an id: at least one."""
        ...

    def raw_documents(self, identifier: str) -> bytes:
        """The upstream's own bytes of them, one after the other."""
        ...

    def quarantined(self, source: str | None = None) -> list[Wire]:
        """Records that could not be read."""
        ...

    def quarantined_entry(self, entry: int) -> Wire:
        """One of them."""
        ...

    def quarantined_bytes(self, entry: int) -> bytes:
        """The bytes of one of them."""
        ...

    def retry(self, source: str) -> Wire:
        """Read the quarantined records of a source again."""
        ...


class Concelier(Ingest, Protocol):
    """Advisories, and where they and VEX are pulled from."""

    def aliases(self, identifier: str) -> Wire:
        """Which ids are the same vulnerability, who says so, and by which rule."""
        ...

    def sources(self, *, enabled: bool = False) -> list[Wire]:
        """Every defined source with its last and next pull."""
        ...

    def source(self, name: str) -> Wire:
        """A source's whole definition with the state of its pulls."""
        ...

    def define(self, name: str, definition: Mapping[str, Any], *, replace: bool = False) -> Wire:
        """Store a definition; `definition` has the fields of `ingest.pull_model.Definition`."""
        ...

    def switch(self, names: Sequence[str], *, enabled: bool) -> list[Wire]:
        """Say whether sources are pulled by their schedules: all of them, or with one unknown name none."""
        ...

    def forget(self, name: str) -> Wire:
        """Forget a definition; what was imported stays."""
        ...


class Excititor(Ingest, Protocol):
    """VEX."""

    def consensus(self, wanted: ConsensusWanted) -> Wire:
        """What VEX documents say about a vulnerability, what it comes down to, and why."""
        ...


class Policies(Protocol):
    """Overlays of the tenant and their snapshots."""

    def apply(self, paths: Sequence[Path], *, prune: bool = False) -> Wire:
        """Make overlays the tenant's; with one mistake in any, nothing is applied."""
        ...

    def snapshot(self, *, at: str | None = None, keep: bool = True) -> Wire:
        """Take a snapshot of the rules in force at an instant, the present one when None."""
        ...

    def overview(self) -> Wire:
        """The overlays that are applied and the snapshots that were taken."""
        ...

    def show(self, wanted: str) -> Wire:
        """The rules of a snapshot, by digest or `latest`."""
        ...

    def raw(self, wanted: str) -> bytes:
        """The canonical bytes that a snapshot's digest is of."""
        ...


class Evidence(Protocol):
    """What a tenant brings in itself, and what is found in it."""

    def import_sboms(
        self, paths: Sequence[Path], *, prune: bool = False, progress: Progress = silent
    ) -> Wire:
        """Import bills of materials; what the import did."""
        ...

    def sboms(self) -> list[Wire]:
        """The tenant's bills of materials."""
        ...

    def findings(self, wanted: FindingsWanted) -> Wire:
        """What they are vulnerable to, and why."""
        ...


class Exports(Protocol):
    """Profiles, runs and bundles of a tenant."""

    def profiles(self) -> list[Wire]:
        """The newest revision of every profile, by name."""
        ...

    def profile(self, name: str) -> Wire:
        """A profile as a document."""
        ...

    def create_profile(self, document: object) -> Wire:
        """Store a profile."""
        ...

    def update_profile(self, document: object, reason: str) -> Wire:
        """Store the next revision of a profile."""
        ...

    def clone_profile(self, name: str, target: str) -> Wire:
        """Store a copy of a profile under another name."""
        ...

    def delete_profile(self, name: str) -> Wire:
        """Remove a profile; the document that it was."""
        ...

    def profile_history(self, name: str) -> list[Wire]:
        """Who changed a profile, when and why."""
        ...

    def plan(self, submission: Submission) -> Wire:
        """What a run would select, without building it."""
        ...

    def submit(self, submission: Submission, progress: Progress = silent) -> Wire:
        """Ask for a run. On this machine it is over when this returns; a server has it in its queue.

        Raises:
            RunFailed: on this machine, where the run has a record and did not come to its end.
        """
        ...

    def replay(
        self,
        run_id: str,
        *,
        latest: bool = False,
        profile: str | None = None,
        allow_empty: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """Ask for the same again: the run's profile revision, selectors and snapshot.

        Args:
            latest: the newest snapshot instead of the run's.
            profile: another profile, such as a corrected clone, in its newest revision.
        """
        ...

    def runs(
        self, profile: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[Wire]:
        """Runs, newest first."""
        ...

    def run(self, run_id: str) -> Wire:
        """A run by its id; `latest` and `latest:PROFILE` name the newest successful one."""
        ...

    def follow(self, run_id: str, after: int = 0, progress: Progress = silent) -> Iterator[Wire]:
        """The events of a run with numbers above `after`, as they come, until none will come.

        Args:
            run_id: its id, not `latest`.
            progress: told when the events have to be waited for longer than they should.
        """
        ...

    def followed(self, run_id: str) -> Wire:
        """A run whose events were followed, as it is then."""
        ...

    def cancel(self, run_id: str) -> Wire:
        """Stop a run."""
        ...

    def approve(self, run_id: str, reason: str, progress: Progress = silent) -> Wire:
        """Let a held run go on."""
        ...

    def delete(self, run_id: str, *, dry_run: bool = False) -> Wire:
        """Remove a run's record, and its bundle where no other run has the same."""
        ...

    def distribute(self, run_id: str, target: str | None = None, progress: Progress = silent) -> Wire:
        """Bring a run's bundle to one target, or to all of its profile; the run with what came of each."""
        ...

    def targets(self) -> list[Wire]:
        """Where bundles can be brought: `name driver problem latest[]`."""
        ...

    def test_target(self, name: str) -> Wire:
        """Whether a target answers: `name status detail reference seconds remarks errorCode hint`."""
        ...

    def download(self, run_id: str, target: Path, progress: Progress = silent) -> Wire:
        """Copy a run's bundle to a directory, which is then the bundle root; all or nothing."""
        ...

    def opened(self, run_id: str) -> AbstractContextManager[Path]:
        """A run's bundle root as a directory to read, which may be a copy for the time being."""
        ...

    def verify(self, run_id: str) -> Wire:
        """The report of a verification of a run's bundle by the keys of its tenant."""
        ...

    def diff(self, old: str, new: str) -> Wire:
        """What changed between two runs."""
        ...


class Retention(Protocol):
    """How long a tenant's bundles are kept."""

    def show(self) -> Wire:
        """`rules` of profiles; which runs' bundles `stays` and `goes` and `why`; `pins`; the `last` pass."""
        ...

    def run(self, *, dry_run: bool = False, every_tenant: bool = False) -> Wire:
        """One pass: `expired` runs and why, `archives` and `targets` that they went from, `evidence`, `failures`."""
        ...

    def pin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """Let a run's bundle stay: `runId kind reason by at`."""
        ...

    def unpin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """Leave it to the rules again."""
        ...


class Downloads(Protocol):
    """Tokens and links that open the downloads of the tenant to those who are no clients."""

    def tokens(self) -> list[Wire]:
        """Every download token, the oldest first."""
        ...

    def create_token(self, wanted: TokenWanted) -> Wire:
        """Make a token; the answer has it as `downloadToken`, this once."""
        ...

    def rotate_token(self, token_id: str, *, overlap: timedelta) -> Wire:
        """Give a token another secret; the answer has it as `downloadToken`, this once."""
        ...

    def revoke_token(self, token_id: str, reason: str = "") -> Wire:
        """Revoke a token for ever."""
        ...

    def links(self, run_id: str, path: str | None = None, *, life: timedelta) -> Wire:
        """Signed links to a file of a run's bundle, or to all: `runId expiresAt links[]{path,bytes,sha256,url}`."""
        ...


class Upkeep(Protocol):
    """What looks after bundles: what is kept, whether targets have what they should, what workers do by themselves."""

    def quotas(self) -> Wire:
        """What the tenant may have, and has: `maxStorageBytes`, `storedBytes`, `stores[]`, numbers of runs."""
        ...

    def verifications(self) -> list[Wire]:
        """What was last found of the newest bundles at each target, with `soundAt`."""
        ...

    def verify(
        self, target: str | None = None, profile: str | None = None, progress: Progress = silent
    ) -> list[Wire]:
        """Fetch the newest bundles back from their targets and verify them; what was found of each."""
        ...

    def chores(self) -> list[Wire]:
        """What workers do by themselves, and what came of it."""
        ...


class Notify(Protocol):
    """Who of the tenant is told of what: channels, rules, deliveries."""

    def channels(self) -> list[Wire]:
        """Where messages go, by id: `id kind name enabled settings`."""
        ...

    def channel(self, channel_id: str) -> Wire:
        """One of them."""
        ...

    def create_channel(self, document: Mapping[str, Any]) -> Wire:
        """Make a channel."""
        ...

    def change_channel(self, channel_id: str, document: Mapping[str, Any]) -> Wire:
        """Put another channel in the place of one."""
        ...

    def delete_channel(self, channel_id: str) -> Wire:
        """Forget a channel that no rule sends to; what it was."""
        ...

    def test_channel(
        self, channel_id: str, *, text: str = "", preview: bool = False, trace_id: str = ""
    ) -> Wire:
        """Send a test: `preview`, and `delivery` with what came of it; with `preview` nothing is sent."""
        ...

    def rules(self) -> list[Wire]:
        """Who is told of what, by id."""
        ...

    def rule(self, rule_id: str) -> Wire:
        """One of them."""
        ...

    def create_rule(self, document: Mapping[str, Any]) -> Wire:
        """Make a rule."""
        ...

    def change_rule(self, rule_id: str, document: Mapping[str, Any]) -> Wire:
        """Put another rule in the place of one."""
        ...

    def delete_rule(self, rule_id: str) -> Wire:
        """Forget a rule; what it was."""
        ...

    def deliveries(self, wanted: DeliveriesWanted) -> list[Wire]:
        """What was told and what came of it, newest first."""
        ...

    def delivery(self, delivery_id: str) -> Wire:
        """One delivery."""
        ...

    def retry(self, delivery_id: str) -> Wire:
        """Have a failed delivery tried again."""
        ...

    def events(self) -> list[Wire]:
        """What rules can name: `type meaning`."""
        ...

    def send_due(self) -> list[Wire]:
        """One pass over what is to be told, where no worker does it; what came of each."""
        ...


class Queue(Protocol):
    """The queue of runs of all tenants, and who works on them."""

    def status(self) -> Wire:
        """Whether it is `paused`, and how many runs are `ready` and `running`, by tenant."""
        ...

    def pause(self) -> Wire:
        """Start no more runs until `resume`."""
        ...

    def resume(self) -> Wire:
        """Start runs again."""
        ...

    def workers(self) -> list[Wire]:
        """The workers that are alive, and those whose work is being taken over."""
        ...


class Authority(Protocol):
    """Clients, tenants and keys of access tokens."""

    def clients(self) -> list[Wire]:
        """Every client that whoever asks manages, by id."""
        ...

    def client(self, client_id: str) -> Wire:
        """One of them."""
        ...

    def create_client(self, wanted: Wanted, secret: str | None = None) -> Wire:
        """Make a client; the answer has its `clientSecret`, unless it was given."""
        ...

    def change_client(self, client_id: str, wanted: Wanted) -> Wire:
        """Change a client's name, tenants or scopes."""
        ...

    def rotate_client(self, client_id: str, *, overlap: timedelta, secret: str | None = None) -> Wire:
        """Give a client another secret."""
        ...

    def revoke_client(self, client_id: str, reason: str = "") -> Wire:
        """Revoke a client for ever."""
        ...

    def bootstrap(self, client_id: str, secret: str | None = None) -> Wire:
        """Make the first operator."""
        ...

    def tenants(self) -> list[Wire]:
        """The tenants that whoever asks acts for."""
        ...

    def create_tenant(
        self,
        name: str,
        max_active_runs: int | None = None,
        max_queued_runs: int | None = None,
        max_storage: int | None = None,
    ) -> Wire:
        """Make a tenant."""
        ...

    def set_limits(
        self,
        name: str,
        *,
        max_active_runs: int | None,
        max_queued_runs: int | None,
        max_storage: int | None = None,
        reason: str = "",
    ) -> Wire:
        """Change how much a tenant may run and keep; None leaves a limit as it is.

        Args:
            max_storage: in bytes; `authority.tenants.UNLIMITED` for no bound.
        """
        ...

    def token_keys(self) -> list[Wire]:
        """Public keys of access tokens, the oldest first."""
        ...

    def rotate_token_keys(self) -> list[Wire]:
        """Let no key that there is sign any more."""
        ...

    def revoke_token_key(self, key_id: str, reason: str = "") -> Wire:
        """Let a key sign and verify nothing any more."""
        ...


class Keys(Protocol):
    """Keys that sign the tenant's exports; files with passphrases are those of the data directory's machine."""

    def list(self) -> list[Wire]:
        """All of them, the oldest first."""
        ...

    def create(
        self, *, activate: bool = True, passphrase_file: Path | None = None, uri: str | None = None
    ) -> Wire:
        """Make one, or take one of a key service, that signs from now on, or waits."""
        ...

    def activate(self, key_id: str) -> Wire:
        """Let a waiting or retired one sign from now on."""
        ...

    def public(self, key_id: str | None = None, *, every: bool = False) -> bytes:
        """A public key in PEM, the active one's where none is named; or all that are not revoked."""
        ...

    def listed(self) -> Wire:
        """All public keys with the time of each (`authority.published_keys`)."""
        ...

    def rotate(
        self,
        *,
        passphrase_file: Path | None = None,
        uri: str | None = None,
        unprotected: bool = False,
        keep_signatures: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """Make one, or take one of a key service, and sign kept exports again; `resigned` tells of each."""
        ...

    def resign(self, *, passphrase_file: Path | None = None, progress: Progress = silent) -> Sequence[Wire]:
        """Sign kept exports again with the active one."""
        ...

    def test(self, key_id: str | None = None) -> Wire:
        """Have one sign something, the active one where none is named: `{keyId, uri, status, seconds, detail}`."""
        ...

    def revoke(self, key_id: str, reason: str = "") -> Wire:
        """Let one sign and verify nothing any more."""
        ...


class Center(Protocol):
    """Everything that can be asked."""

    @property
    def concelier(self) -> Concelier:
        """Advisories."""
        ...

    @property
    def excititor(self) -> Excititor:
        """VEX."""
        ...

    @property
    def policies(self) -> Policies:
        """Policy overlays."""
        ...

    @property
    def evidence(self) -> Evidence:
        """Bills of materials."""
        ...

    @property
    def exports(self) -> Exports:
        """Profiles, runs and bundles."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What looks after bundles."""
        ...

    @property
    def retention(self) -> Retention:
        """How long bundles are kept."""
        ...

    @property
    def downloads(self) -> Downloads:
        """Download tokens and links."""
        ...

    @property
    def notify(self) -> Notify:
        """Who is told of what."""
        ...

    @property
    def queue(self) -> Queue:
        """The queue of runs."""
        ...

    @property
    def authority(self) -> Authority:
        """Who may use the service, and how much."""
        ...

    @property
    def keys(self) -> Keys:
        """Keys that sign exports."""
        ...
