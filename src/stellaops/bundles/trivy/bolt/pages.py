"""Pages of a bbolt file, read with distrust: every number is checked before it is used.

A hostile file must not make a reader crash, loop, or use memory out of proportion. Three rules see to that:

* Keys and values must lie in the order of the element table, back to back, as every writer of the format lays them
  out. So the bytes of a node bound the bytes that its entries claim.
* Page ranges of two nodes never overlap.
* A page is named by one place only (a branch element, a bucket, the meta page). So what can be reached is a tree,
  no larger than the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from stellaops.bundles.trivy.bolt.errors import BoltInvalid
from stellaops.bundles.trivy.bolt.layout import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET_HEADER,
    CHECKSUM,
    ELEMENT_SIZE,
    FREELIST,
    HEADER_SIZE,
    LEAF,
    LEAF_ELEMENT,
    LONG_FREELIST,
    MAGIC,
    MAX_COUNT,
    MAX_KEY,
    MAX_PAGE_SIZE,
    META_FIELDS,
    MIN_PAGE_SIZE,
    NO_FREELIST,
    PAGE_HEADER,
    SUB_BUCKET,
    VERSION,
    fnv1a_64,
)

Data = bytes | memoryview | mmap.mmap

_COPIED_PAGE: Final = 1024 * 1024
"""A node up to this size is copied out of the file once, because slices of bytes are cheapest; others stay there."""
_FIRST_NODE_PAGE: Final = 2
_FREELIST_CHUNK: Final = 8192
_MAX_PAGES: Final = 2**28
"""More pages than any advisory database has (1 TiB of 4 KiB pages): bounds what a sparse file makes us allocate."""
_USED: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Meta:
    """A meta page whose magic, version and checksum hold. Ids are page numbers, `high_water` the first unused one."""

    page_size: int
    root: int
    root_sequence: int
    freelist: int
    high_water: int
    transaction: int


class Page(NamedTuple):
    """A node: its elements start at `body[start]` and nothing of it lies at or behind `body[stop]`."""

    page_id: int
    flags: int
    elements: int
    body: Data
    start: int
    stop: int


class LeafEntry(NamedTuple):
    """An entry of a leaf: its value is `body[start:stop]` of the page it was read from."""

    key: bytes
    is_bucket: bool
    start: int
    stop: int


class Child(NamedTuple):
    """An element of a branch: the child holds keys from `key` on."""

    key: bytes
    page_id: int


def read_meta(data: Data, offset: int) -> Meta:
    """The meta page at a byte offset.

    Raises:
        BoltInvalid: it is cut off, or its magic, version, checksum or page size do not hold.
    """
    raw = bytes(data[offset + HEADER_SIZE : offset + HEADER_SIZE + META_FIELDS.size + CHECKSUM.size])
    if len(raw) < META_FIELDS.size + CHECKSUM.size:
        raise BoltInvalid(f"the file ends within the meta page at byte {offset}")
    fields = raw[: META_FIELDS.size]
    magic, version, page_size, _, root, sequence, freelist, high_water, transaction = META_FIELDS.unpack(
        fields
    )
    if magic != MAGIC:
        raise BoltInvalid(f"no bbolt magic number in the meta page at byte {offset}")
    if version != VERSION:
        raise BoltInvalid(
            f"bbolt version {version} in the meta page at byte {offset}; only {VERSION} is known"
        )
    if CHECKSUM.unpack_from(raw, META_FIELDS.size)[0] != fnv1a_64(fields):
        raise BoltInvalid(f"the checksum of the meta page at byte {offset} does not hold")
    if not MIN_PAGE_SIZE <= page_size <= MAX_PAGE_SIZE or page_size & (page_size - 1):
        raise BoltInvalid(f"the page size is {page_size} in the meta page at byte {offset}")
    return Meta(page_size, root, sequence, freelist, high_water, transaction)


def choose_meta(data: Data) -> Meta:
    """The valid meta page with the higher transaction, as bbolt chooses it, and the bounds it must keep to.

    Raises:
        BoltInvalid: neither meta page is valid, or the chosen one names pages outside of the file.
    """
    found: list[Meta] = []
    problems: list[BoltInvalid] = []
    for page_size in (0, *_possible_page_sizes()):
        # Page 1 lies one page size from the start, so its place must agree with what it says.
        if found and page_size != found[0].page_size:
            continue
        try:
            meta = read_meta(data, page_size)
        except BoltInvalid as problem:
            problems.append(problem)
            continue
        if page_size in (0, meta.page_size):
            found.append(meta)
    if not found:
        raise problems[0]
    chosen = max(found, key=lambda meta: meta.transaction)
    _check_bounds(chosen, len(data))
    return chosen


def _possible_page_sizes() -> Iterator[int]:
    size = MIN_PAGE_SIZE
    while size <= MAX_PAGE_SIZE:
        yield size
        size *= 2


def _check_bounds(meta: Meta, size: int) -> None:
    if meta.high_water * meta.page_size > size:
        raise BoltInvalid(
            f"the file is cut off: {size} bytes, but {meta.high_water} pages of {meta.page_size} bytes are used"
        )
    if meta.high_water > _MAX_PAGES:
        raise BoltInvalid(f"the file has {meta.high_water} pages; no database is that large")
    if not _FIRST_NODE_PAGE <= meta.root < meta.high_water:
        raise BoltInvalid(f"root page {meta.root} is not among the {meta.high_water} pages of the file")
    if meta.freelist != NO_FREELIST and not _FIRST_NODE_PAGE <= meta.freelist < meta.high_water:
        raise BoltInvalid(
            f"freelist page {meta.freelist} is not among the {meta.high_water} pages of the file"
        )


_FORGET_AFTER = 64 << 20


class PageSource:
    """Gives out the nodes of a file, and sees that no page serves two of them. Not for use by several threads."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._read = 0
        self.meta = choose_meta(data)
        self._named_by: dict[int, tuple[int, int]] = {}
        self._ends: dict[int, int] = {}
        self.use = bytearray(self.meta.high_water)
        """For each page: 0, or 1 when it is a meta page or part of a node read so far."""
        self.use[:_FIRST_NODE_PAGE] = _USED * _FIRST_NODE_PAGE
        self.name(self.meta.root, (0, 0))

    def name(self, page_id: int, place: tuple[int, int]) -> None:
        """Note that `place` (page, element) refers to a page.

        Raises:
            BoltInvalid: the page is out of range, or another place refers to it.
        """
        if not _FIRST_NODE_PAGE <= page_id < self.meta.high_water:
            raise BoltInvalid(f"page {place[0]}, element {place[1]}: page {page_id} is out of range")
        if self._named_by.setdefault(page_id, place) != place:
            raise BoltInvalid(f"page {place[0]}, element {place[1]}: page {page_id} is referred to twice")

    def node(self, page_id: int) -> Page:
        """A leaf or branch that was named.

        Raises:
            BoltInvalid: its header does not hold, or it overlaps another node.
        """
        flags, count, start, stop = self._header(page_id)
        if flags not in (BRANCH, LEAF):
            raise BoltInvalid(f"page {page_id} should be a branch or a leaf; its flags are {flags:#x}")
        if count > MAX_COUNT or start + HEADER_SIZE + count * ELEMENT_SIZE > stop:
            raise BoltInvalid(f"page {page_id} has no room for {count} elements")
        self._forget(stop - start)
        if stop - start <= _COPIED_PAGE:
            return Page(page_id, flags, count, bytes(self._data[start:stop]), HEADER_SIZE, stop - start)
        return Page(page_id, flags, count, self._data, start + HEADER_SIZE, stop)

    def _forget(self, read: int) -> None:
        """Let go of mapped pages now and then: what was read counts as this process's memory until then."""
        self._read += read
        if self._read > _FORGET_AFTER and isinstance(self._data, mmap.mmap):
            self._data.madvise(mmap.MADV_DONTNEED)
            self._read = 0

    def _header(self, page_id: int) -> tuple[int, int, int, int]:
        """Flags, count, and the bytes where the page with its overflow pages starts and stops."""
        size = self.meta.page_size
        start = page_id * size
        own_id, flags, count, overflow = PAGE_HEADER.unpack(bytes(self._data[start : start + HEADER_SIZE]))
        if own_id != page_id:
            raise BoltInvalid(f"page {page_id} calls itself page {own_id}")
        if page_id + overflow >= self.meta.high_water:
            raise BoltInvalid(f"page {page_id} has {overflow} overflow pages, beyond the end")
        self._occupy(page_id, page_id + overflow + 1)
        return flags, count, start, start + (overflow + 1) * size

    def _occupy(self, first: int, end: int) -> None:
        if self._ends.get(first) == end:
            return
        if self.use.find(_USED, first, end) >= 0:
            raise BoltInvalid(f"page {first} overlaps another page")
        self.use[first:end] = _USED * (end - first)
        self._ends[first] = end

    def free_pages(self) -> Iterator[int]:
        """Ids in the freelist, ascending; nothing when the file stores none.

        Raises:
            BoltInvalid: the freelist page does not hold, or its ids do not ascend within the file.
        """
        if self.meta.freelist == NO_FREELIST:
            return
        flags, count, start, stop = self._header(self.meta.freelist)
        if flags != FREELIST:
            raise BoltInvalid(f"page {self.meta.freelist} should be the freelist; its flags are {flags:#x}")
        at = start + HEADER_SIZE
        if count == LONG_FREELIST:
            count = int.from_bytes(self._data[at : at + 8], "little")
            at += 8
        if at + 8 * count > stop:
            raise BoltInvalid(f"the freelist has no room for {count} ids")
        last = _FIRST_NODE_PAGE - 1
        for chunk in range(at, at + 8 * count, 8 * _FREELIST_CHUNK):
            ids = memoryview(bytes(self._data[chunk : min(chunk + 8 * _FREELIST_CHUNK, at + 8 * count)]))
            for page_id in (int.from_bytes(ids[i : i + 8], "little") for i in range(0, len(ids), 8)):
                if not last < page_id < self.meta.high_water:
                    raise BoltInvalid(f"the freelist has page {page_id} after page {last}")
                last = page_id
                yield page_id

    def children(self, page: Page, lower: bytes, upper: bytes | None) -> list[Child]:
        """Elements of a branch whose keys must lie in `lower` ≤ key < `upper`; the children are named by it.

        Raises:
            BoltInvalid: an element breaks a rule.
        """
        if not 0 < page.elements < self.meta.high_water:
            raise BoltInvalid(f"branch page {page.page_id} has {page.elements} elements")
        found: list[Child] = []
        at, position = page.start + ELEMENT_SIZE * page.elements, ELEMENT_SIZE * page.elements
        last = b""
        table = bytes(page.body[page.start : at])
        for number, (offset, key_size, child) in enumerate(BRANCH_ELEMENT.iter_unpack(table)):
            key = bytes(page.body[at : at + key_size])
            if offset != position or key_size > MAX_KEY or key <= last:
                raise _broken_element(page.page_id, number, offset == position, key_size)
            self.name(child, (page.page_id, number))
            found.append(Child(key, child))
            last = key
            at += key_size
            position += key_size - ELEMENT_SIZE
        if at > page.stop:
            raise BoltInvalid(f"the keys of branch page {page.page_id} do not fit into it")
        _check_span(page.page_id, found[0].key, last, lower, upper)
        return found

    def entries(self, page: Page, lower: bytes, upper: bytes | None) -> list[LeafEntry]:
        """Entries of a leaf whose keys must lie in `lower` ≤ key < `upper`.

        Raises:
            BoltInvalid: an element breaks a rule.
        """
        found, _ = _leaf_entries(page.body, page.start, page.stop, page.elements, page.page_id)
        if found:
            _check_span(page.page_id, found[0].key, found[-1].key, lower, upper)
        return found

    def bucket_root(self, page: Page, number: int, entry: LeafEntry) -> tuple[int, int]:
        """Root page (0: inline) and sequence of the bucket that is element `number` of a leaf; the root gets named.

        Raises:
            BoltInvalid: the value is no bucket.
        """
        header = bytes(page.body[entry.start : entry.start + BUCKET_HEADER.size])
        if entry.stop - entry.start < BUCKET_HEADER.size:
            raise BoltInvalid(f"page {page.page_id}, element {number}: too short for a bucket")
        root, sequence = BUCKET_HEADER.unpack(header)
        if root:
            if entry.stop - entry.start != BUCKET_HEADER.size:
                raise BoltInvalid(
                    f"page {page.page_id}, element {number}: a bucket with pages has inline content"
                )
            self.name(root, (page.page_id, number))
        return root, sequence


