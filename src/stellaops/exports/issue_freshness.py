"""Freshness statements: issued with each export of a mirror profile, and again whenever one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from stellaops.bundles import freshness
from stellaops.bundles.freshness import Checked, Freshness
from stellaops.core.errors import DependencyFailed, NotFound
from stellaops.exports.errors import RunNotFound
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.ports import Keys, Profiles, RunFilter, Runs
from stellaops.exports.run import Run, RunStatus
from stellaops.signing import cosign_blob
from stellaops.signing.interface import Signer

_ATTEMPTS = 5


class VersionTaken(DependencyFailed):
    """Another process issued the next statement at the same moment."""

    code = "ERR_FRESHNESS_CONFLICT"
    hint = "Run the command again."


class NoStatement(NotFound):
    """There is no statement about an export: only the newest of a mirror profile has one."""

    code = "ERR_FRESHNESS_NONE"
    hint = "Ask for the newest run of a mirror profile: latest:mirror:full."


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement as it was signed, and the content of its `.sig`."""

    version: int
    statement: bytes
    signature: bytes
    sequence: int = 0
    """The snapshot that the export was cut from."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """Both files, by name."""
        return {freshness.FILE: self.statement, freshness.SIGNATURE: self.signature}


class Statements(Protocol):
    """Where the newest statement of each profile is kept."""

    def newest(self, tenant: str, profile: str) -> Signed | None:
        """The statement that was issued last."""
        ...

    def put(self, tenant: str, profile: str, signed: Signed) -> None:
        """Keep the next statement.

        Raises:
            VersionTaken: the one before it is not the newest.
        """
        ...


@dataclass(frozen=True, slots=True)
class State:
    """What a statement is about.

    Attributes:
        profile: the name of the profile whose state it is; of a delta, that of the full one.
        sources: names of those with selected documents.
        cadence: how often a new export is expected.
        sequence: the snapshot that the export was cut from.
    """

    tenant: str
    profile: str
    export_id: str
    sources: Collection[str]
    cadence: timedelta
    sequence: int = 0


def issue_freshness(
    state: State,
    checked: Collection[Checked],
    statements: Statements,
    signer: Signer,
    now: Callable[[], datetime],
) -> Freshness | None:
    """Issue the next statement about a state: it says that this export still is the newest.

    None where the last statement is about a later snapshot: a run that is replayed does not make its export the newest.

    Args:
        checked: when each source was last read; others than those of the state are left out.

    Raises:
        VersionTaken: others issued statements all the time.
        StellaError: the signer cannot sign.
    """
    told = [source for source in checked if source.name in set(state.sources)]
    for attempt in range(_ATTEMPTS):
        before = statements.newest(state.tenant, state.profile)
        if before is not None and before.sequence > state.sequence:
            return None
        version = 1 if before is None else before.version + 1
        made = freshness.issue(
            state.tenant, state.profile, state.export_id, version, told, now=now(), cadence=state.cadence
        )
        data = freshness.encode(made)
        signed = Signed(version, data, cosign_blob.encode(signer.sign(data)), state.sequence)
        try:
            statements.put(state.tenant, state.profile, signed)
        except VersionTaken:
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        return made
    raise AssertionError  # the loop returns or raises


@dataclass(frozen=True, slots=True)
class FreshnessTools:
    """What statements about runs are made with.

    Attributes:
        sources: when each source of the store was last read, and whether to its end.
    """

    statements: Statements
    sources: Callable[[], Collection[Checked]]
    keys: Keys
    profiles: Profiles
    now: Callable[[], datetime]


def say_fresh(run: Run, tools: FreshnessTools) -> Freshness | None:
    """Say that the export of a run is the newest of its profile; None where it is not, or can have no statement.

    A delta speaks for the full profile whose state it carries.

    Raises:
        VersionTaken, StellaError: see `issue_freshness`.
    """
    if run.chain is None or run.export_id is None:
        return None
    profile = find_profile(run.tenant, run.chain.of, tools.profiles)
    state = State(
        run.tenant, profile.name, run.export_id, tuple(run.counts), profile.next_update, run.sequence or 0
    )
    signer = tools.keys.signer(run.tenant, profile.spec.signing.key_ref)
    return issue_freshness(state, tools.sources(), tools.statements, signer, tools.now)


def about(run: Run, statements: Statements) -> Signed | None:
    """The newest statement of a run's profile, where it is about the run's export."""
    if run.chain is None:
        return None
    signed = statements.newest(run.tenant, run.chain.of)
    if signed is None or freshness.parse(signed.statement).export_id != run.export_id:
        return None
    return signed


def stated(run: Run, statements: Statements) -> Signed:
    """The same, where there must be one.

    Raises:
        NoStatement: the run made no mirror archive, or one that is not the newest of its profile.
    """
    signed = about(run, statements)
    if signed is None:
        raise NoStatement(f"there is no freshness statement about the export of run {run.id}")
    return signed


def newest_of(tenant: str, profile: str, runs: Runs) -> Run:
    """The run that cut the latest snapshot for a mirror profile, full or delta; of equal ones the last.

    Raises:
        RunNotFound: none has succeeded yet.
    """
    found = [
        run
        for run in runs.list(tenant, RunFilter(status=RunStatus.SUCCEEDED.value))
        if run.chain is not None and run.chain.of == profile
    ]
    if not found:
        raise RunNotFound(f"tenant {tenant} has no export of a mirror profile {profile!r}")
    return max(found, key=lambda run: run.sequence or 0)
