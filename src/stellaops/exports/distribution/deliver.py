"""Bring a bundle to its targets: one run at a time for each target, what its content names first, moving names last.

A target that fails is marked, and stops nothing: the others get the bundle all the same. Every delivery can be repeated
at any time, after any death: targets keep what they have, and moving names never go back.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from stellaops.bundles import layout, manifest
from stellaops.core import timestamps
from stellaops.core.errors import DependencyFailed, InvalidInput, StellaError
from stellaops.exports.distribution.ports import (
    Delivered,
    DeliveredFile,
    Delivery,
    LatestNames,
    Pointed,
    Target,
    Targets,
    Told,
)
from stellaops.exports.errors import ArchiveGone, RunChanged, TargetIsNewer, VerifyFailed
from stellaops.exports.events import Event, EventType
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.profile import HTTP, Destination
from stellaops.exports.run import Archive, Run
from stellaops.kit.locate import locate

TRIES = 5
"""How often each part of a delivery is tried."""
LONGEST = 120.0
"""Seconds that are waited between two tries at most; a target that asks for more has failed."""
SUCCEEDED, FAILED, PENDING = "succeeded", "failed", "pending"
POINTING = "pointing"
"""What is told before names move; whoever listens checks the run's state then."""
_PIECE = 1 << 20

T = TypeVar("T")


class TargetMisused(InvalidInput):
    """A profile names a target in a way that the installation's settings do not allow."""

    code = "ERR_EXPORT_TARGET_MISUSED"
    hint = "Compare the profile's `distribution` with `stella export target list`."


@dataclass(frozen=True, slots=True)
class DeliverTools:
    """What deliveries work with.

    Attributes:
        sleep: waits for some seconds.
        chance: a number from 0 to below 1, so that those who failed together do not come back together.
    """

    targets: Targets
    latest: LatestNames
    artefacts: ArtefactStore
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of bringing a bundle to a target.

    Attributes:
        sent: bytes; 0 where the target had everything.
        seconds: from the turn at the target to the end.
        latest: whether the moving names were set to it.
        again: whether a later attempt may succeed by itself.
    """

    destination: Destination
    status: str
    at: datetime
    reference: str | None = None
    sent: int = 0
    seconds: float = 0.0
    latest: bool = False
    error: str | None = None
    error_code: str | None = None
    again: bool = True

    @property
    def may_pass(self) -> bool:
        """Whether a target that the run is required to reach failed, and a later attempt may reach it."""
        return self.status == FAILED and self.destination.required and self.again

    def to_wire(self) -> dict[str, Any]:
        """The outcome as a run's record has it."""
        return {
            "target": self.destination.name,
            "driver": self.destination.driver,
            "status": self.status,
            "required": self.destination.required,
            "error": self.error,
            "errorCode": self.error_code,
            "reference": self.reference,
            "bytes": self.sent,
            "seconds": round(self.seconds, 3),
            "at": timestamps.render(self.at),
            "latest": self.latest,
            "options": dict(self.destination.options),
        }

    def event(self) -> Event:
        """The outcome as those who watch the run see it."""
        names = (
            "target", "driver", "status", "error", "errorCode", "reference", "bytes", "seconds", "latest",
        )  # fmt: skip
        wire = self.to_wire()
        return Event(EventType.DISTRIBUTED, self.at, {name: wire[name] for name in names})


def bring(
    run: Run,
    wanted: Iterable[Destination],
    tools: DeliverTools,
    told: Told,
    judge: Callable[[Path], None] = lambda root: None,
    *,
    key: str | None = None,
) -> Iterator[Outcome]:
    """Bring a run's bundle to targets, one after the other.

    Args:
        judge: refuses a bundle root that must not be sent, before anything is.
        key: which of the tenant's keys signs at the targets, by id or URI; the active one where None.

    Raises:
        VerifyFailed: the bundle is not as the run made it; nothing more is sent.
        BundleGone, ArchiveGone, DependencyFailed: the bundle cannot be read here.
        RunChanged: `told` says that the run is in other hands, or cancelled.
    """
    with ExitStack() as stack:
        delivery: Delivery | None = None
        for destination in wanted:
            if destination.driver == HTTP.driver:
                yield _here(run, tools)
                continue
            if delivery is None:
                root = stack.enter_context(tools.artefacts.opened(_archive(run)))
                judge(root)
                delivery = replace(_delivery(run, root), key=key)
            yield _brought(run, replace(delivery, options=destination.options), destination, tools, told)


