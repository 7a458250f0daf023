"""Private keys in files, in each form that is read: cosign's own, and PKCS#8 or SEC 1 in PEM."""

from __future__ import annotations

from enum import StrEnum

from stellaops.signing import cosign_key, ecdsa_p256
from stellaops.signing.ecdsa_p256 import PrivateKey, UnusableKey

LARGEST = 64 * 1024
"""More bytes than any key file has."""


class KeyForm(StrEnum):
    """Forms in which a private key is written."""

    COSIGN = "cosign"
    PKCS8 = "pkcs8"


def is_encrypted(data: bytes) -> bool:
    """Whether a key file is under a passphrase."""
    marks = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
    return cosign_key.recognises(data) or any(mark in data[:256] for mark in marks)


def read(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """The key in a file, whatever its form.

    Args:
        data: the file.
        passphrase: what it is under; None where it is under none.

    Raises:
        UnusableKey: no P-256 key in a form that is read, or the passphrase does not open it.
    """
    if len(data) > LARGEST:
        raise UnusableKey(f"the file has more than {LARGEST} bytes and is no private key")
    if cosign_key.recognises(data):
        return cosign_key.decode(data, passphrase)
    return ecdsa_p256.load_private_key(data, passphrase)


def write(key: PrivateKey, form: KeyForm, passphrase: bytes | None) -> bytes:
    """The file for a key.

    Raises:
        UnusableKey: cosign's form without a passphrase, or an empty one in either.
    """
    if passphrase is not None and not passphrase:
        raise UnusableKey("an empty passphrase protects nothing", hint="Put a passphrase into the file.")
    if form is KeyForm.PKCS8:
        return key.to_pem(passphrase)
    if passphrase is None:
        raise UnusableKey(
            "cosign's form is always under a passphrase, and none was given",
            hint="Give one with --new-passphrase-file, or choose --form pkcs8.",
        )
    return cosign_key.encode(key, passphrase)
