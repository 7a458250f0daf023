"""The overlay with nginx as plain processes: what nginx answers from its cache is counted, and its log rotated."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stellaops.adapters.settings.mirrors import read_mirror_host
from stellaops.gateway.nginx.rendering import Proxy, render
from tests.support import nginx
from tests.support.compose_processes import PROGRAMS, Stack, may_be_others, stack
from tests.support.deploy import edit, given_to, mirror_host
from tests.support.gateways import GatewayProcess, until
from tests.support.mirror_tree import MirrorTree

MANIFEST = "/concelier/exports/mirror/primary/manifest.json"
NAMES = {"primary": "mirror-primary.example.org", "community": "mirror-community.example.org"}


@dataclass
class World:
    """nginx as readers reach it, and what it asks."""

    services: Stack
    front: GatewayProcess
    access: GatewayProcess

    @property
    def logs(self) -> Path:
        return self.services.here("mirror-gateway", "/var/log/mirror")

    def counted(self, cache: str) -> float:
        return self.access.metric("mirror_requests_total", domain="primary", cache=cache)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="nginx-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o755)
        tree = MirrorTree(place / "mirrors")
        tree.publish()
        made = mirror_host(place, place / "mirrors", b"")
        edit(made / "env/mirror.env", MIRROR_CACHE=str(place / "cache"), MIRROR_NETWORK="127.0.0.0/8")
        for each in ("cache", "running", "bin"):
            (place / each).mkdir()
        (place / "bin/nginx").symlink_to(nginx.program())
        if may_be_others():
            for each in ("cache", "compose/mirror-gateway", "mirrors"):
                given_to(place / each, 10001)
        with stack(made, place / "running", "nginx") as services:
            services.programs = f"{place / 'bin'}:{PROGRAMS}"
            yield _started(services, made)


def _started(services: Stack, made: Path) -> World:
    for name in ("concelier", "excititor", "mirror-access"):
        services.start(name)
    for name in ("concelier", "excititor", "mirror-access"):
        services.until_healthy(name)
    _render(services, made)
    services.wire["services"]["mirror-gateway"]["command"][2] = "1"  # MiB of its log
    services.start("mirror-gateway")
    port = services.port("mirror-gateway", 8443)
    process, access = services._processes["mirror-gateway"], services._processes["mirror-access"]
    unchecked = ssl._create_unverified_context()  # noqa: S323 - of certificates that the test has made
    front = GatewayProcess(process, port, services.root, unchecked, NAMES)
    until(lambda: _answers(front, services), 30)
    return World(services, front, GatewayProcess(access, services.port("mirror-access", 8080), services.root))


def _answers(front: GatewayProcess, services: Stack) -> bool:
    assert front.process.poll() is None, services.log("mirror-gateway")
    try:
        return front.ask("/nothing").status in (401, 404)
    except OSError:
        return False


def _render(services: Stack, made: Path) -> None:
    """nginx's configuration, as the head of the overlay says, for the places and ports of this machine."""
    tls = made / "mirror-gateway/tls"
    settings = read_mirror_host({}, services.environment("mirror-access") | {"GATEWAY__TLSDIR": str(tls)})
    gateway, concelier, excititor = (
        f"http://127.0.0.1:{services.port(name, 8080)}"
        for name in ("mirror-access", "concelier", "excititor")
    )
    cache, run = (services.here("mirror-gateway", path) for path in ("/var/cache/nginx", "/var/run/nginx"))
    listen = f"127.0.0.1:{services.port('mirror-gateway', 8443)}"
    text = render(settings, Proxy(gateway, concelier, excititor, listen, cache, run))
    file = made / "mirror-gateway/nginx/nginx.conf"
    file.write_text(text)
    file.chmod(0o644)


def test_what_nginx_answers_from_its_cache_is_counted_as_that(world: World) -> None:
    told = [world.front.ask(MANIFEST, "edge").headers.get("x-cache-status") for _ in range(5)]
    assert told == ["MISS", "HIT", "HIT", "HIT", "HIT"]
    until(lambda: (world.counted("HIT"), world.counted("MISS")) == (4, 1))
    assert world.counted("PROXY") == 0
    until(lambda: world.services.log("mirror-gateway").count('"cacheStatus":"HIT"') == 4)
    assert (world.logs / "access.log").stat().st_size > 0


def test_a_log_that_grows_is_rotated_and_each_request_still_counts_once(world: World) -> None:
    log, before = world.logs / "access.log", world.counted("HIT")
    world.front.ask(MANIFEST, "edge")
    with log.open("ab") as file:
        file.write((b"x" * 70_000 + b"\n") * 20)
    until((world.logs / "access.log.1").exists)
    for _ in range(3):
        assert world.front.ask(MANIFEST, "edge").status == 200
    until(lambda: world.counted("HIT") == before + 4)
    until(lambda: 0 < log.stat().st_size < 10_000)


def test_whatever_was_started_beside_nginx_ends_with_it(world: World) -> None:
    def beside() -> list[str]:
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = each.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(world.logs) in words and int(each.parent.name) != os.getpid():
                found.append(words)
        return found

    assert beside(), "the log is told to the engine"
    world.front.process.terminate()
    world.front.process.wait(20)
    until(lambda: not beside())
