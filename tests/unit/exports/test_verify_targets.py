"""Fetching the newest bundles back from their targets, as users do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.sql.metering import VERIFY_FAILURES, SqlMetering
from stellaops.authority.manage_keys import create_key
from stellaops.bootstrap import new_run_id
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaSentinel
from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.distribution.ports import Target, Targets
from stellaops.exports.distribution.verify_targets import TargetCheck, VerifyTools, summary, verify_targets
from stellaops.exports.errors import DistributionFailed, TargetNotFound, VerifyFailed
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.resign_exports import ResignTools, resign_exports
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import run_export
from stellaops.kit.disk import NoRoom
from tests.support.exporting import TENANT, Sender
from tests.support.targets import FakePlace, FakeTargets
from tests.unit.exports.executing import document


class Both(FakeTargets):
    """Targets in memory beside the store of artefacts itself."""

    real: Targets

    def target(self, tenant: str, name: str) -> Target:
        return self.real.target(tenant, name) if name == "http" else super().target(tenant, name)


class Scanner:
    """`exports.ports.Scanner` that finds what it is told to find."""

    def __init__(self) -> None:
        self.version: str | None = "1"
        self.lost: list[str] = []
        self.scanned: list[str] = []

    def available(self) -> str | None:
        return self.version

    def missing(self, archive: Path, sentinels: Any, scratch: Path) -> list[str]:
        del scratch
        assert all(isinstance(each, Sentinel) for each in sentinels)
        self.scanned.append(archive.name)
        return self.lost

    def unrecognised(self, archive: Path, sentinels: Any, scratch: Path) -> list[str]:
        del archive, scratch
        assert all(isinstance(each, JavaSentinel) for each in sentinels)
        return []


class House:
    """A data directory whose bundles go to a target in memory, and what looks after them."""

    def __init__(self, directory: Path) -> None:
        self.sender = Sender(directory)
        self.targets = Both()
        self.targets.real = self.sender.local.targets
        self.edge = self.targets.add("edge", driver="object")
        self.scanner = Scanner()
        self.sender.take({f"{number}.json": document(number) for number in range(12)}, "ghsa")

    @property
    def tools(self) -> VerifyTools:
        made = self.sender.local.verify_tools
        return replace(made, targets=self.targets, scanner=self.scanner, sleep=lambda seconds: None)

    def run(self, profile: str, **spec: Any) -> Run:
        """A run that was brought to the target."""
        named = {"distribution": [{"driver": "object", "name": "edge"}], "kind": profile}
        name = profile.replace(":", "-")
        if spec or name not in self.sender.local.profiles.names(TENANT):
            self.sender.profile(name, **(named | spec))
        return self.again(name)

    def again(self, name: str) -> Run:
        local = self.sender.local
        tools = local.export_tools
        tools = replace(tools, delivery=replace(tools.delivery, targets=self.targets))
        request = RunRequest(new_run_id(), TENANT, find_profile(TENANT, name, local.profiles), {})
        return run_export(request, tools)

    def look(self, **only: Any) -> list[TargetCheck]:
        return list(verify_targets(TENANT, self.tools, **only))

    def failures(self) -> dict[str, float]:
        """The counted failures by check."""
        found = SqlMetering(self.sender.local.service_engine).counted()
        return {each.labels["check"]: each.value for each in found if each.name == VERIFY_FAILURES}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "data")
    yield found
    found.sender.close()


def spoil(place: FakePlace, path: str, data: bytes | None) -> None:
    """Change a file of every bundle at a place, or remove it."""
    for files in place.bundles.values():
        name = next(each for each in files if each.startswith(path))
        if data is None:
            del files[name]
        else:
            files[name] = data


def outcome(checks: list[TargetCheck]) -> dict[str, tuple[str, list[str]]]:
    return {each.target: (each.status, sorted({name for name, _ in each.failed})) for each in checks}


def test_what_users_get_is_found_sound_at_every_target(house: House) -> None:
    run = house.run("json:raw")
    assert run.status is RunStatus.SUCCEEDED
    checks = house.look()
    assert outcome(checks) == {"http": ("ok", []), "edge": ("ok", [])}
    assert {each.run_id for each in checks} == {run.id}
    assert all(each.bytes > run.bytes and each.seconds > 0 for each in checks)
    kept = house.sender.local.target_checks.all(TENANT)
    assert [check.to_wire() for check, _ in kept] == sorted(
        (each.to_wire() for each in checks), key=lambda wire: wire["target"]
    )
    assert all(sound == check.at for check, sound in kept)
    assert house.failures() == {}
    assert summary(checks)["ok"] == 2


@pytest.mark.parametrize(
    ("path", "data", "checks"),
    [
        ("data/raw", b"flipped", ["files", "record"]),
        ("export.json", b"{}", ["record", "signer"]),
        ("signatures/export.sig", b"bm8=", ["signer"]),
        ("indexes/", None, ["record", "tree"]),
    ],
)
def test_what_was_damaged_at_a_target_is_told_with_run_and_target(
    house: House, path: str, data: bytes | None, checks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = house.run("json:raw")
    spoil(house.edge, path, data)
    with caplog.at_level(logging.ERROR, "stellaops.verify"):
        found = outcome(house.look())
    assert found["http"] == ("ok", [])
    assert found["edge"][0] == "failed"
    assert set(checks) <= set(found["edge"][1])
    assert set(house.failures()) == set(found["edge"][1])
    (record,) = caplog.records
    told = vars(record)
    assert (told["event"], told["runId"], told["target"]) == ("verify.failed", run.id, "edge")


def test_a_failure_keeps_when_it_was_last_sound_and_a_repair_is_seen(house: House) -> None:
    house.run("json:raw")
    (first,) = house.look(target="edge")
    good = {name: dict(files) for name, files in house.edge.bundles.items()}
    spoil(house.edge, "export.json", b"{}")
    house.look(target="edge")
    ((check, sound),) = [pair for pair in house.sender.local.target_checks.all() if pair[0].target == "edge"]
    assert (check.status, sound) == ("failed", first.at)
    house.edge.bundles.update(good)
    assert outcome(house.look(target="edge")) == {"edge": ("ok", [])}


def test_a_bundle_that_is_gone_or_a_target_that_is_down_fails_the_fetch(house: House) -> None:
    house.run("json:raw")
    house.edge.bundles.clear()
    (check,) = house.look(target="edge")
    assert check.failed[0][0] == "fetch"
    assert "is not there" in check.failed[0][1]
    assert house.failures() == {"fetch": 1}


def test_a_target_that_fails_for_a_moment_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.run("json:raw")
    target = type(house.edge.open())
    fetch, asked = target.fetch, []

    def slow(self: Any, kept: Any, into: Path) -> None:
        asked.append(1)
        (into / "half").write_bytes(b"half")
        if len(asked) < 3:
            raise DistributionFailed("busy", retry_after=1)
        (into / "half").unlink()
        fetch(self, kept, into)

    monkeypatch.setattr(target, "fetch", slow)
    assert outcome(house.look(target="edge")) == {"edge": ("ok", [])}
    assert len(asked) == 3


def test_moving_names_that_stand_for_something_else_are_told(house: House) -> None:
    house.run("json:raw")
    profile, (_, sequence) = next(iter(house.edge.moving.items()))
    house.edge.moving[profile] = ("fake://something/else", sequence)
    (check,) = house.look(target="edge")
    assert [name for name, _ in check.failed] == ["latest"]
    assert "something/else" in check.failed[0][1]


def test_databases_are_scanned_and_lost_sentinels_fail_them(house: House) -> None:
    house.run("trivy:db")
    assert outcome(house.look()) == {"http": ("ok", []), "edge": ("ok", [])}
    assert house.scanner.scanned.count("db.bundle") >= 2
    house.scanner.lost = ["CVE-2026-1 of package-1 is not found"]
    assert outcome(house.look(target="edge")) == {"edge": ("failed", ["smoke"])}
    house.scanner.version = None
    (check,) = house.look(target="edge")
    assert (check.status, check.remarks) == ("ok", ("no smoke scan: no trivy was found",))


def test_databases_inside_a_mirror_archive_are_scanned_too(house: House) -> None:
    house.run("mirror:full", include=["advisories", "trivy"])
    assert outcome(house.look(target="edge")) == {"edge": ("ok", [])}
    assert "db.bundle" in house.scanner.scanned
    house.scanner.lost = ["gone"]
    assert outcome(house.look(target="edge")) == {"edge": ("failed", ["smoke"])}


def test_what_is_removed_while_it_is_looked_at_is_passed_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = house.run("json:raw")
    target = type(house.edge.open())

    def pruned(self: Any, kept: Any, into: Path) -> None:
        del self, kept, into
        local = house.sender.local
        now = local.runs.get(TENANT, run.id)
        assert now is not None
        local.runs.change(replace(now, status=RunStatus.EXPIRED, expired="over"))
        raise DistributionFailed("it is gone", again=False)

    monkeypatch.setattr(target, "fetch", pruned)
    (check,) = house.look(target="edge")
    assert (check.status, check.failed) == ("skipped", ())
    assert house.failures() == {}


def test_a_mirror_that_was_signed_again_here_is_sound_at_a_target_with_the_earlier_signature(
    house: House,
) -> None:
    house.run("mirror:full", include=["advisories"])
    local = house.sender.local
    create_key(local.keys, TENANT, now=house.tools.now())
    tools = ResignTools(
        local.runs, local.workspace, local.artefacts, local.tenant_keys, local.profiles, local.bundle_turns
    )
    assert [each.problem for each in resign_exports(TENANT, tools)] == [None]
    (check,) = house.look(target="edge")
    assert (check.status, check.failed) == ("ok", ())
    (archive,) = [
        path for files in house.edge.bundles.values() for path in files if path.endswith(".tar.zst")
    ]
    spoil(house.edge, archive, b"other bytes")
    (check,) = house.look(target="edge")
    assert ("record", f"{archive} is not the file that the run made") in check.failed


def test_a_full_disk_here_says_nothing_of_a_target(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.run("json:raw")

    def full(self: Any, kept: Any, into: Path) -> None:
        raise NoRoom("the disk is full")

    monkeypatch.setattr(type(house.edge.open()), "fetch", full)
    (check,) = house.look(target="edge")
    assert (check.status, check.failed) == ("skipped", ())
    assert "ERR_EXPORT_NO_ROOM" in check.remarks[0]
    assert house.failures() == {}


def test_the_newest_that_a_target_has_is_looked_at_and_nothing_where_it_has_none(house: House) -> None:
    first = house.run("json:raw")
    house.sender.take({"99.json": document(99)}, "ghsa")
    house.edge.said = [DistributionFailed("down", again=False)] * 2
    second = house.again("json-raw")
    assert second.degraded
    found = {each.target: each.run_id for each in house.look()}
    assert found == {"http": second.id, "edge": first.id}
    assert house.look(profile="trivy:db") == []
    with pytest.raises(TargetNotFound):
        house.look(target="nowhere")


def test_a_target_whose_names_were_given_is_looked_at_after_a_delivery_that_failed(house: House) -> None:
    run = house.run("json:raw")
    profile, (_, sequence) = next(iter(house.edge.moving.items()))
    house.edge.moving[profile] = ("fake://something/else", sequence)
    local = house.sender.local
    (entry,) = (each for each in run.targets if each["target"] == "edge")
    failed = {**entry, "status": "failed", "latest": False}
    local.runs.change(replace(run, targets=tuple(failed if each is entry else each for each in run.targets)))
    assert outcome(house.look(target="edge")) == {"edge": ("failed", ["latest"])}


class LibraryAway(MissingPrerequisite):
    code = "ERR_LIBRARY_AWAY"


@pytest.mark.parametrize("where", ["opening", "fetching"])
def test_a_library_that_is_missing_here_says_nothing_of_a_target(
    where: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.run("json:raw")

    def away(*given: Any) -> Any:
        raise LibraryAway("the library obstore is not installed")

    if where == "opening":
        monkeypatch.setattr(house.targets, "target", away)
    else:
        monkeypatch.setattr(type(house.edge.open()), "fetch", away)
    (check,) = (each for each in verify_targets(TENANT, house.tools) if each.target == "edge")
    assert (check.status, check.failed) == ("skipped", ())
    assert "obstore is not installed" in check.remarks[0]
    assert house.failures() == {}


def test_what_no_key_of_the_tenant_signed_at_a_target_is_told_as_its_signer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.run("json:raw")

    def unsigned(self: Any, kept: Any, into: Path) -> None:
        raise VerifyFailed("no signature by a key of the tenant")

    monkeypatch.setattr(type(house.edge.open()), "fetch", unsigned)
    (check,) = house.look(target="edge")
    assert [name for name, _ in check.failed] == ["signer"]
