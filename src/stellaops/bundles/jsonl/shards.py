"""Row sets written as zstd-compressed JSON lines, cut where the content says.

A shard ends before a row whose key hashes to one of 4096: a change then touches one or two shards, whatever comes
before it. A shard that grows beyond its limit is cut all the same. Each shard is one zstd frame with a checksum,
written by worker threads: their number does not change the bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
from backports import zstd

from stellaops.bundles import layout
from stellaops.bundles.content import Content, RowSetDigest

LEVEL = 6
SHARD_BYTES = 64 << 20
_FLUSH = 1 << 20
_ENDINGS = 2
"""Files that are ended at a time."""

_ENCODER = msgspec.json.Encoder()

ZSTD_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
    zstd.CompressionParameter.nb_workers: 2,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a row set; `text` has no newline."""

    owner: str
    source: str
    key: str
    text: bytes


def write_row_set(
    name: str,
    lines: Iterable[Line],
    open_file: Callable[[str], BinaryIO],
    *,
    keep: Callable[[bytes], None] | None = None,
    level: int | None = None,
    endings: Endings | None = None,
) -> Content:
    """Write a row set, sharded or as one index file by its name, and say what it holds.

    Args:
        name: of the row set, such as `data/raw/advisories` or `indexes/advisories`.
        lines: in strictly ascending order of owner, source and key.
        open_file: gives a file to write by its path in the bundle root; it is closed here.
        keep: is given what the content digest is taken over (`bundles.digest_list`).
        level: of the compression; the usual one where None.
        endings: where the last file may still be written after the return; all are complete where None.

    Raises:
        RowsOutOfOrder: the lines are not in order.
    """
    if endings is None:
        with Endings() as own:
            return write_row_set(name, lines, open_file, keep=keep, level=level, endings=own)
    digest = RowSetDigest(keep)
    sharded = layout.is_sharded(name)
    shard = 0
    out: LineFile | None = None
    for line in lines:
        digest.add(line.owner, line.source, line.key, line.text)
        if out is not None and sharded and (out.full(len(line.text)) or cuts(line.key)):
            endings.end(out)
            out, shard = None, shard + 1
        if out is None:
            path = layout.shard(name, shard) if sharded else layout.index_file(name)
            out = LineFile(open_file(path), level)
        out.write(line.text)
    if out is None and not sharded:
        out = LineFile(open_file(layout.index_file(name)), level)
    if out is not None:
        endings.end(out)
    return Content(name, digest.digest(), digest.records, layout.ROW_SET_TYPE)


def raw_line(source: str, key: str, digest: str, raw_digest: str, body: bytes, *, verbatim: bool) -> bytes:
    """A line of `data/raw/…`: the document's canonical bytes as they are, or a verbatim record in base64."""
    if verbatim:
        return b'{"digest":%b,"key":%b,"rawDigest":%b,"source":%b,"verbatim":"%b"}' % (
            _text(digest), _text(key), _text(raw_digest), _text(source), base64.b64encode(body),
        )  # fmt: skip
    return b'{"digest":%b,"document":%b,"key":%b,"rawDigest":%b,"source":%b}' % (
        _text(digest), body, _text(key), _text(raw_digest), _text(source),
    )  # fmt: skip


class LineFile:
    """One zstd frame of lines.

    Args:
        file: is closed with it.
        level: of the compression; the usual one where None.
    """

    def __init__(self, file: BinaryIO, level: int | None = None) -> None:
        self._file = file
        own: dict[int, int] = {zstd.CompressionParameter.compression_level: level} if level else {}
        self._compressor = zstd.ZstdCompressor(options={**ZSTD_OPTIONS, **own})
        self._pending: list[bytes] = []
        self._held = 0
        self._size = 0

    def full(self, more: int) -> bool:
        """Whether a line of so many bytes belongs into the next shard."""
        return self._size + more + 1 > SHARD_BYTES

    def write(self, line: bytes) -> None:
        """Add a line, which has no newline."""
        self._pending.append(line)
        self._held += len(line) + 1
        self._size += len(line) + 1
        if self._held >= _FLUSH:
            self._flush()

    def close(self) -> None:
        """End the frame and the file; the file is closed even where the disk is full."""
        with self._file:
            self._flush()
            self._file.write(self._compressor.flush())

    def _flush(self) -> None:
        if self._pending:
            self._pending.append(b"")
            self._file.write(self._compressor.compress(b"\n".join(self._pending)))
            self._pending, self._held = [], 0


class Endings:
    """Ends files beside the writing of the next: the last blocks of a frame take as long as many rows.

    A frame that is smaller than what one worker takes is packed as a whole at its end, so that several are ended at a
    time. What ending a file raises comes with a later file, or at the end.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._due: deque[Future[None]] = deque()

    def __enter__(self) -> Endings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end(self, file: LineFile) -> None:
        """Close a file, soon."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_ENDINGS, "frames")
        self._due.append(self._pool.submit(file.close))
        while len(self._due) > _ENDINGS:
            self._due.popleft().result()

    def close(self) -> None:
        """Wait for all of them."""
        try:
            while self._due:
                self._due.popleft().result()
        finally:
            if self._pool is not None:
                self._pool.shutdown()  # no thread is left that a later fork could catch


def cuts(key: str) -> bool:
    """Whether a shard ends before the row of a key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:2], "big") % 4096 == 0


def _text(text: str) -> bytes:
    return _ENCODER.encode(text)
