"""Files to import: single files, folders, zip and tar archives, in a fixed order and in constant memory.

Nothing is ever unpacked onto the disk. Names inside archives are checked all the same: a path that leaves its root
would be a wrong key. One member's size, the members' number and their sum are bounded, so that a bomb ends as an
error or in quarantine, not as a full memory.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Self

from backports import zstd
from msgspec import structs

from stellaops.adapters.files import lists
from stellaops.adapters.files.zip_stream import BadZip, entries
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput, NotFound
from stellaops.ingest.ports import Member, Wanted

# The largest file that an upstream publishes as one, Debian's tracker, is about 80 MB.
MAX_MEMBER = 256 << 20
MAX_TOTAL = 64 << 30
MAX_MEMBERS = 20_000_000

# Headers that describe the next member, and the most that a sound one holds.
_DESCRIBING = frozenset(
    (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
)
_MAX_DESCRIPTION = 1 << 20
_MAX_PADDING = 16 << 20

_TAR_NAMES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma", ".tar.zst", ".tzst",
)  # fmt: skip
_ARCHIVE_NAMES = (".zip", *_TAR_NAMES)
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

# Most paths, which need no careful look: names that begin with no dot, between single slashes.
_PLAIN_PATH = re.compile(r"[\w+-][\w+.@ -]*(?:/[\w+-][\w+.@ -]*)*", re.ASCII)


class InputMissing(NotFound):
    """A path to import does not exist or cannot be read."""

    code = "ERR_IMPORT_INPUT_MISSING"
    hint = "Check the path and its permissions."


class ArchiveDamaged(InvalidInput):
    """An archive cannot be read to its end."""

    code = "ERR_IMPORT_ARCHIVE_DAMAGED"
    hint = "Fetch the archive again, then run the same command; nothing of the damaged one was made visible."


class ArchiveBomb(InvalidInput):
    """An archive unpacks to more than any feed holds."""

    code = "ERR_IMPORT_ARCHIVE_BOMB"
    hint = "If the archive is sound, unpack it and import the folder in parts."


class FileInputs:
    """`ingest.ports.Inputs` over paths, in the order given."""

    def __init__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if not path.exists() or not os.access(path, os.R_OK):
                raise InputMissing(f"{path} does not exist or cannot be read")
            if not path.is_file() and not path.is_dir():
                raise InputMissing(f"{path} is neither a file nor a folder")
        self._paths = [path.absolute() for path in paths]
        self._digests: dict[Path, Digest] = {}

    def fingerprint(self) -> str:
        """Digest over the names, sizes and times of the files."""
        hasher = hashlib.sha256()
        for path in self._paths:
            for file, name in _files(path):
                state = file.stat()
                hasher.update(
                    f"{path}\t{name}\t{state.st_size}\t{state.st_mtime_ns}\n".encode("utf-8", "replace")
                )
        return digests.of_hash(hasher)

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port. Archives lie flat where they stand: their members' paths do not name them."""
        total = 0
        for number, member in enumerate(self._all(skip)):
            total += len(member.content)
            if total > MAX_TOTAL or number > MAX_MEMBERS:
                raise ArchiveBomb(
                    f"{member.container_url} unpacks to more than {total} bytes or {number} files"
                )
            yield member

    def wanted_members(self, wanted: Wanted) -> Iterator[Member]:
        """See the port."""
        return self._all(wanted=wanted)

    def _all(self, skip: int = 0, wanted: Wanted | None = None) -> Iterator[Member]:
        for path in self._paths:
            for file, name in _files(path):
                head = _head(file)
                if head is None and not is_archive(file) and not is_compressed(file.name):
                    if skip > 0:
                        skip -= 1
                    elif wanted is None or wanted(name):
                        yield _plain(file, name)
                    continue
                for member in self._parts(file, name, head, wanted):
                    if skip > 0:
                        skip -= 1
                    else:
                        yield member

    def _parts(self, file: Path, name: str, head: bytes | None, wanted: Wanted | None) -> Iterator[Member]:
        """The members of an archive, or the blocks of a list that is cut."""
        if file not in self._digests:
            with file.open("rb") as packed:
                self._digests[file] = digests.of_file(packed)
        folder, slash, _ = name.rpartition("/")
        container = Member("", b"", file.as_uri(), self._digests[file], file.stat().st_size)
        if head is None:
            yield from archive_members(file, file.name, folder + slash, container, wanted)
            return
        path = folder + slash + _readable(_unpacked_name(file.name))
        with _stream(file) as stream:
            yield from lists.blocks(stream, head, structs.replace(container, path=path))


