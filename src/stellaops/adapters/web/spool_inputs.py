"""`ingest.ports.Inputs` over a spool: what was fetched, with the URL and the time of the fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from stellaops.adapters.files.inputs import (
    MAX_MEMBER,
    MAX_MEMBERS,
    MAX_TOTAL,
    ArchiveBomb,
    archive_members,
    is_archive,
    is_compressed,
)
from stellaops.adapters.web.spool import SpoolDirectory
from stellaops.core import digests
from stellaops.ingest.ports import Member, Wanted
from stellaops.ingest.pull_errors import DownloadDamaged
from stellaops.ingest.pull_ports import Fetched, Pending


class SpoolInputs:
    """The files of a pending pull, in the order of their paths; archives are transparent."""

    def __init__(self, spool: SpoolDirectory, pending: Pending, keeps: Callable[[str], bool]) -> None:
        self._spool = spool
        self._files = sorted(pending.files, key=lambda item: (item.path, item.digest))
        self._keeps = keeps

    def fingerprint(self) -> str:
        """See the port: paths and digests."""
        hasher = hashlib.sha256(b"pull\n")
        for item in self._files:
            hasher.update(f"{item.path}\t{item.digest}\n".encode("utf-8", "replace"))
        return digests.of_hash(hasher)

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port."""
        total = 0
        for number, member in enumerate(self._all()):
            total += len(member.content)
            if total > MAX_TOTAL or number > MAX_MEMBERS:
                raise ArchiveBomb(
                    f"{member.container_url} unpacks to more than {total} bytes or {number} files"
                )
            if number >= skip:
                yield member

    def wanted_members(self, wanted: Wanted) -> Iterator[Member]:
        """See the port."""
        return self._all(wanted)

    def _all(self, wanted: Wanted | None = None) -> Iterator[Member]:
        # The pack is opened on first use: a pull of archives alone has none.
        if any(item.offset >= 0 for item in self._files):
            with self._spool.small() as pack:
                yield from self._read(pack, wanted)
        else:
            yield from self._read(None, wanted)

    def _read(self, pack: BinaryIO | None, wanted: Wanted | None) -> Iterator[Member]:
        for item in self._files:
            if wanted is not None and not _is_container(item.path) and not wanted(item.path):
                continue
            if item.offset >= 0 and pack is not None:
                pack.seek(item.offset)
                yield _whole(item, _checked(item, pack.read(item.size)))
                continue
            file = self._spool.blob(item)
            if _is_container(item.path):
                yield from self._unpacked(item, file, wanted)
            elif item.size > MAX_MEMBER:
                yield _whole(item, b"", f"too-large: {item.size} bytes, the limit is {MAX_MEMBER}")
            else:
                yield _whole(item, file.read_bytes())

    def _unpacked(self, item: Fetched, file: Path, wanted: Wanted | None) -> Iterator[Member]:
        folder, slash, name = item.path.rpartition("/")
        container = Member("", b"", item.url, item.digest, item.size, fetched_at=item.fetched_at)
        for member in archive_members(file, name, folder + slash, container, wanted):
            inside = f"{folder}{slash}{item.inside}/" if item.inside else ""
            if member.path.startswith(inside) and self._keeps(member.path):
                yield member


def check_archive(file: Path, name: str) -> str:
    """What is wrong with a downloaded archive; empty for nothing. It is read to its end.

    Raises:
        ArchiveDamaged: it cannot be read as a whole.
    """
    for member in archive_members(file, name, "", Member("", b"", "", "", 0)):
        if member.problem.startswith("damaged"):
            return f"{member.path}: {member.problem}"
    return ""


def _is_container(path: str) -> bool:
    return is_archive(Path(path)) or is_compressed(path)


def _whole(item: Fetched, content: bytes, problem: str = "") -> Member:
    return Member(
        item.path, content, item.url, None, item.size, problem, fetched_at=item.fetched_at, hashes=item.hashes
    )


def _checked(item: Fetched, content: bytes) -> bytes:
    if digests.sha256(content) != item.digest:
        raise DownloadDamaged(f"the spooled file {item.path} is not what was fetched")
    return content
