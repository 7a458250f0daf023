"""The floor of the evidence: below it everything may go, above it nothing, whatever is killed in between."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, event, func, select, text

from stellaops.adapters.sql import pruning, schema
from stellaops.adapters.sql.copying import copy_store
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.adapters.sql.migrations import EVIDENCE, state
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.pruning import REQUIRES, SqlEvidenceFloor
from stellaops.adapters.sql.retention_schema import evidence_removal
from stellaops.core.errors import StellaError
from stellaops.ingest.doctor import Verdict, check_digests, check_rows
from tests.contract.stores import NOON, Store, folder_of, osv, sqlite_place

LATER = NOON + timedelta(days=3)
NAMES = [f"GHSA-{letter * 4}-0000-0000" for letter in "abcdefgh"]


@pytest.fixture
def filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Eight documents, two of which change, one of which changes twice, two of which vanish: 13 sequences.

    Looked through three rows at a time, so that spans have ends.
    """
    monkeypatch.setattr(pruning, "_LOOK", 3)
    monkeypatch.setattr(pruning, "_REMOVE", 2)
    store.take(folder_of([osv(name) for name in NAMES]))
    store.take(folder_of([osv(name, summary="Changed") for name in NAMES[:2]]))
    store.take(
        folder_of([osv(NAMES[0], summary="Again"), osv(NAMES[1], summary="Changed"), *map(osv, NAMES[2:6])]),
        prune=True,
    )
    assert store.sequence == 13
    return store


def told(store: Store, first: int) -> list[tuple[str, list[bytes], list[object]]]:
    """Everything that exports read, at each sequence from one on."""
    return [
        (store.digest(at), store.lines(at), list(store.evidence.advisories(store.selection(at))))
        for at in range(first, store.sequence + 1)
    ]


def rows(store: Store) -> dict[str, int]:
    tables = [
        schema.revision,
        schema.document,
        schema.tombstone,
        evidence_removal,
        *schema.PROJECTIONS.tables.values(),
    ]
    with reading(store.engine) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }


def sound(store: Store) -> bool:
    look = SqlInspection(store.engine)
    return all(finding.verdict is Verdict.OK for finding in (*check_rows(look), check_digests(look, None)))


def test_every_state_from_the_floor_on_stays_as_it_was(filled: Store) -> None:
    before = told(filled, 0)
    for floor in (0, 1, 8, 9, 10, 11, 12, 13):
        made = SqlEvidenceFloor(filled.engine).raise_to(floor, LATER)
        assert made.floor == filled.evidence.floor() == floor
        assert told(filled, floor) == before[floor:]
        assert sound(filled)
    SqlProjections(filled.engine).complete()
    assert told(filled, 13) == before[13:]


def test_what_ended_at_the_floor_is_gone_with_all_that_was_derived_of_it(filled: Store) -> None:
    made = SqlEvidenceFloor(filled.engine).raise_to(13, LATER)
    assert (made.documents, made.tombstones) == (5, 2)
    left = rows(filled)
    assert (left["revision"], left["document"], left["tombstone"], left["evidence_removal"]) == (6, 6, 0, 0)
    assert {
        count for name, count in left.items() if name.startswith(("index_row", "trivy_adv", "trivy_det"))
    } == {6}
    again = SqlEvidenceFloor(filled.engine).raise_to(13, LATER)
    assert (again.floor, again.was, again.documents) == (13, 13, 0)
    assert SqlEvidenceFloor(filled.engine).raise_to(2, LATER).floor == 13, "a floor never sinks"


def test_the_newest_id_is_never_given_out_again(store: Store) -> None:
    store.take(folder_of([osv(NAMES[0]), osv(NAMES[1])]))
    store.take(folder_of([osv(NAMES[0])]), prune=True)
    SqlEvidenceFloor(store.engine).raise_to(store.sequence, LATER)
    with reading(store.engine) as connection:
        newest = connection.execute(select(func.max(schema.document.c.id))).scalar_one()
    store.take(folder_of([osv(NAMES[2])]))
    with reading(store.engine) as connection:
        taken = select(schema.revision.c.id).where(schema.revision.c.key.contains(NAMES[2]))
        assert connection.execute(taken).scalar_one() > newest
    assert sound(store)


