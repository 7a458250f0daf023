"""The front page of a mirror in a real browser: what is open to all, what credentials add, and nothing beyond."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import tools
from tests.support.browser import Browser, running
from tests.support.gateways import PASSWORD, GatewayProcess, Setup, serving
from tests.support.real_mirror import publish_all

HTML = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Mirror:
    gateway: GatewayProcess
    browser: Browser
    secret_digest: str


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    tools.require("chromium")
    place = tmp_path_factory.mktemp("front")
    publish_all(place)
    setup = Setup(place / "mirror", place)
    for side in ("CONCELIER", "EXCITITOR"):
        setup.variables |= {
            f"{side}__MIRROR__DOMAINS__0__ID": "primary",
            f"{side}__MIRROR__DOMAINS__1__ID": "community",
            f"{side}__MIRROR__DOMAINS__1__REQUIREAUTHENTICATION": "false",
        }
    with serving(setup) as gateway, running() as browser:
        (entry,) = [
            each
            for each in gateway.ask("/concelier/exports/index.json", "edge").json["domains"]
            if each["id"] == "primary"
        ]
        yield Mirror(gateway, browser, entry["manifest"]["digest"])


def test_without_credentials_it_shows_what_is_open_and_says_that_there_is_more(mirror: Mirror) -> None:
    with mirror.browser.looking(mirror.gateway.url) as looked:
        looked.page.goto(f"{mirror.gateway.url}/")
        text = looked.page.inner_text("main")
        assert "community" in text
        assert "bundle.json" in text
        assert "--db-repository" in text
        assert "cosign verify-blob" in text
        assert "log in" in text
        assert "primary" not in looked.page.content()
        assert mirror.secret_digest not in looked.page.content()
        assert looked.accessibility() == []
        assert looked.wrong == []


def test_with_credentials_it_shows_their_domain_too(mirror: Mirror) -> None:
    known = {"username": "edge", "password": PASSWORD}
    with mirror.browser.looking(mirror.gateway.url, http_credentials=known) as looked:
        looked.page.goto(f"{mirror.gateway.url}/")
        looked.page.click("text=log in")
        looked.page.wait_for_selector("text=primary")
        assert mirror.secret_digest in looked.page.content()
        assert "TRIVY_USERNAME" in looked.page.inner_text("main")
        assert looked.accessibility() == []


def test_what_it_names_is_there(mirror: Mirror) -> None:
    page = mirror.gateway.ask("/", "edge", headers=HTML)
    assert page.status == 200
    links = set(re.findall(r'href="(/[^"]+)"', page.body.decode())) - {"/login"}
    assert len(links) > 6
    for link in links:
        assert mirror.gateway.ask(link, "edge").status == 200, link
    for url in re.findall(r"curl -fO(?: -u USER)? (http\S+)", page.body.decode()):
        assert mirror.gateway.ask(url.removeprefix(mirror.gateway.url), "edge").status in (200, 404), url


def test_wrong_credentials_get_none(mirror: Mirror) -> None:
    for path in ("/", "/login"):
        reply = mirror.gateway.ask(path, "edge", password="wrong", headers=HTML)  # noqa: S106 - it is wrong
        assert reply.status == 401
        assert "Basic" in reply.headers["www-authenticate"]
        assert mirror.secret_digest.encode() not in reply.body
    assert mirror.gateway.ask("/login", headers=HTML).status == 401


def test_programs_get_no_page(mirror: Mirror) -> None:
    assert mirror.gateway.ask("/").status == 404
    assert mirror.gateway.ask("/", method="POST", headers=HTML).status == 405
    head = mirror.gateway.ask("/", method="HEAD", headers=HTML)
    assert (head.status, head.body) == (200, b"")
    assert "default-src 'none'" in head.headers["content-security-policy"]
