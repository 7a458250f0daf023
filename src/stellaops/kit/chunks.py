"""Files cut to the size of a medium, with a table of contents, and put together again with every digest checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

import msgspec

from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput, MissingPrerequisite, NotTrusted
from stellaops.kit.disk import disk_errors, made

CONTENTS = "contents.json"
SCHEMA = "https://stellaops.io/export-center/chunks/v1"
SMALLEST = 1 << 16
"""Bytes of the smallest chunk: less makes more files than any medium likes."""
LARGEST_CONTENTS = 16 << 20
_PIECE = 1 << 20


class ChunkMissing(MissingPrerequisite):
    """Parts of a file are on none of the media that were given."""

    code = "ERR_CHUNK_MISSING"
    hint = "Copy the missing chunks beside the others, or name their directory too, then join again."


class ChunkDamaged(NotTrusted):
    """A chunk, or the table of contents, is not as it was written."""

    code = "ERR_CHUNK_DAMAGED"
    hint = "Copy it again from its medium; nothing was put together."


class BadChunkSize(InvalidInput):
    """A size that no medium has."""

    code = "ERR_CHUNK_SIZE"
    hint = "Give a size such as 650M, 4G or 4000000000."


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a file: its own name, digest and size in bytes."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that was cut: what it was, and its parts in order."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    chunks: tuple[Chunk, ...]


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of contents of a directory of chunks."""

    schema: str
    files: tuple[Cut, ...]


def parse_size(text: str) -> int:
    """Bytes of a size such as `650M` (binary: 1M is 1,048,576) or `4000000000`.

    Raises:
        BadChunkSize: another form, or less than 64 KiB.
    """
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    power = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}.get(unit)
    if power is None or not number.isascii() or not number.isdecimal() or int(number) << power < SMALLEST:
        raise BadChunkSize(f"{text[:40]!r} is no size of a chunk of 64K or more")
    return int(number) << power


def split(files: Sequence[Path], target: Path, size: int) -> Contents:
    """Cut files into chunks of at most a size, below a directory, with their table of contents.

    The table is written last: a directory without it is unfinished.

    Raises:
        InvalidInput: two files have one name.
        NoRoom: see there.
    """
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two of the files have one name: {', '.join(sorted(names))}")
    with disk_errors(target), made(target):
        (target / CONTENTS).unlink(missing_ok=True)
        contents = Contents(SCHEMA, tuple(_cut(file, target, size) for file in sorted(files)))
        _write(target / CONTENTS, iter([encode(contents)]))
        return contents


def encode(contents: Contents) -> bytes:
    """The table in its only form."""
    return canonical_json.encode(msgspec.to_builtins(contents))


def parse(data: bytes) -> Contents:
    """The table in some bytes.

    Raises:
        ChunkDamaged: another form, or names that leave the directory.
    """
    try:
        contents = msgspec.json.decode(data, type=Contents)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ChunkDamaged(f"{CONTENTS} cannot be read: {error}") from error
    names = [name for file in contents.files for name in (file.name, *(chunk.name for chunk in file.chunks))]
    wrong = [
        name for name in names if PurePosixPath(name).name != name or name in (".", "..") or "\0" in name
    ]
    if wrong or contents.schema != SCHEMA or encode(contents) != data:
        raise ChunkDamaged(
            f"{CONTENTS} is not a table of contents of chunks{f': {wrong[0]!r}' if wrong else ''}"
        )
    return contents


def join(places: Sequence[Path], target: Path) -> tuple[Path, ...]:
    """Put together every file that a table of contents tells of.

    Args:
        places: directories in which the chunks lie; the table in the first of them that has one.
        target: the directory for the files; one that is there already, with its digest, is left.

    Raises:
        ChunkMissing: with every chunk that is nowhere.
        ChunkDamaged, NoRoom: see there.
    """
    tables = [place / CONTENTS for place in places if (place / CONTENTS).is_file()]
    if not tables:
        raise ChunkMissing(f"there is no {CONTENTS} in {', '.join(map(str, places))}")
    if tables[0].stat().st_size > LARGEST_CONTENTS:
        raise ChunkDamaged(f"{tables[0]} is larger than any table of contents")
    contents = parse(tables[0].read_bytes())
    missing = [
        chunk.name for file in contents.files for chunk in file.chunks if _place(chunk, places) is None
    ]
    if missing:
        raise ChunkMissing(f"{len(missing)} chunks are missing, the first is {missing[0]}", details=missing)
    with disk_errors(target), made(target):
        return tuple(_joined(file, places, target) for file in contents.files)


def _cut(file: Path, target: Path, size: int) -> Cut:
    chunks: list[Chunk] = []
    whole = _Measure()
    with file.open("rb") as source:
        while True:
            part = _Measure()
            name = f"{file.name}.part{len(chunks):03d}"
            pieces = part.over(whole.over(_pieces(source, size)))
            _write(target / name, pieces)
            if part.size == 0 and chunks:
                (target / name).unlink()
                break
            chunks.append(Chunk(name, part.digest, part.size))
            if part.size < size:
                break
    return Cut(file.name, whole.digest, whole.size, tuple(chunks))


def _joined(file: Cut, places: Sequence[Path], target: Path) -> Path:
    path = target / file.name
    if path.is_file() and path.stat().st_size == file.bytes:
        with path.open("rb") as there:
            if digests.of_file(there) == file.digest:
                return path
    whole = _Measure()
    _write(path, _checked(file, places, whole))
    return path


def _checked(file: Cut, places: Sequence[Path], whole: _Measure) -> Iterator[bytes]:
    """The bytes of all chunks; raises at the end of the first that is wrong, so that nothing is renamed."""
    for chunk in file.chunks:
        place = _place(chunk, places)
        if place is None:
            raise ChunkMissing(f"{chunk.name} is missing")
        part = _Measure()
        with place.open("rb") as source:
            yield from whole.over(part.over(_pieces(source, chunk.bytes + 1)))
        if (part.digest, part.size) != (chunk.digest, chunk.bytes):
            raise ChunkDamaged(f"{place} is not as it was written")
    if (whole.digest, whole.size) != (file.digest, file.bytes):
        raise ChunkDamaged(f"the chunks of {file.name} do not make up the file")


def _place(chunk: Chunk, places: Sequence[Path]) -> Path | None:
    return next((place / chunk.name for place in places if (place / chunk.name).is_file()), None)


@dataclass
class _Measure:
    """Digest and size of bytes that pass."""

    size: int = 0

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        return Digest(digests.PREFIX + self._hash.hexdigest())

    def over(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._hash.update(piece)
            self.size += len(piece)
            yield piece


def _pieces(source: BinaryIO, most: int) -> Iterator[bytes]:
    left = most
    while left and (piece := source.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file beside its place, flush it, and rename it; nothing stays of an attempt that failed."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as out:
            for piece in pieces:
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
    finally:
        with suppress(OSError):
            partial.unlink()
