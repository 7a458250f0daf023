"""Mirror hosts as processes: `stella serve gateway|concelier|excititor` on a tree, and nothing else in reach."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt

from stellaops.core import digests
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import PublicKey
from tests.support.api import free_port

PASSWORD = "correct-horse"  # noqa: S105 - of users that tests make
_COST = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; names of headers in lower case, those that came twice joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class GatewayProcess:
    """A mirror host that listens."""

    process: subprocess.Popen[bytes]
    port: int
    place: Path
    tls: ssl.SSLContext | None = None
    names: Mapping[str, str] | None = None
    """Host names of domains, where TLS has a certificate for each."""

    @property
    def url(self) -> str:
        return self.url_of("")

    def url_of(self, domain: str) -> str:
        """The address under which readers of a domain know it."""
        host = (self.names or {}).get(domain, "127.0.0.1")
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def ask(
        self,
        path: str,
        user: str | None = None,
        *,
        password: str = PASSWORD,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """One request on a connection of its own; the path goes out as it is."""
        told = dict(headers or {})
        if user is not None:
            told["Authorization"] = basic(user, password)
        name = self._name(path, told)
        if self.names:
            told.setdefault("Host", f"{name}:{self.port}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.sock = self._connected(name, 30)
        try:
            connection.request(method, path, body, told)
            response = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in response.getheaders():
                found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def raw(self, data: bytes, seconds: float = 5.0) -> bytes:
        """Bytes sent as they are; everything that comes back until the other side closes, or is silent."""
        with self._connected(self._name("", {}), seconds) as connection:
            connection.sendall(data)
            found = b""
            try:
                while piece := connection.recv(65536):
                    found += piece
            except (TimeoutError, ConnectionResetError, ssl.SSLError):
                pass
            return found

    def _name(self, path: str, headers: Mapping[str, str]) -> str:
        """The host name to ask: that of the domain in a path, else that of the first domain."""
        if not self.names:
            return "127.0.0.1"
        told = headers.get("Host", "").partition(":")[0].lower()
        named = next((host for domain, host in self.names.items() if f"/{domain}" in path), None)
        return told if told in self.names.values() else named or next(iter(self.names.values()))

    def _connected(self, name: str, seconds: float) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=seconds)
        return connection if self.tls is None else self.tls.wrap_socket(connection, server_hostname=name)

    def log(self) -> str:
        """Standard error: what the process logs."""
        return (self.place / "err.log").read_text()

    def accesses(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in (self.place / "out.log").read_text().splitlines()]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of a metric that have these labels."""
        total = 0.0
        for line in self.ask("/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.startswith(f"{name}{{") and all(
                f'{key}="{text}"' in series for key, text in labels.items()
            ):
                total += float(value)
        return total

    def reload(self) -> None:
        """SIGHUP, and wait until it has been followed."""
        before = self.log().count("mirror.reload")
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count("mirror.reload") > before)


@dataclass
class Setup:
    """Settings of a mirror host under test."""

    tree: Path
    place: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Ours, and what every program needs; nothing of the tests' own surroundings."""
        ours = {
            "CONCELIER__MIRROR__EXPORTROOT": str(self.tree / "concelier"),
            "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": str(self.tree / "excititor"),
            "CONCELIER__MIRROR__DOMAINS__0__ID": "primary",
            "CONCELIER__MIRROR__DOMAINS__1__ID": "community",
            "GATEWAY__SECRETSDIR": str(self.place),
            "STELLA_DATA_DIR": str(self.place / "data"),
            "STELLA_CONFIG": str(self.place / "config.yaml"),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return kept | {name: value for name, value in (ours | self.variables).items() if value}


def basic(user: str, password: str = PASSWORD) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def write_users(
    file: Path, users: Mapping[str, str], comments: Mapping[str, str] | None = None, cost: int = _COST
) -> None:
    """An htpasswd file as `htpasswd -B` writes it, changed in one go."""
    lines = []
    for user, password in users.items():
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$")
        lines += [f"# {comments[user]}"] if comments and user in comments else []
        lines.append(f"{user}:{hashed}")
    coming = file.with_suffix(".coming")
    coming.write_text("\n".join(lines) + "\n")
    coming.rename(file)


@contextmanager
def serving(
    setup: Setup,
    part: str = "gateway",
    *options: str,
    before: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    names: Mapping[str, str] | None = None,
) -> Iterator[GatewayProcess]:
    """`stella serve PART` until it answers; stopped by its pid at the end.

    Args:
        before: a command that starts it, such as `unshare`.
        tls, names: how to ask it, see `GatewayProcess`.
    """
    port = free_port()
    setup.place.mkdir(parents=True, exist_ok=True)
    command = "from stellaops.cli.start import main; main()"
    with (setup.place / "out.log").open("ab") as out, (setup.place / "err.log").open("ab") as err:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", command, "serve", part, "--port", str(port), *options],
            env=setup.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
    found = GatewayProcess(process, port, setup.place, tls, names)
    try:
        until(lambda: _answers(found), 60)
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def follow(gateway: GatewayProcess, user: str, key: PublicKey) -> str:
    """Read as a client does: index, manifest, bundle, signature; each has to be what the one before said.

    Returns:
        the export id.
    """
    (entry,) = gateway.ask("/concelier/exports/index.json", user).json["domains"]
    found = {}
    for name in ("manifest", "bundle"):
        reply = gateway.ask(f"/concelier/exports/{entry[name]['path']}", user)
        assert reply.status == 200, reply
        assert digests.sha256(reply.body) == entry[name]["digest"], name
        signature = gateway.ask(f"/concelier/exports/{entry[name]['path']}.sig", user)
        cosign_blob.verify(signature.body, hashlib.sha256(reply.body).digest(), key)
        found[name] = reply.json
    assert found["manifest"]["exportId"] == found["bundle"]["exportId"] == entry["exportId"]
    return str(entry["exportId"])


def until(holds: Any, seconds: float = 15.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


def _answers(found: GatewayProcess) -> bool:
    assert found.process.poll() is None, found.log()
    try:
        return found.ask("/healthz").status == 200
    except OSError:
        return False
