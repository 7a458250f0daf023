"""Fetch the newest bundle of each profile back from each target, as its users do, and verify it.

What is fetched must verify by the tenant's public keys from its files alone, be what the run made, be what the target's
moving names stand for, and hold databases that stock Trivy finds its sentinels with. A bundle that goes while it is
looked at, or that a newer one takes the place of, is passed over.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from stellaops.core import timestamps
from stellaops.core.errors import DependencyFailed, MissingPrerequisite, NotTrusted, StellaError
from stellaops.exports.distribution.ports import Kept, LatestNames, Target, Targets
from stellaops.exports.distribution.unpack_trivy import unpack_trivy
from stellaops.exports.errors import StagingTaken, VerifyFailed
from stellaops.exports.manage_profiles import find_profile, list_profiles
from stellaops.exports.ports import (
    ArtefactStore,
    Keys,
    Profiles,
    RunFilter,
    Runs,
    Scanner,
    Staging,
    Workspace,
)
from stellaops.exports.profile import HTTP, Profile
from stellaops.exports.retention.room import staged_kind
from stellaops.exports.run import Run
from stellaops.exports.use_trivy import smoke
from stellaops.kit.verify import verify_bundle

FETCH, RECORD, LATEST, SMOKE = "fetch", "record", "latest", "smoke"
SIGNER = "signer"
"""The step of `kit.verify` that a target may take itself, before anything is fetched."""
OWN_CHECKS = (FETCH, RECORD, LATEST, SMOKE)
"""What is checked beside the steps of `kit.verify`."""
OK, FAILED, SKIPPED = "ok", "failed", "skipped"
_TRIES = 3
_PIECE = 1 << 20
_LOOKED_THROUGH = 100
"""How many runs of a profile are looked through for the one that a target has."""


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """What came of fetching a bundle back.

    Attributes:
        status: `ok`, `failed`, or `skipped` where nothing can be said about the bundle.
        failed: checks that failed with what was found, a pair each.
        remarks: what was not looked at, and why.
        bytes: that were fetched.
    """

    tenant: str
    profile: str
    kind: str
    target: str
    driver: str
    run_id: str
    reference: str
    at: datetime
    status: str = OK
    failed: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    bytes: int = 0
    seconds: float = 0.0

    def to_wire(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "profile": self.profile,
            "kind": self.kind,
            "target": self.target,
            "driver": self.driver,
            "runId": self.run_id,
            "reference": self.reference,
            "at": timestamps.render(self.at),
            "status": self.status,
            "failed": [{"check": name, "detail": detail} for name, detail in self.failed],
            "remarks": list(self.remarks),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


class TargetChecks(Protocol):
    """What was last found at each target."""

    def put(self, check: TargetCheck) -> None:
        """Keep what was found in the place of what was found before; failures are counted and told."""
        ...

    def all(self, tenant: str | None = None) -> Sequence[tuple[TargetCheck, datetime | None]]:
        """Of a tenant or of all: what was last found, and when a bundle was last found sound."""
        ...


@dataclass(frozen=True, slots=True)
class VerifyTools:
    """What verification at targets works with."""

    runs: Runs
    profiles: Profiles
    artefacts: ArtefactStore
    targets: Targets
    latest: LatestNames
    checks: TargetChecks
    keys: Keys
    scanner: Scanner
    workspace: Workspace
    sleep: Callable[[float], None]
    now: Callable[[], datetime]


@dataclass(slots=True)
class _Found:
    """What is noted while a bundle is looked at."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Subject:
    """A bundle at a target, as the run's record has it there."""

    profile: Profile
    target: str
    driver: str
    run: Run
    kept: Kept


class _CannotSay(Exception):
    """Nothing can be said about the bundle, and why."""


