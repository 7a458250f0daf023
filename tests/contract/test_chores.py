"""Chores: one worker of all does each, when it is due, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.chores import AGAIN, LEASE, SqlChores
from tests.contract.stores import NOON, Place

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def chores(place: Place) -> SqlChores:
    return SqlChores(place.engine(migrations.SERVICE))


def test_of_all_that_ask_at_once_one_takes_a_chore_on(chores: SqlChores) -> None:
    for day in range(2):
        now = NOON + day * DAY
        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(lambda _: chores.claim("night", now, DAY), range(12)))  # noqa: B023
        assert told.count(True) == 1, day
        chores.finished("night", now + SECOND, ok=True, report={})


def test_a_chore_is_due_again_when_its_time_is_over_and_not_before(chores: SqlChores) -> None:
    assert chores.last("night") is None
    assert chores.claim("night", NOON, DAY)
    chores.finished("night", NOON + SECOND, ok=True, report={"pruned": 3})
    assert not chores.claim("night", NOON + DAY - SECOND, DAY)
    assert chores.claim("other", NOON, DAY)
    assert chores.claim("night", NOON + DAY, DAY)
    found = chores.last("night")
    assert found is not None
    assert (found.begun_at, found.finished_at, found.ok) == (NOON + DAY, NOON + SECOND, True)
    assert found.to_wire()["report"] == {"pruned": 3}
    assert [each.name for each in chores.all()] == ["night", "other"]


def test_a_chore_that_failed_is_done_again_soon_and_keeps_its_last_success(chores: SqlChores) -> None:
    chores.finished("night", NOON, ok=True, report={})
    assert chores.claim("night", NOON + DAY, DAY)
    failed = NOON + DAY + SECOND
    chores.finished("night", failed, ok=False, report={"error": "no"})
    assert not chores.claim("night", failed + AGAIN - SECOND, DAY)
    assert chores.claim("night", failed + AGAIN, DAY)
    assert not chores.claim("night", failed + AGAIN + SECOND, DAY)
    found = chores.last("night")
    assert found is not None
    assert (found.ok, found.succeeded_at) == (False, NOON)


def test_a_chore_whose_worker_died_goes_to_another_when_its_lease_is_over(chores: SqlChores) -> None:
    assert chores.claim("night", NOON, DAY)
    chores.renew("night", NOON + LEASE - SECOND)
    assert not chores.claim("night", NOON + LEASE, DAY)
    assert chores.claim("night", NOON + 2 * LEASE, DAY)


def test_a_chore_that_was_given_back_is_taken_on_at_once(chores: SqlChores) -> None:
    assert chores.claim("night", NOON, DAY)
    chores.release("night")
    assert chores.claim("night", NOON + SECOND, DAY)
    chores.finished("night", NOON + 2 * SECOND, ok=True, report={})
    chores.release("night")
    assert not chores.claim("night", NOON + 3 * SECOND, DAY), "what has ended cannot be given back"
