"""The driver `object` against a real server, on good days and, through a proxy, on bad ones."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stellaops.adapters.objects import s3_bucket
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.objects.s3_keys import StoreKeyMissing, key_source
from stellaops.adapters.settings.targets import BadTarget, TargetSettings
from stellaops.adapters.targets import object_store
from stellaops.adapters.targets.object_store import TargetClock, TargetFull, TargetRefused
from stellaops.adapters.web.client import WebSettings
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.core.egress import AddressRefused, EgressPolicy, SchemeRefused, networks
from stellaops.exports.distribution.ports import Delivery
from stellaops.exports.errors import DistributionFailed
from tests.support import faulty_server, s3
from tests.support.faulty_server import (
    Answer,
    CutAnswer,
    CutRequest,
    Fault,
    Faulty,
    FlipAnswer,
    FlipRequest,
    Lost,
    Seen,
    Silent,
    Slow,
    always,
    first,
)
from tests.support.object_places import LOOPBACK, ObjectPlace, context
from tests.support.targets import contents, delivery, kept, measured, untold


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Bucket]:
    with s3.serving(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def faulty(bucket: s3.Bucket) -> Iterator[Faulty]:
    with faulty_server.before(bucket.url.rstrip("/").rpartition("/")[0]) as found:
        yield found


@pytest.fixture
def place(bucket: s3.Bucket, faulty: Faulty, tmp_path: Path, request: pytest.FixtureRequest) -> ObjectPlace:
    """A place that is reached through the proxy, by someone who does not wait long for one that says nothing."""
    named = getattr(request.node, "callspec", None)
    fault = named.params.get("fault") if named else None
    # On a busy machine a sound server may take seconds to answer.
    seconds = 1.5 if fault == "no answer" or isinstance(fault, Silent) else 30.0
    impatient = WebSettings(LOOPBACK, connect_seconds=10.0, read_seconds=seconds)
    return ObjectPlace(tmp_path, bucket, faulty.url, context={"web": impatient})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between attempts are noted, not waited; parts are as small as S3 lets them be."""
    waits: list[float] = []
    really = S3Client.__init__

    def opened(self: S3Client, *values: Any, **more: Any) -> None:
        really(self, *values, **more, sleep=waits.append)

    monkeypatch.setattr(S3Client, "__init__", opened)
    monkeypatch.setattr(s3_bucket, "PART", 5 << 20)
    return waits


def large(directory: Path, size: int | None = None) -> Delivery:
    """A bundle with a file that goes in parts."""
    made = delivery(directory)
    (made.root / "mirror-20260301-full.tar.zst").write_bytes(os.urandom(size or 3 * s3_bucket.PART + 12_345))
    return replace(made, files=measured(made.root))


def is_put(seen: Seen) -> bool:
    return seen.method == "PUT"


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber" in seen.query


def is_post(seen: Seen) -> bool:
    return seen.method == "POST"


def is_list(seen: Seen) -> bool:
    return seen.method == "GET" and "list-type" in seen.query


def fetched(place: ObjectPlace, made: Delivery, reference: str, directory: Path) -> dict[str, bytes]:
    directory.mkdir()
    names = kept(made, type("D", (), {"reference": reference})())
    place.open().fetch(names, directory)
    return contents(directory)


ON_THE_WAY_THERE: dict[str, Fault] = {
    "the server is killed in mid-push": CutRequest(after=1000),
    "the server is killed before its answer": Lost(),
    "429 with Retry-After": Answer(429, {"Retry-After": "2"}),
    "503": Answer(503, body=b"<Error><Code>SlowDown</Code></Error>"),
    "500": Answer(500),
    "a byte that changed on the way": FlipRequest(at=700),
    "no answer": Silent(5),
}
ON_THE_WAY_BACK: dict[str, Fault] = {
    "a slow loris": Slow(piece=1, pause=0.2),
    "an answer that is cut off": CutAnswer(after=0),
}


def slow_where(name: str, others: bool) -> tuple[pytest.MarkDecorator, ...]:
    """Parts are what is long under way; the same for other requests belongs to the long tests, but for one."""
    return (pytest.mark.slow,) if others and name != "503" else ()


