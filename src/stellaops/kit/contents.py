"""The contents of a bundle, unpacked with bounds and measured by the rules that gave their digests.

Files come one after the other, in the order of their paths, and are read once. What is kept of them is constant in
size, but for a Trivy database, which is checked as the file that it is, and for the lines of a snapshot whose sources
are spread over several indexes: both lie in a scratch directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stellaops.bundles import layout, packed, rows
from stellaops.bundles.content import Content, RowsOutOfOrder, members_digest
from stellaops.bundles.files_manifest import FileEntry, FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.packed import BadPacking
from stellaops.bundles.rows import Form
from stellaops.bundles.trivy import inspect, java_db
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaSentinel
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.kit import row_blocks
from stellaops.kit.places import Places, merged_digest
from stellaops.kit.row_blocks import Measured
from stellaops.kit.row_workers import RowWorkers


class UnknownContent(InvalidInput):
    """A content that this version cannot measure, and so cannot vouch for."""

    code = "ERR_CONTENT_UNKNOWN"
    hint = "Verify the bundle with the version of the product that made it, or a newer one."


_FIXED = frozenset([layout.MANIFEST, *layout.RENDERED])
_ROWS = ".jsonl.zst"
_FINDINGS = {layout.FINDINGS_INDEX: layout.POLICY_EVALUATIONS}


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
    """The snapshot digest that the row sets give, by their names."""
    indexed: tuple[str, ...] = ()
    """The contents that were held against their index."""
    index_problems: list[str] = field(default_factory=list)
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
    problems += [f"files.json does not list {path}" for path in sorted(_FIXED - set(entries))]
    return problems + unexplained_files(manifest, set(entries) - _FIXED)


def unexplained_files(manifest: ExportManifest, paths: set[str]) -> list[str]:
    """Content files that belong to no content, and contents whose files are not all there."""
    problems = []
    explained: set[str] = set()
    for content, held in _held(manifest, paths):
        explained.update(held)
        if not _complete(content, held):
            problems.append(f"the files of {content.path} are not complete")
    return problems + [f"{path} belongs to no content" for path in sorted(paths - explained)]


def _held(manifest: ExportManifest, paths: set[str]) -> Iterator[tuple[Content, tuple[str, ...]]]:
    for content in manifest.contents:
        yield content, layout.files_of(content.path, paths)


def _complete(content: Content, held: tuple[str, ...]) -> bool:
    if layout.is_sharded(content.path):
        return held == tuple(layout.shard(content.path, number) for number in range(len(held)))
    return len(held) == 1


class Examiner:
    """Takes the content files of a bundle, in the order of their paths, and says at the end what they hold."""

    def __init__(self, manifest: ExportManifest, files: Mapping[str, int], scratch: Path) -> None:
        """Prepare for some files.

        Args:
            manifest: what they should hold.
            files: bytes of each content file, packed.
            scratch: a directory for what must lie on disk.
        """
        self._manifest = manifest
        self._sizes = files
        self._scratch = scratch
        self._found = Examined()
        self._content: dict[str, Content] = {}
        for content, held in _held(manifest, set(files)):
            self._content.update(dict.fromkeys(held, content))
        sets = [content for content in manifest.contents if layout.is_row_set(content.path)]
        packed_rows = sum(size for path, size in files.items() if path.endswith(_ROWS))
        self._workers = RowWorkers(lambda path: form_of(path).read, packed_rows)
        self._evidence = _evidence(content.path for content in sets)
        spooled = self._evidence if len(self._evidence) > 1 else ()
        self._sets = {
            content.path: _RowSet(
                content, Places(scratch if content.path in spooled else None), self._workers
            )
            for content in sets
        }
        self._sboms: dict[str, Digest] = {}

    def take(self, path: str, chunks: Iterator[bytes]) -> None:
        """The next file; what cannot be read is noted and ends it. Files of no content are let pass."""
        content = self._content.get(path)
        if content is None:
            return
        entry = FileEntry(path, content.content_digest, self._sizes[path], layout.codec(path))
        if content.path in self._sets:
            self._sets[content.path].take(entry, chunks)
            return
        try:
            digest = self._measure(entry, chunks)
        except InvalidInput as error:
            self._found.problems.append(f"{content.path}: {error}")
            return
        if digest != content.content_digest:
            self._found.problems.append(_other(content, digest))

    def finish(self) -> Examined:
        """What was found in all of them."""
        found = self._found
        self._workers.finish()
        for each in self._sets.values():
            each.finish(found)
        if not found.problems:
            self._snapshot()
            self._indexes()
        self.close()
        return found

    def close(self) -> None:
        """Let go of what lies in the scratch directory, and of children; also where not everything was taken."""
        self._workers.close()
        for each in self._sets.values():
            each.places.close()

    def _measure(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        path = entry.path
        by_path: dict[str, Callable[[FileEntry, Iterator[bytes]], Digest]] = {
            layout.TRIVY_DB: self._database,
            layout.TRIVY_JAVA_DB: self._java_database,
            layout.TRIVY_SENTINELS: self._sentinels,
            layout.TRIVY_JAVA_SENTINELS: self._java_sentinels,
            layout.POLICY_SNAPSHOT: self._policy,
            layout.VEX_REPOSITORY: self._repository,
        }
        if path in by_path:
            return by_path[path](entry, chunks)
        if layout.is_sbom(path):
            self._sboms[path] = _hashed(chunks)
            self._found.records[path] = 1
            return self._sboms[path]
        raise UnknownContent(f"this version does not know content {path}")

    def _sentinels(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        data = _collected(entry.path, chunks, inspect.LARGEST_SENTINELS)
        self._found.sentinels = inspect.read_sentinels(data)
        self._found.records[entry.path] = len(self._found.sentinels)
        return digests.sha256(data)

    def _java_sentinels(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        data = _collected(entry.path, chunks, java_db.LARGEST_SENTINELS)
        self._found.java_sentinels = java_db.read_sentinels(data)
        self._found.records[entry.path] = len(self._found.java_sentinels)
        return digests.sha256(data)

    def _policy(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        data = _collected(entry.path, chunks, layout.LARGEST_POLICY)
        self._found.policy = digests.sha256(data)
        self._found.records[entry.path] = _policy_rules(data)
        return self._found.policy

    def _database(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        target = self._scratch / inspect.DATABASE
        with target.open("wb") as sink:
            pieces = packed.gunzip(chunks, packed.expansion_limit(entry.bytes))
            archive = inspect.unpack(pieces, sink.write)
        self._found.trivy = UnpackedDatabase(target, archive.metadata)
        return archive.content_digest

    def _java_database(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        target = self._scratch / java_db.DATABASE
        with target.open("wb") as sink:
            pieces = packed.gunzip(chunks, packed.expansion_limit(entry.bytes))
            metadata = inspect.unpack(pieces, sink.write, java_db.DATABASE).metadata
        self._found.java = UnpackedDatabase(target, metadata)
        with closing(java_db.open_database(target)) as connection:
            measured = java_db.measure(connection)
        self._found.records[entry.path] = measured.rows
        return members_digest({inspect.METADATA: digests.sha256(metadata), java_db.DATABASE: measured.digest})

    def _repository(self, entry: FileEntry, chunks: Iterator[bytes]) -> Digest:
        """Digest of the tar inside; its records are its documents, all members but the index."""
        hasher = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for piece in packed.gunzip(chunks, packed.expansion_limit(entry.bytes)):
                hasher.update(piece)
                yield piece

        members = 0
        for member in packed.untar(hashed()):
            members += 1
            for _ in member.chunks:
                pass
        self._found.records[entry.path] = members - 1
        return digests.of_hash(hasher)

    def _snapshot(self) -> None:
        """The snapshot that the rows of the evidence give together."""
        if not self._evidence:
            return
        name = " with ".join(self._evidence)
        try:
            self._found.snapshots[name] = merged_digest([self._sets[path].places for path in self._evidence])
        except InvalidInput as error:
            self._found.problems.append(f"{name}: {error}")

    def _indexes(self) -> None:
        """Each index and what it is of: the same rows with the same documents."""
        found, held = self._found, []
        for path, index in self._sets.items():
            if not path.startswith(layout.INDEXES):
                continue
            other = _FINDINGS.get(path, f"{layout.RAW}{path.removeprefix(layout.INDEXES)}")
            if path == layout.SBOM_INDEX:
                if self._sboms or index.files:
                    held.append(layout.RAW_SBOMS.rstrip("/"))
                    found.index_problems += _sbom_problems(index.files, self._sboms)
            elif other in self._sets:
                held.append(other)
                if self._sets[other].places.digest() != index.places.digest():
                    found.index_problems.append(f"the rows of {other} are not those that {path} names")
        found.indexed = tuple(sorted(held))


def _evidence(sets: Iterable[str]) -> tuple[str, ...]:
    """The row sets that together give the snapshot: of each kind the index, or the documents where it has none."""
    kinds: dict[str, str] = {}
    for path in sets:
        if path.startswith((layout.RAW, layout.INDEXES)) and path not in _FINDINGS:
            kind = path.rpartition("/")[2]
            if kind not in kinds or path.startswith(layout.INDEXES):
                kinds[kind] = path
    return tuple(sorted(kinds.values()))


def _other(content: Content, digest: Digest) -> str:
    return f"{content.path} gives {digest}, export.json states {content.content_digest}"


def _sbom_problems(named: Mapping[str, Digest], there: Mapping[str, Digest]) -> list[str]:
    if not there:  # an index may travel without the documents
        return []
    problems = [f"{layout.SBOM_INDEX} does not name {path}" for path in sorted(there.keys() - named.keys())]
    problems += [f"{path} is named and not there" for path in sorted(named.keys() - there.keys())]
    both = sorted(named.keys() & there.keys())
    return problems + [
        f"{path} is another than {layout.SBOM_INDEX} names" for path in both if named[path] != there[path]
    ]


class _RowSet:
    """A content of rows, which may come in several files."""

    def __init__(self, content: Content, places: Places, workers: RowWorkers) -> None:
        self.content = content
        self.places = places
        self.files: dict[str, Digest] = {}
        """Files that the rows name, with the digests that they state."""
        self._workers = workers
        self._trouble = ""

    def take(self, entry: FileEntry, chunks: Iterator[bytes]) -> None:
        """The next file of it; some of it may still be measured when the one after it comes."""
        pieces = packed.unzstd(chunks, packed.expansion_limit(entry.bytes))
        try:
            for block in row_blocks.blocks(pieces):
                if self._trouble:
                    return
                self._workers.measure(self.content.path, block, self._add)
        except BadPacking as error:
            self._workers.put(Measured(trouble=str(error)), self._add)

    def _add(self, measured: Measured) -> None:
        if self._trouble:
            return
        self._trouble = measured.trouble
        try:
            for stretch in measured.stretches:
                self.places.add(stretch)
        except RowsOutOfOrder as error:
            self._trouble = str(error)
        self.files.update((path, Digest(digest)) for path, digest in measured.files)

    def finish(self, found: Examined) -> None:
        """Compare; what could not be read is noted."""
        path = self.content.path
        if self._trouble:
            found.problems.append(f"{path}: {self._trouble}")
            return
        found.records[path] = self.places.records
        digest = self.places.rows_digest()
        if digest != self.content.content_digest:
            found.problems.append(_other(self.content, digest))


def form_of(path: str) -> Form:
    """How the lines of a row set are read."""
    if path.startswith(layout.RAW):
        return rows.RAW
    if path.startswith(layout.UPSTREAM):
        return rows.UPSTREAM
    if path.startswith(layout.NORMALIZED):
        return rows.NORMALIZED
    if path == layout.POLICY_EVALUATIONS:
        return rows.EVALUATIONS
    return rows.SBOM_INDEX if path == layout.SBOM_INDEX else rows.INDEX


def _collected(path: str, chunks: Iterable[bytes], largest: int) -> bytes:
    pieces, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > largest:
            raise UnknownContent(f"{path} has more than {largest} bytes")
        pieces.append(chunk)
    return b"".join(pieces)


def _hashed(chunks: Iterable[bytes]) -> Digest:
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return digests.of_hash(hasher)


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
