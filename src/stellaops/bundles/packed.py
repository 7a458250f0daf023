"""Unpacking with bounds: whatever a packed file claims, memory stays constant and its size stays in proportion."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from stellaops.bundles import layout
from stellaops.core.errors import InvalidInput

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd

CHUNK = 32 * 1024
"""Bytes that are unpacked at a time: what unpackers allocate at once, so that nothing is copied to be in one piece."""

_LARGEST_WINDOW_LOG = 27
_BLOCK = 512


class BadPacking(InvalidInput):
    """A packed file that is damaged, is not packed as bundles are, or unpacks to more than it may."""

    code = "ERR_PACKING_INVALID"
    hint = "Fetch the bundle again."


def expansion_limit(packed: int) -> int:
    """Bytes to which a file of some packed size may unpack: a shard's limit and a line, or deflate's best ratio."""
    return 2 * layout.LONGEST_LINE + 1100 * packed


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def unzstd(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Unpack exactly one zstd frame, in pieces of at most `CHUNK` bytes.

    Raises:
        BadPacking: damaged, cut short, followed by anything, larger than `limit`, or of a window above 128 MiB.
    """
    frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW_LOG})

    def feed(data: bytes) -> Iterator[bytes]:
        if frame.eof and data:
            raise BadPacking("something follows the zstd data")
        yield frame.decompress(data, max_length=CHUNK)
        while not frame.eof and not frame.needs_input:
            yield frame.decompress(b"", max_length=CHUNK)

    return _unpack("zstd", frame, feed, chunks, limit)


def gunzip(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Unpack one or more gzip members, joined as every gzip reader joins them, in pieces of at most `CHUNK` bytes.

    Raises:
        BadPacking: damaged, cut short, followed by anything that is no member, or larger than `limit`.
    """
    members = _GzipMembers()
    return _unpack("gzip", members, members.feed, chunks, limit)


class _GzipMembers:
    """Several gzip members as one stream."""

    unused_data = b""  # what follows a member is read as a member

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the last member is complete, so that the data may end here."""
        return self._member.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack some bytes."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            piece = self._member.decompress(data, CHUNK)
            yield piece
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            while not data and not self._member.eof and len(piece) == CHUNK:
                piece = self._member.decompress(b"", CHUNK)
                yield piece
                data = self._member.unused_data


def _unpack(
    what: str,
    decompressor: _Decompressor,
    feed: Callable[[bytes], Iterator[bytes]],
    chunks: Iterable[bytes],
    limit: int,
) -> Iterator[bytes]:
    size = 0
    try:
        for chunk in chunks:
            for piece in feed(chunk):
                size += len(piece)
                if size > limit:
                    raise BadPacking(f"the {what} data unpacks to more than {limit} bytes")
                if piece:
                    yield piece
    except (zstd.ZstdError, zlib.error) as error:
        raise BadPacking(f"the {what} data is damaged: {error}") from error
    if not decompressor.eof:
        raise BadPacking(f"the {what} data is cut short")
    if decompressor.unused_data:
        raise BadPacking(f"something follows the {what} data")


def lines(pieces: Iterable[bytes], longest: int = layout.LONGEST_LINE) -> Iterator[bytes]:
    r"""Cut bytes into lines, without their `\n`, the last of which must have one too.

    Raises:
        BadPacking: a line longer than `longest` bytes, or no newline at the end.
    """
    pending: list[bytes] = []
    held = 0
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            if held + len(end) > longest:
                raise BadPacking(f"a line is longer than {longest} bytes")
            yield b"".join((*pending, end)) if pending else end
            pending, held = [], 0
        pending.append(rest)
        held += len(rest)
        if held > longest:
            raise BadPacking(f"a line is longer than {longest} bytes")
    if held:
        raise BadPacking("the last line has no newline")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar archive; `chunks` must be read before the next member is asked for."""

    name: str
    size: int
    chunks: Iterator[bytes]


def untar(pieces: Iterable[bytes]) -> Iterator[Member]:
    """Read the plain tar that bundles hold: regular files only, no extended headers, no owner, no times.

    Raises:
        BadPacking: any other tar, or one that is cut short or followed by anything but zeros.
    """
    stream = _Stream(pieces)
    while True:
        header = stream.exactly(_BLOCK)
        if header == bytes(_BLOCK):
            break
        name, size = _tar_header(header)
        left = stream.taken(size)
        yield Member(name, size, left)
        for _ in left:
            raise BadPacking(f"member {name!r} was not read")
        if stream.exactly(-size % _BLOCK).strip(b"\0"):
            raise BadPacking("the tar has something between its members")
    if any(piece.strip(b"\0") for piece in stream.rest()):
        raise BadPacking("something follows the end of the tar")
    if stream.position % _BLOCK or not stream.position >= stream.end_of_members + 2 * _BLOCK:
        raise BadPacking("the tar is cut short")


def _tar_header(header: bytes) -> tuple[str, int]:
    name = header[:100].rstrip(b"\0")
    kind = header[156:157]
    if _octal(header[148:156]) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise BadPacking("a tar header has a wrong checksum")
    if kind not in (b"0", b"\0") or header[345:500].strip(b"\0") or header[157:257].strip(b"\0"):
        raise BadPacking(f"tar member {name!r:.120} is no plain file")
    if any(_octal(header[start:end]) for start, end in ((108, 116), (116, 124), (136, 148))):
        raise BadPacking(f"tar member {name!r:.120} has an owner or a time")
    try:
        return name.decode("ascii"), _octal(header[124:136])
    except UnicodeDecodeError as error:
        raise BadPacking(f"tar member {name!r:.120} has no portable name") from error


def _octal(digits: bytes) -> int:
    text = digits.rstrip(b" \0").lstrip(b" ")
    if text.strip(b"01234567"):
        raise BadPacking("a tar header has a number that is not octal")
    return int(text or b"0", 8)


class _Stream:
    """Bytes in pieces, taken in other pieces."""

    __slots__ = ("_pending", "_pieces", "end_of_members", "position")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._pending = b""
        self.position = 0
        self.end_of_members = 0

    def taken(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in pieces."""
        while size:
            piece = self._pending or next(self._pieces, b"")
            if not piece:
                raise BadPacking("the tar is cut short")
            part, self._pending = piece[:size], piece[size:]
            size -= len(part)
            self.position += len(part)
            yield part

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; also notes where the header of the next member would stand."""
        self.end_of_members = self.position
        return b"".join(self.taken(size))

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        while piece := self._pending or next(self._pieces, b""):
            self._pending = b""
            self.position += len(piece)
            yield piece