CASES = [
    *((name, fault, "whole files", is_put) for name, fault in ON_THE_WAY_THERE.items()),
    *((name, fault, "parts", is_part) for name, fault in ON_THE_WAY_THERE.items()),
    *((name, fault, "uploads", is_post) for name, fault in (ON_THE_WAY_THERE | ON_THE_WAY_BACK).items()),
    *((name, fault, "lists", is_list) for name, fault in ON_THE_WAY_BACK.items()),
]


@pytest.mark.parametrize(
    ("fault", "meant"),
    [
        pytest.param(fault, meant, id=f"{where}: {name}", marks=slow_where(name, where != "parts"))
        for name, fault, where, meant in CASES
    ],
)
def test_a_passing_fault_is_got_over_and_the_bundle_is_whole(
    fault: Fault, meant: Callable[[Seen], bool], place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path, 2 * s3_bucket.PART)
    faulty.misbehave = first(2, fault, meant)
    target = place.open()
    delivered = target.deliver(made, untold)
    target.point(made, delivered)
    assert faulty.met == 2
    faulty.forget()
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)
    assert target.newest(kept(made, delivered)) == delivered.reference
    assert target.deliver(made, untold).sent == 0, "nothing was left to be sent"


def test_a_server_that_says_when_is_asked_again_then(
    place: ObjectPlace, faulty: Faulty, tmp_path: Path, at_once: list[float]
) -> None:
    faulty.misbehave = first(1, Answer(429, {"Retry-After": "7"}), is_put)
    place.open().deliver(delivery(tmp_path), untold)
    assert at_once == [7.0]


def test_a_long_wait_is_left_to_whoever_asked_for_the_delivery(
    place: ObjectPlace, faulty: Faulty, tmp_path: Path, at_once: list[float]
) -> None:
    faulty.misbehave = always(Answer(429, {"Retry-After": "300"}), is_put)
    with pytest.raises(DistributionFailed) as failed:
        place.open().deliver(delivery(tmp_path), untold)
    assert failed.value.retry_after == 300
    assert failed.value.again
    assert at_once == []


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=slow_where(name, others=True)) for name in ON_THE_WAY_THERE]
)
def test_a_fault_that_stays_is_told_and_nothing_half_is_seen(
    fault: str, place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    older, newer = delivery(tmp_path, 1), delivery(tmp_path, 2)
    target = place.open()
    delivered = target.deliver(older, untold)
    target.point(older, delivered)
    faulty.misbehave = always(ON_THE_WAY_THERE[fault], is_put)
    with pytest.raises(DistributionFailed) as failed:
        target.deliver(newer, untold)
    assert failed.value.again
    assert place.bucket.key.secret not in str(failed.value)
    faulty.forget()
    assert target.newest(kept(newer, delivered)) == delivered.reference
    assert fetched(place, older, delivered.reference, tmp_path / "back") == contents(older.root)
    reference = delivered.reference.replace("export-1/archive-1", "export-2/archive-2")
    (tmp_path / "none").mkdir()
    with pytest.raises(DistributionFailed):
        target.fetch(replace(kept(newer, delivered), reference=reference), tmp_path / "none")
    assert target.deliver(newer, untold).reference == reference
    assert fetched(place, newer, reference, tmp_path / "new") == contents(newer.root)


def test_a_large_file_goes_on_after_the_part_where_it_broke_off(
    place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    faulty.misbehave = always(
        CutRequest(after=5000), lambda seen: seen.query.startswith(("partNumber=3", "partNumber=4"))
    )
    with pytest.raises(DistributionFailed):
        place.open().deliver(made, untold)
    faulty.forget()
    delivered = place.open().deliver(made, untold)
    assert len({seen.query for seen in faulty.requests if is_part(seen)}) == 2, "two of four parts were there"
    assert delivered.sent < 2 * s3_bucket.PART
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)


def test_parts_of_another_content_are_sent_again(place: ObjectPlace, faulty: Faulty, tmp_path: Path) -> None:
    made = large(tmp_path)
    faulty.misbehave = always(CutRequest(after=10), lambda seen: "partNumber=4" in seen.query)
    with pytest.raises(DistributionFailed):
        place.open().deliver(made, untold)
    faulty.forget()
    (made.root / "mirror-20260301-full.tar.zst").write_bytes(os.urandom(3 * s3_bucket.PART + 12_345))
    made = replace(made, files=measured(made.root))
    delivered = place.open().deliver(made, untold)
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)


