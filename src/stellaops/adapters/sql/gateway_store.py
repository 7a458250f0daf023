"""What the processes of a mirror host share: hourly budgets, and counts of requests. No store of the service.

A SQLite file on one machine, a PostgreSQL schema where there are several. It holds nothing that cannot be lost: a new
one begins with full budgets.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    delete,
    insert,
    select,
    update,
)

from stellaops.adapters.sql.address import Address
from stellaops.adapters.sql.engine import dialect_of, open_engine, reading, retried, writing
from stellaops.adapters.sql.types import TEXT

SCHEMA = "gateway"
GATEWAY = MetaData()
_KEPT_HOURS = 2

budget = Table(
    "mirror_budget",
    GATEWAY,
    Column("name", TEXT, nullable=False),
    # Hours since 1970.
    Column("hour", BigInteger, nullable=False),
    # What was given to processes, and not given back.
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "hour"),
)
part = Table(
    "mirror_part",
    GATEWAY,
    # Budget, entity tag: parts of it were asked for within the hour.
    Column("name", TEXT, nullable=False),
    Column("hour", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "hour"),
)
count = Table(
    "mirror_count",
    GATEWAY,
    # Metric, and its labels as the text form of Prometheus has them.
    Column("name", TEXT, nullable=False),
    Column("labels", TEXT, nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("name", "labels"),
)
reader = Table(
    "mirror_reader",
    GATEWAY,
    # A log of a proxy, by its path.
    Column("name", TEXT, nullable=False),
    # Which file that was, and up to which byte it was counted.
    Column("file", TEXT, nullable=False),
    Column("place", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)

Place = tuple[str, int]
"""Which file, and the byte after the last one that was read."""
Series = tuple[str, str]
"""Metric, and its labels as text."""


class SqlGatewayStore:
    """Budgets and counts in a database. Every method is one short transaction; safe for threads and processes.

    Raises:
        StellaError: the store cannot be opened, or made.
    """

    def __init__(self, address: Address) -> None:
        self._engine: Engine = open_engine(address, SCHEMA)
        _make(self._engine)

    @retried
    def lease(self, name: str, hour: int, wanted: int, limit: int) -> tuple[int, int]:
        """Take up to so many of a budget.

        Returns:
            how many were given, and how many of the limit are given to nobody afterwards.
        """
        with writing(self._engine, durable=False) as connection:
            used = _held(connection, name, hour)
            given = max(0, min(wanted, limit - used))
            if given:
                _set(connection, name, hour, used + given)
            return given, max(0, limit - used - given)

    @retried
    def give_back(self, name: str, hour: int, number: int) -> None:
        """Give back what was not used."""
        with writing(self._engine, durable=False) as connection:
            _set(connection, name, hour, max(0, _held(connection, name, hour) - number))

    @retried
    def is_first_part(self, name: str, hour: int) -> bool:
        """Whether nobody has asked for a part of this in the hour; it is noted."""
        own = part.c.name == name, part.c.hour == hour
        with writing(self._engine, durable=False) as connection:
            if connection.execute(select(part.c.hour).where(*own)).first() is not None:
                return False
            connection.execute(insert(part).values(name=name, hour=hour))
            return True

    def used(self, hour: int) -> dict[str, int]:
        """What was given of every budget in an hour, by its name; of a block that a process holds, all of it."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(budget.c.name, budget.c.used).where(budget.c.hour == hour))
            return {row.name: int(row.used) for row in rows}

    @retried
    def forget(self, hour: int) -> None:
        """Remove budgets of hours that are over for long."""
        with writing(self._engine, durable=False) as connection:
            for table in (budget, part):
                connection.execute(delete(table).where(table.c.hour < hour - _KEPT_HOURS))

    @retried
    def add(self, counts: Mapping[Series, float]) -> None:
        """Add to counts."""
        with writing(self._engine, durable=False) as connection:
            _add(connection, counts)

    def counts(self) -> dict[Series, float]:
        """Every count of all processes, as far as they have been added."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(count.c.name, count.c.labels, count.c.value))
            return {(name, labels): value for name, labels, value in rows}

    def read_to(self, name: str) -> Place | None:
        """The file, and the place in it, up to which a log was counted; None for a log that nobody has read."""
        with reading(self._engine) as connection:
            return _read_to(connection, name)

    @retried
    def add_read(self, name: str, before: Place | None, after: Place, counts: Mapping[Series, float]) -> bool:
        """Add what a part of a log says, in one transaction with how far it was read.

        Returns:
            False where it is no longer read up to `before`: another process was quicker, and nothing is added.
        """
        with writing(self._engine, durable=False) as connection:
            if _read_to(connection, name, lock=True) != before:
                return False
            values = {"file": after[0], "place": after[1]}
            if before is None:
                connection.execute(insert(reader).values(name=name, **values))
            else:
                connection.execute(update(reader).where(reader.c.name == name).values(**values))
            _add(connection, counts)
            return True

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


@retried
def _make(engine: Engine) -> None:
    with writing(engine) as connection:
        dialect_of(connection).begin_migrating(connection)
        GATEWAY.create_all(connection)


def _held(connection: Connection, name: str, hour: int) -> int:
    """How much is given; the row is locked until the transaction ends, where databases lock rows."""
    own = budget.c.name == name, budget.c.hour == hour
    found = connection.execute(select(budget.c.used).where(*own).with_for_update()).scalar()
    if found is None:
        # Of two that insert at once one has a conflict, and begins again.
        connection.execute(insert(budget).values(name=name, hour=hour, used=0))
        return 0
    return int(found)


def _set(connection: Connection, name: str, hour: int, used: int) -> None:
    own = budget.c.name == name, budget.c.hour == hour
    connection.execute(update(budget).where(*own).values(used=used))


def _add(connection: Connection, counts: Mapping[Series, float]) -> None:
    for (name, labels), value in sorted(counts.items()):
        own = count.c.name == name, count.c.labels == labels
        statement = update(count).where(*own).values(value=count.c.value + value)
        if not connection.execute(statement).rowcount:
            connection.execute(insert(count).values(name=name, labels=labels, value=value))


def _read_to(connection: Connection, name: str, *, lock: bool = False) -> Place | None:
    """How far a log is read.

    Args:
        lock: the row is locked until the transaction ends, where databases lock rows.
    """
    asked = select(reader.c.file, reader.c.place).where(reader.c.name == name)
    found = connection.execute(asked.with_for_update() if lock else asked).first()
    return (found.file, int(found.place)) if found is not None else None


class MemoryStore:
    """The same for one process alone, where nothing can be written."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], int] = {}
        self._parts: set[tuple[str, int]] = set()
        self._counts: dict[Series, float] = {}
        self._read: dict[str, Place] = {}

    def lease(self, name: str, hour: int, wanted: int, limit: int) -> tuple[int, int]:
        """See `SqlGatewayStore`."""
        used = self._used.get((name, hour), 0)
        given = max(0, min(wanted, limit - used))
        self._used[name, hour] = used + given
        return given, max(0, limit - used - given)

    def give_back(self, name: str, hour: int, number: int) -> None:
        """See `SqlGatewayStore`."""
        self._used[name, hour] = max(0, self._used.get((name, hour), 0) - number)

    def is_first_part(self, name: str, hour: int) -> bool:
        """See `SqlGatewayStore`."""
        first = (name, hour) not in self._parts
        self._parts.add((name, hour))
        return first

    def forget(self, hour: int) -> None:
        """See `SqlGatewayStore`."""
        self._used = {key: value for key, value in self._used.items() if key[1] >= hour - _KEPT_HOURS}
        self._parts = {key for key in self._parts if key[1] >= hour - _KEPT_HOURS}

    def add(self, counts: Mapping[Series, float]) -> None:
        """See `SqlGatewayStore`."""
        for key, value in counts.items():
            self._counts[key] = self._counts.get(key, 0.0) + value

    def counts(self) -> dict[Series, float]:
        """See `SqlGatewayStore`."""
        return dict(self._counts)

    def read_to(self, name: str) -> Place | None:
        """See `SqlGatewayStore`."""
        return self._read.get(name)

    def add_read(self, name: str, before: Place | None, after: Place, counts: Mapping[Series, float]) -> bool:
        """See `SqlGatewayStore`."""
        if self._read.get(name) != before:
            return False
        self._read[name] = after
        self.add(counts)
        return True

    def close(self) -> None:
        """See `SqlGatewayStore`."""
