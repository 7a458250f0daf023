"""Publishing that is killed: readers see the tree before or the tree after, and the next publication goes through."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from stellaops.mirrors.domain import SIDES
from tests.support.publishing import RIGHT, Publisher, demand_listed, follow

KILLS = 20


def publish_in_a_process(data: Path, number: int) -> int:
    """Change the evidence and publish, in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        publisher = Publisher(data)
        publisher.take({"right.json": {**RIGHT, "summary": f"word {number}"}}, "ghsa")
        publisher.publish()
        status = 0
    finally:
        os._exit(status)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose mirror was published once; nothing of it is open."""
    publisher = Publisher(tmp_path / "data").filled()
    for name in ("community", "primary"):
        publisher.domain(name)
    publisher.publish()
    publisher.close()
    return tmp_path / "data"


def test_whenever_publishing_is_killed_readers_see_one_whole_tree(data: Path) -> None:
    publisher = Publisher(data)
    key, root = publisher.key(), publisher.root
    publisher.close()
    begun = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(publish_in_a_process(data, 0), 0)[1]) == 0
    whole = time.monotonic() - begun
    chance, seen, died = random.Random(8), set[str](), 0
    for number in range(1, KILLS + 1):
        child = publish_in_a_process(data, number)
        time.sleep(chance.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        died += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        for domain in ("community", "primary"):
            seen.add(str(follow(root.root, domain, key)["exportId"]))
            for side in SIDES:
                latest = root.latest(side)
                assert latest is not None
                demand_listed(root.root, side, latest, domain, key)
    assert died > KILLS // 2
    publisher = Publisher(data)
    outcome = publisher.publish()
    assert {each.export_id for each in outcome.published} == {root.latest(side) for side in SIDES}
    for side in SIDES:
        assert list((root.root / side / ".staging").iterdir()) == []
        for export_id in root.ids(side):
            demand_listed(root.root, side, export_id, "primary", key)
    publisher.close()
