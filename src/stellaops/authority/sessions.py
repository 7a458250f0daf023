"""Sessions of people who look at pages: how long they go on, and what is kept of them.

A session is known by a handle of chance that only the browser has. The store keeps the handle's digest, and what
belongs to the session sealed under a key that is made of the handle: who reads the store gets into no session, and
learns no token. A session that is taken out of the store is over in every process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stellaops.core.errors import InvalidInput

_HANDLE = 32  # bytes
_NONCE = 12
_LONGEST = timedelta(days=90)
_USE_STEP = timedelta(minutes=1)
_AHEAD = timedelta(minutes=5)  # by which clocks of machines may differ
RENEWING = timedelta(seconds=30)
"""How long one process has for renewing a session before another may try."""


class BadSessionSettings(InvalidInput):
    """The limits of sessions cannot be used."""

    code = "ERR_SESSION_SETTINGS"
    hint = "Correct the setting that the message names; `stella config show` prints all."


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions go on.

    Attributes:
        idle: without a use.
        longest: however much they are used.
    """

    idle: timedelta = timedelta(minutes=30)
    longest: timedelta = timedelta(hours=12)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.idle <= self.longest <= _LONGEST:
            raise BadSessionSettings(
                f"console.session.idleMinutes and .longestMinutes: {_minutes(self.idle)} and {_minutes(self.longest)}"
                f" are not in order, or above {_minutes(_LONGEST)}"
            )


class SessionContent(msgspec.Struct, frozen=True):
    """What belongs to a session.

    Attributes:
        token: the access token that the API is asked with.
        expires_at, issued_at: of the token, in seconds of the clock.
        who: what pages call the visitor.
        tenant: whom the pages are about; empty for the token's first.
        granted: the only tenants that the login was for, apart by spaces; empty for all of the client's.
        provider: how the visitor logged in; empty for a client's own secret.
        subject: as whom the provider knows the visitor.
        refresh: the provider's refresh token; empty where it gave none.
    """

    token: str
    issued_at: int
    expires_at: int
    who: str
    tenant: str = ""
    granted: str = ""
    provider: str = ""
    subject: str = ""
    refresh: str = ""

    def __repr__(self) -> str:
        """Tells nothing."""
        return "SessionContent(…)"

    @property
    def renewable(self) -> bool:
        """Whether it goes on beyond its token: a login by a provider only where that can be asked again."""
        return not self.provider or bool(self.refresh)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as it is stored.

    Attributes:
        id: the digest of the handle.
        client: whose tokens it has.
        used_at: the last use, to the minute; see `wants_note`.
        renewing_until: until when somebody renews it.
        version: grows with every change of the sealed part.
    """

    id: str
    client: str
    began_at: datetime
    used_at: datetime
    sealed: bytes = field(repr=False)
    renewing_until: datetime | None = None
    version: int = 1

    def is_over(self, limits: SessionLimits, now: datetime) -> bool:
        """Whether it was idle for too long, or went on for too long; or its clock was wrong, and nobody knows."""
        idle, age = now - self.used_at, now - self.began_at
        return idle >= limits.idle or not -_AHEAD <= age < limits.longest

    def wants_note(self, limits: SessionLimits, now: datetime) -> bool:
        """Whether a use is worth a write: once a minute, ten times within the idle limit where that is shorter."""
        return now - self.used_at >= min(_USE_STEP, limits.idle / 10)


class Sessions(Protocol):
    """Where sessions are kept."""

    def add(self, record: SessionRecord) -> None:
        """Keep one that has just begun."""
        ...

    def get(self, session_id: str) -> SessionRecord | None:
        """One of them; None also for one that is over and gone."""
        ...

    def note_use(self, session_id: str, at: datetime) -> None:
        """It was used."""
        ...

    def claim(self, record: SessionRecord, now: datetime, until: datetime) -> bool:
        """Be the only one to renew it until an instant; False where it was renewed, ended or claimed meanwhile."""
        ...

    def change(self, record: SessionRecord, *, renewed: bool) -> bool:
        """Write client and sealed part over the version that it was made from; renewed, it may be claimed again.

        False where it was changed or ended meanwhile.
        """
        ...

    def remove(self, session_id: str) -> None:
        """End it."""
        ...

    def prune(self, began_before: datetime, used_before: datetime) -> None:
        """Forget those that began or were last used before."""
        ...


def new_handle() -> str:
    """A handle: 256 bits of the operating system."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_HANDLE)).decode("ascii").rstrip("=")


def id_of(handle: str) -> str:
    """Under which a session is stored."""
    return hashlib.sha256(b"stellaops session\0" + handle.encode("utf-8", "replace")).hexdigest()


def derived(handle: str, purpose: str) -> bytes:
    """32 bytes that nobody has who lacks the handle."""
    return hmac.new(handle.encode("utf-8", "replace"), purpose.encode(), hashlib.sha256).digest()


def sealed(handle: str, content: SessionContent) -> bytes:
    """The content as only the handle opens it."""
    nonce = secrets.token_bytes(_NONCE)
    plain = msgspec.json.encode(content)
    return nonce + AESGCM(derived(handle, "seal")).encrypt(nonce, plain, id_of(handle).encode())


def opened(handle: str, record: SessionRecord) -> SessionContent | None:
    """What was sealed; None where it is damaged, or of another release."""
    nonce, body = record.sealed[:_NONCE], record.sealed[_NONCE:]
    try:
        plain = AESGCM(derived(handle, "seal")).decrypt(nonce, body, record.id.encode())
        return msgspec.json.decode(plain, type=SessionContent)
    except (InvalidTag, ValueError, msgspec.MsgspecError):
        return None


def resealed(handle: str, record: SessionRecord, content: SessionContent) -> SessionRecord:
    """The same session with other content."""
    return replace(record, sealed=sealed(handle, content))


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:g} minutes"
