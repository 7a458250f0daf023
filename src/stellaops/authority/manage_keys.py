"""Make, list, publish, rotate and revoke signing keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from stellaops.authority.keys import KeyNotFound, KeyRecord, KeyRevoked, KeyState
from stellaops.authority.ports import KeyStore, SignerSource
from stellaops.signing.interface import Signer


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """What a tenant's own bundles may be verified with: public keys in PEM, and ids that verify nothing."""

    pems: tuple[bytes, ...]
    revoked: frozenset[str]


def create_key(store: KeyStore, tenant: str, *, now: datetime, activate: bool = True) -> KeyRecord:
    """Make a key; unless told otherwise it becomes the one that signs from now on."""
    record = store.create(tenant, now)
    if activate and record.state is not KeyState.ACTIVE:
        store.activate(tenant, record.key_id)
    return _record(store, tenant, record.key_id)


def list_keys(store: KeyStore, tenant: str) -> tuple[KeyRecord, ...]:
    """All keys of a tenant, the oldest first."""
    return store.records(tenant)


def export_public(store: KeyStore, tenant: str, key_id: str | None = None) -> bytes:
    """A public key in PEM, of the active key where none is named.

    Raises:
        KeyNotFound: there is no such key, or no active one.
    """
    return (
        _record(store, tenant, key_id) if key_id else _active(store.records(tenant), tenant)
    ).public_key_pem


def activate_key(store: KeyStore, tenant: str, key_id: str) -> KeyRecord:
    """Let a key sign from now on; the one that did so far still verifies.

    Raises:
        KeyNotFound: there is no such key.
        KeyRevoked: it is revoked.
    """
    if _record(store, tenant, key_id).state is KeyState.REVOKED:
        raise KeyRevoked(f"key {key_id} of tenant {tenant} is revoked")
    store.activate(tenant, key_id)
    return _record(store, tenant, key_id)


def revoke_key(store: KeyStore, tenant: str, key_id: str, *, now: datetime) -> KeyRecord:
    """Revoke a key, also the active one; the tenant then has none until another is activated or created.

    Raises:
        KeyNotFound: there is no such key.
    """
    _record(store, tenant, key_id)
    store.revoke(tenant, key_id, now)
    return _record(store, tenant, key_id)


def active_signer(store: KeyStore, signers: SignerSource, tenant: str, *, now: datetime) -> Signer:
    """The signer of a tenant's active key; a tenant that never had a key gets its first one.

    Raises:
        KeyNotFound: the tenant has keys, but all are revoked: a new one must be made on purpose.
        KeyUnavailable: the key cannot be used.
    """
    if not store.records(tenant):
        store.create(tenant, now)
    return signers.signer(tenant, _active(store.records(tenant), tenant).key_id)


def trusted_keys(store: KeyStore, tenant: str) -> TrustedKeys:
    """The keys that verify the tenant's own bundles: all that are not revoked."""
    records = store.records(tenant)
    return TrustedKeys(
        tuple(record.public_key_pem for record in records),
        frozenset(record.key_id for record in records if record.state is KeyState.REVOKED),
    )


def _active(records: Iterable[KeyRecord], tenant: str) -> KeyRecord:
    for record in records:
        if record.state is KeyState.ACTIVE:
            return record
    raise KeyNotFound(f"tenant {tenant} has no active signing key")


def _record(store: KeyStore, tenant: str, key_id: str) -> KeyRecord:
    for record in store.records(tenant):
        if record.key_id == key_id:
            return record
    raise KeyNotFound(f"tenant {tenant} has no key {key_id}")
