"""ECDSA over P-256 with SHA-256: the one algorithm that cosign, openssl and every Sigstore verifier share."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from stellaops.core.errors import InvalidInput, NotTrusted

_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))
_DETERMINISTIC = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)
LONGEST_SIGNATURE = 72
"""Bytes of the longest DER signature of this curve."""
OPENING_HINT = (
    "Give the passphrase that it is under: --passphrase-file, or STELLA_KEY_PASSPHRASE_FILE for runs."
)


class UnusableKey(InvalidInput):
    """A public or private key that is no P-256 key in PEM."""

    code = "ERR_KEY_UNUSABLE"
    hint = "Give an ECDSA P-256 key in PEM, as `stella authority key export-public` writes it."


class BadSignature(NotTrusted):
    """A signature that does not hold, or that is not written in its only form."""

    code = "ERR_SIGNATURE_INVALID"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and its names."""

    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)
    key_id: str
    """64 lower-case hexadecimal digits: SHA-256 of the SubjectPublicKeyInfo in DER."""

    @property
    def hint(self) -> str:
        """The key id as Sigstore bundles write it: base64 of the 32 bytes."""
        return base64.b64encode(bytes.fromhex(self.key_id)).decode("ascii")

    def pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verify(self, signature: bytes, digest: bytes) -> None:
        """Check a DER signature over a 32-byte SHA-256 digest.

        Raises:
            BadSignature: it does not hold, or its DER is not the shortest and only encoding of its two numbers.
        """
        try:
            if len(signature) > LONGEST_SIGNATURE or minimal(signature) != signature:
                raise BadSignature("the signature is not in minimal DER")
            self._key.verify(signature, digest, _PREHASHED)
        except (InvalidSignature, ValueError) as error:
            raise BadSignature(f"the signature was not made by key {self.key_id}") from error


def minimal(signature: bytes) -> bytes:
    """A DER signature in the shortest, and only valid, encoding of its two numbers.

    Raises:
        ValueError: it is no signature in DER.
    """
    return encode_dss_signature(*decode_dss_signature(signature))


def public_key(key: ec.EllipticCurvePublicKey) -> PublicKey:
    """Name a public key.

    Raises:
        UnusableKey: another curve.
    """
    if not isinstance(key.curve, ec.SECP256R1):
        raise UnusableKey(f"the key is on curve {key.curve.name}, not on P-256")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(key, hashlib.sha256(der).hexdigest())


def load_public_key(pem: bytes) -> PublicKey:
    """Read a public key from PEM.

    Raises:
        UnusableKey: not PEM, or no P-256 key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("the public key is not a SubjectPublicKeyInfo in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UnusableKey("the public key is no ECDSA key")
    return public_key(key)


def load_public_keys(data: bytes) -> tuple[PublicKey, ...]:
    """Read the public keys in a file: one in PEM, or several one after the other.

    Raises:
        UnusableKey: there is none, one is no P-256 key, or other PEM stands beside them.
    """
    blocks = _BLOCK.findall(data)
    if not blocks or len(blocks) != data.count(b"-----BEGIN "):
        raise UnusableKey("the file holds no public key in PEM, or something else beside its public keys")
    return tuple(load_public_key(block + b"\n") for block in blocks)


_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A signer whose private key is in memory; its signatures are deterministic (RFC 6979)."""

    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    public: PublicKey

    @property
    def key_id(self) -> str:
        """See `Signer`."""
        return self.public.key_id

    def public_key_pem(self) -> bytes:
        """See `Signer`."""
        return self.public.pem()

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        return self.sign_digest(hashlib.sha256(message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `Signer`."""
        return self._key.sign(digest, _DETERMINISTIC)

    def to_pkcs8(self) -> bytes:
        """The private key as PKCS#8 in DER, for a form that encrypts it by itself."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """The private key as PKCS#8 in PEM, encrypted where a passphrase is given."""
        protection: serialization.KeySerializationEncryption = (
            serialization.NoEncryption()
            if passphrase is None
            else serialization.BestAvailableEncryption(passphrase)
        )
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        )


def private_key(key: ec.EllipticCurvePrivateKey) -> PrivateKey:
    """Make a signer of a private key.

    Raises:
        UnusableKey: another curve.
    """
    return PrivateKey(key, public_key(key.public_key()))


def generate() -> PrivateKey:
    """A new key from the operating system's randomness."""
    return private_key(ec.generate_private_key(ec.SECP256R1()))


def load_private_key(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Read a private key from PEM: PKCS#8, or SEC 1 as `openssl ecparam -genkey` writes it.

    Raises:
        UnusableKey: not PEM, no P-256 key, or the passphrase does not open it. The message never holds key material
            or the passphrase, and no cause is chained that might.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError:
        wanted = "needs a passphrase" if passphrase is None else "has no passphrase, but one was given"
        raise UnusableKey(f"the private key {wanted}", hint=OPENING_HINT) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(
            "the private key is damaged or its passphrase is another one", hint=OPENING_HINT
        ) from None
    return _ecdsa(key)


def load_pkcs8(der: bytes) -> PrivateKey:
    """Read a private key from PKCS#8 in DER, under no passphrase.

    Raises:
        UnusableKey: not PKCS#8, or no P-256 key; with no cause chained that might hold key material.
    """
    try:
        key = serialization.load_der_private_key(der, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise UnusableKey("the private key is no PKCS#8") from None
    return _ecdsa(key)


def _ecdsa(key: object) -> PrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableKey("the private key is no ECDSA key")
    return private_key(key)
