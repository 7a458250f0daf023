"""`/authority/token` and `/authority/jwks` as clients of RFC 6749 meet them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from stellaops.adapters.settings import load as settings
from stellaops.api.app import create_app
from stellaops.authority.login_limits import LoginLimits, LoginRateExceeded
from stellaops.authority.manage_clients import Wanted
from stellaops.bootstrap import Local
from stellaops.center.authority import local_authority
from tests.support.asgi import Asgi, Reply

FORM = "application/x-www-form-urlencoded"
GIVEN = "a+secret/with%20everything:that=is&odd~1234567890"


class Service:
    """An installation with a tenant and a client of it."""

    def __init__(self, directory: Path) -> None:
        self.local = Local(settings.load({"dataDir": str(directory)}, {"STELLA_CONFIG": "/nonexistent"}))
        self.authority = local_authority(self.local, "default")
        self.authority.create_tenant("acme")
        made = self.authority.create_client(Wanted("ci", None, ("acme",), ("export:read", "export:run")))
        self.secret: str = made["clientSecret"]
        self.caller = Asgi(create_app(self.local))

    def ask(
        self,
        form: Mapping[str, str] | str,
        headers: Mapping[str, str] | None = None,
        path: str = "/authority/token",
    ) -> Reply:
        body = form if isinstance(form, str) else urlencode(form)
        return self.caller.ask("POST", path, body.encode(), {"content-type": FORM, **(headers or {})})

    def grant(self, **more: str) -> dict[str, str]:
        return {
            "grant_type": "client_credentials", "client_id": "ci", "client_secret": self.secret,
        } | more  # fmt: skip


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


GRANT = {"grant_type": "client_credentials"}


def test_a_client_logs_in_by_the_body_or_by_the_header(service: Service) -> None:
    for reply in (service.ask(service.grant()), service.ask(GRANT, basic("ci", service.secret))):
        assert reply.status == 200
        assert {**reply.json, "access_token": ""} == {
            "access_token": "", "token_type": "Bearer", "expires_in": 900, "scope": "export:read export:run",
        }  # fmt: skip
        assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
        principal = service.local.access.principal(reply.json["access_token"])
        assert (principal.client, principal.tenants) == ("ci", ("acme",))


def test_the_token_verifies_by_the_jwk_set_of_the_service(service: Service) -> None:
    token = service.ask(service.grant()).json["access_token"]
    reply = service.caller.ask("GET", "/authority/jwks")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/jwk-set+json")
    assert all("d" not in key for key in reply.json["keys"])
    assert jwt.decode(token, KeySet.import_key_set(reply.json), algorithms=["ES256"]).claims["sub"] == "ci"


@pytest.mark.parametrize("sent", [GIVEN, quote_plus(GIVEN)])
def test_a_secret_with_odd_characters_opens_encoded_and_as_it_is(service: Service, sent: str) -> None:
    service.authority.create_client(Wanted("odd", None, ("acme",), ("export:read",)), GIVEN)
    assert service.ask(GRANT, basic("odd", sent)).status == 200
    assert service.ask(service.grant(client_id="odd", client_secret=GIVEN)).status == 200


def test_less_is_given_where_less_is_asked_for(service: Service) -> None:
    reply = service.ask(service.grant(scope="export:read", tenant="acme"))
    assert reply.json["scope"] == "export:read"
    assert service.local.access.principal(reply.json["access_token"]).scopes == frozenset({"export:read"})


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        ("grant_type=%ff", 400, "invalid_request"),
        ("x" * 9000, 400, "invalid_request"),
        ("&".join(f"a{n}=b" for n in range(60)), 400, "invalid_request"),
        (GRANT, 401, "invalid_client"),
        (GRANT | {"client_id": "ci"}, 401, "invalid_client"),
        (GRANT | {"client_secret": "x"}, 401, "invalid_client"),
        (GRANT | {"client_id": "ci", "client_secret": "wrong"}, 401, "invalid_client"),
        (GRANT | {"client_id": "nobody", "client_secret": "wrong"}, 401, "invalid_client"),
        (GRANT | {"client_id": "ci\x00", "client_secret": "\x00"}, 401, "invalid_client"),
    ],
)
def test_errors_are_those_of_rfc_6749(
    service: Service, form: dict[str, str] | str, status: int, error: str
) -> None:
    reply = service.ask(form)
    assert (reply.status, reply.json["error"], sorted(reply.json)) == (
        status, error, ["error", "error_description"],
    )  # fmt: skip
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in reply.headers


@pytest.mark.parametrize("asked", [{"scope": "policy:manage"}, {"scope": 'a"b\\c é'}, {"tenant": "default"}])
def test_what_the_client_does_not_have_is_an_invalid_scope(service: Service, asked: dict[str, str]) -> None:
    reply = service.ask(service.grant(**asked))
    assert (reply.status, reply.json["error"]) == (400, "invalid_scope")
    assert all(" " <= c <= "~" and c not in '"\\' for c in reply.json["error_description"])


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"ci").decode(), "Bearer x", "Basic /w=="]
)
def test_a_login_by_the_header_that_fails_is_told_how_to_log_in(service: Service, header: str) -> None:
    for reply in (service.ask(GRANT, {"authorization": header}), service.ask(GRANT, basic("ci", "wrong"))):
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
        assert reply.headers["www-authenticate"].startswith("Basic ")


def test_two_ways_to_log_in_at_once_are_refused(service: Service) -> None:
    reply = service.ask(service.grant(), basic("ci", service.secret))
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")
    reply = service.ask(GRANT | {"client_id": "other"}, basic("ci", service.secret))
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


def test_a_secret_in_the_query_opens_nothing(service: Service) -> None:
    reply = service.ask(GRANT, path=f"/authority/token?{urlencode(service.grant())}")
    assert (reply.status, reply.json["error"]) == (401, "invalid_client")


def test_after_ten_wrong_secrets_an_address_waits_and_others_do_not(service: Service) -> None:
    wrong = service.grant() | {"client_secret": "wrong"}
    assert [service.ask(wrong).status for _ in range(10)] == [401] * 10
    refused = service.ask(service.grant())
    assert (refused.status, refused.json["code"]) == (429, "ERR_LOGIN_RATE")
    assert int(refused.headers["retry-after"]) >= 1
    service.caller = replace(service.caller, address="192.0.2.8")
    assert service.ask(service.grant()).status == 200, "nobody locks a client out from elsewhere"


def test_nothing_that_is_secret_stands_in_logs_or_answers(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = service.ask(service.grant()).json["access_token"]
    replies = [
        service.ask(service.grant(scope="nothing")), service.ask(GRANT, basic("ci", service.secret + "x")),
        service.caller.ask("GET", "/authority/jwks"),
        service.caller.ask("GET", "/api/authority/clients", headers={"authorization": f"Bearer {token}x"}),
    ]  # fmt: skip
    said = "\n".join(
        [*(repr(record.__dict__) for record in caplog.records), *(reply.body.decode() for reply in replies)]
    )
    assert caplog.records
    for secret in (service.secret, token, token.rpartition(".")[2]):
        assert secret not in said


# ---- the limits themselves


def test_the_limit_of_wrong_logins_comes_back_with_time() -> None:
    limits = LoginLimits()
    for _ in range(10):
        limits.demand("192.0.2.1", "ci", 0)
        limits.wrong("192.0.2.1", "ci", 0)
    with pytest.raises(LoginRateExceeded) as refused:
        limits.demand("192.0.2.1", "ci", 0)
    limits.demand("192.0.2.1", "ci", refused.value.reset)


def test_an_address_that_guesses_ids_is_stopped_too() -> None:
    limits = LoginLimits()
    for number in range(60):
        limits.demand("192.0.2.1", f"client-{number}", 0)
        limits.wrong("192.0.2.1", f"client-{number}", 0)
    with pytest.raises(LoginRateExceeded):
        limits.demand("192.0.2.1", "another", 0)


def test_the_addresses_of_one_ipv6_network_count_as_one() -> None:
    limits = LoginLimits()
    for number in range(10):
        limits.demand(f"2001:db8::{number:x}", "ci", 0)
        limits.wrong(f"2001:db8::{number:x}", "ci", 0)
    with pytest.raises(LoginRateExceeded):
        limits.demand("2001:db8::ffff", "ci", 0)
    limits.demand("2001:db8:0:1::1", "ci", 0)
    limits.demand("not an address", "ci", 0)


def test_many_good_logins_of_one_address_are_no_offence() -> None:
    limits = LoginLimits()
    for number in range(600):
        limits.demand("192.0.2.1", f"client-{number}", 0)
    with pytest.raises(LoginRateExceeded):
        limits.demand("192.0.2.1", "one more", 0)
    limits.demand("192.0.2.1", "one more", timedelta(minutes=1).total_seconds())
