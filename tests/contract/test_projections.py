"""Derived rows are a function of the stored documents: they can be made again, in pieces, and are then the same."""

from __future__ import annotations

import pytest
from sqlalchemy import func, inspect, select, text

from stellaops.adapters.sql import projections, schema
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.projections import SqlProjections
from tests.contract.stores import Store, folder_of, osv


def _rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with reading(store.engine) as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in schema.PROJECTIONS.sorted_tables
        }


def _forget_rows(store: Store) -> None:
    """The state right after an update to a release with other projections."""
    with writing(store.engine) as connection:
        for table in schema.PROJECTIONS.sorted_tables:
            connection.execute(table.delete())
        last = connection.execute(select(func.max(schema.document.c.id))).scalar_one()
        connection.execute(schema.projection.update().values(rebuilt_to=0, rebuild_until=last))


def _filled(store: Store) -> None:
    ids = [f"GHSA-aaaa-bbbb-cc{number:02d}" for number in range(7)]
    store.take(folder_of([osv(name, aliases=[f"CVE-2024-{20000 + n}"]) for n, name in enumerate(ids)]))
    store.take(folder_of([osv(ids[3], withdrawn="2024-06-01T00:00:00Z")]))
    store.take({"twice.json": '{"id": "GHSA-zzzz-zzzz-zzzz", "summary": "a", "summary": "b"}'})


def test_rows_made_again_are_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(store)
    before = _rows(store)
    _forget_rows(store)
    monkeypatch.setattr(projections, "_PAGE", 2)
    SqlProjections(store.engine).complete()
    assert _rows(store) == before
    assert any(before.values())


def test_a_rebuild_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(store)
    before = _rows(store)
    _forget_rows(store)
    monkeypatch.setattr(projections, "_PAGE", 2)
    rebuild = SqlProjections(store.engine)
    rebuild._rebuild_some()  # one page, as if the process had ended then
    SqlProjections(store.engine).complete()
    assert _rows(store) == before


def test_imports_during_a_rebuild_lose_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(store)
    _forget_rows(store)
    monkeypatch.setattr(projections, "_PAGE", 2)
    SqlProjections(store.engine)._rebuild_some()
    store.take(folder_of([osv("GHSA-nnnn-nnnn-nnnn")]), source="other")
    SqlProjections(store.engine).complete()
    with reading(store.engine) as connection:
        revisions = connection.execute(select(func.count()).select_from(schema.revision)).scalar_one()
        indexed = connection.execute(select(func.count()).select_from(schema.index_row)).scalar_one()
    assert indexed == revisions


def test_tables_of_older_projections_go_when_the_new_ones_are_complete(store: Store) -> None:
    _filled(store)
    with writing(store.engine) as connection:
        connection.execute(text("CREATE TABLE index_row_v0 (revision INTEGER)"))
    SqlProjections(store.engine).complete()
    with reading(store.engine) as connection:
        assert not inspect(connection).has_table("index_row_v0")
