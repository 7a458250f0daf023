"""A log that another program writes and somebody rotates, read on from where it was read before."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

_MOST = 4 << 20  # bytes that are read at once; a line is shorter
_HEAD = 4096  # bytes by which files are told apart, or the first line

Place = tuple[str, int]
"""Which file, and the byte after the last one that was read.

Numbers of files come back where one was removed, and all of them where a file system in memory is made anew. So a file
is told by its first line too, which has the time in it.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Whole lines of a log.

    Attributes:
        before: the place where they begin; None where the log was never read.
        after: the place where the next ones begin.
    """

    before: Place | None
    after: Place
    data: bytes


def parts(log: Path, place: Place | None) -> Iterator[Part]:
    """What was written after a place; of the file that was rotated away first, if it still lies beside the log.

    Args:
        log: path under which it is written.
        place: how far it was read.

    Raises:
        OSError: it cannot be read.
    """
    present = _identity(log)
    if present is None:
        return
    before = place
    if place is not None and not _is_same(place[0], present):
        rotated = _rotated(log, place[0])
        if rotated is not None:
            for part in _read(rotated, place, place):
                before = part.after
                yield part
        place = None
    elif place is not None and place[1] > log.stat().st_size:
        place = None  # it was cut off and is written from its beginning
    yield from _read(log, place or (present, 0), before)


def _read(file: Path, place: Place, before: Place | None) -> Iterator[Part]:
    name, begin = place
    with file.open("rb") as log:
        while True:
            log.seek(begin)
            data = log.read(_MOST)
            end = data.rfind(b"\n") + 1
            if not end and len(data) == _MOST:
                end = _MOST  # no line of ours: nobody waits for its end
            if not end:
                return
            begin += end
            after = name, begin
            yield Part(before, after, data[:end])
            before = after


def _identity(file: Path) -> str | None:
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "only a plain file can be read on", str(file))
    with file.open("rb") as log:
        head, end, _ = log.read(_HEAD).partition(b"\n")
    if not end and len(head) < _HEAD:
        return None  # no whole line yet: there is nothing to read
    return f"{state.st_dev}:{state.st_ino}:{blake2b(head, digest_size=8).hexdigest()}"


def _is_same(known: str, present: str | None) -> bool:
    """Whether a name is that of a file; earlier releases have named files by their numbers alone."""
    if present is None:
        return False
    return known == present or (known.count(":") == 1 and present.startswith(f"{known}:"))


def _rotated(log: Path, identity: str) -> Path | None:
    with os.scandir(log.parent) as entries:
        for entry in entries:
            if (
                entry.name.startswith(log.name)
                and entry.is_file()
                and _is_same(identity, _identity(Path(entry.path)))
            ):
                return Path(entry.path)
    return None
