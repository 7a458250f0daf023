"""The pages, one module for each matter."""

from __future__ import annotations

from stellaops.console.pages import audit, evidence, mirrors, notifications, overview, profiles, runs
from stellaops.console.pages.page import Page

PAGES: tuple[Page, ...] = tuple(
    page
    for module in (overview, runs, profiles, evidence, mirrors, notifications, audit)
    for page in module.PAGES
)
"""Every page that needs a login."""
