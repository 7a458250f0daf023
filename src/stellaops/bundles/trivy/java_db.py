"""`trivy-java.db`: a SQLite database by which Trivy tells of which Maven artefact a jar is.

Trivy asks it only of jars that do not say so themselves, by the SHA-1 of the file, else by the artefact and version in
the file's name. Its tables and indices are those of Trivy's own builder.

The file is written by the SQLite library, whose versions may lay out pages in other ways. So what identifies the
content is `rows_digest`, over the rows alone; the library's version belongs to the toolchain, and nothing of it stands
in the file: `write_database` brings the fields of the header that would tell it to fixed values.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from stellaops.bundles.packed import BadPacking
from stellaops.bundles.trivy import sentinel_files
from stellaops.core import canonical_json, digests
from stellaops.core.canonical_json import escape
from stellaops.core.digests import Digest

VERSION = 1
"""Version of the projection that the rows come from; another value makes the store rebuild it."""
DATABASE = "trivy-java.db"
SCHEMA_VERSION = 1
PAGE_SIZE = 4096
ARCHIVE_TYPES = ("aar", "jar")

JavaRow = tuple[str, str, str, str, bytes]
"""Group, artefact, version, archive type (`jar` or `aar`), SHA-1 (20 bytes)."""

TABLES = {
    "artifacts": "CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT)",
    "indices": (
        "CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT, "
        "foreign key (artifact_id) references artifacts(id))"
    ),
}
INDICES = {
    "artifacts_idx": "CREATE UNIQUE INDEX artifacts_idx ON artifacts(artifact_id, group_id)",
    "indices_artifact_idx": "CREATE INDEX indices_artifact_idx ON indices(artifact_id)",
    "indices_sha1_idx": "CREATE UNIQUE INDEX indices_sha1_idx ON indices(sha1)",
}

HEADER = ((24, 1), (92, 1), (96, 0))
"""Fields of the file header, of 4 bytes each, that are brought to fixed values: the counter of changes, for which of
its values the header holds, and the version of the library that wrote it (0: not told)."""

_SETTINGS = (
    f"page_size = {PAGE_SIZE}",
    "encoding = 'UTF-8'",
    "auto_vacuum = NONE",
    "secure_delete = OFF",
    "journal_mode = OFF",
    "synchronous = OFF",
    "locking_mode = EXCLUSIVE",
    "cache_size = -16384",
    "temp_store = FILE",
)
# Of several artefacts with one SHA-1 the first stays, as in Trivy's own builder; the rows come in order.
_DROP_REPEATED = """
DELETE FROM indices WHERE rowid IN (
  SELECT place FROM (
    SELECT rowid AS place, row_number() OVER (PARTITION BY sha1 ORDER BY rowid) AS number FROM indices
  ) WHERE number > 1)
"""
_DROP_EMPTY = "DELETE FROM artifacts WHERE id NOT IN (SELECT artifact_id FROM indices)"
_ROWS = """
SELECT a.group_id, a.artifact_id, i.version, i.archive_type, i.sha1
FROM indices i JOIN artifacts a ON a.id = i.artifact_id ORDER BY i.rowid
"""
_CHUNK = 10_000


class BadJavaDatabase(BadPacking):
    """A file that is not what `write_database` writes."""

    code = "ERR_TRIVY_JAVA_DB_INVALID"
    hint = "Fetch the bundle again; if it stays, ask its sender."


@dataclass(frozen=True, slots=True, order=True)
class JavaSentinel:
    """A jar that a scan must recognise by its name: `artifact-version.jar` is of this group alone."""

    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        """The name of a file by which Trivy looks the artefact up."""
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Measured:
    """How many rows a database holds, and the digest over them."""

    rows: int
    digest: Digest


# ---- writing


def write_database(path: Path, rows: Iterable[JavaRow]) -> Measured:
    """Write `trivy-java.db`, in one pass over the rows and in constant memory.

    Args:
        path: of a file that does not exist; the SQLite library makes it.
        rows: in ascending order, each once; of several with one SHA-1 the first stays.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        for statement in TABLES.values():
            connection.execute(statement)
        _insert(connection, rows)
        connection.execute(INDICES["artifacts_idx"])
        connection.execute(INDICES["indices_artifact_idx"])
        try:
            connection.execute(INDICES["indices_sha1_idx"])
        except sqlite3.IntegrityError:
            connection.execute(_DROP_REPEATED)
            connection.execute(_DROP_EMPTY)
            connection.execute(INDICES["indices_sha1_idx"])
        connection.execute("VACUUM")
        measured = measure(connection)
    with path.open("r+b") as file:
        for place, value in HEADER:
            file.seek(place)
            file.write(value.to_bytes(4, "big"))
    return measured


