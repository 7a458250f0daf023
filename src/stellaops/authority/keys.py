"""A tenant's signing keys: several, of which one is active."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stellaops.core.errors import InvalidInput, MissingPrerequisite, NotFound


class KeyState(StrEnum):
    """What a key may do: sign and verify, verify alone, or nothing."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What may be told of a key.

    Attributes:
        tenant: whose key it is.
        key_id: 64 hexadecimal digits, SHA-256 of the public key's SubjectPublicKeyInfo in DER.
        state: see `KeyState`; a tenant has at most one active key.
        created_at: when it was made.
        public_key_pem: the public key in PEM.
    """

    tenant: str
    key_id: str
    state: KeyState
    created_at: datetime
    public_key_pem: bytes


class KeyNotFound(NotFound):
    """A tenant has no such key, or none that is active."""

    code = "ERR_KEY_NOT_FOUND"
    hint = "List the keys with `stella authority key list`, or make one with `stella authority key create`."


class KeyRevoked(InvalidInput):
    """A revoked key was to be used."""

    code = "ERR_KEY_REVOKED"
    hint = "Make another key with `stella authority key create`."


class KeyUnavailable(MissingPrerequisite):
    """A key is there but cannot be used: its file is damaged or open to others, or its passphrase is missing."""

    code = "ERR_KEY_UNAVAILABLE"
    hint = "Set right what the message names; restore the key file from its backup if it is damaged."
