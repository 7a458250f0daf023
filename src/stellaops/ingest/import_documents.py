"""Import documents from files: read, canonicalise, project, stage, apply."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed
from stellaops.advisories.databases import Database
from stellaops.advisories.documents import registry
from stellaops.advisories.documents.interface import Feed, Slice
from stellaops.advisories.documents.registry import FEEDS
from stellaops.advisories.index import DocumentId, index_row
from stellaops.bundles.trivy.projection import project
from stellaops.core import digests, timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.ingest import aoc
from stellaops.ingest.editions import Edition, editions, total
from stellaops.ingest.model import Batch, Container, ImportReport, Record, Rejected, Source
from stellaops.ingest.ports import ImportStore, Inputs, Member, Sources

_BATCH_RECORDS = 4000
_BATCH_BYTES = 16 << 20
_SAMPLE = 100
_MICROSECOND = 1_000_000
_HINT_BYTES = 64 << 10
_ID = re.compile(rb"""(?:^|[{,\s])["']?id["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9:._-]{2,100})""")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class UnknownForm(InvalidInput):
    """Nothing in the input is a document of a known feed."""

    code = "ERR_IMPORT_UNKNOWN_FORM"
    hint = "Point at documents in a known form, or name it with --feed: `stella concelier import --help` has the list."


class UnknownDatabase(InvalidInput):
    """A database name that the table does not have."""

    code = "ERR_IMPORT_UNKNOWN_DATABASE"
    hint = "See `stella concelier import --help` or docs/reference/databases.md for the names."


class SourceMismatch(InvalidInput):
    """A source that exists belongs to another database or feed."""

    code = "ERR_IMPORT_SOURCE_MISMATCH"
    hint = "Import into another source name; a source keeps its database for good."


class BadSourceName(InvalidInput):
    """A source name that would not pass through selectors, logs and file names as it is."""

    code = "ERR_IMPORT_SOURCE_NAME"
    hint = "Use 1 to 63 of letters, digits, dot, hyphen and underscore, beginning with a letter or digit."


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import and how.

    Attributes:
        database: by name; told from the documents when None.
        prune: the input is the complete listing of the source, so known documents that it lacks have vanished.
    """

    source: str
    feed: str | None = None
    database: str | None = None
    prune: bool = False


def import_documents(
    request: ImportRequest,
    inputs: Inputs,
    *,
    sources: Sources,
    store: ImportStore,
    now: Callable[[], datetime],
    progress: Callable[[int], None] = lambda read: None,
    retry: bool = False,
) -> ImportReport:
    """Bring documents into the store. Running it again with the same input changes nothing.

    An import that was interrupted goes on where it was; a record that cannot be read goes to quarantine.

    Args:
        progress: told how many files were read so far.
        retry: another attempt at the quarantine: it says nothing about the upstream, and may find nothing.

    Raises:
        BadSourceName: see there.
        UnknownForm: no document at all.
        UnknownDatabase, SourceMismatch: see there.
    """
    if not _NAME.fullmatch(request.source):
        raise BadSourceName(f"{request.source[:80]!r} cannot be a source's name")
    with sources.lock(request.source):
        known = sources.find(request.source)
        feed = _feed(request, known, inputs)
        source, database = _source(request, feed, inputs, known, retry=retry)
        reports = []
        for part in (Edition(inputs),) if retry else editions(feed, inputs):
            job = store.begin(source, part.fingerprint(), now(), retry=retry)
            reader = _Reader(feed, database, source, now())
            for batch in reader.batches(part.members(skip=job.position), job.position):
                store.stage(job, batch)
                progress(batch.position)
            prune = ("",) if request.prune else part.scopes
            reports.append(store.apply(job, prune=prune, now=now()))
        return total(reports)


def _feed(request: ImportRequest, known: Source | None, inputs: Inputs) -> Feed:
    name = request.feed or (known.feed if known else None)
    if name is None:
        return _told_feed(request, inputs)
    if name not in FEEDS:
        raise InvalidInput(f"feed {name!r} is none of {', '.join(sorted(FEEDS))}")
    return FEEDS[name]


def _told_feed(request: ImportRequest, inputs: Inputs) -> Feed:
    """The form of most of the files that are of any known form; of several with as many, the first in the registry."""
    votes: Counter[str] = Counter()
    for member in _spread(inputs):
        feed = registry.tell(member.path, member.content)
        if feed is not None:
            votes[feed.name] += 1
    order = list(FEEDS)
    if not votes:
        raise UnknownForm(f"no document of a known form in the input of source {request.source!r}")
    return FEEDS[min(votes, key=lambda name: (-votes[name], order.index(name)))]


