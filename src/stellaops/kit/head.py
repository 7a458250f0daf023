"""The signed head of an archive or a bundle root: both manifests, believed only after their signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stellaops.bundles import files_manifest, layout, manifest
from stellaops.bundles.files_manifest import FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.core.errors import NotTrusted
from stellaops.kit import signatures
from stellaops.kit.tree import Readable
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey


class BadHead(NotTrusted):
    """Manifests that are signed, but not by a key that may, or that do not fit each other."""

    code = "ERR_MIRROR_HEAD"
    hint = "Do not use this bundle; fetch it again, and check that the key is the sender's."


@dataclass(frozen=True, slots=True)
class Head:
    """What an archive says of itself, and who signed it."""

    manifest: ExportManifest
    files: FilesManifest
    key: PublicKey

    @property
    def archive_id(self) -> str:
        """The id of the archive."""
        return self.files.archive_id


def signed_manifest(
    tree: Readable, trusted: Sequence[PublicKey], revoked: Collection[str] = ()
) -> tuple[ExportManifest, PublicKey]:
    """`export.json` with the key that signed it.

    Raises:
        BadSignature: no trusted key signed it.
        BadHead: a revoked key did, or its ids are not those that its bytes give.
        BadManifest, UntrustedFile: it is not in its form.
    """
    raw = tree.read(layout.MANIFEST, manifest.LARGEST)
    key = signatures.signer_of(tree, raw, trusted)
    if key.key_id in revoked:
        raise BadHead(f"export.json is signed by key {key.key_id}, which is revoked and verifies nothing")
    found = manifest.parse(raw)
    if found.export_id != found.true_export_id() or found.rerun_hash != found.true_rerun_hash():
        raise BadHead("export.json states ids that its own bytes do not give")
    return found, key


def signed_head(tree: Readable, trusted: Sequence[PublicKey], revoked: Collection[str] = ()) -> Head:
    """Both manifests, signed by one key.

    Raises:
        BadSignature, BadHead, BadManifest, BadFilesManifest, UntrustedFile: see `signed_manifest`.
    """
    found, key = signed_manifest(tree, trusted, revoked)
    raw = tree.read(layout.FILES, files_manifest.LARGEST)
    plain, _ = layout.signature_paths(layout.FILES)
    try:
        cosign_blob.verify(tree.read(plain, cosign_blob.LARGEST), hashlib.sha256(raw).digest(), key)
    except BadSignature as error:
        raise BadHead(f"files.json is not signed by the key of export.json: {error}") from error
    files = files_manifest.parse(raw)
    if files.export_id != found.export_id:
        raise BadHead(f"files.json is of export {files.export_id}, export.json is {found.export_id}")
    return Head(found, files, key)