def _insert(connection: sqlite3.Connection, rows: Iterable[JavaRow]) -> None:
    artifacts: list[tuple[int, str, str]] = []
    number = 0
    last: tuple[str, str] | None = None

    def indices() -> Iterator[tuple[int, str, bytes, str]]:
        nonlocal number, last
        for group, artifact, version, archive_type, sha1 in rows:
            if (group, artifact) != last:
                number, last = number + 1, (group, artifact)
                artifacts.append((number, group, artifact))
            yield number, version, sha1, archive_type

    source = indices()
    connection.execute("BEGIN")
    while chunk := list(islice(source, _CHUNK)):
        connection.executemany("INSERT INTO indices VALUES (?, ?, ?, ?)", chunk)
        connection.executemany("INSERT INTO artifacts VALUES (?, ?, ?)", artifacts)
        artifacts.clear()
    connection.execute("COMMIT")


# ---- reading


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database for reading alone; nothing in the file is run, and nothing is written beside it.

    Raises:
        BadJavaDatabase: no SQLite database.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise BadJavaDatabase(f"{DATABASE}: {error}") from error
    return connection


def rows_of(connection: sqlite3.Connection) -> Iterator[JavaRow]:
    """The rows in the order in which they stand.

    Raises:
        BadJavaDatabase: the tables cannot be read.
    """
    try:
        yield from connection.execute(_ROWS)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise BadJavaDatabase(f"{DATABASE}: {error}") from error


def measure(connection: sqlite3.Connection) -> Measured:
    """Count and digest the rows: `group⇥artifact⇥version⇥type⇥sha1⏎` of each, in ascending order.

    Raises:
        BadJavaDatabase: a row of other types, or not after the one before it.
    """
    hasher = hashlib.sha256()
    count = 0
    last: JavaRow = ("", "", "", "", b"")
    for row in rows_of(connection):
        _check_row(row, last)
        group, artifact, version, archive_type, sha1 = last = row
        count += 1
        line = f"{escape(group)}\t{escape(artifact)}\t{escape(version)}\t{archive_type}\t{sha1.hex()}\n"
        hasher.update(line.encode())
    return Measured(count, digests.of_hash(hasher))


def _check_row(row: tuple[Any, ...], last: JavaRow) -> None:
    group, artifact, version, archive_type, sha1 = row
    texts = isinstance(group, str) and isinstance(artifact, str) and isinstance(version, str)
    if not texts or archive_type not in ARCHIVE_TYPES or not isinstance(sha1, bytes) or len(sha1) != 20:
        raise BadJavaDatabase(f"{DATABASE}: {row!a:.300} is no row of an artefact")
    if row <= last:
        raise BadJavaDatabase(f"{DATABASE}: {row!a:.300} does not come after {last!a:.300}")


def database_problems(path: Path) -> list[str]:
    """What is wrong with a database beside its rows: header, schema, pages, indices, references; a sentence each.

    Raises:
        BadJavaDatabase: no SQLite database.
    """
    problems = _header_problems(path)
    with closing(open_database(path)) as connection:
        try:
            found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
            expected = [("table", name, sql) for name, sql in TABLES.items()]
            expected += [("index", name, sql) for name, sql in INDICES.items()]
            if found != sorted(expected, key=lambda entry: entry[1]):
                problems.append(
                    f"{DATABASE} has other tables or indices than Trivy's schema {SCHEMA_VERSION}"
                )
                return problems
            checked = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(10)")]
            problems += [f"{DATABASE}: {ascii(text)[:200]}" for text in checked if text != "ok"]
            broken = connection.execute("PRAGMA foreign_key_check").fetchmany(1)
            unused = connection.execute(
                "SELECT id FROM artifacts WHERE id NOT IN (SELECT artifact_id FROM indices) LIMIT 1"
            ).fetchall()
        except sqlite3.Error as error:
            raise BadJavaDatabase(f"{DATABASE}: {error}") from error
    if broken or unused:
        problems.append(f"{DATABASE} has rows without their artefact, or artefacts without rows")
    return problems


