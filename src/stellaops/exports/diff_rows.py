"""What differs between the rows of two exports, entry by entry in key order; nothing but the differences is kept."""

from __future__ import annotations

import mmap
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stellaops.bundles import layout, rows
from stellaops.bundles.packed import expansion_limit, lines, unzstd
from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy.bolt.reader import BoltReader, Bucket
from stellaops.bundles.trivy.inspect import DATABASE
from stellaops.core.digests import Digest

_ABOUT_IDS = b"vulnerability"
_APART = (b"data-source", _ABOUT_IDS)
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        change: `added`, `changed`, `removed`; or `withdrawn`, of a document that its issuer has marked so since.
        what: its key in words.
        source: whose document it is; of a database the bucket. None where that says nothing.
        packages: those it is about, without versions.
        severity: a word; None where none is stated.
    """

    content: str
    change: str
    what: str
    source: str | None = None
    packages: tuple[str, ...] = ()
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of one side.

    Attributes:
        key: what it is compared by, in ascending order.
        value: entries of one key differ where their values do.
        name: the key as it is told.
        about: source, packages and severity, worked out only for entries that differ.
    """

    key: tuple[str, ...]
    value: object
    name: str
    about: Callable[[], tuple[str | None, tuple[str, ...], str | None]]
    withdrawn: bool = False


class _Index(msgspec.Struct, gc=False):
    """What of an index row is told; rows of other sets have less."""

    digest: Digest
    key: str
    source: str
    packages: tuple[str, ...] = ()
    severity: str | None = None
    withdrawn: str | None = None

    def about(self) -> tuple[str | None, tuple[str, ...], str | None]:
        return self.source, self.packages, self.severity


class _Details(msgspec.Struct):
    """What of a vulnerability's entry in a database is told."""

    severity: str | None = msgspec.field(default=None, name="Severity")


_INDEX = msgspec.json.Decoder(_Index)
_DETAILS = msgspec.json.Decoder(_Details)


def index_entries(root: Path, name: str) -> Iterator[Entry]:
    """Rows of an index, or of another set that is one file.

    Raises:
        BadRow: a line that is none.
    """
    file = root / layout.index_file(name)
    with file.open("rb") as packed:
        chunks = iter(lambda: packed.read(_PIECE), b"")
        for line in lines(unzstd(chunks, expansion_limit(file.stat().st_size))):
            rows.parse_index(line)
            row = _INDEX.decode(line)
            place = rows.owner_of(row.source), row.source, row.key
            yield Entry(place, row.digest, f"{row.source} {row.key}", row.about, bool(row.withdrawn))


def database_entries(root: Path) -> Iterator[Entry]:
    """Entries of a Trivy database: advisories by bucket, package and id, then what is known of ids and sources."""
    with (
        tarfile.open(root / layout.TRIVY_DB, "r:gz") as archive,
        tempfile.TemporaryFile() as scratch,
    ):
        content = archive.extractfile(DATABASE)
        while content is not None and (chunk := content.read(_PIECE)):
            scratch.write(chunk)
        scratch.flush()
        with mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _of_database(BoltReader(data))


def _of_database(reader: BoltReader) -> Iterator[Entry]:
    known = reader.bucket(_ABOUT_IDS)
    for bucket_name, bucket in reader.buckets():
        name = _text(bucket_name)
        if bucket_name in _APART:
            for key, value in bucket.items():
                yield Entry((name, _text(key)), bytes(value), f"{name} {_text(key)}", _nothing)
            continue
        for package_name, package in bucket.buckets():
            for key, value in package.items():
                place = name, _text(package_name), _text(key)
                yield Entry(place, bytes(value), " ".join(place), _About(place, known, key))


@dataclass(frozen=True, slots=True)
class _About:
    place: tuple[str, str, str]
    known: Bucket | None
    id: bytes

    def __call__(self) -> tuple[str | None, tuple[str, ...], str | None]:
        value = None if self.known is None else self.known.get(self.id)
        bucket, package, _ = self.place
        return bucket, (package,), None if value is None else _DETAILS.decode(value).severity


def artefact_entries(root: Path) -> Iterator[Entry]:
    """Entries of a Java database."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        tarfile.open(root / layout.TRIVY_JAVA_DB, "r:gz") as archive,
    ):
        archive.extract(java_db.DATABASE, scratch, filter="data")
        with closing(java_db.open_database(Path(scratch) / java_db.DATABASE)) as connection:
            for group, artifact, version, archive_type, sha1 in java_db.rows_of(connection):
                place = group, artifact, version, archive_type, sha1.hex()
                yield Entry(place, True, " ".join(place), _nothing)


def _nothing() -> tuple[str | None, tuple[str, ...], str | None]:
    return None, (), None


def differences(content: str, old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[Change]:
    """The differences between two sides, each in ascending order of its keys."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.key < right.key):
            assert left is not None  # noqa: S101 - one of the two is there
            yield _change(content, "removed", left)
            left = next(old, None)
        elif left is None or right.key < left.key:
            yield _change(content, "added", right)
            right = next(new, None)
        else:
            if left.value != right.value:
                marked = right.withdrawn and not left.withdrawn
                yield _change(content, "withdrawn" if marked else "changed", right)
            left, right = next(old, None), next(new, None)


def _change(content: str, change: str, entry: Entry) -> Change:
    return Change(content, change, entry.name, *entry.about())


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
