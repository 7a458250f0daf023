"""Evidence stores under test, and small inputs to fill them with.

Every adapter of the store ports is one entry of `STORES`; the tests beside this file run against each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.address import Address, SqliteFile, parse_address
from stellaops.adapters.sql.engine import open_engine
from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.adapters.sql.imports import SqlImports
from stellaops.adapters.sql.quarantine import SqlQuarantine
from stellaops.adapters.sql.records import SqlRecords
from stellaops.adapters.sql.sources import SqlSources
from stellaops.core.digests import sha256
from stellaops.exports.ports import Evidence, RowSource, Selection, TrivyRows
from stellaops.exports.selectors import Selectors
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport, SourceStatus, StoredRecord
from stellaops.ingest.ports import ImportStore, Inputs, Member, QuarantineStore, RecordReader, Sources
from stellaops.ingest.retry_quarantine import retry_quarantine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Records(RecordReader, Protocol):
    """Look-ups with the raw bytes."""

    def raw(self, source: str, key: str) -> bytes | None: ...


class EvidenceAndRows(Evidence, RowSource, TrivyRows, Protocol):
    """The store as exports read it."""


@dataclass
class Store:
    """One evidence store with all its ports."""

    sources: Sources
    imports: ImportStore
    quarantine: QuarantineStore
    records: Records
    evidence: EvidenceAndRows
    engine: Engine

    def take(self, inputs: Inputs | Mapping[str, object], source: str = "demo", **more: Any) -> ImportReport:
        """Import inputs, or files given by path, as `stella concelier import` does."""
        now: datetime = more.pop("now", NOON)
        given = Files(inputs) if isinstance(inputs, Mapping) else inputs
        return import_documents(
            ImportRequest(source, **more), given, sources=self.sources, store=self.imports, now=lambda: now
        )

    def retry(self, source: str = "demo", now: datetime = NOON) -> ImportReport:
        return retry_quarantine(
            source, quarantine=self.quarantine, sources=self.sources, store=self.imports, now=lambda: now
        )

    def selection(self, sequence: int | None = None) -> Selection:
        return Selection("default", self.sequence if sequence is None else sequence, Selectors())

    @property
    def sequence(self) -> int:
        return self.evidence.sequence()

    def digest(self, sequence: int | None = None) -> str:
        """The digest of the state, as it stands in `export.json`."""
        return self.evidence.snapshot(self.selection(sequence)).digest

    def lines(self, sequence: int | None = None) -> list[bytes]:
        """Every raw line of the state: key, digests and the document itself."""
        return [line.text for line in self.evidence.raw_lines(self.selection(sequence))]

    def keys(self, source: str = "demo") -> list[str]:
        return [line.key for line in self.evidence.raw_lines(self.selection()) if line.source == source]

    def one(self, identifier: str) -> StoredRecord:
        (found,) = self.records.find(identifier, "default")
        return found

    def status(self, source: str = "demo") -> SourceStatus:
        return next(line for line in self.sources.status("default")[1] if line.source == source)

    def reasons(self, source: str | None = None) -> list[tuple[str, str]]:
        return [(entry.path, entry.reason) for entry in self.quarantine.list(source)]


@dataclass(frozen=True)
class Place:
    """Where two stores lie, and for SQLite the locks of imports."""

    addresses: Mapping[str, Address]
    locks: Path | None = None
    engines: list[Engine] = field(default_factory=list)

    def opened(self, store: migrations.Store = migrations.EVIDENCE) -> Engine:
        """A store as it is."""
        engine = open_engine(self.addresses[store.name], store.name)
        self.engines.append(engine)
        return engine

    def engine(self, store: migrations.Store = migrations.EVIDENCE) -> Engine:
        """A store, made when absent."""
        engine = self.opened(store)
        migrations.migrate(engine, store)
        return engine

    def close(self) -> None:
        """End all connections."""
        for engine in self.engines:
            engine.dispose()

    def evidence(self) -> Store:
        """The evidence store, opened once more."""
        engine = self.engine()
        return Store(
            sources=SqlSources(engine, self.locks),
            imports=SqlImports(engine),
            quarantine=SqlQuarantine(engine),
            records=SqlRecords(engine),
            evidence=SqlEvidence(engine),
            engine=engine,
        )


def sqlite_place(directory: Path) -> Place:
    """Two SQLite files in a directory."""
    files: dict[str, Address] = {
        name: SqliteFile(directory / f"{name}.db") for name in ("evidence", "service")
    }
    return Place(files, directory / "locks")


def sqlite_store(directory: Path) -> Store:
    return sqlite_place(directory).evidence()


def postgres_place(url: str) -> Place:
    """Two schemas of a PostgreSQL database."""
    return Place(dict.fromkeys(("evidence", "service"), parse_address(url)))


def _in_sqlite(request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Place:
    return sqlite_place(directory)


def _in_postgres(request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Place:
    server, template = request.getfixturevalue("postgres_template")
    return postgres_place(server.url(stack.enter_context(server.database(template))))


STORES: dict[str, Callable[[pytest.FixtureRequest, Path, ExitStack], Place]] = {
    "postgresql": _in_postgres,
    "sqlite": _in_sqlite,
}


class Files:
    """Inputs from memory: plain files, or members of one archive."""

    def __init__(self, files: Mapping[str, object], *, archive: bytes | None = None) -> None:
        self._files = [(path, as_bytes(content)) for path, content in files.items()]
        self._archive = archive

    def fingerprint(self) -> str:
        hasher = hashlib.sha256(repr(self._files).encode())
        return hasher.hexdigest()

    def members(self, skip: int = 0) -> Iterator[Member]:
        digest = None if self._archive is None else sha256(self._archive)
        size = 0 if self._archive is None else len(self._archive)
        for path, content in islice(self._files, skip, None):
            if self._archive is None:
                yield Member(path, content, f"file:///in/{path}", None, len(content))
            else:
                yield Member(path, content, "file:///in/all.zip", digest, size)


class Interrupted(Files):
    """Inputs that end in the middle of the import, as if the user had pressed Ctrl-C."""

    _looks = 1  # a first import looks through the inputs once, to tell their form and database

    def members(self, skip: int = 0) -> Iterator[Member]:
        self._looks -= 1
        staging = self._looks < 0
        for number, member in enumerate(super().members(skip)):
            if staging and number == 8500:
                raise KeyboardInterrupt
            yield member


def as_bytes(content: object) -> bytes:
    """Bytes as they are, text as UTF-8, anything else as JSON."""
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def osv(identifier: str = "GHSA-aaaa-bbbb-cccc", **fields: Any) -> dict[str, Any]:
    """A small OSV document; `fields` replace or add, None removes."""
    document: dict[str, Any] = {
        "schema_version": "1.6.0",
        "id": identifier,
        "modified": "2024-05-01T00:00:00Z",
        "published": "2024-04-01T00:00:00Z",
        "aliases": ["CVE-2024-10001"],
        "summary": "A small document",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "demo-package"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}],
            }
        ],
    }
    document.update(fields)
    return {name: value for name, value in document.items() if value is not None}


def folder_of(documents: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Documents as files named by their ids."""
    return {f"{document['id'].replace(':', '_')}.json": dict(document) for document in documents}
