"""The configuration that we write, in a real nginx: what only a proxy has, such as its cache, log and certificates.

What readers see is judged by `test_mirror_gateway.py`, in front of nginx as in front of the gateway alone.
"""

from __future__ import annotations

import functools
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.certificates import certify
from tests.support.fronts import FORMS, NAMES, Form, Front, front
from tests.support.gateways import GatewayProcess, Setup, basic, serving, until, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.nginx import KEPT_SECONDS, program, rendered

STABLE = "/concelier/exports/mirror/primary/manifest.json"
LIMIT = 120


@contextmanager
def _world(form: Form, place: Path) -> Iterator[Front]:
    program(lua=form.lua)
    tree = MirrorTree(place / "mirror")
    tree.publish(files={"big.bin": os.urandom(3_000_000)})
    if time.time() % 3600 > 3500:  # budgets are those of one hour
        time.sleep(3600 - time.time() % 3600)
    limit = {"CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": str(LIMIT)}
    with front(form, place, tree, limit) as found:
        yield found


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Front]]:
    """Each form is begun once, when it is first asked for."""
    with ExitStack() as stack:

        @functools.cache
        def begun(name: str) -> Front:
            return stack.enter_context(_world(FORMS[name], tmp_path_factory.mktemp("nginx")))

        yield begun


@pytest.fixture(params=["nginx over TLS", "nginx with Lua"])
def world(request: pytest.FixtureRequest, worlds: Callable[[str], Front]) -> Front:
    """Each of both ways in which nginx hears who may have what."""
    return worlds(request.param)


@pytest.fixture
def secured(worlds: Callable[[str], Front]) -> Front:
    return worlds("nginx over TLS")


def _judged(world: Front) -> None:
    """nginx itself and a linter find nothing wrong with a configuration."""
    assert world.proxy is not None
    checked = world.proxy.run("-t")
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr, checked.stderr
    linter = tools.find("gixy")
    if linter is None:
        tools.missing("gixy is not here: install the wheel gixy-next")
    command = [str(linter), "-l", str(world.proxy.config)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_nginx_itself_and_a_linter_find_nothing_wrong(world: Front) -> None:
    _judged(world)


def test_what_is_kept_is_for_its_audience_alone(world: Front) -> None:
    path = f"/concelier/exports/{world.tree.ids['concelier']}/mirror/primary/bundle.json"
    first, second = (world.outside.ask(path, "edge") for _ in range(2))
    assert [each.headers["x-cache-status"] for each in (first, second)] == ["MISS", "HIT"]
    assert first.body == second.body == world.back_ends["concelier"].ask(path, "edge").body
    assert world.outside.ask(path).status == 401
    assert world.outside.ask(path, "comm").status == 401
    assert world.outside.ask(path, "edge", password="wrong").status == 401  # noqa: S106 - not one
    packed = world.outside.ask(path, "edge", headers={"Accept-Encoding": "gzip, zstd"})
    assert packed.headers["content-encoding"] == "zstd"
    assert packed.headers["etag"] != first.headers["etag"]


def test_an_index_shows_each_reader_its_own(world: Front) -> None:
    for user, domain in (("edge", "primary"), ("comm", "community"), ("edge", "primary")):
        asked = {"Host": NAMES[domain]} if world.form.tls else {}
        index = world.outside.ask("/concelier/exports/index.json", user, headers=asked)
        assert [each["id"] for each in index.json["domains"]] == [domain]


@pytest.mark.parametrize(
    "path", ["/metrics", "/_stella/authorize", "/_stella/exchange", "/_authorize", "/readyz"]
)
def test_what_the_gateway_keeps_for_its_own_is_not_to_be_had_through_nginx(world: Front, path: str) -> None:
    asked = {"X-Original-URI": STABLE, "X-Stella-Lend": "1", "X-Stella-Return": "1 1 download/primary/edge"}
    reply = world.outside.ask(path, "edge", headers=asked)
    assert reply.status == 404
    assert b"mirror_requests_total" not in reply.body
    assert "x-stella-state" not in reply.headers


def test_a_request_that_was_sent_on_is_no_proxys_own(world: Front) -> None:
    gateway = world.gateway
    assert gateway.ask("/_stella/exchange").headers["x-stella-state"]
    for name in ("X-Forwarded-For", "Forwarded", "Via"):
        assert gateway.ask("/_stella/exchange", headers={name: "1.1 edge"}).status == 404
    assert gateway.ask("/_stella/exchange", headers={"X-Stella-Return": "1 x y"}).status == 400


def _statuses(world: Front, user: str, number: int) -> list[int]:
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda _: world.outside.ask(STABLE, user).status, range(number)))