def _source(
    request: ImportRequest, feed: Feed, inputs: Inputs, known: Source | None, *, retry: bool
) -> tuple[Source, Database]:
    if request.database is not None and databases.get(request.database) is None:
        names = ", ".join(database.name for database in databases.DATABASES)
        raise UnknownDatabase(f"database {request.database!r} is none of {names}")
    if known is None:
        sample = _sample(feed, inputs)
        if not sample:
            raise UnknownForm(f"no {feed.name.upper()} document in the input of source {request.source!r}")
        told = databases.get(request.database or "") or databases.tell(sample, feed.name)
        return Source(request.source, feed.name, told.name, told.licence), told
    if (request.database or known.database) != known.database or feed.name != known.feed:
        raise SourceMismatch(
            f"source {known.name!r} holds {known.feed} documents of database {known.database!r},"
            f" not {feed.name} of {request.database!r}"
        )
    if not retry and not _holds_records(feed, inputs):
        raise UnknownForm(f"no {feed.name.upper()} document in the input of source {request.source!r}")
    database = databases.get(known.database)
    if database is None:
        raise SourceMismatch(
            f"source {known.name!r} belongs to database {known.database!r}, which is not known here"
        )
    return known, database


def _sample(feed: Feed, inputs: Inputs) -> list[tuple[str, list[str]]]:
    """Ids and ecosystems of some documents: of the files whose paths have the smallest digests.

    The choice does not depend on the order of the files, and all of them have the same chance.
    """
    chosen: list[tuple[int, str, list[tuple[str, list[str]]]]] = []
    for member in inputs.members():
        if member.problem or not feed.may_hold_documents(member.path):
            continue
        place = _place(member.path)
        if len(chosen) >= _SAMPLE and place <= chosen[0][0]:
            continue
        told = [
            (advisory.id, fields.ecosystems(advisory))
            for advisory in islice(_advisories(feed, member), _SAMPLE)
            if advisory is not None
        ]
        if told:
            add = heapq.heappush if len(chosen) < _SAMPLE else heapq.heappushpop
            add(chosen, (place, member.path, told))
    return [pair for _, _, told in chosen for pair in told]


def _spread(inputs: Inputs) -> Iterator[Member]:
    """Some files, spread over all of the input: few documents are enough to tell their form."""
    chosen: list[tuple[int, str, Member]] = []
    for member in inputs.members():
        if member.problem or not member.content:
            continue
        place = _place(member.path)
        if len(chosen) < _SAMPLE:
            heapq.heappush(chosen, (place, member.path, member))
        elif place > chosen[0][0]:
            heapq.heapreplace(chosen, (place, member.path, member))
    return (member for _, _, member in chosen)


def _place(path: str) -> int:
    return -int.from_bytes(hashlib.sha256(path.encode("utf-8", "replace")).digest()[:8], "big")


def _holds_records(feed: Feed, inputs: Inputs) -> bool:
    """Whether there is anything to import or to quarantine: broken documents of a known source are not nothing."""
    return any(True for _ in _attempts(feed, inputs))


def _attempts(feed: Feed, inputs: Inputs) -> Iterator[Advisory | None]:
    """The advisories of some inputs; None for each that is broken, nothing for what is no advisory."""
    for member in inputs.members():
        if not member.problem and feed.may_hold_documents(member.path):
            yield from _advisories(feed, member)


def _advisories(feed: Feed, member: Member) -> Iterator[Advisory | None]:
    try:
        pieces = iter(_pieces(feed, member))
    except Malformed:
        yield None
        return
    for piece in pieces:
        try:
            advisory = feed.read(feed.canonical(member.path, piece.raw).parsed, piece.context)
        except Malformed:
            yield None
        else:
            if advisory is not None:
                yield advisory


def _pieces(feed: Feed, member: Member) -> Iterable[Slice]:
    """The records of a file; a record that was cut out before is whole."""
    if member.context is not None:
        return (Slice(0, member.content, member.context),)
    return feed.records(member.path, member.content)


