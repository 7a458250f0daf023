"""Tokens that open the downloads of a tenant, or of some of its profiles and runs, and nothing else.

They are for those who fetch bundles without a client of their own: a cron job, a mirror, a partner. A token is shown
once, `stella_dl_<id>.<secret>`; what is kept is the SHA-256 of its secret, which has 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from stellaops.authority.access import Confined, Principal
from stellaops.core import timestamps
from stellaops.core.errors import Conflict, InvalidInput, NotAuthenticated, NotFound

PREFIX = "stella_dl_"
"""What these tokens begin with, so that scanners for leaked secrets can tell them."""
SCOPE = "export:download"
SCOPES = frozenset((SCOPE, "export:read"))
"""What a token has: to see a run's record belongs to downloading it. What it is confined to, it says beside that."""
LONGEST_LIFE = timedelta(days=365)
LONGEST_OVERLAP = timedelta(days=30)
OVERLAP = timedelta(hours=24)
_FORM = re.compile(r"stella_dl_([0-9a-f]{12})\.([A-Za-z0-9_-]{43})")
_MOST = 100
_LONGEST_TEXT = 200
_USE_IS_NEWS = timedelta(minutes=1)


class DownloadTokenNotFound(NotFound):
    """The tenant has no such download token."""

    code = "ERR_DOWNLOAD_TOKEN_NOT_FOUND"
    hint = "List the tokens with `stella export token list`."


class DownloadTokenInvalid(NotAuthenticated):
    """A download token that is unknown, over or revoked."""

    code = "ERR_DOWNLOAD_TOKEN_INVALID"
    hint = "Ask whoever gave you the token for another one."


class DownloadTokenRevoked(Conflict):
    """A revoked download token was to be changed."""

    code = "ERR_DOWNLOAD_TOKEN_REVOKED"
    hint = "Create another token: a revocation is for ever."


class DownloadTokenChanged(Conflict):
    """Someone else changed the download token at the same moment."""

    code = "ERR_DOWNLOAD_TOKEN_CHANGED"
    hint = "Look at the token, then ask again."


class BadDownloadToken(InvalidInput):
    """A download token cannot be as it is asked for; all that is wrong is listed."""

    code = "ERR_DOWNLOAD_TOKEN_FORM"
    hint = "Correct what is listed; docs/operate/downloads.md describes tokens."


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a token: SHA-256 in hex, and when it ends; `used_at` to the minute, None for never."""

    number: int
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DownloadToken:
    """A download token.

    Attributes:
        id: 12 hex digits.
        name: for people.
        profiles, runs: what it opens: their bundles; every bundle of the tenant where both are empty.
        secrets: the valid ones and the last that ended, the oldest first.
        version: grows with every change.
    """

    id: str
    tenant: str
    name: str
    profiles: tuple[str, ...]
    runs: tuple[str, ...]
    created_at: datetime
    created_by: str
    secrets: tuple[Secret, ...] = ()
    revoked_at: datetime | None = None
    revocation_reason: str = ""
    version: int = 0

    def valid(self, now: datetime) -> tuple[Secret, ...]:
        """The secrets that open; none of a revoked token."""
        return () if self.revoked_at else tuple(each for each in self.secrets if now < each.expires_at)

    def state(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        return "active" if self.valid(now) else "expired"

    def to_wire(self, now: datetime) -> dict[str, Any]:
        """The token as scripts read it; digests are not for them."""
        return {
            "tokenId": self.id,
            "tenant": self.tenant,
            "name": self.name,
            "state": self.state(now),
            "profiles": list(self.profiles),
            "runs": list(self.runs),
            "createdAt": timestamps.render(self.created_at),
            "createdBy": self.created_by,
            "expiresAt": timestamps.render(max(each.expires_at for each in self.secrets)),
            "secrets": [
                {
                    "number": each.number,
                    "createdAt": timestamps.render(each.created_at),
                    "expiresAt": timestamps.render(each.expires_at),
                    "usedAt": timestamps.render(each.used_at) if each.used_at else None,
                }
                for each in self.secrets
            ],
            "revokedAt": timestamps.render(self.revoked_at) if self.revoked_at else None,
            "revocationReason": self.revocation_reason or None,
        }


class DownloadTokens(Protocol):
    """The download tokens of the service."""

    def add(self, token: DownloadToken) -> DownloadToken:
        """Store a new token, at version 1; one whose id is there stays as it is and is given back."""
        ...

    def get(self, token_id: str) -> DownloadToken | None:
        """A token of any tenant by its id, also a revoked one."""
        ...

    def list(self, tenant: str) -> Sequence[DownloadToken]:
        """All of a tenant, the oldest first."""
        ...

    def change(self, token: DownloadToken) -> DownloadToken:
        """Write a token over the record that it was made from.

        Raises:
            DownloadTokenChanged: someone else has changed it meanwhile.
        """
        ...

    def note_use(self, token_id: str, secret: int, at: datetime) -> None:
        """Note when a secret last opened."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token as it is asked for.

    Attributes:
        id: made up where it is empty.
    """

    name: str = ""
    profiles: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    life: timedelta = timedelta(days=90)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A token, and what is shown this once: None where it was made before."""

    token: DownloadToken
    text: str | None = field(repr=False)