def test_budgets_are_exact_though_the_cache_answers(world: Front) -> None:
    before = world.gateway.metric("mirror_quota_rejections_total", domain="primary")
    told = _statuses(world, "few", 100)
    time.sleep(2.5)  # what nginx was lent and has not used is given back
    told += _statuses(world, "few", 60)
    for wrong in ("/concelier/exports/mirror/primary/none.json", STABLE):
        world.outside.ask(wrong, "few", password="wrong")  # noqa: S106 - not one
    assert told.count(200) == LIMIT
    refused = world.outside.ask(STABLE, "few")
    assert (refused.status, refused.json["code"]) == (429, "ERR_MIRROR_QUOTA")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit-limit"] == str(LIMIT)
    assert world.outside.ask(STABLE, "edge").status == 200
    until(lambda: world.gateway.metric("mirror_quota_rejections_total", domain="primary") == before + 41)


def test_what_is_not_there_costs_nothing_and_parts_of_a_file_count_once(world: Front) -> None:
    def left() -> int:
        return int(world.outside.ask(STABLE, "parts").headers["ratelimit-remaining"])

    begin = left()
    assert world.outside.ask("/concelier/exports/mirror/primary/none.json", "parts").status == 404
    assert left() == begin - 1
    big, export = "mirror/primary/big.bin", world.tree.ids["concelier"]
    for path in (f"/concelier/exports/{big}", f"/concelier/exports/{export}/{big}"):
        for at in range(5):
            part = world.outside.ask(path, "parts", headers={"Range": f"bytes={at}-{at + 9}"})
            assert (part.status, len(part.body)) == (206, 10)
    beyond = world.outside.ask(f"/concelier/exports/{big}", "parts", headers={"Range": "bytes=9000000-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */3000000")
    # The two names are of one file, and its parts count once; so do the three looks.
    assert left() == begin - 3


def test_the_log_is_counted_once_through_rotation_and_restarts(world: Front) -> None:
    log = world.outside.place / "access.log"

    def counted() -> float:
        return world.gateway.metric("mirror_requests_total", domain="community", **{"class": "index"})

    path = "/excititor/mirror/community/index"
    before = counted()
    for _ in range(5):
        world.outside.ask(path, "comm")
    log.rename(log.with_name("access.log.1"))
    assert world.proxy is not None
    assert world.proxy.run("-s", "reopen").returncode == 0
    until(log.exists)
    for _ in range(5):
        world.outside.ask(path, "comm")
    until(lambda: counted() >= before + 10)
    time.sleep(1.5)
    assert counted() == before + 10


def test_a_reload_drops_no_budget_and_no_password_is_kept(world: Front) -> None:
    assert world.proxy is not None
    before = int(world.outside.ask(STABLE, "edge").headers["ratelimit-remaining"])
    assert world.proxy.run("-s", "reload").returncode == 0
    time.sleep(0.5)
    until(lambda: world.outside.ask(STABLE, "edge").status == 200)
    assert int(world.outside.ask(STABLE, "edge").headers["ratelimit-remaining"]) < before
    until(lambda: any(each["credential"] == "edge" for each in world.accesses()))
    written = b"".join(path.read_bytes() for path in world.outside.place.rglob("*") if path.is_file())
    assert b"Y29ycmVjdC1ob3JzZQ" not in written
    assert b"Basic ZWRn" not in written
    assert basic("edge").encode() not in written


def test_a_password_that_is_taken_away_opens_nothing_soon_afterwards(world: Front) -> None:
    file = world.users / "mirror-community.htpasswd"
    path = "/concelier/exports/mirror/community/manifest.json"
    assert [world.outside.ask(path, "comm").status for _ in range(3)] == [200, 200, 200]
    write_users(file, {"fresh": "correct-horse"})
    until(lambda: world.outside.ask(path, "comm").status == 401, 6)
    until(lambda: world.outside.ask(path, "fresh").status == 200, 6)
    write_users(file, {"comm": "correct-horse"})
    until(lambda: world.outside.ask(path, "comm").status == 200, 8)


def test_slow_and_silent_clients_keep_nobody_else_out(world: Front) -> None:
    silent = [HTTPConnection("127.0.0.1", world.outside.port, timeout=5) for _ in range(100)]
    for each in silent:
        each.connect()
        each.sock.sendall(b"GET /concelier/exports/index.json HTTP/1.1\r\nHost: a\r\nX: ")
    try:
        assert world.outside.ask(STABLE, "edge").status == 200
    finally:
        for each in silent:
            each.close()


# Over TLS


def test_the_form_for_tls_is_judged_too(secured: Front) -> None:
    _judged(secured)
    reply = secured.outside.ask(STABLE, "edge")
    assert reply.headers["strict-transport-security"] == "max-age=31536000"
    assert secured.outside.ask(STABLE).headers["strict-transport-security"] == "max-age=31536000"


def _certificate(world: Front, name: str | None) -> bytes:
    """The certificate that is shown for a host name."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection("127.0.0.1", world.outside.port, context=client, timeout=10)
    connection.sock = client.wrap_socket(
        socket.create_connection(("127.0.0.1", world.outside.port)), server_hostname=name
    )
    try:
        return connection.sock.getpeercert(True) or b""
    finally:
        connection.close()


def test_each_name_has_its_own_certificate_and_others_are_turned_away(secured: Front) -> None:
    shown = {domain: _certificate(secured, name) for domain, name in NAMES.items()}
    for domain, certificate in shown.items():
        file = (secured.users / f"mirror-{domain}.crt").read_text()
        assert ssl.PEM_cert_to_DER_cert(file) == certificate
    for name in ("elsewhere.example.org", None):
        with pytest.raises(ssl.SSLError):
            _certificate(secured, name)


@pytest.mark.parametrize("path", ["/", "/index.html", "/healthz", STABLE])
def test_a_good_handshake_gives_nothing_of_a_host_that_no_domain_has(secured: Front, path: str) -> None:
    for host in ("evil.example.org", "127.0.0.1"):
        reply = secured.outside.ask(path, "edge", headers={"Host": host})
        assert (reply.status, reply.headers["cache-control"]) == (421, "no-store")
        assert b"Welcome" not in reply.body


def test_without_tls_a_host_that_no_domain_has_gets_no_file_of_nginx(worlds: Callable[[str], Front]) -> None:
    plain = worlds("nginx with Lua").outside
    for path in ("/", "/index.html", "/50x.html"):
        reply = plain.ask(path, headers={"Host": "evil.example.org"})
        assert (reply.status, reply.json["code"]) == (404, "ERR_MIRROR_NOT_FOUND")
    assert plain.ask(STABLE, headers={"Host": "evil.example.org"}).status == 401


def test_a_renewed_certificate_is_shown_after_a_reload_and_downloads_under_way_go_on(secured: Front) -> None:
    name, path = NAMES["primary"], "/concelier/exports/mirror/primary/big.bin"
    assert secured.outside.tls is not None
    before = _certificate(secured, name)
    context = secured.outside.tls
    begun = context.wrap_socket(
        socket.create_connection(("127.0.0.1", secured.outside.port)), server_hostname=name
    )
    with begun:
        head = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nAuthorization: {basic('edge')}\r\nConnection: close\r\n\r\n"
        begun.sendall(head.encode())
        came = begun.recv(1000)
        renewed = ssl.create_default_context(cafile=str(certify(secured.users, "mirror-primary", name, 77)))
        renewed.load_verify_locations(secured.users / "mirror-community.crt")
        assert secured.proxy is not None
        assert secured.proxy.run("-s", "reload").returncode == 0
        until(lambda: _certificate(secured, name) != before)
        while piece := begun.recv(65536):
            came += piece
    assert len(came.partition(b"\r\n\r\n")[2]) == 3_000_000
    secured.outside.tls = renewed
    assert secured.outside.ask(STABLE, "edge").status == 200


# A domain that is open to all


def test_an_open_domain_is_closed_for_everybody_soon_after_its_settings_say_so(secured: Front) -> None:
    """The gateway is not asked about each request then, and what it has said is forgotten within seconds."""
    path, processes = "/excititor/mirror/community/index", (secured.gateway, *secured.back_ends.values())

    def ask_for_credentials(asks: str) -> None:
        rules = f"{{Mirror: {{Domains: [{{Id: community, RequireAuthentication: {asks}}}]}}}}"
        for process in processes:
            (process.place / "config.yaml").write_text(f"Concelier: {rules}\nExcititor: {rules}\n")

    def counted() -> float:
        return secured.gateway.metric("mirror_requests_total", domain="community", status="200")

    assert secured.outside.ask(path).status == 401
    ask_for_credentials("false")
    until(lambda: secured.outside.ask(path).status == 200, 5)
    before = counted()
    assert [secured.outside.ask(path).status for _ in range(20)] == [200] * 20
    assert secured.outside.ask(path, "comm", password="wrong").status == 200  # noqa: S106 - nobody looks at it
    until(lambda: counted() >= before + 20)
    ask_for_credentials("true")
    until(lambda: secured.outside.ask(path).status == 401, 8)
    assert secured.outside.ask(path, "comm").status == 200


# At the end: what is begun here ends


def test_what_is_kept_is_served_on_when_a_back_end_is_gone(world: Front) -> None:
    path = "/excititor/mirror/primary/index"
    assert world.outside.ask(path, "edge").status == 200
    assert world.outside.ask(STABLE, "edge").status == 200
    _ended(world.back_ends["concelier"])
    time.sleep(KEPT_SECONDS + 1.5)
    kept = world.outside.ask(STABLE, "edge")
    assert (kept.status, kept.headers["x-cache-status"]) == (200, "STALE")
    gone = world.outside.ask("/concelier/exports/mirror/community/bundle.json", "comm")
    assert (gone.status, gone.json["code"]) == (503, "ERR_MIRROR_NOT_READY")
    assert world.outside.ask(STABLE).status == 401
    _ended(world.gateway)
    # Whom the gateway has let in a moment ago nginx with Lua still knows; nobody else is let in.
    assert world.outside.ask(path, "late").status == 503
    assert world.outside.ask("/excititor/mirror/primary/exports/consensus-json", "edge").status == 503
    assert world.form.lua or world.outside.ask(path, "edge").status == 503


def _ended(process: GatewayProcess) -> None:
    process.process.terminate()
    process.process.wait(20)


@pytest.mark.slow
def test_budgets_are_exact_over_two_nginxes_and_two_processes_of_the_gateway(tmp_path: Path) -> None:
    program(lua=True)
    tree, limit = MirrorTree(tmp_path / "mirror", ("primary",)), 1500
    tree.publish()
    write_users(tmp_path / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    common = {
        "GATEWAY__SECRETSDIR": str(tmp_path),
        "GATEWAY__TRUSTEDPROXIES": "127.0.0.0/8",
        "CONCELIER__MIRROR__DOMAINS__1__ID": "",
    }
    budget = {"CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": str(limit)}
    setup = Setup(tree.root, tmp_path / "gateway", common | budget)
    if time.time() % 3600 > 3400:
        time.sleep(3600 - time.time() % 3600)
    with ExitStack() as stack:
        back_end = stack.enter_context(serving(Setup(tree.root, tmp_path / "side", common), "concelier"))
        gateway = stack.enter_context(serving(setup, "gateway", "--processes", "2"))
        proxies = [
            rendered(setup, tmp_path / name, gateway.url, back_end.url, back_end.url, lua=True)
            for name in ("one", "two")
        ]
        fronts = [stack.enter_context(each.serving()) for each in proxies]

        def ask(number: int) -> int:
            file = ("manifest.json", "bundle.json")[number // 2 % 2]
            return fronts[number % 2].ask(f"/concelier/exports/mirror/primary/{file}", "edge").status

        told: list[int] = []
        with ThreadPoolExecutor(8) as pool:
            for part in range(3):
                told += pool.map(ask, range(700))
                if part == 0:
                    assert proxies[0].run("-s", "reload").returncode == 0
                time.sleep(3)  # what one nginx was lent and has not used comes back to the other
        assert (told.count(200), told.count(429)) == (limit, 2100 - limit)
