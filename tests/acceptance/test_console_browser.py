"""The console in a real browser, on a real `stella serve all` with the examples: with nothing but the browser, an
operator submits, watches, verifies, downloads, cancels and replays; nothing is asked of another site, nothing is
wrong on the console, and axe-core finds nothing.

With STELLA_SCREENSHOTS=1 the pictures of the documentation are made anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest

from stellaops.authority.actors import OPERATOR
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import now
from tests.support import tools
from tests.support.api import EVERY_SCOPE, serving
from tests.support.browser import Browser, Looked, running
from tests.support.workers import Service, service, wait_for
from tests.unit.cli.running import call

EXAMPLES = tools.ROOT / "examples"
PICTURES = tools.ROOT / "docs" / "images"
OTHER = "acme"


@dataclass
class Console:
    """A running installation, and clients of two tenants."""

    service: Service
    url: str
    secrets: dict[str, tuple[str, str]]
    browser: Browser
    _kept: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def looking(self, tenant: str = "default", **context: Any) -> Iterator[Looked]:
        """A page of someone who is logged in."""
        with self.browser.looking(self.url, storage_state=self._kept.get(tenant), **context) as looked:
            if tenant not in self._kept:
                self.log_in(looked, tenant)
                self._kept[tenant] = looked.page.context.storage_state()
            yield looked

    def log_in(self, looked: Looked, tenant: str = "default") -> None:
        page, (client, secret) = looked.page, self.secrets[tenant]
        page.goto(f"{self.url}/console/")
        page.fill("#client", client)
        page.fill("#secret", secret)
        page.click("main button")
        page.wait_for_url(f"{self.url}/console/")

    def store(self, name: str, **spec: Any) -> None:
        document = {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": name},
                    "spec": {"kind": "json", "variant": "raw", **spec}}  # fmt: skip
        file = self.service.place / f"{name}.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        self.stella("export", "profile", "create", str(file))

    def stella(self, *words: str) -> Any:
        answer = call("--data-dir", str(self.service.local.data_dir), "--format", "json", *words)
        assert answer.code == 0, answer.err
        return json.loads(answer.out)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    tools.require("chromium")
    with service(tmp_path_factory.mktemp("console")) as found:
        local = found.local
        for side, folder in (("concelier", "advisories"), ("excititor", "vex")):
            for each in sorted((EXAMPLES / folder).iterdir()):
                call("--data-dir", str(local.data_dir), side, "import", str(each), "--source", each.name)
        local.tenants.add(Tenant(OTHER, created_at=now()))
        secrets = {}
        for tenant in ("default", OTHER):
            wanted = Wanted(tenants=(tenant,), scopes=EVERY_SCOPE)
            client = create_client(ClientTools(local.clients, local.tenants), OPERATOR, wanted, now=now())
            secrets[tenant] = (client.client.id, client.secret or "")
        with serving(found, "all") as process, running() as browser:
            yield Console(found, process.url, secrets, browser)


@pytest.fixture
def looked(console: Console) -> Iterator[Looked]:
    with console.looking() as found:
        yield found


def picture(looked: Looked, name: str) -> None:
    """Keep a picture for the documentation, where that is asked for."""
    if os.environ.get("STELLA_SCREENSHOTS") == "1":
        PICTURES.mkdir(exist_ok=True)
        looked.page.screenshot(path=PICTURES / f"{name}.png")


def submit(looked: Looked, console: Console, profile: str) -> str:
    """Ask for a run with the form; its id."""
    page = looked.page
    page.goto(f"{console.url}/console/runs")
    page.click("summary")
    page.select_option("details select[name=profile]", profile)
    page.click("details button")
    page.wait_for_url("**/console/runs/run-*")
    return str(page.url.rpartition("/")[2])


def test_a_run_is_submitted_watched_verified_and_downloaded_with_the_browser_alone(
    console: Console, looked: Looked, tmp_path: Path
) -> None:
    page = looked.page
    run = submit(looked, console, "trivy:db")
    page.wait_for_selector("text=Verify it yourself")
    assert page.inner_text("#state") == "succeeded"
    events = page.locator("#events li")
    events.last.filter(has_text="succeeded").wait_for()
    assert events.count() >= 4
    steps = page.locator("#steps li span:first-child").all_inner_texts()
    assert {"plan", "build", "sign", "verify", "publish"} <= set(steps)
    assert page.locator("#steps li.done").count() == len(steps)
    picture(looked, "console-run")
    assert looked.accessibility() == []
    with page.expect_download() as download:
        page.click("#bundle")
    assert download.value.suggested_filename == f"{run}.tar"
    download.value.save_as(tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / run
    with page.expect_download() as download:
        page.locator("td a[download]").get_by_text("trivy/db.bundle", exact=True).click()
    assert download.value.path().read_bytes() == (root / "trivy/db.bundle").read_bytes()
    key = tmp_path / "key.pub"
    key.write_text(
        page.request.get(f"{console.url}/tenants/default/export-center.pub").text(), encoding="utf-8"
    )
    answer = call("export", "verify", str(root), "--key", str(key))
    assert answer.code == 0, answer.err
    page.click("button:text-is('Verify')")
    page.wait_for_selector("h1:has-text('Verification')")
    assert page.locator("h1 .state").inner_text() == "ok"
    assert looked.accessibility() == []
    assert run in page.inner_text("main")
    assert looked.wrong == []


def test_the_commands_that_a_run_shows_verify_its_bundle(
    console: Console, looked: Looked, tmp_path: Path
) -> None:
    submit(looked, console, "json:raw")
    looked.page.wait_for_selector("text=Verify it yourself")
    (run,) = console.stella("export", "run", "list", "--latest")
    console.stella("export", "download", run["runId"], "--to", str(tmp_path / "bundle"))
    pem = looked.page.request.get(f"{console.url}/tenants/default/export-center.pub").text()
    (tmp_path / "export-center.pub").write_text(pem, encoding="utf-8")
    _, cosign, openssl = looked.page.locator(".command code").all_inner_texts()
    program = tools.require("cosign2")
    tools.require("openssl")
    for text in (cosign.replace("cosign ", f"{program} ", 1), openssl):
        done = subprocess.run(
            ["bash", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Verified OK" in done.stdout + done.stderr


def test_a_waiting_run_is_cancelled_and_a_failed_one_replayed(console: Console, looked: Looked) -> None:
    page = looked.page
    console.service.local.queue.pause()
    try:
        submit(looked, console, "trivy:db")
        page.click("button:text-is('Cancel')")
        page.wait_for_selector("#state:has-text('cancelled')")
    finally:
        console.service.local.queue.resume()
    console.store("nothing", selectors={"ids": ["CVE-1999-0000"]})
    failed = submit(looked, console, "nothing")
    page.wait_for_selector("#state:has-text('failed')")
    assert looked.accessibility() == []
    page.check("input[name=allowEmpty]")
    page.click("button:text-is('Replay')")
    page.wait_for_selector("#state:has-text('succeeded')")
    assert page.url.rpartition("/")[2] != failed
    assert failed in page.inner_text("main")
    assert looked.wrong == []


def test_a_run_that_is_under_way_is_cancelled_and_its_processes_with_it(
    console: Console, looked: Looked
) -> None:
    page, service = looked.page, console.service
    console.store("watched", kind="trivy", variant="db")
    service.trivy("hang")
    try:
        submit(looked, console, "watched")
        page.wait_for_selector("#state:has-text('running')")
        wait_for(lambda: bool(service.hung_scanners()), 30)
        page.wait_for_selector("#steps li.now:has-text('smoke')", timeout=10_000)
        assert looked.accessibility() == []
        page.click("button:text-is('Cancel')")
        page.wait_for_selector("#state:has-text('cancelled')")
        wait_for(lambda: not service.hung_scanners(), 10)
    finally:
        service.trivy("none")
    assert page.locator("button:text-is('Replay')").count() == 1
    assert page.locator("button:text-is('Cancel')").count() == 0
    assert "This run made none." in page.inner_text("main")
    assert looked.wrong == []


def test_after_logging_out_a_copied_cookie_opens_nothing(console: Console) -> None:
    with console.browser.looking(console.url) as looked:
        console.log_in(looked)
        copied = looked.page.context.storage_state()
        with console.browser.looking(console.url, storage_state=copied) as thief:
            thief.page.goto(f"{console.url}/console/runs")
            assert thief.page.url == f"{console.url}/console/runs"
            looked.page.click("button:has-text('Log out')")
            looked.page.wait_for_url("**/console/login")
            thief.page.goto(f"{console.url}/console/runs")
            assert "/console/login" in thief.page.url
            assert thief.page.locator("nav").count() == 0


def test_a_profile_is_written_checked_as_it_is_typed_and_its_history_shown(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    page.goto(f"{console.url}/console/profiles/new")
    text = page.input_value("#text")
    page.fill("#text", text.replace("kind: trivy", "kind: nonsense"))
    page.wait_for_selector("#told .problem")
    assert looked.accessibility() == []
    page.fill("#text", text)
    page.wait_for_selector("#told .good")
    page.click("button:text-is('Store')")
    page.wait_for_url("**/console/profiles/nightly")
    page.click("text=Edit")
    page.fill("#text", page.input_value("#text") + '  schedule: "0 3 * * *"\n')
    page.fill("#reason", "every night")
    page.click("button:text-is('Store the next revision')")
    page.wait_for_selector("text=every night")
    assert page.locator(".history > li").count() == 2
    assert "03:00:00 UTC" in page.inner_text("main .note")
    picture(looked, "console-profile")
    assert looked.accessibility() == []
    assert looked.wrong == []


def test_two_tenants_see_only_their_own(console: Console, looked: Looked) -> None:
    console.store("only-mine")
    mine = submit(looked, console, "only-mine")
    with console.looking(OTHER) as other:
        for path in ("/", "/runs", "/profiles", "/audit"):
            other.page.goto(f"{console.url}/console{path}")
            text = other.page.content()
            assert mine not in text
            assert "only-mine" not in text
        other.page.goto(f"{console.url}/console/runs/{mine}")
        assert "There is nothing here" in other.page.inner_text("main")


def test_a_channel_is_previewed_and_what_was_sent_is_shown(console: Console, looked: Looked) -> None:
    """The message goes nowhere: nothing but the public internet may be sent to, and a test's address is not there."""
    api = f"{console.url}/api/notify/channels"
    client, secret = console.secrets["default"]
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
    token = looked.page.request.post(f"{console.url}/authority/token", form=form).json()["access_token"]
    kept = console.service.local.data_dir / "notify" / "secrets" / "default" / "hook"
    kept.parent.mkdir(parents=True)
    kept.write_text(f"whsec_{b64encode(token_bytes(32)).decode()}\n", encoding="utf-8")
    kept.chmod(0o600)
    settings = {"url": "https://127.0.0.1:9/hook", "secretRef": "hook"}
    channel = {"id": "ops", "kind": "webhook", "settings": settings}
    told = looked.page.request.post(api, data=channel, headers={"Authorization": f"Bearer {token}"})
    assert told.status == 201, told.text()
    page = looked.page
    page.goto(f"{console.url}/console/notifications")
    page.click("button:text-is('Preview')")
    page.wait_for_selector("h1:has-text('Test of ops')")
    assert "webhook" in page.inner_text("main")
    page.fill("#text", "is anybody there")
    page.click("button:text-is('Send it')")
    page.wait_for_selector("h1 .state")
    assert "is anybody there" in page.inner_text("main")
    assert looked.accessibility() == []
    page.goto(f"{console.url}/console/notifications")
    assert page.locator("h2:text-is('Deliveries') ~ .scrolls tbody tr").count() >= 1
    assert looked.accessibility() == []


