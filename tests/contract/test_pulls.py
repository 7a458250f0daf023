"""Pulls from a server on this machine: they come to what an import of the files comes to, whatever the server does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.sql.pulls import SqlPulls
from stellaops.ingest.pull_backoff import ATTEMPTS, CIRCUIT_FAILURES
from stellaops.ingest.pull_errors import ServerBusy
from stellaops.ingest.pull_model import Authentication, Definition
from tests.contract.stores import Store, osv, sqlite_store
from tests.support import osv_bucket
from tests.support.pulling import Puller, bucket, ok
from tests.support.tools import ROOT
from tests.support.web import Answer, Cut, Fault, Request, Slow, Upstream, WrongLength, serving

EXAMPLES = ROOT / "examples" / "advisories"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def puller(store: Store, tmp_path: Path) -> Puller:
    return Puller(store, store.engine, tmp_path)


def real_documents() -> dict[str, dict[str, bytes]]:
    """The example advisories, which are real ones, as two ecosystems of one bucket."""
    found: dict[str, dict[str, bytes]] = {}
    for ecosystem, folder in (("PyPI", "pypa"), ("Go", "govuln")):
        found[ecosystem] = {
            path.stem: path.read_bytes() for path in sorted((EXAMPLES / folder).glob("*.json"))
        }
        found[ecosystem] |= {
            path.stem: path.read_bytes() for path in sorted((EXAMPLES / "ghsa").glob("*.json"))[:9]
        }
    return found


def small(count: int = 6, **fields: Any) -> dict[str, dict[str, Any]]:
    """Documents of one ecosystem, each last changed on a day of its own."""
    days = (datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=number) for number in range(count))
    documents = {
        f"GHSA-aaaa-bbbb-{number:04}": osv(
            f"GHSA-aaaa-bbbb-{number:04}", **{"modified": f"{day:%Y-%m-%dT%H:%M:%SZ}"} | fields
        )
        for number, day in enumerate(days)
    }
    return {"npm": documents}


def imported(documents: dict[str, dict[str, Any]], directory: Path, **more: Any) -> Store:
    """A store into which a copy of the bucket was imported."""
    store = sqlite_store(directory / "file-import")
    store.take(FileInputs([osv_bucket.on_disk(directory / "copy", documents)]), **more)
    return store


def sent_documents(upstream: Upstream) -> list[str]:
    """Single documents that were sent; those of which the server said that they are the same are not."""
    return sorted(path for path in upstream.sent_paths if path.endswith(".json"))


# ---- the bucket


def test_what_the_place_of_a_source_offers_is_kept_until_it_is_seen_anew(puller: Puller) -> None:
    pulls = puller.pulls
    assert pulls.databases() == {}
    pulls.note_databases("up", ["wolfi", "ghsa"])
    pulls.note_databases("other", ["osv"])
    assert pulls.databases() == {"up": ["ghsa", "wolfi"], "other": ["osv"]}
    pulls.note_databases("up", ["ghsa"])
    assert pulls.databases()["up"] == ["ghsa"]
    pulls.save(Definition(name="up", layout="mirror", url="https://mirror.example.org"))
    assert pulls.remove("up")
    assert pulls.databases() == {"other": ["osv"]}


def test_a_first_pull_comes_to_what_an_import_of_the_files_comes_to(
    puller: Puller, upstream: Upstream, tmp_path: Path
) -> None:
    documents = real_documents()
    upstream.files = osv_bucket.files(documents)
    report = ok(puller.pull(bucket(upstream.url, "PyPI", "Go")))
    assert report.report is not None
    assert report.report.added == len({name for each in documents.values() for name in each})
    assert puller.store.digest() == imported(documents, tmp_path).digest()
    assert not sent_documents(upstream)


def test_all_ecosystems_are_those_that_the_bucket_lists(
    puller: Puller, upstream: Upstream, tmp_path: Path
) -> None:
    documents = real_documents()
    upstream.files = osv_bucket.files(documents)
    upstream.files["/ecosystems.txt"] = b"Go\nPyPI\nPyPI:suffix\n"
    ok(puller.pull(bucket(upstream.url, "*")))
    assert puller.store.digest() == imported(documents, tmp_path).digest()


def test_a_second_pull_changes_nothing_and_fetches_nothing(puller: Puller, upstream: Upstream) -> None:
    upstream.files = osv_bucket.files(small())
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    before = puller.store.sequence, puller.store.digest()
    ok(puller.pull(source))  # asks for what the archive may have been too old for
    upstream.forget()
    report = ok(puller.pull(source))
    assert (report.fetched, report.report) == (0, None)
    assert (upstream.asked(), upstream.sent) == (1, 0)
    assert (puller.store.sequence, puller.store.digest()) == before
    assert puller.store.status().checked_at == puller.clock


def test_a_document_that_changed_is_fetched_by_itself(
    puller: Puller, upstream: Upstream, tmp_path: Path
) -> None:
    documents = small(40)
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    ok(puller.pull(source))
    documents["npm"]["GHSA-aaaa-bbbb-0003"]["summary"] = "Changed"
    documents["npm"]["GHSA-aaaa-bbbb-0003"]["modified"] = "2026-05-01T00:00:00Z"
    upstream.files = osv_bucket.files(documents)
    upstream.forget()
    report = ok(puller.pull(source))
    assert report.report is not None
    assert (report.report.changed, report.full) == (1, False)
    assert sent_documents(upstream) == ["/npm/GHSA-aaaa-bbbb-0003.json"]
    assert upstream.asked("/npm/all.zip") == 0
    assert puller.store.digest() == imported(documents, tmp_path).digest()
    one = puller.store.one("GHSA-aaaa-bbbb-0003")
    assert one.container_url == f"{upstream.url}npm/GHSA-aaaa-bbbb-0003.json"
    assert one.container_digest == one.raw_digest
    assert (one.path, one.fetched_at) == ("npm/GHSA-aaaa-bbbb-0003.json", puller.clock)


def test_a_change_that_the_listing_dates_back_is_found(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    document = documents["npm"]["GHSA-aaaa-bbbb-0002"]
    document |= {"summary": "Changed", "modified": "2019-01-01T00:00:00Z"}
    upstream.files = osv_bucket.files(documents)
    report = ok(puller.pull(source))
    assert report.report is not None
    assert report.report.changed == 1


def test_an_instant_in_the_future_is_no_cursor(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    documents["npm"]["GHSA-aaaa-bbbb-0001"]["modified"] = "2031-01-01T00:00:00Z"
    upstream.files = osv_bucket.files(documents)
    ok(puller.pull(bucket(upstream.url, "npm")))
    assert puller.pulls.state("demo").cursor == "2024-05-06T00:00:00Z"


def test_a_change_that_no_listing_tells_is_found_by_the_next_full_pull(
    puller: Puller, upstream: Upstream
) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm", full_every="2d")
    ok(puller.pull(source))
    ok(puller.pull(source))
    documents["npm"]["GHSA-aaaa-bbbb-0002"]["summary"] = "Changed in silence"
    upstream.files = osv_bucket.files(documents)
    assert ok(puller.pull(source)).report is None
    puller.clock += timedelta(days=2)
    report = ok(puller.pull(source)).report
    assert report is not None
    assert report.changed == 1


def test_an_archive_that_is_older_than_a_document_does_not_undo_it(
    puller: Puller, upstream: Upstream
) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    old = upstream.files["/npm/all.zip"]
    documents["npm"]["GHSA-aaaa-bbbb-0002"] |= {"summary": "Changed", "modified": "2026-05-01T00:00:00Z"}
    upstream.files = osv_bucket.files(documents)
    ok(puller.pull(source))
    digest = puller.store.digest()
    assert isinstance(old, bytes)
    # The exporter of archives is late: an archive made anew, but of the older state.
    upstream.files["/npm/all.zip"] = osv_bucket.zipped({"LICENSE": b"", **{
        f"{name}.json": content for name, content in small()["npm"].items()}})  # fmt: skip
    ok(puller.pull(source, full=True))
    assert puller.store.digest() == digest


def test_what_is_gone_vanishes_with_a_full_pull_only(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    del documents["npm"]["GHSA-aaaa-bbbb-0004"]
    upstream.files = osv_bucket.files(documents)
    ok(puller.pull(source))
    assert len(puller.store.keys()) == 6
    report = ok(puller.pull(source, full=True)).report
    assert report is not None
    assert report.vanished == 1
    assert puller.store.keys() == sorted(documents["npm"])


@pytest.mark.parametrize(
    "listing", [b"2024-05-01T00:00:00Z,GHSA-aaaa-bbbb-0001\n2024-05", b"", b"<html>sorry</html>\n<p>\n"]
)
def test_a_listing_that_is_cut_off_lets_nothing_go(
    puller: Puller, upstream: Upstream, listing: bytes
) -> None:
    upstream.files = osv_bucket.files(small())
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    before = puller.store.digest(), puller.pulls.known("demo")
    upstream.files["/npm/modified_id.csv"] = listing
    report = puller.pull(source, full=True)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")
    assert (puller.store.digest(), puller.pulls.known("demo")) == before


def test_a_listing_that_lost_more_than_half_is_believed_the_second_time(
    puller: Puller, upstream: Upstream
) -> None:
    upstream.files = osv_bucket.files(small(9))
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    upstream.files = osv_bucket.files(small(3))
    report = ok(puller.pull(source, full=True))
    assert len(report.notes) == 1
    assert len(puller.store.keys()) == 9
    upstream.files["/npm/all.zip"] = osv_bucket.zipped(
        {f"{name}.json": content for name, content in small(3)["npm"].items()} | {"README": b"made anew"}
    )
    ok(puller.pull(source, full=True))
    assert len(puller.store.keys()) == 3


def test_two_databases_of_one_bucket_are_two_sources(puller: Puller, upstream: Upstream) -> None:
    documents = {
        "PyPI": {name: osv(name) for name in ("GHSA-aaaa-bbbb-0001", "PYSEC-2024-1", "PYSEC-2024-2")}
    }
    upstream.files = osv_bucket.files(documents)
    for name, prefix in (("ghsa", "GHSA-"), ("pypa", "PYSEC-")):
        ok(
            puller.pull(
                bucket(upstream.url, "PyPI", name=name, options={"prefixes": [prefix]}, database=name)
            )
        )
    assert puller.store.keys("ghsa") == ["GHSA-aaaa-bbbb-0001"]
    assert puller.store.keys("pypa") == ["PYSEC-2024-1", "PYSEC-2024-2"]


def test_a_listed_document_that_is_not_there_stops_nothing_and_is_asked_for_again(
    puller: Puller, upstream: Upstream
) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    documents["npm"] |= {name: osv(name) for name in ("GHSA-aaaa-bbbb-1000", "GHSA-aaaa-bbbb-1001")}
    upstream.files = osv_bucket.files(documents)
    late = upstream.files.pop("/npm/GHSA-aaaa-bbbb-1000.json")
    report = ok(puller.pull(source))
    assert (report.missing, len(puller.store.keys())) == (1, 7)
    upstream.files["/npm/GHSA-aaaa-bbbb-1000.json"] = late
    assert ok(puller.pull(source)).missing == 0
    assert len(puller.store.keys()) == 8


# ---- a server that fails


FAULTS: dict[str, Callable[[random.Random], Fault]] = {
    "busy": lambda chance: Answer(429, {"Retry-After": "1"}),
    "broken": lambda chance: Answer(chance.choice((500, 502, 503)), {}, b"<html>sorry</html>"),
    "cut": lambda chance: Cut(chance.randrange(1, 400)),
    "too long": lambda chance: WrongLength(7),
    "too short": lambda chance: WrongLength(-7),
    "slow": lambda chance: Slow(3, 0.01),
    "garbage": lambda chance: Answer(
        200, {"Content-Type": "text/html"}, b"<html>%d</html>" % chance.random().__hash__()
    ),
}


def flaky(seed: int, share: float, kinds: list[str]) -> Callable[[Request], Fault | None]:
    """Misbehave for a share of requests, and never more than twice for one path."""
    bad: dict[str, int] = {}

    def misbehave(request: Request) -> Fault | None:
        chance = random.Random(f"{seed} {request.path} {request.number}")
        if bad.get(request.path, 0) >= 2 or chance.random() > share:
            return None
        bad[request.path] = bad.get(request.path, 0) + 1
        return FAULTS[chance.choice(kinds)](chance)

    return misbehave


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_pulls_from_a_server_that_fails_come_to_the_same(
    puller: Puller, upstream: Upstream, tmp_path: Path, kind: str
) -> None:
    documents: dict[str, dict[str, Any]] = dict(real_documents())
    source = bucket(upstream.url, "PyPI", "Go")
    for _ in range(2):
        upstream.files = osv_bucket.files(documents)
        upstream.misbehave = flaky(1, 0.7, [kind])
        for _ in range(4):
            report = puller.pull(source, at_once=True)
            if report.state == "ok":
                break
        ok(report)
        upstream.misbehave = lambda request: None
        ok(puller.pull(source))  # what came broken twice in the same way is asked for again
        digest = imported(documents, tmp_path / str(len(documents["Go"]))).digest()
        assert puller.store.digest() == digest
        documents["Go"] |= {
            f"GO-2026-{number}": osv(f"GO-2026-{number}", modified="2026-06-01T00:00:00Z")
            for number in range(30)
        }
    assert puller.store.reasons() == []


def test_a_file_that_changes_while_it_is_fetched_is_begun_anew(puller: Puller, upstream: Upstream) -> None:
    first, second = osv_bucket.files(small(400)), osv_bucket.files(small(400, summary="Changed meanwhile"))
    source = bucket(upstream.url, "npm")
    upstream.files = dict(first)

    def misbehave(request: Request) -> Fault | None:
        if request.path == "/npm/all.zip" and request.number == 1:
            return Cut(3000)
        upstream.files = second
        return None

    upstream.misbehave = misbehave
    large_files_only(puller)
    ok(puller.pull(source))
    again = [request for request in upstream.requests if request.path == "/npm/all.zip"][1]
    assert again.headers["range"] == "bytes=3000-"
    assert "Changed meanwhile" in puller.store.one("GHSA-aaaa-bbbb-0007").body.decode()
    assert len(puller.store.keys()) == 400


def large_files_only(puller: Puller) -> None:
    """Files of any size are gone on with, so that tests need no megabytes."""
    puller.small = 0


def test_a_download_that_was_cut_goes_on_where_it_was(puller: Puller, upstream: Upstream) -> None:
    upstream.files = osv_bucket.files(small(400))
    size = len(bytes(upstream.files["/npm/all.zip"]))  # type: ignore[arg-type]
    upstream.misbehave = lambda request: (
        Cut(1000) if request.path.endswith(".zip") and request.number < ATTEMPTS else None
    )
    large_files_only(puller)
    report = ok(puller.pull(bucket(upstream.url, "npm")))
    ranges = [request.headers.get("range") for request in upstream.requests if request.path.endswith(".zip")]
    assert ranges == [None, *(f"bytes={number}000-" for number in range(1, ATTEMPTS))]
    assert size <= report.bytes + 1000 * (ATTEMPTS - 1)
    assert len(puller.store.keys()) == 400


def test_the_rest_is_fetched_by_the_next_pull_when_all_attempts_failed(
    puller: Puller, upstream: Upstream
) -> None:
    upstream.files = osv_bucket.files(small(400))
    upstream.misbehave = lambda request: Cut(500) if request.path.endswith(".zip") else None
    large_files_only(puller)
    source = bucket(upstream.url, "npm")
    report = puller.pull(source)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_CONNECTION")
    assert puller.store.sequence == 0
    upstream.misbehave = lambda request: None
    ok(puller.pull(source, at_once=True))
    last = [request for request in upstream.requests if request.path.endswith(".zip")][-1]
    assert last.headers["range"] == f"bytes={500 * ATTEMPTS}-"


def test_documents_that_were_whole_are_not_fetched_again(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    ok(puller.pull(source))
    documents["npm"] |= {
        f"GHSA-aaaa-bbbb-1{number:03}": osv(f"GHSA-aaaa-bbbb-1{number:03}") for number in range(30)
    }
    upstream.files = osv_bucket.files(documents)
    upstream.misbehave = lambda request: Answer(500) if request.path.endswith("1007.json") else None
    report = puller.pull(source)
    assert (report.state, len(report.failed), report.failed[0].code) == ("partial", 1, "ERR_PULL_SERVER")
    assert report.failed[0].url.endswith("1007.json")
    assert len(puller.store.keys()) == 35
    assert puller.pulls.state("demo").failures == 1
    upstream.misbehave = lambda request: None
    upstream.forget()
    report = ok(puller.pull(source, at_once=True))
    assert sent_documents(upstream) == ["/npm/GHSA-aaaa-bbbb-1007.json"]
    assert len(puller.store.keys()) == 36
    assert puller.pulls.state("demo").failures == 0


def test_a_document_that_is_garbage_twice_is_the_upstreams_and_goes_to_quarantine(
    puller: Puller, upstream: Upstream
) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    before = puller.store.digest()
    documents["npm"]["GHSA-aaaa-bbbb-0002"]["modified"] = "2026-05-01T00:00:00Z"
    upstream.files = osv_bucket.files(documents)
    upstream.files["/npm/GHSA-aaaa-bbbb-0002.json"] = b'{"id": "GHSA-aaaa-bbbb-0002", '
    report = ok(puller.pull(source)).report
    assert report is not None
    assert report.quarantined == 1
    assert puller.store.digest() == before


def test_an_error_page_for_every_document_is_nobodys_document(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    for document in documents["npm"].values():
        document["modified"] = "2026-05-01T00:00:00Z"
    upstream.files = osv_bucket.files(documents)
    upstream.misbehave = lambda request: (
        Answer(200, {}, b"<html>sorry</html>") if request.path.endswith(".json") else None
    )
    report = puller.pull(source)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_DAMAGED")
    assert puller.store.reasons() == []


def test_an_archive_that_is_none_replaces_nothing(puller: Puller, upstream: Upstream) -> None:
    upstream.files = osv_bucket.files(small())
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    before = puller.store.digest()
    good = upstream.files["/npm/all.zip"]
    assert isinstance(good, bytes)
    for bad in (b"<html>sorry</html>", good[:-40], good[:200] + b"\0\0\0\0" + good[204:]):
        upstream.files["/npm/all.zip"] = bad
        report = puller.pull(source, full=True, at_once=True)
        assert report.state in ("failed", "partial")
        assert report.error_code == "ERR_PULL_DAMAGED"
        assert (puller.store.digest(), puller.store.reasons()) == (before, [])


# ---- back-off


def test_a_wish_to_wait_is_heeded_within_a_pull(puller: Puller, upstream: Upstream) -> None:
    upstream.files = osv_bucket.files(small())
    upstream.misbehave = lambda request: (
        Answer(429, {"Retry-After": "17"}) if request.number == 1 and request.path.endswith("csv") else None
    )
    report = ok(puller.pull(bucket(upstream.url, "npm")))
    assert puller.waits == [17.0]
    assert report.attempts == 3


def test_a_wish_to_wait_long_ends_the_pull_and_moves_the_next(puller: Puller, upstream: Upstream) -> None:
    upstream.files = osv_bucket.files(small())
    source = bucket(upstream.url, "npm")
    upstream.misbehave = lambda request: Answer(503, {"Retry-After": "7200"})
    report = puller.pull(source)
    assert (report.state, puller.waits, upstream.asked()) == ("failed", [], 1)
    assert isinstance(report.error, ServerBusy)
    assert report.next_attempt_at == puller.clock + timedelta(hours=2)
    upstream.misbehave = lambda request: None
    upstream.forget()
    puller.clock += timedelta(minutes=118)
    waiting = puller.pull(source)  # a new process reads it from the store
    assert (waiting.state, waiting.error_code, upstream.asked()) == ("waiting", "ERR_PULL_SERVER", 0)
    ok(puller.pull(source))


def test_a_source_that_fails_again_and_again_rests_longer_and_is_only_probed(
    puller: Puller, upstream: Upstream
) -> None:
    upstream.files = osv_bucket.files(small())
    upstream.misbehave = lambda request: Answer(500)
    source = bucket(upstream.url, "npm")
    rests, asked = [], []
    for _ in range(CIRCUIT_FAILURES + 2):
        upstream.forget()
        report = puller.pull(source)
        assert report.next_attempt_at is not None
        rests.append(report.next_attempt_at - puller.clock)
        asked.append(upstream.asked())
        puller.clock = report.next_attempt_at
    assert rests == sorted(rests)
    assert rests[-1] > 16 * rests[0]
    assert asked == [ATTEMPTS] * CIRCUIT_FAILURES + [1, 1]
    upstream.misbehave = lambda request: None
    ok(puller.pull(source))
    state = puller.pulls.state("demo")
    assert (state.failures, state.next_attempt_at, state.error) == (0, None, "")


def test_a_source_that_fails_stops_no_other(puller: Puller, upstream: Upstream) -> None:
    documents = small() | {
        "Go": {"GO-2024-0001": osv("GO-2024-0001")},
        "PyPI": {"PYSEC-2024-1": osv("PYSEC-2024-1")},
    }
    upstream.files = osv_bucket.files(documents)
    upstream.misbehave = lambda request: Answer(404) if request.path.startswith("/Go/") else None
    names = {"npm": "one", "Go": "two", "PyPI": "three"}
    reports = puller.pull_all([bucket(upstream.url, folder, name=name) for folder, name in names.items()])
    assert [(report.source, report.state) for report in reports] == [
        ("one", "ok"),
        ("two", "failed"),
        ("three", "ok"),
    ]
    assert reports[1].error_code == "ERR_PULL_NOT_FOUND"
    assert puller.store.keys("three") == ["PYSEC-2024-1"]


def test_a_server_that_is_down_is_not_asked_for_every_document(puller: Puller, upstream: Upstream) -> None:
    documents = small()
    upstream.files = osv_bucket.files(documents)
    source = bucket(upstream.url, "npm")
    ok(puller.pull(source))
    documents["npm"] |= {
        f"GHSA-aaaa-bbbb-1{number:03}": osv(f"GHSA-aaaa-bbbb-1{number:03}") for number in range(300)
    }
    upstream.files = osv_bucket.files(documents)
    upstream.misbehave = lambda request: Answer(500) if request.path.endswith(".json") else None
    upstream.forget()
    report = puller.pull(source)
    assert report.state == "failed"
    assert upstream.asked() < 40 * ATTEMPTS


# ---- files, directories


def file_source(url: str, **more: Any) -> Definition:
    return Definition(name="demo", layout="http-file", url=url, **more)


def test_a_file_is_only_sent_when_it_changed(puller: Puller, upstream: Upstream) -> None:
    upstream.files = {
        "/all.json": json.dumps([osv("GHSA-aaaa-bbbb-0001"), osv("GHSA-aaaa-bbbb-0002")]).encode()
    }
    upstream.files = {"/advisories.json": upstream.files["/all.json"]}
    source = file_source(f"{upstream.url}advisories.json")
    assert ok(puller.pull(source)).fetched == 1
    report = ok(puller.pull(source))
    assert (report.fetched, report.not_modified, report.bytes) == (0, 1, 0)
    upstream.files["/advisories.json"] = json.dumps([osv("GHSA-aaaa-bbbb-0001")]).encode()
    ok(puller.pull(source))
    assert len(puller.store.keys()) == 2


def test_files_that_are_complete_together_are_read_together_before_anything_vanishes(
    puller: Puller, upstream: Upstream
) -> None:
    def packed(*names: str) -> bytes:
        return osv_bucket.zipped({f"{name}.json": osv(name) for name in names})

    upstream.files = {"/a.zip": packed("GHSA-1", "GHSA-2"), "/b.zip": packed("GHSA-3")}
    source = file_source(upstream.url, options={"files": ["a.zip", "b.zip"]}, prune=True)
    ok(puller.pull(source))
    upstream.files["/a.zip"] = packed("GHSA-1")
    report = ok(puller.pull(source)).report
    assert report is not None
    assert report.vanished == 1
    assert puller.store.keys() == ["GHSA-1", "GHSA-3"]


NGINX = """<html>\r\n<head><title>Index of /</title></head>\r\n<body>
<h1>Index of /</h1><hr><pre><a href="../">../</a>
{rows}</pre><hr></body>\r\n</html>\r\n"""


def nginx(*rows: tuple[str, str, str]) -> bytes:
    lines = (f'<a href="{name}">{name}</a>        {date}      {size}\r\n' for name, date, size in rows)
    return NGINX.format(rows="".join(lines)).encode()


def test_a_directory_with_index_pages_is_walked_and_only_what_changed_is_fetched(
    puller: Puller, upstream: Upstream
) -> None:
    date = "01-Oct-2026 10:00"
    upstream.files = {
        "/": nginx(("sub/", date, "-"), ("GHSA-1.json", date, "300"), ("readme.txt", date, "3")),
        "/sub/": nginx(("GHSA-2%2Bx.json", date, "300")),
        "/GHSA-1.json": json.dumps(osv("GHSA-1")).encode(),
        "/sub/GHSA-2%2Bx.json": json.dumps(osv("GHSA-2+x")).encode(),
    }
    source = Definition(name="demo", layout="http-directory", url=upstream.url, options={"suffixes": ".json"})
    ok(puller.pull(source))
    assert puller.store.keys() == ["GHSA-1", "GHSA-2+x"]
    upstream.files["/"] = nginx(("sub/", date, "-"), ("GHSA-1.json", "02-Oct-2026 10:00", "301"))
    upstream.files["/GHSA-1.json"] = json.dumps(osv("GHSA-1", summary="Changed")).encode()
    upstream.forget()
    report = ok(puller.pull(source)).report
    assert report is not None
    assert report.changed == 1
    assert sent_documents(upstream) == ["/GHSA-1.json"]


def test_a_directory_with_a_listing_file_is_read_by_it(puller: Puller, upstream: Upstream) -> None:
    upstream.files = {
        "/index.txt": b"2024/GHSA-1.json\n2024/GHSA-1.json.asc\n",
        "/2024/GHSA-1.json": json.dumps(osv("GHSA-1")).encode(),
    }
    source = Definition(
        name="demo",
        layout="http-directory",
        url=upstream.url,
        options={"suffixes": ".json", "listing": "index.txt"},
    )
    ok(puller.pull(source))
    assert puller.store.keys() == ["GHSA-1"]
    upstream.files["/index.txt"] = b"../../etc/passwd\n"
    assert puller.pull(source).error_code == "ERR_PULL_LISTING"


def test_a_file_larger_than_allowed_is_refused(puller: Puller, upstream: Upstream) -> None:
    upstream.files = {"/a.json": json.dumps(osv("GHSA-1", details="x" * 5000)).encode()}
    puller.largest = 4000
    report = puller.pull(file_source(f"{upstream.url}a.json"))
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_TOO_LARGE")


# ---- credentials

SECRETS = {
    "basic": ("somebody:tr0ub4dor-secret", "authorization", "Basic c29tZWJvZHk6dHIwdWI0ZG9yLXNlY3JldA=="),
    "bearer": ("token-secret-123", "authorization", "Bearer token-secret-123"),
    "header": ("X-Api-Key: key-secret-123", "x-api-key", "key-secret-123"),
}


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_credentials_come_from_their_file_and_go_to_the_source_alone(
    puller: Puller, upstream: Upstream, tmp_path: Path, kind: str
) -> None:
    text, header, expected = SECRETS[kind]
    file = tmp_path / "credentials"
    file.write_text(f"{text}\n")
    with serving({"/a.json": json.dumps(osv("GHSA-1")).encode()}) as elsewhere:
        upstream.misbehave = lambda request: Answer(302, {"Location": f"{elsewhere.url}a.json"})
        source = file_source(
            f"{upstream.url}a.json",
            authentication=Authentication(kind, str(file)),
            hosts=(elsewhere.url.split("/")[2],),
        )
        puller.pulls.save(source)
        ok(puller.pull(puller.pulls.definitions()[0]))
        assert upstream.requests[0].headers[header] == expected
        assert header not in elsewhere.requests[0].headers
    upstream.misbehave = lambda request: Answer(401)
    report = puller.pull(source, at_once=True)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_NOT_PERMITTED")
    told = f"{report} {source} {puller.pulls.state('demo')} {puller.pulls.definitions()}"
    assert "secret" not in told
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path != file and b"secret" in path.read_bytes()
    ]


@pytest.mark.parametrize(
    ("kind", "text"), [("basic", "no colon"), ("bearer", "two words"), ("header", "x"), ("s3", "x")]
)
def test_credentials_of_no_usable_form_are_told_without_showing_them(
    puller: Puller, upstream: Upstream, tmp_path: Path, kind: str, text: str
) -> None:
    file = tmp_path / "credentials"
    file.write_text(text)
    report = puller.pull(file_source(f"{upstream.url}a.json", authentication=Authentication(kind, str(file))))
    assert (report.error_code, upstream.asked()) == ("ERR_PULL_CREDENTIALS_INVALID", 0)
    assert text not in report.error_text
    file.unlink()
    report = puller.pull(
        file_source(f"{upstream.url}a.json", authentication=Authentication(kind, str(file))), at_once=True
    )
    assert report.error_code == "ERR_PULL_CREDENTIALS_MISSING"


# ---- what is stored


def test_definitions_and_states_are_what_was_stored(puller: Puller) -> None:
    pulls: SqlPulls = puller.pulls
    one = bucket("https://example.org/", "npm", "PyPI", every="6h", enabled=True, hosts=("b.example.org",))
    pulls.save(one)
    pulls.save(Definition(name="other", layout="s3", url="https://example.org/bucket/"))
    assert next(iter(pulls.definitions())) == one
    assert [each.enabled for each in pulls.definitions()] == [True, False]
    assert pulls.remove("other")
    assert not pulls.remove("other")
    assert [each.name for each in pulls.definitions()] == ["demo"]
