"""Authorization at a registry: nobody, Basic, or tokens of the service that the registry names.

What a registry wants is told by its answer 401. The login is read from its file when it is first needed, and once more
when it is refused: so a login that was replaced meanwhile is found, and nothing has to be started again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from stellaops.adapters.oci.errors import RegistryRefused
from stellaops.adapters.oci.logins import Login
from stellaops.adapters.oci.transport import Transport, Unanswered
from stellaops.core.egress import redacted, target_of
from stellaops.exports.errors import DistributionFailed

_CHALLENGE = re.compile(r'([A-Za-z]+)((?:\s*,?\s*[A-Za-z_]+\s*=\s*(?:"[^"]*"|[^\s",]+))*)')
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))')
_SHORTEST = 60.0
_MARGIN = 0.2
"""Part of a token's life in which it is renewed beforehand."""


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for: the scheme in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str]


def challenges(header: str) -> tuple[Challenge, ...]:
    """Read `WWW-Authenticate`."""
    return tuple(
        Challenge(
            found[1].lower(),
            {each[1].lower(): each[2] or each[3] or "" for each in _PARAMETER.finditer(found[2])},
        )
        for found in _CHALLENGE.finditer(header)
    )


class Authorizer:
    """The header `authorization` for requests to one registry. Safe for threads.

    Args:
        login: reads the login from its file.
        origin: of the registry; a token service without TLS may only be there.
    """

    def __init__(self, transport: Transport, login: Callable[[], Login | None], origin: str) -> None:
        self._transport = transport
        self._read = login
        self._origin = origin
        self._guard = threading.Lock()
        self._header = ""
        self._renew_at = float("inf")
        self._challenge: Challenge | None = None
        self._scopes: list[str] = []

    def header(self) -> str:
        """What to send; empty where nothing was asked for so far."""
        with self._guard:
            if self._challenge is not None and time.monotonic() > self._renew_at:
                self._authorize(self._challenge)
            return self._header

    def refused(self, asked: str, sent: str) -> None:
        """Get what a registry asks for.

        Args:
            asked: its header `www-authenticate`.
            sent: what was refused; where another thread has got something else meanwhile that is tried first.

        Raises:
            RegistryRefused, LoginsUnusable, DistributionFailed: see there.
        """
        offered = {each.scheme: each for each in challenges(asked)}
        challenge = offered.get("bearer") or offered.get("basic")
        if challenge is None:
            raise RegistryRefused(
                f"{self._origin} asks for a login of a kind that is not known here: {asked[:80]!r}"
            )
        with self._guard:
            if self._header == sent:
                self._challenge = challenge
                self._authorize(challenge)

    def _authorize(self, challenge: Challenge) -> None:
        login = self._read()
        if challenge.scheme == "basic":
            if login is None or login.identity_token:
                kind = "a user and a password" if login else "a login, and no `dockerConfigFile` names one"
                raise RegistryRefused(f"{self._origin} asks for {kind}")
            self._header, self._renew_at = login.basic(), float("inf")
            return
        scope = challenge.parameters.get("scope", "")
        if scope and scope not in self._scopes:
            self._scopes.append(scope)
        token = self._token(challenge, login)
        life = max(token.expires_in or _SHORTEST, 1.0)
        self._header = f"Bearer {token.token or token.access_token}"
        self._renew_at = time.monotonic() + life * (1 - _MARGIN)

    def _token(self, challenge: Challenge, login: Login | None) -> _Token:
        realm = challenge.parameters.get("realm", "")
        where = target_of(realm)
        if (
            where.scheme != "https"
            and where.origin != self._origin
            and not self._origin.startswith("http://")
        ):
            raise RegistryRefused(
                f"{self._origin} sends logins to {redacted(realm)!r}, which is not protected by TLS"
            )
        service = challenge.parameters.get("service", "")
        asked = [("service", service), *(("scope", scope) for scope in self._scopes)]
        headers: dict[str, str] = {}
        if login is not None and login.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                ("client_id", "stellaops"),
                ("refresh_token", login.identity_token),
            ]
            headers["content-type"] = "application/x-www-form-urlencoded"
            return self._ask("POST", realm, headers, urlencode([*form, *asked]).encode())
        if login is not None:
            headers["authorization"] = login.basic()
            asked.append(("account", login.user))
        return self._ask("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}", headers, None)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> _Token:
        shown = redacted(url)
        try:
            with self._transport.send(method, url, headers, body) as answer:
                content = answer.read() if answer.status == 200 else b""
        except Unanswered as error:
            raise DistributionFailed(f"the token service does not answer: {error}") from error
        if answer.status in (400, 401, 403):
            raise RegistryRefused(f"{shown} gives no token: {answer.status}")
        try:
            token = msgspec.json.decode(content, type=_Token)
        except msgspec.DecodeError:
            token = _Token()
        if answer.status != 200 or not (token.token or token.access_token):
            raise DistributionFailed(f"{shown} gives no token: {answer.status}")
        return token
