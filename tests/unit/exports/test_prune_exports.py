"""Passes of retention over a data directory: what goes, what stays, and that nothing needed is ever gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from stellaops.adapters.sql.metering import PRUNED, SqlMetering
from stellaops.authority.manage_keys import create_key
from stellaops.core.errors import DependencyFailed
from stellaops.exports import control_runs, execute_run
from stellaops.exports.errors import (
    BundleGone,
    RetentionBusy,
    RunKept,
    SnapshotPruned,
)
from stellaops.exports.manage_runs import opened
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.profile import Retention
from stellaops.exports.resign_exports import ResignTools, resign_exports
from stellaops.exports.retention.pin_runs import PinNotFound, ReasonMissing, pin_run, unpin_run
from stellaops.exports.retention.prune_exports import overview, prune_exports
from stellaops.exports.retention.rules import Mode, PinKind, Rule, decide
from stellaops.exports.run import Archive, Run, RunStatus
from tests.unit.exports.retaining import FIRST_DAY, TENANT, Keeper, document


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    found = Keeper(tmp_path)
    found.take(document(1), document(2))
    return found


def change(keeper: Keeper) -> None:
    """What makes the next bundle another one."""
    keeper.day += 1
    keeper.take(document(1, summary=f"Of day {keeper.day}"))


# ---- rules


def test_bundles_go_when_their_days_are_over_and_their_records_say_why(keeper: Keeper) -> None:
    first = keeper.make()
    change(keeper)
    second = keeper.make()
    keeper.day = 29
    assert keeper.prune().expired == []
    keeper.day = 30
    (gone,) = keeper.prune().expired
    assert (gone.run.id, gone.why) == (first.id, "30 days old; kept for 30 days")
    after = keeper.run(first.id)
    assert (after.status, after.expired, after.removed_at is not None) == (RunStatus.EXPIRED, gone.why, True)
    assert (after.export_id, after.artifacts) == (first.export_id, first.artifacts), (
        "what it was is still told"
    )
    with pytest.raises(BundleGone), opened(after, keeper.local.artefacts):
        pass
    assert keeper.kept() == [second.id]
    keeper.day = 1000
    assert keeper.prune().expired == [], "the newest stays"
    assert keeper.kept() == [second.id]


def test_by_count_the_newest_bundles_stay_and_equal_ones_count_once(keeper: Keeper) -> None:
    keeper.rules = {"json": Rule(Mode.COUNT, 2)}
    made = []
    for _ in range(3):
        made.append(keeper.make())
        made.append(keeper.make())
        change(keeper)
    assert made[0].archive == made[1].archive
    keeper.prune()
    assert keeper.kept() == [run.id for run in made[2:]]


def test_a_profile_has_a_rule_of_its_own_in_its_newest_revision(keeper: Keeper) -> None:
    keeper.profile("short", retention=Retention("days", 2))
    keeper.profile("long", retention=Retention("days", 90))
    runs = [keeper.make(name) for name in ("short", "long", "json:raw")]
    change(keeper)
    newer = [keeper.make(name) for name in ("short", "long", "json:raw")]
    keeper.day = 31
    keeper.prune()
    assert keeper.kept() == sorted([runs[1].id, *(run.id for run in newer)])
    keeper.profile("long", retention=Retention("days", 3))
    keeper.prune()
    assert keeper.kept() == [run.id for run in newer]
    rules = {
        each["profile"]: (each["value"], each["from"]) for each in overview(TENANT, keeper.retention)["rules"]
    }
    assert rules["long"] == (3, "profile")
    assert rules["json:raw"] == (30, "settings")


def test_a_dry_run_tells_what_a_pass_does_and_does_nothing(keeper: Keeper) -> None:
    keeper.make()
    change(keeper)
    keeper.make()
    keeper.day = 40
    foretold = keeper.prune(dry_run=True).to_wire()
    assert len(keeper.folders()) == 2
    assert keeper.retention.passes.last() is None
    done = keeper.prune().to_wire()
    assert (foretold["dryRun"], done["dryRun"]) == (True, False)
    assert [each["runId"] for each in foretold["expired"]] == [each["runId"] for each in done["expired"]]
    assert foretold["archives"] == done["archives"]
    assert foretold["bytes"] == done["bytes"] > 0
    last = keeper.retention.passes.last()
    assert last is not None
    assert last.report["archives"] == 1


def test_what_goes_is_counted_by_profile(keeper: Keeper) -> None:
    keeper.make()
    change(keeper)
    keeper.make()
    keeper.day = 40
    keeper.prune()
    (found,) = [each for each in SqlMetering(keeper.local.service_engine).counted() if each.name == PRUNED]
    assert found.value == 1
    assert found.labels == {"profile": "json:raw", "profile_kind": "json:raw", "tenant": TENANT}


# ---- what always stays


def test_the_newest_full_bundle_and_five_deltas_stay_with_all_that_they_build_on(keeper: Keeper) -> None:
    runs = [keeper.make("mirror:full")]
    for _ in range(7):
        change(keeper)
        runs.append(keeper.make("mirror:delta"))
    assert [run.chain.number for run in runs if run.chain] == list(range(8))
    keeper.day = 200
    keeper.prune()
    assert keeper.kept() == [run.id for run in runs], "a chain of deltas needs each of its links"
    keeper.day += 1
    change(keeper)
    full = keeper.make("mirror:full")
    keeper.day += 200
    keeper.prune()
    assert keeper.kept() == [run.id for run in [*runs, full]], (
        "the last deltas are those of the first chain yet"
    )
    deltas = []
    for _ in range(5):
        change(keeper)
        deltas.append(keeper.make("mirror:delta"))
    keeper.day += 200
    keeper.prune()
    assert keeper.kept() == [run.id for run in [full, *deltas]]


def test_pins_and_legal_holds_keep_a_bundle_and_what_it_builds_on(keeper: Keeper) -> None:
    full = keeper.make("mirror:full")
    change(keeper)
    delta = keeper.make("mirror:delta")
    change(keeper)
    last = keeper.make("mirror:full")
    for number in range(5):
        change(keeper)
        last = keeper.make("mirror:delta")
        assert last.chain is not None
        assert last.chain.number == number + 1
    pin_run(TENANT, delta.id, PinKind.PIN, "under review", keeper.pins, by="kim")
    pin_run(TENANT, delta.id, PinKind.HOLD, "case 12", keeper.pins, by="counsel")
    keeper.day = 300
    keeper.prune()
    assert {full.id, delta.id} <= set(keeper.kept())
    reasons = {each["runId"]: each["why"] for each in overview(TENANT, keeper.retention)["stays"]}
    assert reasons[delta.id] == "under a legal hold by counsel: case 12"
    assert reasons[full.id] == f"run {delta.id} builds on it"
    for run in (full, delta):
        with pytest.raises(RunKept, match=r"case 12|builds on it"):
            control_runs.delete_run(keeper.run(run.id), keeper.control_tools)
    unpin_run(TENANT, delta.id, PinKind.HOLD, "case closed", keeper.pins)
    keeper.prune()
    assert {full.id, delta.id} <= set(keeper.kept())
    unpin_run(TENANT, delta.id, PinKind.PIN, "done", keeper.pins)
    keeper.prune()
    assert not {full.id, delta.id} & set(keeper.kept())


def test_pins_need_a_reason_and_a_bundle(keeper: Keeper) -> None:
    run = keeper.make()
    with pytest.raises(ReasonMissing):
        pin_run(TENANT, run.id, PinKind.PIN, "  ", keeper.pins, by="kim")
    with pytest.raises(PinNotFound):
        unpin_run(TENANT, run.id, PinKind.PIN, "no more", keeper.pins)
    change(keeper)
    keeper.make()
    keeper.day = 50
    keeper.prune()
    with pytest.raises(BundleGone):
        pin_run(TENANT, run.id, PinKind.PIN, "too late", keeper.pins, by="kim")


def test_what_a_waiting_run_is_to_build_on_stays(keeper: Keeper) -> None:
    full = keeper.make("mirror:full")
    change(keeper)
    keeper.make("mirror:full")
    waiting = keeper.submit("mirror:delta", base=full.export_id)
    keeper.day = 90
    keeper.prune()
    assert full.id in keeper.kept()
    control_runs.cancel_run(TENANT, waiting.id, keeper.control_tools, by="kim")
    keeper.prune()
    assert full.id not in keeper.kept()


# ---- what runs leave behind


def test_archives_of_killed_runs_go(keeper: Keeper) -> None:
    keeper.make()
    change(keeper)
    killed = keeper.submit()
    tools = keeper.tools

    class Killed(BaseException):
        pass

    class Dying:
        def __getattr__(self, name: str) -> object:
            return getattr(keeper.local.runs, name)

        def change(self, run: object, events: object = ()) -> object:
            if "build" in run.done:  # type: ignore[attr-defined]
                raise Killed
            return keeper.local.runs.change(run, events)  # type: ignore[arg-type]

    run = execute_run.plan(execute_run.start(TENANT, killed.id, "w-1", tools), tools)
    with pytest.raises(Killed):
        execute_run.build(run, replace(tools, runs=Dying()))  # type: ignore[arg-type]
    assert len(keeper.folders()) == 2
    keeper.prune()
    assert len(keeper.folders()) == 2, "the run has not ended: another attempt takes it up"
    control_runs.cancel_run(TENANT, killed.id, keeper.control_tools, by="kim")
    (gone,) = keeper.prune().archives
    assert gone.runs == (killed.id,)
    assert len(keeper.folders()) == 1


def test_a_run_that_is_deleted_takes_no_archive_from_others(keeper: Keeper) -> None:
    first = keeper.make()
    second = keeper.make()
    assert first.archive == second.archive
    assert control_runs.delete_run(keeper.run(first.id), keeper.control_tools) == [f"run {first.id}"]
    assert keeper.kept() == [second.id]


def test_a_run_that_others_build_on_is_not_deleted(keeper: Keeper) -> None:
    full = keeper.make("mirror:full")
    change(keeper)
    first = keeper.make("mirror:delta")
    change(keeper)
    second = keeper.make("mirror:delta")
    for run, builder in ((full, first), (first, second)):
        for ask in (control_runs.removed_with, control_runs.delete_run):
            with pytest.raises(RunKept, match=f"run {builder.id} builds on it") as refused:
                ask(keeper.run(run.id), keeper.control_tools)
            assert "--legal-hold" in refused.value.advice
    assert keeper.kept() == [full.id, first.id, second.id]
    for run in (second, first, full):
        control_runs.delete_run(keeper.run(run.id), keeper.control_tools)
    assert keeper.kept() == []


def test_a_run_that_a_waiting_one_is_to_build_on_is_not_deleted(keeper: Keeper) -> None:
    full = keeper.make("mirror:full")
    waiting = keeper.submit("mirror:delta", base=full.export_id)
    with pytest.raises(RunKept, match=f"run {waiting.id} is to build on it"):
        control_runs.delete_run(keeper.run(full.id), keeper.control_tools)
    control_runs.cancel_run(TENANT, waiting.id, keeper.control_tools, by="kim")
    control_runs.delete_run(keeper.run(full.id), keeper.control_tools)
    assert keeper.kept() == []


def test_of_two_equal_full_bundles_the_one_that_carries_no_chain_may_be_deleted(keeper: Keeper) -> None:
    base = keeper.make("mirror:full")
    twin = keeper.make("mirror:full")
    assert twin.archive == base.archive
    change(keeper)
    delta = keeper.make("mirror:delta")
    assert delta.chain is not None
    carrying, other = (twin, base) if delta.chain.base_run == twin.id else (base, twin)
    control_runs.delete_run(keeper.run(other.id), keeper.control_tools)
    with pytest.raises(RunKept, match=f"run {delta.id} builds on it"):
        control_runs.delete_run(keeper.run(carrying.id), keeper.control_tools)
    assert keeper.kept() == sorted([carrying.id, delta.id])


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (1, "the newest"),
        (2, "the 2nd newest"),
        (3, "the 3rd newest"),
        (11, "the 11th newest"),
        (21, "the 21st newest"),
    ],
)
def test_places_are_told_as_people_count(place: int, told: str) -> None:
    runs = [
        Run(
            f"run-{number:02d}", TENANT, "trivy:db", "r1", "trivy:db", {}, RunStatus.SUCCEEDED,
            FIRST_DAY - timedelta(days=number), export_id=f"e{number}", archive_id=f"a{number}",
        )
        for number in range(place)
    ]  # fmt: skip
    whole = decide(runs, [], lambda run: Rule(Mode.COUNT, 1), FIRST_DAY)
    reasons = {each.run.id: each.why for each in (*whole.stays, *whole.goes)}
    assert reasons[f"run-{place - 1:02d}"] == f"{told}; 1 is kept"


def test_what_goes_while_it_is_signed_again_does_not_come_back(keeper: Keeper) -> None:
    first = keeper.make()
    change(keeper)
    second = keeper.make()
    keeper.day = 40
    local = keeper.local

    class Late:
        def __getattr__(self, name: str) -> object:
            return getattr(local.artefacts, name)

        def copy(self, archive: Archive, target: Path) -> None:
            local.artefacts.copy(archive, target)
            if archive == first.archive:
                assert keeper.prune().archives

    create_key(local.keys, TENANT, now=keeper.now())
    late = cast(ArtefactStore, Late())
    tools = ResignTools(
        local.runs, local.workspace, late, local.tenant_keys, local.profiles, local.bundle_turns
    )
    assert [each.problem for each in resign_exports(TENANT, tools)] == [None, None]
    assert keeper.kept() == [second.id]


# ---- evidence


def test_the_floor_follows_the_oldest_run_that_is_kept(keeper: Keeper) -> None:
    runs = []
    for _ in range(3):
        runs.append(keeper.make())
        change(keeper)
    pin_run(TENANT, runs[1].id, PinKind.PIN, "kept", keeper.pins, by="kim")
    keeper.day = 60
    evidence = keeper.prune().evidence
    assert evidence is not None
    assert (evidence.floor, evidence.documents) == (runs[1].sequence, 1)
    assert [keeper.snapshot(run) for run in runs[1:]] == [run.snapshot for run in runs[1:]]
    with pytest.raises(SnapshotPruned, match="reaches back to"):
        keeper.make(sequence=runs[0].sequence)
    again = keeper.make(sequence=runs[1].sequence)
    assert again.export_id == runs[1].export_id


def test_the_evidence_of_a_failed_run_stays_for_a_week(keeper: Keeper) -> None:
    keeper.make()
    failed = keeper.submit()
    run = execute_run.plan(execute_run.start(TENANT, failed.id, "w-1", keeper.tools), keeper.tools)
    execute_run.fail(run, RuntimeError("the key service is away"), keeper.tools)
    change(keeper)
    keeper.make()
    control_runs.delete_run(keeper.run("run-001"), keeper.control_tools)
    keeper.day = 6
    first = keeper.prune().evidence
    keeper.day = 9
    second = keeper.prune().evidence
    assert first is not None
    assert second is not None
    assert (first.floor, second.floor) == (2, 3)


# ---- passes


def test_two_passes_at_once_are_one(keeper: Keeper) -> None:
    with keeper.local.bundle_turns.alone() as alone:
        assert alone
        with pytest.raises(RetentionBusy, match="under way"):
            keeper.prune()
    assert keeper.prune().ok


def test_what_cannot_be_removed_is_told_and_tried_again(keeper: Keeper) -> None:
    first = keeper.make()
    change(keeper)
    keeper.make()
    keeper.day = 40

    class Away:
        def __getattr__(self, name: str) -> object:
            return getattr(keeper.local.artefacts, name)

        def delete(self, archive: object) -> None:
            raise DependencyFailed("the store is away")

    report = prune_exports(replace(keeper.retention, artefacts=Away()))  # type: ignore[arg-type]
    assert report.failures == [f"tenant {TENANT}: the store is away"]
    assert not report.ok
    assert keeper.run(first.id).status is RunStatus.EXPIRED
    assert len(keeper.folders()) == 2
    again = keeper.prune()
    assert again.ok
    assert again.expired == []
    assert [each.runs for each in again.archives] == [(first.id,)]
    assert len(keeper.folders()) == 1
