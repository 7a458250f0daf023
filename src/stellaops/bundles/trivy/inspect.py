"""What a finished `trivy/db.bundle` must be, told from its bytes alone: members, times, buckets, rows, sentinels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from stellaops.bundles.content import members_digest
from stellaops.bundles.packed import BadPacking, untar
from stellaops.bundles.trivy import sentinel_files
from stellaops.bundles.trivy.bolt.check import check
from stellaops.bundles.trivy.bolt.pages import Data
from stellaops.bundles.trivy.bolt.reader import BoltReader, Bucket
from stellaops.bundles.trivy.constraints import UnknownComparer, problem
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest

_T = TypeVar("_T")

DATABASE = "trivy.db"
METADATA = "metadata.json"
SCHEMA_VERSION = 2
NEVER_DOWNLOADED = "0001-01-01T00:00:00Z"
"""`DownloadedAt` before an import: Trivy's own builder writes the same."""
LARGEST_METADATA = 4096
LARGEST_SENTINELS = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Archive:
    """An unpacked `db.bundle`: its content digest and the bytes of `metadata.json`."""

    content_digest: Digest
    metadata: bytes


def unpack(
    pieces: Iterable[bytes], write_database: Callable[[bytes], object], database: str = DATABASE
) -> Archive:
    """Take apart the tar of a `db.bundle`.

    Args:
        pieces: the tar, unzipped.
        write_database: gets the bytes of the database, piece by piece.
        database: its name.

    Raises:
        BadPacking: not a tar of exactly the database and `metadata.json`.
    """
    found: dict[str, Digest] = {}
    metadata = bytearray()
    for member in untar(pieces):
        if member.name not in (database, METADATA) or member.name in found:
            raise BadPacking(f"the archive must not hold {member.name!r:.120} (once more)")
        if member.name == METADATA and member.size > LARGEST_METADATA:
            raise BadPacking(f"{METADATA} has more than {LARGEST_METADATA} bytes")
        hasher = hashlib.sha256()
        take = write_database if member.name == database else metadata.extend
        for chunk in member.chunks:
            hasher.update(chunk)
            take(chunk)
        found[member.name] = digests.of_hash(hasher)
    if len(found) != 2:
        raise BadPacking(f"the archive must hold {database} and {METADATA}")
    return Archive(members_digest(found), bytes(metadata))