def verify_targets(
    tenant: str,
    tools: VerifyTools,
    *,
    target: str | None = None,
    profile: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[TargetCheck]:
    """Look at the newest bundles of a tenant, one after the other; what was found is kept before the next one's turn.

    Args:
        target, profile: only there, or only of this one.

    Raises:
        TargetNotFound: the tenant has no such target.
        ProfileNotFound: nor such a profile.
    """
    if profile is not None:
        find_profile(tenant, profile, tools.profiles)
    names = list(tools.targets.names(tenant))
    if target is not None:
        tools.targets.target(tenant, target)
        names = [target]
    for each in list_profiles(tenant, tools.profiles):
        for name in names if profile in (None, each.name) else ():
            found = newest_at(tenant, each.name, name, tools)
            if found is not None:
                progress(f"{each.name} at {name}")
                check = _look(_subject(each, name, *found), tools)
                tools.checks.put(check)
                yield check


def newest_at(
    tenant: str, profile: str, target: str, tools: VerifyTools
) -> tuple[Run, Mapping[str, Any]] | None:
    """The newest run of a profile whose bundle a target has, and what the run's record says of it there."""
    pointed = tools.latest.of(target, tenant, profile)
    if pointed is not None:
        run = tools.runs.get(tenant, pointed.run_id)
        # Whatever came of a later delivery of it: names that were once given are looked at.
        entry = None if run is None or not _has_bundle(run) else _told_of(run, target)
        if run is not None and entry is not None and entry.get("reference") == pointed.reference:
            return run, entry
    # Of all whose names moved there, or, where no name moves, of all that are there.
    runs = tools.runs.list(tenant, RunFilter(profile), limit=_LOOKED_THROUGH)
    there = [(run, entry) for run in runs if (entry := _entry(run, target)) is not None]
    if pointed is not None and not there:
        # Its names were given once; a delivery that failed later leaves the reference in the record.
        had = ((run, _told_of(run, target)) for run in runs if _has_bundle(run))
        there = [
            (run, entry)
            for run, entry in had
            if entry and entry.get("status") == FAILED and entry.get("reference")
        ]
    return max(there, key=lambda pair: (pair[0].sequence or 0, pair[0].submitted_at), default=None)


def _entry(run: Run, target: str) -> Mapping[str, Any] | None:
    """What a run's record says of a target that has its bundle and names it; None where it does not."""
    if run.archive is None or not _has_bundle(run):
        return None
    entry = _told_of(run, target)
    if target == HTTP.name:
        # The store itself: with no name that moves, and with no entry in records of earlier releases.
        own = {"reference": f"artefacts:{run.archive.export_id}/{run.archive.archive_id}"}
        return dict(entry or {"driver": HTTP.driver}) | own
    if entry is None or entry.get("status") != "succeeded" or not entry.get("latest", True):
        return None
    return entry if entry.get("reference") else None


def _has_bundle(run: Run) -> bool:
    return run.archive is not None and run.removed_at is None and run.is_published and run.expired is None


def _told_of(run: Run, target: str) -> Mapping[str, Any] | None:
    return next((each for each in run.targets if each.get("target") == target), None)


def _subject(profile: Profile, target: str, run: Run, entry: Mapping[str, Any]) -> _Subject:
    if run.archive is None:
        raise ValueError(f"run {run.id} has no archive")
    options = dict(entry.get("options") or {})
    kept = Kept(run.tenant, run.profile, run.kind, run.archive, str(entry["reference"]), options)
    return _Subject(profile, target, str(entry.get("driver") or ""), run, kept)


def _look(subject: _Subject, tools: VerifyTools) -> TargetCheck:
    began, found, run = time.monotonic(), _Found(), subject.run
    check = TargetCheck(
        run.tenant, run.profile, run.kind, subject.target, subject.driver, run.id, subject.kept.reference,
        tools.now(),
    )  # fmt: skip
    try:
        _examine(subject, tools, found)
        status = FAILED if found.failed else OK
        if found.failed and _is_over(run, subject.target, tools):
            raise _CannotSay("it was removed, or a newer one took its place, while it was looked at")  # noqa: TRY301
    except _CannotSay as reason:
        status, found.failed = SKIPPED, []
        found.remarks.append(str(reason))
    return replace(
        check,
        status=status,
        failed=tuple(found.failed),
        remarks=tuple(found.remarks),
        bytes=found.bytes,
        seconds=time.monotonic() - began,
    )


def _is_over(run: Run, target: str, tools: VerifyTools) -> bool:
    """Whether a bundle is no more what users of the target get, such as after retention or a newer run."""
    found = newest_at(run.tenant, run.profile, target, tools)
    return found is None or found[0].id != run.id


def _examine(subject: _Subject, tools: VerifyTools, found: _Found) -> None:
    run = subject.run
    place = f"verify-{run.id}-{hashlib.sha256(subject.target.encode()).hexdigest()[:8]}"
    try:
        with tools.workspace.stage(place) as staging:
            staging.reserve(staged_kind(run.kind, run.bytes, trivy=subject.profile.has_trivy))
            target = _fetched(subject, staging.root, tools, found)
            if target is not None:
                _judge(subject, staging, tools, found)
                _demand_latest(target, subject.kept, tools, found)
    except (StagingTaken, MissingPrerequisite) as error:
        raise _CannotSay(f"{error.code}: {error.what}") from error


def _fetched(subject: _Subject, root: Path, tools: VerifyTools, found: _Found) -> Target | None:
    """The target, after the bundle was got from it; None where that failed."""
    for attempt in range(1, _TRIES + 1):
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        try:
            target = tools.targets.target(subject.run.tenant, subject.target)
            target.fetch(subject.kept, root)
        except MissingPrerequisite:
            raise  # what this machine lacks, such as room or a library, says nothing of the target
        except VerifyFailed as error:
            found.failed.append((SIGNER, error.what))
            return None
        except StellaError as error:
            again = isinstance(error, DependencyFailed) and getattr(error, "again", True)
            if not again or attempt == _TRIES:
                found.failed.append((FETCH, f"{error.code}: {error.what}"))
                return None
            tools.sleep(float(getattr(error, "retry_after", None) or 2**attempt))
        else:
            found.bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
            return target
    return None


def _judge(subject: _Subject, staging: Staging, tools: VerifyTools, found: _Found) -> None:
    """Verify what was fetched by its files and the tenant's public keys alone, then by the run's record."""
    run = subject.run
    trusted, revoked = tools.keys.trusted(run.tenant)
    report = verify_bundle(staging.root, trusted, revoked=revoked, scratch=staging.scratch)
    found.failed += [(check.name, check.detail) for check in report.failed()]
    found.failed += [(RECORD, problem) for problem in _unlike(subject, staging.root)]
    if report.export_id is not None and report.export_id != run.export_id:
        found.failed.append((RECORD, f"it is export {report.export_id}, the run made {run.export_id}"))
    if report.verdict != "ok" and not found.failed:
        found.failed.append((SIGNER, "the bundle was not verified"))
    if not found.failed:
        encrypted = any(check.name == "encryption" and check.status == "ok" for check in report.checks)
        if not encrypted and subject.profile.spec.smoke != "off":
            _scan(subject, staging, tools, found)


def _unlike(subject: _Subject, root: Path) -> Iterator[str]:
    """Files that are not as the run made them, or as they were brought before it was signed again; a sentence each."""
    brought = (_told_of(subject.run, subject.target) or {}).get("artifacts") or ()
    earlier = {each["path"]: each["sha256"] for each in brought}
    for artifact in subject.run.artifacts:
        path = root / artifact.path
        if not path.is_file():
            yield f"{artifact.path} is missing"
        elif f"sha256:{_digest(path)}" not in (artifact.sha256, earlier.get(artifact.path)):
            yield f"{artifact.path} is not the file that the run made"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _scan(subject: _Subject, staging: Staging, tools: VerifyTools, found: _Found) -> None:
    """Have stock Trivy find the sentinels of every database that is there."""
    databases = unpack_trivy(staging.root, staging.scratch / "databases")
    if databases is None:
        return
    if tools.scanner.available() is None:
        if subject.profile.spec.smoke == "required":
            found.failed.append((SMOKE, "the profile demands a smoke scan, and no trivy was found"))
        else:
            found.remarks.append("no smoke scan: no trivy was found")
        return
    try:
        smoke(databases, tools.scanner, staging.scratch)
    except VerifyFailed as error:
        found.failed.append((SMOKE, error.what))
    except (DependencyFailed, NotTrusted) as error:
        found.failed.append((SMOKE, f"{error.code}: {error.what}"))


def _demand_latest(target: Target, kept: Kept, tools: VerifyTools, found: _Found) -> None:
    """See that the names which users ask for stand for the bundle."""
    if target.driver == HTTP.driver:
        return
    try:
        there = target.newest(kept)
    except StellaError as error:
        found.failed.append((LATEST, f"{error.code}: {error.what}"))
        return
    pointed = tools.latest.of(target.name, kept.tenant, kept.profile)
    wanted = kept.reference if pointed is None else pointed.reference
    if there != wanted:
        found.failed.append((LATEST, f"the moving names stand for {there or 'nothing'}, not for {wanted}"))


def summary(checks: Sequence[TargetCheck]) -> dict[str, Any]:
    """Numbers of a pass, and what failed, for the record of the chore."""
    failed = [each for each in checks if each.status == FAILED]
    return {
        "checked": len(checks),
        "ok": sum(each.status == OK for each in checks),
        "failed": len(failed),
        "skipped": sum(each.status == SKIPPED for each in checks),
        "bytes": sum(each.bytes for each in checks),
        "failures": [
            {"tenant": each.tenant, "runId": each.run_id, "profile": each.profile, "target": each.target,
             "checks": [name for name, _ in each.failed]}
            for each in failed[:50]
        ],
    }  # fmt: skip
