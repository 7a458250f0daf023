"""Mirror hosts sync from a mirror over HTTP, with credentials, and from a bucket; both on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_source
from stellaops.adapters.mirrors.sources import BucketSource
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.settings.load import load
from stellaops.adapters.web.client import WebSettings
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.errors import PublicationConflict, SourceUnreachable
from stellaops.mirrors.publish import publish
from stellaops.mirrors.sync import Synced, SyncTools, Trusted, Wish, sync
from stellaops.mirrors.sync_ports import TreeSource
from tests.contract.stores import sqlite_store
from tests.support import gateways, s3
from tests.support.gateways import PASSWORD, Setup
from tests.support.object_places import LOOPBACK
from tests.support.publishing import RIGHT, Publisher, follow, snapshot
from tests.support.pulling import Puller, bucket, ok

WEB = WebSettings(LOOPBACK)


@dataclass(frozen=True)
class Served:
    """A publisher, and the gateway that serves what it publishes."""

    publisher: Publisher
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("gateway")
    for domain in ("community", "primary"):
        gateways.write_users(place / f"mirror-{domain}.htpasswd", {"edge": PASSWORD})
    publisher = published(tmp_path_factory.mktemp("publisher"))
    with gateways.serving(Setup(publisher.root.root, place)) as gateway:
        yield Served(publisher, gateway.url)
    publisher.close()


def published(place: Path) -> Publisher:
    made = Publisher(place / "data").filled()
    for name in ("community", "primary"):
        made.domain(name)
    made.publish()
    return made


def login_file(place: Path, password: str = PASSWORD) -> Authentication:
    file = place / "login"
    file.write_text(f"edge:{password}\n", encoding="utf-8")
    return Authentication("basic", str(file))


def brought(source: TreeSource, into: Path, publisher: Publisher, **more: object) -> tuple[Synced, ...]:
    key = publisher.key()
    tools = SyncTools(
        source, MirrorDirectory(into), Trusted({key.key_id: key}), lambda: datetime.now(UTC), lambda _: None
    )
    return sync(Wish(SIDES, **more), tools)  # type: ignore[arg-type]


def test_a_mirror_is_synced_from_another_over_http_with_credentials(served: Served, tmp_path: Path) -> None:
    settings, clock = load({"dataDir": str(tmp_path / "none")}, {}), lambda: datetime.now(UTC)
    source = open_source(served.url, settings, WEB, clock, login_file(tmp_path))
    publisher, host = served.publisher, tmp_path / "host"
    done = brought(source, host, publisher)
    assert {(each.side, each.domain) for each in done} == {
        (side, domain) for side in SIDES for domain in ("community", "primary")
    }
    for side in SIDES:
        assert snapshot(host / side / "latest") == snapshot(publisher.tree(side))
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
    publisher.publish()
    # A gateway may look at its trees, and at what it has in memory of them, only now and then.
    gateways.until(lambda: brought(source, host, publisher)[0].export_id == publisher.id_of())
    assert snapshot(host / "concelier/latest") == snapshot(publisher.tree())
    login_file(tmp_path, "wrong")
    with pytest.raises(SourceUnreachable, match="answers 401") as refused:
        brought(source, host, publisher, domains=("primary",))
    assert "--credentials" in refused.value.advice
    nobody = open_source("http://127.0.0.1:1", settings, WEB, clock)
    with pytest.raises(SourceUnreachable):
        brought(nobody, host, publisher)
    follow(host, "primary", publisher.key())


def test_a_mirror_is_a_source_for_the_pulls_of_others(served: Served, tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "store")
    puller = Puller(store, store.engine, tmp_path)
    definition = bucket(f"{served.url}/osv/primary/", "*", authentication=login_file(tmp_path))
    first = ok(puller.pull(definition))
    assert first.report is not None
    assert (first.report.added, first.report.quarantined) == (2, 0)
    puller.clock += timedelta(days=1)
    again = ok(puller.pull(definition))
    assert again.sequence == first.sequence
    login_file(tmp_path, "wrong")
    assert puller.pull(definition, full=True).state == "failed"
    store.engine.dispose()


@pytest.mark.slow
def test_a_mirror_is_published_to_a_bucket_and_synced_from_there(tmp_path: Path) -> None:
    publisher = published(tmp_path)
    (tmp_path / "weed").mkdir()
    with s3.serving(tmp_path / "weed") as server:
        base, _, name = server.url.rstrip("/").rpartition("/")
        at = BucketPlace.of(f"s3://{name}/mirrors", base, "us-east-1")
        client = S3Client(at, lambda: server.key, WEB, lambda: datetime.now(UTC))
        copied, source = MirrorBucket(client), BucketSource(client)
        tools = publisher.local.publish_tools
        publish(publisher.root, tools, [copied])
        assert {side: copied.latest(side) for side in SIDES} == {
            side: publisher.id_of(side) for side in SIDES
        }
        brought(source, tmp_path / "host", publisher)
        for side in SIDES:
            assert snapshot(tmp_path / "host" / side / "latest") == snapshot(publisher.tree(side))
        old, tree = publisher.id_of(), publisher.tree()
        assert copied.send("concelier", old, tree) == 0
        record = tools.publications.current(copied.place, "concelier")
        assert record is not None
        publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
        publish(publisher.root, tools, [copied])
        assert copied.latest("concelier") == publisher.id_of() != old
        with pytest.raises(PublicationConflict, match="was moved on meanwhile"):
            copied.point(record)
        brought(source, tmp_path / "host", publisher)
        assert snapshot(tmp_path / "host/concelier/latest") == snapshot(publisher.tree())
        copied.remove("concelier", old)
        assert not copied.has("concelier", old)
        assert copied.has("concelier", publisher.id_of())
        # What was brought before a copy broke off is not sent again; what differs is.
        copied.bucket.delete([f"concelier/{publisher.id_of()}.json"])
        assert copied.send("concelier", publisher.id_of(), publisher.tree()) == 0
        copied.bucket.delete([f"concelier/{publisher.id_of()}.json"])
        copied.bucket.put(f"concelier/{publisher.id_of()}/index.json", b"{}")
        size = (publisher.tree() / "index.json").stat().st_size
        assert copied.send("concelier", publisher.id_of(), publisher.tree()) == size
    publisher.close()
