"""Column types that mean the same on every database: texts compare by bytes, and hold every character."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

# PostgreSQL's texts cannot hold U+0000, which upstream documents do contain. Its place takes a pair that keeps the
# order of texts: U+0001 U+0001 for U+0000, U+0001 U+0002 for U+0001.
_HIDDEN = re.compile("[\x00\x01]")
_SHOWN = re.compile("\x01([\x01\x02])")


def to_postgres(text: str) -> str:
    """A text as PostgreSQL can hold it."""
    if "\x00" in text or "\x01" in text:
        return _HIDDEN.sub(lambda found: "\x01\x01" if found[0] == "\x00" else "\x01\x02", text)
    return text


def from_postgres(text: str) -> str:
    """The text that was stored."""
    if "\x01" in text:
        return _SHOWN.sub(lambda found: "\x00" if found[1] == "\x01" else "\x01", text)
    return text


class PostgresText(TypeDecorator[str]):
    """A text column of PostgreSQL, in the order of its bytes."""

    impl = Text
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(collation="C")

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """See SQLAlchemy."""
        return None if value is None else to_postgres(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """See SQLAlchemy."""
        return None if value is None else from_postgres(value)


TEXT = Text().with_variant(PostgresText(), "postgresql")
"""The type of every text column."""

BIG = BigInteger().with_variant(Integer(), "sqlite")
"""Ids, sequences, instants, sizes."""
