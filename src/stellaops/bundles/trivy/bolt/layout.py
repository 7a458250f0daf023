"""Numbers and structures of the bbolt file format (version 2, little-endian).

A page starts at `page id x page size` with a header; `overflow` pages that follow belong to it. A node (leaf or
branch) is a header, a table of elements of 16 bytes, then the keys and values in the order of the table. The `pos`
of an element counts from the element's own first byte.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2

BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREELIST: Final = 0x10

PLAIN_ENTRY: Final = 0
SUB_BUCKET: Final = 1

MIN_PAGE_SIZE: Final = 1024
MAX_PAGE_SIZE: Final = 65536

MAX_KEY: Final = 32768
"""Longest key, in bytes; the shortest has 1."""
MAX_NODE: Final = 2**31 - 1
"""No byte of a node may lie farther from its element than this, because readers address it with 31 bits; so the
longest value (2^31 - 2 bytes by bbolt's own limit) is in truth a few bytes shorter."""
MAX_COUNT: Final = 0xFFFE
"""Most elements in one node; 0xFFFF has a meaning of its own in a freelist page."""
LONG_FREELIST: Final = 0xFFFF
"""Count of a freelist page whose real count is its first id."""
NO_FREELIST: Final = 2**64 - 1
"""Freelist page id in a meta page when the freelist is not stored."""

PAGE_HEADER: Final = Struct("<QHHI")
"""Page id, flags, count of elements, overflow pages: 16 bytes."""
META_FIELDS: Final = Struct("<IIIIQQQQQ")
"""Magic, version, page size, flags, root page, root sequence, freelist page, high water, transaction: 56 bytes."""
CHECKSUM: Final = Struct("<Q")
LEAF_ELEMENT: Final = Struct("<IIII")
"""Flags, pos, key length, value length."""
BRANCH_ELEMENT: Final = Struct("<IIQ")
"""Pos, key length, child page id."""
BUCKET_HEADER: Final = Struct("<QQ")
"""Root page id (0: the leaf page follows inline) and sequence: the value of a sub-bucket's entry starts with it."""

ELEMENT_SIZE: Final = 16
HEADER_SIZE: Final = 16


def fnv1a_64(data: bytes) -> int:
    """FNV-1a hash of 64 bits: the checksum of a meta page over its first 56 bytes."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
