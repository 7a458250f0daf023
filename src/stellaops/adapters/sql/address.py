"""Where a store lies: a SQLite file or a PostgreSQL database. An address never carries a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from stellaops.adapters.sql.errors import BadStoreAddress

_SECRET_PARAMETERS = ("password", "sslpassword", "scram_client_key", "scram_server_key")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file of its own for one store."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of a PostgreSQL server; each store has a schema of its own in it.

    Attributes:
        url: without password.
        password_file: whose first line is the password, read anew for every connection; None leaves it to libpq
            (`~/.pgpass`, `PGPASSFILE`, client certificates, peer authentication).
    """

    url: URL
    password_file: Path | None = None

    def __str__(self) -> str:
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


Address = SqliteFile | PostgresDatabase


def parse_address(text: str, password_file: Path | None = None) -> Address:
    """An address as it stands in the settings or on the command line.

    Args:
        text: `postgresql://…` with libpq's parameters, `sqlite:///PATH`, or the path of a SQLite file.

    Raises:
        BadStoreAddress: the text is not repeated in the message, since there may be a password in it.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return SqliteFile(Path(text))
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteFile(Path(rest[1:]))
    if scheme not in {"postgresql", "postgres"}:
        raise BadStoreAddress(f"an address that begins with {scheme[:20]!r} names no store")
    try:
        url = make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        raise BadStoreAddress("the address of the PostgreSQL store cannot be read") from None
    if url.password is not None or any(name in url.query for name in _SECRET_PARAMETERS):
        raise BadStoreAddress(
            "a password does not belong in the address of a store: addresses are shown",
            hint="Take it out, and put it into a file that `store.passwordFile` names (or libpq's password file).",
        )
    return PostgresDatabase(url, password_file)
