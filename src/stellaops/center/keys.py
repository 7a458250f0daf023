"""Keys that sign a tenant's exports, as they are managed on the stores of this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from stellaops.adapters.keys.file import FileKeyStore
from stellaops.authority import manage_keys, published_keys
from stellaops.authority.audit import Draft, digest_of
from stellaops.authority.keys import DamagedKey, KeyNotFound, KeyRecord, Protection
from stellaops.bootstrap import Local, TenantKeys, now
from stellaops.center import wire
from stellaops.center.interface import Progress, silent
from stellaops.center.noting import local_audit
from stellaops.center.wire import Wire
from stellaops.core.digests import Digest
from stellaops.core.errors import StellaError
from stellaops.exports.resign_exports import ResignTools, resign_exports


class LocalKeys:
    """`center.interface.Keys` on the data directory."""

    def __init__(self, local: Local, tenant: str) -> None:
        self._local, self._tenant = local, tenant
        self._noting = local_audit(local, tenant).noting

    def list(self) -> list[Wire]:
        """See the interface."""
        store = self._local.keys
        records = manage_keys.list_keys(store, self._tenant)
        damaged = store.damaged(self._tenant)
        return [*map(key, records), *(_damaged(self._tenant, each) for each in damaged)]

    def create(
        self, *, activate: bool = True, passphrase_file: Path | None = None, uri: str | None = None
    ) -> Wire:
        """See the interface."""
        store = self._local.key_store(passphrase_file)
        with self._noting("key.created", "") as told:
            record = self._made(store, uri, activate=activate)
            key_changed(told, None, record)
        return key(record) | {"publicKeyFile": str(self._local.keys.public_key_path(self._tenant))}

    def activate(self, key_id: str) -> Wire:
        """See the interface."""
        store = self._local.keys
        with self._noting("key.activated", f"key/{key_id}") as told:
            before = known_key(store, self._tenant, key_id)
            record = manage_keys.activate_key(store, self._tenant, key_id, now=now())
            key_changed(told, before, record)
        return key(record)

    def public(self, key_id: str | None = None, *, every: bool = False) -> bytes:
        """See the interface."""
        store = self._local.keys
        if every:
            return manage_keys.export_all_public(store, self._tenant)
        return manage_keys.export_public(store, self._tenant, key_id)

    def listed(self) -> Wire:
        """See the interface."""
        return published_keys.wire(self._tenant, manage_keys.list_keys(self._local.keys, self._tenant))

    def rotate(
        self,
        *,
        passphrase_file: Path | None = None,
        uri: str | None = None,
        unprotected: bool = False,
        keep_signatures: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """See the interface."""
        local = self._local
        if not (passphrase_file or unprotected or uri):
            under = local.settings.get("keyPassphraseFile") is not None
            manage_keys.demand_no_loss_of_protection(local.keys, self._tenant, under_passphrase=under)
        store = local.unprotected_keys() if unprotected else local.key_store(passphrase_file)
        with self._noting("key.rotated", "") as told:
            record = self._made(store, uri)
            key_changed(told, None, record)
            resigned = [] if keep_signatures else self._resigned(store, progress)
        return key(record) | {"resigned": resigned}

    def resign(self, *, passphrase_file: Path | None = None, progress: Progress = silent) -> Sequence[Wire]:
        """See the interface."""
        with self._noting("key.resigned", f"keys/{self._tenant}") as told:
            done = self._resigned(self._local.key_store(passphrase_file), progress)
            told.details["resigned"] = len(done)
        return done

    def test(self, key_id: str | None = None) -> Wire:
        """See the interface."""
        return tried(self._local.keys, self._tenant, key_id)

    def revoke(self, key_id: str, reason: str = "") -> Wire:
        """See the interface."""
        store = self._local.keys
        with self._noting("key.revoked", f"key/{key_id}") as told:
            before = known_key(store, self._tenant, key_id)
            record = manage_keys.revoke_key(store, self._tenant, key_id, now=now(), reason=reason)
            key_changed(told, before, record, reason)
        return key(record)

    def _made(self, store: FileKeyStore, uri: str | None, *, activate: bool = True) -> KeyRecord:
        if uri is None:
            return manage_keys.create_key(store, self._tenant, now=now(), activate=activate)
        services = self._local.key_services
        return manage_keys.create_key_of_service(
            store, services, self._tenant, uri, now=now(), activate=activate
        )

    def _resigned(self, store: FileKeyStore, progress: Progress) -> Sequence[Wire]:
        local = self._local
        tools = ResignTools(
            local.runs,
            local.workspace,
            local.artefacts,
            TenantKeys(store),
            local.profiles,
            local.bundle_turns,
        )
        done = resign_exports(self._tenant, tools, progress)
        return [
            {"exportId": each.export_id, "archiveId": each.archive_id, "problem": each.problem}
            for each in done
        ]


def tried(store: FileKeyStore, tenant: str, key_id: str | None) -> Wire:
    """What a key, the active one where none is named, does when it is to sign."""
    records = {each.key_id: each for each in manage_keys.list_keys(store, tenant)}
    chosen = key_id or manage_keys.active_key(store, tenant).key_id
    began, detail, status = time.monotonic(), "it signed, and the signature holds", "ok"
    try:
        manage_keys.try_key(store, tenant, chosen)
    except KeyNotFound:
        raise
    except StellaError as error:
        status, detail = "failed", error.what
    record = records.get(chosen)
    return {
        "keyId": chosen,
        "uri": None if record is None else record.uri,
        "status": status,
        "seconds": round(time.monotonic() - began, 3),
        "detail": detail,
    }


def known_key(store: FileKeyStore, tenant: str, key_id: str) -> KeyRecord:
    """A key as it is.

    Raises:
        KeyNotFound: see there.
    """
    for record in manage_keys.list_keys(store, tenant):
        if record.key_id == key_id:
            return record
    raise KeyNotFound(f"tenant {tenant} has no key {key_id[:80]!r}")


def key_changed(told: Draft, before: KeyRecord | None, after: KeyRecord, reason: str = "") -> None:
    """What the audit log says of a key that was made or is in another state."""
    told.target, told.reason = f"key/{after.key_id}", reason
    told.before = None if before is None else _digest(before)
    told.after = _digest(after)


def _digest(record: KeyRecord) -> Digest | None:
    return digest_of(key(record) | {"publicKey": record.public_key_pem.decode("ascii")})


def key(record: KeyRecord) -> Wire:
    """A key as scripts read it."""
    return {
        "keyId": record.key_id,
        "tenant": record.tenant,
        "state": record.state.value,
        "createdAt": wire.instant(record.created_at),
        "retiredAt": wire.instant(record.retired_at),
        "revokedAt": wire.instant(record.revoked_at),
        "revocationReason": record.revocation_reason or None,
        "encrypted": encrypted(record),
        "uri": record.uri,
    }


def encrypted(record: KeyRecord) -> bool | None:
    """Whether a private key is under a passphrase; None where there is none in the data directory."""
    if record.protection in (Protection.ABSENT, Protection.SERVICE):
        return None
    return record.protection is Protection.ENCRYPTED


def _damaged(tenant: str, damaged: DamagedKey) -> Wire:
    nothing = dict.fromkeys(("createdAt", "retiredAt", "revokedAt", "revocationReason", "encrypted", "uri"))
    return {"keyId": damaged.key_id, "tenant": tenant, "state": "damaged", **nothing}
