"""Whatever the order of deliveries, and whatever fails or dies in them: moving names never go back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.exports.distribution import deliver
from stellaops.exports.distribution.deliver import DeliverTools
from stellaops.exports.distribution.ports import Delivered, Delivery, Pointed
from stellaops.exports.errors import DistributionFailed
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.profile import Destination
from stellaops.exports.run import Run
from stellaops.exports.run_export import run_export
from tests.support.targets import FakePlace, FakeTarget, FakeTargets
from tests.unit.exports.executing import NOON, TENANT, Service, document

EDGE = Destination("edge", "object")
FAULTS = ("", "", "", "fails before", "fails after", "dies before", "dies after", "lost turn")
KEYS = [(sequence, second) for sequence in (1, 2, 3) for second in (0, 1)]
"""Runs: the sequence of the snapshot, and when the run was submitted."""

Key = tuple[int, int]


class Died(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@dataclass
class Latest:
    """`exports.distribution.ports.LatestNames` in memory."""

    rows: dict[str, Pointed]

    def of(self, target: str, tenant: str, profile: str) -> Pointed | None:
        del tenant, profile
        return self.rows.get(target)

    def note(self, pointed: Pointed) -> None:
        self.rows[pointed.target] = pointed

    def all(self, tenant: str) -> list[Pointed]:
        del tenant
        return list(self.rows.values())


@dataclass
class Simple(FakeTarget):
    """A target that does not know what its names stand for: order is the use case's alone."""

    targets: OneTarget

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        del delivery, delivered
        if self.targets.fault == "fails before":
            raise DistributionFailed("it does not answer", again=False)
        self.targets.moves.append(self.targets.key)
        if self.targets.fault == "dies after":
            raise Died
        if self.targets.fault == "fails after":
            raise DistributionFailed("its answer was lost", again=False)


@dataclass
class OneTarget(FakeTargets):
    """Targets for the delivery of one run, in which something may go wrong."""

    key: Key = (0, 0)
    fault: str = ""
    moves: list[Key] = None  # type: ignore[assignment]

    def target(self, tenant: str, name: str) -> Simple:
        del tenant
        return Simple(self.places[name], self)

    @contextmanager
    def turn(self, name: str, tenant: str) -> Iterator[OneTarget]:
        del name, tenant
        yield self

    def demand(self) -> None:
        if self.fault == "lost turn":
            raise DistributionFailed("the turn was lost", again=False)
        if self.fault == "dies before":
            raise Died


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Service, Run]:
    """A bundle. Runs of other snapshots are told apart by their records, which is all that order goes by."""
    place: Path = tmp_path_factory.mktemp("order")
    service = Service(place)
    service.take(document(1))
    request = RunRequest("run-0", TENANT, service.profile(), {})
    return service, run_export(request, service.tools)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(FAULTS)), min_size=1, max_size=12))
def test_names_only_move_forwards(made: tuple[Service, Run], attempts: list[tuple[Key, str]]) -> None:
    service, origin = made
    place, latest, moves = FakePlace("edge"), Latest({}), list[Key]()
    for key, fault in attempts:
        sequence, second = key
        submitted = NOON + timedelta(seconds=second)
        run = replace(origin, id=f"run-{sequence}-{second}", sequence=sequence, submitted_at=submitted)
        targets = OneTarget({"edge": place}, key=key, fault=fault, moves=moves)
        tools = DeliverTools(
            targets, latest, service.local.artefacts, lambda seconds: None, lambda: 0.0, service.now
        )
        before = list(moves)
        try:
            (outcome,) = deliver.bring(run, [EDGE], tools, lambda event, data: None)
        except Died:
            continue
        if outcome.latest:
            assert moves == [*before, key]
        elif outcome.status == "succeeded":
            assert moves == before
            assert (latest.rows["edge"].sequence, latest.rows["edge"].submitted_at) > (sequence, submitted)
        assert outcome.status == "succeeded" or fault
    assert moves == sorted(moves)
