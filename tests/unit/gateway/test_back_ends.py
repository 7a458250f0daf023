"""Files of a back end: kept, asked about again, and standing in for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from stellaops.adapters.web.back_ends import STALE_SECONDS, BackEnd, BackEndAway
from tests.support.web import Answer, Cut, File, Upstream, serving


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _file(text: bytes, seconds: int = 60) -> File:
    tag = f'"sha256:{hashlib.sha256(text).hexdigest()}"'
    return File(text, etag=tag, headers={"Cache-Control": f"max-age={seconds}"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as found:
        yield found


@pytest.fixture
def back_end(upstream: Upstream, clock: Clock, tmp_path: Path) -> Iterator[BackEnd]:
    found = BackEnd(upstream.url.rstrip("/"), tmp_path / "kept", most=100, now=clock)
    yield found
    found.close()
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_file_is_asked_for_again_when_its_time_is_over(
    upstream: Upstream, back_end: BackEnd, clock: Clock
) -> None:
    upstream.files["/a"] = _file(b"one")
    told = []
    for seconds in (0, 59, 61, 200):
        clock.now = 1000.0 + seconds
        if seconds == 200:
            upstream.files["/a"] = _file(b"two")
        kept, cache = back_end.get("a", "/a", {})
        assert kept is not None
        told.append((cache, kept.stored.body))
    assert told == [("MISS", b"one"), ("HIT", b"one"), ("REVALIDATED", b"one"), ("MISS", b"two")]


def test_what_is_kept_stands_in_for_a_while(upstream: Upstream, back_end: BackEnd, clock: Clock) -> None:
    upstream.files["/a"] = _file(b"one")
    back_end.get("a", "/a", {})
    upstream.misbehave = lambda request: Answer(503)
    clock.now += 61
    upstream.files["/a"] = _file(b"two")
    assert back_end.get("a", "/a", {})[1] == "STALE"
    clock.now += STALE_SECONDS
    with pytest.raises(BackEndAway):
        back_end.get("a", "/a", {})


def test_bytes_that_are_not_those_of_the_tag_are_not_kept(upstream: Upstream, back_end: BackEnd) -> None:
    upstream.files["/a"] = File(b"one", etag='"sha256:other"')
    with pytest.raises(BackEndAway, match="other bytes"):
        back_end.get("a", "/a", {})
    assert back_end.known("a") is None


def test_an_answer_that_breaks_off_is_not_kept(upstream: Upstream, back_end: BackEnd) -> None:
    upstream.files["/a"] = _file(b"a long one")
    upstream.misbehave = lambda request: Cut(4)
    with pytest.raises(BackEndAway):
        back_end.get("a", "/a", {})
    assert back_end.known("a") is None


def test_the_oldest_go_when_there_is_no_room(upstream: Upstream, back_end: BackEnd) -> None:
    for name in ("a", "b", "c"):
        upstream.files[f"/{name}"] = _file(name.encode() * 40)
        back_end.get(name, f"/{name}", {})
    assert [back_end.known(name) is None for name in ("a", "b", "c")] == [True, False, False]
