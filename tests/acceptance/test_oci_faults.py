"""Bad days of a registry: what the driver does about each fault, before a real docker-registry.

After each of them the bundle is brought again, and then everything is there as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from stellaops.adapters.oci import registry as clients
from stellaops.adapters.oci import transport, uploads
from stellaops.adapters.targets import oci
from stellaops.exports.distribution.ports import Delivered, Delivery
from stellaops.exports.errors import DistributionFailed
from tests.support import faulty_server, registry
from tests.support.faulty_server import (
    Answer,
    CutAnswer,
    CutRequest,
    Fault,
    Faulty,
    FlipAnswer,
    FlipRequest,
    Headers,
    Lost,
    Meant,
    Misbehave,
    Seen,
    Silent,
    Slow,
    always,
    first,
)
from tests.support.registry import OciPlace, Registry
from tests.support.targets import contents, delivery, kept, measured, untold

LARGE = 20 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def faulty(server: Registry) -> Iterator[Faulty]:
    with faulty_server.before(server.url) as found:
        yield found


@pytest.fixture
def place(server: Registry, faulty: Faulty, tmp_path: Path) -> OciPlace:
    return OciPlace(server, tmp_path, host=faulty.url.removeprefix("http://"), read_seconds=15.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps in less time."""
    for module in (clients, uploads):
        monkeypatch.setattr(module, "_WAITS", tuple(wait / 20 for wait in module._WAITS))
    monkeypatch.setattr(uploads, "PART", 4 << 20)
    monkeypatch.setattr(transport, "_LEAST_SECONDS", 1.0)


