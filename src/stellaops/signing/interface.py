"""What can sign: a key in memory, in a file, in a module or behind a service."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """An ECDSA P-256 key that signs SHA-256 digests.

    Implementations raise a `stellaops.core.errors.StellaError` where the key cannot be used: `MissingPrerequisite` for
    good, `DependencyFailed` where a later attempt may work.
    """

    @property
    def key_id(self) -> str:
        """64 lower-case hexadecimal digits: SHA-256 of the public key's SubjectPublicKeyInfo in DER."""

    def public_key_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo in PEM."""

    def sign(self, message: bytes) -> bytes:
        """DER signature over a message."""

    def sign_digest(self, digest: bytes) -> bytes:
        """DER signature over a 32-byte SHA-256 digest that was computed elsewhere, for example by streaming."""
