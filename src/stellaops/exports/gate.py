"""The publish gate: what speaks against an export that is sound in itself, by the bounds of its profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from stellaops.exports.profile import Gate, duration, percent
from stellaops.exports.run import Run

_PER_RUN = frozenset({"mirror:delta"})
"""Kinds whose size says how much has changed, not how much there is."""


@dataclass(frozen=True, slots=True)
class Previous:
    """The run that this one follows.

    Attributes:
        counts: records by source; empty where the run's release did not count them.
        bytes: of its archive.
    """

    run_id: str
    counts: Mapping[str, int]
    bytes: int


def objections(
    bounds: Gate, run: Run, previous: Previous | None, checked: Mapping[str, datetime | None], now: datetime
) -> list[str]:
    """What breaks the bounds, a sentence each.

    Args:
        checked: when each source was last compared with its upstream; None for never.
    """
    found: list[str] = []
    if bounds.max_source_age is not None:
        found += _too_old(run, duration(bounds.max_source_age), checked, now)
    if bounds.max_shrink is not None and previous is not None:
        found += _shrunk(run, previous, percent(bounds.max_shrink))
    return found


def _too_old(
    run: Run, oldest: timedelta, checked: Mapping[str, datetime | None], now: datetime
) -> Iterator[str]:
    for source in sorted(run.counts):
        at = checked.get(source)
        if at is None:
            yield f"source {source} has never been checked against its upstream"
        elif now - at > oldest:
            yield f"source {source} was last checked {_ago(now - at)} ago; {_ago(oldest)} are allowed"


def _shrunk(run: Run, previous: Previous, most: int) -> Iterator[str]:
    """Fewer records in all, fewer of one source, a smaller archive: each by its own share."""
    if previous.counts:
        yield from _less(
            "the records", sum(previous.counts.values()), sum(run.counts.values()), previous, most
        )
        if len(previous.counts) > 1:
            for source, before in sorted(previous.counts.items()):
                yield from _less(
                    f"the records of {source}", before, run.counts.get(source, 0), previous, most
                )
    if run.kind not in _PER_RUN:
        yield from _less("the archive's bytes", previous.bytes, run.bytes, previous, most)


def _less(what: str, before: int, after: int, previous: Previous, most: int) -> Iterator[str]:
    if 100 * (before - after) > most * before:
        share = 100 * (before - after) / before
        yield (
            f"{what} went from {before:,} in run {previous.run_id} to {after:,}: {share:.1f} % less;"
            f" {most} % are allowed"
        )


def _ago(span: timedelta) -> str:
    """A span in the largest unit of which there are two, or in seconds."""
    seconds = span.total_seconds()
    for name, unit in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"
