"""A mirror host as operators run it: several processes, TLS by host name, rotation, tokens, nothing else in reach."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support import tools
from tests.support.api import api, free_port
from tests.support.api import serving as serving_api
from tests.support.certificates import certify
from tests.support.gateways import GatewayProcess, Setup, basic, serving, until, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.workers import Service

BIG = "/concelier/exports/mirror/primary/big.bin"
STABLE = "/concelier/exports/mirror/primary/manifest.json"
INDEX = "/concelier/exports/index.json"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> MirrorTree:
    made = MirrorTree(tmp_path_factory.mktemp("tree"))
    made.publish(files={"big.bin": os.urandom(20_000_000)})
    return made


def _setup(tree: MirrorTree, place: Path, **variables: str) -> Setup:
    place.mkdir(exist_ok=True)
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse", "other": "correct-horse"})
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    return Setup(tree.root, place, variables)


# Budgets


@pytest.fixture(scope="module")
def three(tree: MirrorTree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of three processes with budgets."""
    place = tmp_path_factory.mktemp("three")
    limits = {
        "CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "60",
        "CONCELIER__MIRROR__MAXINDEXREQUESTSPERHOUR": "25",
        "CONCELIER__MIRROR__DOMAINS__1__MAXINDEXREQUESTSPERHOUR": "7",
    }
    if time.time() % 3600 > 3540:
        time.sleep(3600 - time.time() % 3600)  # budgets are by the hour, and this takes a few seconds
    with serving(_setup(tree, place, **limits), "gateway", "--processes", "3") as gateway:
        yield gateway


def test_each_domain_has_a_budget_of_its_own_for_its_indexes(three: GatewayProcess) -> None:
    asked = {user: three.ask(f"/concelier/exports/freshness/{domain}.json", user).headers
             for user, domain in (("edge", "primary"), ("comm", "community"))}  # fmt: skip
    assert {user: each["ratelimit-limit"] for user, each in asked.items()} == {"edge": "25", "comm": "7"}
    (side,) = (each for name, each in three.ask("/.well-known/api-policy.json", "comm").json["sides"].items()
               if name == "concelier")  # fmt: skip
    assert [each["maxIndexRequestsPerHour"] for each in side["domains"] if each["id"] == "community"] == [7]


@pytest.mark.slow
def test_several_processes_together_give_exactly_the_budget(three: GatewayProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: three.ask(STABLE, "edge"), range(150)))
    allowed = [each for each in replies if each.status == 200]
    refused = [each for each in replies if each.status == 429]
    assert (len(allowed), len(refused)) == (60, 90)
    for each in refused:
        assert 0 < int(each.headers["retry-after"]) <= 3600
        assert each.headers["ratelimit-limit"] == "60"
        assert each.headers["ratelimit-remaining"] == "0"
        assert each.headers["cache-control"] == "no-store"
        assert each.json["code"] == "ERR_MIRROR_QUOTA"
    until(lambda: three.metric("mirror_quota_rejections_total", domain="primary") >= 90)
    assert three.ask(STABLE, "other").status == 200  # another credential has its own
    until(lambda: three.metric("mirror_requests_total", domain="primary", status="200") >= 61)


def test_indexes_have_a_budget_of_their_own_and_conditional_requests_count(three: GatewayProcess) -> None:
    first = three.ask(INDEX, "edge")
    told = [
        three.ask(INDEX, "edge", headers={"If-None-Match": first.headers["etag"]}).status for _ in range(30)
    ]
    assert (told.count(304), told.count(429)) == (24, 6)


def test_bad_credentials_burn_no_budget(three: GatewayProcess) -> None:
    for _ in range(5):
        assert three.ask(STABLE, "other", password="wrong").status == 401  # noqa: S106 - not one
    assert int(three.ask(STABLE, "other").headers["ratelimit-remaining"]) >= 50


def test_parts_of_one_file_count_once(three: GatewayProcess) -> None:
    path = BIG
    before = [three.ask(path, "other", headers={"Range": f"bytes={n}-{n}"}).status for n in range(100)]
    assert set(before) == {206}
    assert three.ask(STABLE, "other").status == 200


def test_a_process_that_dies_is_begun_again_and_connections_go_on(three: GatewayProcess) -> None:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(three.process.pid)], capture_output=True, check=True
    )
    child = int(listing.stdout.split()[0])
    os.kill(child, 9)
    until(lambda: "part.died" in three.log())
    assert all(three.ask("/healthz").status == 200 for _ in range(20))


# TLS


def _connected(port: int, host: str | None) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname=host
    )


def _shown(port: int, host: str | None) -> tuple[str, int]:
    """Name and serial number of the certificate that a server shows."""
    with _connected(port, host) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der)
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), found.serial_number


