"""Is a bbolt file sound? What bbolt's own `Check` demands, and the content of inline buckets, and more.

Both meta pages hold; every page below the high-water mark belongs to exactly one node or is in the freelist; nodes
have the right type and do not overlap; elements lie back to back; keys ascend within a node and keep to the span
that the parent gives; values of sub-buckets are buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stellaops.bundles.trivy.bolt.errors import BoltInvalid
from stellaops.bundles.trivy.bolt.layout import BRANCH, HEADER_SIZE, META, NO_FREELIST, PAGE_HEADER
from stellaops.bundles.trivy.bolt.pages import Data, Page, PageSource, inline_entries, read_meta
from stellaops.bundles.trivy.bolt.reader import nodes

_MOST_PROBLEMS: Final = 50


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a file holds, as far as it could be walked, and what is wrong with it.

    Attributes:
        page_size: bytes a page.
        pages: pages in use, meta pages and freelist included.
        free_pages: those of them that the freelist gives.
        buckets: all buckets but the root.
        inline_buckets: those of them without a page of their own.
        entries: keys with plain values, over all buckets.
        problems: a sentence each, at most 50; empty for a sound file.
    """

    page_size: int
    pages: int
    free_pages: int
    buckets: int
    inline_buckets: int
    entries: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def demand_ok(self) -> None:
        """Raise `BoltInvalid` with all problems, unless there are none."""
        if self.problems:
            raise BoltInvalid(f"the database is damaged: {self.problems[0]}", details=self.problems)


def check(data: Data) -> CheckResult:
    """Walk a whole file (bytes, a memoryview of bytes, or a read-only map). Raises nothing for any content."""
    try:
        source = PageSource(data)
    except BoltInvalid as problem:
        return CheckResult(0, 0, 0, 0, 0, 0, (problem.what,))
    walk = _Walk(source)
    walk.meta_pages(data)
    walk.buckets()
    free = walk.freelist()
    return CheckResult(
        source.meta.page_size,
        source.meta.high_water,
        free,
        walk.bucket_count,
        walk.inline_count,
        walk.entry_count,
        tuple(walk.problems[:_MOST_PROBLEMS]),
    )


class _Walk:
    """One walk through a file; a broken node is noted and what hangs on it passed over."""

    def __init__(self, source: PageSource) -> None:
        self.source = source
        self.problems: list[str] = []
        self.bucket_count = 0
        self.inline_count = 0
        self.entry_count = 0

    def meta_pages(self, data: Data) -> None:
        """Both meta pages must be valid, agree on the page size and be headed as such."""
        size = self.source.meta.page_size
        for number in (0, 1):
            try:
                meta = read_meta(data, number * size)
            except BoltInvalid as problem:
                self.problems.append(problem.what)
                continue
            header = PAGE_HEADER.unpack(bytes(data[number * size : number * size + HEADER_SIZE]))
            if header != (number, META, 0, 0) or meta.page_size != size:
                self.problems.append(f"the header of meta page {number} is wrong")

    def buckets(self) -> None:
        """Walk the tree of buckets, without recursion: nothing bounds how deep a hostile file nests them."""
        pending = [self.source.meta.root]
        while pending and len(self.problems) < _MOST_PROBLEMS:
            try:
                for page, lower, upper in nodes(self.source, pending.pop()):
                    if page.flags != BRANCH:
                        pending += self._leaf(page, lower, upper)
            except BoltInvalid as problem:
                self.problems.append(problem.what)

    def _leaf(self, page: Page, lower: bytes, upper: bytes | None) -> list[int]:
        """Count the entries of a leaf and check its inline buckets; the root pages of the other buckets."""
        roots: list[int] = []
        entries = self.source.entries(page, lower, upper)
        buckets = [(number, entry) for number, entry in enumerate(entries) if entry.is_bucket]
        self.entry_count += len(entries) - len(buckets)
        self.bucket_count += len(buckets)
        for number, entry in buckets:
            root, _ = self.source.bucket_root(page, number, entry)
            if root:
                roots.append(root)
            else:
                self.inline_count += 1
                self.entry_count += len(inline_entries(page, entry))
        return roots

    def freelist(self) -> int:
        """Free pages must not be in use, and with them every page must be accounted for; how many are free."""
        free = 0
        try:
            for free, page_id in enumerate(self.source.free_pages(), 1):  # noqa: B007 - it is the result
                self._take_free(page_id)
        except BoltInvalid as problem:
            self.problems.append(problem.what)
        use = self.source.use
        # Below a broken node nothing was reached, so more would be missing than is wrong.
        if not self.problems and self.source.meta.freelist != NO_FREELIST and (missing := use.count(0)):
            self.problems.append(
                f"{missing} pages are neither used nor free, the first is page {use.find(0)}"
            )
        return free

    def _take_free(self, page_id: int) -> None:
        if self.source.use[page_id]:
            raise BoltInvalid(f"page {page_id} is in the freelist and in use")
        self.source.use[page_id] = 1
