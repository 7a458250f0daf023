"""The console without a browser: who gets in, what a form needs, what no page says."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from stellaops.adapters.sql.sessions import SqlSessions
from stellaops.authority.access import SCOPES
from stellaops.authority.actors import OPERATOR
from stellaops.authority.keep_sessions import Opened, SessionKeeper
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.authority.sessions import SessionLimits
from stellaops.bootstrap import Local, now
from stellaops.console.app import Console
from stellaops.console.pages import PAGES
from stellaops.console.pages.login import Doors
from stellaops.console.session import COOKIE
from stellaops.exports.run import Run
from tests.support.api import OTHER, Api, api

OURS = "https://console.example"


@dataclass
class House:
    """An installation with a console, a run of its own and one of another tenant."""

    api: Api
    run: Run
    foreign: Run

    def browser(self) -> TestClient:
        console = Console(self.api.app, Doors(), self.api.local.session_keeper)
        return TestClient(console, base_url=OURS, follow_redirects=False, raise_server_exceptions=True)

    def another_process(self) -> SessionKeeper:
        """The sessions as another process of the API sees them."""
        return Local(self.api.local.settings).session_keeper

    def waiting_run(self) -> str:
        """A run that no worker takes."""
        return str(self.api.post("/api/export/runs", {"profile": "json:raw"}).json()["runId"])

    def client(self, *scopes: str, tenants: tuple[str, ...] = ("default",)) -> tuple[str, str]:
        tools = ClientTools(self.api.local.clients, self.api.local.tenants)
        wanted = Wanted(tenants=tenants, scopes=scopes or tuple(SCOPES))
        made = create_client(tools, OPERATOR, wanted, now=now())
        return made.client.id, made.secret or ""

    def logged_in(self, *scopes: str, tenants: tuple[str, ...] = ("default",)) -> TestClient:
        client, secret = self.client(*scopes, tenants=tenants)
        browser = self.browser()
        answer = browser.post("/console/login", data={"client": client, "secret": secret})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
        return browser


@dataclass
class Later:
    """The same console as time passes for its sessions; counts the tokens that they are given.

    Tokens themselves are of this very moment, so that the API takes them.
    """

    house: House
    passed: timedelta = timedelta()
    tokens: int = 0

    def logged_in(self) -> TestClient:
        client, secret = self.house.client()
        local = self.house.api.local
        keeper = SessionKeeper(
            SqlSessions(local.service_engine), local.issuer, SessionLimits(), lambda: now() + self.passed
        )
        renew = keeper.renew

        def counted(found: Opened, **more: Any) -> Opened | None:
            self.tokens += 1
            return renew(found, **more)

        keeper.renew = counted  # type: ignore[method-assign]
        console = Console(self.house.api.app, Doors(), keeper)
        browser = TestClient(console, base_url=OURS, follow_redirects=False)
        browser.post("/console/login", data={"client": client, "secret": secret})
        return browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with api(tmp_path_factory.mktemp("console")) as found:
        found.service.fill(20)
        found.tenant(OTHER)
        found.service.profile("secret-profile", OTHER)
        yield House(found, found.finished_run(), found.finished_run("secret-profile", OTHER))


@pytest.fixture(scope="module")
def visitor(house: House) -> TestClient:
    return house.logged_in()


def check_of(page: str) -> str:
    """The hidden field of the forms of a page."""
    found = re.search(r'name="check" value="([0-9a-f]{64})"', page)
    assert found is not None, page
    return found[1]


def places(house: House) -> list[str]:
    """A page for every path that is looked at."""
    known = {"id": house.run.id, "name": "trivy:db", "path": "export.json"}
    found = []
    for page in PAGES:
        if page.methods == ("GET",) and not page.path.endswith("/events"):
            path = re.sub(r"\{(\w+)(:path)?\}", lambda match: known[match[1]], page.path)
            found.append(f"/console{path}")
    return [
        *found,
        "/console/evidence?id=CVE-2021-44228",
        f"/console/diff?old={house.run.id}&new={house.run.id}",
    ]


def test_whoever_is_not_logged_in_is_led_to_the_login_and_back(house: House) -> None:
    browser = house.browser()
    for path in places(house):
        answer = browser.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/login?next=/"), path
    client, secret = house.client()
    wanted = f"/runs/{house.run.id}"
    answer = browser.post("/console/login", data={"client": client, "secret": secret, "next": wanted})
    assert answer.headers["location"] == f"/console{wanted}"


def test_every_page_can_be_seen_and_forbids_what_does_not_come_from_here(
    house: House, visitor: TestClient
) -> None:
    for path in places(house):
        answer = visitor.get(path)
        assert answer.status_code == 200, (path, answer.text[:2000])
        if "/files/" in path or path.endswith(".tar"):
            assert answer.headers["content-disposition"].startswith("attachment")
            continue
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert "style=" not in answer.text
        assert "<script>" not in answer.text
        assert "onclick" not in answer.text


@pytest.mark.parametrize("wrong", [("nobody", "secret"), ("", ""), ("admin", "x" * 5000)])
def test_wrong_credentials_get_no_session(house: House, wrong: tuple[str, str]) -> None:
    answer = house.browser().post("/console/login", data={"client": wrong[0], "secret": wrong[1]})
    assert answer.status_code in (400, 401, 403)
    assert COOKIE not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "there", ["//evil.example/", "https://evil.example/", "/..//evil", "javascript:alert(1)", "/\\evil"]
)
def test_a_login_leads_to_pages_of_the_console_only(house: House, there: str) -> None:
    client, secret = house.client()
    answer = house.browser().post("/console/login", data={"client": client, "secret": secret, "next": there})
    assert answer.headers["location"] == "/console/"


def test_the_cookie_is_for_no_script_and_no_other_site(house: House) -> None:
    client, secret = house.client()
    answer = house.browser().post("/console/login", data={"client": client, "secret": secret})
    told = answer.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "secure" in told
    assert "samesite=lax" in told
    assert "path=/console" in told
    assert int(re.findall(r"max-age=(\d+)", told)[0]) == 12 * 3600, "the longest that a session goes on"
    assert "." not in told.partition(";")[0], "a handle, and no token"
    assert secret.lower() not in told


def test_a_form_without_the_sessions_field_or_from_elsewhere_changes_nothing(
    house: House, visitor: TestClient
) -> None:
    before = [each.id for each in house.api.local.runs.list("default")]
    check = check_of(visitor.get("/console/runs").text)
    wanted = {"profile": "trivy:db"}
    other = check_of(house.logged_in().get("/console/runs").text)
    for form, headers in [
        (wanted, {}),
        (wanted | {"check": other}, {}),
        (wanted | {"check": check}, {"origin": "https://evil.example"}),
        (wanted | {"check": check}, {"sec-fetch-site": "cross-site"}),
    ]:
        answer = visitor.post("/console/runs", data=form, headers=headers)
        assert answer.status_code == 403
        assert "ERR_CONSOLE_FORM" in answer.text
    assert [each.id for each in house.api.local.runs.list("default")] == before


def test_a_form_that_is_sent_twice_submits_one_run(house: House, visitor: TestClient) -> None:
    page = visitor.get("/console/runs").text
    once = re.findall(r'name="once" value="([0-9a-f]{32})"', page)[0]
    form = {"profile": "json:raw", "check": check_of(page), "once": once}
    first, second = (visitor.post("/console/runs", data=form) for _ in range(2))
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]


def test_a_run_without_a_snapshot_says_so_in_one_word(house: House, visitor: TestClient) -> None:
    page = visitor.get(f"/console/runs/{house.waiting_run()}").text
    assert '<dt>Snapshot</dt><dd><span class="dim">none</span></dd>' in page
    page = visitor.get(f"/console/runs/{house.run.id}").text
    assert re.search(r"<dt>Snapshot</dt><dd>sequence \d+, <code", page)


def test_controls_that_the_scopes_do_not_allow_are_not_there_and_do_not_work(house: House) -> None:
    reader = house.logged_in("export:read")
    page = reader.get(f"/console/runs/{house.run.id}").text
    assert "Replay" not in page
    assert "/console/notifications" not in page
    answer = reader.post(f"/console/runs/{house.run.id}/replay", data={"check": check_of(page)})
    assert answer.status_code == 403
    assert "ERR_SCOPE_MISSING" in answer.text


def test_runs_and_profiles_of_another_tenant_are_not_there(house: House, visitor: TestClient) -> None:
    assert visitor.get(f"/console/runs/{house.foreign.id}").status_code == 404
    assert visitor.get("/console/profiles/secret-profile").status_code == 404
    for path in ("/console/", "/console/runs", "/console/profiles", "/console/audit"):
        text = visitor.get(path).text
        assert house.foreign.id not in text
        assert "secret-profile" not in text


def test_who_acts_for_two_tenants_chooses_between_them(house: House) -> None:
    browser = house.logged_in(tenants=("default", OTHER))
    page = browser.get("/console/").text
    assert house.foreign.id not in page
    answer = browser.post("/console/tenant", data={"tenant": OTHER, "check": check_of(page)})
    assert answer.status_code == 303
    page = browser.get("/console/").text
    assert house.foreign.id in page
    assert house.run.id not in page


def test_after_the_log_out_the_session_is_over(house: House) -> None:
    browser = house.logged_in()
    check = check_of(browser.get("/console/").text)
    assert browser.post("/console/logout").status_code == 303
    assert browser.get("/console/").status_code == 200, "a log out without the form's field is none"
    copied = dict(browser.cookies)
    page = f"/console/runs/{house.run.id}"
    browser.post("/console/logout", data={"check": check})
    assert browser.get("/console/").status_code == 303
    elsewhere = TestClient(
        Console(house.api.app, Doors(), house.another_process()), base_url=OURS, follow_redirects=False
    )
    for thief in (house.browser(), elsewhere):
        thief.cookies.update(copied)
        assert thief.get("/console/").status_code == 303, "a copied cookie opens nothing"
        assert thief.get(f"{page}/files/export.json").status_code == 303
        assert thief.get(f"{page}/events", headers={"accept": "text/event-stream"}).status_code == 204


def test_a_stream_of_events_is_cut_when_its_session_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stellaops.console.pages.runs._LOOK", 0.05)
    browser = house.logged_in()
    run = house.waiting_run()
    ends = threading.Timer(1.0, lambda: house.api.local.session_keeper.end(browser.cookies[COOKIE]))
    ends.start()
    answer = browser.get(f"/console/runs/{run}/events")  # returns when the stream has ended
    assert answer.status_code == 200
    assert "retry:" in answer.text
    assert not ends.is_alive()
    assert (
        browser.get(f"/console/runs/{run}/events", headers={"accept": "text/event-stream"}).status_code == 204
    )


def test_a_second_login_in_a_browser_ends_the_session_before(house: House) -> None:
    browser = house.logged_in()
    thief = house.browser()
    thief.cookies.update(dict(browser.cookies))
    assert thief.get("/console/").status_code == 200
    client, secret = house.client()
    browser.post("/console/login", data={"client": client, "secret": secret})
    assert browser.get("/console/").status_code == 200
    assert thief.get("/console/").status_code == 303


def test_a_session_goes_on_while_pages_are_looked_at_and_its_forms_stay_good(house: House) -> None:
    later = Later(house)
    browser = later.logged_in()
    check = check_of(browser.get("/console/runs").text)
    for _ in range(4):
        later.passed += timedelta(minutes=12)
        assert browser.get("/console/").status_code == 200
    assert later.tokens == 4, "one for each time that the one before came to its end"
    answer = browser.post("/console/runs", data={"profile": "json:raw", "check": check})
    assert answer.status_code == 303, "a form from before is as good as ever"
    later.passed += timedelta(minutes=31)
    answer = browser.get("/console/")
    assert answer.status_code == 303, "nobody looked for half an hour"


def test_a_page_that_is_left_open_keeps_no_session_alive(house: House) -> None:
    later = Later(house)
    browser = later.logged_in()
    for _ in range(3):
        later.passed += timedelta(minutes=9)
        told = {"accept": "text/event-stream", "last-event-id": "0"}
        assert browser.get(f"/console/runs/{house.run.id}/events", headers=told).status_code == 200
    later.passed += timedelta(minutes=4)
    assert browser.get("/console/").status_code == 303


def test_header_parts_are_asked_for_where_a_header_is_drawn_only(house: House) -> None:
    client, secret = house.client(tenants=("*",))
    asked: list[str] = []

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await house.api.app(scope, receive, send)

    console = Console(noted, Doors(), house.api.local.session_keeper)
    browser = TestClient(console, base_url=OURS, follow_redirects=False)
    browser.post("/console/login", data={"client": client, "secret": secret})
    page = f"/console/runs/{house.run.id}"
    check = check_of(browser.get(page).text)
    assert "/api/authority/tenants" in asked
    asked.clear()
    assert browser.get(f"{page}/files/export.json").status_code == 200
    assert browser.get(f"{page}/events", headers={"accept": "text/event-stream"}).status_code == 200
    assert browser.post("/console/runs", data={"profile": "json:raw", "check": check}).status_code == 303
    assert browser.get("/console/runs/run-of-nobody/files/export.json").status_code == 404
    assert asked
    assert "/api/authority/tenants" not in asked


def test_what_was_written_when_the_session_ended_is_not_lost(house: House) -> None:
    browser = house.logged_in()
    check = check_of(browser.get("/console/profiles/new").text)
    browser.cookies.clear()
    answer = browser.post("/console/profiles", data={"text": "kind: <mine>\n", "check": check})
    assert answer.status_code == 401
    assert "kind: &lt;mine&gt;" in answer.text
    assert check not in answer.text


def test_what_was_written_under_another_session_is_not_lost_either(house: House) -> None:
    browser = house.logged_in()
    old = check_of(browser.get("/console/profiles/new").text)
    client, secret = house.client()
    browser.post("/console/login", data={"client": client, "secret": secret})
    answer = browser.post("/console/profiles", data={"text": "kind: <mine>\n", "check": old})
    assert answer.status_code == 403
    assert "kind: &lt;mine&gt;" in answer.text


def test_an_operators_pages_are_about_the_tenant_that_the_header_shows(house: House) -> None:
    house.api.tenant("acme")
    for number in range(60):
        house.api.tenant(f"many{number}")
    browser = house.logged_in(tenants=("*",))
    page = browser.get("/console/").text
    assert "<option selected>default" in page
    assert "many59" in page
    assert house.run.id in page
    browser.post("/console/tenant", data={"tenant": "acme", "check": check_of(page)})
    page = browser.get("/console/").text
    assert "<option selected>acme" in page
    assert house.run.id not in page


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "[" * 30_000, "a: &a [*a]", 'a: "\\ud800"', f"a: {'9' * 6000}", "x" * 100_000],
    ids=["laughs", "deep", "itself", "surrogate", "digits", "long"],
)
def test_hostile_profiles_are_refused_at_once(visitor: TestClient, text: str) -> None:
    check = check_of(visitor.get("/console/profiles/new").text)
    for path in ("/console/profiles/check", "/console/profiles"):
        answer = visitor.post(path, data={"text": text, "check": check})
        assert "ERR_EXPORT_INVALID_PROFILE" in answer.text
        assert answer.status_code < 500


@pytest.mark.parametrize("selectors", ["[" * 30_000, '"\\ud800"', "[1]", "{"])
def test_hostile_selectors_are_refused(visitor: TestClient, selectors: str) -> None:
    check = check_of(visitor.get("/console/runs").text)
    form = {"profile": "json:raw", "selectors": selectors, "check": check, "once": "\U0001f642"}
    answer = visitor.post("/console/runs", data=form)
    assert answer.status_code in (400, 403), answer.text[:500]


def test_wrong_methods_and_names_are_refused_with_a_page(visitor: TestClient) -> None:
    wrong = [
        ("GET", "logout"),
        ("PUT", "logout"),
        ("DELETE", "runs"),
        ("OPTIONS", ""),
        ("GET", "quarantine/retry"),
    ]
    for method, path in wrong:
        answer = visitor.request(method, f"/console/{path}")
        assert answer.status_code == 405, (method, path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    check = check_of(visitor.get("/console/").text)
    answer = visitor.post("/console/tenant", data={"tenant": "\U0001f642", "check": check})
    assert answer.status_code == 303


def test_a_client_of_very_many_tenants_logs_in_for_all_or_one(house: House) -> None:
    tenants = tuple(f"a-tenant-with-a-rather-long-name-{number}" for number in range(90))
    for name in tenants:
        house.api.tenant(name)
    client, secret = house.client(tenants=tenants)
    form = {"client": client, "secret": secret}
    whole, one = house.browser(), house.browser()
    assert whole.post("/console/login", data=form).status_code == 303
    assert whole.get("/console/").text.count("<option") == 90
    assert one.post("/console/login", data=form | {"tenant": tenants[7]}).status_code == 303
    assert "<option" not in one.get("/console/").text


def test_a_profile_that_somebody_else_has_changed_is_not_overwritten(visitor: TestClient) -> None:
    head = "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\nmetadata: {name: shared}\n"
    check = check_of(visitor.get("/console/profiles/new").text)
    visitor.post(
        "/console/profiles", data={"text": f"{head}spec: {{kind: json, variant: raw}}", "check": check}
    )
    form = {"name": "shared", "revision": "r1", "check": check}
    hers = f'{head}spec: {{kind: json, variant: raw, schedule: "0 3 * * *"}}'
    assert visitor.post("/console/profiles", data=form | {"text": hers, "reason": "hers"}).status_code == 303
    his = f"{head}spec: {{kind: json, variant: raw, timeLimit: 30m}}"
    answer = visitor.post("/console/profiles", data=form | {"text": his, "reason": "his"})
    assert answer.status_code == 409
    assert "timeLimit" in answer.text
    assert "hers" in visitor.get("/console/profiles/shared").text


def test_a_revoked_clients_session_ends(house: House) -> None:
    client, secret = house.client()
    browser = house.browser()
    browser.post("/console/login", data={"client": client, "secret": secret})
    assert browser.get("/console/").status_code == 200
    house.api.post(f"/api/authority/clients/{client}/revoke", {"reason": "left"}, tenants=("*",))
    house.api.local.access.forget()
    house.api.app._dispatcher._tokens._known.clear()
    assert browser.get("/console/").status_code == 303


def test_what_people_write_is_shown_as_text(house: House, visitor: TestClient) -> None:
    attack = "<script>alert(1)</script>"
    document = {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile",
                "metadata": {"name": "attacked", "labels": {"note": attack}},
                "spec": {"kind": "json", "variant": "raw"}}  # fmt: skip
    house.api.post("/api/export/profiles", document)
    for path in ("/console/profiles/attacked", f"/console/evidence?id={attack}", f"/console/audit?actor={attack}",
                 f"/console/login?next={attack}", f"/console/quarantine?again={attack}"):  # fmt: skip
        answer = visitor.get(path)
        assert attack not in answer.text, path
    assert "&lt;script&gt;" in visitor.get("/console/profiles/attacked").text


def test_a_profile_is_checked_as_it_is_written_and_stored_when_it_is_good(
    house: House, visitor: TestClient
) -> None:
    check = check_of(visitor.get("/console/profiles/new").text)
    head = "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\nmetadata: {name: mine}\n"
    bad = f"{head}spec: {{kind: nonsense, variant: raw}}\n"
    answer = visitor.post("/console/profiles/check", data={"text": bad, "check": check})
    assert "ERR_EXPORT_INVALID_PROFILE" in answer.text
    answer = visitor.post("/console/profiles", data={"text": bad, "check": check})
    assert answer.status_code == 400
    assert "nonsense" in answer.text, "what was written is not lost"
    answer = visitor.post("/console/profiles/check", data={"text": "a: [", "check": check})
    assert "this is no YAML" in answer.text
    good = bad.replace("nonsense", "json")
    assert (
        "It can be stored"
        in visitor.post("/console/profiles/check", data={"text": good, "check": check}).text
    )
    answer = visitor.post("/console/profiles", data={"text": good, "check": check})
    assert answer.headers["location"] == "/console/profiles/mine"
    changed = good.replace("spec: {", 'spec: {schedule: "0 3 * * *", ')
    form = {"name": "mine", "text": changed, "reason": "every night", "check": check, "revision": "r1"}
    assert visitor.post("/console/profiles", data=form).status_code == 303
    page = visitor.get("/console/profiles/mine").text
    assert "every night" in page
    assert "0 3 * * *" in visitor.get("/console/profiles").text


def test_assets_are_kept_for_ever_and_nothing_else_is_given(visitor: TestClient) -> None:
    page = visitor.get("/console/login").text
    for name in re.findall(r'"(/console/assets/[^"]+)"', page):
        answer = visitor.get(name)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    for name in ("../app.py", "..%2fapp.py", "nothing.css", "console.css/../../app.py", "app.py"):
        assert visitor.get(f"/console/assets/{name}").status_code == 404


def test_other_paths_are_the_apis(visitor: TestClient) -> None:
    assert visitor.get("/healthz").json()["status"] == "ok"
    assert visitor.get("/api/export/runs").status_code == 401, "the cookie opens no API"
    assert visitor.get("/consoles").status_code == 404
    assert visitor.get("/console").headers["location"] == "/console/"


MAY_NOT = "You may not see this"


@pytest.mark.parametrize(
    ("path", "least", "none"),
    [
        ("/console/", 11, "No run yet."),
        ("/console/evidence", 2, "Nothing was imported."),
        ("/console/evidence?id=GHSA-none-none-none", 2, "Nothing is about"),
        ("/console/quarantine", 2, "Nothing is set aside."),
        ("/console/mirrors", 5, "No domain."),
        ("/console/notifications", 3, "No channel."),
    ],
)
def test_what_may_not_be_seen_and_what_there_is_not_are_told_apart(
    house: House, path: str, least: int, none: str
) -> None:
    told = house.logged_in("authority:manage" if "notifications" in path else "notify:read").get(path)
    assert told.status_code == 200
    assert told.text.count(MAY_NOT) >= least, told.text
    assert none not in told.text
    house.api.tenant("empty")
    empty = house.logged_in(tenants=("empty",)).get(path).text
    assert empty.count(MAY_NOT) <= 2, "queue and chores are the operators'"
    assert none in empty or "evidence" in path


@pytest.mark.parametrize("path", ["/console/runs", "/console/profiles", "/console/audit", "/console/diff"])
def test_a_page_that_may_not_be_seen_says_so(house: House, path: str) -> None:
    answer = house.logged_in("notify:read").get(path)
    assert answer.status_code == 403
    assert "<h1>You may not see or do this</h1>" in answer.text
    assert "export:read" in answer.text


def test_files_that_may_not_be_seen_are_no_missing_files(house: House) -> None:
    page = f"/console/runs/{house.run.id}"
    reader = house.logged_in("export:read").get(page).text
    assert f"{MAY_NOT}: client" in reader
    assert "export:download" in reader
    waiting = house.logged_in().get(f"/console/runs/{house.waiting_run()}").text
    assert "There are none yet." in waiting
    assert MAY_NOT not in waiting
    missing = house.logged_in().get("/console/runs/run-20200101t000000-00000000")
    assert (missing.status_code, "<h1>There is nothing here</h1>" in missing.text) == (404, True)
