"""Trees of exports as a mirror host reads them: never written, and possibly switched at any moment.

    <root>/latest -> <exportId>      or latest.json, {"exportId": …}, where a copy came from an object store
    <root>/<exportId>/…              never changes
    <root>/freshness/<domain>.json   renewed
    <root>/.synced/<domain>.json     written by each sync that fills the root

A root that is itself one export (a copy of `…/latest` and nothing beside) is read as that.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stellaops.mirrors import sync_state
from stellaops.mirrors.sync_state import SideState

_LOOK = 0.5  # seconds for which `latest` is taken as it was
_SMALL = 512 << 10  # bytes of the largest file that is kept in memory
_MOST_BYTES = 96 << 20
_MOST_FILES = 50_000
_PIECE = 1 << 20
_LARGEST_POINTER = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it was read.

    Attributes:
        sha256: of its bytes, 32 of them.
        body: its bytes, of a small file; else None.
        identity: changes when the file does.
    """

    path: str
    size: int
    sha256: bytes
    body: bytes | None = field(repr=False)
    identity: tuple[int, ...]


class StoredFiles:
    """Files with their digests, kept in memory: each is read whole once, small ones stay. Safe for threads.

    Args:
        most: bytes that stay in memory.
    """

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[Stored, float]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def known(self, path: str, now: float, seconds: float) -> Stored | None:
        """A file that was looked at within so many seconds."""
        found = self._kept.get(path)
        if found is None or now - found[1] > seconds:
            return None
        return found[0]

    def read(self, path: str, now: float) -> tuple[Stored | None, bool]:
        """A file, None where there is none; and whether it was known already."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR):
                self._drop(path)
                return None, False
            raise
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                return None, False
            identity = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
            known = self._kept.get(path)
            if known is not None and known[0].identity == identity:
                self._keep(known[0], now)
                return known[0], True
            stored = _read(path, descriptor, state.st_size, identity)
        finally:
            os.close(descriptor)
        self._keep(stored, now)
        return stored, False

    def _keep(self, stored: Stored, now: float) -> None:
        with self._lock:
            self._forget(stored.path)
            self._kept[stored.path] = stored, now
            self._bytes += len(stored.body or b"")
            while self._bytes > self._most or len(self._kept) > _MOST_FILES:
                self._forget(next(iter(self._kept)))

    def _drop(self, path: str) -> None:
        with self._lock:
            self._forget(path)

    def _forget(self, path: str) -> None:
        found = self._kept.pop(path, None)
        if found is not None:
            self._bytes -= len(found[0].body or b"")


def _read(path: str, descriptor: int, size: int, identity: tuple[int, ...]) -> Stored:
    hasher, pieces, begin = hashlib.sha256(), [], 0
    while piece := os.pread(descriptor, _PIECE, begin):
        hasher.update(piece)
        if size <= _SMALL:
            pieces.append(piece)
        begin += len(piece)
    return Stored(path, begin, hasher.digest(), b"".join(pieces) if size <= _SMALL else None, identity)


@dataclass(slots=True)
class ExportTree:
    """The exports of one side.

    Args:
        active: the export id that the settings name, instead of what `latest` says.
    """

    root: Path
    active: str | None = None
    _seen: tuple[float, str | None] = (float("-inf"), None)
    _alone: bool = False
    _prefix: str = ""

    def active_export(self, now: float) -> str | None:
        """The export under the stable names; None where there is none (yet)."""
        if now - self._seen[0] > _LOOK:
            self._seen = now, self._look()
        return self._seen[1]

    def seen_export(self, now: float) -> tuple[str | None, bool]:
        """The same without a look at the disk, and whether it is recent enough."""
        return self._seen[1], now - self._seen[0] <= _LOOK

    def exports(self) -> list[str]:
        """Every export that is there, the newest directory first."""
        try:
            with os.scandir(self.root) as entries:
                found = [
                    (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and entry.name != "freshness"
                ]
        except OSError:
            return []
        return [name for _, name in sorted(found, reverse=True)]

    def place(self, export: str, path: str) -> str:
        """Where a file of an export lies."""
        if self._alone and export == self._seen[1]:
            return f"{self.root}/{path}"
        self._prefix = self._prefix or str(self.root)
        return f"{self._prefix}/{export}/{path}"

    def beside(self, path: str) -> str:
        """Where a file beside the exports lies."""
        return f"{self.root}/{path}"

    def freshness(self, domain: str) -> dict[str, Any] | None:
        """What a domain's freshness statement says, unverified; None where there is none."""
        return _json(self.root / "freshness" / f"{domain}.json")

    def syncs(self, now: float) -> SideState:
        """When each domain was synced last."""
        folder = self.root / sync_state.FOLDER
        found, given_up = dict[str, datetime](), set[str]()
        for path in folder.glob(f"*{sync_state.SUFFIX}"):
            with suppress(OSError):
                state = sync_state.decode(path.read_bytes())
                domain = path.name.removesuffix(sync_state.SUFFIX)
                if state is not None and state.given_up:
                    given_up.add(domain)
                elif state is not None:
                    found[domain] = state.synced_at
        return SideState(found, folder.is_dir(), self.active_export(now) is not None, given_up)

    def _look(self) -> str | None:
        self._alone = False
        if self.active is not None:
            return self.active if (self.root / self.active).is_dir() else None
        try:
            return os.path.basename(os.readlink(self.root / "latest"))  # noqa: PTH115, PTH119 - a text, not a path
        except OSError:
            pass
        pointer = _json(self.root / "latest.json")
        if pointer is not None and isinstance(pointer.get("exportId"), str):
            return str(pointer["exportId"])
        return self._freshest() or self._only()

    def _freshest(self) -> str | None:
        """The export that the statement with the greatest version names."""
        best: tuple[int, str] | None = None
        for path in (self.root / "freshness").glob("*.json"):
            told = _json(path) or {}
            export, version = told.get("exportId"), told.get("version")
            if isinstance(export, str) and isinstance(version, int) and (self.root / export).is_dir():
                best = max(best or (0, ""), (version, export))
        return best[1] if best else None

    def _only(self) -> str | None:
        """The export that the root itself is."""
        told = _json(self.root / "index.json") or {}
        domains = told.get("domains")
        export = told.get("exportId") or (
            domains[0].get("exportId") if isinstance(domains, list) and domains else None
        )
        if not isinstance(export, str):
            for path in sorted(self.root.glob("mirror/*/index.json")):
                export = (_json(path) or {}).get("exportId")
                break
        self._alone = isinstance(export, str)
        return export if isinstance(export, str) else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_LARGEST_POINTER))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def read_now(descriptor: int, begin: int, length: int) -> bytes | None:
    """Bytes of a file that are in the system's memory already; None where the disk would have to be asked."""
    buffer = bytearray(length)
    try:
        count = os.preadv(descriptor, [buffer], begin, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return None
        raise
    return bytes(memoryview(buffer)[:count]) if count < length else bytes(buffer)
