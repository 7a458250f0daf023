"""How many workers, how much storage and egress an installation needs: a small model, fed by measured figures.

    python tools/capacity.py                                     # the tables of docs/operate/capacity.md
    python tools/capacity.py --tenants 40 --documents 300000     # yours
    python tools/capacity.py --tenants 40 --format json

Every figure names the sentence of docs/performance.md that it was taken from; a test finds each of them there. What is
assumed and not measured is a field of `Demand`, with an option of its own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

DAY = 86_400
MiB = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure.

    Attributes:
        value: in the unit that its name says.
        measured: what docs/performance.md says, word for word but for its spaces, from which it follows.
    """

    value: float
    measured: str


SECONDS_OF_TRIVY = Figure(112 / 1e6, "265 MiB, 112 s")
"""A document, of a run of `trivy:db` with its smoke scan; short runs have a fixed part that this leaves out."""
SECONDS_OF_ROWS = Figure(80 / 1e6, "205 MiB, 80 s")
"""A document, of a run of `json:raw`."""
SECONDS_OF_FULL = Figure(14.21 / 200_000, "full 14.21 14.75 136,969,034")
"""A document, of a run of `mirror:full` without databases."""
SECONDS_OF_DELTA = Figure(1.92, "a delta of 1,000 took 1.92 s")
"""Of a delta that changes a thousandth of a million documents."""
SECONDS_OF_START = Figure(4.61, "trivy:db 0.00 0.15 2.71 0.01 1.04 0.65 0.01 0.00 4.61")
"""What any run takes at least, rounded up to the time of one of 35,803 documents."""
BYTES_OF_TRIVY = Figure(10.7e6 / 35_803, "0.00 4.61 4.49 to 4.79 10.7")
BYTES_OF_FULL = Figure(136_969_034 / 200_000, "full 14.21 14.75 136,969,034")
BYTES_OF_CHANGE = Figure(143_244 / 200, "delta 0.30 0.30 143,244")
"""Of an archive, a document that it holds or that has changed."""
BYTES_OF_EVIDENCE = Figure(6_979, "8.8 6979")
"""Of the evidence store, a revision of a document with its derived rows, on SQLite; 7,023 on PostgreSQL."""
MEMORY_OF_RUN = Figure(270 * MiB, "270 MiB, 12.6 s")
CPU_OF_IMPORT = Figure(295 / 1e6, "294 MiB, 295 s of CPU")
"""Seconds a document."""
DOWNLOADS = Figure(2_985_002_271, "large (50 MB) ours 2,985,002,271")
"""Bytes a second that a gateway of two processes gives on two cores."""
PUSH = Figure(1e9 / 5.46, "push    ours 5.46 s")
"""Bytes a second into an object store; a registry takes more."""

SLOTS_OF_WORKER = 6
CPUS_OF_WORKER = 4
SLOTS = {"trivy": 3, "full": 3, "delta": 1}
STAGED = {"trivy": 14.0, "full": 2.5}
"""Bytes of staging a byte of the bundle, as docs/operate/storage.md says."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What an installation is asked for; all of it is assumed, and yours to say.

    Attributes:
        tenants: each with the same profiles: a database for Trivy, a mirror and its deltas.
        documents: that a tenant's selection holds.
        changed: of these, that change in a day, as a share.
        trivy_per_day, deltas_per_day: runs of a tenant in a day.
        fulls_per_week: of a tenant.
        window: hours of a day within which its runs have to be done.
        busy: share of slots that work at the most, so that a burst finds room.
        receivers: of each tenant; each takes every database and every delta.
        kept_days: of mirrors, by retention.
        kept_trivy: databases, by retention.
        deltas_kept: what stays whatever retention says, beside the latest full archive.
    """

    tenants: int = 1
    documents: int = 1_000_000
    changed: float = 0.002
    trivy_per_day: float = 1
    deltas_per_day: float = 4
    fulls_per_week: float = 1
    window: float = 20
    busy: float = 0.7
    receivers: int = 10
    kept_days: int = 30
    kept_trivy: int = 10
    deltas_kept: int = 5


@dataclass(frozen=True, slots=True)
class Capacity:
    """What that comes down to. Seconds, bytes and bytes a second where nothing else is said.

    Attributes:
        slots: of all workers together.
        least_stored: the latest full archive, its last deltas and one database of each tenant: what always stays.
        stored: with what retention keeps by its defaults.
        staging: room that a worker needs on its disk.
        egress_a_day: bytes to receivers.
    """

    runs_a_day: float
    seconds_of_trivy: float
    seconds_of_full: float
    seconds_of_delta: float
    slots: float
    workers: int
    cpus: int
    memory: float
    evidence: float
    least_stored: float
    stored: float
    staging: float
    egress_a_day: float
    egress: float
    gateways: int


_RANGES: Mapping[str, tuple[float, float]] = {
    "tenants": (1, 1e9), "documents": (1, 1e12), "changed": (0, 1), "window": (0.1, 24), "busy": (0.01, 1),
}  # fmt: skip
"""The least and the most of a field; of all others from 0 on."""


def problems(demand: Demand) -> list[str]:
    """What cannot be asked for, a sentence for each field."""
    found = []
    for name, value in asdict(demand).items():
        least, most = _RANGES.get(name, (0, 1e9))
        if not least <= value <= most:  # nan is in no range
            found.append(
                f"--{name.replace('_', '-')}: a number from {least:g} to {most:g} is needed, not {value}"
            )
    return found


