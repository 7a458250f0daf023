"""Requests to the HTTP API of a vault: JSON there and back, by the egress rules, with the token of the moment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.adapters.web.client import USER_AGENT, Ways, WebSettings, body_in_time, tls_context
from stellaops.core.egress import target_of
from stellaops.signing.interface import KeyServiceDown, KeyServiceRefused
from stellaops.signing.key_uri import KeyUri

_LARGEST = 1 << 20
_TRY_AGAIN = frozenset((408, 412, 425, 429, 472, 473))
"""Beside 5xx: a standby that lags behind, too many requests, a node without a leader."""


@dataclass(frozen=True, slots=True)
class VaultConnection:
    """Connections to one vault, which threads may share."""

    context: ServiceContext
    ways: Ways

    def ask(
        self, uri: KeyUri, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The `data` of an answer.

        Args:
            uri: what messages name; tenants read them, and the vault's address is none of their business.
            path: below `/v1/`.

        Raises:
            KeyServiceDown, KeyServiceRefused, KeyServiceMissing: see there; and what the egress rules refuse.
        """
        address = self.context.demand("hashivault.address").rstrip("/")
        url = f"{address}/v1/{path}"
        self.context.web.policy.admit(url, (target_of(url).host,))
        response = self._send(uri, method, url, body)
        try:
            answer = _decoded(body_in_time(response, _LARGEST, self.context.seconds, decode=True))
        except (HTTPError, OSError) as error:
            raise KeyServiceDown(f"{uri}: the vault's answer was cut off") from error
        finally:
            response.close()
        if response.status in (200, 204):
            data = answer.get("data")
            return data if isinstance(data, dict) else {}
        raise _failure(uri, response, answer)

    def _send(self, uri: KeyUri, method: str, url: str, body: Mapping[str, Any] | None) -> BaseHTTPResponse:
        headers = {
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "content-type": "application/json",
            "x-vault-request": "true",
            "x-vault-token": self.context.secret("hashivault.tokenFile"),
        }
        if namespace := self.context.setting("hashivault.namespace"):
            headers["x-vault-namespace"] = namespace
        timeout = Timeout(total=self.context.seconds)
        try:
            return self.ways.to(target_of(url)).urlopen(
                method, url, headers=headers, body=None if body is None else msgspec.json.encode(body),
                redirect=False, retries=False, preload_content=False, timeout=timeout,
            )  # fmt: skip
        except SSLError as error:
            raise KeyServiceRefused(
                f"{uri}: the vault's certificate is not trusted",
                hint="Name the authority's certificates in the setting hashivault.caFile.",
            ) from error
        except (HTTPError, OSError) as error:
            # The library's texts hold the address.
            raise KeyServiceDown(f"{uri}: {_reason(error)}") from error


def connect(context: ServiceContext) -> VaultConnection:
    """Connections to the vault that the settings name; nothing is connected to yet.

    Raises:
        KeyServiceMissing: the settings name none.
    """
    context.demand("hashivault.address")
    ca_file = context.settings.get("hashivault.caFile")
    tls = _tls(context.web, ca_file)
    options: dict[str, Any] = {"maxsize": 4, "retries": False}
    return VaultConnection(context, Ways(context.web, tls, options))


def _tls(web: WebSettings, ca_file: str | None) -> ssl.SSLContext:
    return tls_context(Path(ca_file) if ca_file else web.ca_file)


def _reason(error: BaseException) -> str:
    match error:
        case NameResolutionError():
            return "the vault's name leads nowhere"
        case NewConnectionError():
            return "no connection to the vault"
        case TimeoutError() | UrllibTimeout():
            return "the vault does not answer in time"
        case _:
            return f"the vault does not answer: {type(error).__name__}"


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _failure(
    uri: KeyUri, response: BaseHTTPResponse, answer: Mapping[str, Any]
) -> KeyServiceDown | KeyServiceRefused:
    said = "; ".join(str(each) for each in answer.get("errors") or ())
    said = "".join(each for each in said if each.isprintable())[:300] or (
        "there is no such key, or no transit engine" if response.status == 404 else "no reason was given"
    )
    if 300 <= response.status < 400:
        # The token is for the host of the settings, and for no other.
        said = "this node sends requests to another one; have standbys forward them, or name the active node"
    what = f"{uri}: the vault answers {response.status}: {said}"
    if response.status >= 500 or response.status in _TRY_AGAIN or response.status < 400:
        wanted = response.headers.get("retry-after", "")
        return KeyServiceDown(what, retry_after=float(wanted) if wanted.isdecimal() else None)
    return KeyServiceRefused(what)
