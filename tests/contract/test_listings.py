"""Complete listings: what they let go of, and that the order in which they arrive does not matter."""

from __future__ import annotations

from itertools import permutations

import pytest
from sqlalchemy import select

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.sql import schema
from stellaops.ingest.model import Batch, ImportReport
from tests.contract.stores import Files, Store
from tests.support.cves import catalogue, catalogue_csv, epss, known
from tests.support.shared import require_shared

GONE, KEPT, CAME = "CVE-2021-4043", "CVE-2021-44228", "CVE-2024-4577"
OLD = catalogue("2023-10-09T14:00:37.7242Z", known(GONE), known(KEPT))
NEW = catalogue("2024-06-12T17:04:19.9796Z", known(KEPT, notes="changed"), known(CAME, "2024-06-12"))
NEWEST = catalogue("2025-08-25T17:04:19.9796Z", known(KEPT, notes="changed"))


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.vanished, report.outdated


def tombstones(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return list(
            connection.execute(select(schema.tombstone.c.key).order_by(schema.tombstone.c.seq)).scalars()
        )


def test_two_listings_in_one_import_apply_in_the_order_of_their_dates(store: Store) -> None:
    report = store.take({"a-newer.json": NEW, "b-older.json": OLD})
    assert counts(report) == (3, 1, 1, 0)
    assert store.keys() == [KEPT, CAME]
    assert tombstones(store) == [GONE]
    assert store.status().vanished == 1


def test_two_imports_end_where_one_does(store: Store) -> None:
    assert counts(store.take({"kev.json": OLD})) == (2, 0, 0, 0)
    assert counts(store.take({"kev.json": NEW})) == (1, 1, 1, 0)
    assert store.keys() == [KEPT, CAME]
    assert tombstones(store) == [GONE]


def test_the_same_listings_again_take_no_sequence(store: Store) -> None:
    both = {"new.json": NEW, "old.json": OLD, "new.csv": catalogue_csv(known(KEPT, notes="changed"))}
    store.take(both)
    before, digest = store.sequence, store.digest()
    again = store.take(both)
    assert (again.added, again.changed, again.vanished) == (0, 0, 0)
    assert again.outdated == 2
    assert (store.sequence, store.digest()) == (before, digest)


@pytest.mark.parametrize("order", list(permutations((OLD, NEW, NEWEST))))
def test_the_state_does_not_depend_on_the_order_of_arrival(order: tuple[bytes, ...], store: Store) -> None:
    for content in order:
        store.take({"kev.json": content})
    assert store.keys() == [KEPT]
    (one,) = [store.one(KEPT)]
    assert b'"notes":"changed"' in one.body


def test_an_older_listing_is_left_out_even_when_it_prunes(store: Store) -> None:
    store.take({"kev.json": NEW})
    report = store.take({"kev.json": OLD}, prune=True)
    assert (report.read, counts(report)) == (0, (0, 0, 0, 1))
    assert store.keys() == [KEPT, CAME]


def test_a_listing_of_the_same_date_corrects_the_former(store: Store) -> None:
    store.take({"kev.json": catalogue("2024-06-12T00:00:00Z", known(KEPT), known(GONE))})
    report = store.take({"kev.json": catalogue("2024-06-12T00:00:00Z", known(KEPT))})
    assert counts(report) == (0, 0, 1, 0)


def test_a_catalogue_that_lacks_what_it_counts_lets_nothing_go(store: Store) -> None:
    store.take({"kev.json": OLD})
    cut = catalogue("2024-06-12T17:04:19Z", known(KEPT), count=2)
    assert counts(store.take({"kev.json": cut})) == (0, 0, 0, 0)
    assert store.keys() == [GONE, KEPT]


def test_one_that_returns_counts_as_added(store: Store) -> None:
    store.take({"kev.json": OLD})
    store.take({"kev.json": NEW})
    again = catalogue(
        "2026-01-01T00:00:00Z", known(KEPT, notes="changed"), known(CAME, "2024-06-12"), known(GONE)
    )
    assert counts(store.take({"kev.json": again})) == (1, 0, 0, 0)


def test_an_import_that_ended_between_two_listings_goes_on_with_the_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"new.json": NEW, "old.json": OLD}
    stage = type(store.imports).stage
    read: list[str] = []

    def stop_at_the_second(self: object, job: object, batch: Batch) -> None:
        read.extend(record.path for record in batch.records)
        if "new.json" in read:
            raise KeyboardInterrupt
        stage(self, job, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(type(store.imports), "stage", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            store.take(Files(both))
    assert store.keys() == [GONE, KEPT]
    report = store.take(Files(both))
    assert counts(report) == (1, 1, 1, 1)
    assert store.keys() == [KEPT, CAME]


def test_a_new_day_of_scores_takes_the_place_of_the_former(store: Store) -> None:
    first, second = (epss(day, {KEPT: ("0.5", "0.6")}) for day in ("2024-10-08", "2024-10-09"))
    store.take({"epss.csv": first})
    report = store.take({"epss.csv": second})
    assert counts(report) == (1, 0, 1, 0)
    assert store.keys() == ["2024-10-09"]
    assert counts(store.take({"epss.csv": first})) == (0, 0, 0, 1)
    scores = store.evidence.scores(store.selection())
    assert scores.mark(KEPT) == b'{"date":"2024-10-09","percentile":0.6,"score":0.5}'
    assert len(store.evidence.scores(store.selection(0))) == 0


def test_the_scores_of_an_earlier_sequence_are_those_of_its_day(store: Store) -> None:
    for day in ("2024-10-08", "2024-10-09"):
        store.take({"epss.csv": epss(day, {KEPT: ("0.5", "0.6")})})
    earlier = store.evidence.scores(store.selection(1)).mark(KEPT)
    assert earlier == b'{"date":"2024-10-08","percentile":0.6,"score":0.5}'


def test_the_real_catalogues_let_one_entry_go(store: Store) -> None:
    report = store.take(FileInputs([require_shared("data/advisories/kev")]))
    assert counts(report) == (1405, 50, 1, 0)
    assert tombstones(store) == [GONE]
    assert len(store.keys()) == 1404
