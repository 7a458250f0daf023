"""Plain USTAR archives with one valid form for each header: files only, no owner, no time, no extended headers."""

from __future__ import annotations

import tarfile

LONGEST_NAME = 100
"""Bytes of a member's name that need no second field of the header."""
BLOCK = 512
END = bytes(2 * BLOCK)
LARGEST = (1 << 33) - 1
"""Bytes of the largest member whose size the header can tell."""


def header(name: str, size: int) -> bytes:
    """The header of a plain file.

    Raises:
        ValueError: a name or size that the plain form cannot carry.
    """
    if len(name.encode()) > LONGEST_NAME or not 0 <= size <= LARGEST:
        raise ValueError(f"{name[:200]!r} of {size} bytes does not fit into a plain tar header")
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What follows a file of some size."""
    return bytes(-size % BLOCK)
