"""`/authority/introspect`: whether an access token still holds (RFC 7662), for mirror hosts that check tokens."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response

from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.authority.access import Principal, ScopeMissing
from stellaops.authority.clients import ALL_TENANTS
from stellaops.authority.tokens import BadToken, Claims
from stellaops.core.errors import InvalidInput

_FORM = "application/x-www-form-urlencoded"
_ASKERS = frozenset(("concelier.mirror.read", "excititor.mirror.read", "authority:manage"))
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class BadQuestion(InvalidInput):
    """A question about a token that names none."""

    code = "ERR_TOKEN_QUESTION"
    hint = "Send a form with `token` once, as RFC 7662 §2.1 has it."


class Introspected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a token is (RFC 7662 §2.2); of one that does not hold nothing but that is told."""

    active: bool
    client_id: str = ""
    sub: str = ""
    scope: str = ""
    tenants: list[str] = []
    token_type: str = ""
    iss: str = ""
    aud: str = ""
    iat: int = 0
    exp: int = 0
    jti: str = ""


def introspect(call: Call) -> Response:
    """Tell whether a token holds at this moment, to clients that read mirrors or manage clients."""
    if not call.principal.scopes & _ASKERS:
        raise ScopeMissing(
            f"client {call.principal.client} lacks each of the scopes {', '.join(sorted(_ASKERS))}"
        )
    try:
        claims = call.local.access.claims(_token(call.body))
    except BadToken:
        return answer(Introspected(active=False), headers=_NO_STORE)
    tenants = _tenants(claims, call.principal)
    if not tenants:  # of other tenants' clients nothing is told
        return answer(Introspected(active=False), headers=_NO_STORE)
    settings = call.local.token_settings
    found = Introspected(
        True,
        claims.client,
        claims.client,
        " ".join(sorted(claims.scopes)),
        list(tenants),
        "Bearer",
        settings.issuer,
        settings.audience,
        int(claims.issued_at.timestamp()),
        int(claims.expires_at.timestamp()),
        claims.id,
    )
    return answer(found, headers=_NO_STORE)


def _token(body: bytes) -> str:
    try:
        told = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10)
    except (ValueError, UnicodeDecodeError):
        raise BadQuestion("the body is no form") from None
    found = [value for name, value in told if name == "token"]
    if len(found) != 1 or not found[0]:
        raise BadQuestion("the form does not name one token")
    return found[0]


def _tenants(claims: Claims, asker: Principal) -> Sequence[str]:
    """The tenants of a token that the asker acts for; all of them are told to operators alone."""
    if asker.operator:
        return claims.tenants
    if ALL_TENANTS in claims.tenants:
        return asker.tenants
    return [name for name in claims.tenants if name in asker.tenants]


OPERATIONS = (
    Operation(
        "introspectToken", "POST", "/authority/introspect", "Tell whether an access token still holds (RFC 7662)",
        introspect, raw=_FORM, tag="authority",
        answers={200: Answer("what the token is, or that it does not hold", Introspected,
                             headers={"cache-control": "always no-store"})},
        errors=(BadQuestion, ScopeMissing),
    ),
)  # fmt: skip
