"""Remove what is over: bundles that no rule keeps, what killed runs left behind, and evidence that no run needs.

In an order that can end anywhere. A run's record says that it has expired before anything of its bundle is removed, and
that its archive is gone after that; what a pass that died has begun, the next one finishes. Whether an archive may go
is decided under the tenant's turn, by records that were read there: a run says in its record what it is going to share,
to store or to build on, and then waits for the turn once (`claim_archive`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from stellaops.core.errors import StellaError
from stellaops.exports.distribution.ports import LatestNames, Targets
from stellaops.exports.errors import RetentionBusy, RunChanged
from stellaops.exports.manage_profiles import list_profiles
from stellaops.exports.ports import ArtefactStore, Profiles, Runs
from stellaops.exports.profile import Profile
from stellaops.exports.retention.ports import (
    EvidenceFloor,
    Lists,
    Passes,
    Pins,
    Pruned,
    Reclaimed,
    Tenants,
    Turns,
)
from stellaops.exports.retention.prune_targets import foretell_targets, prune_targets
from stellaops.exports.retention.report import RemovedArchive, Report, judged_wire, pin_wire
from stellaops.exports.retention.rules import (
    USUAL,
    Decision,
    Mode,
    Rule,
    decide,
    left_over,
    needed_sequence,
)
from stellaops.exports.run import Archive, Run, RunStatus

_AT_ONCE = 20
"""Archives that are removed in one turn; runs of the tenant wait for it."""


@dataclass(frozen=True, slots=True)
class RetentionTools:
    """What passes of retention work with.

    Attributes:
        rules: of kinds of bundles, as the installation's settings have them.
        grace: how long whatever is read of the evidence without a run may take.
    """

    runs: Runs
    profiles: Profiles
    artefacts: ArtefactStore
    pins: Pins
    turns: Turns
    evidence: EvidenceFloor
    lists: Lists
    passes: Passes
    tenants: Tenants
    targets: Targets
    latest: LatestNames
    rules: Mapping[str, Rule]
    grace: timedelta
    now: Callable[[], datetime]


def prune_exports(
    tools: RetentionTools, tenants: Collection[str] | None = None, *, dry_run: bool = False
) -> Report:
    """One pass: bundles of some tenants or of all, then evidence that no run of any tenant needs.

    What cannot be done is told in the report; the rest is done.

    Args:
        dry_run: only tell what would go.

    Raises:
        RetentionBusy: another pass is under way.
    """
    report = Report(tools.now(), dry_run)
    if dry_run:
        _through(tools, tenants, report)
        return report
    with tools.turns.alone() as alone:
        if not alone:
            raise RetentionBusy("another pass of retention is under way")
        _through(tools, tenants, report)
    tools.passes.note(tools.now(), report.counts(), ok=report.ok)
    return report


def _through(tools: RetentionTools, tenants: Collection[str] | None, report: Report) -> None:
    for tenant in sorted(tools.tenants.with_runs() if tenants is None else tenants):
        _try(report, f"tenant {tenant}", partial(_prune_tenant, tenant, tools, report))
    _try(report, "digest lists", partial(_prune_lists, tools, report))
    _try(report, "evidence", partial(_prune_evidence, tools, report))


def _try(report: Report, what: str, part: Callable[[], None]) -> None:
    try:
        part()
    except StellaError as error:
        report.failures.append(f"{what}: {error.what}")


def _prune_tenant(tenant: str, tools: RetentionTools, report: Report) -> None:
    if report.dry:
        _foretell(tenant, tools, report)
        return
    _expire(tenant, tools, report)
    prune_targets(tenant, tools.runs, tools.targets, report, tools.now)
    _remove_left_over(tenant, tools, report)


def judge(tenant: str, tools: RetentionTools) -> Decision:
    """What stays and what may go at present, by the rules of profiles as they are."""
    known: dict[str, Profile] = {each.name: each for each in list_profiles(tenant, tools.profiles)}
    return decide(
        tools.runs.list(tenant),
        tools.pins.pins(tenant),
        lambda run: rule_of(known.get(run.profile), run.kind, tools.rules),
        tools.now(),
        {each.run_id: each.target for each in tools.latest.all(tenant)},
    )


def rule_of(profile: Profile | None, kind: str, rules: Mapping[str, Rule]) -> Rule:
    """The rule of a profile: its own, else that of its kind of bundle."""
    own = None if profile is None else profile.spec.retention
    if own is not None:
        return Rule(Mode(own.mode), own.value)
    family = kind.partition(":")[0]
    return rules.get(family, USUAL[family])


def _expire(tenant: str, tools: RetentionTools, report: Report) -> None:
    """Note in the records of runs that their bundles go; from here on nobody finds them."""
    with tools.turns.turn(tenant):
        for judged in judge(tenant, tools).goes:
            run = judged.run
            status = RunStatus.EXPIRED if run.status is RunStatus.SUCCEEDED else run.status
            with suppress(RunChanged):  # it is in use: the next pass looks at it again
                tools.runs.change(replace(run, status=status, expired=judged.why))
                report.expired.append(judged)


def _remove_left_over(tenant: str, tools: RetentionTools, report: Report) -> None:
    tried: set[Archive] = set()
    while True:
        with tools.turns.turn(tenant):
            found = {
                archive: runs
                for archive, runs in left_over(tools.runs.list(tenant)).items()
                if archive not in tried
            }
            some = list(found.items())[:_AT_ONCE]
            for archive, runs in some:
                tried.add(archive)
                _remove(archive, runs, tools, report)
        if len(found) <= len(some):
            return


def _remove(archive: Archive, runs: Sequence[Run], tools: RetentionTools, report: Report) -> None:
    removed = _told(archive, runs, tools)
    tools.artefacts.delete(archive)
    for run in runs:
        with suppress(RunChanged):  # the next pass finds the archive gone, and notes it
            tools.runs.change(_without(run, archive, tools.now()))
    if removed.bytes:
        report.archives.append(removed)
        tools.passes.count([Pruned(removed.tenant, removed.profile, removed.kind, 1)])


def _without(run: Run, archive: Archive, now: datetime) -> Run:
    """The run after an archive of it is gone."""
    abandoned = tuple(each for each in run.abandoned if each != archive)
    removed_at = now if run.archive == archive and run.removed_at is None else run.removed_at
    return replace(run, abandoned=abandoned, removed_at=removed_at)


def _told(archive: Archive, runs: Sequence[Run], tools: RetentionTools) -> RemovedArchive:
    size = sum(file.bytes for file in tools.artefacts.files(archive))
    first = runs[0]
    return RemovedArchive(
        first.tenant, first.profile, first.kind, archive, tuple(run.id for run in runs), size
    )


def _foretell(tenant: str, tools: RetentionTools, report: Report) -> None:
    decision = judge(tenant, tools)
    report.expired += decision.goes
    over = {judged.run.id for judged in decision.goes}
    runs = [
        replace(run, status=RunStatus.EXPIRED, expired="-") if run.id in over else run
        for run in tools.runs.list(tenant)
    ]
    foretell_targets(runs, tools.targets, report)
    told = (_told(archive, had, tools) for archive, had in left_over(runs).items())
    report.archives += [each for each in told if each.bytes]


def _prune_lists(tools: RetentionTools, report: Report) -> None:
    report.lists = 0 if report.dry else tools.lists.sweep()


def _prune_evidence(tools: RetentionTools, report: Report) -> None:
    now = tools.now()
    bounds = [tools.evidence.highest(now - tools.grace)]
    for tenant in tools.tenants.with_runs():
        needed = needed_sequence(tools.runs.list(tenant), now)
        bounds += [] if needed is None else [needed]
    if report.dry:
        was = tools.evidence.floor()
        report.evidence = Reclaimed(max(was, min(bounds)), was)
        return
    tools.evidence.mark(now)
    report.evidence = tools.evidence.raise_to(min(bounds), now)


def overview(tenant: str, tools: RetentionTools) -> dict[str, Any]:
    """The rules of a tenant's profiles, and what stays and may go by them, as scripts read it."""
    decision = judge(tenant, tools)
    last = tools.passes.last()
    bundles = Counter(judged.run.profile for judged in decision.stays)
    return {
        "tenant": tenant,
        "rules": [
            {
                "profile": profile.name,
                "kind": profile.kind,
                **rule_of(profile, profile.kind, tools.rules).to_wire(),
                "from": "settings" if profile.spec.retention is None else "profile",
                "bundles": bundles[profile.name],
            }
            for profile in list_profiles(tenant, tools.profiles)
        ],
        "stays": judged_wire(decision.stays),
        "goes": judged_wire(decision.goes),
        "pins": [pin_wire(pin) for pin in tools.pins.pins(tenant)],
        "evidence": {"floor": tools.evidence.floor()},
        "last": None if last is None else last.to_wire(),
    }
