"""Access tokens: given, or got with a client's secret and kept until shortly before they are over."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from stellaops.adapters.keys import disk
from stellaops.adapters.web.client import USER_AGENT
from stellaops.authority.keys import KeyUnavailable
from stellaops.client.errors import (
    LoginNeeded,
    LoginRefused,
    SecretFileUnusable,
    ServerAnswerUnusable,
    ServerUnreachable,
)
from stellaops.client.problems import error_of
from stellaops.core.egress import redacted
from stellaops.core.errors import DependencyFailed, MissingPrerequisite, QuotaExceeded

PATH = "/authority/token"
_EARLY = 60
"""Seconds before its end at which a token is renewed."""


class GivenToken:
    """`Tokens` of one that was given; it cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, *, renew: bool = False) -> str:
        """See the port."""
        if renew:
            raise LoginRefused("the server does not take the token of STELLA_TOKEN", hint="Get another one.")
        return self._token


class NoLogin:
    """`Tokens` of nobody."""

    def __init__(self, server: str) -> None:
        self._server = server

    def token(self, *, renew: bool = False) -> str:
        """See the port."""
        del renew
        raise LoginNeeded(f"nobody is logged in to {redacted(self._server)}")


class _Answer(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


class _Refusal(msgspec.Struct, frozen=True):
    error: str
    error_description: str = ""


class _Kept(msgspec.Struct, frozen=True, rename="camel"):
    token: str
    expires_at: float


class TokenCache:
    """Tokens in a directory, one file of mode 0600 for each server and client."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, server: str, client: str) -> tuple[str, float] | None:
        """A token and when it is over, in seconds since 1970; also one that is over."""
        try:
            kept = msgspec.json.decode(disk.read(self._file(server, client), private=True), type=_Kept)
        except (KeyUnavailable, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return kept.token, kept.expires_at

    def put(self, server: str, client: str, token: str, expires_at: float) -> None:
        """Keep a token; where nothing can be written, it is got again next time."""
        with suppress(OSError, MissingPrerequisite):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = msgspec.json.encode(_Kept(token, expires_at))
            disk.write(self._file(server, client), data, mode=0o600)

    def forget(self, server: str, client: str) -> None:
        """Remove a token."""
        with suppress(OSError):
            self._file(server, client).unlink()

    def _file(self, server: str, client: str) -> Path:
        name = hashlib.sha256(f"{server}\n{client}".encode()).hexdigest()[:32]
        return self._directory / f"{name}.json"


class ClientTokens:
    """`Tokens` by client credentials (RFC 6749 §4.4).

    Args:
        secret: gives the client's secret; asked only when a token has to be got.
    """

    def __init__(
        self,
        server: str,
        client: str,
        secret: Callable[[], str],
        *,
        pools: PoolManager,
        cache: TokenCache,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._server, self._client, self._secret = server, client, secret
        self._pools, self._cache, self._now = pools, cache, now
        self._held: tuple[str, float] | None = None

    def token(self, *, renew: bool = False) -> str:
        """See the port."""
        held = None if renew else self._held or self._cache.get(self._server, self._client)
        if held is None or held[1] - _EARLY <= self._now():
            held = self._got()
            self._cache.put(self._server, self._client, *held)
        self._held = held
        return held[0]

    def _got(self) -> tuple[str, float]:
        began = self._now()
        status, data = self._post()
        if status == 200:
            try:
                found = msgspec.json.decode(data, type=_Answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ServerAnswerUnusable(
                    f"{redacted(self._server)}{PATH}: no token in the answer"
                ) from error
            return found.access_token, began + found.expires_in
        raise _refused(status, data, f"{redacted(self._server)}{PATH}", self._client)

    def _post(self) -> tuple[int, bytes]:
        # RFC 6749 §2.3.1: both are form-encoded before they are put together.
        pair = f"{quote(self._client, safe='')}:{quote(self._secret(), safe='')}"
        headers = {
            "authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "content-type": "application/x-www-form-urlencoded",
            "user-agent": USER_AGENT,
        }
        body = urlencode({"grant_type": "client_credentials"}).encode()
        try:
            response = self._pools.urlopen(
                "POST", self._server + PATH, headers=headers, body=body, redirect=False, retries=False,
                timeout=Timeout(connect=15.0, read=60.0),
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            text = str(getattr(error, "reason", None) or error).rpartition(">: ")[2]
            raise ServerUnreachable(f"{redacted(self._server)}{PATH}: {text[:300]}") from error
        return response.status, response.data


def _refused(status: int, data: bytes, where: str, client: str) -> Exception:
    try:
        found = msgspec.json.decode(data, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return error_of(status, data, where)
    text = f"{where}: {found.error_description or found.error}"
    if status == 429:
        return QuotaExceeded(text)
    if status >= 500:
        return DependencyFailed(text)
    return LoginRefused(f"{text} (client {client})")


def secret_of(file: Path) -> str:
    """A client's secret out of a file that only its owner can open.

    Raises:
        SecretFileUnusable: see there.
    """
    try:
        text = disk.read_named(file).decode("utf-8").strip()
    except KeyUnavailable as error:
        raise SecretFileUnusable(error.what, hint=error.advice) from None
    except UnicodeDecodeError:
        raise SecretFileUnusable(f"{file} is no text") from None
    if not text:
        raise SecretFileUnusable(f"{file} is empty")
    return text


def write_secret(file: Path, secret: str) -> None:
    """Keep a client's secret in a file that only its owner can open.

    Raises:
        KeyFileNotWritten: see there.
    """
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.write(file, f"{secret}{os.linesep}".encode(), mode=0o600)
