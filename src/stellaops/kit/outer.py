"""The files that lie beside a mirror archive: its digest, and the signature over the file of the digest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from stellaops.bundles import layout, tar_zst
from stellaops.core.digests import Digest
from stellaops.kit.tree import Tree, UntrustedFile
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_LARGEST = 1024


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies there; None for a signature that does not, or cannot be read."""

    line: bytes
    signature: bytes | None

    def problems(self, name: str, digest: Digest, key: PublicKey) -> list[str]:
        """What is wrong with it.

        Args:
            name: of the archive.
            digest: of its bytes.
            key: the signer of its manifest, who must have signed its digest too.
        """
        if self.signature is None:
            return [f"{name}{layout.ARCHIVE_SIGNATURE} is missing"]
        try:
            cosign_blob.verify(self.signature, hashlib.sha256(self.line).digest(), key)
        except BadSignature as error:
            return [f"{name}{layout.ARCHIVE_SIGNATURE}: {error}"]
        if self.line != tar_zst.digest_line(digest, name):
            return [f"{name} is not the file whose digest lies beside it"]
        return []


def read(archive: Path) -> Beside | None:
    """What lies beside an archive; None where no digest does.

    Raises:
        UntrustedFile: there is a digest, and it cannot be read.
    """
    tree, name = Tree(archive.parent), archive.name
    if not os.path.lexists(archive.parent / f"{name}{layout.ARCHIVE_DIGEST}"):
        return None
    line = tree.read(f"{name}{layout.ARCHIVE_DIGEST}", _LARGEST)
    try:
        signature = tree.read(f"{name}{layout.ARCHIVE_SIGNATURE}", cosign_blob.LARGEST)
    except UntrustedFile:
        signature = None
    return Beside(line, signature)
