"""From a sealed bundle root to what a run publishes of it: the root itself, or one archive with its signed digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stellaops.bundles import layout, tar_zst
from stellaops.bundles.files_manifest import FileEntry
from stellaops.bundles.tar_zst import ArchiveWriter
from stellaops.core import digests
from stellaops.exports.ports import Staging
from stellaops.kit.sealing import Sealed
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.interface import Signer

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What lies in the staging place after a bundle was closed.

    Attributes:
        root: the bundle root, unpacked, for whoever looks into its files.
        artifacts: what is published beside signatures.
        signatures: paths of the signatures.
    """

    root: Path
    artifacts: tuple[FileEntry, ...]
    signatures: tuple[str, ...]


def close(sealed: Sealed, staging: Staging, signer: Signer, archive: str | None) -> Outcome:
    """Leave the bundle root as it is or, with the name of an archive, put that in its place.

    Raises:
        NotPackable: a file that archives do not carry.
        StellaError: the signer cannot sign.
    """
    if archive is None:
        return Outcome(staging.root, sealed.artifacts, sealed.signatures)
    unpacked = staging.scratch / "unpacked"
    unpacked.mkdir()
    for path in list(staging.root.iterdir()):
        path.rename(unpacked / path.name)
    sizes = {entry.path: entry.bytes for entry in sealed.artifacts}
    sizes |= {path: len(sealed.written[path]) for path in sealed.signatures}
    files = ((path, sizes[path], _chunks(unpacked / path)) for path in tar_zst.in_order(sizes))
    artifacts, signature = write_archive(archive, files, staging, signer)
    return Outcome(unpacked, artifacts, (signature,))


def write_archive(
    name: str, files: Iterable[tuple[str, int, Iterator[bytes]]], staging: Staging, signer: Signer
) -> tuple[tuple[FileEntry, ...], str]:
    """Write an archive and what lies beside it; the published files, and the path of the signature.

    Args:
        name: of the archive.
        files: path, size and bytes of each file, in the order of `tar_zst.in_order`.
        staging: where it grows.
        signer: signs the file of the digest.
    """
    with staging.create(name) as out:
        writer = ArchiveWriter(out)
        for path, size, chunks in files:
            writer.add(path, size, chunks)
        digest = writer.finish()
    return sign_archive(FileEntry(name, digest, writer.size, "zstd"), staging, signer)


def sign_archive(archive: FileEntry, staging: Staging, signer: Signer) -> tuple[tuple[FileEntry, ...], str]:
    """Write the digest of an archive and the signature over it; the published files, and the path of the signature."""
    beside, signature = f"{archive.path}{layout.ARCHIVE_DIGEST}", f"{archive.path}{layout.ARCHIVE_SIGNATURE}"
    line = tar_zst.digest_line(archive.digest, archive.path)
    with staging.create(beside) as out:
        out.write(line)
    with staging.create(signature) as out:
        out.write(_signed(line, signer))
    return (archive, FileEntry(beside, digests.sha256(line), len(line), "none")), signature


def _signed(line: bytes, signer: Signer) -> bytes:
    digest = hashlib.sha256(line).digest()
    made = signer.sign_digest(digest)
    ecdsa_p256.load_public_key(signer.public_key_pem()).verify(made, digest)
    return cosign_blob.encode(made)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