class _Metadata(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    version: int
    next_update: str
    updated_at: str
    downloaded_at: str


def metadata_problems(data: bytes, generated_at: datetime, schema: int = SCHEMA_VERSION) -> list[str]:
    """What is wrong with a `metadata.json` of an export that was generated at some instant."""
    try:
        metadata = msgspec.json.decode(data, type=_Metadata, strict=True)
    except (msgspec.DecodeError, ValueError) as error:
        return [f"{METADATA}: {error}"]
    problems = []
    if metadata.version != schema:
        problems.append(f"{METADATA} states schema {metadata.version}, not {schema}")
    if metadata.updated_at != timestamps.render(generated_at):
        problems.append(
            f"{METADATA} states UpdatedAt {metadata.updated_at[:40]}, not the export's generatedAt"
        )
    if metadata.downloaded_at != NEVER_DOWNLOADED:
        problems.append(f"{METADATA} states DownloadedAt, which only an import may set")
    next_update = timestamps.parse(metadata.next_update)
    if next_update is None or next_update <= generated_at:
        problems.append(f"{METADATA} states a NextUpdate that is not after UpdatedAt")
    return problems


@dataclass(frozen=True, slots=True, order=True)
class Sentinel:
    """A package and version in which the database must find an id: `bucket` is a root bucket."""

    bucket: str
    package: str
    version: str
    id: str


class BadSentinels(BadPacking):
    """A `sentinels.json` that is not what `write_sentinels` writes."""

    code = "ERR_SENTINELS_INVALID"


def write_sentinels(sentinels: Iterable[Sentinel]) -> bytes:
    """`sentinels.json`: canonical JSON, an array of objects `bucket`, `id`, `package`, `version`, sorted."""
    ordered = sorted(set(sentinels))
    return canonical_json.encode(
        [
            {"bucket": each.bucket, "package": each.package, "version": each.version, "id": each.id}
            for each in ordered
        ]
    )


def read_sentinels(data: bytes) -> tuple[Sentinel, ...]:
    """Read a `sentinels.json`.

    Raises:
        BadSentinels: anything but what `write_sentinels` writes.
    """
    return sentinel_files.read("sentinels.json", data, Sentinel, write_sentinels, BadSentinels)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a database holds.

    Attributes:
        buckets: its root buckets of advisories.
        advisories: entries of all packages of these.
        vulnerabilities: entries of the bucket `vulnerability`.
        problems: a sentence each, cut after a hundred; empty for a database that Trivy reads as it is meant.
    """

    buckets: tuple[str, ...]
    advisories: int
    vulnerabilities: int
    problems: tuple[str, ...]


def survey(data: Data) -> Survey:
    """Walk a whole `trivy.db` (bytes or a read-only map): pages, buckets, values, constraints."""
    pages = check(data)
    if not pages.ok:
        return Survey((), 0, 0, pages.problems)
    walk = _Walk()
    walk.root(BoltReader(data))
    if walk.entries != pages.entries:
        walk.problems.append(f"{pages.entries - walk.entries} entries stand where nothing looks for them")
    return Survey(
        tuple(walk.buckets), walk.advisories, walk.vulnerabilities, tuple(walk.problems[:_MOST_PROBLEMS])
    )


def sentinel_problems(data: Data, sentinels: Iterable[Sentinel]) -> list[str]:
    """Sentinels that a sound database does not hold, or whose vulnerability it does not describe."""
    reader = BoltReader(data)
    problems = []
    for each in sentinels:
        package = reader.at(each.bucket.encode(), each.package.encode())
        described = reader.at(_VULNERABILITY)
        vulnerability = each.id.encode()
        if package is None or package.get(vulnerability) is None:
            problems.append(f"{each.id} is not under {each.package!r:.200} in {each.bucket!r:.200}")
        elif described is None or described.get(vulnerability) is None:
            problems.append(f"{each.id} has no entry in the bucket vulnerability")
    return problems


_MOST_PROBLEMS = 100
_VULNERABILITY = b"vulnerability"
_DATA_SOURCE = b"data-source"
_CPE = "Red Hat CPE"
_WITHOUT_SOURCE = frozenset(["Red Hat", _CPE])
_BUILD_ONLY = frozenset(["advisory-detail", "vulnerability-detail", "vulnerability-id"])


class _Advisory(msgspec.Struct, frozen=True):
    """The fields by which Trivy decides; Go refuses a value of another type, and the finding is lost."""

    FixedVersion: str = ""
    AffectedVersion: str = ""
    VulnerableVersions: list[str] = []
    PatchedVersions: list[str] = []
    UnaffectedVersions: list[str] = []
    VendorIDs: list[str] = []
    Arches: list[str] = []
    Status: int = 0
    Severity: int = 0


class _Vulnerability(msgspec.Struct, frozen=True):
    Title: str = ""
    Description: str = ""
    Severity: Literal["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL", ""] = ""
    CweIDs: list[str] = []
    VendorSeverity: dict[str, int] = {}
    References: list[str] = []
    PublishedDate: datetime | None = None
    LastModifiedDate: datetime | None = None


class _DataSource(msgspec.Struct, frozen=True):
    ID: str
    Name: str = ""
    URL: str = ""


_ADVISORIES = msgspec.json.Decoder(_Advisory, strict=True)
_VULNERABILITIES = msgspec.json.Decoder(_Vulnerability, strict=True)
_DATA_SOURCES = msgspec.json.Decoder(_DataSource, strict=True)


class _Walk:
    """One walk through the buckets of a file whose pages are sound."""

    def __init__(self) -> None:
        self.buckets: list[str] = []
        self.entries = 0
        self.advisories = 0
        self.vulnerabilities = 0
        self.problems: list[str] = []

    def root(self, reader: BoltReader) -> None:
        """The top level: two buckets that must be there, none that only a builder needs, and the advisories."""
        self._vulnerabilities(reader.bucket(_VULNERABILITY))
        described = self._data_sources(reader.bucket(_DATA_SOURCE))
        for name, bucket in reader.buckets():
            if len(self.problems) >= _MOST_PROBLEMS:
                return
            if name in (_VULNERABILITY, _DATA_SOURCE):
                continue
            self._advisory_bucket(name.decode("utf-8", "replace"), bucket)
        named = {name for name in self.buckets if name not in _WITHOUT_SOURCE}
        self.problems += [f"bucket {name!r:.200} has no data source" for name in sorted(named - described)]
        self.problems += [f"data source {name!r:.200} has no bucket" for name in sorted(described - named)]

    def _vulnerabilities(self, bucket: Bucket | None) -> None:
        if bucket is None:
            self.problems.append("there is no bucket vulnerability: Trivy would stop at the first finding")
            return
        for key, value in bucket.items():
            self.vulnerabilities += 1
            self.entries += 1
            self._decoded(_VULNERABILITIES, value, "vulnerability", key)

    def _data_sources(self, bucket: Bucket | None) -> set[str]:
        if bucket is None:
            self.problems.append("there is no bucket data-source")
            return set()
        names = set()
        for key, value in bucket.items():
            self.entries += 1
            names.add(key.decode("utf-8", "replace"))
            self._decoded(_DATA_SOURCES, value, "data-source", key)
        return names

    def _advisory_bucket(self, name: str, bucket: Bucket) -> None:
        if name in _BUILD_ONLY:
            self.problems.append(f"bucket {name} belongs to a build, not to a database")
            return
        self.buckets.append(name)
        ecosystem = name.partition("::")[0] if "::" in name else None
        for package, entries in bucket.buckets():
            before = self.entries
            for key, value in entries.items():
                self.entries += 1
                if name != _CPE:
                    self._advisory(ecosystem, name, package, key, value)
            if self.entries == before:
                self.problems.append(f"package {package!r:.200} of {name!r:.200} is empty")
            if len(self.problems) >= _MOST_PROBLEMS:
                return

    def _advisory(self, ecosystem: str | None, bucket: str, package: bytes, key: bytes, value: bytes) -> None:
        self.advisories += 1
        advisory = self._decoded(_ADVISORIES, value, bucket, key)
        if advisory is None or ecosystem is None:
            return
        where = f"{key!r:.100} of {package!r:.200} in {bucket!r:.200}"
        constraints = [*advisory.VulnerableVersions, *advisory.PatchedVersions, *advisory.UnaffectedVersions]
        if not constraints:
            self.problems.append(f"{where} has no versions, so it matches nothing")
        for constraint in constraints:
            if constraint and (reason := _unreadable(ecosystem, constraint)):
                self.problems.append(f"{where}: Trivy cannot read {constraint!r:.100}: {reason}")

    def _decoded(self, decoder: msgspec.json.Decoder[_T], value: bytes, bucket: str, key: bytes) -> _T | None:
        try:
            return decoder.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self.problems.append(f"{key!r:.100} in {bucket!r:.200} is not what Trivy decodes: {error}")
            return None


def _unreadable(ecosystem: str, constraint: str) -> str | None:
    try:
        return problem(ecosystem, constraint)
    except UnknownComparer as error:
        return error.what