def create_token(tokens: DownloadTokens, tenant: str, wanted: Wanted, *, by: str, now: datetime) -> Shown:
    """Make a token.

    Raises:
        BadDownloadToken: see there.
    """
    _demand_sound(wanted)
    token_id, made = wanted.id or secrets.token_hex(6), secrets.token_urlsafe(32)
    first = Secret(1, _digest(made), now, now + wanted.life)
    token = DownloadToken(
        token_id, tenant, wanted.name or f"token {token_id}", tuple(sorted(set(wanted.profiles))),
        tuple(sorted(set(wanted.runs))), now, by, (first,),
    )  # fmt: skip
    stored = tokens.add(token)
    ours = stored.secrets[0].digest == first.digest
    return Shown(stored, f"{PREFIX}{token_id}.{made}" if ours else None)


def rotate_token(
    tokens: DownloadTokens, tenant: str, token_id: str, *, overlap: timedelta = OVERLAP, now: datetime
) -> Shown:
    """Give a token another secret, for as long as the one so far was made for; that one opens for the overlap.

    Raises:
        DownloadTokenNotFound, DownloadTokenRevoked, DownloadTokenChanged, BadDownloadToken: see there.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise BadDownloadToken(f"an overlap must be 0 to {LONGEST_OVERLAP.days} days")
    token = find_token(tokens, tenant, token_id)
    if token.revoked_at:
        raise DownloadTokenRevoked(f"token {token_id} is revoked")
    made, last = secrets.token_urlsafe(32), token.secrets[-1]
    ended = tuple(replace(each, expires_at=min(each.expires_at, now + overlap)) for each in token.secrets)
    kept = tuple(each for each in ended if now < each.expires_at) or ended[-1:]
    fresh = Secret(last.number + 1, _digest(made), now, now + (last.expires_at - last.created_at))
    changed = tokens.change(replace(token, secrets=(*kept, fresh)))
    return Shown(changed, f"{PREFIX}{token_id}.{made}")


def revoke_token(
    tokens: DownloadTokens, tenant: str, token_id: str, *, reason: str = "", now: datetime
) -> tuple[DownloadToken, DownloadToken]:
    """Revoke a token for ever; a first revocation stands.

    Returns:
        the token before and after.

    Raises:
        DownloadTokenNotFound, DownloadTokenChanged, BadDownloadToken: see there.
    """
    if problems := _text_problems("reason", reason):
        raise BadDownloadToken("; ".join(problems), details=problems)
    before = find_token(tokens, tenant, token_id)
    if before.revoked_at:
        return before, before
    return before, tokens.change(replace(before, revoked_at=now, revocation_reason=reason))


def find_token(tokens: DownloadTokens, tenant: str, token_id: str) -> DownloadToken:
    """A token of a tenant.

    Raises:
        DownloadTokenNotFound: see there.
    """
    found = tokens.get(token_id)
    if found is None or found.tenant != tenant:
        raise DownloadTokenNotFound(f"tenant {tenant} has no download token {token_id[:80]!r}")
    return found


def opened_by(tokens: DownloadTokens, text: str, *, now: datetime) -> Principal:
    """Who may download what, by a token.

    Raises:
        DownloadTokenInvalid: the token opens nothing; which part of it is wrong is not said.
    """
    found = _FORM.fullmatch(text)
    token = tokens.get(found[1]) if found else None
    digest = _digest(found[2] if found else "")
    secret = None
    for each in token.secrets if token else ():
        if hmac.compare_digest(each.digest, digest):
            secret = each
    if token is None or secret is None:
        raise DownloadTokenInvalid("the download token is not known")
    if secret not in token.valid(now):
        state = "revoked" if token.revoked_at else "over"
        raise DownloadTokenInvalid(f"the download token {token.id} is {state}")
    if secret.used_at is None or now - secret.used_at >= _USE_IS_NEWS:
        tokens.note_use(token.id, secret.number, now)
    confined = Confined(frozenset(token.profiles), frozenset(token.runs))
    return Principal(f"token:{token.id}", (token.tenant,), SCOPES, confined=confined)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _demand_sound(wanted: Wanted) -> None:
    problems = _text_problems("name", wanted.name)
    if not timedelta(minutes=1) <= wanted.life <= LONGEST_LIFE:
        problems.append(f"a token lives for a minute to {LONGEST_LIFE.days} days")
    for what, names in (("profiles", wanted.profiles), ("runs", wanted.runs)):
        if len(names) > _MOST:
            problems.append(f"more than {_MOST} {what}")
        problems += [f"{what}: {name[:80]!r} cannot be a name" for name in names if not _is_name(name)]
    if problems:
        raise BadDownloadToken("; ".join(problems), details=problems)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_TEXT and name.isprintable() and " " not in name


def _text_problems(what: str, text: str) -> list[str]:
    if len(text) <= _LONGEST_TEXT and (text.isprintable() or not text):
        return []
    return [f"the {what} must be one line of at most {_LONGEST_TEXT} characters"]
