"""Keys in files below the data directory.

    keys/<tenant>/<key-id>.pem       private key, PKCS#8, mode 0600, perhaps under a passphrase
    keys/<tenant>/<key-id>.json      what may be told of it
    keys/<tenant>/active             id of the key that signs
    tenants/<tenant>/export-center.pub    public key of the active key

Every file is written beside its place, flushed to disk and renamed. A key exists from its `.json` on, which comes
last; it is active while `active` names it and it is not revoked. A passphrase is asked for when a key is opened, is
kept nowhere, and stands in no message.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from stellaops.authority.keys import KeyNotFound, KeyRecord, KeyState, KeyUnavailable
from stellaops.core import canonical_json, timestamps
from stellaops.core.errors import InvalidInput
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import UnusableKey
from stellaops.signing.interface import Signer

_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_ALGORITHM = "ecdsa-p256-sha256"


class BadTenantName(InvalidInput):
    """A tenant name that cannot be a directory's name."""

    code = "ERR_TENANT_NAME"
    hint = "Use 1 to 63 of a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit."


class FileKeyStore:
    """A `KeyStore` and `SignerSource` over a data directory.

    Args:
        data_dir: the data directory.
        passphrase: gives the passphrase of new keys and of encrypted ones, None for none; called only when a private
            key is written or opened.
    """

    __slots__ = ("_data_dir", "_passphrase")

    def __init__(self, data_dir: Path, passphrase: Callable[[], bytes | None] = lambda: None) -> None:
        self._data_dir = data_dir
        self._passphrase = passphrase

    def create(self, tenant: str, created_at: datetime) -> KeyRecord:
        """See `KeyStore`. Two first runs at once make one key: the later gets the earlier's."""
        directory = self._directory(tenant)
        first = not self.records(tenant)
        with _locked(directory):
            if first and (existing := self.records(tenant)):
                return existing[0]
            key = ecdsa_p256.generate()
            record = KeyRecord(tenant, key.key_id, KeyState.RETIRED, created_at, key.public_key_pem())
            _write(directory / f"{key.key_id}.pem", key.to_pem(self._passphrase()), mode=0o600)
            if all(each.state is not KeyState.ACTIVE for each in self.records(tenant)):
                self._activate(record)
            # Last, so that a key whose making was cut off does not exist, and the next run makes another.
            _write(directory / f"{key.key_id}.json", _encode(record, None), mode=0o600)
        return self._record(tenant, key.key_id)

    def records(self, tenant: str) -> tuple[KeyRecord, ...]:
        """See `KeyStore`."""
        directory = self._directory(tenant)
        active = self._active(tenant)
        names = sorted(path.stem for path in directory.glob("*.json") if _KEY_ID.fullmatch(path.stem))
        found = [_decode(tenant, key_id, _read(directory / f"{key_id}.json"), active) for key_id in names]
        return tuple(sorted(found, key=lambda record: (record.created_at, record.key_id)))

    def activate(self, tenant: str, key_id: str) -> None:
        """See `KeyStore`."""
        record = self._record(tenant, key_id)
        with _locked(self._directory(tenant)):
            self._activate(record)

    def revoke(self, tenant: str, key_id: str, revoked_at: datetime) -> None:
        """See `KeyStore`. The private key stays in its file until an operator removes it."""
        record = self._record(tenant, key_id)
        directory = self._directory(tenant)
        with _locked(directory):
            if record.state is not KeyState.REVOKED:
                _write(directory / f"{key_id}.json", _encode(record, revoked_at), mode=0o600)

    def signer(self, tenant: str, key_id: str) -> Signer:
        """See `SignerSource`; a private key file that others than its owner may open is refused."""
        record = self._record(tenant, key_id)
        if record.state is KeyState.REVOKED:
            raise KeyUnavailable(f"key {key_id} of tenant {tenant} is revoked")
        pem = _read(self._directory(tenant) / f"{key_id}.pem", private=True)
        try:
            encrypted = pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            key = ecdsa_p256.load_private_key(pem, self._passphrase() if encrypted else None)
        except UnusableKey as error:
            raise KeyUnavailable(
                f"key {key_id} of tenant {tenant}: {error.what}", hint=error.advice
            ) from None
        if key.key_id != key_id:
            raise KeyUnavailable(f"the private key of tenant {tenant} in {key_id}.pem is another one")
        return key

    def public_key_path(self, tenant: str) -> Path:
        """Where the active key's public key is published."""
        self._directory(tenant)
        return self._data_dir / "tenants" / tenant / "export-center.pub"

    def _directory(self, tenant: str) -> Path:
        if not _TENANT.fullmatch(tenant):
            raise BadTenantName(f"{tenant[:80]!r} cannot be a tenant's name")
        return self._data_dir / "keys" / tenant

    def _record(self, tenant: str, key_id: str) -> KeyRecord:
        for record in self.records(tenant):
            if record.key_id == key_id:
                return record
        raise KeyNotFound(f"tenant {tenant} has no key {key_id[:80]}")

    def _active(self, tenant: str) -> str | None:
        try:
            return (self._directory(tenant) / "active").read_text("ascii").strip()
        except FileNotFoundError:
            return None

    def _activate(self, record: KeyRecord) -> None:
        _write(self._directory(record.tenant) / "active", f"{record.key_id}\n".encode(), mode=0o600)
        public = self.public_key_path(record.tenant)
        public.parent.mkdir(parents=True, exist_ok=True)
        _write(public, record.public_key_pem, mode=0o644)


def passphrase_file(path: Path) -> Callable[[], bytes]:
    """A passphrase from a file that only its owner may open; one newline at its end is left out.

    The function that is returned raises `KeyUnavailable` where the file cannot be used.
    """

    def read() -> bytes:
        text = _read(path, private=True)
        return text[:-1] if text.endswith(b"\n") else text

    return read


def _encode(record: KeyRecord, revoked_at: datetime | None) -> bytes:
    value = {
        "algorithm": _ALGORITHM,
        "createdAt": timestamps.render(record.created_at),
        "keyId": record.key_id,
        "publicKey": record.public_key_pem.decode("ascii"),
        "revokedAt": None if revoked_at is None else timestamps.render(revoked_at),
    }
    return canonical_json.encode(value)


def _decode(tenant: str, key_id: str, data: bytes, active: str | None) -> KeyRecord:
    try:
        value: dict[str, Any] = canonical_json.decode(data)
        public = ecdsa_p256.load_public_key(value["publicKey"].encode("ascii"))
        created_at = timestamps.parse(value["createdAt"])
        revoked = value["revokedAt"] is not None
    except (
        canonical_json.NotCanonical,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        UnusableKey,
    ) as error:
        raise KeyUnavailable(f"the record of key {key_id} of tenant {tenant} is damaged") from error
    if public.key_id != key_id or created_at is None:
        raise KeyUnavailable(f"the record of key {key_id} of tenant {tenant} is of another key")
    state = KeyState.ACTIVE if key_id == active else KeyState.RETIRED
    return KeyRecord(tenant, key_id, KeyState.REVOKED if revoked else state, created_at, public.pem())


def _read(path: Path, *, private: bool = False) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyUnavailable(f"{path} is not a regular file")
        if private and mode & 0o077:
            raise KeyUnavailable(
                f"{path} is open to others than its owner (mode {stat.S_IMODE(mode):04o})",
                hint=f"If nobody read it, run `chmod 600 {path}`; else revoke the key and make another.",
            )
        return file.read()


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write beside the target, flush to disk, rename, and flush the directory."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