class _Reader:
    """Turns members into batches of records."""

    def __init__(self, feed: Feed, database: Database, source: Source, fetched_at: datetime) -> None:
        self._feed = feed
        self._database = database
        self._source = source
        self._fetched_at = fetched_at
        self._fetched_us = microseconds(fetched_at)
        self._archive: Container | None = None

    def batches(self, members: Iterator[Member], position: int) -> Iterator[Batch]:
        batch = Batch(position)
        for member in members:
            self._member(member, batch)
            batch.position += 1
            if len(batch.records) + len(batch.rejected) >= _BATCH_RECORDS or batch.size >= _BATCH_BYTES:
                yield batch
                batch = Batch(batch.position)
        yield batch

    def _member(self, member: Member, batch: Batch) -> None:
        if member.problem:
            container = self._container(member)
            hint = self._key_hint(member.path, b"")
            batch.rejected.append(Rejected(member.path, container, 0, b"", *_split(member.problem), hint))
            return
        if not self._feed.may_hold_documents(member.path):
            batch.ignored += 1
            return
        container = self._container(member)
        batch.size += len(member.content)
        try:
            for piece in _pieces(self._feed, member):
                self._piece(member, container, piece, batch)
        except Malformed as error:
            hint = self._key_hint(member.path, member.content)
            whole = member.offset, member.content
            batch.rejected.append(Rejected(member.path, container, *whole, error.reason, error.detail, hint))

    def _piece(self, member: Member, container: Container, piece: Slice, batch: Batch) -> None:
        try:
            canonical = self._feed.canonical(member.path, piece.raw)
            advisory = self._feed.read(canonical.parsed, piece.context)
            if advisory is None:
                batch.ignored += 1
                return
            aoc.check_slice(member.path, member.content, piece.offset, piece.raw)
            record = self._record(member, container, piece, canonical, advisory)
            aoc.check(record, self._source, canonical.parsed)
        except Malformed as error:
            reason, detail = error.reason, error.detail
        except aoc.AocViolation as error:
            reason, detail = error.code, error.what
        else:
            batch.records.append(record)
            return
        offset = member.offset + piece.offset
        hint = self._key_hint(member.path, piece.raw)
        batch.rejected.append(
            Rejected(member.path, container, offset, piece.raw, reason, detail, hint, piece.context)
        )

    def _key_hint(self, path: str, raw: bytes) -> str:
        """The key that a broken record seems to have: by what looks like its id, else by the file's name."""
        found = _ID.search(raw[:_HINT_BYTES])
        stem = path.rpartition("/")[2].rpartition(".")[0]
        identifier = found[1].decode("utf-8", "replace") if found else stem
        return databases.key(self._database.key_rule, identifier, path)

    def _record(
        self, member: Member, container: Container, piece: Slice, canonical: Canonical, advisory: Advisory
    ) -> Record:
        whole = len(piece.raw) == len(member.content) and member.container_digest is None
        raw_digest = container.digest if whole else digests.sha256(piece.raw)
        digest = digests.sha256(canonical.body)
        key = databases.key(self._database.key_rule, advisory.id, member.path)
        assessment = fields.assess(advisory)
        stated = fields.stated_instant(advisory, self._fetched_at)
        return Record(
            key=key,
            path=member.path,
            container=container,
            offset=member.offset + piece.offset,
            raw=piece.raw,
            raw_digest=raw_digest,
            body=canonical.body,
            verbatim=canonical.verbatim,
            digest=digest,
            stated_at=None if stated is None else microseconds(stated),
            withdrawn=bool(advisory.withdrawn),
            severity=int(assessment.highest),
            tlp="CLEAR",
            index_row=index_row(advisory, DocumentId(self._source.name, key, digest), assessment.highest),
            projection=project(advisory, self._database, assessment),
            context=piece.context,
        )

    def _container(self, member: Member) -> Container:
        if member.container_digest is None:
            digest = digests.sha256(member.content)
            return Container(member.container_url, digest, member.container_size, self._fetched_us)
        known = self._archive
        if known is None or (known.url, known.digest) != (member.container_url, member.container_digest):
            digest = Digest(member.container_digest)
            known = Container(member.container_url, digest, member.container_size, self._fetched_us)
            self._archive = known
        return known


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, the store's form of an instant."""
    delta = instant - timestamps.EPOCH
    return (delta.days * 86_400 + delta.seconds) * _MICROSECOND + delta.microseconds


def _split(problem: str) -> tuple[str, str]:
    reason, _, detail = problem.partition(": ")
    return reason, detail
