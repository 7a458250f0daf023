"""Telling the form of an input and the database of a new source, from some of its files."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.databases import Database
from stellaops.advisories.documents.interface import Slice
from stellaops.ingest import feeds
from stellaops.ingest.feeds import AnyFeed, Document, Side
from stellaops.ingest.ports import Choosable, Inputs, Member

_SAMPLE = 100
_OF_SIDE = {Side.VEX: databases.VEX, Side.SBOMS: databases.SBOMS, Side.POLICY: databases.POLICY}


def spread(inputs: Inputs) -> Sequence[Member]:
    """Some files, spread over all of the input: few documents are enough to tell their form.

    Those whose paths have the smallest checksums: the choice does not depend on the order of the files, and all of
    them have the same chance.
    """
    chosen: list[tuple[int, int, Member]] = []

    def wanted(path: str) -> bool:
        return len(chosen) < _SAMPLE or -_checksum(path) > chosen[0][0]

    members = inputs.wanted_members(wanted) if isinstance(inputs, Choosable) else inputs.members()
    for number, member in enumerate(members):
        # Of a file that comes in blocks the first says as much as all.
        if member.problem or not member.content or member.offset or not wanted(member.path):
            continue
        if len(chosen) == _SAMPLE:
            heapq.heappop(chosen)
        heapq.heappush(chosen, (-_checksum(member.path), number, member))
    return [member for _, _, member in chosen]


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
                document = feed.read(feed.canonical(member.path, piece.raw).parsed, piece.context)
            except Malformed:
                yield None
            else:
                if document is not None:
                    yield document
    except Malformed:
        yield None
