"""Other signatures in a mirror archive: it is read twice, and written again with all else as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from stellaops.bundles import files_manifest, layout, manifest, provenance, tar_zst
from stellaops.bundles.files_manifest import FileEntry, FilesManifest
from stellaops.bundles.tar_zst import ArchiveWriter
from stellaops.core.digests import Digest, content_id, sha256
from stellaops.exports.building.pack_mirror import sign_archive
from stellaops.exports.errors import VerifyFailed
from stellaops.exports.ports import Staging
from stellaops.kit import signatures
from stellaops.kit.archive import ArchiveTree
from stellaops.signing.interface import Signer


def resign_archive(
    archive: Path, archive_id: str, staging: Staging, signer: Signer
) -> tuple[tuple[FileEntry, ...], str]:
    """Put an archive with signatures of another key, and what lies beside it, into a staging place.

    Its content is held against the id of the archive, which is the digest of all its files; old signatures are not
    believed.

    Returns:
        The published files, and the path of the signature beside them.

    Raises:
        VerifyFailed: it is not the archive of this id.
        BadArchive: it is damaged.
    """
    head, made = _signed_again(archive, archive_id, signer)
    with staging.create(archive.name) as out, closing(ArchiveTree(archive)) as tree:
        writer = ArchiveWriter(out)
        for path in tar_zst.in_order({**head.fixed, **made}):
            data = head.fixed.get(path) or made[path]
            writer.add(path, len(data), [data])
        tree.pass_over(head.sizes, {}, lambda path, chunks: writer.add(path, head.sizes[path], chunks))
        digest = writer.finish()
    return sign_archive(FileEntry(archive.name, digest, writer.size, "zstd"), staging, signer)


class _Head:
    """What an archive says of itself, held against its id."""

    def __init__(self, archive: Path, tree: ArchiveTree, archive_id: str) -> None:
        raw = tree.read(layout.FILES, files_manifest.LARGEST)
        if content_id(raw) != archive_id:
            raise VerifyFailed(f"{archive.name} is not archive {archive_id}")
        self.files: FilesManifest = files_manifest.parse(raw)
        self.fixed = {layout.MANIFEST: tree.read(layout.MANIFEST, manifest.LARGEST), layout.FILES: raw}
        self.sizes = {entry.path: entry.bytes for entry in self.files.files}
        self.jws = bool(tree.listing().files & set(layout.JWS_PATHS.values()))

    def signed(self) -> dict[str, Digest]:
        """Digests of the files that may have signatures."""
        held = {entry.path: entry.digest for entry in self.files.files}
        return held | {path: sha256(data) for path, data in self.fixed.items()}


def _signed_again(archive: Path, archive_id: str, signer: Signer) -> tuple[_Head, dict[str, bytes]]:
    with closing(ArchiveTree(archive)) as tree:
        head = _Head(archive, tree, archive_id)
        tree.pass_over(head.sizes, {layout.PROVENANCE: provenance.LARGEST}, _let_pass)
        for entry in head.files.files:
            if tree.measure(entry.path, entry.bytes) != (entry.digest, entry.bytes):
                raise VerifyFailed(f"{entry.path} in {archive.name} is not the file of archive {archive_id}")
        statement = tree.read(layout.PROVENANCE, provenance.LARGEST)
    made = signatures.make(signer, head.signed(), statement)
    if head.jws:
        made |= signatures.make_jws(signer, head.fixed)
    head.sizes[layout.PROVENANCE] = len(statement)
    return head, made


def _let_pass(_path: str, _chunks: Iterator[bytes]) -> None:
    """What is left unread is hashed all the same."""
