"""Access tokens: what they say (RFC 9068), and the keys that sign them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stellaops.authority.access import SCOPES, Principal
from stellaops.authority.clients import ALL_TENANTS
from stellaops.core import timestamps
from stellaops.core.errors import InvalidInput, NotAuthenticated, NotFound

LONGEST_LIFE = timedelta(minutes=15)
"""No token lives longer, whatever its `exp` says."""
SKEW = timedelta(seconds=30)
"""How far the clocks of issuer and checker may be apart."""
LARGEST = 32 * 1024
"""More bytes than any token of ours has."""
TYPE = "at+jwt"
"""`typ` of the header: an access token, and no other JWT that the same key may have signed."""


class BadToken(NotAuthenticated):
    """An access token does not hold: damaged, expired, for others, by a key that is not ours, or revoked."""

    code = "ERR_TOKEN_INVALID"
    hint = "Log in again; tokens live for at most 15 minutes."


class TokenKeyNotFound(NotFound):
    """There is no such key for access tokens."""

    code = "ERR_TOKEN_KEY_NOT_FOUND"
    hint = "List them with `stella authority token-key list`."


class BadTokenSettings(InvalidInput):
    """The settings of access tokens cannot be used."""

    code = "ERR_TOKEN_SETTINGS"
    hint = "Correct the setting that the message names; `stella config show` prints all."


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """What every process of an installation must agree on.

    Attributes:
        issuer: `iss`.
        audience: `aud`.
        life: how long a token is valid.
        key_life: how long a key signs before another takes its place.
    """

    issuer: str = "stellaops"
    audience: str = "stellaops"
    life: timedelta = LONGEST_LIFE
    key_life: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if not timedelta(seconds=30) <= self.life <= LONGEST_LIFE:
            raise BadTokenSettings(
                f"authority.tokenSeconds: {self.life.total_seconds():.0f} is not from 30 to 900"
            )


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        issued_at: to the second.
    """

    client: str
    tenants: tuple[str, ...]
    scopes: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    id: str

    def principal(self, tenants: tuple[str, ...]) -> Principal:
        """Who asks.

        Args:
            tenants: all that there are.
        """
        operator = ALL_TENANTS in self.tenants
        return Principal(self.client, tenants if operator else self.tenants, self.scopes, operator)

    def to_wire(self, settings: TokenSettings) -> dict[str, Any]:
        """The payload of the token."""
        return {
            "iss": settings.issuer,
            "aud": settings.audience,
            "sub": self.client,
            "client_id": self.client,
            "iat": int(self.issued_at.timestamp()),
            "exp": int(self.expires_at.timestamp()),
            "jti": self.id,
            "scope": " ".join(sorted(self.scopes)),
            "tenants": list(self.tenants),
        }


def read_claims(wire: Mapping[str, Any], settings: TokenSettings, now: datetime) -> Claims:
    """What a payload with a valid signature says, if it holds here and now.

    Raises:
        BadToken: see there; the message names the claim and never its value.
    """
    if wire.get("iss") != settings.issuer:
        raise BadToken("the access token is of another issuer")
    audience = wire.get("aud")
    if settings.audience not in (audience if isinstance(audience, list) else [audience]):
        raise BadToken("the access token is for another audience")
    issued, expires = _instant(wire, "iat"), _instant(wire, "exp")
    if expires - issued > LONGEST_LIFE:
        raise BadToken("the access token lives for longer than 15 minutes")
    if now >= expires:
        raise BadToken("the access token has expired")
    if issued > now + SKEW or ("nbf" in wire and _instant(wire, "nbf") > now + SKEW):
        raise BadToken("the access token is of the future; compare the clocks")
    client, tenants = wire.get("client_id"), wire.get("tenants")
    if not isinstance(client, str) or not client or wire.get("sub") != client:
        raise BadToken("the access token names no client")
    if not isinstance(tenants, list) or not tenants or not all(isinstance(each, str) for each in tenants):
        raise BadToken("the access token names no tenants")
    scope, name = wire.get("scope"), wire.get("jti")
    if not isinstance(scope, str) or not isinstance(name, str):
        raise BadToken("the access token lacks its scope or its id")
    return Claims(client, tuple(tenants), frozenset(scope.split()) & SCOPES.keys(), issued, expires, name)


def _instant(wire: Mapping[str, Any], name: str) -> datetime:
    value = wire.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(f"the access token has no {name}")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadToken(f"the {name} of the access token is no instant") from None


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The public part of a key for access tokens. Private parts never leave the machine that made them.

    Attributes:
        id: `kid`: SHA-256 of the public key, in hexadecimal digits, as of every key of ours.
        public_key_pem: ECDSA P-256.
        signs_until: from then on it makes no token.
        revoked_at: from then on no token of it holds.
    """

    id: str
    public_key_pem: bytes
    created_at: datetime
    signs_until: datetime
    revoked_at: datetime | None = None

    @property
    def verifies_until(self) -> datetime:
        """When the last of its tokens is over."""
        return self.signs_until + LONGEST_LIFE + SKEW

    def signs(self, now: datetime) -> bool:
        """Whether it makes tokens."""
        return self.revoked_at is None and now < self.signs_until

    def verifies(self, now: datetime) -> bool:
        """Whether its tokens hold."""
        return self.revoked_at is None and now < self.verifies_until

    def to_wire(self, now: datetime) -> dict[str, Any]:
        """The key as scripts read it."""
        state = "active" if self.signs(now) else "retired" if self.verifies(now) else "over"
        return {
            "keyId": self.id,
            "state": "revoked" if self.revoked_at else state,
            "createdAt": timestamps.render(self.created_at),
            "signsUntil": timestamps.render(self.signs_until),
            "revokedAt": timestamps.render(self.revoked_at) if self.revoked_at else None,
        }


@dataclass(frozen=True, slots=True)
class TokenState:
    """What checking tokens needs of the store.

    Attributes:
        keys: by id, those that verify.
        cutoffs: clients whose tokens issued before an instant are refused; `datetime.max` for revoked ones.
        tenants: all that there are, `default` first.
    """

    keys: Mapping[str, TokenKey]
    cutoffs: Mapping[str, datetime]
    tenants: tuple[str, ...]
