"""Publishing and syncing that are killed: readers see the tree before or after, and the next one goes through."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.sources import DirectorySource
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.sync import SyncTools, Trusted, Wish, sync
from stellaops.signing.ecdsa_p256 import PublicKey
from tests.support.publishing import RIGHT, Publisher, demand_listed, follow, snapshot

KILLS = 20


def in_a_process(work: Callable[[], object]) -> int:
    """Work in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def publish_change(data: Path, number: int) -> None:
    """Change the evidence and publish."""
    publisher = Publisher(data)
    publisher.take({"right.json": {**RIGHT, "summary": f"word {number}"}}, "ghsa")
    publisher.publish()
    publisher.close()


def sync_to(host: MirrorDirectory, source: Path, key: PublicKey) -> None:
    """Bring what is published to a mirror host."""
    tools = SyncTools(
        DirectorySource(source), host, Trusted({key.key_id: key}), lambda: datetime.now(UTC), time.sleep
    )
    sync(Wish(SIDES), tools)


def ended_well(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def killed(child: int, after: float) -> bool:
    """Kill a process after some seconds; whether it had not ended by itself."""
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def demand_whole(root: MirrorDirectory, key: PublicKey) -> None:
    """What readers follow is whole and signed, on both sides."""
    for domain in ("community", "primary"):
        follow(root.root, domain, key)
        for side in SIDES:
            latest = root.latest(side)
            assert latest is not None
            demand_listed(root.root, side, latest, domain, key)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose mirror was published once; nothing of it is open."""
    publisher = Publisher(tmp_path / "data").filled()
    for name in ("community", "primary"):
        publisher.domain(name, advisories={"formats": ["osv"]})
    publisher.publish()
    publisher.close()
    return tmp_path / "data"


def test_whenever_publishing_is_killed_readers_see_one_whole_tree(data: Path) -> None:
    publisher = Publisher(data)
    key, root = publisher.key(), publisher.root
    publisher.close()
    begun = time.monotonic()
    assert ended_well(in_a_process(lambda: publish_change(data, 0)))
    whole = time.monotonic() - begun
    chance, died = random.Random(8), 0
    for number in range(1, KILLS + 1):
        child = in_a_process(partial(publish_change, data, number))
        died += killed(child, chance.uniform(0, whole))
        demand_whole(root, key)
    assert died > KILLS // 4
    publisher = Publisher(data)
    outcome = publisher.publish()
    assert {each.export_id for each in outcome.published} == {root.latest(side) for side in SIDES}
    for side in SIDES:
        assert list((root.root / side / ".staging").iterdir()) == []
        for export_id in root.ids(side):
            demand_listed(root.root, side, export_id, "primary", key)
    publisher.close()


def test_whenever_a_sync_is_killed_readers_see_one_whole_tree(data: Path, tmp_path: Path) -> None:
    publisher = Publisher(data)
    key, source = publisher.key(), publisher.root.root
    publisher.close()
    host = MirrorDirectory(tmp_path / "host")
    begun = time.monotonic()
    assert ended_well(in_a_process(lambda: sync_to(host, source, key)))
    whole = time.monotonic() - begun
    chance, died = random.Random(9), 0
    for number in range(KILLS):
        if number % 2 == 0:
            assert ended_well(in_a_process(partial(publish_change, data, number)))
        child = in_a_process(lambda: sync_to(host, source, key))
        died += killed(child, chance.uniform(0, whole / 2))
        demand_whole(host, key)
    assert died > KILLS // 4
    sync_to(host, source, key)
    for side in SIDES:
        latest = (source / side / "latest").resolve()
        assert snapshot(host.root / side / "latest") == snapshot(latest)
