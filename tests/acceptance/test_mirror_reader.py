"""Readers follow index, manifest, bundle and signature through a caching nginx while trees are published and synced.

The publisher and the sync are the real ones, each in processes of their own, at the same time, and now and then one of
them is killed. No reader ever gets parts that do not belong together.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.core import digests
from stellaops.mirrors.domain import SIDES
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import PublicKey
from tests.acceptance.test_publish_kills import in_a_process, publish_change, sync_to
from tests.support.gateways import GatewayProcess, Setup, basic, serving, write_users
from tests.support.nginx import rendered
from tests.support.publishing import Publisher, statement

ONE_IN = 3
"""Of so many processes one is killed, if it has not ended by then."""


@dataclass
class World:
    """A publisher's data directory, the host that syncs from it, and nginx before the host."""

    data: Path
    key: PublicKey
    source: Path
    host: MirrorDirectory
    gateway: GatewayProcess
    concelier: GatewayProcess
    nginx: GatewayProcess


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("reader")
    publisher = Publisher(place / "data").filled()
    for name in ("community", "primary"):
        publisher.domain(name, advisories={"formats": ["osv"]}, vex={"formats": ["json", "openvex"]})
    publisher.publish()
    key, source, host = publisher.key(), publisher.root.root, MirrorDirectory(place / "host")
    publisher.close()
    sync_to(host, source, key)
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    common = {"GATEWAY__SECRETSDIR": str(place), "GATEWAY__TRUSTEDPROXIES": "127.0.0.0/8"}
    setup = Setup(host.root, place / "gateway", common)
    with ExitStack() as stack:
        sides = [stack.enter_context(serving(Setup(host.root, place / side, common), side)) for side in SIDES]
        gateway = stack.enter_context(serving(setup))
        front = rendered(setup, place / "nginx", gateway.url, sides[0].url, sides[1].url)
        nginx = stack.enter_context(front.serving())
        yield World(place / "data", key, source, host, gateway, sides[0], nginx)


class Reader:
    """Follows what an index names, on kept connections; what does not belong together ends it with an error."""

    def __init__(self, world: World, user: str, *, fresh: bool) -> None:
        self._key, self._login = world.key, basic(user)
        self._through = http.client.HTTPConnection("127.0.0.1", world.nginx.port, timeout=30)
        # Indexes may be a minute old behind a cache; straight from the gateway they name the newest tree.
        port = world.gateway.port if fresh else world.nginx.port
        self._index = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.seen: Counter[str] = Counter()
        self.rounds = 0

    def follow(self) -> None:
        """Once over both sides."""
        (entry,) = json.loads(self._get(self._index, "/concelier/exports/index.json"))["domains"]
        told = [
            json.loads(self._signed(f"/concelier/exports/{entry[name]['path']}", entry[name]["digest"]))
            for name in ("manifest", "bundle")
        ]
        assert {each["exportId"] for each in told} == {entry["exportId"]}
        assert told[0]["bundle"]["digest"] == entry["bundle"]["digest"]
        domain = entry["id"]
        listed = json.loads(self._get(self._index, f"/excititor/mirror/{domain}/index"))
        for each in listed["exports"]:
            base = f"/excititor/exports/{listed['exportId']}/mirror/{domain}"
            self._signed(f"{base}/{each['file']}", each["artifactDigest"])
        self.seen.update({f"concelier {entry['exportId']}": 1, f"excititor {listed['exportId']}": 1})
        self.rounds += 1

    def _signed(self, path: str, digest: str) -> bytes:
        data = self._get(self._through, path)
        assert digests.sha256(data) == digest, path
        signature = self._get(self._through, f"{path}.sig")
        cosign_blob.verify(signature, hashlib.sha256(data).digest(), self._key)
        return data

    def _get(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        while True:
            connection.request("GET", path, headers={"Authorization": self._login})
            reply = connection.getresponse()
            data = reply.read()
            if reply.status != 429:  # nginx lets no address ask faster than any reader has to
                assert reply.status == 200, (path, reply.status, data[:300])
                return data
            time.sleep(0.2)


def read_until(world: World, user: str, end: Path, told: Path, *, fresh: bool) -> None:
    """Follow again and again until a file says that it is enough; tell what was seen, or what went wrong."""
    reader = Reader(world, user, fresh=fresh)
    problem = ""
    try:
        while not end.exists():
            reader.follow()
            time.sleep(0.02)  # leave the processors to those who publish and sync
    except Exception as error:  # noqa: BLE001 - told to the test
        problem = f"{type(error).__name__}: {error}"
    told.write_text(json.dumps({"problem": problem, "rounds": reader.rounds, "seen": len(reader.seen)}))


def ended(child: int, kill_after: float | None) -> str:
    """How a process ended: `well`, `badly` or `killed`."""
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "well", -signal.SIGKILL: "killed"}.get(code, "badly")


