"""Downloads into a spool: conditional, resumed, repeated where that may help, checked before they count."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from stellaops.adapters.files.inputs import ArchiveDamaged, is_archive, is_compressed
from stellaops.adapters.web.client import Reply, WebClient
from stellaops.adapters.web.credentials import Signer
from stellaops.adapters.web.spool import KeptListing, Part, SpoolDirectory, digest_of, held
from stellaops.adapters.web.spool_inputs import SpoolInputs, check_archive
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.egress import redacted, target_of
from stellaops.csaf.provider import HASHES
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.layouts.interface import Answer, Ask, Want
from stellaops.ingest.layouts.registry import layout_of
from stellaops.ingest.ports import Inputs
from stellaops.ingest.pull_backoff import LONGEST_WAIT, retry_after, wait_before
from stellaops.ingest.pull_errors import (
    DownloadDamaged,
    DownloadTooLarge,
    FetchFailed,
    FileMissing,
    ServerBusy,
    ServerRefuses,
    SignatureWrong,
    StatusUnexpected,
)
from stellaops.ingest.pull_model import Definition, Known
from stellaops.ingest.pull_ports import Fetched, Missing, Pending, Spool, Unchanged
from stellaops.kit.disk import disk_errors

_LARGEST_BESIDE = 1 << 20
_DOCUMENT_CHECKED = 64 << 20
_NOT_HERE = frozenset((404, 410))
_NOT_HERE_EITHER = frozenset((400, 403))
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529))
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Network:
    """What downloads work with.

    Attributes:
        sleep: seconds; told from outside so that tests need not wait.
        chance: a number from 0 up to 1.
        slots: bounds the requests at once, over all sources.
        largest: bytes of the largest file that is fetched.
        small: files up to this size are held in memory and never gone on with.
    """

    client: WebClient
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    slots: threading.Semaphore
    largest: int = 8 << 30
    small: int = 4 << 20


class FileSpools:
    """`ingest.pull_ports.Spools` in a directory."""

    def __init__(self, root: Path, network: Network) -> None:
        self._root = root
        self._network = network

    @contextmanager
    def open(self, definition: Definition, *, attempts: int) -> Iterator[Spool]:
        """See the port."""
        with held(self._root, definition.name) as directory:
            yield Downloads(definition, directory, self._network, attempts)


class Downloads:
    """`ingest.pull_ports.Spool`: one source's downloads."""

    def __init__(
        self, definition: Definition, spool: SpoolDirectory, network: Network, most_attempts: int
    ) -> None:
        self._definition = definition
        self._spool = spool
        self._network = network
        self._most_attempts = most_attempts
        self._layout = layout_of(definition.layout)
        self._signer = Signer(definition.authentication, network.now)
        target = target_of(definition.url)
        self._origin = target.origin
        self._hosts = (
            f"{target.host}:{target.port}" if ":" not in target.host else target.host,
            *definition.hosts,
        )
        self._guard = threading.Lock()
        # Contents that looked wrong once, and those of them that came again.
        self._doubted: dict[Digest, str] = {}
        self._accepted: set[Digest] = set()
        self.attempts = 0
        self.bytes = 0

    # ---- listings

    def listing(self, ask: Ask) -> Answer:
        """See the port."""
        return self._repeated(ask.url, lambda: self._listing_once(ask))

    def _listing_once(self, ask: Ask) -> Answer:
        kept = self._spool.listing(ask.url)
        headers = _conditions(kept[0].etag, kept[0].last_modified) if kept else {}
        now = self._network.now()
        with self._get(ask.url, headers) as reply:
            if ask.optional and reply.status in _NOT_HERE | _NOT_HERE_EITHER:
                return Answer(b"", reply.url, unchanged=False, missing=True, fetched_at=now)
            if kept and reply.status == 304:
                listing, content = kept
                self._spool.keep_listing(listing, None)
                same = listing.digest == listing.imported
                return Answer(content, listing.final_url, unchanged=same, missing=False, fetched_at=now)
            _require_ok(reply, self._network.now())
            content = self._body(reply, ask.limit)
        imported = kept[0].imported if kept else ""
        digest = digests.sha256(content)
        etag, modified = reply.headers.get("etag", ""), reply.headers.get("last-modified", "")
        self._spool.keep_listing(KeptListing(ask.url, reply.url, etag, modified, digest, imported), content)
        return Answer(content, reply.url, unchanged=digest == imported, missing=False, fetched_at=now)

    def again(self, attempt: int) -> bool:
        """See the port."""
        self._spool.forget_listings()
        if attempt >= self._most_attempts:
            return False
        self._network.sleep(wait_before(attempt, None, self._network.chance()))
        return True

    # ---- files

    def fetch(self, want: Want, known: Known | None) -> Fetched | Unchanged | Missing:
        """See the port."""
        had = self._spool.had(want.url, want.path, want.mark)
        if had is not None:
            return had
        return self._repeated(want.url, lambda: self._fetch_once(want, known))

    def _fetch_once(self, want: Want, known: Known | None) -> Fetched | Unchanged | Missing:
        part, begun = self._spool.part(want.url)
        offset = part.stat().st_size if begun is not None and begun.etag else 0
        headers = _conditions(known.etag, known.last_modified) if known else {}
        if begun is not None and offset:
            headers = {"range": f"bytes={offset}-", "if-range": begun.etag}
        now = self._network.now()
        content = None
        with self._get(want.url, headers) as reply:
            if reply.status in _NOT_HERE:
                return Missing(want)
            if reply.status == 304 and known is not None and "range" not in headers:
                return Unchanged(want)
            if reply.status == 206 and begun is not None and offset:
                self._go_on(reply, part, begun, offset)
            else:
                if reply.status == 416:
                    self._spool.drop_part(part)
                _require_ok(reply, now)
                if reply.length is not None and reply.length <= self._network.small:
                    content = self._body(reply, self._network.largest)
                else:
                    self._from_the_start(want, reply, part)
        told = reply.headers
        item = Fetched(
            want.path, reply.url, want.mark, "", 0, told.get("etag", ""), told.get("last-modified", ""),
            microseconds(now), -1, tuple(kind for kind in HASHES if kind in want.hashes or kind in want.beside),
            want.inside,
        )  # fmt: skip
        if content is None:
            return self._whole(want, item, part)
        _check_stated(want, told, content)
        return self._small(want, item, part, content)

    def _small(self, want: Want, item: Fetched, part: Path, content: bytes) -> Fetched:
        if is_archive(Path(want.path)) or is_compressed(want.path):
            self._spool.begin_part(part, Part(want.url, ""))
            part.write_bytes(content)
            return self._whole(want, item, part)
        digest = digests.sha256(content)
        self._check_size(want, len(content))
        self._check_document(want, content, digest)
        self._spool.drop_part(part)
        return self._spool.add_small(self._with_content(item, digest, len(content)), content)

    def _from_the_start(self, want: Want, reply: Reply, part: Path) -> None:
        etag = reply.headers.get("etag", "")
        # Only a strong validator tells that the rest, asked for later, will be of the same bytes.
        strong = "" if etag.startswith("W/") or reply.encoded else etag
        self._spool.begin_part(part, Part(want.url, strong))
        self._write(reply, part, 0, reply.length)

    def _go_on(self, reply: Reply, part: Path, begun: Part, offset: int) -> None:
        try:
            length = _rest(reply, begun, offset)
        except DownloadDamaged:
            self._spool.drop_part(part)
            raise
        self._write(reply, part, offset, length)

    def _write(self, reply: Reply, part: Path, offset: int, length: int | None) -> None:
        """Write a body, or the rest of one, into its part; what came stays there when the connection breaks."""
        if offset + (length or 0) > self._network.largest:
            raise DownloadTooLarge(f"{redacted(reply.url)} has {offset + (length or 0)} bytes")
        written = 0
        with disk_errors(part), part.open("ab") as file:
            for piece in reply.pieces():
                written += len(piece)
                if offset + written > self._network.largest:
                    raise DownloadTooLarge(
                        f"{redacted(reply.url)} has more than {self._network.largest} bytes"
                    )
                file.write(piece)
        with self._guard:
            self.bytes += written
        if length is not None and written != length:
            self._spool.drop_part(part)
            raise DownloadDamaged(f"{redacted(reply.url)}: {written} bytes came, {length} were announced")

    def _whole(self, want: Want, item: Fetched, part: Path) -> Fetched:
        """Check a download that is complete, then make it count."""
        digest, size = digest_of(part)
        try:
            self._check_file(want, part, digest, size)
        except (FetchFailed, SignatureWrong):
            self._spool.drop_part(part)
            raise
        return self._spool.add_blob(self._with_content(item, digest, size), part)

    def _with_content(self, item: Fetched, digest: Digest, size: int) -> Fetched:
        found = msgspec.structs.replace(item, digest=digest, size=size)
        if digest in self._accepted:
            return msgspec.structs.replace(found, mark="", etag="", last_modified="")
        return found

    # ---- checks

    def _check_file(self, want: Want, file: Path, digest: Digest, size: int) -> None:
        self._check_size(want, size)
        if is_archive(Path(want.path)) or is_compressed(want.path):
            try:
                problem = check_archive(file, want.path.rpartition("/")[2])
            except ArchiveDamaged as error:
                problem = error.what.replace(f"{file}: ", "")
            if problem:
                self._doubt(want, digest, problem)
        if want.hashes or want.beside or size <= _DOCUMENT_CHECKED:
            self._check_document(want, file.read_bytes(), digest)

    def _check_size(self, want: Want, size: int) -> None:
        if want.size is not None and want.size != size:
            raise DownloadDamaged(f"{redacted(want.url)} has {size} bytes, the listing says {want.size}")

    def _check_document(self, want: Want, content: bytes, digest: Digest) -> None:
        """Compare with the hashes and signatures that belong to the document, and look whether JSON is JSON."""
        beside = {kind: self._beside(url) for kind, url in want.beside.items()}
        stated = dict(want.hashes)
        for kind, text in beside.items():
            if kind in HASHES:
                stated[kind] = text.split(maxsplit=1)[0].decode("ascii", "replace") if text.strip() else ""
        for algorithm, expected in stated.items():
            if hashlib.new(algorithm, content).hexdigest() != expected.lower():
                raise DownloadDamaged(f"{redacted(want.url)} does not have its stated {algorithm}")
        problem = self._layout.verify(want, content, beside)
        if problem:
            raise SignatureWrong(f"{redacted(want.url)}: {problem}")
        if want.path.endswith(".json"):
            if content.lstrip()[:1] == b"<":
                raise DownloadDamaged(f"{redacted(want.url)}: a page of HTML instead of JSON")
            try:
                msgspec.json.decode(content, type=msgspec.Raw)
            except msgspec.DecodeError as error:
                self._doubt(want, digest, f"no JSON: {error}")

    def _doubt(self, want: Want, digest: Digest, problem: str) -> None:
        """Refuse a content that looks wrong; the same one a second time may be the publisher's, and goes on.

        The import quarantines it then. Nothing is noted of its version, so that the next pull asks for it again.
        """
        with self._guard:
            # The same words for two documents are an error page.
            if self._doubted.get(digest) == want.path and not is_archive(Path(want.path)):
                self._accepted.add(digest)
                return
            self._doubted[digest] = "" if digest in self._doubted else want.path
        raise DownloadDamaged(f"{redacted(want.url)}: {problem}")

    def _beside(self, url: str) -> bytes:
        with self._get(url, {}) as reply:
            _require_ok(reply, self._network.now())
            return self._body(reply, _LARGEST_BESIDE)

    # ---- requests

    @contextmanager
    def _get(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        with self._guard:
            self.attempts += 1
        with (
            self._network.slots,
            self._network.client.get(
                url, hosts=self._hosts, headers=headers, sign=self._signer.headers, signed_origin=self._origin
            ) as reply,
        ):
            yield reply

    def _body(self, reply: Reply, limit: int) -> bytes:
        pieces, size = [], 0
        for piece in reply.pieces():
            size += len(piece)
            if size > limit:
                raise DownloadTooLarge(f"{redacted(reply.url)} has more than {limit} bytes")
            pieces.append(piece)
        if reply.length is not None and reply.length != size:
            raise DownloadDamaged(f"{redacted(reply.url)}: {size} bytes came, {reply.length} were announced")
        with self._guard:
            self.bytes += size
        return b"".join(pieces)

    def _repeated(self, url: str, attempt: Callable[[], Answered]) -> Answered:
        """Make an attempt, and more after waits, as long as the failure is one that may pass."""
        for number in range(1, self._most_attempts + 1):
            try:
                return attempt()
            except FetchFailed as error:
                wait = wait_before(number, error.retry_after, self._network.chance())
                if number == self._most_attempts or wait > LONGEST_WAIT:
                    raise
            self._network.sleep(wait)
        raise FetchFailed(f"{redacted(url)}: no attempt was allowed")

    # ---- the whole

    def pending(self) -> Pending | None:
        """See the port."""
        return self._spool.pending()

    def keep(self, pending: Pending) -> None:
        """See the port."""
        self._spool.keep(pending)

    def inputs(self, pending: Pending, definition: Definition) -> Inputs:
        """See the port."""
        return SpoolInputs(self._spool, pending, lambda path: self._layout.keeps(definition, path))

    def clear(self, *, imported: bool) -> None:
        """See the port."""
        self._spool.clear(imported=imported)


def _conditions(etag: str, last_modified: str) -> dict[str, str]:
    if etag:
        return {"if-none-match": etag}
    return {"if-modified-since": last_modified} if last_modified else {}


def _check_stated(want: Want, headers: Mapping[str, str], content: bytes) -> None:
    """Compare with what the answer's own headers say of the content."""
    for name, algorithm in (("sha-256", "sha256"), ("sha-512", "sha512")):
        found = re.search(rf"{name}=:([A-Za-z0-9+/=]+):", headers.get("repr-digest", ""))
        if found and found[1] != base64.b64encode(hashlib.new(algorithm, content).digest()).decode():
            raise DownloadDamaged(f"{redacted(want.url)} is not what its Repr-Digest says")
    found = re.search(r"\bmd5=([A-Za-z0-9+/]{22}==)", headers.get("x-goog-hash", ""))
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    if found and found[1] != base64.b64encode(md5).decode():
        raise DownloadDamaged(f"{redacted(want.url)} is not what its x-goog-hash says")


def _rest(reply: Reply, begun: Part, offset: int) -> int:
    """How many bytes the rest of a file has, when it is the rest of what was begun."""
    found = _RANGE.fullmatch(reply.headers.get("content-range", "").strip())
    etag = reply.headers.get("etag", begun.etag)
    if found is None or int(found[1]) != offset or etag != begun.etag:
        raise DownloadDamaged(f"{redacted(reply.url)} changed while it was fetched")
    length = int(found[2]) - offset + 1
    if found[3] != "*" and int(found[3]) != offset + length:
        raise DownloadDamaged(f"{redacted(reply.url)}: a piece out of the middle was sent for the rest")
    return length


def _require_ok(reply: Reply, now: datetime) -> None:
    """Anything but 200 as the error that it is."""
    if reply.status == 200:
        return
    where = f"{redacted(reply.url)}: status {reply.status}"
    if reply.status in (401, 403):
        raise ServerRefuses(where)
    if reply.status in _NOT_HERE:
        raise FileMissing(where)
    if reply.status in (206, 416):
        raise DownloadDamaged(f"{where} for a part of the file")
    if reply.status in _BUSY:
        raise ServerBusy(where, retry_after=retry_after(reply.headers.get("retry-after", ""), now))
    raise StatusUnexpected(where)