def test_each_host_name_shows_its_own_certificate_and_a_renewed_one_at_once(
    tree: MirrorTree, tmp_path: Path
) -> None:
    hosts = {name: f"mirror-{name}.example.org" for name in ("primary", "community")}
    for serial, (name, host) in enumerate(hosts.items(), 1):
        certify(tmp_path, f"mirror-{name}", host, serial)
    told = {f"GATEWAY__DOMAINS__{place}__ID": name for place, name in enumerate(hosts)}
    told |= {f"GATEWAY__DOMAINS__{place}__HOSTS": host for place, host in enumerate(hosts.values())}
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with serving(_setup(tree, tmp_path, GATEWAY__TLSDIR=str(tmp_path), **told), tls=client) as gateway:
        assert _shown(gateway.port, hosts["primary"]) == (hosts["primary"], 1)
        assert _shown(gateway.port, hosts["community"]) == (hosts["community"], 2)
        assert _shown(gateway.port, None)[1] in (1, 2)
        assert gateway.ask(STABLE, "edge", headers={"Host": hosts["primary"]}).status == 200
        with _connected(gateway.port, hosts["primary"]) as kept:
            certify(tmp_path, "mirror-primary", hosts["primary"], 77)
            gateway.reload()
            assert _shown(gateway.port, hosts["primary"]) == (hosts["primary"], 77)
            (tmp_path / "mirror-primary.crt").write_text("nothing")
            gateway.reload()
            assert "ERR_TLS_CERTIFICATE" in gateway.log()
            assert _shown(gateway.port, hosts["primary"]) == (hosts["primary"], 77)
            # A connection from before goes on.
            kept.sendall(f"GET /healthz HTTP/1.1\r\nHost: {hosts['primary']}\r\n\r\n".encode())
            assert b"200 OK" in kept.recv(4096)


def test_downloads_under_way_go_on_through_a_reload_and_through_the_end(
    tree: MirrorTree, tmp_path: Path
) -> None:
    with serving(_setup(tree, tmp_path)) as gateway:
        size = tree.place("concelier", "mirror/primary/big.bin").stat().st_size
        head = f"GET {BIG} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic('edge')}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(head.encode())
            got = len(connection.recv(65536))
            write_users(tmp_path / "mirror-primary.htpasswd", {"fresh": "correct-horse"})
            gateway.reload()
            gateway.process.terminate()
            while piece := connection.recv(1 << 20):
                got += len(piece)
        assert got > size
        assert gateway.process.wait(20) == 0


# Settings


