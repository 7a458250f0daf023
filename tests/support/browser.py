"""A real browser: the system's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support import tools

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@dataclass
class Looked:
    """A page of a browser, and all that went wrong on it.

    Attributes:
        page: of Playwright.
        origin: from which alone it may load anything.
    """

    page: Any
    origin: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def _told(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text}")

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.wrong.append(f"asked {request.url}")

    def accessibility(self) -> list[str]:
        """What axe-core finds wrong with the page as it stands."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only where there is a browser

        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@dataclass
class Browser:
    """A browser that runs; what is looked at in it knows nothing of what was looked at before."""

    _browser: Any

    @contextmanager
    def looking(self, origin: str, **context: Any) -> Iterator[Looked]:
        """A page.

        Args:
            context: as Playwright's `new_context` takes it: `viewport`, `color_scheme`, `http_credentials` …
        """
        wanted = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | context
        with closing(self._browser.new_context(**wanted)) as opened:
            page = opened.new_page()
            page.set_default_timeout(60_000)
            yield Looked(page, origin)


@contextmanager
def running() -> Iterator[Browser]:
    """A browser; one at a time in a process."""
    program = tools.require("chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - see above

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=_ARGUMENTS.split())
        with closing(browser):
            yield Browser(browser)