def test_a_byte_that_changes_on_the_way_is_refused_by_the_server(
    place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    faulty.misbehave = always(FlipRequest(at=100), is_part)
    with pytest.raises(DistributionFailed, match=r"BadDigest|Mismatch"):
        place.open().deliver(made, untold)


@pytest.mark.parametrize("large_too", [False, True])
def test_a_byte_that_changes_on_the_way_back_is_noticed_and_got_again(
    large_too: bool, place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path) if large_too else delivery(tmp_path)
    delivered = place.open().deliver(made, untold)
    ending = ".tar.zst" if large_too else "00000.jsonl.zst"
    faulty.misbehave = first(
        1, FlipAnswer(at=5000), lambda seen: seen.method == "GET" and seen.path.endswith(ending)
    )
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)
    assert faulty.met == 1
    faulty.misbehave = always(
        FlipAnswer(at=5000), lambda seen: seen.method == "GET" and seen.path.endswith(ending)
    )
    with pytest.raises(DistributionFailed, match="not as they were sent") as failed:
        fetched(place, made, delivered.reference, tmp_path / "again")
    assert not failed.value.again


def test_a_download_that_breaks_off_goes_on_where_it_was(
    place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    delivered = place.open().deliver(made, untold)
    faulty.forget()
    faulty.misbehave = first(
        3, CutAnswer(after=3 << 20), lambda seen: seen.method == "GET" and "range" in seen.headers
    )
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)
    starts = [seen.headers["range"] for seen in faulty.requests if "range" in seen.headers]
    assert any(int(each.removeprefix("bytes=").partition("-")[0]) % s3_bucket.PART for each in starts)


