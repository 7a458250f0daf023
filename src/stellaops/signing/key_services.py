"""Keys of key services as signers: asked again where a service fails, and believed only after a check."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey, minimal
from stellaops.signing.interface import KeyService, KeyServiceDown, KeyServiceRefused, KeyServiceWrong
from stellaops.signing.key_uri import KeyUri

T = TypeVar("T")

_LONGEST_WAIT = 30.0
"""Seconds; a service that wants to be left alone for longer has failed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a service that fails is asked again.

    Attributes:
        attempts: how often in all.
        first_seconds: the first pause; each further one is twice as long.
        sleep: waits for so many seconds.
        chance: a number from 0 to 1, which spreads the pauses of many clients.
    """

    attempts: int
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    first_seconds: float = 0.5

    def ask(self, call: Callable[[], T]) -> T:
        """What the call gives.

        Raises:
            KeyServiceDown: it failed so each time; and whatever else it raises, at once.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except KeyServiceDown as error:
                pause = self._pause(attempt, error)
                if attempt == self.attempts or pause is None:
                    raise KeyServiceDown(f"{error.what} (asked {_times(attempt)})") from error
                self.sleep(pause)
        raise AssertionError("there is at least one attempt")

    def _pause(self, attempt: int, error: KeyServiceDown) -> float | None:
        own = min(self.first_seconds * 2 ** (attempt - 1), _LONGEST_WAIT) * (0.75 + self.chance() / 2)
        wanted = error.retry_after or 0.0
        return max(own, wanted) if wanted <= _LONGEST_WAIT else None


@dataclass(frozen=True, slots=True)
class PatientService:
    """A `KeyService` that asks another one again where that fails."""

    service: KeyService
    patience: Patience

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """See `KeyService`."""
        return self.patience.ask(lambda: self.service.public_keys(uri))

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """See `KeyService`."""
        return self.patience.ask(lambda: self.service.sign_digest(uri, public, digest))

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`."""
        return self.patience.ask(lambda: self.service.wrap(uri, key, bound_to))

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`."""
        return self.patience.ask(lambda: self.service.unwrap(uri, wrapped, bound_to))


@dataclass(frozen=True, slots=True)
class ServiceSigner:
    """A `Signer` whose private key stays in a service; each signature is checked before anyone gets it."""

    service: KeyService
    uri: KeyUri
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
        """See `Signer`.

        Raises:
            KeyServiceDown, KeyServiceRefused: see there.
            KeyServiceWrong: what the service gave is no signature by the key that it is to sign with.
        """
        made = self.service.sign_digest(self.uri, self.public, digest)
        try:
            signature = minimal(made)
            self.public.verify(signature, digest)
        except (BadSignature, ValueError) as error:
            raise KeyServiceWrong(
                f"the signature that {self.uri} gave was not made by key {self.key_id}"
            ) from error
        return signature


def matching(uri: KeyUri, keys: Sequence[PublicKey], key_id: str) -> PublicKey:
    """That one of a URI's keys which has an id.

    Raises:
        KeyServiceRefused: none has: the name stands for another key than it did.
    """
    for key in keys:
        if key.key_id == key_id:
            return key
    raise KeyServiceRefused(
        f"{uri} is not key {key_id} any more",
        hint="Restore the key in its service, or take the one that is there with `stella authority key rotate --uri`.",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