def inline_entries(page: Page, entry: LeafEntry) -> list[LeafEntry]:
    """Entries of a bucket that lies within a value; their values are slices of `page.body`.

    Raises:
        BoltInvalid: the content breaks a rule, or holds a bucket.
    """
    start = entry.start + BUCKET_HEADER.size
    if entry.stop - start < HEADER_SIZE:
        raise BoltInvalid(f"page {page.page_id}: the inline bucket {entry.key!r} is cut off")
    page_id, flags, count, overflow = PAGE_HEADER.unpack(bytes(page.body[start : start + HEADER_SIZE]))
    if page_id or flags != LEAF or overflow or start + HEADER_SIZE + count * ELEMENT_SIZE > entry.stop:
        raise BoltInvalid(f"page {page.page_id}: the inline bucket {entry.key!r} has a broken header")
    found, end = _leaf_entries(page.body, start + HEADER_SIZE, entry.stop, count, page.page_id)
    if end != entry.stop:
        raise BoltInvalid(
            f"page {page.page_id}: the inline bucket {entry.key!r} has {entry.stop - end} bytes too many"
        )
    if any(item.is_bucket for item in found):
        raise BoltInvalid(f"page {page.page_id}: the inline bucket {entry.key!r} holds a bucket")
    return found


def _leaf_entries(body: Data, start: int, stop: int, count: int, page_id: int) -> tuple[list[LeafEntry], int]:
    """Entries and the byte where the last value ends; the table itself must be known to fit."""
    found: list[LeafEntry] = []
    append, make = found.append, LeafEntry._make
    position = ELEMENT_SIZE * count
    at = start + position
    last = b""
    for flags, offset, key_size, value_size in LEAF_ELEMENT.iter_unpack(bytes(body[start:at])):
        value_at = at + key_size
        key = bytes(body[at:value_at])
        if offset != position or flags > SUB_BUCKET or key_size > MAX_KEY or key <= last:
            raise _broken_element(page_id, len(found), offset == position and flags <= SUB_BUCKET, key_size)
        at = value_at + value_size
        append(make((key, flags == SUB_BUCKET, value_at, at)))
        last = key
        position += key_size + value_size - ELEMENT_SIZE
    if at > stop:
        raise BoltInvalid(f"the entries of page {page_id} do not fit into it")
    return found, at


def _broken_element(page_id: int, number: int, well_formed: bool, key_size: int) -> BoltInvalid:
    if not well_formed:
        return BoltInvalid(f"page {page_id}, element {number}: flags or position are wrong")
    if not 0 < key_size <= MAX_KEY:
        return BoltInvalid(f"page {page_id}, element {number}: a key of {key_size} bytes")
    return BoltInvalid(f"page {page_id}, element {number}: keys do not ascend")


def _check_span(page_id: int, first: bytes, last: bytes, lower: bytes, upper: bytes | None) -> None:
    if first < lower or (upper is not None and last >= upper):
        raise BoltInvalid(f"page {page_id} has keys outside of the span that its parent gives it")