def large(folder: Path) -> Delivery:
    """A bundle with a file of several parts."""
    made = delivery(folder)
    block = hashlib.sha512(b"block").digest() * 1024
    (made.root / "data/raw/advisories/00002.jsonl.zst").write_bytes(block * (LARGE // len(block)))
    return replace(made, files=measured(made.root))


def blobs(method: str, number: int = 1) -> Meant:
    return lambda seen: (
        seen.method == method and "/blobs/" in seen.path and seen.length > 1 << 20 and bool(number)
    )


def sound(place: OciPlace, made: Delivery, folder: Path) -> Delivered:
    """Bring a bundle on a good day, and see that it is there, whole and signed."""
    target = place.open()
    delivered = target.deliver(made, untold)
    target.point(made, delivered)
    (folder / "back").mkdir()
    target.fetch(kept(made, delivered), folder / "back")
    assert contents(folder / "back") == contents(made.root)
    assert target.newest(kept(made, delivered)) == delivered.reference
    return delivered


UPLOAD: dict[str, Fault] = {
    "the connection breaks in the middle of a part": CutRequest(3 << 19),
    "the answer to a part is lost": Lost(),
    "503 in the middle": Answer(503),
    "429 with a second to wait": Answer(429, {"Retry-After": "1"}),
    "one bit is turned over on the way": FlipRequest(1000),
}


@pytest.mark.parametrize("fault", UPLOAD)
def test_an_upload_survives(fault: str, place: OciPlace, faulty: Faulty, tmp_path: Path) -> None:
    made = large(tmp_path)
    faulty.misbehave = first(1, UPLOAD[fault], blobs("PATCH"))
    delivered = place.open().deliver(made, untold)
    assert faulty.met == 1
    faulty.forget()
    assert place.open().deliver(made, untold) == Delivered(delivered.reference, 0)
    assert not faulty.asked("PATCH"), "what is there is not sent again"
    sound(place, made, tmp_path)


def test_what_arrived_before_a_break_between_parts_is_not_sent_again(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    faulty.misbehave = lambda seen: (
        Answer(500) if len(faulty.asked("PATCH")) == 4 and seen.method == "PATCH" else None
    )
    place.open().deliver(made, untold)
    assert faulty.met == 1
    assert faulty.passed < made.bytes * 1.1


def test_a_push_ends_soon_after_whoever_listens_says_so(
    place: OciPlace, faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci, "_TICK", 0.001)

    def told(event: str, data: object) -> None:
        raise Ended(f"{event} {data}")

    with pytest.raises(Ended):
        place.open().deliver(large(tmp_path), told)
    assert faulty.passed < LARGE


class Ended(Exception):
    """Somebody cancelled."""


def test_a_registry_that_is_killed_in_the_middle_gets_the_rest_when_it_is_back(
    place: OciPlace, server: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)

    def kill(seen: Seen) -> Fault | None:
        if len(faulty.asked("PATCH")) == 3 and server.process is not None:
            server.kill()
        return None

    faulty.misbehave = kill
    with pytest.raises(DistributionFailed) as failed:
        place.open().deliver(made, untold)
    assert failed.value.again
    server.start()
    faulty.forget()
    assert server.tags(f"{place.path}/raw") == set(), "nothing names what is not whole"
    sound(place, made, tmp_path)


def test_a_push_that_dies_between_blobs_and_tags_leaves_no_tag(
    place: OciPlace, server: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    faulty.misbehave = always(Answer(500), lambda seen: seen.method == "PUT" and "/manifests/" in seen.path)
    with pytest.raises(DistributionFailed):
        place.open().deliver(made, untold)
    assert server.tags(f"{place.path}/raw") == set()
    faulty.forget()
    before = faulty.passed
    sound(place, made, tmp_path)
    assert faulty.passed - before < 100_000, "the blobs were there"


def refusing_from(faulty: Faulty, number: int) -> Misbehave:
    """The registry takes fewer manifests than so many."""
    return always(Answer(403), lambda seen: seen.method == "PUT" and len(faulty.asked("PUT")) >= number)


def test_tags_that_move_are_old_or_new_wherever_a_push_ends(
    place: OciPlace, server: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    older, newer = delivery(tmp_path, 1), delivery(tmp_path, 2)
    target = place.open()
    first_one, second = target.deliver(older, untold), target.deliver(newer, untold)
    target.point(older, first_one)
    for number in (1, 2, 2):  # what an attempt has moved, the next one leaves
        faulty.forget()
        faulty.misbehave = refusing_from(faulty, number)
        with pytest.raises(Exception, match="403"):
            place.open().point(newer, second)
        faulty.forget()
        assert place.open().newest(kept(older, first_one)) in (first_one.reference, second.reference)
    place.open().point(newer, second)
    assert place.open().newest(kept(older, first_one)) == second.reference


def test_a_registry_that_asks_for_a_long_pause_is_left_alone_until_then(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    faulty.misbehave = always(Answer(429, {"Retry-After": "90"}))
    began = time.monotonic()
    with pytest.raises(DistributionFailed) as failed:
        place.open().deliver(made, untold)
    assert failed.value.retry_after == 90
    assert time.monotonic() - began < 5
    faulty.forget()
    sound(place, made, tmp_path)


@pytest.mark.parametrize("ahead", [-90_000, 90_000])
def test_a_date_to_wait_for_is_held_against_the_registrys_own_clock(
    ahead: int, place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    theirs = datetime.now(UTC) + timedelta(seconds=ahead)
    told = {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry-After": format_datetime(theirs + timedelta(seconds=60), usegmt=True),
    }
    faulty.misbehave = always(Answer(503, told))
    with pytest.raises(DistributionFailed) as failed:
        place.open().deliver(delivery(tmp_path), untold)
    assert failed.value.retry_after == 60


@pytest.mark.slow
def test_a_registry_that_never_answers_holds_nobody_up(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    faulty.misbehave = always(Silent(), lambda seen: seen.method == "PUT")
    began = time.monotonic()
    with pytest.raises(DistributionFailed) as failed:
        replace(place, read_seconds=0.5).open().deliver(delivery(tmp_path), untold)
    assert failed.value.again
    assert time.monotonic() - began < 15


DOWNLOAD: dict[str, tuple[Fault, int]] = {
    "the connection breaks": (CutAnswer(11 << 19), 3),
    "one answer is lost": (Lost(), 1),
    "the bytes stop coming": (Slow(64, 0.2), 1),
}


@pytest.mark.parametrize("fault", DOWNLOAD)
def test_a_download_goes_on(fault: str, place: OciPlace, faulty: Faulty, tmp_path: Path) -> None:
    made = large(tmp_path)
    delivered = place.open().deliver(made, untold)
    faulty.forget()
    meant, times = DOWNLOAD[fault]
    digest = next(file.sha256 for file in made.files if file.bytes == LARGE)
    faulty.misbehave = first(times, meant, lambda seen: seen.method == "GET" and digest in seen.path)
    (tmp_path / "back").mkdir()
    place.open().fetch(kept(made, delivered), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(made.root)
    assert faulty.met == times


def test_a_bit_that_is_turned_over_on_the_way_back_is_noticed(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    made = large(tmp_path)
    delivered = place.open().deliver(made, untold)
    faulty.misbehave = always(FlipAnswer(77), lambda seen: seen.method == "GET" and "/blobs/" in seen.path)
    (tmp_path / "back").mkdir()
    with pytest.raises(DistributionFailed, match="is not what it is called by"):
        place.open().fetch(kept(made, delivered), tmp_path / "back")


def test_a_registry_that_calls_what_was_sent_by_another_name_is_not_believed(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    wrong = Headers({"Docker-Content-Digest": f"sha256:{'0' * 64}"})
    faulty.misbehave = always(wrong, lambda seen: seen.method == "PUT")
    with pytest.raises(DistributionFailed, match="was sent, and the registry has"):
        place.open().deliver(delivery(tmp_path), untold)


def test_a_registry_whose_disk_is_full_is_told_as_such_and_gets_the_rest_later(
    place: OciPlace, faulty: Faulty, tmp_path: Path
) -> None:
    full = Answer(
        500,
        {"Content-Type": "application/json"},
        b'{"errors":[{"code":"UNKNOWN","message":"no space left"}]}',
    )
    faulty.misbehave = always(full, lambda seen: seen.method == "PUT")
    with pytest.raises(DistributionFailed, match="no space left"):
        place.open().deliver(delivery(tmp_path), untold)
    faulty.forget()
    sound(place, delivery(tmp_path), tmp_path)
