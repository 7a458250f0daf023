"""What exports read of the evidence store: always in key order, in short transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import Source
from stellaops.bundles.trivy.java_db import JavaRow
from stellaops.bundles.trivy.marks import Scores
from stellaops.bundles.trivy.vulnerability_db import AdvisoryEntry, DataSource, DetailEntry
from stellaops.core.digests import Digest
from stellaops.exports.profile import Kind
from stellaops.exports.selectors import Selectors


@dataclass(frozen=True, slots=True)
class Selection:
    """Which revisions: the state at a sequence, narrowed by selectors, visible to a tenant.

    Attributes:
        records: which kinds of them; everything that is shared where empty.
    """

    tenant: str
    sequence: int
    selectors: Selectors
    records: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a selection holds, told before anything is built.

    Attributes:
        counts: records by source.
    """

    digest: Digest
    records: int
    sources: tuple[Source, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


class Evidence(Protocol):
    """The evidence store as exports read it: always in key order, in short transactions."""

    def sequence(self) -> int:
        """The newest sequence."""
        ...

    def floor(self) -> int:
        """The oldest sequence whose state is whole: what ended there or before may have been removed."""
        ...

    def sources(self) -> Sequence[str]:
        """The names of all sources, sorted."""
        ...

    def unfinished(self) -> Sequence[str]:
        """Sources with an import that has begun to show and is not complete, or a first one that never ended."""
        ...

    def checked(self) -> Mapping[str, datetime | None]:
        """When each source was last compared with its upstream, or imported; None for never."""
        ...

    def snapshot(self, selection: Selection, keep: Callable[[bytes], None] | None = None) -> Snapshot:
        """Digest, number and sources of what is selected.

        Args:
            keep: is given what the digest is taken over (`bundles.digest_list`).
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredBill:
    """A bill of materials with its index row in canonical JSON.

    Attributes:
        verbatim: whether the body is of a form that is not JSON.
    """

    owner: str
    source: str
    key: str
    verbatim: bool
    body: bytes
    index_row: bytes


class RowSource(Protocol):
    """The rows that bundles are made of."""

    def raw_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/raw/…`."""
        ...

    def index_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `indexes/…`; not of bills of materials, which come with their documents."""
        ...

    def sboms(self, selection: Selection) -> Iterator[StoredBill]:
        """The tenant's bills of materials; selectors of advisories do not narrow them."""
        ...

    def upstream_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/upstream/…`."""
        ...

    def normalized_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/normalized/…`."""
        ...

    def sources(self) -> Sequence[str]:
        """The names of all sources, sorted."""
        ...


class TrivyRows(Protocol):
    """The rows that Trivy databases are made of."""

    def advisories(self, selection: Selection) -> Iterator[AdvisoryEntry]:
        """By bucket, package and vulnerability."""
        ...

    def details(self, selection: Selection) -> Iterator[DetailEntry]:
        """By vulnerability, then in merge order."""
        ...

    def scores(self, selection: Selection) -> Scores:
        """How likely vulnerabilities are exploited, by the newest day of the selection."""
        ...

    def data_sources(self, selection: Selection) -> dict[str, DataSource]:
        """For each bucket of the selection."""
        ...

    def problems(self, selection: Selection) -> Iterator[str]:
        """Constraints that were left out, a sentence each."""
        ...


class JavaRows(Protocol):
    """The rows that Java databases are made of."""

    def artefacts(self, selection: Selection) -> Iterator[JavaRow]:
        """In ascending order, each once."""
        ...


class Projections(Protocol):
    """The derived rows of the store."""

    def complete(self) -> None:
        """Bring them to this release's version, however long it takes; goes on where it was."""
        ...
