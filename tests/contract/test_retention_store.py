"""What retention keeps in the service store: pins, turns at bundles, counts and reports of passes."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql.metering import PRUNED, SqlMetering
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.sql.retention import SqlBundleTurns, SqlPasses, SqlPins
from stellaops.adapters.sql.service import SqlRuns
from stellaops.exports.errors import RetentionBusy
from stellaops.exports.retention.ports import Pruned
from stellaops.exports.retention.rules import Pin, PinKind
from stellaops.exports.run import Run, RunStatus
from tests.contract.stores import NOON, Place

PIN = Pin("acme", "run-1", PinKind.PIN, "under review", "kim", NOON)


@pytest.fixture
def engine(place: Place) -> Engine:
    return place.engine(SERVICE)


def test_a_run_may_have_a_pin_and_a_hold_each_with_its_own_reason(engine: Engine) -> None:
    pins = SqlPins(engine)
    hold = replace(PIN, kind=PinKind.HOLD, reason="case 12")
    for pin in (PIN, hold, replace(PIN, tenant="other", run_id="run-2")):
        pins.put(pin)
    assert pins.pins("acme") == [hold, PIN]
    later = replace(PIN, reason="still under review", set_by="lee", set_at=NOON + timedelta(days=1))
    pins.put(later)
    assert pins.pins("acme") == [hold, later]
    assert pins.remove("acme", "run-1", PinKind.PIN)
    assert not pins.remove("acme", "run-1", PinKind.PIN)
    assert not pins.remove("acme", "run-2", PinKind.PIN), "it is another tenant's"
    assert (pins.pins("acme"), len(pins.pins("other"))) == ([hold], 1)


def test_turns_at_the_bundles_of_a_tenant_exclude_each_other_and_other_tenants_do_not_wait(
    place: Place,
) -> None:
    first, second = (SqlBundleTurns(place.engine(SERVICE), place.locks, wait=0.2) for _ in range(2))
    with first.turn("acme"):
        with pytest.raises(RetentionBusy, match="acme"), second.turn("acme"):
            pass
        with second.turn("other"):
            pass
    with second.turn("acme"):
        pass


def test_who_waits_for_a_turn_gets_it_when_it_ends(place: Place) -> None:
    first, second = (SqlBundleTurns(place.engine(SERVICE), place.locks, wait=30) for _ in range(2))
    told: list[str] = []

    def wait() -> None:
        with second.turn("acme"):
            told.append("second")

    thread = threading.Thread(target=wait)
    with first.turn("acme"):
        thread.start()
        thread.join(0.2)
        told.append("first")
    thread.join()
    assert told == ["first", "second"]


def test_one_pass_at_a_time(place: Place) -> None:
    first, second = (SqlBundleTurns(place.engine(SERVICE), place.locks) for _ in range(2))
    with first.alone() as one, second.alone() as other:
        assert (one, other) == (True, False)
    with second.alone() as other:
        assert other


def test_passes_are_counted_and_the_last_report_is_kept(engine: Engine) -> None:
    passes = SqlPasses(engine)
    assert passes.last() is None
    passes.count([Pruned("acme", "nightly", "json:raw", 2)])
    passes.count([Pruned("acme", "nightly", "json:raw", 1), Pruned("other", "nightly", "json:raw", 1)])
    found = {
        each.labels["tenant"]: each.value for each in SqlMetering(engine).counted() if each.name == PRUNED
    }
    assert found == {"acme": 3, "other": 1}
    passes.note(NOON, {"archives": 4}, ok=True)
    passes.note(NOON + timedelta(days=1), {"archives": 0}, ok=False)
    last = passes.last()
    assert last is not None
    assert (last.at, last.succeeded_at, last.report) == (NOON + timedelta(days=1), NOON, {"archives": 0})


def test_tenants_with_runs_are_told_by_name(engine: Engine) -> None:
    runs = SqlRuns(engine)
    for number, tenant in enumerate(("zeta", "acme", "zeta")):
        runs.add(Run(f"run-{number}", tenant, "p", "r1", "json:raw", {}, RunStatus.PENDING, NOON), [])
    assert list(SqlPasses(engine).with_runs()) == ["acme", "zeta"]
