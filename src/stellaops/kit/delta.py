"""A delta archive: checked as far as it says something by itself, and laid out on disk to be applied."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stellaops.bundles import layout, packed, provenance, rendering, rows
from stellaops.bundles.digest_list import Place
from stellaops.bundles.encryption.envelope import Opener
from stellaops.bundles.files_manifest import FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.mirror import delta
from stellaops.core import digests
from stellaops.core.errors import InvalidInput, NotTrusted
from stellaops.kit import outer, signatures
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.contents import Examined, Examiner, form_of
from stellaops.kit.head import Head, signed_head
from stellaops.kit.opening import opening_of
from stellaops.signing.ecdsa_p256 import PublicKey

KIND = "mirror:delta"
_FIXED = frozenset([layout.MANIFEST, *layout.RENDERED])


class BadDelta(NotTrusted):
    """A delta that is not in its form."""

    code = "ERR_MIRROR_DELTA_INVALID"
    hint = "Fetch the archive again, and compare its SHA-256 with the file beside it."


def is_delta(files: FilesManifest) -> bool:
    """Whether a files manifest is one of a delta."""
    return files.base is not None


def unexplained(manifest: ExportManifest, files: FilesManifest) -> list[str]:
    """Where the two manifests of a delta do not fit: files that belong to no content of the target."""
    entries = files.entries()
    problems = []
    if files.base is None or files.kind != KIND:
        problems.append(
            f"files.json is of kind {ascii(files.kind)[:80]} and {'has a' if files.base else 'no'} base"
        )
    listed = entries.get(layout.MANIFEST)
    if files.export_id != manifest.export_id:
        problems.append(f"files.json is of export {files.export_id}")
    if listed is None or listed.digest != digests.sha256(manifest.data):
        problems.append("files.json does not list this export.json")
    problems += [f"files.json does not list {path}" for path in sorted(_FIXED - entries.keys())]
    sets = {content.path for content in manifest.contents if layout.is_row_set(content.path)}
    whole = {content.path for content in manifest.contents} - sets
    for path in sorted(entries.keys() - _FIXED):
        if path not in whole and delta.content_of(path) not in sets:
            problems.append(f"{path} belongs to no content")
    return problems


class DeltaExaminer:
    """Takes the content files of a delta, in the order of their paths, as `kit.contents.Examiner` takes a full one's.

    Whole files are held against their content digest. Of row sets it is checked that each line is in its form and in
    its place; whether they lead to the target is known when they are applied.
    """

    def __init__(self, manifest: ExportManifest, files: Mapping[str, int], scratch: Path) -> None:
        whole = tuple(content for content in manifest.contents if content.path in files)
        self._sizes = files
        self._whole = Examiner(replace(manifest, contents=whole), files, scratch)
        self._problems: list[str] = []
        self.upserts: dict[str, int] = {}
        """New and changed rows by content."""
        self.removals: dict[str, int] = {}
        self.tombstones = 0
        """Removed rows that have vanished upstream, each with its tombstone."""

    def close(self) -> None:
        """Let go of what lies in the scratch directory."""
        self._whole.close()

    def take(self, path: str, chunks: Iterator[bytes]) -> None:
        """The next file; what cannot be read is noted and ends it."""
        content = delta.content_of(path)
        if content is None:
            self._whole.take(path, chunks)
            return
        count = 0
        try:
            if path == delta.upserts_file(content):
                for _ in upserts(content, chunks, self._sizes[path]):
                    count += 1
                self.upserts[content] = count
            else:
                for removal in removals(content, chunks, self._sizes[path]):
                    count += 1
                    self.tombstones += removal.tombstone is not None
                self.removals[content] = count
        except InvalidInput as error:
            self._problems.append(f"{path}: {error}")
            return
        if count == 0:
            self._problems.append(f"{path} has no lines")

    def finish(self) -> Examined:
        """What was found in all of them."""
        found = self._whole.finish()
        found.problems += self._problems
        return found


def upserts(content: str, chunks: Iterator[bytes], size: int) -> Iterator[tuple[Place, bytes]]:
    """The lines of an upserts file in their order, each in the form of its set.

    Raises:
        BadPacking, BadRow: anything else.
    """
    parse = form_of(content).parse
    last: Place | None = None
    for line in packed.lines(packed.unzstd(chunks, packed.expansion_limit(size))):
        row = parse(line)
        last = _next(last, (row.owner, row.source, row.key))
        yield last, line


def removals(content: str, chunks: Iterator[bytes], size: int) -> Iterator[delta.Removal]:
    """The lines of a removed file in their order.

    Raises:
        BadPacking, BadRow: anything else.
    """
    del content
    last: Place | None = None
    for line in packed.lines(packed.unzstd(chunks, packed.expansion_limit(size))):
        removal = delta.parse_removal(line)
        last = _next(last, removal.place)
        yield removal


def _next(last: Place | None, place: Place) -> Place:
    if last is not None and place <= last:
        raise rows.BadRow(f"row {place!r:.300} does not come after {last!r:.300}")
    return place


def read_head(path: Path, trusted: Sequence[PublicKey], revoked: Collection[str] = ()) -> Head:
    """The signed head of an archive; nothing after it is read.

    Raises:
        StellaError: it cannot be trusted, or is no archive.
    """
    tree = ArchiveTree(path)
    try:
        return signed_head(tree, trusted, revoked)
    finally:
        tree.close()


def lay_out(
    path: Path,
    target: Path,
    trusted: Sequence[PublicKey],
    revoked: Collection[str],
    *,
    explained: Callable[[ExportManifest, FilesManifest], list[str]] = unexplained,
    identities: Sequence[Opener] = (),
) -> Head:
    """Write the files of an archive into a directory, each as it was signed; what is encrypted is decrypted.

    Nothing of it may be used before this has returned.

    Args:
        explained: says which files of the archive its manifests do not explain.
        identities: private keys that open it, where it is encrypted.

    Raises:
        StellaError: it cannot be trusted, is damaged, or holds what nothing explains.
        OSError: the target cannot be written.
    """
    tree = ArchiveTree(path)
    try:
        head = signed_head(tree, trusted, revoked)
        _refuse(explained(head.manifest, head.files))
        opening = opening_of(tree, head.key, head.manifest.export_id, identities)
        opening.demand_readable()
        documents = {
            layout.MANIFEST_YAML: rendering.manifest_yaml(head.manifest),
            layout.README: rendering.readme(head.manifest),
        }
        sizes = {entry.path: entry.bytes for entry in head.files.files}
        small = {name: len(data) for name, data in documents.items()} | {
            layout.PROVENANCE: provenance.LARGEST
        }

        tree.pass_over(sizes, small, opening.taking(partial(_write, target)))
        _refuse(_problems(tree, head, documents, opening.environment))
        beside = outer.read(path)
        if beside is not None and tree.digest is not None:
            _refuse(beside.problems(path.name, tree.digest, head.key))
        kept = _kept_signatures(tree, encrypted=opening.envelope is not None)
        for name in sorted({*documents, *kept, layout.MANIFEST}):
            _write(target, name, iter([tree.read(name, layout.LONGEST_LINE)]))
        return head
    finally:
        tree.close()


def _write(target: Path, name: str, chunks: Iterator[bytes]) -> None:
    file = target / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as out:
        out.writelines(chunks)


def _kept_signatures(tree: ArchiveTree, *, encrypted: bool) -> set[str]:
    """The signatures that stay with what they sign once there is no `files.json` and no provenance any more.

    Of an encrypted archive those over contents go too: they are over what was encrypted.
    """
    of_archive = {
        *layout.signature_paths(layout.FILES), layout.JWS_PATHS[layout.FILES], layout.PROVENANCE_BUNDLE,
    }  # fmt: skip
    if encrypted:
        own = {*layout.signature_paths(layout.MANIFEST), layout.JWS_PATHS[layout.MANIFEST]}
        return own & tree.listing().files
    return {path for path in tree.listing().files if path.startswith(layout.SIGNATURES)} - of_archive


def _problems(
    tree: ArchiveTree, head: Head, documents: Mapping[str, bytes], environment: Mapping[str, Any]
) -> Iterator[str]:
    for entry in head.files.files:
        if tree.measure(entry.path, entry.bytes) != (entry.digest, entry.bytes):
            yield f"{entry.path} is not the file that was signed"
    for name, data in documents.items():
        if tree.read(name, len(data)) != data:
            yield f"{name} is not what export.json gives"
    signed = {entry.path: entry.digest for entry in head.files.files}
    signed[layout.FILES] = digests.sha256(head.files.data)
    yield from signatures.problems(tree, head.key, signed)
    statement = tree.read(layout.PROVENANCE, provenance.LARGEST)
    yield from signatures.statement_problems(tree, head.key, statement)
    if statement != provenance.build(head.manifest, head.files, environment):
        yield "provenance.json is not what export.json and files.json give"
    there = {path for path in tree.listing().files if path.startswith(layout.SIGNATURES)}
    expected = layout.expected_signatures({*signed, layout.PROVENANCE})
    jws = set(layout.JWS_PATHS.values())
    if there & jws:
        expected |= jws
        manifests = {layout.MANIFEST: head.manifest.data, layout.FILES: head.files.data}
        yield from signatures.jws_problems(tree, head.key, manifests)
    yield from (f"{name} is explained by nothing" for name in sorted(there - expected))


def _refuse(problems: Iterator[str] | Sequence[str]) -> None:
    found = list(problems)
    if found:
        raise BadDelta(found[0], details=found)
