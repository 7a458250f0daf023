"""What the authority needs from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from stellaops.authority.keys import DamagedKey, KeyRecord
from stellaops.signing.ecdsa_p256 import PrivateKey
from stellaops.signing.interface import Signer


class KeyStore(Protocol):
    """Where keys are kept. Methods raise `KeyNotFound` for a key that a tenant does not have."""

    def create(self, tenant: str, created_at: datetime) -> KeyRecord:
        """Make a new key; it becomes the tenant's active one where the tenant has no active key, else it waits."""

    def records(self, tenant: str) -> tuple[KeyRecord, ...]:
        """All sound keys of a tenant, the oldest first; empty for a tenant without keys."""

    def damaged(self, tenant: str) -> tuple[DamagedKey, ...]:
        """Keys whose records cannot be read, by id."""

    def activate(self, tenant: str, key_id: str, activated_at: datetime) -> None:
        """Make a key the one that signs, retire the one that did, and publish the public key."""

    def revoke(self, tenant: str, key_id: str, revoked_at: datetime, reason: str) -> None:
        """Mark a key so that it neither signs nor verifies any more; a first revocation stands."""


class SignerSource(Protocol):
    """Where a key's signer comes from."""

    def signer(self, tenant: str, key_id: str) -> Signer:
        """The signer of a key.

        Raises:
            KeyNotFound: the tenant has no such key.
            MissingPrerequisite: the key cannot be used, for example because its passphrase is not given.
        """


class PrivateKeys(KeyStore, Protocol):
    """A `KeyStore` that lets private keys in and out. Methods raise `KeyUnavailable` for one that cannot be opened."""

    def add(self, tenant: str, key: PrivateKey, created_at: datetime, passphrase: bytes | None) -> KeyRecord:
        """Take in a key that was made elsewhere, or the private part of one that is known, under a passphrase."""

    def private_key(self, tenant: str, key_id: str, *other_passphrases: bytes) -> PrivateKey:
        """The private key, opened with the store's passphrase or else with one of the others."""

    def protect(self, tenant: str, key: PrivateKey, passphrase: bytes | None) -> None:
        """Write a key that is known again, under another passphrase or under none."""
