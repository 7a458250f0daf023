"""Files of a back end as a gateway keeps them: fetched once, asked about again when they may have changed.

Files lie in a directory that begins empty with the process. A back end that does not answer is stood in for by what is
here, for a while.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stellaops.adapters.files.export_trees import Stored
from stellaops.adapters.web.client import Reply, WebClient, WebSettings
from stellaops.core.egress import EgressPolicy, networks
from stellaops.core.errors import DependencyFailed, StellaError

STALE_SECONDS = 3600.0
"""For how long what is here stands in for a back end that does not answer."""
_SMALL = 512 << 10
_MOST_BYTES = 20 << 30
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")
_KEPT_HEADERS = ("content-type", "content-disposition", "content-location", "docker-content-digest")


class BackEndAway(DependencyFailed):
    """A back end does not answer, or refuses the gateway."""

    code = "ERR_MIRROR_BACK_END"
    hint = "Look whether it runs, and has the same users and domains as the gateway."


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of a back end.

    Attributes:
        export: the export that it belongs to; empty where that was not said.
        headers: those that describe it, names in lower case.
    """

    stored: Stored
    etag: str
    export: str
    headers: Mapping[str, str]
    fresh_until: float
    stale_until: float


@dataclass(slots=True)
class BackEnd:
    """One back end. Safe for threads; each file is fetched by one of them at a time.

    Args:
        url: its address.
        directory: where files are kept; made, and removed by `close`.
        most: bytes that are kept.
    """

    url: str
    directory: Path
    most: int = _MOST_BYTES
    now: Callable[[], float] = time.monotonic
    _kept: OrderedDict[Hashable, Kept] = field(default_factory=OrderedDict)
    _busy: dict[Hashable, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _bytes: int = 0
    _web: WebClient = field(init=False)
    _host: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
        policy = EgressPolicy(private=networks(_PRIVATE), plain_hosts=frozenset((parts.hostname or "",)))
        self._web = WebClient(WebSettings(policy, connect_seconds=5, read_seconds=30))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(dir=self.directory))

    def known(self, key: Hashable) -> Kept | None:
        """A file that is here and need not be asked about."""
        found = self._kept.get(key)
        return found if found is not None and self.now() < found.fresh_until else None

    def get(self, key: Hashable, path: str, headers: Mapping[str, str]) -> tuple[Kept | None, str]:
        """A file, None where there is none; and HIT, MISS, REVALIDATED or STALE.

        Args:
            key: what it is kept under.
            headers: sent along, such as who asks.

        Raises:
            BackEndAway: see there.
        """
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            found = self.known(key)
            if found is not None:
                return found, "HIT"
            old = self._kept.get(key)
            try:
                return self._fetched(key, path, headers, old)
            except StellaError as error:
                if old is not None and self.now() < old.stale_until:
                    return old, "STALE"
                raise BackEndAway(f"{self._host}: {error}") from error
            finally:
                with self._lock:
                    self._busy.pop(key, None)

    def tag(self, path: str, headers: Mapping[str, str]) -> str:
        """The entity tag of a file, of which nothing is fetched; empty where there is none.

        Raises:
            BackEndAway: see there.
        """
        try:
            with self._web.get(self.url + path, hosts=(self._host,), headers=headers) as reply:
                return reply.headers.get("etag", "") if reply.status == 200 else ""
        except StellaError as error:
            raise BackEndAway(f"{self._host}: {error}") from error

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _fetched(
        self, key: Hashable, path: str, headers: Mapping[str, str], old: Kept | None
    ) -> tuple[Kept | None, str]:
        told = {**headers, **({"if-none-match": old.etag} if old is not None else {})}
        with self._web.get(self.url + path, hosts=(self._host,), headers=told) as reply:
            if reply.status == 304 and old is not None:
                return self._keep(key, self._described(old.stored, reply, old)), "REVALIDATED"
            if reply.status == 404:
                self._forget(key)
                return None, "MISS"
            if reply.status != 200:
                raise BackEndAway(f"{self._host} answers with {reply.status}")
            return self._keep(key, self._described(self._spooled(reply), reply, None)), "MISS"

    def _spooled(self, reply: Reply) -> Stored:
        """The body in a file of its own, and in memory where it is small."""
        hasher, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self.directory)
        try:
            with os.fdopen(handle, "wb") as out:
                for piece in reply.pieces():
                    hasher.update(piece)
                    size += len(piece)
                    out.write(piece)
            state = Path(name).stat()
            body = Path(name).read_bytes() if size <= _SMALL else None
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        identity = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
        return Stored(name, size, hasher.digest(), body, identity)

    def _described(self, stored: Stored, reply: Reply, old: Kept | None) -> Kept:
        now, seconds = self.now(), _max_age(reply.headers.get("cache-control", ""))
        kept = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        before = dict(old.headers) if old is not None else {}
        export = reply.headers.get("x-stella-export-id", old.export if old is not None else "")
        tag = reply.headers.get("etag", "")
        if tag != f'"sha256:{stored.sha256.hex()}"':
            raise BackEndAway(f"{self._host} sends other bytes than its entity tag says")
        return Kept(stored, tag, export, before | kept, now + seconds, now + seconds + STALE_SECONDS)

    def _keep(self, key: Hashable, kept: Kept) -> Kept:
        with self._lock:
            if (old := self._kept.get(key)) is None or old.stored is not kept.stored:
                self._drop(key)
                self._bytes += kept.stored.size
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while self._bytes > self.most and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))
        return kept

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= old.stored.size
            Path(old.stored.path).unlink(missing_ok=True)


def _max_age(header: str) -> int:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "max-age" and value.isdecimal():
            return min(int(value), 300)
    return 0
