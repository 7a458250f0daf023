"""The values that pass between the import use case and the evidence store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from stellaops.advisories.advisory import Assessment
from stellaops.core.digests import Digest
from stellaops.ingest.feeds import Document

SHARED = ""
"""Owner of evidence that belongs to all tenants."""

_OWNED_BY = "@"


@dataclass(frozen=True, slots=True)
class Source:
    """A named stream of documents of one database in one form."""

    name: str
    feed: str
    database: str
    licence: str

    @property
    def owner(self) -> str:
        """The tenant that the source belongs to."""
        return owner_of(self.name)


def owned_source(kind: str, tenant: str) -> str:
    """The name of a tenant's own source; people cannot give a source such a name."""
    return f"{kind}{_OWNED_BY}{tenant}"


def owner_of(source: str) -> str:
    """The tenant that a source belongs to, by its name; `SHARED` for a source of all tenants."""
    return source.partition(_OWNED_BY)[2]


class Container(Struct, frozen=True):
    """What was fetched, a file or an archive, and when, in microseconds since 1970."""

    url: str
    digest: Digest
    size: int
    fetched_at: int


class Record(Struct, frozen=True):
    """One document as it was found, with everything that is extracted from it when it enters.

    Attributes:
        key: identity within the source, by the database's rule.
        path: relative to the import root, with archives transparent.
        raw: the exact byte slice; `offset` is its place in the file at `path`.
        body: canonical JSON, or the raw bytes where `verbatim`.
        digest: of `body`; what identifies a revision.
        stated_at: when the document says it was last changed, in microseconds since 1970; None where not stated.
        withdrawn: whether the issuer withdrew it.
        severity: the highest that it states, 0 to 4.
        tlp: its traffic light marking; CLEAR where it states none.
        read, assessment: what it says, from which rows are derived where it turns out to be unknown.
        context: what its file says around it (`advisories.documents.interface.Slice`).
        checked: which hashes beside it hold, and what is known of its signature (JSON); empty where nothing was there.
    """

    key: str
    path: str
    container: Container
    offset: int
    raw: bytes
    raw_digest: Digest
    body: bytes
    verbatim: bool
    digest: Digest
    stated_at: int | None
    withdrawn: bool
    severity: int
    tlp: str
    read: Document
    assessment: Assessment
    context: str = ""
    checked: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be read: kept with its bytes and the reason, stops nothing."""

    path: str
    container: Container
    offset: int
    raw: bytes
    reason: str
    detail: str
    key_hint: str = ""
    context: str | None = None


@dataclass(slots=True)
class Batch:
    """What one transaction stages.

    Attributes:
        position: members of the import read so far, with this batch; where a later attempt goes on.
    """

    position: int = 0
    records: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ignored: int = 0
    size: int = 0

    def let_go(self) -> None:
        """Forget the records: what is staged need not wait in memory for the next batch."""
        self.records.clear()
        self.rejected.clear()


@dataclass(frozen=True, slots=True)
class Job:
    """An import under way; it survives the process.

    Attributes:
        position: members that earlier attempts have staged.
        retry: another attempt at the quarantine, which says nothing about the upstream.
    """

    id: int
    source: Source
    position: int
    retry: bool = False


@dataclass(slots=True)
class Checks:
    """What hashes, signatures and listings beside the documents said, of the files that this attempt read.

    Attributes:
        hashes_good, hashes_wrong: documents whose hashes hold, and those quarantined for one that does not.
        signatures_good, signatures_wrong: the same of signatures.
        signatures_unverified: signatures for which there is no key.
        unsigned: documents without a signature, where there is a key to check one by.
        listed_but_absent: documents that a listing among the inputs names and that are not there.
    """

    hashes_good: int = 0
    hashes_wrong: int = 0
    signatures_good: int = 0
    signatures_wrong: int = 0
    signatures_unverified: int = 0
    unsigned: int = 0
    listed_but_absent: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `read` = `added` + `changed` + `unchanged` + `quarantined` + `equal_keys`.

    Attributes:
        checks: None in forms whose publishers lay nothing beside their documents.
        outdated: files that were left out: complete listings of before what the source has.
        statements: how many statements the source makes with what stands; None for advisories.
    """

    source: str
    feed: str
    database: str
    read: int
    added: int
    changed: int
    unchanged: int
    withdrawn: int
    vanished: int
    quarantined: int
    equal_keys: int
    ignored: int
    sequence: int
    resumed: bool
    checks: Checks | None = None
    outdated: int = 0
    statements: int | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One line of `stella concelier status`."""

    source: str
    feed: str
    database: str
    documents: int
    withdrawn: int
    vanished: int
    quarantined: int
    licence: str
    updated_at: datetime | None
    checked_at: datetime | None
    complete: bool
    statements: int = 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A quarantined record, as listed."""

    id: int
    source: str
    path: str
    reason: str
    detail: str
    raw_digest: str
    size: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A revision with its provenance, as `stella concelier show` prints it."""

    source: str
    key: str
    digest: str
    raw_digest: str
    verbatim: bool
    body: bytes
    path: str
    offset: int
    length: int
    container_url: str
    container_digest: str
    fetched_at: datetime
    licence: str
    withdrawn: bool
    sequence_from: int
    sequence_to: int | None
    index_row: bytes
    checked: str = ""