# Unused pages, their number, the largest root page, UTF-8, user version, vacuum mode, application id.
_FIXED = {32: 0, 36: 0, 52: 0, 56: 1, 60: 0, 64: 0, 68: 0}


def _header_problems(path: Path) -> list[str]:
    with path.open("rb") as file:
        header = file.read(100)
        size = file.seek(0, 2)
    fields = {place: int.from_bytes(header[place : place + 4], "big") for place in range(24, 100, 4)}
    expected = dict(HEADER) | _FIXED | {28: size // PAGE_SIZE}
    sound = header[:20] == b"SQLite format 3\0" + PAGE_SIZE.to_bytes(2, "big") + b"\1\1"
    if sound and size % PAGE_SIZE == 0 and all(fields[place] == value for place, value in expected.items()):
        return []
    return [f"the header of {DATABASE} is not as it is written here"]


# ---- sentinels

LARGEST_SENTINELS = 1 << 20
_MOST_SENTINELS = 8
_CANDIDATES = 400
# As Trivy takes a file's name apart.
_FILE_NAME = re.compile(r"([a-zA-Z0-9\._-]*[^-*])-(\d\S*(?:-SNAPSHOT)?).jar", re.ASCII)
_SOME = """
SELECT a.group_id, a.artifact_id, i.version FROM indices i JOIN artifacts a ON a.id = i.artifact_id
WHERE i.archive_type = 'jar' ORDER BY i.sha1 LIMIT ?
"""
_GROUPS = """
SELECT DISTINCT a.group_id FROM artifacts a JOIN indices i ON i.artifact_id = a.id
WHERE a.artifact_id = ? AND i.version = ? AND i.archive_type = 'jar'
"""


def choose_sentinels(connection: sqlite3.Connection) -> list[JavaSentinel]:
    """Some jars that Trivy must recognise by name, sorted: those with the smallest SHA-1, which are spread over all.

    Where several groups have the artefact in the version, Trivy takes the most frequent; such are no sentinels.
    """
    chosen: set[JavaSentinel] = set()
    for group, artifact, version in connection.execute(_SOME, (_CANDIDATES,)).fetchall():
        sentinel = JavaSentinel(group, artifact, version)
        if _told_by_name(sentinel) and _groups(connection, sentinel) == [group]:
            chosen.add(sentinel)
        if len(chosen) == _MOST_SENTINELS:
            break
    return sorted(chosen)


def sentinel_problems(connection: sqlite3.Connection, sentinels: Iterable[JavaSentinel]) -> list[str]:
    """Sentinels that a sound database does not hold, or whose name Trivy would take for another artefact."""
    return [
        f"{each.file_name!a:.200} is not of {each.group!a:.200} alone"
        for each in sentinels
        if not _told_by_name(each) or _groups(connection, each) != [each.group]
    ]


def _told_by_name(sentinel: JavaSentinel) -> bool:
    found = _FILE_NAME.fullmatch(sentinel.file_name)
    return found is not None and found.groups() == (sentinel.artifact, sentinel.version)


def _groups(connection: sqlite3.Connection, sentinel: JavaSentinel) -> list[str]:
    return [group for (group,) in connection.execute(_GROUPS, (sentinel.artifact, sentinel.version))]


def write_sentinels(sentinels: Iterable[JavaSentinel]) -> bytes:
    """`java-sentinels.json`: canonical JSON, an array of objects `artifact`, `group`, `version`, sorted by group."""
    return canonical_json.encode(
        [
            {"artifact": each.artifact, "group": each.group, "version": each.version}
            for each in sorted(set(sentinels))
        ]
    )


def read_sentinels(data: bytes) -> tuple[JavaSentinel, ...]:
    """Read a `java-sentinels.json`.

    Raises:
        BadJavaDatabase: anything but what `write_sentinels` writes.
    """
    return sentinel_files.read("java-sentinels.json", data, JavaSentinel, write_sentinels, BadJavaDatabase)
