"""Receivers of notifications on this machine: an HTTP server that keeps what it was sent, and a real mail server."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Posted:
    """A request as it came; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """What was posted, and what is answered: `answers` in turn, then 200."""

    url: str = ""
    posted: list[Posted] = field(default_factory=list)
    answers: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event | None = None
    """While it is there and not set, answers wait for it."""

    def wait_for(self, number: int, seconds: float = 20) -> list[Posted]:
        """What was posted, when it is so much."""
        end = time.monotonic() + seconds
        while len(self.posted) < number and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.posted) >= number, self.posted
        return self.posted


@contextmanager
def receiving() -> Iterator[Receiver]:
    """An HTTP receiver on a free port."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.posted.append(Posted(self.path, headers, self.rfile.read(size)))
            if found.hold is not None:
                found.hold.wait(30)
            status, more, body = found.answers.pop(0) if found.answers else (200, {}, b"ok")
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A caller that does not wait for the answer is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class Mailbox:
    """A mail server's place, and what it took.

    Attributes:
        refuse: recipients that it does not take, with its words.
    """

    port: int
    ca_file: Path
    letters: list[Any] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)


@contextmanager
def mail_server(place: Path, account: tuple[str, str], *, tls: str = "starttls") -> Iterator[Mailbox]:
    """aiosmtpd with a certificate of its own, which takes mail of one account alone; `tls` or `starttls` or `none`."""
    smtp, controller = _library()
    certificate, key = certificate_files(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    box = Mailbox(0, certificate)

    class Handler:
        async def handle_RCPT(  # noqa: N802 - the library's name
            self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
        ) -> str:
            if address in box.refuse:
                return box.refuse[address]
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            box.letters.append(envelope)
            return "250 taken"

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
        told = data.login.decode(), data.password.decode()
        box.logins.append(told)
        return smtp.AuthResult(success=told == account, handled=False)

    secured: dict[str, Any] = {
        "authenticator": authenticate, "auth_required": tls != "none", "auth_require_tls": tls != "none",
    }  # fmt: skip
    if tls == "starttls":
        secured |= {"tls_context": context, "require_starttls": True}
    elif tls == "tls":
        # From the first byte: the connection is protected where the server thinks that it is not.
        secured |= {"auth_require_tls": False, "auth_required": False}

    class Free(controller.Controller):  # type: ignore[name-defined,misc] # the library has no types
        def _trigger_server(self) -> None:
            # It greets itself to see whether it is up; which port was free is known by then.
            self.port = self.server.sockets[0].getsockname()[1]
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                self._factory_invoked.wait(5)

    running = Free(
        Handler(), hostname="127.0.0.1", server_hostname="localhost", port=0, ready_timeout=20,
        ssl_context=context if tls == "tls" else None, **secured,
    )  # fmt: skip
    running.start()
    try:
        box.port = running.port
        yield box
    finally:
        running.stop()


def certificate_files(place: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place.mkdir(parents=True, exist_ok=True)
    certificate, secret = place / "smtp.crt", place / "smtp.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, secret


def _library() -> tuple[Any, Any]:
    controller = pytest.importorskip("aiosmtpd.controller")
    return pytest.importorskip("aiosmtpd.smtp"), controller
