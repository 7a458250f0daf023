"""What the operations that take files to import have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from stellaops.adapters.files import uploads
from stellaops.adapters.files.inputs import ArchiveBomb, ArchiveDamaged
from stellaops.adapters.files.uploads import BadUpload, UploadInputs
from stellaops.adapters.sql.errors import StoreFull
from stellaops.adapters.sql.quarantine import QuarantineEntryNotFound
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation, Upload
from stellaops.api.paging import Page
from stellaops.center.interface import ImportWanted, PullWanted
from stellaops.center.local_ingest import PRODUCTS, LocalIngest
from stellaops.core.errors import InvalidInput, NotFound, StellaError
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import (
    BadSourceName,
    SourceMismatch,
    UnknownDatabase,
    UnknownForm,
    is_source_name,
)
from stellaops.ingest.manage_sources import DefinitionNotFound
from stellaops.ingest.retry_quarantine import SourceNotFound
from stellaops.kit.disk import NoRoom

MEDIA = (uploads.FILE, uploads.TAR)
IMPORT_ERRORS: tuple[type[StellaError], ...] = (
    BadUpload, ArchiveDamaged, ArchiveBomb, UnknownForm, UnknownDatabase, SourceMismatch, BadSourceName, NoRoom,
    StoreFull,
)  # fmt: skip

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000, pattern="^[^\\x00]+$")]
"""A text that every store can be asked about."""
FileName = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[^/\\x00]+$")]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class FileQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of the one file that is sent; left out for a tar of 0/…, 1/… and so on."""

    name: FileName | None = None
    prune: bool = False


class ImportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an import is meant; `name` as of `FileQuery`."""

    source: Text
    name: FileName | None = None
    feed: Text | None = None
    database: Text | None = None
    prune: bool = False


class PullBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sources to pull: named ones, all enabled ones, or those that are due."""

    sources: list[Text] = []
    all: bool = False
    due: bool = False
    full: bool = False
    now: bool = False
    parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None


class SourceQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one source only."""

    source: Text | None = None


class RetryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose quarantine is tried again."""

    source: Text


class DocumentsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An id, an alias or a key."""

    id: Text


class ImportReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What an import did. `read` = added + changed + unchanged + quarantined + equalKeys."""

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
    statements: int | None = None
    outdated: int | None = None
    checks: dict[str, int] | None = None


class Status(msgspec.Struct, frozen=True):
    """The sequence, and every source as `stella … status` shows it."""

    sequence: int
    sources: list[dict[str, Any]]


@contextmanager
def uploaded(call: Call, purpose: str) -> Iterator[UploadInputs]:
    """What came with a request, ready to be imported.

    Args:
        purpose: what is done with it, so that the same files for something else lie elsewhere.
    """
    upload = call.body
    assert isinstance(upload, Upload)  # noqa: S101 - the operation says so
    name = call.query.name
    if (name is None) != (upload.media == uploads.TAR):
        raise BadUpload(f"{upload.media} with{'out' if name is None else ''} a name")
    key = hashlib.sha256(f"{purpose}\t{name}\t{upload.sha256}".encode()).hexdigest()
    with uploads.opened(call.local.data_dir / "uploads", upload.path, key, name) as inputs:
        yield inputs


Make = Callable[[Call], LocalIngest]


