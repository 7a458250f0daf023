"""Files that came over the network to be imported.

They are kept by their content while they are, so that an import that was cut off goes on where it was when the same
files come again.

An upload is one file with a name, or a tar of what would be the paths on a command line: `0/…`, `1/…`, and so on.
A path that is a file stands as `N/NAME`, one that is a folder as `N/` with what is in it; public keys of the publisher
stand as `openpgp-keys/N`. `pack` makes such a tar, `opened` reads it.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from msgspec import structs

from stellaops.adapters.files.inputs import ArchiveBomb, ArchiveDamaged, FileInputs, InputMissing
from stellaops.core.errors import InvalidInput, StellaError
from stellaops.ingest.ports import Member, Wanted
from stellaops.kit.disk import disk_errors

TAR = "application/x-tar"
FILE = "application/octet-stream"
KEYS = "openpgp-keys"

_MOST_FILES = 5_000_000
_NUMBER = re.compile(r"\d{1,6}")
_FORGOTTEN = 7 * 24 * 3600
"""Seconds after which what a dead process left is removed."""


class BadUpload(InvalidInput):
    """An upload that is no file with a name and no tar of numbered paths."""

    code = "ERR_UPLOAD_INVALID"
    hint = (
        "Send one file as application/octet-stream with its name, or a tar of 0/…, 1/… as application/x-tar."
    )


class UploadInputs:
    """`ingest.ports.Inputs` over what was uploaded; provenance says so and names nothing of this machine.

    Attributes:
        openpgp_keys: that came with it.
    """

    def __init__(self, root: Path, paths: Sequence[Path], openpgp_keys: tuple[bytes, ...] = ()) -> None:
        self._root = root
        self._files = FileInputs(paths)
        self.openpgp_keys = openpgp_keys

    def fingerprint(self) -> str:
        """See the port."""
        return self._files.fingerprint()

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port."""
        return map(self._uploaded, self._files.members(skip))

    def wanted_members(self, wanted: Wanted) -> Iterator[Member]:
        """See the port."""
        return map(self._uploaded, self._files.wanted_members(wanted))

    def _uploaded(self, member: Member) -> Member:
        here = f"{self._root.absolute().as_uri()}/"
        return structs.replace(member, container_url=member.container_url.replace(here, "upload:", 1))


@contextmanager
def opened(place: Path, body: Path, key: str, name: str | None) -> Iterator[UploadInputs]:
    """What was uploaded, ready to be imported; removed when the import is over.

    Args:
        place: a directory for uploads.
        body: the file that came; it is moved.
        key: stands for its content and what is done with it; the same upload for the same purpose has the same.
        name: of the file; None for a tar of paths.

    Raises:
        BadUpload: see there.
        ArchiveDamaged, ArchiveBomb: of the tar.
        NoRoom: the disk is full.
    """
    with disk_errors(place), _held(place, key) as root:
        try:
            yield _file(root, body, name) if name is not None else _tar(root, body)
        except StellaError as error:
            # Where it lies on this machine is nobody's business.
            error.what = error.what.replace(f"{root.absolute()}/", "").replace(
                str(root.absolute()), "the upload"
            )
            raise


def pack(out: BinaryIO, paths: Sequence[Path], openpgp_keys: Sequence[bytes] = ()) -> None:
    """Write paths as a tar for `opened`; the same files give the same bytes.

    Raises:
        InputMissing: a path that is not there or cannot be read.
    """
    FileInputs(paths)  # refuses what cannot be read before anything is sent
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for number, key in enumerate(openpgp_keys):
            _add_bytes(archive, f"{KEYS}/{number}", key)
        for number, path in enumerate(paths):
            for file, name in _files(path):
                _add(archive, file, f"{number}/{name}")


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_file():
        yield path, path.name
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if each != ".git")
        for name in sorted(names):
            file = Path(folder) / name
            if file.is_file() and not file.is_symlink():
                yield file, file.relative_to(path).as_posix()


def _add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    try:
        with file.open("rb") as content:
            info = tarfile.TarInfo(name)
            info.size = os.fstat(content.fileno()).st_size
            archive.addfile(info, content)
    except OSError as error:
        raise InputMissing(f"{file}: {error.strerror or error}") from error


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@contextmanager
def _held(place: Path, key: str) -> Iterator[Path]:
    """A directory of this upload's own; another process with the same upload waits until this one is done."""
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    lock = place / f"{key}.lock"
    with ExitStack() as stack:
        stack.callback(os.close, _own(lock))
        root = place / key
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        stack.callback(_remove, root, lock)
        yield root


def _own(lock: Path) -> int:
    """Hold the lock; who had it before may have removed its file, and then all begins again."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == lock.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _remove(root: Path, lock: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    lock.unlink(missing_ok=True)


def _sweep(place: Path) -> None:
    """Remove what processes left that died long ago."""
    for lock in place.glob("*.lock"):
        with suppress(OSError):
            if lock.stat().st_mtime > time.time() - _FORGOTTEN:
                continue
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(lock.with_suffix(""), lock)


def _file(root: Path, body: Path, name: str) -> UploadInputs:
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise BadUpload(f"{name[:80]!r} is no file's name")
    target = root / name
    shutil.move(body, target)
    os.utime(target, (0, 0))
    return UploadInputs(root, [target])


def _tar(root: Path, body: Path) -> UploadInputs:
    try:
        with tarfile.open(body, mode="r:") as archive:
            _unpack(archive, root)
    except tarfile.TarError as error:
        raise ArchiveDamaged(f"the uploaded tar: {error}") from error
    finally:
        body.unlink(missing_ok=True)
    keys = sorted((root / KEYS).glob("*"), key=lambda path: path.name) if (root / KEYS).is_dir() else []
    paths = sorted((path for path in root.iterdir() if path.name != KEYS), key=lambda path: int(path.name))
    if not paths:
        raise BadUpload("the uploaded tar holds no path to import")
    return UploadInputs(root, paths, tuple(path.read_bytes() for path in keys))


def _unpack(archive: tarfile.TarFile, root: Path) -> None:
    for number, info in enumerate(archive):
        if number >= _MOST_FILES:
            raise ArchiveBomb(f"the uploaded tar holds more than {_MOST_FILES} files")
        parts = PurePosixPath(info.name).parts
        if (
            not parts
            or ".." in parts
            or parts[0] == "/"
            or not (parts[0] == KEYS or _NUMBER.fullmatch(parts[0]))
        ):
            raise BadUpload(f"{info.name[:200]!r} in the uploaded tar is not below 0/, 1/, … or {KEYS}/")
        target = root.joinpath(*parts)
        if info.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        content = archive.extractfile(info) if info.isreg() else None
        if content is None or len(parts) < 2:
            raise BadUpload(f"{info.name[:200]!r} in the uploaded tar is no file below a numbered path")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
        os.utime(target, (0, 0))
        archive.members = []  # type: ignore[attr-defined] # tarfile remembers every member; nothing goes back to one