def test_a_damaged_object_is_named_and_the_next_delivery_mends_it(place: ObjectPlace, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    delivered = place.open().deliver(made, untold)
    key = f"{place.prefix}/acme/export-1/archive-1/data/raw/advisories/00001.jsonl.zst"
    place.bucket.put(key, b"2" * 70_000)
    with pytest.raises(DistributionFailed, match=r"00001\.jsonl\.zst"):
        fetched(place, made, delivered.reference, tmp_path / "back")
    assert place.open().deliver(made, untold).sent == 70_000
    assert fetched(place, made, delivered.reference, tmp_path / "again") == contents(made.root)


# ---- who may, and what there is no room for


def test_a_wrong_key_is_refused_and_shows_nowhere(place: ObjectPlace, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text(
        f"aws_access_key_id={place.bucket.key.id}\naws_secret_access_key={'0' * 40}\n", encoding="utf-8"
    )
    place.more["keyFile"] = str(wrong)
    target = place.open()
    for call in (lambda: target.deliver(delivery(tmp_path), untold), target.probe):
        with pytest.raises(TargetRefused) as refused:
            call()
        assert "0" * 40 not in str(refused.value)
        assert "SignatureDoesNotMatch" in str(refused.value)
    assert "0" * 40 not in repr(target)


def test_a_key_that_is_rotated_in_its_file_is_used_by_a_target_that_is_open(
    place: ObjectPlace, tmp_path: Path
) -> None:
    file = tmp_path / "rotating.key"
    file.write_text("aws_access_key_id=gone\naws_secret_access_key=gone\n", encoding="utf-8")
    place.more["keyFile"] = str(file)
    target = place.open()
    with pytest.raises(TargetRefused, match="InvalidAccessKeyId"):
        target.probe()
    key = place.bucket.key
    file.write_text(f"aws_access_key_id={key.id}\naws_secret_access_key={key.secret}\n", encoding="utf-8")
    target.probe()


def test_credentials_that_have_expired_are_told_as_that(place: ObjectPlace, faulty: Faulty) -> None:
    body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    faulty.misbehave = always(Answer(400, body=body))
    with pytest.raises(TargetRefused, match="ExpiredToken") as refused:
        place.open().probe()
    assert "Renew the access key" in refused.value.advice


@pytest.mark.parametrize("minutes", [20, -20, 60 * 24])
def test_a_clock_that_is_wrong_is_told_as_that(minutes: int, place: ObjectPlace, tmp_path: Path) -> None:
    place.context["now"] = lambda: datetime.now(UTC) + timedelta(minutes=minutes)
    with pytest.raises(TargetClock, match="RequestTimeTooSkewed"):
        place.open().deliver(delivery(tmp_path), untold)
    place.context["now"] = lambda: datetime.now(UTC) + timedelta(minutes=minutes / abs(minutes) * 5)
    assert place.open().deliver(delivery(tmp_path), untold).sent > 0


@pytest.mark.parametrize(
    ("status", "code"),
    [(507, "XMinioStorageFull"), (403, "QuotaExceeded"), (400, "XMinioAdminBucketQuotaExceeded")],
)
def test_a_bucket_that_is_full_is_told_as_that_and_goes_on_when_there_is_room(
    status: int, code: str, place: ObjectPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    full = Answer(status, body=f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
    faulty.misbehave = always(full, lambda seen: "partNumber=3" in seen.query)
    with pytest.raises(TargetFull, match=code):
        place.open().deliver(made, untold)
    assert place.open().newest(kept(made, place.open().deliver(delivery(tmp_path / "x"), untold))) is None
    faulty.forget()
    delivered = place.open().deliver(made, untold)
    assert delivered.sent < 3 * s3_bucket.PART
    assert fetched(place, made, delivered.reference, tmp_path / "back") == contents(made.root)


def test_a_bucket_that_is_not_there_is_told(place: ObjectPlace, faulty: Faulty) -> None:
    # The server of these tests makes a bucket when someone writes to it.
    body = b"<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"
    faulty.misbehave = always(Answer(404, body=body))
    with pytest.raises(DistributionFailed, match="NoSuchBucket") as failed:
        place.open().deliver(delivery(place.directory), untold)
    assert not failed.value.again


# ---- the moving name


def test_two_that_move_latest_at_once_leave_the_newer_one(place: ObjectPlace, tmp_path: Path) -> None:
    bundles = [delivery(tmp_path, number) for number in range(1, 9)]
    targets = [place.open() for _ in bundles]
    delivered = [target.deliver(made, untold) for target, made in zip(targets, bundles, strict=True)]
    start, refused = threading.Barrier(len(bundles)), list[int]()

    def move(number: int) -> None:
        start.wait()
        try:
            targets[number].point(bundles[number], delivered[number])
        except DistributionFailed:
            refused.append(number)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(len(bundles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 7 not in refused
    assert place.open().newest(kept(bundles[0], delivered[0])) == delivered[7].reference


def test_latest_is_old_or_new_at_every_moment_and_says_what_it_names(
    place: ObjectPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    target = place.open()
    target.point(made, target.deliver(made, untold))
    client = S3Client(
        BucketPlace.of(f"s3://feeds/{place.prefix}/acme", place.url, "us-east-1"),
        lambda: place.bucket.key, WebSettings(LOOPBACK), lambda: datetime.now(UTC),
    )  # fmt: skip
    reply = client.request("GET", f"{client.place.prefix}raw/latest.json")
    told = msgspec.json.decode(reply.body)
    assert told == {
        "schema": "https://stellaops.io/export-center/latest/v1", "profile": "raw", "kind": "json:raw",
        "exportId": "export-1", "archiveId": "archive-1", "generatedAt": "2026-03-01T12:00:00Z", "sequence": 10,
        "path": "export-1/archive-1/",
    }  # fmt: skip
    assert reply.headers["cache-control"] == "no-cache"


def test_a_moving_name_that_others_wrote_is_left_alone(place: ObjectPlace, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    delivered = place.open().deliver(made, untold)
    place.bucket.put(f"{place.prefix}/acme/raw/latest.json", b"<html>")
    with pytest.raises(DistributionFailed, match="not written by us") as failed:
        place.open().point(made, delivered)
    assert not failed.value.again


# ---- settings


def test_what_is_locked_stays(bucket: s3.Bucket, place: ObjectPlace, tmp_path: Path) -> None:
    server = bucket.url.rstrip("/").rpartition("/")[0]
    locked = S3Client(
        BucketPlace.of("s3://locked", server, "us-east-1"), lambda: bucket.key, WebSettings(LOOPBACK),
        lambda: datetime.now(UTC),
    )  # fmt: skip
    locked.request("PUT", headers={"x-amz-bucket-object-lock-enabled": "true"}, allowed=(409,))
    place.more |= {"store": "s3://locked/acme", "lock.mode": "compliance", "lock.days": "1"}
    target = place.open()
    assert target.probe()["remarks"] == []
    made = large(tmp_path)
    delivered = target.deliver(made, untold)
    for path in ("export.json", "mirror-20260301-full.tar.zst"):
        key = f"acme/export-1/archive-1/{path}"
        told = locked.request("GET", key, query={"retention": ""}).xml()
        assert told.told("Mode") == "COMPLIANCE"
        assert told.told("RetainUntilDate") > datetime.now(UTC).isoformat()
        version = locked.request("HEAD", key).headers["x-amz-version-id"]
        reply = locked.request("DELETE", key, query={"versionId": version}, allowed=(403,))
        assert reply.status == 403, "the version itself cannot be removed"
    target.point(made, delivered)
    assert target.newest(kept(made, delivered)) == delivered.reference, "the moving name is not locked"


def test_a_bucket_that_locks_nothing_is_remarked_upon(place: ObjectPlace) -> None:
    place.more |= {"lock.mode": "governance", "lock.days": "1"}
    assert any("object lock" in remark for remark in place.open().probe()["remarks"])


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"store": "https://feeds"}, "address of a bucket"),
        ({"store": "s3://feeds/a/../b"}, "dots"),
        ({"endpoint": "ftp://x"}, "endpoint"),
        ({"endpoint": "https://u:p@x"}, "endpoint"),
        ({"lock.mode": "forever", "lock.days": "1"}, "lock"),
        ({"lock.mode": "governance"}, "lock"),
    ],
)
def test_settings_that_cannot_be_used_are_named(more: dict[str, str], named: str, place: ObjectPlace) -> None:
    place.more |= more
    with pytest.raises(BadTarget, match=named):
        place.open()


def test_a_bucket_of_aws_itself_needs_its_region(tmp_path: Path) -> None:
    settings = TargetSettings("edge", "object", {"store": "s3://bundles/a"})
    with pytest.raises(BadTarget, match="region"):
        object_store.open_target("edge", settings, context(tmp_path))
    for store, base in (
        ("s3://bundles/a", "https://bundles.s3.eu-central-1.amazonaws.com"),
        ("s3://bundles.example.org/a", "https://s3.eu-central-1.amazonaws.com/bundles.example.org"),
    ):
        assert BucketPlace.of(store, None, "eu-central-1").base == base


def test_the_network_is_reached_by_the_rules_of_egress_alone(place: ObjectPlace) -> None:
    place.context["web"] = WebSettings(EgressPolicy(networks(["127.0.0.0/8"])))
    with pytest.raises(SchemeRefused):
        place.open().probe()
    place.context["web"] = WebSettings(EgressPolicy((), frozenset({"127.0.0.1"})))
    with pytest.raises(AddressRefused):
        place.open().probe()


def test_a_machine_without_a_key_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreKeyMissing, match="no\\.key"):
        key_source(str(tmp_path / "no.key"))(None)
    (tmp_path / "empty.key").write_text("region = x\n", encoding="utf-8")
    with pytest.raises(StoreKeyMissing, match="holds no access key"):
        key_source(str(tmp_path / "empty.key"))(None)


def test_a_key_keeps_its_region_unless_the_settings_name_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("aws_access_key_id=a\naws_secret_access_key=b\nregion=eu-west-1\n", encoding="utf-8")
    assert key_source(str(file))(None) == AccessKey("a", "b", region="eu-west-1")
    assert key_source(str(file))("eu-north-1").region == "eu-north-1"


def test_an_address_that_is_signed_opens_one_object_for_a_while(bucket: s3.Bucket, tmp_path: Path) -> None:
    import urllib3  # noqa: PLC0415

    server = bucket.url.rstrip("/").rpartition("/")[0]
    moment = [datetime.now(UTC)]
    client = S3Client(
        BucketPlace.of("s3://feeds", server, "us-east-1"), lambda: bucket.key, WebSettings(LOOPBACK),
        lambda: moment[0],
    )  # fmt: skip
    client.request("PUT", "a dir/f+ü.json", body=b"{}")
    told = {"response-content-disposition": 'attachment; filename="f.json"'}
    url = client.presigned("a dir/f+ü.json", 60, told)
    assert bucket.key.secret not in url
    http = urllib3.PoolManager()
    reply = http.request("GET", url)
    assert (reply.status, reply.data) == (200, b"{}")
    assert reply.headers["content-disposition"] == 'attachment; filename="f.json"'
    assert http.request("GET", url.replace("f%2B", "g%2B")).status == 403
    moment[0] -= timedelta(minutes=5)
    assert http.request("GET", client.presigned("a dir/f+ü.json", 60)).status == 403
    assert hashlib.sha256(b"{}").hexdigest() not in url
