"""The signatures beside the files of a mirror, in every form that its readers know."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from stellaops.signing import cosign_blob, detached_jws, ecdsa_p256, sigstore_bundle
from stellaops.signing.ecdsa_p256 import PublicKey
from stellaops.signing.interface import Signer

SIG, SIGSTORE, JWS = ".sig", ".sigstore.json", ".jws"
SUFFIXES = (SIG, SIGSTORE, JWS)
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """A file's lower-case hexadecimal SHA-256 and its size."""

    sha256: str
    bytes: int


def measure(file: Path) -> Measured:
    """Digest and size of a file."""
    with file.open("rb") as content:
        return Measured(hashlib.file_digest(content, "sha256").hexdigest(), file.stat().st_size)


def sign_file(file: Path, signer: Signer, *, jws: bool = True) -> Measured:
    """Write the signatures of a file beside it; the file is read once, piece by piece.

    Args:
        jws: also a detached JWS.

    Raises:
        StellaError: the signer cannot sign.
    """
    plain, attached, size = hashlib.sha256(), detached_jws.begin(signer.key_id), 0
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            plain.update(piece)
            attached.update(piece)
            size += len(piece)
    digest = plain.digest()
    signature = signer.sign_digest(digest)
    key = ecdsa_p256.load_public_key(signer.public_key_pem())
    _write(file, SIG, cosign_blob.encode(signature))
    _write(file, SIGSTORE, sigstore_bundle.encode_blob(key, digest, signature))
    if jws:
        _write(file, JWS, detached_jws.sign_hashed(signer, attached))
    return Measured(plain.hexdigest(), size)


def verify_bytes(data: bytes, signature: bytes, bundle: bytes, key: PublicKey) -> None:
    """Check both signatures of a small file.

    Raises:
        BadSignature: one of them does not hold.
    """
    digest = hashlib.sha256(data).digest()
    cosign_blob.verify(signature, digest, key)
    sigstore_bundle.verify_blob(bundle, digest, key)


def _write(file: Path, suffix: str, data: bytes) -> None:
    # Never into a file that is there: it may be linked to one of another tree.
    with file.with_name(file.name + suffix).open("xb") as out:
        out.write(data)
