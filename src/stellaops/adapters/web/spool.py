"""What is fetched and not yet imported, on the disk, so that a pull survives its process.

    <root>/<source>/
      lock              held by the process that pulls
      partial/          downloads under way, with the validator by which they can be gone on with
      blobs/<sha256>    whole files of some size
      pack              whole small files, one after the other
      journal.jsonl     one line for each whole file: what it is and where it lies
      pending.json      everything is fetched: go on with the import
      listings/         the listings of the last pulls, for conditional requests

A file counts when its line stands in the journal; its digest is checked again when it is read, so a line that was
written and bytes that were lost with the power are no harm. Only `pending.json` and large files are flushed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.ingest.pull_errors import DownloadDamaged, PullBusy
from stellaops.ingest.pull_ports import Fetched, Pending
from stellaops.kit.disk import disk_errors

_FETCHED = msgspec.json.Decoder(Fetched)
_PENDING = msgspec.json.Decoder(Pending)


class KeptListing(Struct, frozen=True):
    """A listing of an earlier pull. `digest` is of its bytes; `imported`, that of the last pull that succeeded."""

    url: str
    final_url: str
    etag: str
    last_modified: str
    digest: str
    imported: str = ""


class Part(Struct, frozen=True):
    """A download under way: what it was when it began."""

    url: str
    etag: str


class SpoolDirectory:
    """One source's directory; the methods that write are safe for threads."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._guard = threading.Lock()
        self._listed: set[Path] = set()
        for name in ("partial", "blobs", "listings"):
            (place / name).mkdir(parents=True, exist_ok=True)
        self._journal = {(item.url, item.path, item.mark): item for item in self._read_journal()}

    # ---- whole files

    def had(self, url: str, path: str, mark: str) -> Fetched | None:
        """A file that an interrupted pull fetched already, by the version that the listing states."""
        item = self._journal.get((url, path, mark)) if mark else None
        return item if item is not None and self._is_there(item) else None

    def add_small(self, item: Fetched, content: bytes) -> Fetched:
        """Put a small file into the pack."""
        with self._guard, disk_errors(self._place):
            with (self._place / "pack").open("ab") as pack:
                offset = pack.tell()
                pack.write(content)
            return self._note(msgspec.structs.replace(item, offset=offset))

    def add_blob(self, item: Fetched, part: Path) -> Fetched:
        """Take a whole download as a blob."""
        with disk_errors(self._place):
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(self._blob(item.digest))
            self._meta(part).unlink(missing_ok=True)
            with self._guard:
                return self._note(item)

    def blob(self, item: Fetched) -> Path:
        """Where a file of its own lies.

        Raises:
            DownloadDamaged: it is gone, or not what it was.
        """
        path = self._blob(item.digest)
        try:
            with path.open("rb") as file:
                digest = digests.of_file(file)
        except FileNotFoundError:
            raise DownloadDamaged(f"{path} is gone") from None
        if digest != item.digest:
            raise DownloadDamaged(f"{path} is not what was fetched")
        return path

    @contextmanager
    def small(self) -> Iterator[BinaryIO]:
        """The pack, to read small files from."""
        with (self._place / "pack").open("rb") as pack:
            yield pack

    # ---- downloads under way

    def part(self, url: str) -> tuple[Path, Part | None]:
        """Where a download goes, and what an earlier attempt has of it."""
        path = self._place / "partial" / hashlib.sha256(url.encode()).hexdigest()
        try:
            known = msgspec.json.decode(self._meta(path).read_bytes(), type=Part)
        except (OSError, msgspec.DecodeError):
            known = None
        return path, known if known is not None and known.url == url and path.exists() else None

    def begin_part(self, path: Path, part: Part) -> None:
        """Note what a download is, before its first byte."""
        path.unlink(missing_ok=True)
        _write(self._meta(path), msgspec.json.encode(part), flush=False)

    def drop_part(self, path: Path) -> None:
        """Forget a download."""
        path.unlink(missing_ok=True)
        self._meta(path).unlink(missing_ok=True)

    # ---- listings

    def listing(self, url: str) -> tuple[KeptListing, bytes] | None:
        """A listing as it was fetched last."""
        path = self._listing(url)
        try:
            kept = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=KeptListing)
            content = path.read_bytes()
        except (OSError, msgspec.DecodeError):
            return None
        return (kept, content) if kept.url == url and digests.sha256(content) == kept.digest else None

    def keep_listing(self, kept: KeptListing, content: bytes | None) -> None:
        """Keep a listing; without content it is the one that is there."""
        path = self._listing(kept.url)
        with disk_errors(self._place):
            if content is not None:
                _write(path, content, flush=False)
            _write(path.with_suffix(".json"), msgspec.json.encode(kept), flush=False)
        self._listed.add(path)

    def forget_listings(self) -> None:
        """Forget the listings that were fetched or confirmed since the spool was opened: one of them is no good."""
        for path in self._listed:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        self._listed.clear()

    # ---- the whole

    def pending(self) -> Pending | None:
        """What an interrupted pull has fetched completely; None where a file of it is gone."""
        try:
            found = _PENDING.decode((self._place / "pending.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return found if all(map(self._is_there, found.files)) else None

    def keep(self, pending: Pending) -> None:
        """Note that everything is fetched."""
        with disk_errors(self._place):
            _write(self._place / "pending.json", msgspec.json.encode(pending), flush=True)

    def clear(self, *, imported: bool) -> None:
        """Empty the spool but for listings. What leads to a file goes before the file."""
        if imported:
            for path in self._listed:
                self._imported(path.with_suffix(".json"))
        with disk_errors(self._place):
            for name in ("pending.json", "journal.jsonl", "pack"):
                (self._place / name).unlink(missing_ok=True)
            for folder in ("blobs", "partial"):
                for path in (self._place / folder).iterdir():
                    path.unlink(missing_ok=True)
        self._journal.clear()

    def _imported(self, meta: Path) -> None:
        with suppress(OSError, msgspec.DecodeError):
            kept = msgspec.json.decode(meta.read_bytes(), type=KeptListing)
            changed = msgspec.structs.replace(kept, imported=kept.digest)
            _write(meta, msgspec.json.encode(changed), flush=False)

    def _read_journal(self) -> Iterator[Fetched]:
        try:
            lines = (self._place / "journal.jsonl").read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines[:-1]:  # what follows the last line end was cut off
            with suppress(msgspec.DecodeError):
                yield _FETCHED.decode(line)

    def _note(self, item: Fetched) -> Fetched:
        with (self._place / "journal.jsonl").open("ab") as journal:
            journal.write(msgspec.json.encode(item) + b"\n")
        self._journal[item.url, item.path, item.mark] = item
        return item

    def _is_there(self, item: Fetched) -> bool:
        path = self._blob(item.digest) if item.offset < 0 else self._place / "pack"
        with suppress(OSError):
            return path.stat().st_size >= max(item.offset, 0) + item.size
        return False

    def _blob(self, digest: str) -> Path:
        return self._place / "blobs" / digests.parse(digest).removeprefix(digests.PREFIX)

    def _listing(self, url: str) -> Path:
        return self._place / "listings" / hashlib.sha256(url.encode()).hexdigest()

    @staticmethod
    def _meta(part: Path) -> Path:
        return part.with_suffix(".json")


@contextmanager
def held(root: Path, source: str) -> Iterator[SpoolDirectory]:
    """A source's spool; the lock is the kernel's and ends with the process.

    Raises:
        PullBusy: another process holds it.
    """
    place = root / source
    with disk_errors(root):
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PullBusy(f"source {source!r} is being pulled by another process") from None
        with disk_errors(root):
            spool = SpoolDirectory(place)
        yield spool
    finally:
        os.close(lock)


def remove(root: Path, source: str) -> None:
    """Remove a source's spool."""
    with held(root, source):
        shutil.rmtree(root / source, ignore_errors=True)


def digest_of(path: Path) -> tuple[Digest, int]:
    """Digest and size of a file."""
    with path.open("rb") as file:
        return digests.of_file(file), file.tell()


def _write(path: Path, content: bytes, *, flush: bool) -> None:
    fresh = path.with_suffix(f".new-{os.getpid()}-{threading.get_ident()}")
    with fresh.open("wb") as file:
        file.write(content)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
