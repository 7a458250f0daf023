"""The list of a tenant's public keys with the time of each: what receivers and auditors need to judge old bundles.

    {"schema": "https://stellaops.io/authority/keys/v1", "tenant": "acme", "keys": [
      {"keyId": "…", "algorithm": "ecdsa-p256-sha256", "state": "retired", "publicKey": "-----BEGIN …",
       "createdAt": "2026-01-02T03:04:05Z", "retiredAt": "2026-02-03T04:05:06Z",
       "revokedAt": null, "revocationReason": null}, …]}

A key may have signed from `createdAt` to `retiredAt`, and verifies what it signed until it is revoked. Of a revoked key
`publicKey` is null, so that nobody takes it for one to trust. Where a private key is kept is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stellaops.authority.keys import KeyRecord, KeyState
from stellaops.core import canonical_json, timestamps

SCHEMA = "https://stellaops.io/authority/keys/v1"
FILE = "keys.json"
"""Its name beside `export-center.pub`."""
_ALGORITHM = "ecdsa-p256-sha256"


def wire(tenant: str, records: Sequence[KeyRecord]) -> dict[str, Any]:
    """The list; keys in the order that is given."""
    return {"schema": SCHEMA, "tenant": tenant, "keys": [_key(each) for each in records]}


def encode(tenant: str, records: Sequence[KeyRecord]) -> bytes:
    """The list as canonical JSON."""
    return canonical_json.encode(wire(tenant, records))


def _key(record: KeyRecord) -> dict[str, Any]:
    revoked = record.state is KeyState.REVOKED
    return {
        "keyId": record.key_id,
        "algorithm": _ALGORITHM,
        "state": record.state.value,
        "publicKey": None if revoked else record.public_key_pem.decode("ascii"),
        "createdAt": timestamps.render(record.created_at),
        "retiredAt": _instant(record.retired_at),
        "revokedAt": _instant(record.revoked_at),
        "revocationReason": record.revocation_reason or None,
    }


def _instant(value: datetime | None) -> str | None:
    return None if value is None else timestamps.render(value)
