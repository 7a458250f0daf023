"""Bundles at a real registry and a real object store, fetched back and scanned by stock Trivy: sound, then damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.exports.distribution.verify_targets import TargetCheck, verify_targets
from stellaops.exports.run import Run, RunStatus
from tests.support import registry, s3
from tests.support.exporting import TENANT, Sender
from tests.support.object_places import key_file
from tests.unit.exports.executing import document

pytestmark = pytest.mark.slow


@dataclass
class Installation:
    """A data directory whose databases go to a registry and to a bucket."""

    sender: Sender
    registry: registry.Registry
    bucket: s3.Bucket
    run: Run

    def look(self, target: str) -> TargetCheck:
        tools = replace(self.sender.local.verify_tools, sleep=lambda seconds: None)
        (check,) = verify_targets(TENANT, tools, target=target)
        return check


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, trivy: Path) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("installed")
    with (
        registry.serving(tmp_path_factory.mktemp("registry")) as held,
        s3.serving(tmp_path_factory.mktemp("s3")) as bucket,
    ):
        server, _, name = bucket.url.rstrip("/").rpartition("/")
        wanted = {
            "targets": {
                "oci": {"driver": "oci", "repository": f"{held.host}/stella/{{tenant}}", "plainHttp": True},
                "edge": {
                    "driver": "object",
                    "store": f"s3://{name}/{{tenant}}",
                    "endpoint": server,
                    "keyFile": str(key_file(directory, bucket)),
                },
            },
            "egress": {"allowPrivate": "127.0.0.0/8", "allowHttp": "127.0.0.1"},
            "trivy": str(trivy),
        }
        file = directory / "config.yaml"
        file.write_text(json.dumps(wanted), encoding="utf-8")
        sender = Sender(directory / "data")
        sender.local = Local(
            settings.load({"dataDir": str(directory / "data")}, {"STELLA_CONFIG": str(file)})
        )
        sender.take({f"{number}.json": document(number) for number in range(30)}, "ghsa")
        sender.profile(
            "db",
            kind="trivy:db",
            smoke="required",
            distribution=["oci", {"driver": "object", "name": "edge"}],
        )
        yield Installation(sender, held, bucket, sender.run("db"))
        sender.close()


def test_what_a_registry_and_a_bucket_have_is_sound_and_trivy_finds_its_sentinels(
    installed: Installation,
) -> None:
    assert (installed.run.status, installed.run.degraded) == (RunStatus.SUCCEEDED, False), (
        installed.run.targets
    )
    for target in ("oci", "edge", "http"):
        check = installed.look(target)
        assert (check.status, check.failed, check.remarks) == ("ok", (), ()), target
        assert check.run_id == installed.run.id


def test_a_blob_that_was_damaged_at_the_registry_is_noticed(installed: Installation) -> None:
    blobs = [path for path in installed.registry.storage.rglob("blobs/sha256/*/*/data") if path.is_file()]
    largest = max(blobs, key=lambda path: path.stat().st_size)
    good = largest.read_bytes()
    largest.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        check = installed.look("oci")
        assert check.status == "failed"
        assert {name for name, _ in check.failed} <= {"fetch", "files", "record"}, check.failed
    finally:
        largest.write_bytes(good)
    assert installed.look("oci").status == "ok"


def test_a_target_that_is_down_is_told_and_found_sound_when_it_is_back(installed: Installation) -> None:
    installed.registry.kill()
    try:
        check = installed.look("oci")
        assert [name for name, _ in check.failed] == ["fetch"]
    finally:
        installed.registry.start()
    assert installed.look("oci").status == "ok"
