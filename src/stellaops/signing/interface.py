"""What can sign and wrap: a key in memory, in a file, in a module or behind a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stellaops.core.errors import DependencyFailed, MissingPrerequisite
from stellaops.signing.ecdsa_p256 import PublicKey
from stellaops.signing.key_uri import KeyUri


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


class KeyServiceDown(DependencyFailed):
    """A key service does not answer, or says that it cannot work at present.

    Args:
        retry_after: seconds after which it wants to be asked again, where it said so.
    """

    code = "ERR_KEY_SERVICE_DOWN"
    hint = "Have the key service restored (unsealed, started, reached), then run `stella export run replay`."

    def __init__(self, what: str, *, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class KeyServiceRefused(MissingPrerequisite):
    """A key service answered that it does not do this: no such key, no permission, a key of another kind."""

    code = "ERR_KEY_SERVICE_REFUSED"
    hint = "Set right what the message names in the key service: the key, its kind, or what the credentials may do."


class PinRefused(KeyServiceRefused):
    """A token did not take the PIN. Nothing tries it again by itself, since tokens lock after a few."""

    code = "ERR_KEY_SERVICE_PIN"
    hint = "Put the token's PIN into the file of the setting pkcs11.pinFile, then run `stella export run replay`."


class KeyServiceWrong(DependencyFailed):
    """A key service gave a signature that its own public key does not verify; it is not used."""

    code = "ERR_KEY_SERVICE_SIGNATURE"
    hint = "Look at the key service: it signs something else than it is asked for, or with another key."


class KeyServiceMissing(MissingPrerequisite):
    """What is needed to reach a key service is not there: a setting, a secret's file, a library."""

    code = "ERR_KEY_SERVICE_MISSING"
    hint = "See docs/operate/key-services.md for the settings and the library of each service."


class KeyService(Protocol):
    """One kind of key service.

    Methods raise `KeyServiceDown` where a later attempt may work, `KeyServiceRefused` where an operator has to act.
    They try once, and in bounded time; `signing.key_services` repeats them.
    """

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """The public keys that a URI stands for, at least one, the newest first: a key may have versions."""

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """DER signature over a 32-byte SHA-256 digest, by that one of the URI's keys."""

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """Some bytes (at most 64) encrypted and authenticated by the service, bound to others that are not secret."""

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """What was wrapped, where it is bound to the same."""
