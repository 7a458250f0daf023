"""Keys in files below the data directory.

    keys/<tenant>/<key-id>.pem       private key, mode 0600: under a passphrase as cosign keeps it, else PKCS#8
    keys/<tenant>/<key-id>.json      what may be told of it; of a key in a key service, its URI and nothing else
    keys/<tenant>/active             id of the key that signs
    tenants/<tenant>/export-center.pub    public key of the active key
    tenants/<tenant>/keys.json            all public keys, with the time of each (`authority.published_keys`)

Every file is written beside its place, flushed to disk and renamed, so a kill leaves each old or new, and never takes
another key's with it. A key exists from its `.json` on, which comes last; it is active while `active` names it and it
is not revoked. A passphrase is asked for when a key is opened, is kept nowhere, and stands in no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from stellaops.adapters.keys import disk, records
from stellaops.authority import published_keys
from stellaops.authority.keys import (
    DamagedKey,
    KeyKnown,
    KeyNotFound,
    KeyRecord,
    KeyState,
    KeyUnavailable,
    Protection,
)
from stellaops.authority.tenants import demand_name
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import PrivateKey, PublicKey, UnusableKey
from stellaops.signing.interface import Signer
from stellaops.signing.key_files import KeyForm

_KEY_ID = re.compile(r"[0-9a-f]{64}")

ServiceSigners = Callable[[str, str, PublicKey], Signer]
"""Gives the signer of a key in a key service: tenant, URI, public key."""


class FileKeyStore:
    """`PrivateKeys` and `SignerSource` over a data directory.

    Args:
        data_dir: the data directory.
        passphrase: gives the passphrase of new keys and of encrypted ones, None for none; called only when a private
            key is written or opened.
        service_signer: gives the signer of a key in a key service, by tenant, URI and public key.
    """

    __slots__ = ("_data_dir", "_passphrase", "_service_signer")

    def __init__(
        self,
        data_dir: Path,
        passphrase: Callable[[], bytes | None] = lambda: None,
        service_signer: ServiceSigners | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._passphrase = passphrase
        self._service_signer = service_signer

    def create(self, tenant: str, created_at: datetime) -> KeyRecord:
        """See `KeyStore`. Two first runs at once make one key: the later gets the earlier's."""
        first = not self.records(tenant)
        with disk.locked(self._directory(tenant)):
            if first and (existing := self.records(tenant)):
                return existing[0]
            key = ecdsa_p256.generate()
            self._write_private(tenant, key, self._passphrase())
            self._introduce(_new(tenant, key.public, created_at))
        return self._record(tenant, key.key_id)

    def add(self, tenant: str, key: PrivateKey, created_at: datetime, passphrase: bytes | None) -> KeyRecord:
        """See `PrivateKeys`; of a key that is known the record stays as it is."""
        directory = self._directory(tenant)
        with disk.locked(directory):
            if (directory / f"{key.key_id}.json").exists():
                self._demand_here(self._record(tenant, key.key_id))
                self._write_private(tenant, key, passphrase)
            else:
                self._write_private(tenant, key, passphrase)
                self._introduce(_new(tenant, key.public, created_at))
        return self._record(tenant, key.key_id)

    def add_of_service(self, tenant: str, uri: str, public: PublicKey, created_at: datetime) -> KeyRecord:
        """See `KeyStore`."""
        with disk.locked(self._directory(tenant)):
            if any(each.key_id == public.key_id for each in self._read_all(tenant)):
                raise KeyKnown(f"tenant {tenant} has key {public.key_id} of {uri} already")
            self._introduce(replace(_new(tenant, public, created_at), uri=uri))
        return self._record(tenant, public.key_id)

    def records(self, tenant: str) -> tuple[KeyRecord, ...]:
        """See `KeyStore`."""
        found = [each for each in self._read_all(tenant) if isinstance(each, KeyRecord)]
        return tuple(sorted(found, key=lambda record: (record.created_at, record.key_id)))

    def damaged(self, tenant: str) -> tuple[DamagedKey, ...]:
        """See `KeyStore`."""
        return tuple(each for each in self._read_all(tenant) if isinstance(each, DamagedKey))

    def activate(self, tenant: str, key_id: str, activated_at: datetime) -> None:
        """See `KeyStore`."""
        with disk.locked(self._directory(tenant)):
            record = self._record(tenant, key_id)
            for other in self.records(tenant):
                if other.state is KeyState.ACTIVE and other.key_id != key_id:
                    # Before the switch: it says nothing of a key while that is active, and is not lost to a kill.
                    self._write_record(replace(other, retired_at=activated_at))
            self._point_at(record)
            self._list_public(tenant)

    def revoke(self, tenant: str, key_id: str, revoked_at: datetime, reason: str) -> None:
        """See `KeyStore`. The private key stays in its file until an operator removes it."""
        with disk.locked(self._directory(tenant)):
            record = self._record(tenant, key_id)
            if record.state is not KeyState.REVOKED:
                self._write_record(replace(record, revoked_at=revoked_at, revocation_reason=reason))
            self._publish(tenant)

    def private_key(self, tenant: str, key_id: str, *other_passphrases: bytes) -> PrivateKey:
        """See `PrivateKeys`; a private key file that others than its owner may open is refused."""
        self._demand_here(self._record(tenant, key_id))
        data = disk.read(self._directory(tenant) / f"{key_id}.pem", private=True)
        passphrases = (self._passphrase(), *other_passphrases) if key_files.is_encrypted(data) else (None,)
        key = _open(f"key {key_id} of tenant {tenant}", data, passphrases)
        if key.key_id != key_id:
            raise KeyUnavailable(f"the private key of tenant {tenant} in {key_id}.pem is another one")
        return key

    def protect(self, tenant: str, key: PrivateKey, passphrase: bytes | None) -> None:
        """See `PrivateKeys`."""
        with disk.locked(self._directory(tenant)):
            self._record(tenant, key.key_id)
            self._write_private(tenant, key, passphrase)

    def signer(self, tenant: str, key_id: str) -> Signer:
        """See `SignerSource`. What a kill kept from being published is published."""
        record = self._record(tenant, key_id)
        if record.state is KeyState.REVOKED:
            raise KeyUnavailable(f"key {key_id} of tenant {tenant} is revoked")
        key = self._signer(record)
        if (
            record.state is KeyState.ACTIVE
            and _bytes_of(self.public_key_path(tenant)) != record.public_key_pem
        ):
            with disk.locked(self._directory(tenant)):
                self._publish(tenant)
        return key

    def _signer(self, record: KeyRecord) -> Signer:
        if record.uri is None:
            return self.private_key(record.tenant, record.key_id)
        if self._service_signer is None:
            raise KeyUnavailable(
                f"key {record.key_id} is in the key service {record.uri}, which is not asked here"
            )
        return self._service_signer(
            record.tenant, record.uri, ecdsa_p256.load_public_key(record.public_key_pem)
        )

    def public_key_path(self, tenant: str) -> Path:
        """Where the active key's public key is published."""
        self._directory(tenant)
        return self._data_dir / "tenants" / tenant / "export-center.pub"

    def key_list_path(self, tenant: str) -> Path:
        """Where the list of all public keys is published (`authority.published_keys`)."""
        return self.public_key_path(tenant).with_name(published_keys.FILE)

    def _directory(self, tenant: str) -> Path:
        return self._data_dir / "keys" / demand_name(tenant)

    def _record(self, tenant: str, key_id: str) -> KeyRecord:
        for each in self._read_all(tenant):
            if each.key_id == key_id:
                if isinstance(each, DamagedKey):
                    raise KeyUnavailable(each.what)
                return each
        raise KeyNotFound(f"tenant {tenant} has no key {key_id[:80]}")

    def _read_all(self, tenant: str) -> Iterator[KeyRecord | DamagedKey]:
        directory = self._directory(tenant)
        active = self._active(tenant)
        for path in sorted(directory.glob("*.json")):
            key_id = path.stem
            if not _KEY_ID.fullmatch(key_id):
                continue
            protection = _protection(directory / f"{key_id}.pem")
            try:
                yield records.decode(
                    tenant, key_id, disk.read(path), active=key_id == active, protection=protection
                )
            except KeyUnavailable as error:
                yield DamagedKey(key_id, error.what)

    def _active(self, tenant: str) -> str | None:
        try:
            return (self._directory(tenant) / "active").read_text("ascii", errors="replace").strip()
        except FileNotFoundError:
            return None

    def _demand_here(self, record: KeyRecord) -> None:
        if record.uri is not None:
            raise KeyUnavailable(
                f"the private part of key {record.key_id} is in the key service {record.uri}",
                hint="Keys of key services are exported, protected and replaced there.",
            )

    def _introduce(self, record: KeyRecord) -> None:
        """Let a key exist whose private part is in its place."""
        if all(each.state is not KeyState.ACTIVE for each in self.records(record.tenant)):
            self._point_at(record)
        # Behind all that the key needs, so that one whose making was cut off does not exist, and the next run makes
        # another.
        self._write_record(record)
        self._list_public(record.tenant)

    def _write_private(self, tenant: str, key: PrivateKey, passphrase: bytes | None) -> None:
        form = KeyForm.PKCS8 if passphrase is None else KeyForm.COSIGN
        data = key_files.write(key, form, passphrase)
        disk.write(self._directory(tenant) / f"{key.key_id}.pem", data, mode=0o600)

    def _write_record(self, record: KeyRecord) -> None:
        path = self._directory(record.tenant) / f"{record.key_id}.json"
        disk.write(path, records.encode(record), mode=0o600)

    def _point_at(self, record: KeyRecord) -> None:
        disk.write(self._directory(record.tenant) / "active", f"{record.key_id}\n".encode(), mode=0o600)
        self._write_public(record)

    def _publish(self, tenant: str) -> None:
        """Bring the published public key in line with the active key; without one there is nothing to trust."""
        active = [each for each in self.records(tenant) if each.state is KeyState.ACTIVE]
        if active:
            self._write_public(active[0])
        else:
            disk.remove(self.public_key_path(tenant))
        self._list_public(tenant)

    def _list_public(self, tenant: str) -> None:
        data = published_keys.encode(tenant, self.records(tenant))
        if _bytes_of(self.key_list_path(tenant)) != data:
            self.key_list_path(tenant).parent.mkdir(parents=True, exist_ok=True)
            disk.write(self.key_list_path(tenant), data, mode=0o644)

    def _write_public(self, record: KeyRecord) -> None:
        public = self.public_key_path(record.tenant)
        public.parent.mkdir(parents=True, exist_ok=True)
        disk.sweep(public.parent)
        disk.write(public, record.public_key_pem, mode=0o644)


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _new(tenant: str, public: PublicKey, created_at: datetime) -> KeyRecord:
    return KeyRecord(tenant, public.key_id, KeyState.WAITING, created_at, public.pem())


def _open(name: str, data: bytes, passphrases: tuple[bytes | None, ...]) -> PrivateKey:
    """The key in a file, by the first passphrase that opens it.

    Raises:
        KeyUnavailable: none does, for the reason that the last one met.
    """
    refused: UnusableKey | None = None
    for passphrase in passphrases:
        try:
            return key_files.read(data, passphrase)
        except UnusableKey as error:
            refused = error
    raise KeyUnavailable(
        f"{name}: {refused.what if refused else 'there is no passphrase to try'}",
        hint=refused.advice if refused else None,
    ) from None


def _protection(path: Path) -> Protection:
    try:
        data = disk.read(path)
    except KeyUnavailable:
        return Protection.ABSENT
    return Protection.ENCRYPTED if key_files.is_encrypted(data) else Protection.PLAIN