def test_a_pass_that_dies_anywhere_is_finished_by_the_next(filled: Store) -> None:
    before = told(filled, 13)
    deaths = 0
    while True:
        with dying(filled.engine, after=3 * deaths + 1) as died, suppress(Died):
            SqlEvidenceFloor(filled.engine).raise_to(13, LATER)
        assert told(filled, 13) == before
        assert sound(filled)
        if not died:
            break
        deaths += 1
    assert deaths > 2, "it has died in the middle of it"
    left = rows(filled)
    assert (left["revision"], left["document"], left["tombstone"], left["evidence_removal"]) == (6, 6, 0, 0)
    assert sound(filled)


class Died(Exception):
    """As if the process were gone."""


class dying:  # noqa: N801 - reads as what it does
    """Let a pass die before one of its commits; true if it did."""

    def __init__(self, engine: Engine, after: int) -> None:
        self._engine, self._left, self._died = engine, after, False

    def __enter__(self) -> dying:
        event.listen(self._engine, "commit", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "commit", self._count)

    def __bool__(self) -> bool:
        return self._died

    def _count(self, _connection: object) -> None:
        self._left -= 1
        if self._left == 0:
            self._died = True
            raise Died


def test_the_floor_rises_no_higher_than_what_was_the_newest_a_while_ago(store: Store) -> None:
    floor = SqlEvidenceFloor(store.engine)
    assert floor.highest(LATER) == 0, "nobody has looked yet"
    for day in range(4):
        store.take(folder_of([osv(NAMES[0], summary=f"Day {day}")]))
        floor.mark(NOON + timedelta(days=day))
        floor.mark(NOON + timedelta(days=day, hours=1))
    assert floor.highest(NOON - timedelta(hours=1)) == 0
    assert floor.highest(NOON + timedelta(days=2)) == 3
    floor.raise_to(3, LATER)
    assert floor.highest(NOON + timedelta(days=2)) == 3, "the mark that it rose to stays"
    assert floor.highest(NOON + timedelta(days=9)) == 4


def test_what_is_needed_cannot_be_removed_whatever_the_floor(filled: Store) -> None:
    SqlEvidenceFloor(filled.engine).raise_to(9, LATER)
    for statement in (
        delete(schema.revision).where(schema.revision.c.seq_to > 9),
        delete(schema.tombstone),
        delete(schema.document),
        delete(schema.raw_block),
        delete(schema.container),
    ):
        with pytest.raises(StellaError, match="ERR_AOC"), writing(filled.engine) as connection:
            connection.execute(statement)


def test_releases_that_know_no_floor_are_shut_out_when_it_first_rises(filled: Store) -> None:
    assert state(filled.engine).oldest < REQUIRES
    SqlEvidenceFloor(filled.engine).raise_to(0, LATER)
    assert state(filled.engine).oldest < REQUIRES
    SqlEvidenceFloor(filled.engine).raise_to(1, LATER)
    assert state(filled.engine).oldest == REQUIRES <= EVIDENCE.version
    if filled.engine.dialect.name == "sqlite":
        with reading(filled.engine) as connection:
            assert connection.execute(text("PRAGMA user_version")).scalar_one() == REQUIRES


def test_a_copy_of_a_store_has_its_floor_and_shuts_out_the_same_releases(
    filled: Store, tmp_path: Path
) -> None:
    SqlEvidenceFloor(filled.engine).raise_to(9, LATER)
    place = sqlite_place(tmp_path / "copy")
    copy_store(filled.engine, place.opened(), EVIDENCE)
    copied = place.evidence()
    assert copied.evidence.floor() == 9
    assert state(copied.engine).oldest == REQUIRES
    assert told(copied, 9) == told(filled, 9)
    assert sound(copied)
    place.close()
