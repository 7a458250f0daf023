"""Logging in to the console by a real identity provider (OpenBao's): groups decide, and nothing but them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from starlette.testclient import TestClient

from stellaops.adapters.sql.sessions import SqlSessions
from stellaops.authority.actors import OPERATOR
from stellaops.authority.keep_sessions import SessionKeeper
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.authority.sessions import SessionLimits
from stellaops.bootstrap import now
from stellaops.console.app import Console
from stellaops.console.oidc import OidcDoor, Provider
from stellaops.console.pages.login import Doors
from stellaops.console.session import COOKIE
from tests.support import openbao
from tests.support.api import Api, api

OURS = "https://console.example"
BACK = f"{OURS}/console/login/oidc/callback"
POLICY = 'path "identity/oidc/provider/default/authorize" { capabilities = ["read", "update"] }'


@dataclass
class Login:
    """An installation whose console knows the provider, and people that the provider knows."""

    api: Api
    door: OidcDoor
    bao: openbao.OpenBao
    people: dict[str, str]

    def browser(self) -> TestClient:
        console = Console(self.api.app, Doors((self.door,)), self.api.local.session_keeper)
        return TestClient(console, base_url=OURS, follow_redirects=False)

    def sent_to(self, browser: TestClient, there: str = "/runs") -> str:
        """Where the provider is asked."""
        answer = browser.get("/console/login/oidc", params={"next": there})
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def agreed(self, location: str, person: str) -> dict[str, str]:
        """What the provider sends a person back with, who is logged in there."""
        asked = dict(parse_qsl(urlsplit(location).query))
        path = urlsplit(location).path.replace("/ui/vault/", "/").lstrip("/").removeprefix("v1/")
        root, self.bao.root = self.bao.root, self.people[person]
        try:
            told = self.bao.ask("GET", f"{path}?{urlencode(asked)}")
        finally:
            self.bao.root = root
        return {"code": told["code"], "state": told["state"]}

    def logged_in(self, person: str) -> TestClient:
        browser = self.browser()
        back = self.agreed(self.sent_to(browser), person)
        answer = browser.get("/console/login/oidc/callback", params=back)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/runs"), answer.text
        return browser


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    place = tmp_path_factory.mktemp("oidc")
    with openbao.serving(place / "bao") as bao, api(place / "stella") as found:
        people = _people(bao)
        made = _console_of(bao)
        tools = ClientTools(found.local.clients, found.local.tenants)
        wanted = Wanted(id="readers", scopes=("export:read",), tenants=("default",))
        create_client(tools, OPERATOR, wanted, now=now())
        (place / "secret").write_text(made["client_secret"])
        issuer = f"{bao.address}/v1/identity/oidc/provider/default"
        provider = Provider(
            "OpenBao", issuer, made["client_id"], lambda: made["client_secret"], "groups",
            (("nobody-is-in-it", "admin"), ("security-team", "readers")), "openid groups",
        )  # fmt: skip
        yield Login(
            found, OidcDoor(provider, lambda client, _: found.local.issuer.vouched(client).token), bao, people
        )


def _people(bao: openbao.OpenBao) -> dict[str, str]:
    """Two people, one of them in a group; their tokens at the provider."""
    bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    accessor = bao.ask("GET", "sys/auth")["userpass/"]["accessor"]
    bao.ask("PUT", "sys/policies/acl/person", {"policy": POLICY})
    tokens, ids = {}, {}
    for name in ("alice", "mallory"):
        bao.ask("POST", f"auth/userpass/users/{name}", {"password": "correct-horse", "policies": ["person"]})
        ids[name] = bao.ask("POST", "identity/entity", {"name": name})["data"]["id"]
        alias = {"name": name, "canonical_id": ids[name], "mount_accessor": accessor}
        bao.ask("POST", "identity/entity-alias", alias)
        told = bao.ask("POST", f"auth/userpass/login/{name}", {"password": "correct-horse"})
        tokens[name] = told["auth"]["client_token"]
    bao.ask("POST", "identity/group", {"name": "security-team", "member_entity_ids": [ids["alice"]]})
    return tokens


def _console_of(bao: openbao.OpenBao) -> Any:
    """The console as a client of the provider."""
    template = '{"groups": {{identity.entity.groups.names}}}'
    bao.ask("POST", "identity/oidc/scope/groups", {"template": template})
    client = {"redirect_uris": [BACK], "assignments": ["allow_all"], "key": "default"}
    bao.ask("POST", "identity/oidc/client/console", client)
    found = bao.ask("GET", "identity/oidc/client/console")["data"]
    provider = {"allowed_client_ids": [found["client_id"]], "scopes_supported": ["groups"]}
    bao.ask("POST", "identity/oidc/provider/default", provider)
    return found


def test_a_member_of_a_group_acts_as_its_client(login: Login) -> None:
    browser = login.logged_in("alice")
    page = browser.get("/console/runs")
    assert page.status_code == 200
    assert "Submit a run" not in page.text, "the client may only read"
    assert browser.get("/console/login").text.count("OpenBao") == 1


def test_a_provider_that_gives_no_refresh_token_lets_a_session_live_as_long_as_its_token(
    login: Login,
) -> None:
    passed = timedelta()
    local = login.api.local
    keeper = SessionKeeper(
        SqlSessions(local.service_engine), local.issuer, SessionLimits(), lambda: now() + passed
    )
    console = Console(login.api.app, Doors((login.door,)), keeper)
    browser = TestClient(console, base_url=OURS, follow_redirects=False)
    back = login.agreed(login.sent_to(browser), "alice")
    browser.get("/console/login/oidc/callback", params=back)
    passed = timedelta(minutes=14)
    assert browser.get("/console/runs").status_code == 200
    passed = timedelta(minutes=15, seconds=1)
    assert browser.get("/console/runs").status_code == 303


def test_who_is_in_no_group_stays_outside(login: Login) -> None:
    browser = login.browser()
    back = login.agreed(login.sent_to(browser), "mallory")
    answer = browser.get("/console/login/oidc/callback", params=back)
    assert answer.status_code == 403
    assert "no group of yours" in answer.text
    assert browser.get("/console/runs").status_code == 303


def test_what_was_begun_elsewhere_or_changed_on_the_way_does_not_hold(login: Login) -> None:
    browser, other = login.browser(), login.browser()
    back = login.agreed(login.sent_to(browser), "alice")
    assert other.get("/console/login/oidc/callback", params=back).status_code == 400
    for cookie in (b"stella-console-login=a.\xe9", b"stella-console-login=\xe9.a"):
        headers = {b"cookie": cookie}
        assert other.get("/console/login/oidc/callback", params=back, headers=headers).status_code == 400
    assert browser.get("/console/login/oidc/callback", params=back | {"state": "x"}).status_code == 401
    again = login.browser()
    back = login.agreed(login.sent_to(again), "alice")
    assert again.get("/console/login/oidc/callback", params=back | {"code": "x"}).status_code == 401
    assert COOKIE not in again.cookies


def test_a_code_holds_once(login: Login) -> None:
    browser = login.browser()
    back = login.agreed(login.sent_to(browser), "alice")
    kept = dict(browser.cookies)
    assert browser.get("/console/login/oidc/callback", params=back).status_code == 303
    thief = login.browser()
    thief.cookies.update(kept)
    assert thief.get("/console/login/oidc/callback", params=back).status_code == 401


def test_a_provider_that_is_away_is_told_and_credentials_still_open(login: Login) -> None:
    with login.bao.hanging():
        door = OidcDoor(login.door.provider, login.door.vouch)
        console = Console(login.api.app, Doors((door,)), login.api.local.session_keeper)
        browser = TestClient(console, base_url=OURS, follow_redirects=False)
        answer = browser.get("/console/login/oidc")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'name="secret"' in answer.text


def test_a_revoked_client_is_nobodys(login: Login) -> None:
    login.api.post("/api/authority/clients/readers/revoke", {"reason": "closed"}, tenants=("*",))
    browser = login.browser()
    back = login.agreed(login.sent_to(browser), "alice")
    answer = browser.get("/console/login/oidc/callback", params=back)
    assert answer.status_code == 403
