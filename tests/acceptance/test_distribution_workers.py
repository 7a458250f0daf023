"""Workers that die while they bring a bundle to a real registry, and runs that are cancelled then."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from stellaops.exports.control_runs import cancel_run
from stellaops.exports.events import EventType
from stellaops.exports.profile import Profile, Spec, Target
from stellaops.exports.run import Run, RunStatus
from tests.support import faulty_server, registry
from tests.support.faulty_server import Faulty, Seen, Silent, always
from tests.support.registry import Registry
from tests.support.workers import TENANT, Service

PROFILE = Profile("pushed", TENANT, "r1", Spec("json", "raw", distribution=["oci", Target("oci", "far")]))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def far(hub: Registry) -> Iterator[Faulty]:
    with faulty_server.before(hub.url) as found:
        yield found


@pytest.fixture
def service(tmp_path: Path, hub: Registry, far: Faulty) -> Iterator[Service]:
    """A service with two targets: the registry, and the same through something that may fall silent."""
    name = tmp_path.name.replace("_", "-")
    told = {
        "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
        "TARGETS__OCI__REPOSITORY": f"{hub.host}/near-{name}/{{tenant}}",
        "TARGETS__OCI__PLAINHTTP": "true",
        "TARGETS__FAR__DRIVER": "oci",
        "TARGETS__FAR__REPOSITORY": f"{far.url.removeprefix('http://')}/far-{name}/{{tenant}}",
        "TARGETS__FAR__PLAINHTTP": "true",
    }
    with ExitStack() as stack:
        found = stack.enter_context(closing(Service(tmp_path / "service", more=told)))
        found.fill(5)
        found.local.profiles.add(PROFILE)
        yield found


def push(seen: Seen) -> bool:
    return seen.method in ("POST", "PATCH", "PUT")


def status(run: Run, target: str) -> str | None:
    return next((str(each["status"]) for each in run.targets if each["target"] == target), None)


def stuck(service: Service, far: Faulty, seconds: float = 3600) -> Run:
    """A run that has reached the first target and hangs at the second, for some time."""
    far.misbehave = always(Silent(seconds), push)
    run = service.submit("pushed")
    service.until(run, lambda found: status(found, "oci") == "succeeded" and far.met > 0, 40)
    return service.run(run)


def reached(service: Service, run: Run) -> list[tuple[str, str]]:
    """Every delivery that events tell of, in order."""
    events = service.local.runs.events(run.id)
    return [
        (str(each.data["target"]), str(each.data["status"]))
        for each in events
        if each.type is EventType.DISTRIBUTED
    ]


@pytest.mark.slow
def test_another_worker_brings_what_a_dead_one_has_not(service: Service, far: Faulty, hub: Registry) -> None:
    first = service.worker()
    run = stuck(service, far)
    assert status(run, "far") == "pending"
    first.send(signal.SIGKILL)
    far.misbehave = lambda seen: None
    service.worker()
    run = service.ended(run, 90)
    assert (run.status, run.degraded, run.attempt) == (RunStatus.SUCCEEDED, False, 2)
    assert reached(service, run) == [("http", "succeeded"), ("oci", "succeeded"), ("far", "succeeded")]
    references = {str(each["target"]): str(each["reference"]) for each in run.targets}
    for target in ("oci", "far"):
        repository, _, digest = references[target].partition("/")[2].partition("@")
        found = hub.get(f"{repository}/manifests/latest", Accept="application/vnd.oci.image.manifest.v1+json")
        assert found[1]["Docker-Content-Digest"] == digest


@pytest.mark.slow
def test_a_run_that_is_cancelled_in_mid_push_moves_no_name(
    service: Service, far: Faulty, hub: Registry
) -> None:
    service.worker()
    run = stuck(service, far, 4)
    cancel_run(TENANT, run.id, service.controls, by="me")
    far.misbehave = lambda seen: None
    assert service.ended(run).status is RunStatus.CANCELLED
    time.sleep(8)  # whoever was not stopped would have been answered, and gone on
    repository = service.local.settings.targets["far"].for_tenant(TENANT).need("repository").partition("/")[2]
    assert "latest" not in hub.tags(f"{repository}/pushed")
    assert status(service.run(run), "far") == "pending"
