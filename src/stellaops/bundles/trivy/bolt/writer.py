"""Write a bbolt file from sorted input, in one pass, with memory for one leaf.

The file is built bottom-up: pages 0 to 2 are left blank, leaves are written in key order as they fill, each level of
branches when its page is full, the root bucket last; then the blank pages get the two meta pages and an empty
freelist. Until `finish` has returned, the file has no valid meta page, so an interrupted run leaves nothing that a
reader would open. The same input gives the same bytes.

Layout, chosen by measuring three kinds of database (equal small buckets, buckets of very uneven size, one large
bucket) with pages of 4, 16 and 64 KiB and leaves of 16, 64 and 256 KiB:

* A bucket of plain entries below `LEAF_TARGET` is stored inline, as the value of its parent's entry: no page of its
  own, no slack. bbolt itself inlines only up to a quarter of a page, but its readers, its `Check` and its later
  read-write transactions take any size. With 4 KB a bucket this halves the file.
* Everything else is cut into leaves of `LEAF_TARGET` bytes, one node with overflow pages each. From half of the
  target on, a leaf ends early where at most an eighth of its last page stays blank. The blank rest is then 1 to 2 % of
  the file (16 KiB: 11 to 16 %; 256 KiB: below 1 %, but every look-up reads a table four times as long).
* Branches are at most one page (two children at least). Every node is filled; nothing is left for later insertion.
* Pages are 4 KiB: with 16 KiB the file grows by 1 to 12 %, with 64 KiB by up to 70 %, and speed stays the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO, Final, NamedTuple, NewType

from stellaops.bundles.trivy.bolt.errors import BoltBucketMisuse, BoltEntryInvalid, BoltKeyOrder
from stellaops.bundles.trivy.bolt.layout import (
    BRANCH,
    BUCKET_HEADER,
    CHECKSUM,
    ELEMENT_SIZE,
    FREELIST,
    HEADER_SIZE,
    LEAF,
    MAGIC,
    MAX_KEY,
    MAX_NODE,
    MAX_PAGE_SIZE,
    META,
    META_FIELDS,
    MIN_PAGE_SIZE,
    PAGE_HEADER,
    PLAIN_ENTRY,
    SUB_BUCKET,
    VERSION,
    fnv1a_64,
)

BucketHandle = NewType("BucketHandle", bytes)
"""A written bucket, to be placed under its parent: the value that the parent's entry gets. Opaque to callers."""

Entry = tuple[bytes, bytes]

LEAF_TARGET: Final = 64 * 1024
"""Bytes of elements, keys and values at which a leaf ends, and below which a bucket is inline."""
_MIN_ENTRY: Final = ELEMENT_SIZE + 1
_EARLY: Final = LEAF_TARGET // 2
"""From this size on a leaf ends where little of its last page stays blank."""
_SLACK_SHARE: Final = 8
"""A page divided by this may stay blank in a leaf that ends early."""
_FREELIST_PAGE: Final = 2
_FIRST_FREE_PAGE: Final = 3


