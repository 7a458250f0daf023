"""Lists of lines, cut into blocks: a list of any length is read in constant memory.

Only feeds whose records are single lines let their files be cut (`advisories.documents.registry.head_of_lines`). Each
block is a member of its own. What must stand before the lines, such as a header, is put before every block; the
member's offset is reckoned so that a record's place is still its place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from msgspec import structs

from stellaops.advisories.documents import registry
from stellaops.ingest.ports import Member

BLOCK = 256 << 10
"""Bytes of a block; the line that begins in it is read to its end."""
LONGEST_LINE = 4 << 20

_HEAD = 64 << 10
_NAMES = (".csv", ".jsonl", ".ndjson")


def may_be_list(path: str) -> bool:
    """Whether a file of this name can be a list of lines."""
    return path.lower().endswith(_NAMES)


def head_of(stream: IO[bytes], path: str) -> bytes | None:
    """What must stand before every block of a file; None where the file must be read as a whole."""
    return registry.head_of_lines(path, stream.read(_HEAD))


def blocks(stream: IO[bytes], head: bytes, container: Member) -> Iterator[Member]:
    """The blocks of a file, from its beginning.

    Args:
        head: what `head_of` gave.
        container: what the members say of the file, their path among it.
    """
    offset = 0
    while block := stream.read(BLOCK):
        block += stream.readline(LONGEST_LINE)
        if not block.endswith(b"\n") and stream.read(1):
            problem = f"too-large: a line of more than {LONGEST_LINE} bytes, at byte {offset} or soon after"
            yield structs.replace(container, problem=problem)
            return
        before = head if offset else b""
        yield structs.replace(container, content=before + block, offset=offset - len(before))
        offset += len(block)
