"""Small files that hold secrets: read only where they are the owner's alone, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from stellaops.authority.keys import KeyUnavailable
from stellaops.core.errors import AlreadyExists, MissingPrerequisite

LARGEST = 64 * 1024
"""More bytes than any key, record or passphrase has."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}")


class KeyFileExists(AlreadyExists):
    """A private key was to be written over a file that is there."""

    code = "ERR_KEY_FILE_EXISTS"
    hint = "Name a file that does not exist; a private key is never written over another file."


class KeyFileNotWritten(MissingPrerequisite):
    """A key file could not be written; what was there before is whole."""

    code = "ERR_KEY_FILE_NOT_WRITTEN"
    hint = "Set right what the message names (room, permission, a directory that is missing), then run again."


def read(path: Path, *, private: bool = False) -> bytes:
    """The bytes of a regular file that is no link.

    Args:
        path: the file.
        private: refuse it where others than its owner may open it.

    Raises:
        KeyUnavailable: see there; also more than `LARGEST` bytes.
    """
    return _read(path, _is_open if private else lambda _: False)


def _read(path: Path, refused: Callable[[os.stat_result], bool]) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise KeyUnavailable(f"{path} is not a regular file")
        if refused(state):
            raise KeyUnavailable(
                f"{path} is open to others than its owner (mode {stat.S_IMODE(state.st_mode):04o})",
                hint=f"If nobody read it, run `chmod 600 {path}`; else revoke the key and make another.",
            )
        try:
            data = file.read(LARGEST + 1)
        except OSError as error:
            raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise KeyUnavailable(f"{path} has more than {LARGEST} bytes and is no key file")
    return data


def _is_open(state: os.stat_result) -> bool:
    return bool(state.st_mode & 0o077)


def is_lent(state: os.stat_result, groups: Collection[int]) -> bool:
    """Whether a file is root's, and one of these groups, and nobody else, may read it besides.

    So a secret comes to a process that is not root: a volume of Kubernetes with `fsGroup`, or `chown root:service`
    and `chmod 640`. Root could read it anyway, and the process cannot change it.
    """
    return state.st_uid == 0 and state.st_gid in groups and state.st_mode & 0o077 == 0o040


def read_named(path: Path) -> bytes:
    """The bytes of a secret file that an operator named; unlike the store's own files it may be a link.

    It may be open to its owner alone, or be lent by root to a group of this process's.

    Raises:
        KeyUnavailable: as `read`.
    """
    groups = () if os.geteuid() == 0 else (os.getegid(), *os.getgroups())
    return _read(path.resolve(), lambda state: _is_open(state) and not is_lent(state, groups))


def passphrase_file(path: Path) -> Callable[[], bytes]:
    """A passphrase from a file that only its owner may open; one newline at its end is left out.

    The function that is returned raises `KeyUnavailable` where the file cannot be used.
    """

    def passphrase() -> bytes:
        text = read_named(path)
        return text[:-1] if text.endswith(b"\n") else text

    return passphrase


def write(path: Path, data: bytes, *, mode: int) -> None:
    """Write beside the target, flush to disk, rename, and flush the directory.

    Raises:
        KeyFileNotWritten: see there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(temporary, data, mode)
        _rename(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise KeyFileNotWritten(f"{path} cannot be written: {error.strerror}") from error


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that must not exist, not even as a link that leads nowhere.

    Raises:
        KeyFileExists, KeyFileNotWritten: see there; nothing is left behind.
    """
    try:
        _write_new(path, data, mode)
        _sync(path.parent)
    except FileExistsError as error:
        raise KeyFileExists(f"{path} exists") from error
    except OSError as error:
        raise KeyFileNotWritten(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def reserved(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A new file of mode 0600 for a secret that does not exist yet: made before it, so that it has a place for sure.

    What is yielded writes the file. Where that was not called, or on an error, nothing is left behind.

    Raises:
        KeyFileExists, KeyFileNotWritten: see there.
    """
    write_new(path, b"", mode=0o600)
    written = False

    def fill(data: bytes) -> None:
        nonlocal written
        write(path, data, mode=0o600)
        written = True

    try:
        yield fill
    finally:
        if not written:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, also one that is gone already, for good."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync(path.parent)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory, which is made where it is missing; what a killed writer left in it is removed.

    Raises:
        KeyFileNotWritten: see there.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileNotWritten(f"{directory} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Every writer holds the lock, so whatever still has a temporary name is a dead one's, and may be a secret.
        sweep(directory)
        yield
    finally:
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove the temporary files that killed writers left; only where no other writer can be at work."""
    for path in directory.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
