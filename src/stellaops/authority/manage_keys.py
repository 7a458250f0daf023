"""Make, take in, list, publish, rotate, revoke and protect signing keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stellaops.authority.keys import (
    BadReason,
    KeyNotFound,
    KeyRecord,
    KeyRevoked,
    KeyState,
    KeyUnavailable,
    PassphraseNeeded,
    Protection,
)
from stellaops.authority.ports import KeysOfServices, KeyStore, PrivateKeys, SignerSource
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import PrivateKey
from stellaops.signing.interface import Signer
from stellaops.signing.key_files import KeyForm

_LONGEST_REASON = 200
_IN_FILES = frozenset({Protection.ENCRYPTED, Protection.PLAIN})


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """What a tenant's own bundles may be verified with.

    Attributes:
        pems: public keys in PEM.
        revoked: ids of keys that verify nothing, however they are named.
        remarks: what to say of a key beside its id, by id: since when and why it is retired or revoked.
    """

    pems: tuple[bytes, ...]
    revoked: frozenset[str]
    remarks: Mapping[str, str] = field(default_factory=dict)


def create_key(store: KeyStore, tenant: str, *, now: datetime, activate: bool = True) -> KeyRecord:
    """Make a key; unless told otherwise it becomes the one that signs from now on.

    A key that is not activated waits, so that receivers can have it before it signs; the first one never waits.
    """
    record = store.create(tenant, now)
    if activate and record.state is not KeyState.ACTIVE:
        store.activate(tenant, record.key_id, now)
    return _record(store, tenant, record.key_id)


def create_key_of_service(
    store: KeyStore, services: KeysOfServices, tenant: str, uri: str, *, now: datetime, activate: bool = True
) -> KeyRecord:
    """Take in the newest key that a URI of a key service stands for; unless told otherwise it signs from now on.

    It is tried before it is taken: a key that cannot sign becomes nobody's active key.

    Raises:
        KeyKnown: the tenant has it; a rotation begins in the key service.
        KeyRevoked: this tenant revoked it.
        BadKeyUri, KeyUriRefused: see there.
        KeyServiceDown, KeyServiceRefused, KeyServiceMissing, KeyServiceWrong: see there.
    """
    public = services.public_key(tenant, uri)
    _demand_unrevoked(store, tenant, public.key_id)
    services.signer(tenant, uri, public).sign(b"probe")
    record = store.add_of_service(tenant, uri, public, now)
    if activate and record.state is not KeyState.ACTIVE:
        store.activate(tenant, record.key_id, now)
    return _record(store, tenant, record.key_id)


def import_key(
    store: PrivateKeys,
    tenant: str,
    key: PrivateKey,
    passphrase: bytes | None,
    *,
    now: datetime,
    activate: bool = False,
) -> KeyRecord:
    """Take in a key that was made elsewhere; of a key that is known, its private part alone.

    Raises:
        KeyRevoked: this tenant revoked it.
        KeyUnavailable: it is known, and its record is damaged.
    """
    _demand_unrevoked(store, tenant, key.key_id)
    record = store.add(tenant, key, now, passphrase)
    if activate and record.state is not KeyState.ACTIVE:
        store.activate(tenant, record.key_id, now)
    return _record(store, tenant, record.key_id)


def list_keys(store: KeyStore, tenant: str) -> tuple[KeyRecord, ...]:
    """All sound keys of a tenant, the oldest first."""
    return store.records(tenant)


def export_public(store: KeyStore, tenant: str, key_id: str | None = None) -> bytes:
    """A public key in PEM, of the active key where none is named.

    Raises:
        KeyNotFound: there is no such key, or no active one.
    """
    return (_record(store, tenant, key_id) if key_id else active_key(store, tenant)).public_key_pem


def export_all_public(store: KeyStore, tenant: str) -> bytes:
    """The public keys that are not revoked, one PEM after the other, the oldest first: what receivers should trust.

    Raises:
        KeyNotFound: there is none.
    """
    kept = [each for each in store.records(tenant) if each.state is not KeyState.REVOKED]
    if not kept:
        raise KeyNotFound(f"tenant {tenant} has no key that is not revoked")
    return b"".join(each.public_key_pem for each in kept)


def export_private(
    store: PrivateKeys, tenant: str, key_id: str | None, form: KeyForm, passphrase: bytes | None
) -> tuple[KeyRecord, bytes]:
    """A private key as a file, of the active key where none is named.

    Raises:
        KeyNotFound: there is no such key, or no active one.
        KeyRevoked: it is revoked.
        KeyUnavailable: it cannot be opened.
        UnusableKey: cosign's form without a passphrase, or an empty one.
    """
    record = _record(store, tenant, key_id) if key_id else active_key(store, tenant)
    _demand_unrevoked(store, tenant, record.key_id)
    return record, key_files.write(store.private_key(tenant, record.key_id), form, passphrase)


def change_passphrase(
    store: PrivateKeys,
    tenant: str,
    key_id: str | None,
    passphrase: bytes | None,
    *,
    unprotected: bool = False,
) -> tuple[KeyRecord, ...]:
    """Put a key, or all that are here, under another passphrase, or under none.

    All are opened before the first is written, so a passphrase that does not open them changes nothing. What a kill
    left half done is finished by the same call: keys that the new passphrase opens already are taken as they are.

    Args:
        store: the keys.
        tenant: whose.
        key_id: one key; all with a private part where None.
        passphrase: what protects them from now on.
        unprotected: that no passphrase is meant.

    Raises:
        PassphraseNeeded: neither was given, or both.
        KeyNotFound, KeyUnavailable: see there.
    """
    new = chosen_passphrase(passphrase, unprotected=unprotected)
    meant = (
        [_record(store, tenant, key_id)]
        if key_id
        else [each for each in store.records(tenant) if each.protection in _IN_FILES]
    )
    if not meant:
        raise KeyNotFound(f"tenant {tenant} has no private key")
    others = () if new is None else (new,)
    opened = [store.private_key(tenant, each.key_id, *others) for each in meant]
    for key in opened:
        store.protect(tenant, key, new)
    return tuple(_record(store, tenant, each.key_id) for each in meant)


def chosen_passphrase(passphrase: bytes | None, *, unprotected: bool) -> bytes | None:
    """The passphrase for a private key that is about to be written; none only where that was said.

    Raises:
        PassphraseNeeded: neither was given, or both.
    """
    if (passphrase is None) is not unprotected:
        both = "a passphrase was given, and that there is none"
        neither = "neither a passphrase was given nor that there is none"
        raise PassphraseNeeded(both if unprotected else neither)
    return passphrase


def demand_no_loss_of_protection(store: KeyStore, tenant: str, *, under_passphrase: bool = False) -> None:
    """Refuse to put a file in the place of an active key that is in a key service, or a plain one for a better kept.

    Args:
        under_passphrase: whether the new key will be under one, because the settings say so for all.

    Raises:
        PassphraseNeeded: see there.
    """
    for record in store.records(tenant):
        if record.state is KeyState.ACTIVE and record.uri is not None:
            raise PassphraseNeeded(
                f"the active key is in the key service {record.uri}, and the new one would be in a file",
                hint="Name the new key with --uri, give --passphrase-file, or say --no-passphrase.",
            )
        encrypted = record.protection is Protection.ENCRYPTED and not under_passphrase
        if record.state is KeyState.ACTIVE and encrypted:
            raise PassphraseNeeded(
                "the active key is under a passphrase, and none was given for the new one",
                hint="Give --passphrase-file, set STELLA_KEY_PASSPHRASE_FILE, or say --no-passphrase.",
            )


def activate_key(store: KeyStore, tenant: str, key_id: str, *, now: datetime) -> KeyRecord:
    """Let a key sign from now on; the one that did so far still verifies.

    Raises:
        KeyNotFound: there is no such key.
        KeyRevoked: it is revoked.
    """
    _record(store, tenant, key_id)
    _demand_unrevoked(store, tenant, key_id)
    store.activate(tenant, key_id, now)  # the active one too: a kill may have kept it from being published
    return _record(store, tenant, key_id)


def revoke_key(store: KeyStore, tenant: str, key_id: str, *, now: datetime, reason: str = "") -> KeyRecord:
    """Revoke a key, also the active one; the tenant then has none until another is activated or created.

    Raises:
        KeyNotFound: there is no such key.
        BadReason: see there.
    """
    if len(reason) > _LONGEST_REASON or not (reason.isprintable() or not reason):
        raise BadReason(f"the reason must be one line of at most {_LONGEST_REASON} characters")
    _record(store, tenant, key_id)
    store.revoke(tenant, key_id, now, reason)
    return _record(store, tenant, key_id)


def active_signer(
    store: KeyStore,
    signers: SignerSource,
    tenant: str,
    *,
    now: datetime,
    first: Callable[[], object] | None = None,
) -> Signer:
    """The signer of a tenant's active key; a tenant that never had a key gets its first one.

    Args:
        first: makes that; one in the store where None.

    Raises:
        KeyNotFound: the tenant has keys, but none of them signs: a new one must be made on purpose.
        KeyUnavailable: the key cannot be used.
    """
    if not store.records(tenant) and not store.damaged(tenant):
        if first is None:
            store.create(tenant, now)
        else:
            first()
    return signers.signer(tenant, active_key(store, tenant).key_id)


def try_key(signers: SignerSource, tenant: str, key_id: str) -> None:
    """Have a key sign something, and verify that with its public key.

    Raises:
        KeyNotFound, KeyUnavailable: see there.
        KeyServiceDown, KeyServiceRefused, KeyServiceMissing, KeyServiceWrong: see there.
    """
    message = b"probe"
    signer = signers.signer(tenant, key_id)
    made = signer.sign(message)
    ecdsa_p256.load_public_key(signer.public_key_pem()).verify(made, hashlib.sha256(message).digest())


def named_signer(store: KeyStore, signers: SignerSource, tenant: str, key: str) -> Signer:
    """The signer of a key that is not revoked, whether or not it is the active one.

    Args:
        key: its id, or its URI in a key service; of several under one URI, the newest here is meant.

    Raises:
        KeyNotFound: the tenant has no such key, or has revoked it.
        KeyUnavailable: the key cannot be used.
    """
    for record in reversed(store.records(tenant)):
        if key in (record.key_id, record.uri) and record.state is not KeyState.REVOKED:
            return signers.signer(tenant, record.key_id)
    raise KeyNotFound(f"tenant {tenant} has no key {key[:200]} that is not revoked")


def trusted_keys(store: KeyStore, tenant: str) -> TrustedKeys:
    """The keys that verify the tenant's own bundles: all that are not revoked.

    A key whose record is damaged may have been revoked, so it verifies nothing until the record is restored.
    """
    records = store.records(tenant)
    damaged = store.damaged(tenant)
    revoked = [each.key_id for each in records if each.state is KeyState.REVOKED]
    remarks = {each.key_id: each.remark() for each in records if each.remark()}
    return TrustedKeys(
        tuple(each.public_key_pem for each in records),
        frozenset([*revoked, *(each.key_id for each in damaged)]),
        remarks | {each.key_id: each.what for each in damaged},
    )


def active_key(store: KeyStore, tenant: str) -> KeyRecord:
    """The record of the key that signs.

    Raises:
        KeyNotFound: none does.
        KeyUnavailable: none does, and the record of a key is damaged.
    """
    for record in store.records(tenant):
        if record.state is KeyState.ACTIVE:
            return record
    for damaged in store.damaged(tenant):
        raise KeyUnavailable(f"tenant {tenant} has no active signing key, and {damaged.what}")
    raise KeyNotFound(f"tenant {tenant} has no active signing key")


def _demand_unrevoked(store: KeyStore, tenant: str, key_id: str) -> None:
    known = (each for each in store.records(tenant) if each.key_id == key_id)
    if any(each.state is KeyState.REVOKED for each in known):
        raise KeyRevoked(f"key {key_id} of tenant {tenant} is revoked")


def _record(store: KeyStore, tenant: str, key_id: str) -> KeyRecord:
    for record in store.records(tenant):
        if record.key_id == key_id:
            return record
    for damaged in store.damaged(tenant):
        if damaged.key_id == key_id:
            raise KeyUnavailable(damaged.what)
    raise KeyNotFound(f"tenant {tenant} has no key {key_id}")
