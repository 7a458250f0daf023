"""Retention, whatever the sequence of runs, deltas, pins, passes and replays: all that a kept bundle needs is there."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from stellaops.exports import control_runs
from stellaops.exports.errors import BaseMissing, RunKept
from stellaops.exports.retention.pin_runs import pin_run, unpin_run
from stellaops.exports.retention.prune_exports import prune_exports
from stellaops.exports.retention.rules import (
    KEPT_DELTAS,
    Mode,
    Pin,
    PinKind,
    Rule,
    decide,
    group_of,
    holds_bundle,
    left_over,
    referenced,
)
from stellaops.exports.run import Chain, Run, RunStatus
from stellaops.kit.apply import Trust, restore
from tests.unit.exports.retaining import FIRST_DAY, TENANT, Keeper, document

# ---- the rules alone

_STATUSES = st.sampled_from(
    [RunStatus.SUCCEEDED] * 6 + [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.RUNNING, RunStatus.PENDING]
)
_runs = st.lists(
    st.tuples(
        st.sampled_from(["json:raw", "trivy:db", "mirror:full", "mirror:delta"]),
        _STATUSES,
        st.integers(0, 6),  # which content
        st.integers(0, 3),  # days until the next one
        st.integers(0, 30),  # which earlier run a delta builds on
    ),
    max_size=40,
)


def history(told: list[tuple[str, RunStatus, int, int, int]]) -> list[Run]:
    """Records of runs, oldest first; deltas build on mirrors before them."""
    made: list[Run] = []
    day = 0
    for number, (profile, status, content, days, which) in enumerate(told):
        day += days
        chain = Chain("mirror:full", "r1") if profile.startswith("mirror") else None
        bases = [run for run in made if run.chain is not None and holds_bundle(run)]
        if profile == "mirror:delta" and bases:
            base = bases[which % len(bases)]
            assert base.chain is not None
            chain = Chain("mirror:full", "r1", base.chain.number + 1, base.archive, base.id)
        at = FIRST_DAY + timedelta(days=day, seconds=number)
        name = f"{profile}-{content}" if chain is None or chain.base is None else f"delta-{number}"
        named = None if status is RunStatus.PENDING else name
        made.append(
            Run(
                f"run-{number:03d}", TENANT, profile, "r1", profile, {}, status, at,
                sequence=number, export_id=named, archive_id=named,
                finished_at=at if status is not RunStatus.RUNNING else None, chain=chain,
            )
        )  # fmt: skip
    return made


@settings(max_examples=100)
@given(_runs, st.sets(st.integers(0, 39), max_size=4), st.integers(1, 4), st.integers(0, 60))
def test_what_stays_has_all_that_it_needs_and_nothing_goes_that_must_not(
    told: list[tuple[str, RunStatus, int, int, int]], pinned: set[int], value: int, later: int
) -> None:
    runs = history(told)
    pins = [
        Pin(TENANT, run.id, PinKind.HOLD, "kept", "kim", FIRST_DAY)
        for number, run in enumerate(runs)
        if number in pinned
    ]
    rules = {
        "json": Rule(Mode.DAYS, value),
        "trivy": Rule(Mode.COUNT, value),
        "mirror": Rule(Mode.DAYS, value),
    }

    def judged(runs: list[Run]) -> Any:
        now = FIRST_DAY + timedelta(days=later + sum(days for *_, days, _ in told))
        return decide(runs, pins, lambda run: rules[run.kind.partition(":")[0]], now)

    decision = judged(runs)
    stays = {each.run.id: each.run for each in decision.stays}
    gone = {each.run.id for each in decision.goes}
    assert stays.keys() | gone == {run.id for run in runs if holds_bundle(run)}
    assert not stays.keys() & gone
    assert {pin.run_id for pin in pins} & gone == set()
    demand_bases(runs, stays)
    demand_newest(runs, stays)
    after = [replace(run, status=RunStatus.EXPIRED, expired="-") if run.id in gone else run for run in runs]
    free = left_over(after)
    assert not free.keys() & referenced(after)
    assert not free.keys() & {run.archive for run in stays.values()}
    assert free.keys() | referenced(after) >= {run.archive for run in after if run.archive is not None}
    assert judged(after).goes == (), "a second pass at the same moment has nothing to do"


def demand_bases(runs: list[Run], stays: dict[str, Run]) -> None:
    """What builds on something has it, and who is about to as well."""
    for run in runs:
        needs = run.id in stays or run.status in (RunStatus.RUNNING, RunStatus.PENDING)
        if needs and run.chain is not None and run.chain.base is not None:
            assert run.chain.base in {each.archive for each in stays.values()}


def demand_newest(runs: list[Run], stays: dict[str, Run]) -> None:
    groups: dict[str, list[Run]] = {}
    for run in filter(holds_bundle, runs):
        groups.setdefault(group_of(run), []).append(run)
    for found in groups.values():
        fulls = [run for run in found if run.chain is None or not run.chain.number]
        deltas = [run for run in found if run.chain is not None and run.chain.number]
        assert all(run.id in stays for run in [*fulls[-1:], *deltas[-KEPT_DELTAS:]])


# ---- a whole data directory


class Died(BaseException):
    """As if the process were gone."""


class Mortal:
    """A store whose process dies at one of its calls."""

    def __init__(self, store: object, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("change", "delete", "raise_to"):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise Died
            return found(*arguments, **more)

        return call


class Keeping(RuleBasedStateMachine):
    """Evidence changes, runs are made, pinned, replayed and deleted, days go by, and passes come, some of which die."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.keeper = Keeper(place)
        self.keeper.rules = {
            "json": Rule(Mode.DAYS, 5), "trivy": Rule(Mode.COUNT, 2), "mirror": Rule(Mode.DAYS, 5),
        }  # fmt: skip
        self.keeper.take(document(1), document(2), document(3))
        self.pinned: set[str] = set()
        self.made = 0

    def kept(self) -> list[Run]:
        return [run for run in self.keeper.local.runs.list(TENANT) if holds_bundle(run)]

    @rule(which=st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), min_size=1, max_size=3))
    def evidence_changes(self, which: list[tuple[int, str]]) -> None:
        self.keeper.take(
            *(document(number, summary=words) for number, words in dict(which).items()), prune=True
        )

    @rule(profile=st.sampled_from(["json:raw", "mirror:full", "mirror:delta", "mirror:delta"]))
    def run(self, profile: str) -> None:
        with suppress(BaseMissing):
            self.keeper.make(profile)
            self.made += 1

    @precondition(lambda self: self.made > 0)
    @rule(which=st.integers(0, 20))
    def replay(self, which: int) -> None:
        kept = self.kept()
        run = kept[which % len(kept)]
        base = None if run.chain is None else run.chain.base_run
        again = self.keeper.make(run.profile, sequence=run.sequence, base=base)
        assert again.export_id == run.export_id
        assert again.snapshot == run.snapshot

    @precondition(lambda self: self.made > 0)
    @rule(which=st.integers(0, 20), kind=st.sampled_from(PinKind))
    def pin(self, which: int, kind: PinKind) -> None:
        kept = self.kept()
        run = kept[which % len(kept)]
        pin_run(TENANT, run.id, kind, "kept", self.keeper.pins, by="kim")
        self.pinned.add(run.id)

    @precondition(lambda self: self.pinned)
    @rule()
    def unpin(self) -> None:
        run_id = min(self.pinned)
        for pin in self.keeper.local.pins.pins(TENANT):
            if pin.run_id == run_id:
                unpin_run(TENANT, run_id, pin.kind, "no more", self.keeper.pins)
        self.pinned.remove(run_id)

    @rule(days=st.integers(1, 8))
    def days_go_by(self, days: int) -> None:
        self.keeper.day += days

    @rule()
    def a_pass(self) -> None:
        assert self.keeper.prune().ok
        self.demand_whole()

    @rule(at=st.integers(1, 12))
    def a_pass_that_dies(self, at: int) -> None:
        tools = self.keeper.retention
        mortal: dict[str, Any] = {
            name: Mortal(getattr(tools, name), at) for name in ("runs", "artefacts", "evidence")
        }
        self.keeper.retention.evidence.mark(self.keeper.now())
        with suppress(Died):
            prune_exports(replace(tools, **mortal))
        self.demand_whole(settled=False)

    @precondition(lambda self: self.made > 2)
    @rule(which=st.integers(0, 20))
    def delete(self, which: int) -> None:
        kept = self.kept()
        if not kept:
            return
        run = kept[which % len(kept)]
        bases = {each.chain.base for each in kept if each.chain is not None}
        try:
            control_runs.delete_run(run, self.keeper.control_tools)
        except RunKept:
            assert run.id in self.pinned or run.archive in bases
        self.demand_whole(settled=False)

    def demand_whole(self, *, settled: bool = True) -> None:
        """Bundles, chains, evidence and pins; after a pass to the end nothing else lies there."""
        keeper, kept = self.keeper, self.kept()
        ids = {run.id for run in kept}
        assert self.pinned <= ids
        for run in kept:
            assert keeper.is_there(run), run.id
            assert keeper.snapshot(run) == run.snapshot
            if run.chain is not None and run.chain.base_run is not None:
                assert {run.chain.base} <= {each.archive for each in kept}
        folders = {keeper.folder(run) for run in kept}
        assert folders == set(keeper.folders()) if settled else folders <= set(keeper.folders())
        self.demand_chain(kept)

    def demand_chain(self, kept: list[Run]) -> None:
        """The newest delta can be restored from what is there."""
        deltas = [run for run in kept if run.chain is not None and run.chain.number]
        if not deltas:
            return
        links, archives = [deltas[0]], {run.archive: run for run in kept}
        while (chain := links[0].chain) is not None and chain.base is not None:
            links.insert(0, archives[chain.base])
        found = [next(self.keeper.folder(run).glob("mirror-*.tar.zst")) for run in links]
        with tempfile.TemporaryDirectory() as place:
            trusted = Trust(*self.keeper.local.tenant_keys.trusted(TENANT))
            restore(found, Path(place) / "there", trusted)

    def teardown(self) -> None:
        try:
            self.a_pass()
            self.keeper.day += 100
            self.a_pass()
        finally:
            self.keeper.local.evidence_engine.dispose()
            self.keeper.local.service_engine.dispose()
            self._stack.close()


def test_whatever_happens_everything_that_a_kept_bundle_needs_is_there() -> None:
    run_state_machine_as_test(Keeping, settings=settings(max_examples=3, stateful_step_count=14))


@pytest.mark.slow
def test_the_same_in_many_more_ways() -> None:
    run_state_machine_as_test(Keeping, settings=settings(max_examples=150, stateful_step_count=30))
