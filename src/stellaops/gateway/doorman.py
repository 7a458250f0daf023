"""Who may read a domain: passwords of its htpasswd file, and access tokens of its tenant.

bcrypt is made to be slow, so each good answer holds for a minute and each bad one for seconds. What is remembered is a
keyed digest of domain and header, never the header; the key is drawn at start and stays in memory.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import secrets
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Protocol

from stellaops.adapters.files import htpasswd
from stellaops.adapters.files.htpasswd import Credential
from stellaops.adapters.settings.mirrors import Domain
from stellaops.authority.access import Principal
from stellaops.authority.login_limits import LoginLimits, LoginRateExceeded
from stellaops.core.errors import DependencyFailed, MissingPrerequisite, StellaError

_LOG = logging.getLogger("stellaops.gateway")
GOOD_SECONDS = 60.0
BAD_SECONDS = 5.0
SCOPES = {"concelier": "concelier.mirror.read", "excititor": "excititor.mirror.read"}
_MOST = 10_000
_LONGEST = 40 << 10  # bytes of a header with an access token
_WAITING = 64  # checks that may wait for a processor
_CHECKERS = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known.

    Attributes:
        name: `user`, `token:client`, or the address of somebody who showed nothing.
        until: when the credential ends; None for never.
    """

    name: str
    is_known: bool = True
    until: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is not let in.

    Attributes:
        reason: `missing`, `wrong`, `expired`, `scope`, `tenant`, `busy` or `authority`.
        retry_after: seconds, with 429.
    """

    status: int
    reason: str
    retry_after: int = 0


Answer = Caller | Refusal


class Tokens(Protocol):
    """Checks access tokens."""

    def principal(self, token: str) -> tuple[Principal, datetime]:
        """Who sends a token, and when it ends.

        Raises:
            BadToken: it does not hold.
            DependencyFailed: it cannot be checked just now.
        """
        ...


class Doorman:
    """Answers for domains; what is known is answered at once, the rest by threads.

    Args:
        users: of each domain that has a file.
        tokens: None where no authority is configured.
    """

    def __init__(
        self,
        domains: Mapping[str, Domain],
        users: Mapping[str, Mapping[str, Credential]],
        tokens: Tokens | None,
        now: Callable[[], datetime],
    ) -> None:
        self._domains, self._users, self._tokens, self._now = domains, users, tokens, now
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Answer, float]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[Answer]] = {}
        self._limits = LoginLimits()
        # Of their own: passwords do not wait for an authority that does not answer.
        self._threads = ThreadPoolExecutor(_CHECKERS, "passwords")
        self._token_threads = ThreadPoolExecutor(_CHECKERS, "tokens")

    def reload(self, domains: Mapping[str, Domain], users: Mapping[str, Mapping[str, Credential]]) -> None:
        """Take other domains and users; everything remembered is forgotten."""
        self._domains, self._users = domains, users
        self._known.clear()
        # Answers of checks under way are about the users of before.
        self._asked.clear()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._token_threads.shutdown(wait=False, cancel_futures=True)

    def known(self, domain: str, side: str, header: bytes) -> Answer | None:
        """What is remembered of a header."""
        found = self._known.get(self._place(domain, side, header))
        if found is None or time.monotonic() > found[1]:
            return None
        return found[0]

    def seconds_left(self, domain: str, side: str, header: bytes) -> float:
        """For how long what is remembered of a header still holds; 0 where nothing is."""
        found = self._known.get(self._place(domain, side, header))
        return max(0.0, found[1] - time.monotonic()) if found is not None else 0.0

    async def check(self, domain: str, side: str, header: bytes, address: str) -> Answer:
        """Who sends a header, for a domain; each header is checked once at a time."""
        place = self._place(domain, side, header)
        while True:
            found = self._known.get(place)
            if found is not None and time.monotonic() <= found[1]:
                return found[0]
            running = self._asked.get(place)
            if running is None:
                break
            return await asyncio.shield(running)
        return await self._ask(place, domain, side, header, address)

    async def _ask(self, place: bytes, domain: str, side: str, header: bytes, address: str) -> Answer:
        if len(self._asked) >= _WAITING:
            return Refusal(429, "busy", 1)
        loop = asyncio.get_running_loop()
        threads = self._token_threads if header[:7].lower() == b"bearer " else self._threads
        task = loop.run_in_executor(threads, self._judge, domain, side, header, address)
        self._asked[place] = task
        users = self._users
        try:
            answer, seconds = await asyncio.shield(task), BAD_SECONDS
            if isinstance(answer, Caller):
                seconds = self._seconds(answer)
            if users is self._users and not (isinstance(answer, Refusal) and answer.status in (429, 503)):
                self._remember(place, answer, seconds)
            return answer
        finally:
            if self._asked.get(place) is task:
                del self._asked[place]

    def _seconds(self, caller: Caller) -> float:
        """How long a good answer holds: never past the end of the credential."""
        if caller.until is None:
            return GOOD_SECONDS
        return min(GOOD_SECONDS, (caller.until - self._now()).total_seconds())

    def _remember(self, place: bytes, answer: Answer, seconds: float) -> None:
        self._known[place] = answer, time.monotonic() + seconds
        self._known.move_to_end(place)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _place(self, domain: str, side: str, header: bytes) -> bytes:
        hasher = blake2b(header, key=self._key, digest_size=32)
        hasher.update(f"\0{domain}\0{side}".encode())
        return hasher.digest()

    def _judge(self, domain: str, side: str, header: bytes, address: str) -> Answer:
        scheme, _, value = header.partition(b" ")
        if len(header) > _LONGEST:
            return Refusal(401, "wrong")
        match scheme.lower():
            case b"basic":
                return self._by_password(domain, value.strip(), address)
            case b"bearer":
                return self._by_token(domain, side, value.strip())
        return Refusal(401, "wrong")

    def _by_password(self, domain: str, value: bytes, address: str) -> Answer:
        try:
            user, colon, password = b64decode(value, validate=True).partition(b":")
            name = user.decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return Refusal(401, "wrong")
        if not colon:
            return Refusal(401, "wrong")
        now = time.monotonic()
        try:
            self._limits.demand(address, f"{domain}/{name}", now)
        except LoginRateExceeded as error:
            return Refusal(429, "busy", error.reset)
        credential = self._users.get(domain, {}).get(name)
        if not htpasswd.holds(password, credential):
            self._limits.wrong(address, f"{domain}/{name}", now)
            return Refusal(401, "wrong")
        if credential is not None and credential.has_expired(self._now()):
            return Refusal(401, "expired")
        return Caller(name, until=credential.expires if credential is not None else None)

    def _by_token(self, domain: str, side: str, value: bytes) -> Answer:
        if self._tokens is None:
            return Refusal(401, "wrong")
        try:
            principal, until = self._tokens.principal(value.decode("latin-1"))
        except (DependencyFailed, MissingPrerequisite) as error:
            event = {"event": "mirror.authority_away", "errorCode": error.code}
            _LOG.error("an access token could not be checked: %s", error, extra=event)
            return Refusal(503, "authority", 5)
        except StellaError:
            return Refusal(401, "wrong")
        if side and SCOPES[side] not in principal.scopes:
            return Refusal(403, "scope")
        here = self._domains.get(domain)
        if not principal.operator and (here is None or here.tenant not in principal.tenants):
            return Refusal(403, "tenant")
        return Caller(f"token:{principal.client}", until=until)
