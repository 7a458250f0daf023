"""What operators do with a store as a whole: look at it, bring it up to date, copy it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, Engine, func, inspect, select

from stellaops.adapters.sql import migrations, schema
from stellaops.adapters.sql.address import Address, SqliteFile, parse_address
from stellaops.adapters.sql.copying import Copied, copy_store
from stellaops.adapters.sql.engine import dialect_of, open_engine, reading, translated, where
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.core.errors import NotFound


class StoreNotFound(NotFound):
    """There is no store where one was named."""

    code = "ERR_STORE_NOT_FOUND"
    hint = "Check the path or the address; a data directory holds `evidence.db` and `service.db`."


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """One store as `stella db status` shows it.

    Attributes:
        schema: 0 where nothing is there yet.
        oldest: the oldest schema whose releases can work on it.
        rows: by table, of what counts.
        projections: name, version, whether all rows of it are made.
    """

    store: str
    kind: str
    address: str
    schema: int
    oldest: int
    release_schema: int
    pending: tuple[str, ...]
    bytes: int
    rows: Mapping[str, int]
    projections: tuple[tuple[str, int, bool], ...]


class StoreAdministration:
    """One store at an address; it is opened when that is needed, and not changed by looking at it."""

    def __init__(self, store: migrations.Store, address: Address) -> None:
        self._store = store
        self._address = address

    @property
    def name(self) -> str:
        """`evidence` or `service`."""
        return self._store.name

    @property
    def address(self) -> str:
        """Where it lies, without any credentials."""
        return str(self._address)

    @cached_property
    def _engine(self) -> Engine:
        return open_engine(self._address, self.name)

    @property
    def is_absent(self) -> bool:
        """Whether nothing is there; nothing is made by asking."""
        if isinstance(self._address, SqliteFile) and not self._address.path.exists():
            return True
        return migrations.state(self._engine, self._store).version == 0

    def status(self) -> StoreStatus:
        """What is there."""
        kind = "sqlite" if isinstance(self._address, SqliteFile) else "postgresql"
        place, known = str(self._address), self._store.version
        if self.is_absent:
            return StoreStatus(self.name, kind, place, 0, 0, known, self.pending(), 0, {}, ())
        found = migrations.state(self._engine, self._store)
        with translated(where(self._engine)):
            size = dialect_of(self._engine).bytes(self._engine)
        with reading(self._engine) as connection:
            rows = _rows(connection, self._store)
            projections = _projections(connection) if self.name == "evidence" and found.version else ()
        return StoreStatus(
            self.name, kind, place, found.version, found.oldest, known, found.pending, size, rows, projections
        )

    def pending(self) -> tuple[str, ...]:
        """What `migrate` would do."""
        if self.is_absent:
            return (f"the whole schema, {self._store.version}", *self._lacks_queue())
        return (*migrations.state(self._engine, self._store).pending, *self._lacks_queue())

    def migrate(self) -> tuple[str, ...]:
        """Bring it to this release's schema, or make it; with the tables of the queue, where its library is there."""
        done = (*migrations.migrate(self._engine, self._store), *self._lacks_queue())
        if self._lacks_queue():
            from stellaops.adapters.engine import opening  # noqa: PLC0415 - of the extra `server`

            opening.migrate(self._address)
        return done

    def _lacks_queue(self) -> tuple[str, ...]:
        # In a SQLite file the first service that needs them makes them.
        if self.name != "service" or isinstance(self._address, SqliteFile) or find_spec("dbos") is None:
            return ()
        from stellaops.adapters.engine import opening  # noqa: PLC0415 - of the extra `server`

        return () if opening.is_current(self._address) else ("the tables of the queue",)

    def make_rows(self) -> None:
        """Make the derived rows of this release."""
        SqlProjections(self._engine).complete()

    def copy_to(self, other: StoreAdministration, progress: Callable[[str, int], None]) -> Copied:
        """Copy everything into another one, which is empty or an unfinished copy of this one."""
        source = migrations.open_checked(self._engine, self._store)
        return copy_store(source, other._engine, self._store, progress)


class Stores:
    """Both stores of an installation."""

    def __init__(self, addresses: Mapping[str, Address]) -> None:
        self._addresses = addresses

    def chosen(self, names: Sequence[str]) -> list[StoreAdministration]:
        """Those of some names; both where none is given."""
        stores = (migrations.EVIDENCE, migrations.SERVICE)
        return [
            StoreAdministration(store, self._addresses[store.name])
            for store in stores
            if not names or store.name in names
        ]


def copied(
    source: Stores, target: Stores, names: Sequence[str], progress: Callable[[str, int], None]
) -> Iterator[Copied]:
    """Copy stores; one that was never made is left out.

    Args:
        names: of the stores; none for both.

    Raises:
        StoreNotFound: none of them is there.
    """
    pairs = list(zip(source.chosen(names), target.chosen(names), strict=True))
    there = [(one, other) for one, other in pairs if not one.is_absent]
    if not there:
        raise StoreNotFound(f"there is no store at {', '.join(sorted({one.address for one, _ in pairs}))}")
    for one, other in there:
        yield one.copy_to(other, progress)


def stores_at(place: str, password_file: Path | None = None) -> Stores:
    """The stores in a data directory, or in a PostgreSQL database.

    Raises:
        BadStoreAddress: see there.
    """
    if "://" in place:
        return Stores(dict.fromkeys(_COUNTED, parse_address(place, password_file)))
    return Stores({name: SqliteFile(Path(place) / f"{name}.db") for name in _COUNTED})


_COUNTED = {
    "evidence": ("source", "revision", "document", "quarantine", "staged"),
    "service": ("profile", "run"),
}


def _rows(connection: Connection, store: migrations.Store) -> dict[str, int]:
    there = set(inspect(connection).get_table_names())
    return {
        name: connection.execute(select(func.count()).select_from(store.tables.tables[name])).scalar_one()
        for name in _COUNTED[store.name]
        if name in there
    }


def _projections(connection: Connection) -> tuple[tuple[str, int, bool], ...]:
    table = schema.projection
    rows = connection.execute(select(table).order_by(table.c.name, table.c.version))
    return tuple((row.name, row.version, row.rebuilt_to >= row.rebuild_until) for row in rows)
