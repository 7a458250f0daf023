"""A published mirror in each of the places that mirror hosts sync from, on real servers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_copy, open_source
from stellaops.adapters.settings.load import Settings, load
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.domain import SIDES, Side
from stellaops.mirrors.ports import Bucket
from stellaops.mirrors.publish import publish
from stellaops.mirrors.sync import Synced, SyncTools, Trusted, Wish, sync
from stellaops.mirrors.sync_ports import TreeSource
from tests.support import gateways, registry, s3, tools
from tests.support.api import free_port
from tests.support.gateways import PASSWORD, Setup
from tests.support.object_places import key_file
from tests.support.publishing import Publisher

NEAR = EgressPolicy(private=(IPv4Network("127.0.0.0/8"),), plain_hosts=frozenset({"127.0.0.1"}))
WEB = WebSettings(NEAR, connect_seconds=5.0)
DOMAINS = ("community", "primary")
KINDS = ("directory", "http", "bucket", "registry", "share")


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Origin:
    """Where a publisher's mirror can be synced from.

    Attributes:
        login: user and password that the place asks for; None where it asks for none.
        seen: waits until readers of the place see what was published.
    """

    address: str
    publisher: Publisher
    place: Path
    values: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    copy: Bucket | None = None
    seen: Callable[[], None] = lambda: None

    def publish(self) -> None:
        """Publish, and have it where readers look."""
        publish(self.publisher.root, self.publisher.local.publish_tools, [self.copy] if self.copy else [])
        self.seen()

    def settings(self) -> Settings:
        return load({"dataDir": str(self.place / "none"), **self.values}, {})

    def open(self, password: str | None = None, address: str = "") -> TreeSource:
        """The source, with its own login or with another password."""
        return open_source(address or self.address, self.settings(), WEB, clock, self.login_file(password))

    def login_file(self, password: str | None = None) -> Authentication | None:
        if self.login is None:
            return None
        file = self.place / "login"
        user, own = self.login
        file.write_text(f"{user}:{password or own}\n", encoding="utf-8")
        return Authentication("basic", str(file))


def brought(source: TreeSource, into: Path, publisher: Publisher, **more: object) -> tuple[Synced, ...]:
    """One sync of both sides."""
    key = publisher.key()
    tools_ = SyncTools(
        source, MirrorDirectory(into), Trusted({key.key_id: key}), clock, lambda _: time.sleep(0.1)
    )
    return sync(Wish(SIDES, **more), tools_)  # type: ignore[arg-type]


@contextmanager
def origin(
    kind: str, publisher: Publisher, place: Path, variables: Mapping[str, str] | None = None
) -> Iterator[Origin]:
    """A place of a kind that has the publisher's mirror, as it was published last.

    Args:
        variables: settings of a gateway, where the place has one.
    """
    place.mkdir(parents=True, exist_ok=True)
    with (
        _http(publisher, place, variables or {}) if kind == "http" else _MADE[kind](publisher, place) as made
    ):
        made.publish()
        yield made


@contextmanager
def _directory(publisher: Publisher, place: Path) -> Iterator[Origin]:
    yield Origin(str(publisher.root.root), publisher, place)


@contextmanager
def _http(publisher: Publisher, place: Path, variables: Mapping[str, str]) -> Iterator[Origin]:
    for domain in DOMAINS:
        gateways.write_users(place / f"mirror-{domain}.htpasswd", {"edge": PASSWORD})
    with gateways.serving(Setup(publisher.root.root, place, dict(variables))) as gateway:
        made = Origin(gateway.url, publisher, place, login=("edge", PASSWORD))

        def is_shown(side: Side, path: str) -> bool:
            shown = gateway.ask(f"/{side}/{path}", "edge").json
            told = shown["domains"][0] if side == "concelier" else shown
            return bool(told["exportId"] == publisher.id_of(side))

        def seen() -> None:
            # A gateway may look at its trees, and at what it has in memory of them, only now and then.
            gateways.until(partial(is_shown, "concelier", "exports/index.json"))
            gateways.until(partial(is_shown, "excititor", "mirror/primary/index"))
            time.sleep(1.1)

        made.seen = seen
        yield made


@contextmanager
def _bucket(publisher: Publisher, place: Path) -> Iterator[Origin]:
    (place / "weed").mkdir()
    with s3.serving(place / "weed") as server:
        base, _, name = server.url.rstrip("/").rpartition("/")
        made = Origin(f"s3://{name}/mirrors", publisher, place)
        made.values = {
            "mirror.endpoint": base,
            "mirror.region": "us-east-1",
            "mirror.keyFile": str(key_file(place, server)),
        }
        made.copy = open_copy(made.address, made.settings(), WEB, clock)
        yield made


@contextmanager
def _registry(publisher: Publisher, place: Path) -> Iterator[Origin]:
    with registry.serving(place / "registry", users={"edge": PASSWORD}) as server:
        made = Origin(f"oci://{server.host}/stella/mirror", publisher, place, login=("edge", PASSWORD))
        made.values = {"mirror.dockerConfigFile": str(server.logins(place / "config.json"))}
        made.copy = open_copy(made.address, made.settings(), WEB, clock)
        yield made


@contextmanager
def _share(publisher: Publisher, place: Path) -> Iterator[Origin]:
    program = tools.require("rsync")
    with pytest.MonkeyPatch.context() as patch, daemon(publisher.root.root, place) as port:
        patch.setenv("PATH", str(program.parent), prepend=":")
        yield Origin(f"rsync://127.0.0.1:{port}/mirror", publisher, place, login=("edge", PASSWORD))


@contextmanager
def daemon(root: Path, place: Path) -> Iterator[int]:
    """The stock rsync as a daemon that lets `edge` read a directory, on a free port; stopped by its process id."""
    program, port = tools.require("rsync"), free_port()
    secrets = place / "rsyncd.secrets"
    secrets.write_text(f"edge:{PASSWORD}\n", encoding="utf-8")
    secrets.chmod(0o600)
    # A daemon that root starts would read as nobody, who cannot reach the tests' own directories.
    (place / "rsyncd.conf").write_text(
        f"reverse lookup = no\nuid = {os.getuid()}\ngid = {os.getgid()}\nuse chroot = no\n"
        f"address = 127.0.0.1\nport = {port}\nlog file = {place}/rsyncd.log\n"
        f"[mirror]\npath = {root}\nread only = yes\nauth users = edge\nsecrets file = {secrets}\n",
        encoding="utf-8",
    )
    command = [str(program), "--daemon", "--no-detach", f"--config={place / 'rsyncd.conf'}"]
    with ExitStack() as stack:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        gateways.until(lambda: _answers(port))
        yield port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(8) == b"@RSYNCD:"
    except OSError:
        return False


_MADE = {"directory": _directory, "bucket": _bucket, "registry": _registry, "share": _share}
