"""What a mirror shows to those who come with a browser: what it offers, how to verify it, how to use it.

The page is made of what this very gateway answers to the same caller, so that it shows nobody more than that.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.types import ASGIApp, Scope

from stellaops.core import asgi, sizes
from stellaops.gateway.requests import Request

Headers = list[tuple[bytes, bytes]]
PATHS = (b"/", b"/login")
_ADDRESS = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def wants_page(request: Request) -> bool:
    """Whether a request comes from a browser that wants a page, and not from a program."""
    return (
        request.path in PATHS
        and request.method in ("GET", "HEAD")
        and b"text/html" in request.headers.get(b"accept", b"")
    )


class FrontPage:
    """The page of a host.

    Args:
        answering: the gateway itself.
        domains: every domain of this host, by id: what it is called, and whether it asks for credentials.
    """

    def __init__(self, answering: ASGIApp, domains: Callable[[str], Mapping[str, tuple[str, bool]]]) -> None:
        self._answering, self._domains = answering, domains

    async def page(self, request: Request, scope: Scope) -> tuple[int, Headers, bytes]:
        """Status, headers and body."""
        known = b"authorization" in request.headers
        status, index = await self._ask(scope, "/concelier/exports/index.json")
        if request.path == b"/login":
            return (303, [(b"location", b"/"), *_plain()], b"") if known and status != 401 else _challenge()
        if known and status == 401:
            return _challenge()
        domains = self._domains(request.host)
        listed = {each["id"]: each for each in index.get("domains", ()) if each.get("id") in domains}
        offered = [
            await self._offered(scope, name, title, listed.get(name)) | {"closed": closed}
            for name, (title, closed) in domains.items()
        ]
        values = {
            "domains": [each for each in offered if each["concelier"] or each["excititor"]],
            "closed": any(closed for _, closed in domains.values()) and not known,
            "hasty": status == 429,
            "base": f"{scope.get('scheme', 'http')}://{_address(request)}",
            "host": _address(request),
            "caller": known,
        }
        body = _environment().get_template("front.html").render(values).encode()
        return 200, [*_plain(), _HTML, (b"vary", b"Authorization, Accept")], body

    async def _offered(
        self, scope: Scope, name: str, title: str, entry: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        status, index = await self._ask(scope, f"/excititor/mirror/{name}/index")
        exports = index.get("exports", []) if status == 200 else []
        tags, found = await self._ask(scope, f"/v2/{name}/trivy-db/tags/list")
        java, named = await self._ask(scope, f"/v2/{name}/trivy-java-db/tags/list")
        return {
            "id": name,
            "title": title,
            "concelier": entry,
            "excititor": exports,
            "trivy": found.get("tags", []) if tags == 200 else [],
            "java": named.get("tags", []) if java == 200 else [],
        }

    async def _ask(self, scope: Scope, path: str) -> tuple[int, dict[str, Any]]:
        """What the gateway answers to the same caller: status, and the object of the body."""
        kept = [(name, value) for name, value in scope["headers"] if name not in _OWN]
        asked = {
            **scope,
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": kept,
        }
        answer = await asgi.ask(self._answering, asked)
        try:
            found = json.loads(answer.body) if answer.status == 200 else {}
        except ValueError:
            found = {}
        return answer.status, found if isinstance(found, dict) else {}


_HTML = (b"content-type", b"text/html; charset=utf-8")
_OWN = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"if-none-match",
        b"if-modified-since",
        b"range",
        b"if-range",
        b"traceparent",
    }
)


def _address(request: Request) -> str:
    """Host and port, as the reader named them."""
    told = request.headers.get(b"host", b"").decode("latin-1")
    return told if _ADDRESS.fullmatch(told) else request.host


def _challenge() -> tuple[int, Headers, bytes]:
    body = b"<!doctype html><title>Credentials are needed</title><p>Credentials are needed."
    challenge = (b"www-authenticate", b'Basic realm="mirror", charset="UTF-8"')
    return 401, [challenge, *_plain(), _HTML], body


def _plain() -> Headers:
    policy = (
        f"default-src 'none'; style-src '{_style_digest()}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return [
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    ]


@cache
def _style() -> str:
    return (files("stellaops.gateway") / "templates" / "front.css").read_text(encoding="utf-8")


@cache
def _style_digest() -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("stellaops.gateway"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["bytes"] = sizes.render
    found.globals["style"] = _style
    return found
