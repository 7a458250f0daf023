"""Checks of the evidence: whether what is stored still is what was fetched, and how fresh it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from stellaops.core import digests
from stellaops.core.counting import counted
from stellaops.ingest.mirror_databases import Untaken
from stellaops.ingest.model import SourceStatus

_SHOWN = 20
_LITTLE_ROOM = 1 << 30


class Verdict(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        detail: what was looked at, or what is wrong.
        hint: what to do; empty where all is well.
    """

    name: str
    verdict: Verdict
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A document as the store gives it back, and the digests under which it was stored.

    Attributes:
        raw: the upstream's own bytes; None where they cannot be had.
    """

    source: str
    key: str
    digest: str
    raw_digest: str
    body: bytes
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows that lack their counterpart, and sequences that are not as they must be.

    Attributes:
        documents: without a revision, and of no import under way.
        revisions: without a document.
        index_rows: revisions without their index row.
        projection_rows: rows derived from revisions that are not there.
        overlapping: keys with two revisions that are valid at once.
        sequences: changes and tombstones that have a sequence of their own.
        head: the current sequence; equal to `sequences` where none is missing.
    """

    documents: int
    revisions: int
    index_rows: int
    projection_rows: int
    overlapping: int
    sequences: int
    head: int


class Inspection(Protocol):
    """A look into the evidence store that trusts nothing in it."""

    def structure(self) -> Sequence[str]:
        """What the database itself finds damaged."""
        ...

    def documents(self) -> int:
        """How many revisions there are."""
        ...

    def contents(self, share: int) -> Iterator[StoredContent]:
        """Every document whose number is a multiple of `share`."""
        ...

    def orphans(self) -> Orphans:
        """Counts of what does not fit together."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """The disk of the data directory, in bytes."""

    free: int
    used: int


def check_structure(store: Inspection) -> Finding:
    """Whether the database finds itself sound."""
    problems = store.structure()
    if problems:
        return Finding("structure", Verdict.FAILED, "; ".join(problems[:_SHOWN]), _RESTORE)
    return Finding("structure", Verdict.OK, "the database finds itself sound")


def check_digests(store: Inspection, sample: int | None) -> Finding:
    """Whether documents and raw bytes still have the digests under which they were stored.

    Args:
        sample: about how many documents to read; all when None.
    """
    count = store.documents()
    share = 1 if sample is None else max(1, count // max(sample, 1))
    read, wrong = 0, list[str]()
    for one in store.contents(share):
        read += 1
        wrong += _differences(one)
    if wrong:
        detail = f"{len(wrong)} differences in {read} documents read: {'; '.join(wrong[:_SHOWN])}"
        return Finding("digests", Verdict.FAILED, detail, _RESTORE)
    told = "all" if share == 1 else f"{read} of {count}"
    return Finding("digests", Verdict.OK, f"{told} documents and their raw bytes have their digests")


def _differences(one: StoredContent) -> Iterable[str]:
    if digests.sha256(one.body) != one.digest:
        yield f"{one.source} {one.key}: the document"
    if one.raw is None or digests.sha256(one.raw) != one.raw_digest:
        yield f"{one.source} {one.key}: the raw bytes"


def check_rows(store: Inspection) -> Sequence[Finding]:
    """Whether rows have their counterparts, and sequences are without gaps."""
    found = store.orphans()
    lost = {
        "revisions without a document": found.revisions,
        "keys with two current documents": found.overlapping,
        "documents of no revision": found.documents,
    }
    derived = {
        "documents without an index row": found.index_rows,
        "derived rows of no document": found.projection_rows,
    }
    return (
        _counted("rows", lost, Verdict.FAILED, _RESTORE),
        _counted("derived rows", derived, Verdict.WARNING, _REBUILD),
        Finding("sequences", Verdict.OK, f"{found.head} without a gap")
        if found.sequences == found.head
        else Finding(
            "sequences", Verdict.FAILED, f"{found.sequences} changes under {found.head} sequences", _RESTORE
        ),
    )


def _counted(name: str, counts: dict[str, int], verdict: Verdict, hint: str) -> Finding:
    wrong = [f"{count} {what}" for what, count in counts.items() if count]
    return (
        Finding(name, verdict, "; ".join(wrong), hint)
        if wrong
        else Finding(name, Verdict.OK, "none is orphaned")
    )


def check_ages(sources: Sequence[SourceStatus], *, now: datetime, limit: timedelta) -> Finding:
    """Whether every source was read within a time, and completely."""
    told = []
    for source in sources:
        if source.checked_at is None or not source.complete:
            told.append(f"{source.source}: never read completely")
        elif now - source.checked_at > limit:
            told.append(f"{source.source}: read {(now - source.checked_at).days} days ago")
    if told:
        return Finding("feed ages", Verdict.WARNING, "; ".join(told[:_SHOWN]), _PULL)
    if not sources:
        return Finding("feed ages", Verdict.WARNING, "there is no source yet", _PULL)
    return Finding(
        "feed ages", Verdict.OK, f"{counted(len(sources), 'source')} read within {counted(limit.days, 'day')}"
    )


def check_mirrors(found: Sequence[Untaken]) -> Finding:
    """Whether mirrors that are pulled offer databases that no source takes."""
    if not found:
        return Finding(
            "mirrors pulled", Verdict.OK, "each database that they offer has a source, or is not wanted"
        )
    told = "; ".join(each.told for each in found)
    return Finding("mirrors pulled", Verdict.WARNING, told, f"{found[0].advice}.")


def check_quarantine(sources: Sequence[SourceStatus]) -> Finding:
    """Whether records wait in quarantine."""
    told = [f"{source.source}: {source.quarantined}" for source in sources if source.quarantined]
    if told:
        return Finding(
            "quarantine", Verdict.WARNING, ", ".join(told), "See `stella concelier quarantine list`."
        )
    return Finding("quarantine", Verdict.OK, "nothing is set aside")


def check_room(room: Room) -> Finding:
    """Whether the disk has room for as much as there is, or for a gibibyte."""
    detail = f"{room.free >> 20} MiB free beside {room.used >> 20} MiB of data"
    if room.free < max(room.used, _LITTLE_ROOM):
        return Finding(
            "disk", Verdict.WARNING, detail, "Free room, or move the data directory to a larger disk."
        )
    return Finding("disk", Verdict.OK, detail)


_RESTORE = "Stop writing, keep a copy of the data directory, restore it from a backup, then import again."
_REBUILD = "Run an export: it rebuilds derived rows. If the warning stays, report it."
_PULL = "Run `stella concelier pull` or import the source again; see `stella concelier status`."
