"""A registry that goes away, at any request of a push: names are old or new, and the next push makes it whole."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stellaops.adapters.oci import registry as clients
from stellaops.adapters.oci import uploads
from stellaops.exports.distribution.ports import Delivered, Delivery
from stellaops.exports.errors import DistributionFailed
from tests.support import faulty_server, small_registry
from tests.support.faulty_server import Answer, CutRequest, Fault, Faulty, Lost, Misbehave
from tests.support.registry import OciPlace, Registry
from tests.support.targets import contents, delivery, kept, untold

OUTAGES: tuple[Fault, ...] = (Answer(503), CutRequest(0), Lost())
FEW = 6

Case = Callable[[int, Fault], None]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[OciPlace, Faulty]]:
    """A registry with nothing in it, and the proxy before it."""
    with small_registry.serving() as small, faulty_server.before(f"http://{small.host}") as faulty:
        host = faulty.url.removeprefix("http://")
        yield OciPlace(Registry(host, folder, folder), folder), faulty


def push(place: OciPlace, made: Delivery) -> Delivered:
    target = place.open()
    delivered = target.deliver(made, untold)
    target.point(made, delivered)
    return delivered


def from_the(number: int, outage: Fault) -> Misbehave:
    """All is well until so many requests have come."""
    came = itertools.count(1)
    return lambda seen: outage if next(came) >= number else None


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Delivery, Delivery]:
    monkeypatch.setattr(clients, "_WAITS", (0.0,))
    monkeypatch.setattr(uploads, "_WAITS", (0.0, 0.0, 0.0))
    return delivery(tmp_path, 1), delivery(tmp_path, 2)


@pytest.fixture
def requests(bundles: tuple[Delivery, Delivery], tmp_path: Path) -> int:
    """How many requests the second push takes."""
    with serving(tmp_path) as (place, faulty):
        push(place, bundles[0])
        faulty.forget()
        push(place, bundles[1])
        return len(faulty.requests)


@pytest.fixture
def survives(bundles: tuple[Delivery, Delivery], tmp_path: Path) -> Case:
    """The second push meets an outage from a request on, and is repeated when it is over."""
    older, newer = bundles

    def check(number: int, outage: Fault) -> None:
        with serving(tmp_path) as (place, faulty):
            first = push(place, older)
            faulty.misbehave = from_the(number, outage)
            with pytest.raises(DistributionFailed) as failed:
                push(place, newer)
            assert failed.value.again
            faulty.forget()
            seen = place.open().newest(kept(older, first))
            second = push(place, newer)
            assert seen in (first.reference, second.reference)
            assert place.open().newest(kept(older, first)) == second.reference
            for made, delivered in ((older, first), (newer, second)):
                back = tmp_path / "back"
                back.mkdir()
                place.open().fetch(kept(made, delivered), back)
                assert contents(back) == contents(made.root)
                shutil.rmtree(back)

    return check


def test_an_outage_at_some_requests_is_survived(requests: int, survives: Case) -> None:
    for number in random.Random(7).sample(range(1, requests + 1), FEW):
        survives(number, OUTAGES[number % len(OUTAGES)])


@pytest.mark.slow
def test_an_outage_at_any_request_is_survived(requests: int, survives: Case) -> None:
    assert requests > 30
    for number, outage in itertools.product(range(1, requests + 1), OUTAGES):
        survives(number, outage)
