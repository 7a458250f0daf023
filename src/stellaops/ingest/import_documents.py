"""Import documents from files: read, canonicalise, project, stage, apply."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Assessment
from stellaops.advisories.canonical import Canonical, Malformed, check_size
from stellaops.advisories.databases import Database
from stellaops.advisories.documents.interface import Slice
from stellaops.core import digests, timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.ingest import aoc, companions, recognise
from stellaops.ingest.editions import Edition, editions, total
from stellaops.ingest.feeds import FEEDS, OWNED, AnyFeed, Document, Side, side_of
from stellaops.ingest.model import Batch, Checks, Container, ImportReport, Record, Rejected, Source, owner_of
from stellaops.ingest.ports import ImportStore, Inputs, Member, OpenPgp, Sources
from stellaops.vex.documents import layout

_BATCH_RECORDS = 4000
_BATCH_BYTES = 16 << 20
_MICROSECOND = 1_000_000
_HINT_BYTES = 64 << 10
_LONGEST_KEY = 2000  # bytes; no index of a store holds much more
_ID = re.compile(rb"""(?:^|[{,\s])["']?id["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9:._-]{2,100})""")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class UnknownForm(InvalidInput):
    """Nothing in the input is a document of a known feed."""

    code = "ERR_IMPORT_UNKNOWN_FORM"
    hint = "Point at documents in a known form, or name it with --feed: `stella concelier import --help` has the list."


_COMMANDS = {
    Side.ADVISORIES: "stella concelier import",
    Side.VEX: "stella excititor import",
    Side.SBOMS: "stella evidence sbom import",
    Side.POLICY: "stella policy apply",
}
"""What takes the documents of each side."""


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
        openpgp_keys: keys of the publisher: every document must have a signature by one of them.
        side: what the documents are taken as, where no feed says it.
        announced: keys by which signatures are checked where there are any.
        taken_back: places of documents that the upstream has deleted, beside those that the input itself names.
        prune: the input is the complete listing of the source, so known documents that it lacks have vanished.
    """

    source: str
    feed: str | None = None
    database: str | None = None
    prune: bool = False
    openpgp_keys: tuple[bytes, ...] = ()
    side: Side = Side.ADVISORIES
    announced: companions.Announced = companions.NOTHING
    taken_back: frozenset[str] = frozenset()


def import_documents(
    request: ImportRequest,
    inputs: Inputs,
    *,
    sources: Sources,
    store: ImportStore,
    now: Callable[[], datetime],
    progress: Callable[[int], None] = lambda read: None,
    retry: bool = False,
    openpgp: OpenPgp | None = None,
) -> ImportReport:
    """Bring documents into the store. Running it again with the same input changes nothing.

    An import that was interrupted goes on where it was; a record that cannot be read goes to quarantine.

    Args:
        progress: told how many files were read so far.
        retry: another attempt at the quarantine: it says nothing about the upstream, and may find nothing.
        openpgp: what signatures beside documents are checked with; None leaves them unverified.

    Raises:
        BadSourceName: see there.
        UnknownForm: no document at all.
        UnknownDatabase, SourceMismatch: see there.
    """
    owned = request.side in OWNED and owner_of(request.source)
    if not owned and not is_source_name(request.source):
        raise BadSourceName(f"{request.source[:80]!r} cannot be a source's name")
    with sources.lock(request.source), _without_cycle_search() as look:
        known = sources.find(request.source)
        feed, source, database = _source(request, known, inputs, retry=retry)
        checked = None if retry else _checked(request, feed, inputs, openpgp)
        inputs = checked or inputs
        reports = []
        parts = (Edition(inputs),) if retry else editions(feed, inputs, sources.listings(request.source))
        for part in parts:
            job = store.begin(source, part.fingerprint(), now(), retry=retry)
            reader = _Reader(feed, database, source, now())
            reader.expects_whole = job.position == 0 and not retry
            for batch in reader.batches(part.members(skip=job.position), job.position):
                store.stage(job, batch)
                progress(batch.position)
                batch.let_go()
                look()
            prune = ("",) if request.prune and not part.outdated else part.scopes
            taken_back = request.taken_back | (checked.taken_back if checked else frozenset())
            report = store.apply(job, prune=prune, now=now(), taken_back=taken_back)
            reports.append(replace(report, outdated=part.outdated))
            if part.dates:
                sources.note_listings(source.name, part.dates)
        return replace(total(reports), checks=checked.checks if checked else reader.absent())


