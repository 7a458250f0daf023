"""Who checks a mirror asks as any client would: paths as they are, no redirects, by the egress policy."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stellaops.adapters.mirrors.outsider import Outsider, Reached
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import AddressRefused, EgressPolicy, SchemeRefused, networks
from stellaops.mirrors.checks.ports import CheckUnreachable, Login, Question

POLICY = EgressPolicy(networks(["127.0.0.0/8"]), frozenset(["127.0.0.1", "mirror.example.org"]))


class Server:
    """Answers everything, and keeps what was asked: the request line and its credentials."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self) -> None:
                outer.asked.append((self.requestline, self.headers.get("authorization")))
                body = b"x" * 5000
                self.send_response(302 if self.path.endswith("/away") else 401)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("WWW-Authenticate", 'Basic realm="primary"')
                self.send_header("WWW-Authenticate", 'Bearer realm="primary"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        for method in ("GET", "HEAD", "POST"):
            setattr(Handler, f"do_{method}", Handler._answer)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]


@contextmanager
def _running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join(10)
        server.http.server_close()


def _outsider(url: str, **more: object) -> Outsider:
    return Outsider(
        Reached(url, WebSettings(POLICY, **more), lambda url, headers: {"authorization": "Basic ours"})  # type: ignore[arg-type]
    )


def test_paths_go_out_as_they_are_and_redirects_are_answers() -> None:
    with _running() as server:
        asker = _outsider(f"http://127.0.0.1:{server.port}")
        hasher = hashlib.sha256()
        seen = asker.ask(Question("/a/../b%2Fc//away", keep=10, hasher=hasher))
        assert (seen.status, seen.size, seen.body) == (302, 5000, b"x" * 10)
        assert seen.sha256 == hasher.hexdigest() == hashlib.sha256(b"x" * 5000).hexdigest()
        assert server.asked == [("GET /a/../b%2Fc//away HTTP/1.1", "Basic ours")]


def test_credentials_go_with_those_questions_that_want_them() -> None:
    with _running() as server:
        asker = _outsider(f"http://127.0.0.1:{server.port}/below")
        for login in Login:
            assert asker.ask(Question("/x", login)).asks_for_password
        asker.ask(Question("/x", method="HEAD"))
        asker.ask(Question("/x", method="POST"))
        lines, told = zip(*server.asked, strict=True)
        assert set(lines) == {f"{method} /below/x HTTP/1.1" for method in ("GET", "HEAD", "POST")}
        assert told[:2] == (None, "Basic ours")
        assert told[2] not in (None, "Basic ours")
        assert asker.requests == 5


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    with _running() as server:
        asker = _outsider("http://mirror.example.org", proxy=f"http://127.0.0.1:{server.port}")
        assert asker.ask(Question("/x/../y")).status == 401
        assert server.asked == [("GET http://mirror.example.org:80/y HTTP/1.1", "Basic ours")]
        assert not asker.is_exact


def test_another_address_than_the_names_own_is_connected_to() -> None:
    with _running() as server:
        url = f"http://mirror.example.org:{server.port}"
        asker = Outsider(Reached(url, WebSettings(POLICY), None, "127.0.0.1"))
        assert (asker.ask(Question("/x")).status, asker.is_local, asker.has_login) == (401, True, False)


def test_the_egress_policy_holds() -> None:
    with pytest.raises(SchemeRefused):
        _outsider("http://other.example.org")
    with pytest.raises(AddressRefused):
        _outsider("https://10.0.0.1")
    asker = Outsider(Reached("https://mirror.example.org", WebSettings(POLICY), None, "10.0.0.1"))
    with pytest.raises((CheckUnreachable, AddressRefused)):
        asker.ask(Question("/x"))
