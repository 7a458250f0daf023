"""A small, real bundle with rows, an index and a Trivy database, and a hand for changing it."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backports import zstd

from stellaops.bundles import layout, manifest
from stellaops.bundles.content import Content, RowSetDigest, SnapshotDigest, members_digest
from stellaops.bundles.files_manifest import FileEntry
from stellaops.bundles.manifest import ExportManifest, Profile, Source
from stellaops.bundles.trivy import inspect, java_db
from stellaops.bundles.trivy.bolt.writer import BoltWriter
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaRow, JavaSentinel
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.kit.sealing import seal
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PrivateKey

GENERATED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENDER = ecdsa_p256.generate()
STRANGER = ecdsa_p256.generate()

RAW = "data/raw/advisories"
INDEX = "indexes/advisories"


def packed(lines: Iterable[bytes]) -> bytes:
    return zstd.compress(
        b"".join(line + b"\n" for line in lines), options={zstd.CompressionParameter.checksum_flag: 1}
    )


def raw_line(key: str, document: bytes, source: str = "osv") -> bytes:
    digest = digests.sha256(document)
    return b'{"digest":"%b","document":%b,"key":"%b","rawDigest":"%b","source":"%b"}' % (
        digest.encode(),
        document,
        key.encode(),
        digest.encode(),
        source.encode(),
    )


def tar(members: Mapping[str, bytes], *, mtime: int = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def metadata(**changed: object) -> bytes:
    value: dict[str, object] = {
        "Version": 2,
        "NextUpdate": "2026-01-03T03:04:05Z",
        "UpdatedAt": "2026-01-02T03:04:05Z",
        "DownloadedAt": "0001-01-01T00:00:00Z",
    }
    return json.dumps(value | changed).encode()


Database = Mapping[str, Mapping[str, Mapping[str, object]] | Mapping[str, object]]

DATABASE: Database = {
    "data-source": {"npm::Small": {"ID": "ghsa", "Name": "Small", "URL": "https://example.org"}},
    "npm::Small": {
        "left": {"CVE-2026-0001": {"VulnerableVersions": ["<1.2.3"], "PatchedVersions": ["1.2.3"]}},
        "right": {"CVE-2026-0002": {"VulnerableVersions": [">=2.0.0, <2.1.0"]}},
    },
    "vulnerability": {
        "CVE-2026-0001": {"Title": "first", "Severity": "HIGH"},
        "CVE-2026-0002": {"Title": "second", "Severity": "LOW"},
    },
}


def trivy_db(database: Database = DATABASE) -> bytes:
    """A database file; an entry whose value holds objects of objects is a bucket of packages."""
    out = io.BytesIO()
    writer = BoltWriter(out)
    plain = {"data-source", "vulnerability"}

    def leaf(entries: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
        return [(key.encode(), json.dumps(value).encode()) for key, value in sorted(entries.items())]

    writer.finish(
        [
            (
                name.encode(),
                writer.leaf_bucket(leaf(content))
                if name in plain
                else writer.bucket(
                    [
                        (package.encode(), writer.leaf_bucket(leaf(entries)))  # type: ignore[arg-type]
                        for package, entries in sorted(content.items())
                    ]
                ),
            )
            for name, content in sorted(database.items())
        ]
    )
    return out.getvalue()


JAVA_ROWS: tuple[JavaRow, ...] = (
    ("org.small", "left", "1.0", "jar", b"1" * 20),
    ("org.small", "left", "1.1", "jar", b"2" * 20),
    ("org.small", "right", "2.0", "aar", b"0" * 20),
)


def java_database(rows: Iterable[JavaRow] = JAVA_ROWS, *statements: str) -> bytes:
    """A Java database; the statements change it after it was written."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / java_db.DATABASE
        java_db.write_database(path, rows)
        if statements:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                for statement in statements:
                    connection.execute(statement)
            data = bytearray(path.read_bytes())
            for place, value in java_db.HEADER:
                data[place : place + 4] = value.to_bytes(4, "big")
            path.write_bytes(data)
        return path.read_bytes()


def java_digest(rows: Iterable[JavaRow] = JAVA_ROWS) -> Digest:
    """The digest of rows, by the rule of the documentation."""
    lines = (f"{g}\t{a}\t{v}\t{kind}\t{sha1.hex()}\n".encode() for g, a, v, kind, sha1 in rows)
    return digests.sha256(b"".join(lines))


