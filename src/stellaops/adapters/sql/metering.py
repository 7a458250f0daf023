"""What runs count, kept in the store: the processes that work on them are short-lived, or end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Engine, func, select, text

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.meter_schema import meter
from stellaops.adapters.sql.service_schema import profile_t, run_t
from stellaops.exports.events import LAST, Event, EventType
from stellaops.exports.profile import HTTP
from stellaops.exports.run import Run, RunStatus

BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds; the bounds of the service levels are among them: 60, 120, 300."""
DURATION, PUSH = "exporter_run_duration_seconds", "exporter_distribution_push_seconds"
FAILURES, VERIFY_FAILURES = "exporter_run_failures_total", "exporter_verify_failures_total"
BYTES = "exporter_run_bytes_total"
UNREACHED = "exporter_distribution_failures_total"
PRUNED = "exporter_retention_pruned_total"

Labels = Mapping[str, str]
_ADD = text(
    "INSERT INTO meter (name, labels, value) VALUES (:name, :labels, :value)"
    " ON CONFLICT (name, labels) DO UPDATE SET value = meter.value + excluded.value"
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One number with its labels."""

    name: str
    labels: dict[str, str]
    value: float


def count_end(connection: Connection, run: Run, events: Sequence[Event]) -> None:
    """Count what events tell of, in their transaction: the end of a run, and bundles that reached their targets."""
    told = [*_of(run, events), *_brought(run, events)]
    rows = [
        {"name": name, "labels": json.dumps(labels, sort_keys=True), "value": value}
        for name, labels, value in told
    ]
    if rows:  # in one order everywhere, so that two runs that end at once do not wait for each other
        connection.execute(_ADD, sorted(rows, key=lambda row: (str(row["name"]), str(row["labels"]))))


def count(connection: Connection, name: str, labels: Labels, value: float) -> None:
    """Add to one number, in the transaction of what it counts."""
    told = {"name": name, "labels": json.dumps(dict(labels), sort_keys=True), "value": value}
    connection.execute(_ADD, told)


def _of(run: Run, events: Sequence[Event]) -> Iterator[tuple[str, Labels, float]]:
    ended = {event.type: event for event in events if event.type in LAST}
    own = {"profile": run.profile, "profile_kind": run.kind}
    succeeded = ended.get(EventType.SUCCEEDED)
    if run.started_at is not None and run.finished_at is not None and succeeded is not None:
        # One that a target was missing of has succeeded when somebody saw to that, which is no work of the run.
        if not succeeded.data.get("late"):
            yield from _observed(DURATION, own, (run.finished_at - run.started_at).total_seconds())
        yield BYTES, own, float(run.bytes)
    if EventType.FAILED in ended:
        yield FAILURES, own | {"error_code": run.error_code or "internal", "tenant": run.tenant}, 1
    if EventType.FAILED in ended and run.error_code == "verify":
        failed = [str(check["name"]) for check in run.checks if check.get("status") == "failed"]
        for name in failed or ["other"]:
            yield VERIFY_FAILURES, own | {"check": name}, 1


def _brought(run: Run, events: Sequence[Event]) -> Iterator[tuple[str, Labels, float]]:
    """Deliveries; the download from here is none."""
    for event in events:
        driver = event.data.get("driver")
        if event.type is not EventType.DISTRIBUTED or driver in (None, HTTP.driver):
            continue
        labels = {"profile": run.profile, "profile_kind": run.kind, "driver": str(driver)}
        if event.data.get("status") == "succeeded":
            yield from _observed(PUSH, labels, float(event.data.get("seconds") or 0.0))
        elif event.data.get("status") == "failed":
            yield UNREACHED, labels, 1


def _observed(name: str, labels: Labels, seconds: float) -> Iterator[tuple[str, Labels, float]]:
    for bound in BUCKETS:
        if seconds <= bound:
            yield f"{name}_bucket", {**labels, "le": str(bound)}, 1
    yield f"{name}_sum", labels, seconds
    yield f"{name}_count", labels, 1


class _Spec(msgspec.Struct):
    kind: str
    variant: str


class SqlMetering:
    """What was counted, and what is there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def counted(self) -> Sequence[Counted]:
        """Every number, by name and labels."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(meter).order_by(meter.c.name, meter.c.labels)).all()
        return [Counted(row.name, json.loads(row.labels), row.value) for row in rows]

    def profiles(self) -> set[tuple[str, str]]:
        """Names and kinds of all stored profiles."""
        statement = select(profile_t.c.name, profile_t.c.spec).where(~profile_t.c.deleted)
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        specs = ((name, msgspec.json.decode(spec, type=_Spec)) for name, spec in rows)
        return {(name, f"{spec.kind}:{spec.variant}") for name, spec in specs}

    def jobs(self, status: RunStatus) -> Mapping[str, int]:
        """How many runs are in a state, by profile."""
        statement = select(run_t.c.profile, func.count()).where(run_t.c.status == status.value)
        with reading(self._engine) as connection:
            return dict(connection.execute(statement.group_by(run_t.c.profile)).all())