def test_quotas_are_tuned_live(tree: MirrorTree, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    text = "Concelier: {{Mirror: {{Domains: [{{Id: primary, MaxDownloadRequestsPerHour: {0}}}]}}}}\n"
    config.write_text(text.format(2))
    with serving(_setup(tree, tmp_path)) as gateway:
        told = [gateway.ask(STABLE, "edge").status for _ in range(4)]
        assert told == [200, 200, 429, 429]
        config.write_text(text.format(3))
        gateway.reload()
        assert [gateway.ask(STABLE, "edge").status for _ in range(3)] == [200, 429, 429]
        config.write_text(text.format("many"))
        gateway.reload()
        assert "ERR_MIRROR_SETTINGS" in gateway.log()
        assert gateway.ask(STABLE, "edge").status == 429


def test_wrong_settings_are_told_before_anything_listens(tree: MirrorTree, tmp_path: Path) -> None:
    setup = _setup(tree, tmp_path, CONCELIER__MIRROR__EXPROTROOT="x", GATEWAY__TRUSTEDPROXIES="all")
    command = [
        sys.executable,
        "-c",
        "from stellaops.cli.start import main; main()",
        "serve",
        "gateway",
        "--port",
        "0",
    ]
    done = subprocess.run(command, env=setup.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "CONCELIER__MIRROR__EXPORTROOT meant?" in done.stderr
    assert "GATEWAY__TRUSTEDPROXIES" in done.stderr


# Nothing else in reach


@pytest.mark.slow  # test_mirror_whole_host.py has the quick form
@pytest.mark.parametrize(
    "part",
    [
        pytest.param("concelier", marks=pytest.mark.slow),
        pytest.param("excititor", marks=pytest.mark.slow),
        "gateway",
    ],
)
def test_a_host_needs_no_store_no_queue_no_key_and_writes_nothing(
    tree: MirrorTree, tmp_path: Path, part: str
) -> None:
    files = [path for path in tree.root.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    told = {
        "STELLA_DATA_DIR": "/proc/nowhere",
        "STELLA_STORE_SERVICE": "postgresql://nobody@127.0.0.1:1/none",
    }
    with serving(_setup(tree, tmp_path, **told), part) as gateway:
        assert "state_in_memory" in gateway.log()
        assert gateway.ask("/readyz").status == 200
        paths = {"concelier": STABLE, "excititor": "/excititor/mirror/primary/index"}
        wanted = paths if part == "gateway" else {part: paths[part]}
        for path in wanted.values():
            assert gateway.ask(path, "edge").status == 200
        opened = Path(f"/proc/{gateway.process.pid}/maps").read_text()
        assert "psycopg" not in opened
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.slow
def test_slow_clients_hold_nobody_up_and_are_let_go(tree: MirrorTree, tmp_path: Path) -> None:
    with serving(_setup(tree, tmp_path)) as gateway:
        slow = [socket.create_connection(("127.0.0.1", gateway.port), timeout=40) for _ in range(200)]
        try:
            for each in slow[:100]:
                each.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            request = f"GET {BIG} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic('edge')}\r\n\r\n"
            for each in slow[100:130]:
                each.sendall(request.encode())  # and never reads
            began = time.monotonic()
            assert gateway.ask(STABLE, "edge").status == 200
            assert time.monotonic() - began < 5
            ended: list[bytes] = []

            def wait(each: socket.socket) -> None:
                ended.append(each.recv(100))

            threads = [threading.Thread(target=wait, args=(each,)) for each in (slow[0], slow[150])]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert all(b" 408 " in answer for answer in ended)
            assert len(ended) == 2
            status = Path(f"/proc/{gateway.process.pid}/status").read_text()
            peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
            assert peak < 400_000  # KiB
        finally:
            for each in slow:
                each.close()


# Access tokens


@pytest.mark.slow
def test_access_tokens_of_an_authority_elsewhere_are_checked_by_its_keys(
    tree: MirrorTree, tmp_path: Path
) -> None:
    with api(tmp_path / "authority") as authority, serving_api(authority.service) as server:
        told = {
            "GATEWAY__AUTHORITY__URL": server.url,
            "CONCELIER__MIRROR__DOMAINS__0__TENANT": "acme",
        }
        with serving(_setup(tree, tmp_path, **told)) as gateway:

            def status(path: str, tenants: tuple[str, ...], scope: str) -> int:
                token = authority.token(tenants, (scope,))
                return gateway.ask(path, headers={"Authorization": f"Bearer {token}"}).status

            assert status(STABLE, ("acme",), "concelier.mirror.read") == 200
            assert status(STABLE, ("acme",), "excititor.mirror.read") == 403
            assert status(STABLE, ("default",), "concelier.mirror.read") == 403
            assert status(STABLE, ("*",), "concelier.mirror.read") == 200
            assert status("/excititor/mirror/primary/index", ("acme",), "excititor.mirror.read") == 200
            good = authority.token(("acme",), ("concelier.mirror.read",))
            forged = good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB")
            assert gateway.ask(STABLE, headers={"Authorization": f"Bearer {forged}"}).status == 401
            assert 'Bearer realm="primary"' in gateway.ask(STABLE).headers["www-authenticate"]
            assert good not in gateway.log()


def test_everything_on_one_machine_serves_the_mirrors_too(
    tree: MirrorTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, port = _setup(tree, tmp_path / "mirrors"), free_port()
    for name, value in setup.environment().items():
        if name.startswith(("CONCELIER__", "EXCITITOR__", "GATEWAY__")):
            monkeypatch.setenv(name, value)
    options = ("--workers", "0", "--mirror-port", str(port))
    with closing(Service(tmp_path / "service")) as service, serving_api(service, "all", *options) as server:
        mirrors = GatewayProcess(server.process, port, setup.place)

        def serves() -> bool:
            try:
                return mirrors.ask(STABLE, "edge").status == 200
            except OSError:
                return False

        until(serves, 60)
        assert mirrors.ask(STABLE).status == 401
        # What is changed is taken when the service is told so, and the API goes on.
        write_users(setup.place / "mirror-primary.htpasswd", {"fresh": "correct-horse"})
        server.process.send_signal(signal.SIGHUP)
        until(lambda: mirrors.ask(STABLE, "fresh").status == 200)
        assert server.process.poll() is None
        until(lambda: f"Mirrors are served at 127.0.0.1:{port}" in server.log.read_text())
        assert server.stop() == 0


@pytest.mark.slow
def test_everything_but_the_mirrors_is_served_where_that_is_said(
    tree: MirrorTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("CONCELIER__MIRROR__EXPORTROOT", str(tree.root / "concelier"))
    options = ("--workers", "0", "--mirror-port", str(port), "--no-mirrors")
    with (
        closing(Service(tmp_path)) as service,
        serving_api(service, "all", *options) as server,
        pytest.raises(OSError, match="refused"),
    ):
        GatewayProcess(server.process, port, tmp_path).ask(STABLE)


@pytest.mark.slow
def test_root_is_not_needed_to_serve(tree: MirrorTree, tmp_path: Path) -> None:
    if tools.find("unshare") is None:
        tools.missing("unshare is not here")
    with serving(
        _setup(tree, tmp_path), "gateway", before=("unshare", "--user", "--map-user=1000")
    ) as gateway:
        assert gateway.ask(STABLE, "edge").status == 200
