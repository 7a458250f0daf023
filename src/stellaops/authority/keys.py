"""A tenant's signing keys: several, of which one is active."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stellaops.core import timestamps
from stellaops.core.errors import AlreadyExists, InvalidInput, MissingPrerequisite, NotFound


class KeyState(StrEnum):
    """What a key may do.

    A waiting key verifies and has not signed yet; the active one signs and verifies; a retired one verifies what it
    signed; a revoked one does nothing.
    """

    WAITING = "waiting"
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


class Protection(StrEnum):
    """How the private key is kept: under a passphrase, by its mode alone, or in a key service.

    `ABSENT` where there is none here that should be.
    """

    ENCRYPTED = "encrypted"
    PLAIN = "plain"
    SERVICE = "service"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What may be told of a key.

    Attributes:
        tenant: whose key it is.
        key_id: 64 hexadecimal digits, SHA-256 of the public key's SubjectPublicKeyInfo in DER.
        state: see `KeyState`; a tenant has at most one active key.
        created_at: when it was made, or came here.
        public_key_pem: the public key in PEM.
        retired_at: when another key took its place, of a key that signed.
        revoked_at: when it was revoked.
        revocation_reason: what the one who revoked it said; empty for nothing.
        protection: of the private key.
        uri: of a key in a key service, where it is there; None where the private key is in the store.
    """

    tenant: str
    key_id: str
    state: KeyState
    created_at: datetime
    public_key_pem: bytes
    retired_at: datetime | None = None
    revoked_at: datetime | None = None
    revocation_reason: str = ""
    protection: Protection = Protection.PLAIN
    uri: str | None = None

    def remark(self) -> str:
        """What a verifier should say beside the key's id; empty for nothing."""
        if self.revoked_at is not None:
            because = f": {self.revocation_reason}" if self.revocation_reason else ""
            return f"revoked {timestamps.render(self.revoked_at.replace(microsecond=0))}{because}"
        if self.retired_at is not None:
            return f"retired {timestamps.render(self.retired_at.replace(microsecond=0))}"
        return ""


@dataclass(frozen=True, slots=True)
class DamagedKey:
    """A key whose record cannot be read: it neither signs nor verifies, and nobody knows whether it was revoked."""

    key_id: str
    what: str


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


class KeyKnown(AlreadyExists):
    """A key of a key service that the tenant has already."""

    code = "ERR_KEY_KNOWN"
    hint = "Let it sign with `stella authority key activate`, or make another version or key in the service first."


class PassphraseNeeded(InvalidInput):
    """A private key was to be written without a word on whether a passphrase protects it."""

    code = "ERR_KEY_PASSPHRASE_NEEDED"
    hint = "Give --new-passphrase-file, or say --no-passphrase."


class BadReason(InvalidInput):
    """The reason of a revocation is too long or is not one line."""

    code = "ERR_KEY_REASON"
    hint = "Say it in one line of at most 200 characters."
