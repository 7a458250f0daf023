"""A token service as registries name it in their challenges, and the part of a registry's settings that trusts it."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

_ISSUER, _SERVICE = "tests", "registry"


@dataclass
class TokenService:
    """A running service.

    Attributes:
        users: names and passwords.
        identity_tokens: that are taken instead of them.
        seconds: how long a token holds.
        asked: for what tokens were asked, in order: user, scopes.
    """

    users: dict[str, str] = field(default_factory=dict)
    identity_tokens: set[str] = field(default_factory=set)
    seconds: int = 300
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    url: str = ""
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _certificate: x509.Certificate | None = None

    def settings(self, directory: Path) -> dict[str, Any]:
        """docker-registry's section `auth`."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        file = directory / "tokens.crt"
        file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return {
            "token": {"realm": self.url, "service": _SERVICE, "issuer": _ISSUER, "rootcertbundle": str(file)}
        }

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for some scopes, as `repository:NAME:pull,push`."""
        assert self._certificate is not None
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":") for scope in scopes)
        ]
        claims = {
            "iss": _ISSUER, "sub": user, "aud": _SERVICE, "exp": now + self.seconds, "nbf": now - 5, "iat": now,
            "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_part(json.dumps(each).encode()) for each in (header, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def user_of(self, authorization: str) -> str | None:
        """Who a header of the Basic scheme is; '' for nobody, None for someone who is not known."""
        if not authorization:
            return ""
        name, _, word = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return name if self.users.get(name) == word else None


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def serving() -> Iterator[TokenService]:
    """A token service on a free port."""
    service = TokenService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            user = service.user_of(self.headers.get("authorization", ""))
            self._answer(user, query.get("scope", []))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            good = form.get("refresh_token", [""])[0] in service.identity_tokens
            self._answer("somebody" if good else None, form.get("scope", []))

        def _answer(self, user: str | None, scopes: list[str]) -> None:
            service.asked.append((str(user), scopes))
            if not user:
                self.send_error(401)
                return
            body = json.dumps({"token": service.token(user, scopes), "expires_in": service.seconds}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            del words

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