def _archive(run: Run) -> Archive:
    if run.archive is None:
        raise ArchiveGone(f"run {run.id} has no archive")
    return run.archive


def _here(run: Run, tools: DeliverTools) -> Outcome:
    """The download from here is where the bundle lies already."""
    archive = _archive(run)
    if not tools.artefacts.exists(archive):
        raise ArchiveGone(f"archive {archive.archive_id} of run {run.id} is not in the store of artefacts")
    # No name moves here: which run is the newest, the runs say.
    return Outcome(HTTP, SUCCEEDED, tools.now(), f"artefacts:{archive.export_id}/{archive.archive_id}")


def _delivery(run: Run, root: Path) -> Delivery:
    """What is brought, read once for all targets.

    Raises:
        VerifyFailed: a file is not as the run made it.
    """
    files = tuple(
        _measured(root, path) for path in sorted(each for each in root.rglob("*") if each.is_file())
    )
    found = {file.path: file.sha256 for file in files}
    wrong = [each.path for each in run.artifacts if found.get(each.path) != each.sha256.rpartition(":")[2]]
    if wrong:
        raise VerifyFailed(f"{wrong[0]} of run {run.id} is not as the run made it, or is gone", details=wrong)
    return Delivery(
        tenant=run.tenant,
        profile=run.profile,
        kind=run.kind,
        archive=_archive(run),
        generated_at=_generated_at(root),
        sequence=run.sequence or 0,
        root=root,
        files=files,
    )


def _measured(root: Path, path: Path) -> DeliveredFile:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return DeliveredFile(path.relative_to(root).as_posix(), digest.hexdigest(), path.stat().st_size)


def _brought(
    run: Run, delivery: Delivery, destination: Destination, tools: DeliverTools, told: Told
) -> Outcome:
    began = time.monotonic()
    try:
        target = tools.targets.target(run.tenant, destination.name)
        demand_fit(target, destination)
        with tools.targets.turn(destination.name, run.tenant) as turn:
            began = time.monotonic()
            delivered = _insisted(lambda: target.deliver(delivery, told), tools)

            def point() -> None:
                turn.demand()
                target.point(delivery, delivered)

            # Both may find that somebody else has the run, or the target, by now: nothing moves then.
            told(POINTING, {"target": target.name})
            turn.demand()
            latest = _pointed(run, target, delivered, point, tools)
    except RunChanged:
        raise  # whoever has the run now goes on
    except Exception as error:  # noqa: BLE001 - whatever a driver does, the other targets get the bundle
        return _failed(destination, error, began, tools)
    seconds = time.monotonic() - began
    return Outcome(
        destination, SUCCEEDED, tools.now(), delivered.reference, delivered.sent, seconds, latest=latest
    )


def demand_fit(target: Target, destination: Destination) -> None:
    """Refuse what a profile says to a target that does not fit it.

    Raises:
        TargetMisused: with everything that is wrong.
    """
    problems = list(target.check(destination.options))
    if target.driver != destination.driver:
        problems.insert(0, f"its driver is {target.driver}, not {destination.driver}")
    if problems:
        raise TargetMisused(f"target {destination.name}: {'; '.join(problems)}", details=problems)


