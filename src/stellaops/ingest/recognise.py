"""Telling the form of an input and the database of a new source, from some of its files."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from stellaops.advisories import advisory as fields
from stellaops.advisories import canonical, databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.databases import Database
from stellaops.advisories.documents.interface import Slice
from stellaops.ingest import feeds
from stellaops.ingest.feeds import AnyFeed, Document, Side
from stellaops.ingest.ports import Choosable, Inputs, Member

_SAMPLE = 100
_SAMPLE_BYTES = 64 << 20
_FEW = 10  # files that are enough for a hint
_OF_SIDE = {Side.VEX: databases.VEX, Side.SBOMS: databases.SBOMS, Side.POLICY: databases.POLICY}


def spread(inputs: Inputs) -> Sequence[Member]:
    """Some files, spread over all of the input: few documents are enough to tell their form.

    Those whose paths have the smallest checksums, up to a hundred and to 64 MiB together, at least one: the choice
    does not depend on the order of the files, and all of them have the same chance.
    """
    sample = _Sample()
    members = inputs.wanted_members(sample.wants) if isinstance(inputs, Choosable) else inputs.members()
    for member in members:
        # Of a file that comes in blocks the first says as much as all.
        if not member.problem and member.content and not member.offset and sample.wants(member.path):
            sample.add(member)
    return sample.members()


class _Sample:
    """The files with the smallest checksums so far: those that are left out are never wanted again."""

    def __init__(self) -> None:
        self._chosen: list[tuple[int, int, Member]] = []
        self._bytes = 0
        self._count = 0
        self._ceiling = 1 << 32

    def wants(self, path: str) -> bool:
        """Whether a file would be among them."""
        return _checksum(path) < self._ceiling

    def add(self, member: Member) -> None:
        """Take a file that is wanted, and let go of those for which there is no room then."""
        self._count += 1
        heapq.heappush(self._chosen, (-_checksum(member.path), self._count, member))
        self._bytes += len(member.content)
        while len(self._chosen) > _SAMPLE or (self._bytes > _SAMPLE_BYTES and len(self._chosen) > 1):
            checksum, _, left_out = heapq.heappop(self._chosen)
            self._ceiling = -checksum
            self._bytes -= len(left_out.content)

    def members(self) -> list[Member]:
        """The files."""
        return [member for _, _, member in self._chosen]


def _checksum(path: str) -> int:
    return zlib.crc32(path.encode("utf-8", "replace"))


def tell_feed(side: Side, members: Iterable[Member]) -> AnyFeed | None:
    """The form of most files that are of one of a side; of several with as many, the first; None without any."""
    votes: Counter[str] = Counter()
    for member in members:
        feed = feeds.tell(side, member.path, member.content)
        if feed is not None:
            votes[feed.name] += 1
    known = feeds.feeds_of(side)
    order = list(known)
    return known[min(votes, key=lambda name: (-votes[name], order.index(name)))] if votes else None


def tell_elsewhere(side: Side, members: Sequence[Member]) -> Side | None:
    """Another side that the first files are of; None where they are of this one, or of none."""
    for member in members[:_FEW]:
        for each in (side, *Side):
            if feeds.tell(each, member.path, member.content) is not None:
                return None if each is side else each
    return None


def tell_database(feed: AnyFeed, documents: Sequence[Document]) -> Database:
    """The database that some documents of a source belong to."""
    side = feeds.side_of(feed.name)
    if side in _OF_SIDE:
        return _OF_SIDE[side]
    told = [(each.id, fields.ecosystems(each)) for each in documents if isinstance(each, Advisory)]
    return databases.tell(told, feed.name, [each.publisher for each in documents if each.publisher])


def sample(feed: AnyFeed, members: Iterable[Member]) -> list[Document]:
    """Some documents of some files."""
    return [
        document
        for member in members
        if not member.problem and feed.may_hold_documents(member.path)
        for document in islice(_documents(feed, member), _SAMPLE)
        if document is not None
    ]


def first_documents(feed: AnyFeed, inputs: Inputs) -> list[Document]:
    """Documents of the first file that has any: for inputs in which documents are rare."""
    return next((told for member in inputs.members() if (told := sample(feed, [member]))), [])


def holds_records(feed: AnyFeed, inputs: Inputs) -> bool:
    """Whether there is anything to import or to quarantine: broken documents of a known source are not nothing."""
    return any(
        True
        for member in inputs.members()
        if not member.problem and feed.may_hold_documents(member.path)
        for _ in _documents(feed, member)
    )


def pieces(feed: AnyFeed, member: Member) -> Iterable[Slice]:
    """The records of a file; a record that was cut out before is whole.

    Raises:
        Malformed: the file cannot be cut into records.
    """
    if member.context is not None:
        return (Slice(0, member.content, member.context),)
    return feed.records(member.path, member.content)


def _documents(feed: AnyFeed, member: Member) -> Iterator[Document | None]:
    """The documents of a file; None for each that is broken, nothing for what is none."""
    try:
        for piece in pieces(feed, member):
            try:
                canonical.check_size(piece.raw)
                document = feed.read(feed.canonical(member.path, piece.raw).parsed, piece.context)
            except Malformed:
                yield None
            else:
                if document is not None:
                    yield document
    except Malformed:
        yield None
