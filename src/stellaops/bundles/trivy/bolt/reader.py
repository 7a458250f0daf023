"""Read a bbolt file: buckets by name, keys and values in order, nothing trusted.

Any file, however damaged or forged, gives correct entries or `BoltInvalid`, in time and memory bounded by its size.
A page is checked when it is reached; `check.check` reaches all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from stellaops.bundles.trivy.bolt.errors import BoltInvalid
from stellaops.bundles.trivy.bolt.layout import BRANCH
from stellaops.bundles.trivy.bolt.pages import Data, LeafEntry, Meta, Page, PageSource, inline_entries


class Bucket:
    """A bucket of an open file. Keys come in the order of their bytes.

    All methods raise `BoltInvalid` where what they meet breaks the format.

    Attributes:
        path: names from the top-level bucket down to this one; () for the root.
        sequence: the counter that bbolt keeps for the bucket's users.
    """

    __slots__ = ("_inline", "_root", "_source", "path", "sequence")

    def __init__(
        self,
        source: PageSource,
        path: tuple[bytes, ...],
        root: int,
        sequence: int,
        inline: tuple[Page, LeafEntry] | None = None,
    ) -> None:
        self._source = source
        self._root = root
        self._inline = inline
        self.path = path
        self.sequence = sequence

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values; sub-buckets are passed over."""
        for page, entries in self._leaves():
            body = page.body
            for key, is_bucket, start, stop in entries:
                if not is_bucket:
                    yield key, bytes(body[start:stop])

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """Names and sub-buckets; plain entries are passed over."""
        for page, entries in self._leaves():
            for number, entry in enumerate(entries):
                if entry.is_bucket:
                    yield entry.key, self._open(page, number, entry)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None where there is no such key, or a bucket of that name."""
        found = self._find(key)
        if found is None or found[2].is_bucket:
            return None
        page, _, entry = found
        return bytes(page.body[entry.start : entry.stop])

    def bucket(self, name: bytes) -> Bucket | None:
        """The sub-bucket of a name, or None where there is none."""
        found = self._find(name)
        return self._open(*found) if found is not None and found[2].is_bucket else None

    def _open(self, page: Page, number: int, entry: LeafEntry) -> Bucket:
        root, sequence = self._source.bucket_root(page, number, entry)
        return Bucket(self._source, (*self.path, entry.key), root, sequence, None if root else (page, entry))

    def _leaves(self) -> Iterator[tuple[Page, list[LeafEntry]]]:
        if self._inline is not None:
            page, entry = self._inline
            yield page, inline_entries(page, entry)
            return
        for page, lower, upper in nodes(self._source, self._root):
            if page.flags != BRANCH:
                yield page, self._source.entries(page, lower, upper)

    def _find(self, key: bytes) -> tuple[Page, int, LeafEntry] | None:
        if self._inline is not None:
            page, entry = self._inline
            entries = inline_entries(page, entry)
        else:
            page, entries = self._leaf_for(key)
        at = bisect_left(entries, key, key=lambda entry: entry.key)
        return (page, at, entries[at]) if at < len(entries) and entries[at].key == key else None

    def _leaf_for(self, key: bytes) -> tuple[Page, list[LeafEntry]]:
        lower, upper = b"", None
        page = self._source.node(self._root)
        # Each page is named by one place only, so this comes to an end.
        while page.flags == BRANCH:
            children = self._source.children(page, lower, upper)
            at = max(bisect_right(children, key, key=lambda child: child.key) - 1, 0)
            lower, upper = children[at].key, children[at + 1].key if at + 1 < len(children) else upper
            page = self._source.node(children[at].page_id)
        return page, self._source.entries(page, lower, upper)


class BoltReader(Bucket):
    """The root bucket of a file, which holds the top-level buckets.

    Args:
        data: the whole file: bytes, a memoryview of bytes, or a read-only map, which must stay open and unchanged.

    Raises:
        BoltInvalid: no valid meta page, or the file is cut off.
    """

    __slots__ = ("meta",)

    meta: Meta

    def __init__(self, data: Data) -> None:
        source = PageSource(data)
        self.meta = source.meta
        super().__init__(source, (), source.meta.root, source.meta.root_sequence)

    def at(self, *path: bytes) -> Bucket | None:
        """The bucket at a path of names, or None."""
        bucket: Bucket | None = self
        for name in path:
            if bucket is None:
                return None
            bucket = bucket.bucket(name)
        return bucket


def nodes(source: PageSource, root: int) -> Iterator[tuple[Page, bytes, bytes | None]]:
    """All nodes of a tree in key order, parents first, each with the span its keys must keep to.

    A leaf below a branch that has no entries breaks the format: nothing would prove its place.

    Raises:
        BoltInvalid: a node breaks a rule.
    """
    pending: list[tuple[int, bytes, bytes | None]] = [(root, b"", None)]
    while pending:
        page_id, lower, upper = pending.pop()
        page = source.node(page_id)
        if not page.elements and page_id != root:
            raise BoltInvalid(f"page {page_id} is an empty node below a branch")
        if page.flags == BRANCH:
            children = source.children(page, lower, upper)
            end = upper
            for child in reversed(children):
                pending.append((child.page_id, child.key, end))
                end = child.key
        yield page, lower, upper
