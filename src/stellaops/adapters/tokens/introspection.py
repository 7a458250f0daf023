"""Whether an access token still holds, asked of the authority that gave it (RFC 7662).

The back end logs in as a client of its own (RFC 6749 §4.4) and asks with its access token. Its secret is read from its
file at each login, so that a rotated one needs no restart. While the authority is away nobody learns that a token
holds: it is asked again a few seconds later.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from stellaops.adapters.tokens.errors import AuthorityAway, AuthorityLogin
from stellaops.adapters.web.client import USER_AGENT, WebSettings, tls_context
from stellaops.adapters.web.credentials import read_secret
from stellaops.adapters.web.egress import guarded_pools, in_words
from stellaops.authority.access import Principal
from stellaops.authority.clients import ALL_TENANTS
from stellaops.authority.tokens import BadToken

_FORM = "application/x-www-form-urlencoded"
_LARGEST = 256 << 10
_SECONDS = 5.0
_PAUSE = 5.0  # seconds in which an authority that did not answer is not asked again
_EARLY = 30.0  # seconds before its end in which our own token is renewed


@dataclass(frozen=True, slots=True)
class OwnClient:
    """As whom the back end logs in."""

    id: str
    secret_file: Path


class Introspection:
    """Asks one authority. Safe for threads."""

    def __init__(self, url: str, client: OwnClient, web: WebSettings) -> None:
        self._url, self._client = url, client
        self._pools = guarded_pools(web.policy, tls_context(web.ca_file), maxsize=4, retries=False)
        self._lock = threading.Lock()
        self._own: tuple[str, float] | None = None
        self._away_until = float("-inf")

    def confirm(self, token: str) -> Principal:
        """Who sends a token, as the authority says at this moment.

        Raises:
            BadToken: it does not hold any more.
            AuthorityAway, AuthorityLogin: see there.
        """
        if time.monotonic() < self._away_until:
            raise AuthorityAway(f"{self._url} did not answer a moment ago")
        status, told = self._asked(token, self._token())
        if status == 401:  # ours was revoked, or the authority has other keys now
            self._own = None
            status, told = self._asked(token, self._token())
        if status == 403:
            raise AuthorityLogin(f"client {self._client.id} may not ask {self._url} about tokens")
        if status != 200 or not isinstance(told.get("active"), bool):
            raise self._away(f"answers {status} when it is asked about a token")
        if not told["active"]:
            raise BadToken("the access token has been revoked, or does not hold any more")
        return _principal(told)

    def _asked(self, token: str, own: str) -> tuple[int, Mapping[str, Any]]:
        return self._post("/authority/introspect", {"token": token}, f"Bearer {own}")

    def _token(self) -> str:
        """Our own access token."""
        with self._lock:
            if self._own is None or time.monotonic() > self._own[1]:
                self._own = self._login()
            return self._own[0]

    def _login(self) -> tuple[str, float]:
        secret, began = read_secret(self._client.secret_file), time.monotonic()
        pair = f"{quote_plus(self._client.id)}:{quote_plus(secret)}"
        basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, told = self._post("/authority/token", {"grant_type": "client_credentials"}, basic)
        if status in (400, 401):
            raise AuthorityLogin(f"{self._url} does not take the secret of client {self._client.id}")
        token, seconds = told.get("access_token"), told.get("expires_in")
        if status != 200 or not isinstance(token, str) or not isinstance(seconds, int):
            raise self._away(f"answers {status} to a login")
        return token, began + max(1.0, seconds - _EARLY)

    def _post(self, path: str, form: Mapping[str, str], authorization: str) -> tuple[int, Mapping[str, Any]]:
        headers = {
            "user-agent": USER_AGENT, "accept-encoding": "identity", "content-type": _FORM,
            "authorization": authorization,
        }  # fmt: skip
        try:
            reply = self._pools.urlopen(
                "POST", self._url + path, body=urlencode(form).encode(), headers=headers, redirect=False,
                retries=False, preload_content=False, timeout=Timeout(connect=_SECONDS, read=_SECONDS),
            )  # fmt: skip
            try:
                data = reply.read(_LARGEST, decode_content=False)
            finally:
                reply.drain_conn()
                reply.release_conn()
        except (HTTPError, OSError) as error:
            raise self._away(in_words(error)) from error
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        return reply.status, told if isinstance(told, dict) else {}

    def _away(self, reason: str) -> AuthorityAway:
        self._away_until = time.monotonic() + _PAUSE
        return AuthorityAway(f"{self._url}: {reason}")


def _principal(told: Mapping[str, Any]) -> Principal:
    client, scope, tenants = told.get("client_id"), told.get("scope"), told.get("tenants")
    if not isinstance(client, str) or not isinstance(scope, str) or not isinstance(tenants, list):
        raise AuthorityAway("the authority's answer about a token names no client, scope or tenants")
    names = tuple(each for each in tenants if isinstance(each, str))
    return Principal(client, names, frozenset(scope.split()), ALL_TENANTS in names)
