"""The record of a key, as it lies beside the private key: canonical JSON, without anything that is secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stellaops.authority.keys import KeyRecord, KeyState, KeyUnavailable, Protection
from stellaops.core import canonical_json, timestamps
from stellaops.signing import ecdsa_p256, key_uri
from stellaops.signing.ecdsa_p256 import UnusableKey
from stellaops.signing.key_uri import BadKeyUri

_ALGORITHM = "ecdsa-p256-sha256"


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
    try:
        value: dict[str, Any] = canonical_json.decode(data)
        public = ecdsa_p256.load_public_key(value["publicKey"].encode("ascii"))
        created_at = timestamps.parse(value["createdAt"])
        revoked_at, retired_at = (_parsed(value.get(name)) for name in ("revokedAt", "retiredAt"))
        reason = str(value.get("revocationReason", ""))
        # Earlier records know no time of retirement: their keys have signed.
        waiting = retired_at is None and "retiredAt" in value
        uri = key_uri.parse(value["uri"]).text if "uri" in value else None
    except (
        canonical_json.NotCanonical,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        UnusableKey,
        BadKeyUri,
    ) as error:
        raise KeyUnavailable(
            f"the record of key {key_id} of tenant {tenant} is damaged", hint=_DAMAGE_HINT
        ) from error
    if public.key_id != key_id or created_at is None:
        raise KeyUnavailable(
            f"the record of key {key_id} of tenant {tenant} is of another key", hint=_DAMAGE_HINT
        )
    state = KeyState.WAITING if waiting else KeyState.RETIRED
    state = KeyState.ACTIVE if active else state
    if revoked_at is not None:
        state = KeyState.REVOKED
    return KeyRecord(
        tenant,
        key_id,
        state,
        created_at,
        public.pem(),
        retired_at=None if state is KeyState.ACTIVE else retired_at,
        revoked_at=revoked_at,
        revocation_reason=reason,
        protection=protection if uri is None else Protection.SERVICE,
        uri=uri,
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