def _head(file: Path) -> bytes | None:
    """What `lists.head_of` says of a plain or compressed file; None also where it cannot be read."""
    if is_archive(file) or not lists.may_be_list(_unpacked_name(file.name)):
        return None
    try:
        with _stream(file) as stream:
            return lists.head_of(stream, _unpacked_name(file.name))
    except (OSError, ArchiveDamaged):
        return None


def _unpacked_name(name: str) -> str:
    return PurePosixPath(name).stem if is_compressed(name) else name


@contextmanager
def _stream(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is compressed."""
    if not is_compressed(file.name):
        with file.open("rb") as stream:
            yield stream
        return
    try:
        with _decompressed(file) as stream:
            yield stream
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise ArchiveDamaged(f"{file}: {error}") from error


def archive_members(
    file: Path, name: str, folder: str, container: Member, wanted: Wanted | None = None
) -> Iterator[Member]:
    """The files of an archive, or the one of a compressed file.

    Args:
        name: by which its form is told; the file may have another.
        folder: what their paths begin with; empty or ending with a slash.
        container: what the members say of it.
        wanted: what other paths are of is passed over, and not unpacked where the form allows; all where None.

    Raises:
        ArchiveDamaged: it cannot be read to its end.
    """
    inside = None if wanted is None else (lambda inner: wanted(_place(folder, inner)[0]))
    for inner, content, problem in _reader(name)(file, inside):
        path, unsafe = _place(folder, inner)
        trouble = problem or unsafe
        if not trouble and _is_archive_name(inner):
            trouble = "nested-archive: an archive inside an archive is not opened; unpack it first"
        shown = b"" if trouble else content
        yield structs.replace(container, path=path, content=shown, problem=trouble)


def _reader(name: str) -> Callable[[Path, Wanted | None], Iterator[tuple[str, bytes, str]]]:
    lowered = name.lower()
    if lowered.endswith(".zip"):
        return _zip_members
    return _tar_members if lowered.endswith(_TAR_NAMES) else partial(_compressed_member, name)


def is_compressed(name: str) -> bool:
    """Whether a file of this name is one file, compressed."""
    return name.lower().endswith(_COMPRESSED) and not _is_archive_name(name)


def _compressed_member(name: str, file: Path, _wanted: Wanted | None) -> Iterator[tuple[str, bytes, str]]:
    try:
        with _decompressed(file) as stream:
            content = stream.read(MAX_MEMBER + 1)
            problem = f"too-large: more than {MAX_MEMBER} bytes unpacked" if len(content) > MAX_MEMBER else ""
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise ArchiveDamaged(f"{file}: {error}") from error
    yield PurePosixPath(name).stem, content, problem


def is_archive(file: Path) -> bool:
    """Whether a file is read as an archive, told from its name."""
    return _is_archive_name(file.name)


def _is_archive_name(name: str) -> bool:
    return name.lower().endswith(_ARCHIVE_NAMES)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """The regular files below a root in a fixed order, with paths relative to it. Links are not followed."""
    if not root.is_dir():
        yield root, _readable(root.name)
        return
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise InputMissing(f"the folder {folder} cannot be read: {error.strerror}") from error
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path), _readable(Path(entry.path).relative_to(root).as_posix())
        pending.extend(
            Path(entry.path) for entry in reversed(found)
            if entry.is_dir(follow_symlinks=False) and entry.name != ".git"
        )  # fmt: skip


def _plain(file: Path, name: str) -> Member:
    size = 0
    try:
        size = file.stat().st_size
        if size <= MAX_MEMBER:
            return Member(name, file.read_bytes(), file.as_uri(), None, size)
        problem = f"too-large: {size} bytes, the limit is {MAX_MEMBER}"
    except OSError as error:
        problem = f"unreadable: {error.strerror}"
    return Member(name, b"", file.as_uri(), None, size, problem)


def _zip_members(file: Path, wanted: Wanted | None) -> Iterator[tuple[str, bytes, str]]:
    try:
        for entry in entries(file, limit=MAX_MEMBER, wanted=wanted):
            yield entry.name, entry.content, entry.problem
    except (BadZip, ValueError) as error:
        raise ArchiveDamaged(f"{file}: {error}") from error


class _Header(tarfile.TarInfo):
    """A tar header that is sound, or the archive is damaged: the library takes a broken one for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(f"cut off or damaged: {error}") from error
        if header.size < 0 or (header.type in _DESCRIBING and header.size > _MAX_DESCRIPTION):
            raise tarfile.ReadError("a header claims a size that no header has")
        return header


def _tar_members(file: Path, wanted: Wanted | None) -> Iterator[tuple[str, bytes, str]]:
    try:
        with _decompressed(file) as stream:
            yield from _tar_entries(file, stream, wanted)
            _read_rest(stream)
    except (
        tarfile.TarError,
        EOFError,
        OSError,
        ValueError,
        zlib.error,
        lzma.LZMAError,
        zstd.ZstdError,
    ) as error:
        raise ArchiveDamaged(f"{file}: {error}") from error


def _tar_entries(file: Path, stream: IO[bytes], wanted: Wanted | None) -> Iterator[tuple[str, bytes, str]]:
    total = 0
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        for info in archive:
            total += info.size
            if total > MAX_TOTAL:
                raise ArchiveBomb(f"{file.as_uri()} unpacks to more than {MAX_TOTAL} bytes")
            if not info.isdir() and (wanted is None or wanted(info.name)):
                yield info.name, *_tar_entry(archive, info)
            # tarfile remembers every member; a stream is never gone back in.
            archive.members = []  # type: ignore[attr-defined]


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> tuple[bytes, str]:
    if not info.isreg():
        return b"", "not-a-file: a link or device in an archive"
    if info.size > MAX_MEMBER:
        return b"", f"too-large: {info.size} bytes, the limit is {MAX_MEMBER}"
    content = archive.extractfile(info)
    return content.read() if content else b"", ""


def _read_rest(stream: IO[bytes]) -> None:
    """Read the padding to its end, so that the compressor's own check of the whole stream is made."""
    for _ in range(_MAX_PADDING >> 16):
        if not stream.read(1 << 16):
            return
    raise tarfile.ReadError(f"more than {_MAX_PADDING} bytes follow the end of the archive")


def _decompressed(file: Path) -> IO[bytes]:
    with file.open("rb") as content:
        magic = content.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file, "rb")  # type: ignore[return-value]
    if magic[:3] == b"BZh":
        return bz2.open(file, "rb")
    if magic[:6] == b"\xfd7zXZ\0" or magic[:3] == b"]\0\0":
        return lzma.open(file, "rb")
    if magic[:4] == b"\x28\xb5\x2f\xfd":
        return zstd.open(file, "rb")  # type: ignore[return-value]
    return file.open("rb")


def _place(folder: str, inner: str) -> tuple[str, str]:
    """A member's path as the same file would have it in a folder, without `./` and doubled slashes; what is unsafe."""
    if _PLAIN_PATH.fullmatch(inner):
        return folder + inner, ""
    path = PurePosixPath(inner.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in inner or not path.parts:
        trouble = "unsafe-path: a path in an archive that leaves its root"
        return folder + _readable(inner.lstrip("/\\") or "unnamed"), trouble
    return folder + _readable(PurePosixPath(inner).as_posix()), ""


def _readable(name: str) -> str:
    """A name that is no UTF-8 on the disk as text that every store can hold."""
    return os.fsencode(name).decode("utf-8", "backslashreplace") if _has_surrogates(name) else name


def _has_surrogates(name: str) -> bool:
    return not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name)
