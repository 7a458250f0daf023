"""Traces of mirror hosts: a reader's request, gateway and back end in one trace, as a real collector gets it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateways import GatewayProcess, Setup, serving, until, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.otlp import Collector, SpanSeen, collecting

INDEX, FILE = "/concelier/exports/index.json", "/concelier/exports/mirror/primary/manifest.json"


@dataclass
class World:
    """A gateway without a tree, the back end that has one, and who is told of what they do."""

    gateway: GatewayProcess
    concelier: GatewayProcess
    collector: Collector

    def spans(self, trace: str, wanted: int) -> list[SpanSeen]:
        until(lambda: len(self.collector.trace(trace)) >= wanted)
        return self.collector.trace(trace)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("traced-mirror")
    tree = MirrorTree(place / "mirror")
    tree.publish()
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    with collecting() as collector:
        told = {
            "GATEWAY__SECRETSDIR": str(place), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50", "CONCELIER__MIRROR__DOMAINS__1__ID": "",
        }  # fmt: skip
        with serving(Setup(tree.root, place / "concelier", told), "concelier") as concelier:
            before = told | {
                "GATEWAY__CONCELIER__URL": concelier.url, "CONCELIER__MIRROR__EXPORTROOT": "",
                "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": "", "GATEWAY__CACHEDIR": str(place / "cache"),
            }  # fmt: skip
            with serving(Setup(tree.root, place / "gateway", before)) as gateway:
                yield World(gateway, concelier, collector)


def _asked(world: World, path: str, user: str | None = "edge", **more: str) -> tuple[str, str, int]:
    """Trace and span of a caller who asked for something, and the status that came back."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{span}-01", **more}
    return trace, span, world.gateway.ask(path, user, headers=headers).status


def test_a_request_that_a_back_end_answers_is_one_trace_from_the_caller_to_the_back_end(world: World) -> None:
    trace, caller, status = _asked(world, FILE)
    assert status == 200
    spans = {each.service: each for each in world.spans(trace, 2)}
    gateway, behind = spans["stellaops-gateway"], spans["stellaops-concelier"]
    assert (gateway.parent, behind.parent) == (caller, gateway.id)
    assert (gateway.kind, gateway.name, gateway.failed) == ("server", "mirror.download", False)
    assert gateway.attributes == {
        "http.request.method": "GET", "http.response.status_code": 200, "url.path": FILE,
        "stella.domain": "primary", "stella.client": "edge", "stella.cache": "MISS",
    }  # fmt: skip
    assert gateway.began <= behind.began <= behind.ended <= gateway.ended


def test_what_is_answered_at_once_is_in_the_callers_trace_too_and_in_the_log(world: World) -> None:
    assert _asked(world, FILE)[2] == _asked(world, FILE)[2] == 200
    trace, caller, _ = _asked(world, FILE)
    (found,) = world.spans(trace, 1)
    assert (found.service, found.parent, found.attributes["stella.cache"]) == (
        "stellaops-gateway",
        caller,
        "HIT",
    )
    assert 0 <= found.ended - found.began < 10**9
    until(lambda: any(each.get("traceId") == trace for each in world.gateway.accesses()))


def test_without_a_callers_trace_one_begins_and_a_refusal_names_it(world: World) -> None:
    reply = world.gateway.ask(FILE, "edge", password="wrong")  # noqa: S106 - as the test wants it
    assert reply.status == 401
    (found,) = world.spans(reply.json["traceId"], 1)
    assert (found.parent, found.failed, found.attributes["http.response.status_code"]) == ("", False, 401)
    for wrong in ("nonsense", f"00-{'0' * 32}-{'1' * 16}-01"):
        reply = world.gateway.ask(FILE, headers={"traceparent": wrong})
        assert world.spans(reply.json["traceId"], 1)[0].parent == ""


def test_a_failure_of_the_mirror_is_marked_with_its_code(world: World) -> None:
    trace, _, status = _asked(world, "/vex/primary/vex-repository.tar.gz")
    assert status == 503
    (found,) = world.spans(trace, 1)
    assert (found.failed, found.attributes["error.type"]) == (True, "ERR_MIRROR_NOT_READY")


def test_probes_and_scrapes_are_in_no_trace(world: World) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        _asked(world, path, None)
    world.spans(_asked(world, FILE)[0], 1)
    paths = {each.attributes.get("url.path") for each in world.collector.spans}
    assert FILE in paths
    assert not paths & {"/healthz", "/readyz", "/metrics"}


def test_a_caller_who_does_not_sample_is_not_recorded_and_still_named_in_the_log(world: World) -> None:
    trace = secrets.token_hex(16)
    world.gateway.ask(FILE, "edge", headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-00"})
    until(lambda: any(each.get("traceId") == trace for each in world.gateway.accesses()))
    world.spans(_asked(world, FILE)[0], 1)
    assert world.collector.trace(trace) == []


def test_without_traces_a_callers_trace_still_stands_in_the_log(tmp_path: Path) -> None:
    tree = MirrorTree(tmp_path / "mirror")
    tree.publish()
    write_users(tmp_path / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    told = {"GATEWAY__SECRETSDIR": str(tmp_path), "CONCELIER__MIRROR__DOMAINS__1__ID": ""}
    trace = secrets.token_hex(16)
    with serving(Setup(tree.root, tmp_path / "gateway", told)) as gateway:
        headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
        assert gateway.ask(INDEX, "edge", headers=headers).status == 200
        until(lambda: any(each.get("traceId") == trace for each in gateway.accesses()))
