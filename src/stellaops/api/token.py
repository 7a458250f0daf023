"""`/authority/token` and `/authority/jwks`: OAuth 2.0 client credentials (RFC 6749 §4.4), keys as a JWK Set."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from starlette.responses import Response

from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.authority.issue_tokens import BadCredentials, BadGrant, TooManyLogins
from stellaops.authority.login_limits import LoginRateExceeded

_FORM = "application/x-www-form-urlencoded"
_LARGEST = 8192
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_GRANT = "client_credentials"


class TokenAnswer(msgspec.Struct, frozen=True):
    """An access token (RFC 6749 §5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenRefusal(msgspec.Struct, frozen=True):
    """Why there is none (RFC 6749 §5.2)."""

    error: str
    error_description: str


class JwkSet(msgspec.Struct, frozen=True):
    """Public keys of access tokens (RFC 7517)."""

    keys: list[dict[str, Any]]


class AnyQuery(msgspec.Struct, frozen=True):
    """What stands in the query is not looked at: parameters belong into the body, where no log shows them."""


class _Refused(Exception):
    """An answer of the protocol, which has forms of its own for errors."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.refusal, self.status = TokenRefusal(error, description), status


@dataclass(frozen=True, slots=True)
class _Asked:
    client_id: str
    candidates: tuple[str, ...]
    scope: str | None
    tenant: str | None


def token(call: Call) -> Response:
    """Give an access token."""
    basic = "authorization" in call.request.headers
    try:
        asked = _asked(call)
        call.local.login_limits.demand(call.remote, asked.client_id, time.monotonic())
        return _issued(call, asked)
    except _Refused as refused:
        headers = dict(_NO_STORE)
        if refused.status == 401 and basic:
            headers["www-authenticate"] = 'Basic realm="stella", charset="UTF-8"'
        return answer(refused.refusal, refused.status, headers)


def _issued(call: Call, asked: _Asked) -> Response:
    try:
        issued = call.local.issuer.issue(
            asked.client_id, asked.candidates, scope=asked.scope, tenant=asked.tenant
        )
    except BadCredentials as error:
        call.local.login_limits.wrong(call.remote, asked.client_id, time.monotonic())
        raise _Refused("invalid_client", error.what, 401) from None
    except BadGrant as error:
        raise _Refused("invalid_scope", _plain(error.what)) from None
    scope = " ".join(sorted(issued.claims.scopes))
    return answer(TokenAnswer(issued.token, "Bearer", issued.expires_in, scope), headers=_NO_STORE)


def _asked(call: Call) -> _Asked:
    parameters = _parameters(call.body)
    if "grant_type" not in parameters:
        raise _Refused("invalid_request", "grant_type is missing")
    if parameters["grant_type"] != _GRANT:
        raise _Refused("unsupported_grant_type", f"the only grant_type is {_GRANT}")
    told = call.request.headers.getlist("authorization")
    in_body = "client_secret" in parameters
    if told and in_body:
        raise _Refused("invalid_request", "the client authenticates in the header and in the body")
    if told:
        client_id, candidates = _basic(told)
        if parameters.get("client_id", client_id) != client_id:
            raise _Refused("invalid_request", "the header and the body name two clients")
    elif in_body and parameters.get("client_id"):
        client_id, candidates = parameters["client_id"], (parameters["client_secret"],)
    else:
        raise _Refused("invalid_client", "the client does not authenticate", 401)
    return _Asked(client_id, candidates, parameters.get("scope"), parameters.get("tenant"))


def _parameters(body: bytes) -> Mapping[str, str]:
    """The parameters of the form; each at most once, empty ones as if left out."""
    if len(body) > _LARGEST:
        raise _Refused("invalid_request", f"the body has more than {_LARGEST} bytes")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except (ValueError, UnicodeDecodeError):
        raise _Refused("invalid_request", "the body is no form") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("invalid_request", "a parameter stands more than once")
    return {name: value for name, value in found.items() if value}


def _basic(told: list[str]) -> tuple[str, tuple[str, ...]]:
    """Id and secret in the header: encoded as a form's are (RFC 6749 §2.3.1), or as they are, as many clients do."""
    scheme, _, data = told[0].partition(" ")
    if len(told) > 1 or scheme.lower() != "basic":
        raise _Refused("invalid_client", "one Authorization header with Basic is needed", 401)
    try:
        text = base64.b64decode(data.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise _Refused("invalid_client", "the Authorization header is damaged", 401) from None
    client_id, _, secret = text.partition(":")
    if not client_id or not secret:
        raise _Refused("invalid_client", "the Authorization header lacks the client's id or secret", 401)
    return unquote_plus(client_id), tuple(dict.fromkeys((unquote_plus(secret), secret)))


def _plain(text: str) -> str:
    """A text with the characters that `error_description` may have."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)


def jwks(call: Call) -> Response:
    """The keys with which access tokens can be checked."""
    from stellaops.adapters.tokens.jws import jwks as as_jwks  # noqa: PLC0415 - see `Local.access`

    headers = {"cache-control": "public, max-age=60", "content-type": "application/jwk-set+json"}
    return answer(as_jwks(call.local.access.verifying_keys()), headers=headers)


OPERATIONS = (
    Operation(
        "issueToken", "POST", "/authority/token", "Give an access token to a client (RFC 6749 §4.4)", token,
        public=True, query=AnyQuery, raw=_FORM, tag="authority",
        answers={
            200: Answer("a token", TokenAnswer, headers={"cache-control": "always no-store"}),
            400: Answer("what was asked for cannot be given", TokenRefusal),
            401: Answer("the client is not known, or its secret does not hold", TokenRefusal),
        },
        errors=(LoginRateExceeded, TooManyLogins),
    ),
    Operation(
        "getJwks", "GET", "/authority/jwks", "Public keys of access tokens", jwks, public=True, tag="authority",
        answers={200: Answer("a JWK Set", JwkSet, media="application/jwk-set+json")},
    ),
)  # fmt: skip