class BoltWriter:
    """Writes one bbolt file to `out`, from its present position on, sequentially; `finish` seeks back once.

    Buckets are made before their parents: `leaf_bucket` and `bucket` return handles, and `bucket` and `finish` take
    an iterable of (name, handle) that may make the children while it is consumed, so that a whole database flows
    through generators. Keys and names must ascend strictly by their bytes. Each handle is placed exactly once.

    Args:
        out: a buffered, seekable binary file.
        page_size: power of two, 1024 to 65536.
    """

    def __init__(self, out: BinaryIO, *, page_size: int = 4096) -> None:
        if not MIN_PAGE_SIZE <= page_size <= MAX_PAGE_SIZE or page_size & (page_size - 1):
            raise BoltEntryInvalid(
                f"page size {page_size} is not a power of two between {MIN_PAGE_SIZE} and {MAX_PAGE_SIZE}",
                hint="Use 4096.",
            )
        self._out = out
        self._start = out.tell()
        self._page_size = page_size
        self._next_page = _FIRST_FREE_PAGE
        self._loose: dict[bytes, bytes] = {}
        self._finished = False
        out.write(bytes(_FIRST_FREE_PAGE * page_size))

    def leaf_bucket(self, entries: Iterable[Entry], *, name: bytes = b"") -> BucketHandle:
        """Write a bucket that holds keys and values only, of any size.

        A list or tuple is quickest; any other iterable is consumed one leaf at a time.

        Args:
            entries: (key, value) pairs, keys ascending strictly.
            name: what errors call the bucket.

        Raises:
            BoltKeyOrder: a key is not greater than the one before it.
            BoltEntryInvalid: a key is empty or above 32,768 bytes, or a value too long for a node.
        """
        self._demand_open()
        if isinstance(entries, (list, tuple)) and len(entries) <= LEAF_TARGET // _MIN_ENTRY:
            node = _node(entries, PLAIN_ENTRY, b"", name)
            if node.size < LEAF_TARGET:
                return _inline(node)
        stream = iter(entries)
        first, size = _take(stream)
        if size < LEAF_TARGET:
            return _inline(_node(first, PLAIN_ENTRY, b"", name))
        return self._loose_handle(self._write_tree(chain(first, stream), PLAIN_ENTRY, name), name)

    def bucket(self, children: Iterable[tuple[bytes, BucketHandle]], *, name: bytes = b"") -> BucketHandle:
        """Write a bucket that holds buckets only.

        Args:
            children: (name, handle) pairs, names ascending strictly; consumed lazily, so it may write its children.
            name: what errors call the bucket.

        Raises:
            BoltKeyOrder: a name is not greater than the one before it.
            BoltEntryInvalid: a name is empty or above 32,768 bytes.
            BoltBucketMisuse: a handle was placed before, or is none of this writer's.
        """
        self._demand_open()
        stream = self._placed(children, name)
        first = next(stream, None)
        if first is None:
            return _inline(_node((), PLAIN_ENTRY, b"", name))
        return self._loose_handle(self._write_tree(chain((first,), stream), SUB_BUCKET, name), name)

    def finish(self, root_children: Iterable[tuple[bytes, BucketHandle]]) -> None:
        """Write the root bucket, the empty freelist and both meta pages, and flush `out`; the caller syncs and closes.

        Args:
            root_children: (name, handle) pairs of the top-level buckets, names ascending strictly; consumed lazily.

        Raises:
            BoltBucketMisuse: a bucket was written and never placed, or the errors of `bucket`.
        """
        self._demand_open()
        root = self._write_tree(self._placed(root_children, b""), SUB_BUCKET, b"")
        if self._loose:
            names = sorted(_shown(name) for name in self._loose.values())
            raise BoltBucketMisuse(f"{len(names)} buckets were written but not placed", details=names[:20])
        self._finished = True
        end = self._out.tell()
        self._out.seek(self._start)
        for number in (0, 1):
            self._out.write(self._meta_page(number, root))
        self._out.write(self._padded(PAGE_HEADER.pack(_FREELIST_PAGE, FREELIST, 0, 0)))
        self._out.seek(end)
        self._out.flush()

    def _demand_open(self) -> None:
        if self._finished:
            raise BoltBucketMisuse("the file is finished; nothing can be added")

    def _loose_handle(self, root: int, name: bytes) -> BucketHandle:
        handle = BucketHandle(BUCKET_HEADER.pack(root, 0))
        self._loose[handle] = name
        return handle

    def _placed(self, children: Iterable[tuple[bytes, BucketHandle]], parent: bytes) -> Iterator[Entry]:
        loose = self._loose
        for name, handle in children:
            # An inline bucket carries its content, so only paged ones can be lost or be shared by two parents.
            if len(handle) <= BUCKET_HEADER.size and loose.pop(handle, None) is None:
                raise BoltBucketMisuse(
                    f"bucket {_shown(name)} under {_shown(parent)} was placed before, or is not of this file"
                )
            yield name, handle

    def _write_tree(self, entries: Iterator[Entry], kind: int, name: bytes) -> int:
        """Write leaves and branches; the page id of the top node."""
        levels: list[_Branch] = []
        last = b""
        while True:
            chunk, _ = _take(entries, self._page_size, self._page_size // _SLACK_SHARE)
            if not chunk and levels:
                return self._close(levels)
            node = _node(chunk, kind, last, name)
            page = self._write_node(LEAF, node)
            if not chunk:
                return page
            last = chunk[-1][0]
            self._add(levels, 0, chunk[0][0], page)

    def _add(self, levels: list[_Branch], depth: int, key: bytes, page: int) -> None:
        """Name a written node in the open branch of its level, writing that branch first if its page is full."""
        if depth == len(levels):
            levels.append(_Branch())
        branch = levels[depth]
        if len(branch.children) >= 2 and branch.size + ELEMENT_SIZE + len(key) > self._page_size:
            self._add(levels, depth + 1, branch.children[0][0], self._write_branch(branch))
            branch = levels[depth] = _Branch()
        branch.children.append((key, page))
        branch.size += ELEMENT_SIZE + len(key)

    def _close(self, levels: list[_Branch]) -> int:
        """Write the open branch of every level, lowest first; the page id of the top node."""
        depth = 0
        while depth < len(levels) - 1 or len(levels[depth].children) > 1:
            branch = levels[depth]
            self._add(levels, depth + 1, branch.children[0][0], self._write_branch(branch))
            depth += 1
        return levels[depth].children[0][1]

    def _write_branch(self, branch: _Branch) -> int:
        fields: list[int] = []
        position = ELEMENT_SIZE * len(branch.children)
        for key, page in branch.children:
            fields += (position, len(key), page)
            position += len(key) - ELEMENT_SIZE
        table = struct.pack("<" + "IIQ" * len(branch.children), *fields)
        return self._write_page(
            BRANCH, len(branch.children), [table, *(key for key, _ in branch.children)], branch.size
        )

    def _write_node(self, flags: int, node: _Node) -> int:
        node.parts[0] = struct.pack(f"<{len(node.fields)}I", *node.fields)
        return self._write_page(flags, node.entries, node.parts, node.size)

    def _write_page(self, flags: int, count: int, parts: list[bytes], size: int) -> int:
        """Append a node of `size` bytes, header included, in as many pages as it needs; its page id."""
        page = self._next_page
        pages = -(-size // self._page_size)
        header = PAGE_HEADER.pack(page, flags, count, pages - 1)
        self._out.write(b"".join([header, *parts, bytes(pages * self._page_size - size)]))
        self._next_page += pages
        return page

    def _padded(self, content: bytes) -> bytes:
        return content.ljust(self._page_size, b"\0")

    def _meta_page(self, number: int, root: int) -> bytes:
        # Both name the same state: a reader takes the higher transaction, and either alone is enough.
        fields = META_FIELDS.pack(
            MAGIC, VERSION, self._page_size, 0, root, 0, _FREELIST_PAGE, self._next_page, number
        )
        return self._padded(PAGE_HEADER.pack(number, META, 0, 0) + fields + CHECKSUM.pack(fnv1a_64(fields)))


class _Branch:
    """The open branch of one level: (first key, page id) of its children, and its bytes when written."""

    __slots__ = ("children", "size")

    def __init__(self) -> None:
        self.children: list[tuple[bytes, int]] = []
        self.size = HEADER_SIZE


class _Node(NamedTuple):
    """A leaf ready to be packed: four numbers an element, then a free place for the table, the keys and values."""

    entries: int
    fields: list[int]
    parts: list[bytes]
    size: int


def _take(stream: Iterator[Entry], page_size: int = 1, slack: int = -1) -> tuple[list[Entry], int]:
    """The entries of the next leaf and its bytes: at least `LEAF_TARGET` unless the stream ends.

    With a slack, also fewer bytes where at most that many stay blank in the last page.
    """
    taken: list[Entry] = []
    size = HEADER_SIZE
    for entry in stream:
        taken.append(entry)
        key, value = entry
        size += ELEMENT_SIZE + len(key) + len(value)
        if size >= _EARLY and (size >= LEAF_TARGET or -size % page_size <= slack):
            break
    return taken, size


def _node(entries: Sequence[Entry], kind: int, last: bytes, name: bytes) -> _Node:
    """Lay out a leaf whose keys must all be greater than `last`."""
    fields: list[int] = []
    parts: list[bytes] = [b""]
    position = ELEMENT_SIZE * len(entries)
    for entry in entries:
        key, value = entry
        key_size = len(key)
        if key <= last or key_size > MAX_KEY:
            raise _refused(key, last, name)
        last = key
        value_size = len(value)
        fields += (kind, position, key_size, value_size)
        position += key_size + value_size - ELEMENT_SIZE
        parts += entry
    if position + ELEMENT_SIZE * len(entries) > MAX_NODE:
        key, value = max(entries, key=lambda entry: len(entry[1]))
        raise BoltEntryInvalid(
            f"the value of {_shown(key)} in bucket {_shown(name)} has {len(value)} bytes; no node can hold it"
        )
    return _Node(len(entries), fields, parts, HEADER_SIZE + ELEMENT_SIZE * len(entries) + position)


def _inline(node: _Node) -> BucketHandle:
    node.parts[0] = struct.pack(
        f"<QQQHHI{len(node.fields)}I", 0, 0, 0, LEAF, node.entries, 0, *node.fields
    )  # bucket header with root page 0, page header, table
    return BucketHandle(b"".join(node.parts))


def _refused(key: bytes, last: bytes, name: bytes) -> BoltEntryInvalid | BoltKeyOrder:
    where = f"bucket {_shown(name)}"
    if not key:
        return BoltEntryInvalid(f"{where} has an empty key after {_shown(last)}")
    if len(key) > MAX_KEY:
        return BoltEntryInvalid(
            f"{where} has a key of {len(key)} bytes, above {MAX_KEY}: {_shown(key[:40])}…"
        )
    relation = "is there twice" if key == last else f"comes after {_shown(last)}, which is greater"
    return BoltKeyOrder(f"{where}: key {_shown(key)} {relation}")


def _shown(name: bytes) -> str:
    """A key or bucket name as messages show it."""
    return repr(name.decode("utf-8", "backslashreplace"))
