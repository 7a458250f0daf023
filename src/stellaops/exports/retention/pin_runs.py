"""Say that a run's bundle is to stay, whatever its age: by a pin, or by a legal hold that nobody deletes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stellaops.core.errors import InvalidInput, NotFound
from stellaops.exports.errors import BundleGone
from stellaops.exports.manage_runs import find_run
from stellaops.exports.ports import Runs
from stellaops.exports.retention.ports import Pins, Turns
from stellaops.exports.retention.rules import Pin, PinKind, holds_bundle

_LONGEST = 2000


class PinNotFound(NotFound):
    """A run is not pinned, or not in this way."""

    code = "ERR_EXPORT_PIN_NOT_FOUND"
    hint = "See the pins with `stella export retention show`."


class ReasonMissing(InvalidInput):
    """Nothing says why a run is pinned, or is not any more."""

    code = "ERR_EXPORT_PIN_REASON"
    hint = f"Say why in 1 to {_LONGEST} characters, with --reason."


@dataclass(frozen=True, slots=True)
class PinTools:
    """What pins work with."""

    runs: Runs
    pins: Pins
    turns: Turns
    now: Callable[[], datetime]


def pin_run(tenant: str, run_id: str, kind: PinKind, reason: str, tools: PinTools, *, by: str) -> Pin:
    """Let the bundle of a run stay, with all that it builds on. A second pin of the same kind has the new reason.

    Raises:
        RunNotFound: there is no such run.
        BundleGone: it has no bundle, or none any more.
        ReasonMissing: see there.
    """
    _demand_reason(reason)
    run = find_run(tenant, run_id, tools.runs)
    # What goes is decided under the turn: after it, the pin is either seen, or too late.
    with tools.turns.turn(tenant):
        run = find_run(tenant, run.id, tools.runs)
        if not holds_bundle(run):
            raise BundleGone(f"run {run.id} ({run.status.value}) has no bundle that could be pinned")
        pin = Pin(tenant, run.id, kind, reason.strip(), by, tools.now())
        tools.pins.put(pin)
    return pin


def unpin_run(tenant: str, run_id: str, kind: PinKind, reason: str, tools: PinTools) -> Pin:
    """Take a pin or a legal hold away; the rules decide about the bundle from the next pass on.

    Raises:
        RunNotFound: there is no such run.
        PinNotFound: it has no pin of this kind.
        ReasonMissing: see there.
    """
    _demand_reason(reason)
    run = find_run(tenant, run_id, tools.runs)
    found = [pin for pin in pins_of(tenant, run.id, tools.pins) if pin.kind is kind]
    if not found or not tools.pins.remove(tenant, run.id, kind):
        other = "a legal hold" if kind is PinKind.HOLD else "a pin"
        raise PinNotFound(f"run {run.id} has no such thing as {other}")
    return found[0]


def pins_of(tenant: str, run_id: str, pins: Pins) -> Sequence[Pin]:
    """What keeps a run."""
    return [pin for pin in pins.pins(tenant) if pin.run_id == run_id]


def _demand_reason(reason: str) -> None:
    if not 1 <= len(reason.strip()) <= _LONGEST:
        raise ReasonMissing("a reason is needed")
