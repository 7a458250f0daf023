"""Mirror hosts sync from a mirror over HTTP, with credentials, and from a bucket; both on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_source
from stellaops.adapters.mirrors.sources import BucketSource
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.settings import load
from stellaops.adapters.web.client import WebSettings
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.errors import PublicationConflict, SourceUnreachable
from stellaops.mirrors.publish import publish
from stellaops.mirrors.sync import Synced, SyncTools, Trusted, Wish, sync
from stellaops.mirrors.sync_ports import TreeSource
from tests.support import gateways, s3
from tests.support.gateways import PASSWORD, Setup
from tests.support.object_places import LOOPBACK
from tests.support.publishing import RIGHT, Publisher, follow, snapshot

WEB = WebSettings(LOOPBACK)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "data").filled()
    for name in ("community", "primary"):
        made.domain(name)
    made.publish()
    yield made
    made.close()


def brought(source: TreeSource, into: Path, publisher: Publisher, **more: object) -> tuple[Synced, ...]:
    key = publisher.key()
    tools = SyncTools(
        source, MirrorDirectory(into), Trusted({key.key_id: key}), lambda: datetime.now(UTC), lambda _: None
    )
    return sync(Wish(SIDES, **more), tools)  # type: ignore[arg-type]


def test_a_mirror_is_synced_from_another_over_http_with_credentials(
    publisher: Publisher, tmp_path: Path
) -> None:
    place = tmp_path / "gateway"
    place.mkdir()
    for domain in ("community", "primary"):
        gateways.write_users(place / f"mirror-{domain}.htpasswd", {"edge": PASSWORD})
    login = tmp_path / "login"
    login.write_text(f"edge:{PASSWORD}\n", encoding="utf-8")
    settings, clock = load({"dataDir": str(tmp_path / "none")}, {}), lambda: datetime.now(UTC)
    with gateways.serving(Setup(publisher.root.root, place)) as gateway:
        told = Authentication("basic", str(login))
        source = open_source(gateway.url, settings, WEB, clock, told)
        done = brought(source, tmp_path / "host", publisher, at_once=4)
        assert {(each.side, each.domain) for each in done} == {
            (side, domain) for side in SIDES for domain in ("community", "primary")
        }
        for side in SIDES:
            assert snapshot(tmp_path / "host" / side / "latest") == snapshot(publisher.tree(side))
        publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
        publisher.publish()
        brought(source, tmp_path / "host", publisher)
        assert snapshot(tmp_path / "host/concelier/latest") == snapshot(publisher.tree())
        login.write_text("edge:wrong\n", encoding="utf-8")
        with pytest.raises(SourceUnreachable, match="answers 401"):
            brought(source, tmp_path / "host", publisher, domains=("primary",))
    with pytest.raises(SourceUnreachable):
        brought(source, tmp_path / "host", publisher)
    follow(tmp_path / "host", "primary", publisher.key())


@pytest.mark.slow
def test_a_mirror_is_published_to_a_bucket_and_synced_from_there(
    publisher: Publisher, tmp_path: Path
) -> None:
    (tmp_path / "weed").mkdir()
    with s3.serving(tmp_path / "weed") as server:
        base, _, name = server.url.rstrip("/").rpartition("/")
        at = BucketPlace.of(f"s3://{name}/mirrors", base, "us-east-1")
        client = S3Client(at, lambda: server.key, WEB, lambda: datetime.now(UTC))
        bucket, source = MirrorBucket(client), BucketSource(client)
        tools = publisher.local.publish_tools
        publish(publisher.root, tools, [bucket])
        assert {side: bucket.latest(side) for side in SIDES} == {
            side: publisher.id_of(side) for side in SIDES
        }
        brought(source, tmp_path / "host", publisher)
        for side in SIDES:
            assert snapshot(tmp_path / "host" / side / "latest") == snapshot(publisher.tree(side))
        old, tree = publisher.id_of(), publisher.tree()
        assert bucket.send("concelier", old, tree) == 0
        record = tools.publications.current(bucket.place, "concelier")
        assert record is not None
        publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
        publish(publisher.root, tools, [bucket])
        assert bucket.latest("concelier") == publisher.id_of() != old
        with pytest.raises(PublicationConflict, match="was moved on meanwhile"):
            bucket.point(record)
        brought(source, tmp_path / "host", publisher)
        assert snapshot(tmp_path / "host/concelier/latest") == snapshot(publisher.tree())
        bucket.remove("concelier", old)
        assert not bucket.has("concelier", old)
        assert bucket.has("concelier", publisher.id_of())
        # What was brought before a copy broke off is not sent again; what differs is.
        bucket.bucket.delete([f"concelier/{publisher.id_of()}.json"])
        assert bucket.send("concelier", publisher.id_of(), publisher.tree()) == 0
        bucket.bucket.delete([f"concelier/{publisher.id_of()}.json"])
        bucket.bucket.put(f"concelier/{publisher.id_of()}/index.json", b"{}")
        size = (publisher.tree() / "index.json").stat().st_size
        assert bucket.send("concelier", publisher.id_of(), publisher.tree()) == size