def operations(side: Side, make: Make, ingest: str, read: str) -> tuple[Operation, ...]:
    """The operations that both sides of the evidence have.

    Args:
        make: what answers a call.
        ingest, read: scopes.
    """
    product = PRODUCTS[side]
    name = product.capitalize()
    handlers = _Handlers(make, product)
    reads: dict[str, Any] = {"scope": read, "tag": product}
    writes: dict[str, Any] = {"scope": ingest, "tag": product, "mutating": True}
    base = f"/api/{product}"
    return (
        Operation(
            f"import{name}", "POST", f"{base}/import", "Import a file, an archive, or a tar of paths",
            handlers.import_, query=ImportQuery, upload=MEDIA, answers={200: Answer("what it did", ImportReport)},
            errors=IMPORT_ERRORS, action=f"{product}.imported", **writes,
        ),
        Operation(
            f"pull{name}", "POST", f"{base}/pull", "Pull sources; a failed one is told in its report",
            handlers.pull, body=PullBody, answers={200: Answer("how each went", Page[dict[str, Any]])},
            errors=(InvalidInput, DefinitionNotFound), action=f"{product}.pulled", **writes,
        ),
        Operation(
            f"get{name}Status", "GET", f"{base}/status", "Every source: how many documents, how fresh",
            handlers.status, answers={200: Answer("the sources", Status)}, **reads,
        ),
        Operation(
            f"list{name}Documents", "GET", f"{base}/documents", "Documents by id, alias or key",
            handlers.documents, query=DocumentsQuery, answers={200: Answer("the documents", Page[dict[str, Any]])},
            errors=(NotFound,), **reads,
        ),
        Operation(
            f"download{name}Documents", "GET", f"{base}/documents/raw", "The upstream's own bytes of them",
            handlers.raw_documents, query=DocumentsQuery,
            answers={200: Answer("one after the other", media=uploads.FILE)}, errors=(NotFound,), **reads,
        ),
        Operation(
            f"list{name}Quarantine", "GET", f"{base}/quarantine", "Records that could not be read",
            handlers.quarantined, query=SourceQuery,
            answers={200: Answer("the entries", Page[dict[str, Any]])}, **reads,
        ),
        Operation(
            f"get{name}QuarantineEntry", "GET", f"{base}/quarantine/{{entry}}", "One of them",
            handlers.entry, answers={200: Answer("the entry", dict[str, Any])},
            errors=(QuarantineEntryNotFound,), **reads,
        ),
        Operation(
            f"download{name}QuarantineEntry", "GET", f"{base}/quarantine/{{entry}}/raw", "Its bytes",
            handlers.entry_bytes, answers={200: Answer("the bytes", media=uploads.FILE)},
            errors=(QuarantineEntryNotFound,), **reads,
        ),
        Operation(
            f"retry{name}Quarantine", "POST", f"{base}/quarantine/retry", "Read a source's quarantine again",
            handlers.retry, body=RetryBody, answers={200: Answer("what it did", ImportReport)},
            errors=(SourceNotFound, *IMPORT_ERRORS), action=f"{product}.quarantine.retried", **writes,
        ),
    )  # fmt: skip


class _Handlers:
    def __init__(self, make: Make, product: str) -> None:
        self._make = make
        self._product = product

    def import_(self, call: Call) -> Response:
        query: ImportQuery = call.query
        if not is_source_name(query.source):
            raise BadSourceName(f"{query.source[:80]!r} cannot be a source's name")
        call.change.target = f"source/{query.source}"
        center = self._make(call)
        with uploaded(call, f"{self._product}\t{query.source}") as inputs:
            wanted = ImportWanted(query.source, query.feed, query.database, query.prune, inputs.openpgp_keys)
            report = center.import_inputs(wanted, inputs)
        center.refresh()
        return answer(report)

    def pull(self, call: Call) -> Response:
        body: PullBody = call.body
        wanted = PullWanted(tuple(body.sources), body.all, body.due, body.full, body.now, body.parallel)
        center = self._make(call)
        try:
            reports = center.pull(wanted)
        finally:
            center.refresh()
        return answer(Page(reports))

    def status(self, call: Call) -> Response:
        return answer(self._make(call).status())

    def documents(self, call: Call) -> Response:
        return answer(Page(self._make(call).documents(call.query.id)))

    def raw_documents(self, call: Call) -> Response:
        return Response(self._make(call).raw_documents(call.query.id), media_type=uploads.FILE)

    def quarantined(self, call: Call) -> Response:
        return answer(Page(self._make(call).quarantined(call.query.source)))

    def entry(self, call: Call) -> Response:
        return answer(self._make(call).quarantined_entry(_entry(call)))

    def entry_bytes(self, call: Call) -> Response:
        return Response(self._make(call).quarantined_bytes(_entry(call)), media_type=uploads.FILE)

    def retry(self, call: Call) -> Response:
        center = self._make(call)
        report = center.retry(call.body.source)
        center.refresh()
        return answer(report)


def _entry(call: Call) -> int:
    text = call.path["entry"]
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 18):
        raise QuarantineEntryNotFound(f"there is no open quarantine entry {text[:80]!r}")
    return int(text)