def capacity(demand: Demand) -> Capacity:
    """Work a demand out."""
    full = demand.documents * BYTES_OF_FULL.value
    trivy = demand.documents * BYTES_OF_TRIVY.value
    changes = demand.documents * demand.changed / max(demand.deltas_per_day, 1)
    delta = changes * BYTES_OF_CHANGE.value
    seconds = {
        "trivy": _seconds(demand.documents * SECONDS_OF_TRIVY.value),
        "full": _seconds(demand.documents * SECONDS_OF_FULL.value),
        "delta": max(1.0, SECONDS_OF_DELTA.value * changes / 1000),
    }
    runs = {"trivy": demand.trivy_per_day, "full": demand.fulls_per_week / 7, "delta": demand.deltas_per_day}
    work = demand.tenants * sum(runs[kind] * seconds[kind] * SLOTS[kind] for kind in runs)
    slots = max(work / (demand.window * 3600) / demand.busy, *SLOTS.values())
    workers = math.ceil(slots / SLOTS_OF_WORKER)
    out = demand.tenants * demand.receivers * (trivy * demand.trivy_per_day + delta * demand.deltas_per_day)
    return Capacity(
        runs_a_day=demand.tenants * sum(runs.values()),
        seconds_of_trivy=seconds["trivy"],
        seconds_of_full=seconds["full"],
        seconds_of_delta=seconds["delta"],
        slots=slots,
        workers=workers,
        cpus=workers * CPUS_OF_WORKER,
        memory=workers * SLOTS_OF_WORKER / min(SLOTS.values()) * MEMORY_OF_RUN.value,
        evidence=demand.documents * BYTES_OF_EVIDENCE.value * (1 + demand.changed * demand.kept_days),
        least_stored=demand.tenants * (full + demand.deltas_kept * delta + trivy),
        stored=demand.tenants * _kept(demand, full, delta, trivy),
        staging=SLOTS_OF_WORKER / SLOTS["full"] * max(trivy * STAGED["trivy"], full * STAGED["full"]),
        egress_a_day=out,
        egress=out / DAY * _PEAK,
        gateways=max(1, math.ceil(out / DAY * _PEAK / (DOWNLOADS.value * _OF_A_GATEWAY))),
    )


_PEAK = 10
"""How much busier than the day's mean the busiest hour is: receivers run by cron, at the same minutes."""
_OF_A_GATEWAY = 0.1
"""Share of what a gateway gave on loopback that a network card and TLS leave, taken low."""


def _seconds(of_documents: float) -> float:
    return max(SECONDS_OF_START.value, of_documents)


def _kept(demand: Demand, full: float, delta: float, trivy: float) -> float:
    fulls = max(1, math.ceil(demand.kept_days * demand.fulls_per_week / 7))
    deltas = max(demand.deltas_kept, demand.kept_days * demand.deltas_per_day)
    return fulls * full + deltas * delta + demand.kept_trivy * trivy


# Showing it

_ROWS: Sequence[tuple[str, Callable[[Capacity], str]]] = (
    ("runs a day", lambda c: f"{c.runs_a_day:,.0f}"),
    ("seconds of a run: `trivy:db`, `mirror:full`, `mirror:delta`",
     lambda c: f"{c.seconds_of_trivy:,.0f}, {c.seconds_of_full:,.0f}, {c.seconds_of_delta:,.1f}"),
    ("workers of 6 slots (4 CPUs each)", lambda c: f"{c.workers:,}"),
    ("memory of all runs at once", lambda c: _size(c.memory)),
    ("evidence store", lambda c: _size(c.evidence)),
    ("artefacts: latest full, 5 deltas, one database", lambda c: _size(c.least_stored)),
    ("artefacts by default retention", lambda c: _size(c.stored)),
    ("staging of each worker", lambda c: _size(c.staging)),
    ("egress a day", lambda c: _size(c.egress_a_day)),
    ("egress in the busiest hour", lambda c: f"{c.egress * 8 / 1e6:,.0f} Mbit/s"),
    ("gateways", lambda c: f"{c.gateways:,}"),
)  # fmt: skip


def _size(value: float) -> str:
    for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value / 1e3:,.0f} kB"


def table(demands: Sequence[Demand]) -> str:
    """A column for each demand, in Markdown."""
    found = [capacity(demand) for demand in demands]
    names = [f"{demand.tenants:,} tenant{'s' * (demand.tenants != 1)}" for demand in demands]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'--:|' * len(demands)}"]
    lines += [f"| {name} | {' | '.join(show(each) for each in found)} |" for name, show in _ROWS]
    return "\n".join(lines)


SHOWN = tuple(Demand(tenants=number) for number in (1, 100, 10_000))
SMALLER = tuple(Demand(tenants=number, documents=100_000) for number in (1, 100, 10_000))


def main() -> None:
    """Print the tables, or one demand's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for field in fields(Demand):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=None)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    given = vars(parser.parse_args())
    form = given.pop("format")
    told = {name: value for name, value in given.items() if value is not None}
    if wrong := problems(Demand(**told)):
        parser.error("; ".join(wrong))
    demands = (Demand(**told),) if told else SHOWN
    if form == "json":
        print(json.dumps([asdict(each) | asdict(capacity(each)) for each in demands], indent=2))
    else:
        print(table(demands))
        if not told:
            print(f"\n{table(SMALLER)}")


if __name__ == "__main__":
    main()
