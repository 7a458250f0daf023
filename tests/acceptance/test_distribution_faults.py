"""Distribution on bad days, from the command line to a real object store: what a run says, and what receivers see.

Whatever happens, receivers see the bundle before or the one after, never half of one; the bundle is kept here and can
be downloaded; and `stella export distribute` brings what is missing, once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stellaops.adapters.objects.s3_bucket import S3Bucket
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.web.client import WebSettings
from tests.support import faulty_server, s3, tools
from tests.support.faulty_server import (
    Answer,
    CutAnswer,
    CutRequest,
    Fault,
    Faulty,
    FlipRequest,
    Lost,
    Seen,
    always,
    first,
)
from tests.support.object_places import LOOPBACK
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    with s3.running(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def faulty(server: s3.Server) -> Iterator[Faulty]:
    with faulty_server.before(server.url) as found:
        yield found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries are noted, not waited."""
    noted: list[float] = []
    really = S3Client.__init__

    def opened(self: S3Client, *values: Any, **more: Any) -> None:
        really(self, *values, **more, sleep=noted.append)

    monkeypatch.setattr(S3Client, "__init__", opened)
    monkeypatch.setattr("stellaops.bootstrap.clock.sleep", noted.append)
    return noted


@dataclass
class Installation:
    """A data directory whose profile `weekly` is brought to the target `edge`."""

    stella: Stella
    place: Path
    server: s3.Server
    prefix: str
    key: Path
    _fed: int = 0
    _documents: list[dict[str, Any]] = field(default_factory=list)

    def profile(self, *, required: bool = False) -> None:
        """Store the profile."""
        target = {"driver": "object", "name": "edge", "required": required}
        spec = {"kind": "json", "variant": "raw", "distribution": [target]}
        document = {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "weekly"},
                    "spec": spec}  # fmt: skip
        file = self.place / "weekly.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        self.stella("export", "profile", "create", str(file))

    def feed(self) -> None:
        """Something new comes in."""
        self._fed += 1
        self._documents.append(osv(f"GHSA-2222-2222-{2221 + self._fed}", package("PyPI", "p", *until("1.0"))))
        self.stella.take(self.place / "feed", "ghsa", *self._documents)

    def submit(self) -> Any:
        """Run the profile on newer evidence, whatever comes of it."""
        self.feed()
        self.stella.ask("export", "run", "submit", "--profile", "weekly")
        (found,) = self.stella("export", "run", "list", "--latest")
        return self.stella("export", "run", "show", found["runId"])

    def distribute(self, run: Any) -> Any:
        return self.stella("export", "distribute", run["runId"], "--target", "edge")

    def use_key(self, bucket: s3.Bucket) -> None:
        """Put another access key into the target's file."""
        self.key.write_text(
            f"aws_access_key_id = {bucket.key.id}\naws_secret_access_key = {bucket.key.secret}\n",
            encoding="utf-8",
        )

    # ---- what receivers see

    @property
    def client(self) -> S3Client:
        place = BucketPlace.of(f"s3://{s3.BUCKET}/{self.prefix}/default", self.server.url, "us-east-1")
        return S3Client(
            place, lambda: self.server.bucket.key, WebSettings(LOOPBACK), lambda: datetime.now(UTC)
        )

    def latest(self) -> str | None:
        """The export that `latest.json` names."""
        found = S3Bucket(self.client).read("weekly/latest.json")
        return None if found is None else str(msgspec.json.decode(found[0])["exportId"])

    def received(self, run: Any, into: Path) -> dict[str, Any]:
        """The bundle of a run as a receiver gets and verifies it; the report."""
        bucket = S3Bucket(self.client)
        head = f"{run['exportId']}/{run['archiveId']}"
        listing = bucket.read(f"{head}.json")
        assert listing is not None
        for file in msgspec.json.decode(listing[0])["files"]:
            found = bucket.read(f"{head}/{file['path']}")
            assert found is not None
            (into / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            (into / file["path"]).write_bytes(found[0])
        report: dict[str, Any] = self.stella("export", "verify", str(into))
        return report

    def published_once(self, run: Any) -> None:
        """Every file is there exactly once, and nothing is left over: no other object, no part of an upload."""
        head = f"{run['exportId']}/{run['archiveId']}/"
        there = set(S3Bucket(self.client).listed(head))
        root = Path(run["bundle"])
        assert there == {
            f"{head}{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_file()
        }
        uploads = self.client.request("GET", query={"uploads": "", "prefix": f"{self.prefix}/"}).xml()
        assert list(uploads.all("Upload")) == []


@pytest.fixture
def installation(
    tmp_path: Path, server: s3.Server, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    return installed(tmp_path, server, faulty, monkeypatch)


def installed(
    tmp_path: Path, server: s3.Server, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """A fresh installation below a directory, whose target is reached through the proxy."""
    key, prefix = tmp_path / "edge.key", tmp_path.name
    for name, value in {
        "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
        "TARGETS__EDGE__DRIVER": "object",
        "TARGETS__EDGE__STORE": f"s3://{s3.BUCKET}/{prefix}/{{tenant}}",
        "TARGETS__EDGE__ENDPOINT": faulty.url,
        "TARGETS__EDGE__KEYFILE": str(key),
    }.items():
        monkeypatch.setenv(name, value)
    made = Installation(Stella(tmp_path / "data"), tmp_path, server, prefix, key)
    made.use_key(server.bucket)
    return made


def edge(run: Any) -> dict[str, Any]:
    """What a run says of the target."""
    (found,) = [each for each in run["targets"] if each["target"] == "edge"]
    return dict(found)


def is_put(seen: Seen) -> bool:
    return seen.method == "PUT"


def xml(status: int, code: str) -> Answer:
    return Answer(status, body=f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode())


def is_data(seen: Seen) -> bool:
    """The largest file of the bundle; smaller ones have arrived by then, or not."""
    return is_put(seen) and "/data/" in seen.path


DISTRIBUTION, REFUSED, FULL, CLOCK = (
    "ERR_EXPORT_DISTRIBUTION", "ERR_EXPORT_TARGET_REFUSED", "ERR_EXPORT_TARGET_FULL", "ERR_EXPORT_TARGET_CLOCK",
)  # fmt: skip
FAULTS: dict[str, tuple[Fault, Callable[[Seen], bool], str]] = {
    "connections that break in mid-push": (CutRequest(after=50), is_data, DISTRIBUTION),
    "answers that are lost": (Lost(), lambda seen: "list-type" in seen.query, DISTRIBUTION),
    "429 with a long Retry-After": (Answer(429, {"Retry-After": "900"}), is_put, DISTRIBUTION),
    "500": (Answer(500), is_data, DISTRIBUTION),
    "a byte that changes on the way": (FlipRequest(at=40), is_data, DISTRIBUTION),
    "a list that is cut off": (CutAnswer(after=10), lambda seen: "list-type" in seen.query, DISTRIBUTION),
    "the moving name cannot be written": (Answer(500), lambda seen: seen.path.endswith("latest.json") and is_put(seen),
                                          DISTRIBUTION),
    "expired credentials": (xml(400, "ExpiredToken"), is_put, REFUSED),
    "a full bucket": (xml(507, "XMinioStorageFull"), is_data, FULL),
    "clocks that differ": (xml(403, "RequestTimeTooSkewed"), lambda seen: True, CLOCK),
}  # fmt: skip


QUICK = ("connections that break in mid-push", "expired credentials", "the moving name cannot be written")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS]
)
def test_a_target_that_fails_leaves_the_run_degraded_and_receivers_with_the_bundle_before(
    name: str, installation: Installation, faulty: Faulty, tmp_path: Path
) -> None:
    fault, meant, code = FAULTS[name]
    installation.profile()
    before = installation.submit()
    assert (before["status"], before["degraded"], edge(before)["latest"]) == ("succeeded", False, True)
    assert installation.latest() == before["exportId"]

    faulty.misbehave = always(fault, meant)
    run = installation.submit()
    assert faulty.met > 0
    assert (run["status"], run["degraded"]) == ("succeeded", True)
    assert (edge(run)["status"], edge(run)["errorCode"]) == ("failed", code)
    assert installation.server.bucket.key.secret not in json.dumps(run)
    assert installation.latest() == before["exportId"]
    assert installation.received(before, tmp_path / "before")["verdict"] == "ok"
    assert installation.stella("export", "verify", run["runId"])["verdict"] == "ok", "it is kept here"

    faulty.forget()
    done = installation.distribute(run)
    assert (done["status"], done["degraded"], edge(done)["status"]) == ("succeeded", False, "succeeded")
    assert installation.latest() == run["exportId"]
    assert installation.received(run, tmp_path / "after")["verdict"] == "ok"
    installation.published_once(run)
    faulty.forget()
    installation.distribute(run)
    assert [seen.path for seen in faulty.requests if is_put(seen)] == [], "nothing is published twice"


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (Answer(429, {"Retry-After": "3"}), {3.0}),
        pytest.param(CutRequest(after=50), None, marks=pytest.mark.slow),
        pytest.param(Lost(), None, marks=pytest.mark.slow),
        pytest.param(Answer(503), None, marks=pytest.mark.slow),
        pytest.param(FlipRequest(at=40), None, marks=pytest.mark.slow),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_passing_fault_is_not_seen_in_the_run(
    fault: Fault,
    waited: set[float] | None,
    installation: Installation,
    faulty: Faulty,
    no_pauses: list[float],
) -> None:
    installation.profile(required=True)
    faulty.misbehave = first(3, fault, is_put)
    run = installation.submit()
    assert (run["status"], run["degraded"], faulty.met) == ("succeeded", False, 3)
    assert installation.latest() == run["exportId"]
    installation.published_once(run)
    assert no_pauses
    if waited is not None:
        assert set(no_pauses) == waited, "the server said when"


def test_a_run_that_is_required_to_reach_a_target_fails_and_succeeds_when_it_does(
    installation: Installation, faulty: Faulty
) -> None:
    installation.profile(required=True)
    faulty.misbehave = always(Answer(500))
    run = installation.submit()
    assert (run["status"], run["errorCode"], edge(run)["status"]) == ("failed", "distribution", "failed")
    assert installation.latest() is None
    faulty.forget()
    done = installation.distribute(run)
    assert (done["status"], done["errorCode"], edge(done)["status"]) == ("succeeded", None, "succeeded")
    assert installation.latest() == run["exportId"]
    installation.published_once(run)


def test_a_user_who_may_only_read_is_refused_with_the_reason(
    installation: Installation, server: s3.Server, faulty: Faulty
) -> None:
    installation.profile()
    installation.use_key(server.reader)
    run = installation.submit()
    assert (run["status"], run["degraded"], edge(run)["errorCode"]) == ("succeeded", True, REFUSED)
    assert "403 AccessDenied" in edge(run)["error"]
    assert len([seen for seen in faulty.requests if is_put(seen)]) <= 8, (
        "what is not allowed is not tried again"
    )
    answer = installation.stella.ask("export", "target", "test", "edge")
    assert answer.code != 0
    assert REFUSED in answer.out + answer.err
    installation.use_key(server.bucket)
    assert edge(installation.distribute(run))["status"] == "succeeded"
    assert installation.stella("export", "target", "test", "edge")["status"] == "ok"


def test_a_server_that_is_killed_in_mid_push_gets_the_rest_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3").mkdir()
    with s3.running(tmp_path / "s3") as server, faulty_server.before(server.url) as faulty:
        place = tmp_path / "here"
        place.mkdir()
        made = installed(place, server, faulty, monkeypatch)
        made.profile()
        before = made.submit()

        def dies(seen: Seen) -> Fault | None:
            if is_data(seen):
                server.kill()
            return None

        faulty.misbehave = dies
        run = made.submit()
        assert (run["status"], run["degraded"], edge(run)["errorCode"]) == ("succeeded", True, DISTRIBUTION)
        faulty.forget()
        server.start()
        assert made.latest() == before["exportId"]
        assert made.received(before, tmp_path / "before")["verdict"] == "ok"
        assert edge(made.distribute(run))["status"] == "succeeded"
        assert made.latest() == run["exportId"]
        assert made.received(run, tmp_path / "after")["verdict"] == "ok"
        made.published_once(run)


@pytest.mark.slow
def test_a_server_whose_disk_is_full_takes_the_bundle_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        tools.small_disk(tmp_path / "disk", 64 << 20) as disk,
        s3.running(disk) as server,
        faulty_server.before(server.url) as faulty,
    ):
        place = tmp_path / "here"
        place.mkdir()
        made = installed(place, server, faulty, monkeypatch)
        made.profile()
        before = made.submit()
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as out:
            while True:
                out.write(os.urandom(1 << 20))
                out.flush()
        run = made.submit()
        assert (run["status"], run["degraded"], edge(run)["status"]) == ("succeeded", True, "failed")
        ballast.unlink()
        server.kill()
        server.start()
        assert made.latest() == before["exportId"]
        assert edge(made.distribute(run))["status"] == "succeeded"
        assert made.latest() == run["exportId"]
        assert made.received(run, tmp_path / "after")["verdict"] == "ok"
