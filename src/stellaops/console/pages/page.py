"""What a page is: where it lies, and who makes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from stellaops.console.visit import Visit


@dataclass(frozen=True, slots=True)
class Page:
    """One path of the console.

    Attributes:
        path: below `/console`, with parameters in braces.
        by_itself: asked for by a page that is open, not by somebody: no use of the session.
    """

    path: str
    handler: Callable[[Visit], Awaitable[Response]]
    methods: tuple[str, ...] = ("GET",)
    by_itself: bool = False


def form(path: str, handler: Callable[[Visit], Awaitable[Response]]) -> Page:
    """What a form is sent to."""
    return Page(path, handler, ("POST",))
