"""The contents of a bundle, unpacked with bounds and measured by the rules that gave their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stellaops.bundles import layout, packed, rows
from stellaops.bundles.content import Content, RowSetDigest, SnapshotDigest
from stellaops.bundles.files_manifest import FileEntry, FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.rows import Row
from stellaops.bundles.trivy import inspect
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.core import digests
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
    """Rows or entries by content; a database's are counted by its own survey."""
    snapshots: dict[str, Digest] = field(default_factory=dict)
    """Snapshot digests that the row sets give, by content."""
    trivy: UnpackedDatabase | None = None
    sentinels: tuple[Sentinel, ...] = ()


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
    """Unpack every content and compare its digest; a Trivy database is left in `scratch`.

    The caller has checked the files' own digests: nothing here is unpacked that was not signed.
    """
    found = Examined()
    entries = files.entries()
    for content in manifest.contents:
        held = [entries[path] for path in layout.files_of(content.path, entries)]
        try:
            digest = _digest(tree, content.path, held, found, scratch)
        except InvalidInput as error:
            found.problems.append(f"{content.path}: {error}")
            continue
        if digest != content.content_digest:
            found.problems.append(
                f"{content.path} gives {digest}, export.json states {content.content_digest}"
            )
    return found


def _digest(tree: Tree, path: str, held: Sequence[FileEntry], found: Examined, scratch: Path) -> Digest:
    if layout.is_row_set(path):
        return _row_set(tree, path, held, found)
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
    raise UnknownContent(f"this version does not know content {path}")


def _row_set(tree: Tree, path: str, held: Iterable[FileEntry], found: Examined) -> Digest:
    parse: Callable[[bytes], Row] = rows.parse_raw if layout.is_sharded(path) else rows.parse_index
    content, snapshot = RowSetDigest(), SnapshotDigest()
    for entry in held:
        pieces = packed.unzstd(tree.chunks(entry.path), packed.expansion_limit(entry.bytes))
        for line in packed.lines(pieces):
            row = parse(line)
            content.add(row.owner, row.source, row.key, line)
            snapshot.add(row.owner, row.source, row.key, row.digest)
    found.records[path] = content.records
    found.snapshots[path] = snapshot.digest()
    return content.digest()
