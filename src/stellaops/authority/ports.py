"""What the authority needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from stellaops.authority.audit import EVERYTHING, AuditFilter, AuditRecord
from stellaops.authority.clients import Client
from stellaops.authority.keys import DamagedKey, KeyRecord
from stellaops.authority.tenants import Tenant
from stellaops.authority.tokens import TokenKey, TokenState
from stellaops.signing.ecdsa_p256 import PrivateKey, PublicKey
from stellaops.signing.interface import Signer


class KeyStore(Protocol):
    """Where keys are kept. Methods raise `KeyNotFound` for a key that a tenant does not have."""

    def create(self, tenant: str, created_at: datetime) -> KeyRecord:
        """Make a new key; it becomes the tenant's active one where the tenant has no active key, else it waits."""

    def add_of_service(self, tenant: str, uri: str, public: PublicKey, created_at: datetime) -> KeyRecord:
        """Take in a key that a key service keeps; it is active where the tenant has no active key, else it waits.

        Raises:
            KeyKnown: the tenant has it already.
        """

    def records(self, tenant: str) -> tuple[KeyRecord, ...]:
        """All sound keys of a tenant, the oldest first; empty for a tenant without keys."""

    def damaged(self, tenant: str) -> tuple[DamagedKey, ...]:
        """Keys whose records cannot be read, by id."""

    def activate(self, tenant: str, key_id: str, activated_at: datetime) -> None:
        """Make a key the one that signs, retire the one that did, and publish the public key."""

    def revoke(self, tenant: str, key_id: str, revoked_at: datetime, reason: str) -> None:
        """Mark a key so that it neither signs nor verifies any more; a first revocation stands."""


class KeysOfServices(Protocol):
    """Keys that others keep, named by URIs."""

    def public_key(self, tenant: str, uri: str) -> PublicKey:
        """The newest public key that a URI stands for.

        Raises:
            BadKeyUri, KeyUriRefused: see there.
            KeyServiceDown, KeyServiceRefused, KeyServiceMissing: see there.
        """
        ...

    def signer(self, tenant: str, uri: str, public: PublicKey) -> Signer:
        """A signer by that one of a URI's keys.

        Raises:
            BadKeyUri, KeyUriRefused, KeyServiceMissing: see there.
        """
        ...


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


class Tenants(Protocol):
    """The tenants of the service. `default` is always one of them."""

    def add(self, tenant: Tenant) -> None:
        """Add a tenant.

        Raises:
            TenantExists: its name is taken.
        """
        ...

    def get(self, name: str) -> Tenant | None:
        """A tenant by name."""
        ...

    def list(self) -> Sequence[Tenant]:
        """All of them: `default`, then by name."""
        ...

    def change(self, tenant: Tenant) -> None:
        """Write a tenant's limits over what they are."""
        ...


class Clients(Protocol):
    """The clients of the service."""

    def add(self, client: Client) -> Client:
        """Store a new client, at version 1.

        Raises:
            ClientExists: its id is taken.
        """
        ...

    def get(self, client_id: str) -> Client | None:
        """A client by id, also a revoked one."""
        ...

    def list(self) -> Sequence[Client]:
        """All of them by id, also revoked ones."""
        ...

    def change(self, client: Client) -> Client:
        """Write a client over the record that it was made from.

        Raises:
            ClientChanged: someone else has changed it meanwhile.
        """
        ...

    def note_use(self, client_id: str, secret: int, at: datetime) -> None:
        """Note when a secret last opened."""
        ...


class TokenKeys(Protocol):
    """Public keys of access tokens, of every machine of the installation, and whose tokens are refused."""

    def add(self, key: TokenKey) -> None:
        """Make a key known to all processes. Those that have been over for a day go."""
        ...

    def list(self) -> Sequence[TokenKey]:
        """All of them, the oldest first."""
        ...

    def end(self, key_ids: Sequence[str], at: datetime, *, revoke: bool) -> None:
        """Let keys sign no more from an instant on, or also verify nothing."""
        ...

    def state(self, now: datetime) -> TokenState:
        """The keys that verify, and the cut-offs of clients that still matter."""
        ...


class TokenSigner(Protocol):
    """Makes signed tokens."""

    def sign(self, claims: Mapping[str, Any], now: datetime) -> str:
        """A token in the compact form, by a key that all processes know."""
        ...


class TokenReader(Protocol):
    """Reads signed tokens."""

    def key_id(self, token: str) -> str:
        """The key that a token names; nothing is verified.

        Raises:
            BadToken: no token of the one form that is read.
        """
        ...

    def claims(self, token: str, key: TokenKey) -> Mapping[str, Any]:
        """What a token says, after its signature was verified.

        Raises:
            BadToken: the signature is not the key's.
        """
        ...


class AuditLog(Protocol):
    """The audit log."""

    def add(self, record: AuditRecord) -> AuditRecord:
        """Add a record; what is returned has its id."""
        ...

    def list(
        self,
        tenants: Sequence[str] | None,
        which: AuditFilter = EVERYTHING,
        *,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[AuditRecord]:
        """Records, newest first.

        Args:
            tenants: whose; those of the installation itself stand under the empty name. None for all.
            before: an id: only records that come after it in this order.
        """
        ...