@dataclass
class SmallBundle:
    """What goes into a bundle; change a field before `write`, and the bundle is made and signed with the change."""

    documents: Mapping[str, bytes] = field(
        default_factory=lambda: {
            f"X-{number:02}": canonical_json.encode({"id": f"X-{number:02}", "summary": "é"})
            for number in range(6)
        }
    )
    cut: int = 3
    database: bytes = field(default_factory=trivy_db)
    metadata: bytes = field(default_factory=metadata)
    sentinels: tuple[Sentinel, ...] = (
        Sentinel("npm::Small", "left", "1.0.0", "CVE-2026-0001"),
        Sentinel("npm::Small", "right", "2.0.0", "CVE-2026-0002"),
    )
    advisories: int = 2
    key: PrivateKey = SENDER
    files: dict[str, bytes] = field(default_factory=dict)
    """Packed files that replace those that would be made, or come beside them."""
    contents: Callable[[list[Content]], list[Content]] = lambda contents: contents
    change_manifest: Callable[[ExportManifest], ExportManifest] = lambda whole: whole
    profile: Profile = field(default_factory=lambda: Profile("json", "raw", "json:raw"))
    trivy: bool = True
    jws: bool = False
    java: bytes = field(default_factory=java_database)
    java_metadata: bytes = field(default_factory=lambda: metadata(Version=1))
    java_sentinels: tuple[JavaSentinel, ...] = (JavaSentinel("org.small", "left", "1.0"),)
    java_rows: tuple[JavaRow, ...] = JAVA_ROWS

    def write(self, root: Path) -> Path:
        rows, index, snapshot = RowSetDigest(), RowSetDigest(), SnapshotDigest()
        raw_lines, index_lines = [], []
        for key, document in sorted(self.documents.items()):
            digest = digests.sha256(document)
            raw_lines.append(raw_line(key, document))
            index_lines.append(canonical_json.encode({"source": "osv", "key": key, "digest": digest}))
            rows.add("", "osv", key, raw_lines[-1])
            index.add("", "osv", key, index_lines[-1])
            snapshot.add("", "osv", key, digest)
        files = {
            layout.shard(RAW, 0): packed(raw_lines[: self.cut]),
            layout.shard(RAW, 1): packed(raw_lines[self.cut :]),
            layout.index_file(INDEX): packed(index_lines),
        }
        contents = [
            Content(RAW, rows.digest(), rows.records, layout.ROW_SET_TYPE),
            Content(INDEX, index.digest(), index.records, layout.ROW_SET_TYPE),
        ]
        if self.trivy:
            self._add_trivy(files, contents)
            self._add_java(files, contents)
        whole = manifest.build(
            tenant="acme",
            profile=self.profile,
            selectors={"sources": ["osv"]},
            generated_at=GENERATED_AT,
            snapshot=snapshot.digest(),
            sources=[
                Source("osv", "ghsa", "CC-BY-4.0", GENERATED_AT),
                Source("quiet", "kev", "NOASSERTION", None),
            ],
            policy_snapshot=None,
            projections={"index": 1},
            contents=self.contents(contents),
        )
        files |= self.files
        entries = [
            FileEntry(path, digests.sha256(data), len(data), layout.codec(path))
            for path, data in files.items()
        ]
        tools = {"libraries": {"zstd": "1.5.7"}}
        sealed = seal(self.change_manifest(whole), entries, tools, self.key, jws=self.jws)
        for path, data in (files | dict(sealed.written)).items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return root

    def _add_trivy(self, files: dict[str, bytes], contents: list[Content]) -> None:
        members = {"metadata.json": self.metadata, "trivy.db": self.database}
        files[layout.TRIVY_DB] = gzip.compress(tar(members), mtime=0)
        files[layout.TRIVY_SENTINELS] = inspect.write_sentinels(self.sentinels)
        digest = members_digest({name: digests.sha256(data) for name, data in members.items()})
        sentinels = digests.sha256(files[layout.TRIVY_SENTINELS])
        contents += [
            Content(layout.TRIVY_DB, digest, self.advisories, layout.TRIVY_DB_TYPE),
            Content(layout.TRIVY_SENTINELS, sentinels, len(self.sentinels), layout.JSON_TYPE),
        ]

    def _add_java(self, files: dict[str, bytes], contents: list[Content]) -> None:
        members = {"metadata.json": self.java_metadata, java_db.DATABASE: self.java}
        files[layout.TRIVY_JAVA_DB] = gzip.compress(tar(members), mtime=0)
        files[layout.TRIVY_JAVA_SENTINELS] = java_db.write_sentinels(self.java_sentinels)
        digest = members_digest(
            {
                "metadata.json": digests.sha256(self.java_metadata),
                java_db.DATABASE: java_digest(self.java_rows),
            }
        )
        sentinels = digests.sha256(files[layout.TRIVY_JAVA_SENTINELS])
        contents += [
            Content(layout.TRIVY_JAVA_DB, digest, len(self.java_rows), layout.TRIVY_JAVA_DB_TYPE),
            Content(layout.TRIVY_JAVA_SENTINELS, sentinels, len(self.java_sentinels), layout.JSON_TYPE),
        ]