def publish_and_sync(world: World, count: int) -> tuple[Counter[str], Counter[str]]:
    """Publish and sync so many times each, at the same time, until as many have ended well; how they ended."""
    chance = random.Random(count)
    published: Counter[str] = Counter()
    synced: Counter[str] = Counter()
    number = int(time.time() * 1000)
    while published["well"] < count or synced["well"] < count:
        number += 1
        publishing = in_a_process(partial(publish_change, world.data, number))
        syncing = in_a_process(lambda: sync_to(world.host, world.source, world.key))
        published[ended(publishing, chance.uniform(0, 0.25) if not chance.randrange(ONE_IN) else None)] += 1
        synced[ended(syncing, chance.uniform(0, 0.05) if not chance.randrange(ONE_IN) else None)] += 1
    return published, synced


def read_while(
    world: World, count: int, place: Path
) -> tuple[list[dict[str, Any]], Counter[str], Counter[str]]:
    """Readers in processes of their own while trees come and go."""
    end, files = place / "end", [place / f"told-{number}" for number in range(3)]
    wishes = (("edge", True), ("comm", True), ("edge", False))
    readers = [
        in_a_process(partial(read_until, world, user, end, file, fresh=fresh))
        for (user, fresh), file in zip(wishes, files, strict=True)
    ]
    try:
        published, synced = publish_and_sync(world, count)
    finally:
        end.touch()
        for reader in readers:
            os.waitpid(reader, 0)
    return [json.loads(file.read_text()) for file in files], published, synced


def demand_no_mixture(world: World, count: int, place: Path) -> None:
    told, published, synced = read_while(world, count, place)
    assert [each["problem"] for each in told] == ["", "", ""]
    assert min(each["rounds"] for each in told) >= count // 2
    assert max(each["seen"] for each in told) > count // 4
    assert published["killed"] + synced["killed"] >= count // 10


def test_no_reader_sees_a_mixture_during_twenty_publications_and_twenty_syncs(
    world: World, tmp_path: Path
) -> None:
    demand_no_mixture(world, 20, tmp_path)


@pytest.mark.slow
def test_no_reader_sees_a_mixture_during_two_hundred_publications_and_syncs(
    world: World, tmp_path: Path
) -> None:
    demand_no_mixture(world, 200, tmp_path)


def test_metrics_say_how_far_behind_the_host_is_and_how_old_what_it_serves_is(world: World) -> None:
    sync_to(world.host, world.source, world.key)
    begun = datetime.now(UTC)
    for served, sides in ((world.gateway, SIDES), (world.concelier, SIDES[:1])):
        for domain in ("community", "primary"):
            issued = min(statement(world.host.root, side, domain, world.key).issued for side in sides)
            age = served.metric("mirror_bundle_age_seconds", domain=domain)
            passed = (datetime.now(UTC) - begun).total_seconds()
            assert (
                (begun - issued).total_seconds() - 1 <= age <= (begun - issued).total_seconds() + passed + 1
            )
            assert 0 <= served.metric("mirror_sync_lag_seconds", domain=domain) <= passed + 2
    shown = world.gateway.ask("/metrics").body.decode()
    assert shown.count("mirror_sync_lag_seconds{domain=") == 2