def _pointed(
    run: Run, target: Target, delivered: Delivered, point: Callable[[], None], tools: DeliverTools
) -> bool:
    """Let the moving names name the bundle, unless they have named something newer; whether they name it.

    Args:
        point: has the target do it, as long as its turn is held.
    """
    mine = Pointed(
        target.name,
        run.tenant,
        run.profile,
        run.id,
        run.sequence or 0,
        run.submitted_at,
        delivered.reference,
        tools.now(),
    )
    before = tools.latest.of(target.name, run.tenant, run.profile)
    if before is not None and (before.is_newer_than(mine) or not _may_follow(run, before)):
        return False
    # Noted before the names move: where this process dies in between, nothing older gets past it.
    tools.latest.note(mine)
    try:
        _insisted(point, tools)
    except TargetIsNewer:
        return False
    return True


def _may_follow(run: Run, before: Pointed) -> bool:
    """Whether those who go by the moving names may get a run's bundle after what they have.

    What was narrowed by whoever submitted it, or does a snapshot again, is for whoever asked: not for everybody.
    """
    if before.run_id == run.id:
        return True
    if run.replay_of is not None:
        return (run.sequence or 0) > before.sequence
    return not run.asked.selectors


def _insisted(call: Callable[[], T], tools: DeliverTools) -> T:
    """Call again after failures that may pass, with pauses that grow; a target that says how long is listened to."""
    for attempt in range(TRIES - 1):
        try:
            return call()
        except DependencyFailed as error:
            asked: float | None = getattr(error, "retry_after", None)
            if not getattr(error, "again", True) or (asked or 0) > LONGEST:
                raise
            pause = 2**attempt * (0.5 + tools.chance())
            tools.sleep(max(pause, asked or 0))
    return call()


def _failed(destination: Destination, error: Exception, began: float, tools: DeliverTools) -> Outcome:
    again = isinstance(error, DependencyFailed) and getattr(error, "again", True)
    if isinstance(error, StellaError):
        text, code = error.what, error.code
    else:
        # Its words may hold what only the driver knows, such as a secret; its place is enough to find the mistake.
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"the driver failed: {type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        code = StellaError.code
    seconds = time.monotonic() - began
    return Outcome(
        destination, FAILED, tools.now(), seconds=seconds, error=text, error_code=code, again=bool(again)
    )


def _generated_at(root: Path) -> datetime:
    """The newest instant that a bundle states, wherever its `export.json` lies."""
    found = locate(root)
    try:
        return manifest.parse(found.tree.read(layout.MANIFEST, manifest.LARGEST)).generated_at
    finally:
        found.close()


def noted(run: Run, outcome: Outcome) -> Run:
    """The run with an outcome in its record; what a target got before is found by its reference still."""
    wire = outcome.to_wire()
    before = next((each for each in run.targets if each.get("target") == wire["target"]), None)
    if before is None:
        return replace(run, targets=(*run.targets, wire))
    if wire["reference"] is None:
        wire["reference"] = before.get("reference")
    return replace(run, targets=tuple(wire if each is before else each for each in run.targets))


def awaiting(run: Run, wanted: Sequence[Destination], now: datetime) -> Run:
    """The run with every target in its record that it is to be brought to and has not reached yet."""
    for destination in missing(run, wanted):
        run = noted(run, Outcome(destination, PENDING, now))
    return run


def missing(run: Run, wanted: Iterable[Destination]) -> list[Destination]:
    """Those of some targets that do not have the run's bundle."""
    there = {each.get("target") for each in run.targets if each.get("status") == SUCCEEDED}
    return [destination for destination in wanted if destination.name not in there]


def unreached(run: Run, wanted: Iterable[Destination]) -> tuple[list[Destination], bool]:
    """Targets that the run lacks and is required to reach; and whether it lacks any at all."""
    lacking = missing(run, wanted)
    return [destination for destination in lacking if destination.required], bool(lacking)


def words(run: Run, lacking: Iterable[Destination]) -> str:
    """Why targets were not reached."""
    reasons: Mapping[Any, Any] = {each.get("target"): each.get("error") for each in run.targets}
    return "; ".join(f"target {each.name}: {reasons.get(each.name) or 'not reached'}" for each in lacking)