def is_source_name(name: str) -> bool:
    """Whether a text can name a source."""
    return _NAME.fullmatch(name) is not None


@contextmanager
def _without_cycle_search() -> Iterator[Callable[[], object]]:
    """Records make no cycles, and searching for some among thousands of them takes a third of the time.

    Yields what searches among the youngest objects, to be called now and then.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield lambda: gc.collect(0)
    finally:
        if enabled:
            gc.enable()


def _source(
    request: ImportRequest, known: Source | None, inputs: Inputs, *, retry: bool
) -> tuple[AnyFeed, Source, Database]:
    if request.feed is not None and request.feed not in FEEDS:
        raise InvalidInput(f"feed {request.feed!r} is none of {', '.join(sorted(FEEDS))}")
    if request.database is not None and databases.get(request.database) is None:
        names = ", ".join(database.name for database in databases.DATABASES)
        raise UnknownDatabase(f"database {request.database!r} is none of {names}")
    return (
        _new_source(request, inputs) if known is None else _known_source(request, known, inputs, retry=retry)
    )


def _new_source(request: ImportRequest, inputs: Inputs) -> tuple[AnyFeed, Source, Database]:
    members = recognise.spread(inputs)
    feed = FEEDS[request.feed] if request.feed else recognise.tell_feed(request.side, members)
    if feed is None:
        what = f"no document of a known form in the input of source {request.source!r}"
        raise _unknown(what, request.side, inputs)
    # What decides about a database of advisories needs many of them; of VEX one shows that there is something.
    many = [] if side_of(feed.name) is Side.VEX else recognise.sample(feed, members)
    sample = many or recognise.first_documents(feed, inputs)
    if not sample:
        raise _nothing(feed, request, inputs)
    database = databases.get(request.database or "") or recognise.tell_database(feed, sample)
    return feed, Source(request.source, feed.name, database.name, database.licence), database


def _known_source(
    request: ImportRequest, known: Source, inputs: Inputs, *, retry: bool
) -> tuple[AnyFeed, Source, Database]:
    if not request.feed and side_of(known.feed) is not request.side:
        raise SourceMismatch(f"source {known.name!r} holds {side_of(known.feed)}, not {request.side}")
    if (request.database or known.database, request.feed or known.feed) != (known.database, known.feed):
        raise SourceMismatch(
            f"source {known.name!r} holds {known.feed} documents of database {known.database!r},"
            f" not {request.feed or known.feed} of {request.database or known.database!r}"
        )
    database, feed = databases.get(known.database), FEEDS.get(known.feed)
    if database is None or feed is None:
        raise SourceMismatch(
            f"source {known.name!r} holds {known.feed} documents of database {known.database!r},"
            " which is not known here"
        )
    if not (retry or request.taken_back or recognise.holds_records(feed, inputs)) and (
        not companions.tells_of_deletions(feed, inputs)
    ):
        raise _nothing(feed, request, inputs)
    return feed, known, database


def _checked(
    request: ImportRequest, feed: AnyFeed, inputs: Inputs, openpgp: OpenPgp | None
) -> companions.CheckedInputs | None:
    return companions.checked(feed, inputs, request.openpgp_keys, openpgp, request.announced)


def _nothing(feed: AnyFeed, request: ImportRequest, inputs: Inputs) -> UnknownForm:
    what = f"no {feed.name.upper()} document in the input of source {request.source!r}"
    return _unknown(what, side_of(feed.name), inputs)


def _unknown(what: str, side: Side, inputs: Inputs) -> UnknownForm:
    """The error, with the command that takes such documents where another side knows them, and what is unreadable."""
    other = recognise.tell_elsewhere(side, recognise.spread(inputs))
    if other is not None:
        return UnknownForm(
            f"{what}; there are {other}", hint=f"Use `{_COMMANDS[other]}`, which takes {other}."
        )
    broken = next((member for member in inputs.members() if member.problem), None)
    if broken is not None:
        what = f"{what}; {broken.path} cannot be read: {broken.problem}"
    return UnknownForm(what, hint=UnknownForm.hint.replace(_COMMANDS[Side.ADVISORIES], _COMMANDS[side]))


class _Reader:
    """Turns members into batches of records."""

    def __init__(self, feed: AnyFeed, database: Database, source: Source, fetched_at: datetime) -> None:
        self._feed = feed
        self._database = database
        self._source = source
        self._fetched_at = fetched_at
        self._fetched_us = microseconds(fetched_at)
        self._archive: Container | None = None
        self.expects_whole = False
        # Only VEX repositories have them: paths of a million other documents must not be kept.
        self._has_indexes = side_of(feed.name) is Side.VEX
        self._listed: set[str] = set()
        self._paths: set[str] = set()

    def absent(self) -> Checks | None:
        """How many documents the index of a VEX repository names that are not there; None where there is no index."""
        if not self._listed or not self.expects_whole:
            return None
        return Checks(listed_but_absent=len(self._listed - self._paths))

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
            hint = self._key_hint(member.path, member.content)
            batch.rejected.append(Rejected(member.path, container, 0, b"", *_split(member.problem), hint))
            return
        if member.taken_back:
            batch.ignored += 1
            return
        if not self._feed.may_hold_documents(member.path):
            batch.ignored += 1
            if self._has_indexes:
                self._listed.update(layout.listed(member.path, member.content))
            return
        if self._has_indexes:
            self._paths.add(member.path)
        container = self._container(member)
        batch.size += len(member.content)
        try:
            empty = True
            for piece in recognise.pieces(self._feed, member):
                empty = False
                self._piece(member, container, piece, batch)
            batch.ignored += empty
        except Malformed as error:
            hint = self._key_hint(member.path, member.content)
            whole = member.offset, member.content
            batch.rejected.append(Rejected(member.path, container, *whole, error.reason, error.detail, hint))

    def _piece(self, member: Member, container: Container, piece: Slice, batch: Batch) -> None:
        try:
            check_size(piece.raw)
            canonical = self._feed.canonical(member.path, piece.raw)
            read = self._feed.read(canonical.parsed, piece.context)
            if read is None:
                batch.ignored += 1
                return
            aoc.check_slice(member.path, member.content, piece.offset, piece.raw)
            record = self._record(member, container, piece, canonical, read)
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
        self, member: Member, container: Container, piece: Slice, canonical: Canonical, read: Document
    ) -> Record:
        whole = len(piece.raw) == len(member.content) and member.container_digest is None
        raw_digest = container.digest if whole else digests.sha256(piece.raw)
        digest = digests.sha256(canonical.body)
        key = databases.key(self._database.key_rule, read.id, member.path)
        if len(key) > _LONGEST_KEY // 4 and len(key.encode("utf-8", "replace")) > _LONGEST_KEY:
            raise Malformed("key-too-long", f"{key[:100]!r}… has more than {_LONGEST_KEY} bytes")
        assessment = fields.assess(read) if isinstance(read, Advisory) else Assessment()
        stated = fields.stated_instant(read, self._fetched_at)
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
            withdrawn=bool(read.withdrawn),
            severity=int(assessment.highest),
            tlp=read.tlp or "CLEAR",
            read=read,
            assessment=assessment,
            context=piece.context,
            checked=member.checked,
        )

    def _container(self, member: Member) -> Container:
        fetched_at = self._fetched_us if member.fetched_at is None else member.fetched_at
        if member.container_digest is None:
            digest = digests.sha256(member.content)
            return Container(member.container_url, digest, member.container_size, fetched_at)
        known = self._archive
        if known is None or (known.url, known.digest) != (member.container_url, member.container_digest):
            digest = Digest(member.container_digest)
            known = Container(member.container_url, digest, member.container_size, fetched_at)
            self._archive = known
        return known


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, the store's form of an instant."""
    delta = instant - timestamps.EPOCH
    return (delta.days * 86_400 + delta.seconds) * _MICROSECOND + delta.microseconds


def _split(problem: str) -> tuple[str, str]:
    reason, _, detail = problem.partition(": ")
    return reason, detail
