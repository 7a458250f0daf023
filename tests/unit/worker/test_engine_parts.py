"""Parts of the queue and the workers that need no database."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from stellaops.adapters.engine.dbos_queue import HEAVIEST, PRIORITIES, WEIGHTS
from stellaops.adapters.engine.dbos_worker import Slots
from stellaops.adapters.engine.rows import WorkId
from stellaops.bootstrap import now
from stellaops.exports.errors import InvalidProfile
from stellaops.exports.plan_run import PROJECTIONS
from stellaops.exports.ports import QueueStatus
from stellaops.exports.profile import KINDS
from stellaops.exports.read_profile import read
from stellaops.exports.run import Priority, Run, RunStatus
from stellaops.exports.schedule import check_schedule
from stellaops.worker.child import delay
from stellaops.worker.sweep import _reason


def test_every_kind_of_bundle_has_a_weight_that_fits_into_the_smallest_worker() -> None:
    assert set(WEIGHTS) == set(KINDS)
    assert max(WEIGHTS.values()) == HEAVIEST == 3
    assert set(PROJECTIONS) <= set(KINDS)


def test_priorities_are_in_the_order_of_their_urgency() -> None:
    assert sorted(Priority, key=lambda each: PRIORITIES[each]) == list(Priority)
    assert min(PRIORITIES.values()) > 0  # 0 is for what is taken over


def test_slots_are_never_given_twice() -> None:
    slots, highest, lock = Slots(6), [0], threading.Lock()
    used = 0

    def work(number: int) -> None:
        nonlocal used
        weight = 1 + number % 3
        with slots.held(f"work {number}", weight):
            with lock:
                used += weight
                highest[0] = max(highest[0], used)
            time.sleep(0.01)
            with lock:
                used -= weight

    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert highest[0] <= 6
    assert slots.free == 6


def test_what_is_heavier_than_all_slots_takes_them_all() -> None:
    slots = Slots(2)
    with slots.held("heavy", 3):
        assert slots.free == 0
    assert slots.free == 2


@pytest.mark.parametrize(
    ("name", "run", "round_", "weight"),
    [
        ("run-1:0", "run-1", "run-1:0", 0),
        ("run-1:2.1", "run-1", "run-1:2.1", 0),
        ("run-1:2.1/0w3", "run-1", "run-1:2.1", 3),
        ("run-1:0/12w1", "run-1", "run-1:0", 1),
        ("sched-profile-ab-2026", "sched-profile-ab-2026", "sched-profile-ab-2026", 0),
    ],
)
def test_names_of_workflows_say_what_they_are(name: str, run: str, round_: str, weight: int) -> None:
    assert WorkId.parse(name) == WorkId(run, round_, weight)


def test_retries_wait_longer_each_time_and_never_for_hours() -> None:
    assert [delay(attempt) for attempt in (1, 2, 3)] == [2, 4, 8]
    assert delay(50) == 300


GOOD = (
    "0 3 * * *",
    "*/15 * * * *",
    "0 8-18/2 * * mon-fri",
    "5,35 0 1,15 jan *",
    "0 0 * * 7",
    "59 23 31 12 0",
)


@pytest.mark.parametrize("text", GOOD)
def test_schedules_of_cron_are_taken(text: str) -> None:
    assert check_schedule(text) == text


@pytest.mark.parametrize("text", GOOD)
def test_what_is_taken_is_understood_by_the_engine(text: str) -> None:
    croniter = pytest.importorskip("croniter").croniter
    croniter(text, now()).get_next()


@pytest.mark.parametrize(
    "text",
    ["", "daily", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
     "5-1 * * * *", "*/0 * * * *", "a * * * *", "1- * * * *", "*-5 * * * *", "5/2 * * * *", "1,,2 * * * *",
     "1;2 * * * *", "\u0661 * * * *", "*/\u0661 * * * *"],
)  # fmt: skip
def test_anything_else_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(InvalidProfile):
        check_schedule(text)


def document(**spec: object) -> dict[str, object]:
    return {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": "p"},
        "spec": {"kind": "json", "variant": "raw"} | spec,
    }


def test_a_profile_tells_its_schedule_and_time_limit() -> None:
    found = read(document(schedule="0 3 * * *", timeLimit="90m")).spec
    assert (found.schedule, found.time_limit) == ("0 3 * * *", "90m")


def test_a_profile_with_a_bad_schedule_and_limit_is_refused_with_both() -> None:
    with pytest.raises(InvalidProfile) as caught:
        read(document(schedule="0 25 * * *", timeLimit="soon"))
    assert len(caught.value.details) == 2


@pytest.mark.parametrize(
    ("paused", "limit", "running", "room", "reason"),
    [
        (True, 2, 0, True, "the queue is paused"),
        (False, 0, 0, True, "max_active_runs of tenant t is 0: none of its runs is started"),
        (False, 2, 2, True, "tenant t may have 2 runs at once, and has them"),
        (False, 2, 1, False, "no worker has room for it"),
        (False, 2, 1, True, "other runs come first"),
    ],
)
def test_a_waiting_run_says_why(paused: bool, limit: int, running: int, room: bool, reason: str) -> None:
    run = Run("r", "t", "p", "r1", "json:raw", {}, RunStatus.PENDING, now())
    assert _reason(run, QueueStatus(paused, {"t": 1}, {"t": running}), limit, room) == reason


def test_local_commands_load_nothing_of_the_queue() -> None:
    program = (
        "import click, sys; import stellaops.bootstrap, stellaops.exports.run_export;"
        "from stellaops.cli.main import stella; context = click.Context(stella);"
        "assert len([stella.get_command(context, name) for name in stella.list_commands(context)]) > 10;"
        "print([name for name in ('dbos', 'croniter', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
