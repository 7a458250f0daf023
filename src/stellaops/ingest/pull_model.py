"""The values of pulls: definitions of sources, what is known of their files, and what a pull did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import Struct

from stellaops.ingest.model import ImportReport


class Authentication(Struct, frozen=True):
    """How a source is authenticated to: `basic`, `bearer`, `header` or `s3`, with the file that holds the secret."""

    kind: str
    file: str


class Definition(Struct, frozen=True):
    """A source as it is pulled.

    Attributes:
        name: of the source; the same as in imports.
        layout: how its files are found (`ingest.layouts.registry.LAYOUTS`).
        url: where the layout begins.
        feed: form of the documents; told from them when empty.
        database: the database that they belong to; told from them when empty.
        attribution: the words that the licence asks for.
        every: how often it is worth pulling: `6h`, `30m`, `1d`, or a cron line of five fields; empty for by hand.
        options: of the layout.
        hosts: further hosts that it may be fetched from; the URL's own host always may.
        prune: a full pull is the complete listing of the source: what it lacks has vanished.
        full_every: how often everything is fetched again instead of what changed; a duration.
        tried: whether the definition was ever used against the live source.
        built_in: whether it is one of the product's own table.
        note: what an operator should know.
        openpgp_keys: files with keys of the publisher: every document must have a signature by one of them.
    """

    name: str
    layout: str
    url: str
    feed: str = ""
    database: str = ""
    licence: str = "NOASSERTION"
    attribution: str = ""
    every: str = ""
    options: dict[str, Any] = {}
    hosts: tuple[str, ...] = ()
    prune: bool = False
    full_every: str = "7d"
    authentication: Authentication | None = None
    enabled: bool = False
    tried: bool = False
    built_in: bool = False
    note: str = ""
    openpgp_keys: tuple[str, ...] = ()


class Known(Struct, frozen=True):
    """What is known of one upstream file since it was last fetched (or, in an archive of all, listed).

    Attributes:
        mark: the version that the listing stated: an instant, an ETag, a size, whatever it has.
        etag, last_modified: validators for a conditional request, as they came.
        digest: of the content; empty where it came in an archive.
    """

    mark: str = ""
    etag: str = ""
    last_modified: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PullState:
    """What a source's pulls left behind; it survives the process.

    Attributes:
        cursor: the newest instant that was seen in a listing and could be true; empty before the first.
        failures: failed pulls in a row.
        next_attempt_at: not to be pulled before this.
        listed: files in the listing at the last full pull.
        error_code, error: of the last pull, when it failed.
    """

    cursor: str = ""
    failures: int = 0
    started_at: datetime | None = None
    succeeded_at: datetime | None = None
    full_at: datetime | None = None
    next_attempt_at: datetime | None = None
    listed: int = 0
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be had, after all attempts."""

    url: str
    code: str
    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a pull did.

    Attributes:
        state: `ok`, `partial` (some files failed; the rest is imported), `failed`, or `waiting` (backing off).
        report: of the import; None where nothing was fetched.
        fetched, not_modified, missing: files.
        attempts: requests that were made, with repetitions.
        sequence: the newest change number of the store after the pull.
    """

    source: str
    feed: str
    database: str
    state: str
    full: bool = False
    report: ImportReport | None = None
    fetched: int = 0
    not_modified: int = 0
    missing: int = 0
    bytes: int = 0
    attempts: int = 0
    failed: tuple[FailedFile, ...] = ()
    next_attempt_at: datetime | None = None
    error: Exception | None = None
    error_code: str = ""
    error_text: str = ""
    sequence: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a successful pull leaves for the next.

    Attributes:
        files: what is known by path; only what changed, or everything where `replace`.
    """

    cursor: str
    full: bool
    listed: int
    files: Mapping[str, Known] = field(default_factory=dict)
    replace: bool = False
