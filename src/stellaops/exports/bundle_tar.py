"""A bundle as one tar file, streamed: the files that a download lays out, in a directory of the run's name.

The same bundle gives the same bytes. What has a known digest is checked as it passes: a file that is damaged where it
is kept cuts the stream off, so that nobody takes it for whole.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stellaops.exports import issue_freshness
from stellaops.exports.errors import ArtefactMissing
from stellaops.exports.issue_freshness import Statements
from stellaops.exports.manage_runs import archive_of
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.run import Run

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_FIRST = ("export.json", "files.json")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a bundle.

    Attributes:
        sha256: in hex; None where none is recorded.
        read: its bytes, in pieces.
    """

    path: str
    size: int
    sha256: str | None
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class BundleTar:
    """What a tar file will hold.

    Attributes:
        root: the directory that everything in it lies in.
    """

    root: str
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(len(self._head(each)) + each.size + _padding(each.size) for each in self.members) + len(
            _END
        )

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces, none of which is empty.

        Raises:
            ArtefactMissing: a file is gone, or is not what was recorded.
        """
        for each in self.members:
            yield self._head(each)
            yield from _checked(each)
            if rest := _padding(each.size):
                yield bytes(rest)
        yield _END

    def _head(self, member: Member) -> bytes:
        told = tarfile.TarInfo(f"{self.root}/{member.path}")
        told.size, told.mode = member.size, 0o644
        return told.tobuf(tarfile.GNU_FORMAT)


def bundle_tar(run: Run, artefacts: ArtefactStore, statements: Statements) -> BundleTar:
    """The tar file of a run's bundle; a mirror archive has its freshness statement beside it.

    Raises:
        BundleGone: see `manage_runs.archive_of`.
    """
    archive = archive_of(run, artefacts)
    known = {each.path: each.sha256.removeprefix("sha256:") for each in run.artifacts}

    def member(path: str, size: int) -> Member:
        return Member(path, size, known.get(path), lambda: artefacts.read(archive, path, 0, size))

    members = [member(each.path, each.bytes) for each in artefacts.files(archive)]
    signed = issue_freshness.about(run, statements)
    members += [_small(name, data) for name, data in (signed.files.items() if signed else ())]
    return BundleTar(run.id, tuple(sorted(members, key=_place)))


def _small(name: str, data: bytes) -> Member:
    return Member(name, len(data), None, lambda: iter((data,)))


def _place(member: Member) -> tuple[bool, bool, str]:
    """What is checked first comes first: manifests, then signatures."""
    return member.path not in _FIRST, not member.path.startswith("signatures/"), member.path


def _checked(member: Member) -> Iterator[bytes]:
    digest, got = hashlib.sha256(), 0
    for piece in member.read():
        digest.update(piece)
        got += len(piece)
        if piece:
            yield piece
    if got != member.size or (member.sha256 is not None and digest.hexdigest() != member.sha256):
        raise ArtefactMissing(f"{member.path[:200]} is not what was recorded of it")


def _padding(size: int) -> int:
    return -size % _BLOCK