PAGES = ("/login", "/", "/runs", "/profiles", "/profiles/trivy:db", "/evidence", "/evidence?id=CVE-2020-9283",
         "/quarantine", "/mirrors", "/notifications", "/audit", "/diff", "/profiles/new")  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_page_is_accessible_on_a_screen_and_on_a_phone(console: Console, scheme: str) -> None:
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 800}} if scheme == "dark" else {}
    with console.looking(color_scheme=scheme, **phone) as looked:
        for path in PAGES:
            looked.page.goto(f"{console.url}/console{path}")
            for folded in looked.page.locator("details").all():
                folded.evaluate("each => { each.open = true }")
            assert looked.accessibility() == [], path
            wide = looked.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
            assert not wide, f"{path} is wider than the screen"
            if scheme == "light" and path in ("/", "/evidence?id=CVE-2020-9283"):
                picture(looked, "console-overview" if path == "/" else "console-evidence")
        assert looked.wrong == []


def test_everything_can_be_reached_with_the_keyboard(console: Console, looked: Looked) -> None:
    page = looked.page
    page.goto(f"{console.url}/console/runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.tagName + (document.activeElement.name || '')"))
    assert {"A", "BUTTON", "SELECTprofile", "SELECTstatus", "SUMMARY"} <= seen


def test_it_works_without_scripts(console: Console) -> None:
    with console.browser.looking(console.url, java_script_enabled=False) as looked:
        looked.page.goto(f"{console.url}/console/login")
        console.log_in(looked)
        submit(looked, console, "json:raw")
        for _ in range(60):
            looked.page.reload()
            if looked.page.inner_text("#state") == "succeeded":
                break
            looked.page.wait_for_timeout(250)
        assert looked.page.locator("a[download]").count() > 4
