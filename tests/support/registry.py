"""A real OCI registry (Debian's docker-registry) on this machine, plain or with TLS and a login."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.targets import oci
from stellaops.adapters.targets.context import TargetContext
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy
from stellaops.exports.distribution.ports import Delivery, Target
from stellaops.signing import ecdsa_p256
from stellaops.signing.interface import Signer
from tests.support import tools
from tests.support.targets import TENANT

_PATIENCE = 30
LOCAL = EgressPolicy(private=(IPv4Network("127.0.0.0/8"),), plain_hosts=frozenset({"127.0.0.1", "localhost"}))


@dataclass
class Registry:
    """A running registry.

    Attributes:
        host: `127.0.0.1:PORT`.
        storage: where it keeps blobs; it stays when the registry is started again.
        ca_file: certificate of its TLS, where it has some.
        users: names and passwords that it knows, where it asks for a login.
    """

    host: str
    directory: Path
    storage: Path
    ca_file: Path | None = None
    users: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self.ca_file else 'http'}://{self.host}"

    def start(self) -> None:
        """Start it, on the port that it had."""
        log = (self.directory / "registry.log").open("ab")
        command = [str(tools.require("docker-registry")), "serve", str(self.directory / "config.yml")]
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"PATH": "", "OTEL_TRACES_EXPORTER": "none"}
        )
        log.close()
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("")
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
            else:
                return
        tools.missing(
            f"docker-registry does not start: {(self.directory / 'registry.log').read_text()[-800:]}"
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def know(self, users: Mapping[str, str]) -> None:
        """Have exactly these logins; the registry reads them again by itself."""
        self.users = dict(users)
        lines = [
            f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n"
            for name, word in users.items()
        ]
        (self.directory / "htpasswd.new").write_text("".join(lines), encoding="utf-8")
        (self.directory / "htpasswd.new").replace(self.directory / "htpasswd")

    def logins(self, file: Path, user: str | None = None) -> Path:
        """Write a login as docker does."""
        name = user or next(iter(self.users))
        auth = base64.b64encode(f"{name}:{self.users.get(name, '')}".encode()).decode()
        file.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}), encoding="utf-8")
        return file

    def get(self, path: str, **headers: str) -> tuple[bytes, Mapping[str, str]]:
        """Ask it for something below `/v2/`, with its first login."""
        request = urllib.request.Request(f"{self.url}/v2/{path}", headers=headers)  # noqa: S310
        for name, word in list(self.users.items())[:1]:
            request.add_header(
                "Authorization", f"Basic {base64.b64encode(f'{name}:{word}'.encode()).decode()}"
            )
        context = None if self.ca_file is None else ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
            return answer.read(), dict(answer.headers)

    def tags(self, repository: str) -> set[str]:
        """The tags of a repository."""
        try:
            found: Any = json.loads(self.get(f"{repository}/tags/list")[0])
        except urllib.error.HTTPError:
            return set()
        return set(found["tags"] or ())


@contextmanager
def serving(
    directory: Path, *, tls: bool = False, users: Mapping[str, str] = {}, auth: Mapping[str, Any] = {}
) -> Iterator[Registry]:
    """A registry, stopped by its process id.

    Args:
        auth: the section of its configuration, where it is another than a file of users.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    registry = Registry(host, directory, directory / "storage")
    http: dict[str, Any] = {"addr": host, "secret": secrets.token_hex(16)}
    if tls:
        registry.ca_file = certificate(directory)
        http["tls"] = {"certificate": str(registry.ca_file), "key": str(directory / "tls.key")}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry.storage)}, "delete": {"enabled": True}},
        "http": http,
    }
    if users:
        registry.know(users)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    if auth:
        config["auth"] = dict(auth)
    (directory / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    registry.start()
    try:
        yield registry
    finally:
        registry.kill()


def certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in `tls.key` beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.PrivateFormat.PKCS8
    plain = key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())
    (directory / "tls.key").write_bytes(plain)
    (directory / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return directory / "tls.crt"


class OneKey:
    """`exports.ports.Keys` with one key.

    Args:
        file: where it is kept, for other processes; made where it is not there.
    """

    def __init__(self, file: Path | None = None) -> None:
        made = ecdsa_p256.generate()
        if file is not None and file.exists():
            made = ecdsa_p256.load_private_key(file.read_bytes(), None)
        elif file is not None:
            file.write_bytes(made.to_pem(None))
        self.key: Signer = made
        self.revoked: frozenset[str] = frozenset()
        self.former: tuple[bytes, ...] = ()

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        del tenant
        return self.key

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        del tenant
        return (self.key.public_key_pem(), *self.former), self.revoked

    def rotate(self) -> None:
        """Another key signs; the one before is still trusted."""
        self.former = (self.key.public_key_pem(), *self.former)
        self.key = ecdsa_p256.generate()


@dataclass
class OciPlace:
    """`tests.support.targets.Place` at a registry."""

    registry: Registry
    scratch: Path
    keys: Any = field(default_factory=OneKey)
    tenant: str = TENANT
    path: str = ""
    host: str = ""
    logins: Path | None = None
    read_seconds: float = 20.0
    plain: bool | None = None
    points: bool = True
    removes: bool = True

    def __post_init__(self) -> None:
        self.path = self.path or f"t{secrets.token_hex(4)}/{self.tenant}"

    def open(self) -> Target:
        """See the protocol."""
        host = self.host or self.registry.host
        plain = self.registry.ca_file is None if self.plain is None else self.plain
        values = {"repository": f"{host}/{self.path}", "plainHttp": str(plain)}
        if self.registry.ca_file is not None:
            values["caFile"] = str(self.registry.ca_file)
        if self.logins is not None:
            values["dockerConfigFile"] = str(self.logins)
        web = WebSettings(LOCAL, connect_seconds=5.0, read_seconds=self.read_seconds)
        context = TargetContext(
            tenant=self.tenant,
            web=web,
            artefacts=None,  # type: ignore[arg-type]  # the driver does not ask for it
            keys=self.keys,
            scratch=self.scratch,
            now=lambda: datetime.now(UTC),
        )
        return oci.open_target("oci", TargetSettings("oci", "oci", values), context)

    def prepare(self, delivery: Delivery) -> None:
        """Nothing has to be there."""


def run(
    program: str, *words: str | Path, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Run a stock tool with an environment of its own."""
    command: Sequence[str] = [str(tools.require(program)), *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
    )
