"""Access tokens of an authority elsewhere, checked by its published keys: no store of the service is asked.

Keys are fetched from `<url>/authority/jwks` when the first token comes, every few minutes after that, and at once,
but not often, for a key that is not known. A host with a client of its own then asks whether the token still holds;
without one, what is revoked holds here until its token is over: 15 minutes at most.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stellaops.adapters.settings.mirrors import AuthoritySettings
from stellaops.adapters.tokens.errors import AuthorityAway
from stellaops.adapters.tokens.introspection import Introspection, OwnClient
from stellaops.adapters.tokens.jws import JwsReader
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.authority.access import Principal
from stellaops.authority.tokens import LARGEST, BadToken, TokenKey, TokenSettings, read_claims
from stellaops.core.egress import EgressPolicy, networks
from stellaops.core.errors import StellaError

_FRESH = 300.0  # seconds for which keys are taken as they were
_LASTING = 3600.0  # the same where the authority does not answer
_PAUSE = 5.0  # seconds between two looks for a key that is not known
_LARGEST = 1 << 20
# The operator names the authority; it may well be inside the network.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")


class RemoteAccess:
    """Tells who sends an access token. Safe for threads; blocks while keys are fetched."""

    def __init__(self, authority: AuthoritySettings, now: Callable[[], datetime]) -> None:
        parts = urlsplit(authority.url)
        policy = EgressPolicy(private=networks(_PRIVATE), plain_hosts=frozenset((parts.hostname or "",)))
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
        self._url, self._host = f"{authority.url}/authority/jwks", host
        web = WebSettings(policy, ca_file=authority.ca_file, read_seconds=10)
        self._web = WebClient(web)
        self._introspection: Introspection | None = None
        if authority.client_id is not None and authority.client_secret_file is not None:
            client = OwnClient(authority.client_id, authority.client_secret_file)
            self._introspection = Introspection(authority.url, client, web)
        self._settings = TokenSettings(authority.issuer, authority.audience)
        self._reader, self._now = JwsReader(), now
        self._lock = threading.Lock()
        self._keys: dict[str, TokenKey] = {}
        self._fetched_at = self._looked_at = float("-inf")

    def principal(self, token: str) -> tuple[Principal, datetime]:
        """Who sends a token, and when it ends.

        Raises:
            BadToken: it does not hold.
            AuthorityAway, AuthorityLogin: it cannot be checked just now.
        """
        if len(token) > LARGEST:
            raise BadToken(f"the access token has more than {LARGEST} bytes")
        key = self._key(self._reader.key_id(token))
        claims = read_claims(self._reader.claims(token, key), self._settings, self._now())
        if self._introspection is not None:  # only of tokens that the authority did sign
            return self._introspection.confirm(token), claims.expires_at
        return claims.principal(claims.tenants), claims.expires_at

    def _key(self, name: str) -> TokenKey:
        with self._lock:
            age = time.monotonic() - self._fetched_at
            is_due = age > _FRESH or name not in self._keys
            if is_due and time.monotonic() - self._looked_at > _PAUSE:
                self._looked_at = time.monotonic()
                self._refresh(age)
            elif age > _LASTING:
                raise AuthorityAway(f"{self._host} did not give its keys")
            if name not in self._keys:
                raise BadToken("the access token is signed by a key that the authority does not name")
            return self._keys[name]

    def _refresh(self, age: float) -> None:
        try:
            self._keys = self._fetched()
            self._fetched_at = time.monotonic()
        except StellaError as error:
            if age > _LASTING:
                raise AuthorityAway(f"{self._host} did not give its keys: {error}") from error

    def _fetched(self) -> dict[str, TokenKey]:
        with self._web.get(self._url, hosts=(self._host,), headers={}) as reply:
            if reply.status != 200:
                raise AuthorityAway(f"{self._host} answers with {reply.status}")
            data = b""
            for piece in reply.pieces():
                data += piece
                if len(data) > _LARGEST:
                    raise AuthorityAway(f"{self._host} sends more than {_LARGEST:,} bytes of keys")
        try:
            found = [_key_of(each, self._now()) for each in json.loads(data)["keys"]]
        except (ValueError, KeyError, TypeError, JoseError) as error:
            raise AuthorityAway(f"{self._host} sends no JWK Set") from error
        return {key.id: key for key in found}


def _key_of(wire: dict[str, Any], now: datetime) -> TokenKey:
    """A key that verifies for as long as the authority publishes it."""
    return TokenKey(
        str(wire["kid"]), ECKey.import_key(wire).as_pem(private=False), now, now + timedelta(days=3650)
    )
