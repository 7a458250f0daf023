"""Room: bounds of a tenant's storage, and of the disk that bundles are built on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from stellaops.adapters.files.workspace import FileWorkspace, staged_bytes
from stellaops.core import sizes
from stellaops.core.errors import DependencyFailed
from stellaops.exports import execute_run
from stellaops.exports.errors import NoStagingRoom, RunQuotaExceeded, StagingTaken, error_code
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest, Tools
from stellaops.exports.ports import RunLimits
from stellaops.exports.retention import room
from stellaops.exports.retention.storage import used
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import record_of, run_export
from tests.support.exporting import Sender
from tests.unit.exports.executing import TENANT, Service, document

MIB = 1 << 20


class Usage(NamedTuple):
    """As `shutil.disk_usage` tells it."""

    total: int
    used: int
    free: int


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    found.take(*(document(number) for number in range(40)))
    yield found
    found.local.evidence_engine.dispose()
    found.local.service_engine.dispose()


def disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let every disk have so much room."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: Usage(1 << 40, 0, free))


def limited(service: Service, most: int | None) -> Tools:
    service.limit = RunLimits(max_storage=most)
    return replace(service.tools, limits=service)


def request(service: Service, profile: str = "json:raw") -> RunRequest:
    return RunRequest(
        f"run-a{service.now():%f}", TENANT, find_profile(TENANT, profile, service.local.profiles), {}
    )


def run(service: Service, tools: Tools) -> Run:
    return run_export(request(service), tools)


def test_a_run_that_would_take_more_than_its_tenant_may_keep_fails_before_it_is_built(
    service: Service,
) -> None:
    with pytest.raises(
        RunQuotaExceeded, match=r"would take about 1\.0 MiB; its bundles take 0 bytes of 512\.0 KiB"
    ):
        run(service, limited(service, MIB // 2))
    (failed,) = service.local.runs.list(TENANT)
    assert (failed.status, failed.error_code, failed.archive) == (RunStatus.FAILED, "quota", None)
    assert "build" not in failed.durations, "nothing of it was built"
    assert run(service, limited(service, 2 * MIB)).status is RunStatus.SUCCEEDED


def test_a_bundle_that_turns_out_larger_than_was_thought_is_not_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "estimate", lambda *_: 1)
    with pytest.raises(RunQuotaExceeded, match="the bundle of run"):
        run(service, limited(service, 100))
    assert not list((service.directory / "data" / "exports").rglob("export.json"))
    assert used(service.local.storage, TENANT) == 0


def test_bundles_that_runs_share_count_once_and_another_run_of_an_equal_plan_needs_no_room(
    service: Service,
) -> None:
    first = run(service, limited(service, None))
    taken = used(service.local.storage, TENANT)
    assert taken == first.bytes > 0
    again = run(service, limited(service, taken))
    assert again.shared_from == first.id
    assert used(service.local.storage, TENANT) == taken
    (found,) = service.local.storage.stored(TENANT)
    assert (found.store, found.profile, found.kind, found.bundles) == ("artefacts", "json:raw", "json:raw", 1)
    assert service.local.storage.stored("other") == []


def test_a_tenant_whose_storage_is_used_up_submits_nothing(service: Service) -> None:
    run(service, limited(service, None))
    service.limit = RunLimits(max_storage=used(service.local.storage, TENANT))
    with pytest.raises(RunQuotaExceeded, match="has used up its storage") as raised:
        service.submit("json:raw")
    assert (raised.value.limit, raised.value.remaining) == (service.limit.max_storage, 0)
    assert "--max-storage" in raised.value.advice
    service.limit = RunLimits(max_storage=used(service.local.storage, TENANT) + 1)
    assert service.submit("json:raw").status is RunStatus.PENDING


def test_the_estimate_follows_the_run_before_by_its_records(service: Service) -> None:
    tools = limited(service, None)
    before = run(service, tools)
    planned, made = execute_run.planned(
        tools.runs.add(replace(before, id="run-x", done=(), status=RunStatus.RUNNING, attempt=1), []), tools
    )
    large = replace(before, artifacts=(replace(before.artifacts[0], bytes=100 * MIB),), counts={"demo": 20})
    assert room.estimate(planned, made, large) == 200 * MIB, "twice the records"
    assert room.estimate(planned, made, None) == MIB, "never less than a little"
    assert room.staged(made.request.profile, 100) == 125
    assert room.staged(find_profile(TENANT, "trivy:db", service.local.profiles), 100) == 1400
    assert room.staged(made.request.profile, 100, encrypted=True) == 150


def test_a_disk_without_room_for_a_run_is_told_instead_of_filled(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, MIB)
    with pytest.raises(NoStagingRoom, match=r"1\.0 MiB are free, and about 1\.2 MiB are needed"):
        run(service, limited(service, None))
    (failed,) = service.local.runs.list(TENANT)
    assert (failed.status, failed.archive) == (RunStatus.FAILED, None)
    disk(monkeypatch, 2 * MIB)
    assert run(service, limited(service, None)).status is RunStatus.SUCCEEDED


def test_two_runs_do_not_both_count_the_same_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = FileWorkspace(tmp_path)
    disk(monkeypatch, 100)
    with ExitStack() as stack:
        one, two = (stack.enter_context(workspace.stage(name)) for name in ("one", "two"))
        one.reserve(60)
        with pytest.raises(StagingTaken, match="60 bytes of it for other runs") as raised:
            two.reserve(60)
        assert isinstance(raised.value, DependencyFailed), "it is tried again later"
        with pytest.raises(NoStagingRoom):
            two.reserve(101)
        two.reserve(40)
        with one.create("half") as file:
            file.write(b"x" * 50)
        two.reserve(90)
        one.reserve(0)
        two.reserve(100)
        assert staged_bytes(tmp_path) >= 50
    with workspace.stage("three") as three:
        three.reserve(100)


def test_the_reasons_are_words_that_alerts_know() -> None:
    assert error_code(RunQuotaExceeded("x", limit=1)) == "quota"
    assert error_code(NoStagingRoom("x")) == "adapter"
    assert sizes.render(MIB) == "1.0 MiB"


def test_a_delta_is_told_by_the_delta_before_it_and_a_full_archive_in_its_place_by_such_a_one(
    tmp_path: Path,
) -> None:
    sender = Sender(tmp_path)
    sender.take({f"{number}.json": document(number) for number in range(8)}, "ghsa")
    sender.run("mirror:full")
    sender.take({"90.json": document(90)}, "ghsa")
    delta = sender.run("mirror:delta")
    assert delta.chain is not None
    assert delta.chain.number == 1
    tools = sender.local.export_tools
    large = replace(delta.artifacts[0], bytes=80 * MIB)
    tools.runs.change(replace(delta, artifacts=(large,)))
    sender.take({"91.json": document(91)}, "ghsa")
    recipe = find_profile(TENANT, "mirror:delta", sender.local.profiles)
    request_ = RunRequest("run-z", TENANT, recipe, {}, allow_empty=True)
    pending = record_of(request_, delta.submitted_at, by="test")
    begun = tools.runs.add(replace(pending, status=RunStatus.RUNNING, attempt=1), [])
    planned, made = execute_run.planned(begun, tools)
    assert made.delta is not None
    assert room.estimate(planned, made, room._before(planned, made, tools)) == 80 * MIB
    whole = replace(made, delta=None)
    assert room._before(planned, whole, tools) is None
    assert room.estimate(planned, whole, None) == MIB
    sender.close()
