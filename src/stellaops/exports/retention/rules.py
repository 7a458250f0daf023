"""Which bundles stay and which may go, and why: rules alone, over the records of a tenant's runs.

What stays: what the rule of its profile keeps; the newest full bundle and the last deltas of each profile; what is
pinned or under a legal hold; what the newest of a target names; what runs that have not ended build on. And whatever
any of these builds on, down to the full bundle of its chain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from stellaops.exports.run import ENDED, Archive, Run, RunStatus

KEPT_DELTAS = 5
"""How many of the last deltas of a chain always stay."""
FAILED_KEPT = timedelta(days=7)
"""How long the evidence that a failed run was cut from stays, so that it can be replayed."""
_LATEST = "latest"
_DELIVERED = "succeeded"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Mode(StrEnum):
    """What a rule counts."""

    DAYS = "days"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Rule:
    """How long bundles are kept: for days, or the newest ones by count."""

    mode: Mode | Literal["days", "count"]
    value: int

    def to_wire(self) -> dict[str, str | int]:
        """As profiles and settings write it."""
        return {"mode": str(self.mode), "value": self.value}


USUAL: Mapping[str, Rule] = {
    "json": Rule(Mode.DAYS, 30),
    "mirror": Rule(Mode.DAYS, 30),
    "trivy": Rule(Mode.COUNT, 10),
}
"""The rule of each kind of bundle, where nothing else is said."""


class PinKind(StrEnum):
    """Why a run is left alone."""

    PIN = "pin"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Pin:
    """A run that retention leaves alone because somebody said so, and why they did."""

    tenant: str
    run_id: str
    kind: PinKind
    reason: str
    set_by: str
    set_at: datetime

    @property
    def told(self) -> str:
        """It, in a sentence."""
        words = "under a legal hold" if self.kind is PinKind.HOLD else "pinned"
        return f"{words} by {self.set_by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A run with a bundle, and why that stays or may go."""

    run: Run
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the bundles of a tenant, newest run first."""

    stays: tuple[Judged, ...]
    goes: tuple[Judged, ...]


def holds_bundle(run: Run) -> bool:
    """Whether a run has a bundle that its users may fetch."""
    gone = run.expired is not None or run.removed_at is not None
    return run.is_published and run.archive is not None and not gone


def decide(
    runs: Collection[Run],
    pins: Collection[Pin],
    rule_of: Callable[[Run], Rule],
    now: datetime,
    latest: Mapping[str, str] = _NOTHING,
) -> Decision:
    """What stays and what may go.

    Args:
        runs: all of one tenant.
        rule_of: by the run's profile as it is at present.
        latest: ids of the runs that moving names of targets stand for, or are about to, with the target of each.
    """
    holders = sorted(filter(holds_bundle, runs), key=_asked, reverse=True)
    reasons, over = _by_rules(holders, rule_of, now)
    _add(reasons, _pinned(holders, pins))
    _add(reasons, _newest(holders))
    _add(reasons, _named_by_targets(holders, latest))
    unended = [run for run in runs if run.status not in ENDED]
    _add(reasons, _asked_for(holders, unended))
    _add_needed(reasons, holders, unended)
    return Decision(
        tuple(Judged(run, reasons[run.id]) for run in holders if run.id in reasons),
        tuple(Judged(run, over[run.id]) for run in holders if run.id not in reasons),
    )


def why_needed(run: Run, runs: Collection[Run], pins: Collection[Pin]) -> str | None:
    """Why a run must not be deleted, a sentence: it is pinned, or others build on it. None where it may be.

    Args:
        runs: all of the tenant.
    """
    holders = [each for each in runs if holds_bundle(each)]
    unended = [each for each in runs if each.status not in ENDED]
    reasons = dict[str, str]()
    _add(reasons, _pinned(holders, pins))
    _add(reasons, _asked_for(holders, unended))
    _add(reasons, _built_on(holders, [*unended, *holders]))
    return reasons.get(run.id)


def owned(runs: Iterable[Run]) -> set[Archive]:
    """The archives that some run has, or is about to have."""
    return {run.archive for run in runs if run.archive is not None and _counts(run)}


def referenced(runs: Collection[Run]) -> set[Archive]:
    """These, and those that some run builds on."""
    chains = (run.chain for run in runs if run.chain is not None and _counts(run))
    return owned(runs) | {chain.base for chain in chains if chain.base is not None}


def _counts(run: Run) -> bool:
    return holds_bundle(run) or run.status not in ENDED


def left_over(runs: Collection[Run]) -> dict[Archive, list[Run]]:
    """Archives that no run refers to, with the runs that had them: of expired runs, and of those that failed.

    A run says in its record which archive it is going to store before it does so. So what processes that died have
    left in the store of artefacts is found here too.
    """
    needed = referenced(runs)
    found: dict[Archive, list[Run]] = defaultdict(list)
    for run in runs:
        own = run.archive if run.removed_at is None else None
        for archive in dict.fromkeys((own, *run.abandoned)):
            if archive is not None and archive not in needed:
                found[archive].append(run)
    return dict(found)


def needed_sequence(runs: Iterable[Run], now: datetime) -> int | None:
    """The oldest snapshot that a run may still be replayed from, or built on; None where there is none."""
    return min((found for run in runs if (found := _sequence_of(run, now)) is not None), default=None)


def _sequence_of(run: Run, now: datetime) -> int | None:
    if run.status not in ENDED:
        return run.asked.sequence if run.sequence is None else run.sequence
    recent = run.finished_at is None or now - run.finished_at <= FAILED_KEPT
    if holds_bundle(run) or (run.status is RunStatus.FAILED and recent):
        return run.sequence
    return None


def _asked(run: Run) -> tuple[datetime, str]:
    return run.submitted_at, run.id


def _age(run: Run) -> tuple[int, datetime, str]:
    """What was cut from the later snapshot is the newer one."""
    return run.sequence or 0, run.submitted_at, run.id


def group_of(run: Run) -> str:
    """Whose newest bundle stays: of a mirror, the full profile whose state it carries."""
    return run.profile if run.chain is None else run.chain.of


def _add(reasons: dict[str, str], more: Iterable[tuple[Run, str]]) -> None:
    """Of several reasons the first is told."""
    for run, why in more:
        reasons.setdefault(run.id, why)


def _by_rules(
    holders: Sequence[Run], rule_of: Callable[[Run], Rule], now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """Which runs the rules of their profiles keep, and which they do not, with a sentence each.

    Runs that share an archive count as one bundle.
    """
    kept, over = dict[str, str](), dict[str, str]()
    archives: defaultdict[str, list[Archive]] = defaultdict(list)
    for run in holders:
        rule, seen = rule_of(run), archives[run.profile]
        if run.archive is not None and run.archive not in seen:
            seen.append(run.archive)
        days = (now - (run.finished_at or run.submitted_at)).days
        if rule.mode == Mode.COUNT:
            place = len(seen)
            stays, told = place <= rule.value, _told_place(place, rule.value)
        else:
            stays, told = days < rule.value, f"{_days(days)} old; kept for {_days(rule.value)}"
        (kept if stays else over)[run.id] = told
    return kept, over


def _told_place(place: int, most: int) -> str:
    """Where a bundle stands among those of its profile, counted from the newest, and how many are kept."""
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    ranked = "the newest" if place == 1 else f"the {place}{ending} newest"
    return f"{ranked}; {most} {'is' if most == 1 else 'are'} kept"


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def _pinned(holders: Sequence[Run], pins: Collection[Pin]) -> Iterator[tuple[Run, str]]:
    told = {pin.run_id: pin.told for pin in sorted(pins, key=lambda pin: pin.kind is PinKind.PIN)}
    for pin in pins:  # a hold says more than a pin
        if pin.kind is PinKind.HOLD:
            told[pin.run_id] = pin.told
    return ((run, told[run.id]) for run in holders if run.id in told)


def _newest(holders: Sequence[Run]) -> Iterator[tuple[Run, str]]:
    """Of each profile the full bundle of the latest snapshot, the one made last, and the last deltas."""
    groups: defaultdict[str, list[Run]] = defaultdict(list)
    for run in holders:
        groups[group_of(run)].append(run)
    for name, found in groups.items():
        fulls = [run for run in found if run.chain is None or run.chain.number == 0]
        if fulls:
            for run in (max(fulls, key=_age), max(fulls, key=_asked)):
                yield run, f"the newest full bundle of {name}"
        deltas = sorted((run for run in found if run.chain and run.chain.number), key=_age, reverse=True)
        archives = list(dict.fromkeys(run.archive for run in deltas))[:KEPT_DELTAS]
        for run in deltas:
            if run.archive in archives:
                yield run, f"one of the last {KEPT_DELTAS} deltas of {name}"


def _named_by_targets(holders: Sequence[Run], latest: Mapping[str, str]) -> Iterator[tuple[Run, str]]:
    """What moving names are about to stand for, and of each profile the newest that they were set to."""
    found = {(latest[run.id], run.profile, "about to be"): run for run in holders if run.id in latest}
    for run in sorted(holders, key=_age):
        for told in run.targets:
            if told.get("latest") and told.get("status") == _DELIVERED:
                found[str(told.get("target")), run.profile, ""] = run
    for (target, _, _), run in found.items():
        yield run, f"what the target {target} names its latest"


def _asked_for(holders: Sequence[Run], unended: Sequence[Run]) -> Iterator[tuple[Run, str]]:
    """What runs that wait are to build on."""
    wanted = {run.asked.base: run for run in unended if run.asked.base not in (None, _LATEST)}
    for run in holders:
        for name in (run.id, run.export_id, run.archive_id):
            if name in wanted:
                yield run, f"run {wanted[name].id} is to build on it"


def _add_needed(reasons: dict[str, str], holders: Sequence[Run], unended: Sequence[Run]) -> None:
    """Whatever one that stays builds on, and so on down its chain."""
    base_of = _base_of(holders)
    waiting = [*unended, *(run for run in holders if run.id in reasons)]
    while waiting:
        run = waiting.pop()
        base = base_of(run)
        if base is not None and base.id not in reasons:
            reasons[base.id] = f"run {run.id} builds on it"
            waiting.append(base)


def _built_on(holders: Sequence[Run], builders: Iterable[Run]) -> Iterator[tuple[Run, str]]:
    base_of = _base_of(holders)
    for run in builders:
        base = base_of(run)
        if base is not None:
            yield base, f"run {run.id} builds on it"


def _base_of(holders: Sequence[Run]) -> Callable[[Run], Run | None]:
    """Tells what a run builds on: the run that it names, or, where that is gone, one with the same archive."""
    by_id = {run.id: run for run in holders}
    by_archive: dict[Archive | None, Run] = {run.archive: run for run in reversed(holders)}

    def found(run: Run) -> Run | None:
        if run.chain is None or run.chain.base is None:
            return None
        return by_id.get(run.chain.base_run or "") or by_archive.get(run.chain.base)

    return found
