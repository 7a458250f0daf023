"""Give access tokens to clients that prove who they are (OAuth 2.0 client credentials, RFC 6749 §4.4)."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stellaops.authority import client_secrets
from stellaops.authority.clients import ALL_TENANTS, MOST_TENANTS, Client, ClientSecret
from stellaops.authority.ports import Clients, Tenants, TokenSigner
from stellaops.authority.tokens import Claims, TokenSettings
from stellaops.core.errors import InvalidInput, NotAuthenticated, QuotaExceeded

_USE_STEP = timedelta(minutes=1)
_DERIVING = 2  # secrets that are checked at once, each with 32 MiB
_PATIENCE = 5.0  # seconds


class BadCredentials(NotAuthenticated):
    """The client is unknown or revoked, or its secret is wrong or over; which of these is not told."""

    code = "ERR_CLIENT_CREDENTIALS"
    hint = "Check the client's id and secret; `stella authority client list` shows which are valid."


class BadGrant(InvalidInput):
    """A token was asked for scopes or tenants that the client does not have."""

    code = "ERR_TOKEN_GRANT"
    hint = "Ask for what the client has, or leave it out to get all of that."


class TooManyLogins(QuotaExceeded):
    """More logins are under way than are checked at once."""

    code = "ERR_LOGIN_BUSY"
    hint = "Wait a moment, then log in again; keep tokens for as long as they live."


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was given.

    Attributes:
        expires_in: seconds.
    """

    token: str = field(repr=False)
    expires_in: int
    claims: Claims


class Issuer:
    """Gives access tokens."""

    def __init__(
        self,
        clients: Clients,
        tenants: Tenants,
        signer: TokenSigner,
        settings: TokenSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._clients, self._tenants = clients, tenants
        self._signer, self._settings, self._now = signer, settings, now
        self._room = threading.Semaphore(_DERIVING)

    def issue(
        self,
        client_id: str,
        candidates: Sequence[str],
        *,
        scope: str | None = None,
        tenant: str | None = None,
    ) -> Issued:
        """A token for a client.

        Args:
            client_id: who it says it is.
            candidates: its secret, in each reading of what it sent.
            scope: scopes that it wants, apart by spaces; all that it has where None.
            tenant: tenants, in the same way; the first is the one meant by default.

        Raises:
            BadCredentials, BadGrant, TooManyLogins: see there.
        """
        now = self._now()
        client, secret = self._proven(client_id, candidates, now)
        claims = self._claims(client, scope, tenant, now)
        token = self._signer.sign(claims.to_wire(self._settings), now)
        if secret.used_at is None or now - secret.used_at >= _USE_STEP:
            self._clients.note_use(client.id, secret.number, now)
        return Issued(token, int((claims.expires_at - claims.issued_at).total_seconds()), claims)

    def vouched(self, client_id: str) -> Issued:
        """A token for a client whose user somebody trusted has proved: an identity provider.

        Raises:
            BadCredentials: there is no such client, or it is revoked.
        """
        client, now = self._clients.get(client_id), self._now()
        if client is None or client.revoked_at is not None:
            raise BadCredentials(f"client {client_id[:80]!r} is not known, or revoked")
        return self._signed(client, None, now)

    def renewed(
        self, client_id: str, began_at: datetime, *, tenant: str | None = None, by_secret: bool = True
    ) -> Issued:
        """Another token for a session that goes on.

        Args:
            began_at: when the session's login was proved. What has ended the client's tokens since ends it too.
            tenant: as `issue` takes it.
            by_secret: whether it was proved by a secret: one that was there at that time must still open.

        Raises:
            BadCredentials: the session is over.
            BadGrant: the client lacks the tenant meanwhile.
        """
        client, now = self._clients.get(client_id), self._now()
        if client is None or client.revoked_at is not None:
            raise BadCredentials(f"client {client_id[:80]!r} is not known, or revoked")
        if client.tokens_from is not None and began_at <= client.tokens_from:
            raise BadCredentials(f"client {client_id[:80]!r} was changed since the login")
        if by_secret and not any(each.created_at <= began_at for each in client.valid_secrets(now)):
            raise BadCredentials(f"the secret of client {client_id[:80]!r} is over since the login")
        return self._signed(client, tenant, now)

    def _signed(self, client: Client, tenant: str | None, now: datetime) -> Issued:
        claims = self._claims(client, None, tenant, now)
        token = self._signer.sign(claims.to_wire(self._settings), now)
        return Issued(token, int((claims.expires_at - claims.issued_at).total_seconds()), claims)

    def proves(self, client_id: str, candidate: str) -> bool:
        """Whether a secret is one of a client's."""
        try:
            self._proven(client_id, (candidate,), self._now())
        except BadCredentials:
            return False
        return True

    def _proven(
        self, client_id: str, candidates: Iterable[str], now: datetime
    ) -> tuple[Client, ClientSecret]:
        client = self._clients.get(client_id)
        valid = client.valid_secrets(now) if client else ()
        hashes = [each.hash for each in valid]
        if not self._room.acquire(timeout=_PATIENCE):
            raise TooManyLogins("too many logins at once")
        try:
            found = [client_secrets.matching(candidate, hashes) for candidate in candidates]
        finally:
            self._room.release()
        for place in found:
            if client is not None and place is not None:
                return client, valid[place]
        raise BadCredentials("the client is not known, or its secret does not hold")

    def _claims(self, client: Client, scope: str | None, tenant: str | None, now: datetime) -> Claims:
        scopes = _chosen("scope", scope, client.scopes)
        tenants = self._named(client, tenant)
        # Whole seconds; a token of the very second in which the earlier ones were cut off is not one of these.
        issued_at = datetime.fromtimestamp(int(now.timestamp()), UTC)
        if client.tokens_from is not None and issued_at < client.tokens_from:
            issued_at = datetime.fromtimestamp(math.ceil(client.tokens_from.timestamp()), UTC)
        expires_at = issued_at + self._settings.life
        return Claims(client.id, tenants, frozenset(scopes), issued_at, expires_at, secrets.token_urlsafe(16))

    def _named(self, client: Client, tenant: str | None) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys((tenant or "").split())) or client.tenants
        if not client.is_operator:
            return _chosen("tenant", tenant, client.tenants)
        if len(wanted) > MOST_TENANTS:
            raise BadGrant(f"a token names at most {MOST_TENANTS} tenants")
        for name in wanted:
            if name != ALL_TENANTS and self._tenants.get(name) is None:
                raise BadGrant(f"there is no tenant {name[:80]!r}")
        return (ALL_TENANTS,) if ALL_TENANTS in wanted else wanted


def _chosen(what: str, wanted: str | None, has: Sequence[str]) -> tuple[str, ...]:
    """What is wanted, in that order, of what a client has; all where nothing is said."""
    if wanted is None or not wanted.split():
        return tuple(has)
    names = tuple(dict.fromkeys(wanted.split()))
    for name in names:
        if name not in has:
            raise BadGrant(f"the client does not have the {what} {name[:80]!r}")
    return names
