"""Turns at targets: one holder at a time over all processes, and none for ever, on each database."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.target_schema import target_turn
from stellaops.adapters.sql.target_turns import SqlTurns
from stellaops.exports.errors import DistributionFailed
from tests.contract.stores import Place


def test_a_turn_has_one_holder_at_a_time(place: Place) -> None:
    turns = SqlTurns(place.engine(migrations.SERVICE))
    inside, most, guard = [0], [0], threading.Lock()

    def work(_: int) -> None:
        with turns.turn("edge", "acme"):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            with guard:
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(6)))
    assert most == [1]


def test_turns_of_other_targets_and_tenants_are_not_waited_for(place: Place) -> None:
    turns = SqlTurns(place.engine(migrations.SERVICE), patience=0)
    with turns.turn("edge", "acme"), turns.turn("edge", "other"), turns.turn("core", "acme") as held:
        held.demand()
        with pytest.raises(DistributionFailed, match="busy"), turns.turn("edge", "acme"):
            pass


def test_a_turn_that_was_given_back_is_free(place: Place) -> None:
    turns = SqlTurns(place.engine(migrations.SERVICE), patience=0)
    with pytest.raises(ZeroDivisionError), turns.turn("edge", "acme"):
        raise ZeroDivisionError
    with turns.turn("edge", "acme") as held:
        held.demand()


def test_who_is_silent_loses_the_turn_and_is_told_so(place: Place) -> None:
    engine = place.engine(migrations.SERVICE)
    with SqlTurns(engine).turn("edge", "acme") as stopped:
        stopped.demand()
        # What the database sees of a process that was stopped for an hour.
        with writing(engine) as connection:
            connection.execute(update(target_turn).values(beat=target_turn.c.beat - 3600))
        with SqlTurns(engine, patience=0).turn("edge", "acme") as other:
            with pytest.raises(DistributionFailed, match="lost"):
                stopped.demand()
            other.demand()
    with SqlTurns(engine, patience=0).turn("edge", "acme"):
        pass


def test_a_holder_that_lives_keeps_its_turn_beyond_the_time_of_silence(place: Place) -> None:
    engine = place.engine(migrations.SERVICE)
    with SqlTurns(engine, silence=0.4).turn("edge", "acme") as held:
        time.sleep(1)
        with (
            pytest.raises(DistributionFailed),
            SqlTurns(engine, silence=0.4, patience=0).turn("edge", "acme"),
        ):
            pass
        held.demand()
