"""The contents of a bundle, unpacked with bounds and measured by the rules that gave their digests."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stellaops.bundles import layout, packed, rows
from stellaops.bundles.content import Content, RowSetDigest, SnapshotDigest, members_digest
from stellaops.bundles.files_manifest import FileEntry, FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.rows import Row
from stellaops.bundles.trivy import inspect, java_db
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaSentinel
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.kit.tree import Tree


class UnknownContent(InvalidInput):
    """A content that this version cannot measure, and so cannot vouch for."""

    code = "ERR_CONTENT_UNKNOWN"
    hint = "Verify the bundle with the version of the product that made it, or a newer one."


_FIXED = frozenset([layout.MANIFEST, *layout.RENDERED])


@dataclass(frozen=True, slots=True)
class UnpackedDatabase:
    """A Trivy database that lies unpacked on disk, and the `metadata.json` that came with it."""

    path: Path
    metadata: bytes


@dataclass(slots=True)
class Examined:
    """What was found; `problems` says which contents are not what the manifest states."""

    problems: list[str] = field(default_factory=list)
    records: dict[str, int] = field(default_factory=dict)
    """Rows or entries by content; those of a vulnerability database are counted by its own survey."""
    snapshots: dict[str, Digest] = field(default_factory=dict)
    """Snapshot digests that the row sets give, by content."""
    trivy: UnpackedDatabase | None = None
    sentinels: tuple[Sentinel, ...] = ()
    java: UnpackedDatabase | None = None
    java_sentinels: tuple[JavaSentinel, ...] = ()
    policy: Digest | None = None
    """Digest of the policy snapshot."""


def unexplained(manifest: ExportManifest, files: FilesManifest) -> list[str]:
    """Where the two manifests do not fit: files that belong to no content, contents without their files."""
    problems = []
    if files.export_id != manifest.export_id:
        problems.append(f"files.json is of export {files.export_id}")
    if files.kind != f"{manifest.profile.kind}:{manifest.profile.variant}":
        problems.append(f"files.json is of kind {ascii(files.kind)[:80]}")
    entries = files.entries()
    listed = entries.get(layout.MANIFEST)
    if listed is None or listed.digest != digests.sha256(manifest.data):
        problems.append("files.json does not list this export.json")
    paths = set(entries)
    problems += [f"files.json does not list {path}" for path in sorted(_FIXED - paths)]
    explained = set(_FIXED)
    for content in manifest.contents:
        held = layout.files_of(content.path, paths)
        explained.update(held)
        if not _complete(content, held):
            problems.append(f"the files of {content.path} are not complete")
    return problems + [f"{path} belongs to no content" for path in sorted(paths - explained)]


def _complete(content: Content, held: tuple[str, ...]) -> bool:
    if layout.is_sharded(content.path):
        return held == tuple(layout.shard(content.path, number) for number in range(len(held)))
    return len(held) == 1


def examine(tree: Tree, manifest: ExportManifest, files: FilesManifest, scratch: Path) -> Examined:
    """Unpack every content and compare its digest; Trivy databases are left in `scratch`.

    The caller has checked the files' own digests: nothing here is unpacked that was not signed.
    """
    found = Examined()
    entries = files.entries()
    sets = [
        _RowSet(tree, content, [entries[path] for path in layout.files_of(content.path, entries)])
        for content in manifest.contents
        if layout.is_row_set(content.path)
    ]
    for content in manifest.contents:
        if layout.is_row_set(content.path):
            continue
        held = [entries[path] for path in layout.files_of(content.path, entries)]
        try:
            digest = _digest(tree, content.path, held, found, scratch)
        except InvalidInput as error:
            found.problems.append(f"{content.path}: {error}")
            continue
        _compare(content, digest, found)
    for part in (layout.RAW, layout.INDEXES):
        _snapshot([each for each in sets if each.content.path.startswith(part)], found)
    for each in sets:
        if not each.content.path.startswith((layout.RAW, layout.INDEXES)):
            deque(each.rows(found), maxlen=0)
    return found


def _compare(content: Content, digest: Digest, found: Examined) -> None:
    if digest != content.content_digest:
        found.problems.append(f"{content.path} gives {digest}, export.json states {content.content_digest}")


def _digest(tree: Tree, path: str, held: Sequence[FileEntry], found: Examined, scratch: Path) -> Digest:
    if path == layout.TRIVY_DB:
        target = scratch / inspect.DATABASE
        with target.open("wb") as sink:
            pieces = packed.gunzip(tree.chunks(path), packed.expansion_limit(held[0].bytes))
            archive = inspect.unpack(pieces, sink.write)
        found.trivy = UnpackedDatabase(target, archive.metadata)
        return archive.content_digest
    if path == layout.TRIVY_SENTINELS:
        data = tree.read(path, inspect.LARGEST_SENTINELS)
        found.sentinels = inspect.read_sentinels(data)
        found.records[path] = len(found.sentinels)
        return digests.sha256(data)
    if path == layout.TRIVY_JAVA_DB:
        return _java_database(tree, path, held[0], found, scratch)
    if path == layout.TRIVY_JAVA_SENTINELS:
        data = tree.read(path, java_db.LARGEST_SENTINELS)
        found.java_sentinels = java_db.read_sentinels(data)
        found.records[path] = len(found.java_sentinels)
        return digests.sha256(data)
    if path == layout.POLICY_SNAPSHOT:
        data = tree.read(path, layout.LARGEST_POLICY)
        found.policy = digests.sha256(data)
        found.records[path] = _policy_rules(data)
        return found.policy
    raise UnknownContent(f"this version does not know content {path}")


def _java_database(tree: Tree, path: str, held: FileEntry, found: Examined, scratch: Path) -> Digest:
    target = scratch / java_db.DATABASE
    with target.open("wb") as sink:
        pieces = packed.gunzip(tree.chunks(path), packed.expansion_limit(held.bytes))
        metadata = inspect.unpack(pieces, sink.write, java_db.DATABASE).metadata
    found.java = UnpackedDatabase(target, metadata)
    with closing(java_db.open_database(target)) as connection:
        measured = java_db.measure(connection)
    found.records[path] = measured.rows
    return members_digest({inspect.METADATA: digests.sha256(metadata), java_db.DATABASE: measured.digest})


class _RowSet:
    """A content of rows, read once."""

    def __init__(self, tree: Tree, content: Content, held: Sequence[FileEntry]) -> None:
        self.content = content
        self._tree = tree
        self._held = held
        self.sound = False

    def rows(self, found: Examined) -> Iterator[Row]:
        """Its rows; at the end its digest is compared. What cannot be read ends it and is noted."""
        path = self.content.path
        digest = RowSetDigest()
        try:
            for row, line in self._lines(_parser(path)):
                digest.add(row.owner, row.source, row.key, line)
                yield row
        except InvalidInput as error:
            found.problems.append(f"{path}: {error}")
            return
        self.sound = True
        found.records[path] = digest.records
        _compare(self.content, digest.digest(), found)

    def _lines(self, parse: Callable[[bytes], Row]) -> Iterator[tuple[Row, bytes]]:
        for entry in self._held:
            pieces = packed.unzstd(self._tree.chunks(entry.path), packed.expansion_limit(entry.bytes))
            for line in packed.lines(pieces):
                yield parse(line), line


def _parser(path: str) -> Callable[[bytes], Row]:
    if path.startswith(layout.RAW):
        return rows.parse_raw
    return rows.parse_evaluation if path == layout.POLICY_EVALUATIONS else rows.parse_index


def _snapshot(sets: Sequence[_RowSet], found: Examined) -> None:
    """The snapshot that some row sets give together: each source is in one of them."""
    if not sets:
        return
    digest = SnapshotDigest()
    name = " with ".join(each.content.path for each in sets)
    merged = heapq.merge(
        *(each.rows(found) for each in sets), key=lambda row: (row.owner, row.source, row.key)
    )
    try:
        for row in merged:
            digest.add(row.owner, row.source, row.key, row.digest)
    except InvalidInput as error:
        found.problems.append(f"{name}: {error}")
        return
    if all(each.sound for each in sets):
        found.snapshots[name] = digest.digest()


def _policy_rules(data: bytes) -> int:
    """How many rules a policy snapshot has.

    Raises:
        UnknownContent: it is none.
    """
    try:
        value = canonical_json.decode(data)
    except canonical_json.NotCanonical as error:
        raise UnknownContent(f"{layout.POLICY_SNAPSHOT} is not in its canonical form: {error}") from error
    rules = value.get("rules") if isinstance(value, dict) else None
    if not isinstance(rules, list):
        raise UnknownContent(f"{layout.POLICY_SNAPSHOT} has no rules")
    return len(rules)
