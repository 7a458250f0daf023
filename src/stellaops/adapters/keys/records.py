"""The record of a key, as it lies beside the private key: canonical JSON, without anything that is secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from stellaops.authority.keys import KeyRecord, KeyState, KeyUnavailable, Protection
from stellaops.core import canonical_json, timestamps
from stellaops.signing import ecdsa_p256, key_uri
from stellaops.signing.ecdsa_p256 import PublicKey, UnusableKey
from stellaops.signing.key_uri import BadKeyUri

_ALGORITHM = "ecdsa-p256-sha256"
_DAMAGES = (
    canonical_json.NotCanonical, KeyError, TypeError, AttributeError, ValueError, UnusableKey, BadKeyUri,
)  # fmt: skip


def encode(record: KeyRecord) -> bytes:
    """The file for a record; whether it is the active one stands elsewhere."""
    value: dict[str, Any] = {
        "algorithm": _ALGORITHM,
        "createdAt": timestamps.render(record.created_at),
        "keyId": record.key_id,
        "publicKey": record.public_key_pem.decode("ascii"),
        "retiredAt": _instant(record.retired_at),
        "revocationReason": record.revocation_reason,
        "revokedAt": _instant(record.revoked_at),
    }
    if record.uri is not None:
        value["uri"] = record.uri
    return canonical_json.encode(value)


def decode(tenant: str, key_id: str, data: bytes, *, active: bool, protection: Protection) -> KeyRecord:
    """The record in a file.

    Args:
        tenant: whose key it is.
        key_id: what the file is named after.
        data: the file.
        active: whether this key signs, if it is not revoked.
        protection: of its private key, where no key service has it.

    Raises:
        KeyUnavailable: it is damaged, or another key's.
    """
    what = f"the record of key {key_id} of tenant {tenant}"
    try:
        told = _told(canonical_json.decode(data))
    except _DAMAGES as error:
        raise KeyUnavailable(f"{what} is damaged", hint=_DAMAGE_HINT) from error
    if told.public.key_id != key_id or told.created_at is None:
        raise KeyUnavailable(f"{what} is of another key", hint=_DAMAGE_HINT)
    state = told.state(active=active)
    return KeyRecord(
        tenant,
        key_id,
        state,
        told.created_at,
        told.public.pem(),
        retired_at=None if state is KeyState.ACTIVE else told.retired_at,
        revoked_at=told.revoked_at,
        revocation_reason=told.reason,
        protection=protection if told.uri is None else Protection.SERVICE,
        uri=told.uri,
    )


class _Told(NamedTuple):
    """What stands in a file."""

    public: PublicKey
    created_at: datetime | None
    retired_at: datetime | None
    revoked_at: datetime | None
    reason: str
    waiting: bool
    uri: str | None

    def state(self, *, active: bool) -> KeyState:
        """What the key may do."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if active:
            return KeyState.ACTIVE
        return KeyState.WAITING if self.waiting else KeyState.RETIRED


def _told(value: dict[str, Any]) -> _Told:
    """What a record says; any of `_DAMAGES` where it is none."""
    public = ecdsa_p256.load_public_key(value["publicKey"].encode("ascii"))
    created_at = timestamps.parse(value["createdAt"])
    revoked_at, retired_at = (_parsed(value.get(name)) for name in ("revokedAt", "retiredAt"))
    return _Told(
        public,
        created_at,
        retired_at,
        revoked_at,
        reason=str(value.get("revocationReason", "")),
        # Earlier records know no time of retirement: their keys have signed.
        waiting=retired_at is None and "retiredAt" in value,
        uri=key_uri.parse(value["uri"]).text if "uri" in value else None,
    )


def _instant(value: datetime | None) -> str | None:
    return None if value is None else timestamps.render(value)


def _parsed(value: object) -> datetime | None:
    """An instant that may be absent.

    Raises:
        ValueError: it is there and is none; a revocation must not be lost to a damaged time.
    """
    if value is None:
        return None
    found = timestamps.parse(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("no instant")
    return found


_DAMAGE_HINT = (
    "Restore keys/ from its backup; until then the key neither signs nor verifies, and all others work on."
)
