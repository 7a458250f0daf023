"""`stella mirror sync|publish --every` as a service: turns that fail are logged, and it ends when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance import importing
from tests.support.gateways import until
from tests.support.publishing import RIGHT, Publisher, follow


@contextmanager
def service(data: Path, log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until it is told to end."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            importing.command(data, *arguments), stdout=out, stderr=out, env=importing.environment()
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def ends(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(10)


def test_a_publisher_and_a_host_go_on_by_themselves_and_end_when_they_are_told(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "data").filled()
    publisher.domain("primary", advisories={"formats": ["osv"]})
    key, root, host = tmp_path / "key.pub", tmp_path / "published", tmp_path / "host"
    key.write_bytes(publisher.key().pem())
    publishing, syncing = tmp_path / "publish.log", tmp_path / "sync.log"
    root.mkdir()
    with service(
        tmp_path / "none", syncing, "mirror", "sync", root, host, "--key", key, "--every", "1s"
    ) as sync:
        until(lambda: any(each.get("event") == "mirror.synced_failed" for each in events(syncing)), 30)
        failed = next(each for each in events(syncing) if each["event"] == "mirror.synced_failed")
        assert failed["errorCode"] == "ERR_MIRROR_SOURCE_UNREACHABLE"
        with service(
            publisher.local.data_dir, publishing, "mirror", "publish", "--to", root, "--every", "1s"
        ) as publish:
            until((host / "excititor/latest").exists, 30)
            first = (host / "concelier/latest").readlink()
            publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
            until(lambda: (host / "concelier/latest").readlink() != first, 30)
            follow(host, "primary", publisher.key())
            assert ends(publish) == 0
        assert ends(sync) == 0
    (*_, told) = [each for each in events(syncing) if each["event"] == "mirror.synced"]
    assert {(each["side"], each["lagSeconds"]) for each in told["domains"]} == {
        ("concelier", 0),
        ("excititor", 0),
    }
    assert [each["event"] for each in events(publishing)][-1] == "mirror.published.ended"
    publisher.close()
