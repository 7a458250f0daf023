"""What the authority needs from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from stellaops.authority.keys import KeyRecord
from stellaops.signing.interface import Signer


class KeyStore(Protocol):
    """Where keys are kept. Methods raise `KeyNotFound` for a key that a tenant does not have."""

    def create(self, tenant: str, created_at: datetime) -> KeyRecord:
        """Make a new key; it becomes the tenant's active one where the tenant has no active key, else it waits."""

    def records(self, tenant: str) -> tuple[KeyRecord, ...]:
        """All keys of a tenant, the oldest first; empty for a tenant without keys."""

    def activate(self, tenant: str, key_id: str) -> None:
        """Make a key the one that signs, and publish its public key."""

    def revoke(self, tenant: str, key_id: str, revoked_at: datetime) -> None:
        """Mark a key so that it neither signs nor verifies any more."""


class SignerSource(Protocol):
    """Where a key's signer comes from."""

    def signer(self, tenant: str, key_id: str) -> Signer:
        """The signer of a key.

        Raises:
            KeyNotFound: the tenant has no such key.
            MissingPrerequisite: the key cannot be used, for example because its passphrase is not given.
        """
