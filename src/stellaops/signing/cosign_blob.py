"""`X.sig`: base64 of a DER signature, without a newline, as `cosign verify-blob --signature` and openssl take it."""

from __future__ import annotations

import base64
import binascii

from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

LARGEST = 96
"""Bytes of the longest possible file: base64 of 72 bytes."""


def encode(signature: bytes) -> bytes:
    """The file for a DER signature."""
    return base64.b64encode(signature)


def decode(data: bytes) -> bytes:
    """The DER signature in a file.

    Raises:
        BadSignature: anything but the file that `encode` writes.
    """
    try:
        signature = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the signature file is not base64") from error
    if base64.b64encode(signature) != data:
        raise BadSignature("the signature file is not in its canonical form")
    return signature


def verify(data: bytes, digest: bytes, key: PublicKey) -> None:
    """Check a signature file over the 32-byte SHA-256 digest of a blob.

    Raises:
        BadSignature: it does not hold or is not in its only form.
    """
    key.verify(decode(data), digest)
