"""What differs between the databases: one module for each beside this one, chosen by the engine's own dialect."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.address import Address
from stellaops.core.errors import StellaError


class Dialect(Protocol):
    """One database product."""

    first_schema: int
    """The schema with which stores of this kind begin: there are none of an older one."""

    migrates_itself: bool
    """Whether opening a store brings it to this release's schema, or only `stella db migrate` does."""

    def open(self, address: Address, schema: str) -> Engine:
        """An engine on a store.

        Args:
            schema: `evidence` or `service`, where one database holds both.
        """
        ...

    def begin_writing(self, connection: Connection, *, durable: bool) -> None:
        """What a write transaction starts with; one that is not durable may be lost, as a whole, by a power cut."""
        ...

    def begin_migrating(self, connection: Connection) -> None:
        """Keep other processes from migrating until the transaction ends; make the place for the tables."""
        ...

    def error(self, error: Exception, where: object) -> StellaError | None:
        """A driver's error as one of ours; None where it says nothing to this dialect."""
        ...

    def insert_many(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: bool
    ) -> None:
        """Insert rows, given in column order; `keep` leaves rows alone that exist under the same primary key."""
        ...

    def stage(self, connection: Connection, staged: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put rows aside; of several contents for one key the newest stated, then the smaller digest stays."""
        ...

    def take_ids(self, connection: Connection, table: Table, count: int) -> Sequence[int]:
        """Ids that no other writer has or gets, ascending, all above those that the table has."""
        ...

    def is_one_of(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        """Whether a text column has one of many values."""
        ...

    def json_text(self, value: ColumnElement[Any], name: str, wanted: Sequence[str]) -> ColumnElement[bool]:
        """Whether the named text of a canonical JSON object, kept as bytes, is one of those wanted."""
        ...

    def json_list(
        self, value: ColumnElement[Any], name: str, wanted: Sequence[str], *, before_colon: bool = False
    ) -> ColumnElement[bool]:
        """Whether the named list of texts holds one of those wanted; or one that begins so, before its colon."""
        ...

    def damage(self, connection: Connection) -> Sequence[str]:
        """What the database itself finds wrong with its files; empty where it has no such check."""
        ...

    def guards(self, open_end: int) -> Sequence[str]:
        """Statements that make the triggers which keep stored evidence as it is; they may run again.

        Args:
            open_end: `seq_to` of a revision that is current.
        """
        ...

    def drop_guards(self, connection: Connection) -> None:
        """Take the triggers away: for a store that is still being copied into."""
        ...

    def note_oldest(self, connection: Connection, oldest: int) -> None:
        """Note the oldest compatible schema where earlier releases look for it."""
        ...

    def noted_oldest(self, connection: Connection) -> int:
        """What stands there; 0 where nothing does."""
        ...

    def align_ids(self, connection: Connection, tables: Sequence[Table]) -> None:
        """After rows came with their ids from elsewhere: no id of theirs is given out again."""
        ...

    def settle(self, engine: Engine) -> None:
        """After much was written: bring it to where it stays, and let the planner know it."""
        ...

    def lock(self, engine: Engine, locks: Path | None, name: str) -> AbstractContextManager[bool]:
        """Hold a name among all processes on the store until they end; False where another one holds it."""
        ...

    def bytes(self, engine: Engine) -> int:
        """What the store takes on disk."""
        ...
