"""Sessions by an identity provider that gives refresh tokens: each renewal asks it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
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
from tests.support.api import Api, api, free_port

OURS = "https://console.example"


@dataclass
class Issuer:
    """`oidc-provider-mock`, a provider for tests, as a process of its own."""

    url: str

    def user(self, name: str, **claims: Any) -> None:
        self._ask("PUT", f"/users/{name}", json.dumps(claims).encode(), "application/json")

    def revoke(self, name: str) -> None:
        self._ask("POST", f"/users/{name}/revoke-tokens", b"", "application/json")

    def agreed(self, location: str, name: str) -> dict[str, str]:
        """What somebody is sent back with who agrees."""
        body = urlencode({"sub": name}).encode()
        wanted = urlsplit(location)
        answer = self._ask("POST", f"{wanted.path}?{wanted.query}", body, "application/x-www-form-urlencoded")
        return dict(parse_qsl(urlsplit(answer).query))

    def _ask(self, method: str, path: str, body: bytes, kind: str) -> str:
        """Where the answer leads, if it leads anywhere."""
        told = {"content-type": kind}
        request = urllib.request.Request(f"{self.url}{path}", body, told, method=method)  # noqa: S310 - our own process
        with _OPENER.open(request, timeout=30) as answer:
            return str(answer.headers.get("location") or "")


class _Stay(urllib.request.HTTPErrorProcessor):
    """A redirection is an answer."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response if response.status in (302, 303) else super().http_response(request, response)


_OPENER = urllib.request.build_opener(_Stay)


@contextmanager
def issuing(place: Path) -> Iterator[Issuer]:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    with (place / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}, stdout=log, stderr=log
        )
    try:
        found = Issuer(f"http://127.0.0.1:{port}")
        for _ in range(300):
            assert process.poll() is None, (place / "provider.log").read_text()
            try:
                found.user("nobody")
                break
            except OSError:
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class House:
    """An installation, its provider, and a clock of sessions that can be moved."""

    api: Api
    issuer: Issuer
    roles: tuple[tuple[str, str], ...] = (("leads", "ops"), ("team", "readers"))
    passed: timedelta = timedelta()

    def browser(self, issuer: str | None = None) -> TestClient:
        local = self.api.local
        provider = Provider(
            "Example", issuer or self.issuer.url, "console", lambda: "secret", "groups", self.roles,
            "openid email",
        )  # fmt: skip
        door = OidcDoor(provider, lambda client, _: local.issuer.vouched(client).token)
        keeper = SessionKeeper(
            SqlSessions(local.service_engine), local.issuer, SessionLimits(), lambda: now() + self.passed
        )
        return TestClient(
            Console(self.api.app, Doors((door,)), keeper), base_url=OURS, follow_redirects=False
        )

    def logged_in(self, name: str, *groups: str) -> TestClient:
        self.passed = timedelta()
        self.issuer.user(name, groups=list(groups), email=f"{name}@example.org")
        browser = self.browser()
        answer = browser.get("/console/login/oidc", params={"next": "/runs"})
        back = self.issuer.agreed(answer.headers["location"], name)
        answer = browser.get("/console/login/oidc/callback", params=back)
        assert (answer.status_code, answer.headers.get("location")) == (303, "/console/runs"), answer.text
        return browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    place = tmp_path_factory.mktemp("renewal")
    with issuing(place) as issuer, api(place / "stella") as found:
        tools = ClientTools(found.local.clients, found.local.tenants)
        for name, scopes in (("ops", ("export:read", "export:run")), ("readers", ("export:read",))):
            create_client(tools, OPERATOR, Wanted(id=name, scopes=scopes, tenants=("default",)), now=now())
        yield House(found, issuer)


def test_a_session_goes_on_for_as_long_as_the_provider_says_so(house: House) -> None:
    browser = house.logged_in("alice", "team")
    for minutes in (12, 24, 36):
        house.passed = timedelta(minutes=minutes)
        page = browser.get("/console/runs")
        assert page.status_code == 200
        assert "alice@example.org" in page.text
    house.issuer.revoke("alice")
    house.passed = timedelta(minutes=48)
    assert browser.get("/console/runs").status_code == 303
    house.passed = timedelta()
    assert browser.get("/console/runs").status_code == 303, "it is over, and not only for the moment"


def test_who_came_into_another_group_acts_as_its_client_and_who_left_all_is_outside(house: House) -> None:
    browser = house.logged_in("bob", "team")
    assert "Submit a run" not in browser.get("/console/runs").text
    house.issuer.user("bob", groups=["leads"])
    house.passed = timedelta(minutes=12)
    assert "Submit a run" in browser.get("/console/runs").text
    house.issuer.user("bob", groups=["canteen"])
    house.passed = timedelta(minutes=24)
    assert browser.get("/console/runs").status_code == 303


def test_a_provider_that_is_away_for_a_while_costs_nobody_the_session(house: House) -> None:
    browser = house.logged_in("carol", "team")
    nowhere = f"http://127.0.0.1:{free_port()}"
    away = house.browser(nowhere)
    away.cookies.update(dict(browser.cookies))
    house.passed = timedelta(minutes=12)
    assert away.get("/console/runs").status_code == 200, "the token holds for three minutes more"
    house.passed = timedelta(minutes=16)
    answer = away.get("/console/runs")
    assert answer.status_code == 503
    assert "ERR_CONSOLE_PROVIDER" in answer.text
    house.passed = timedelta(minutes=16, seconds=31)
    answer = away.post("/console/profiles", data={"text": "kind: mine"})
    assert (answer.status_code, "kind: mine" in answer.text) == (503, True), "what was written is not lost"
    house.passed = timedelta(minutes=18)
    assert browser.get("/console/runs").status_code == 200, "it is back"
