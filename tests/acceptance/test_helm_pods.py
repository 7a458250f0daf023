"""The pods of the Helm chart as processes: the sync brings a tree, the parts become ready, `helm test` is content."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from stellaops.mirrors.domain import SIDES
from tests.support import mirror_sources
from tests.support.certificates import certify
from tests.support.gateways import PASSWORD, GatewayProcess, write_users
from tests.support.helm import mirror
from tests.support.mirror_sources import Origin
from tests.support.pods import Pods, Served, until_answers
from tests.support.publishing import Publisher

HOSTS = {"primary": "primary.example.org", "community": "community.example.org"}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    place = tmp_path_factory.mktemp("origin")
    publisher = Publisher(place / "data").filled()
    for name in HOSTS:
        publisher.domain(name)
    with mirror_sources.origin("http", publisher, place / "origin") as made:
        yield made
    publisher.close()


@pytest.fixture(scope="module")
def pods(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Pods:
    place = tmp_path_factory.mktemp("pods")
    write_users(place / "primary", {"edge": PASSWORD})
    tls = certify(place, "own", HOSTS["primary"], 1)
    values = mirror(
        domains=[
            {"id": "primary", "hosts": [HOSTS["primary"]], "maxDownloadRequestsPerHour": 5},
            {"id": "community", "hosts": [HOSTS["community"]], "requireAuthentication": False},
        ],
        sync={
            "source": origin.address,
            "credentialsSecret": {"name": "mirror-login"},
            "publicKeys": {"mirror-key.pub": origin.publisher.key().pem().decode()},
            "settings": {
                "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
                "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
            },
        },
    )
    secrets: dict[str, dict[str, str | bytes]] = {
        "mirror-login": {"credentials": f"edge:{PASSWORD}"},
        "mirror-gateway-htpasswd": {"mirror-primary.htpasswd": (place / "primary").read_bytes()},
        "mirror-gateway-tls": {"tls.crt": tls.read_bytes(), "tls.key": tls.with_suffix(".key").read_bytes()},
    }
    return Pods(values, place / "cluster", secrets)


@pytest.fixture(scope="module")
def started(pods: Pods) -> Iterator[dict[str, Served]]:
    """All that serves, before the first sync."""
    with ExitStack() as stack:
        names = ("stellaops-concelier", "stellaops-excititor", "stellaops-mirror-gateway")
        found = {name: stack.enter_context(pods.serving(name)) for name in names}
        until_answers("livenessProbe", *found.values())
        yield found


@dataclass(frozen=True)
class Synced:
    """What the sync said, and how ready the back ends were before it."""

    before: tuple[int, ...]
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def synced(pods: Pods, started: dict[str, Served]) -> Synced:
    before = tuple(started[f"stellaops-{side}"].probe("readinessProbe") for side in SIDES)
    return Synced(before, pods.run("mirror-sync"))


@pytest.fixture(scope="module")
def running(started: dict[str, Served], synced: Synced) -> dict[str, Served]:
    assert synced.done.returncode == 0, synced.done.stderr
    until_answers("readinessProbe", *started.values())
    return started


def test_the_sync_brings_both_sides_to_their_volumes(pods: Pods, synced: Synced, origin: Origin) -> None:
    assert synced.done.returncode == 0, synced.done.stderr
    told = json.loads(synced.done.stdout)
    assert {(each["side"], each["domain"]) for each in told} == {
        (side, domain) for side in SIDES for domain in HOSTS
    }
    for side in SIDES:
        latest = pods.claim(f"{side}-mirror-exports") / "latest"
        assert str(latest.readlink()) == origin.publisher.id_of(side)


def test_back_ends_live_before_the_first_sync_and_are_ready_after_it(
    synced: Synced, running: dict[str, Served]
) -> None:
    assert synced.before == (503, 503)
    assert [running[f"stellaops-{side}"].probe("readinessProbe") for side in SIDES] == [200, 200]


def test_every_part_answers_its_probes(running: dict[str, Served]) -> None:
    for part in running.values():
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert part.probe(kind) == 200


def test_helm_test_is_content(pods: Pods, running: dict[str, Served]) -> None:
    done = pods.run("stellaops-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["ok", "concelier"], ["ok", "excititor"], ["ok", "gateway"], ["ok", "primary"], ["ok", "community"],
    ]  # fmt: skip


def test_helm_test_sees_a_closed_domain_that_is_open(pods: Pods, running: dict[str, Served]) -> None:
    arguments = named_arguments(pods)
    arguments[arguments.index("open")] = "closed"
    done = pods.run("stellaops-smoke", arguments=arguments)
    assert done.returncode == 1
    assert "FAILED community asks for credentials (200, " in done.stdout


def named_arguments(pods: Pods) -> list[str]:
    """What the chart gives `helm test`."""
    (pod,) = [each for each in pods.documents if each["kind"] == "Pod"]
    return list(pod["spec"]["containers"][0]["args"])


def test_readers_get_what_was_published_through_gateway_and_back_end(
    pods: Pods, running: dict[str, Served], origin: Origin
) -> None:
    part = running["stellaops-mirror-gateway"]
    context = _any_certificate()
    gateway = GatewayProcess(part.process, part.port, pods.place, context)
    host = {"Host": HOSTS["primary"]}
    assert gateway.ask("/concelier/exports/index.json", headers=host).status == 401
    reply = gateway.ask("/concelier/exports/index.json", "edge", headers=host)
    listed = {each["id"]: each["exportId"] for each in reply.json["domains"]}
    assert listed == dict.fromkeys(HOSTS, origin.publisher.id_of())  # the own one, and the open one
    answers = [
        gateway.ask("/concelier/exports/mirror/primary/manifest.json", "edge", headers=host).status
        for _ in range(7)
    ]
    assert answers == [200] * 5 + [429] * 2  # counted by the gateway, and not once more behind it
    assert (
        gateway.ask("/excititor/mirror/community/index", headers={"Host": HOSTS["community"]}).status == 200
    )


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
