"""OSV ranges and version lists as the constraints that Trivy's version comparers read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from stellaops.advisories.advisory import Affected, Event, Specific
from stellaops.bundles.trivy.constraints.merge import ANY_VERSION
from stellaops.bundles.trivy.constraints.spelling import spelling
from stellaops.matching.versions.interface import InvalidVersion, Key
from stellaops.matching.versions.registry import scheme_of

_FROM_THE_START = frozenset(("", "0", "0.0.0-0", "0.0.0"))


@dataclass(frozen=True, slots=True)
class Interval:
    """From `introduced` (empty: from the start) to before `fixed`, or to `last_affected`, or open."""

    introduced: str
    fixed: str = ""
    last_affected: str = ""

    def constraints(self, scheme: str) -> tuple[str, ...]:
        """The interval as constraints of which a vulnerable version matches one, in the comparer's spelling."""
        start = "" if self.introduced in _FROM_THE_START else spelling(scheme, self.introduced)
        last = spelling(scheme, self.last_affected) if self.last_affected else ""
        if start and start == last:
            return (f"={start}",)
        parts = [f">={start}"] if start else []
        if self.fixed:
            parts.append(f"<{spelling(scheme, self.fixed)}")
        elif last:
            parts.append(f"<={last}")
        return (", ".join(parts),) if parts else ANY_VERSION


def intervals(affected: Affected, scheme: str) -> list[Interval]:
    """The version intervals of an affected entry; GIT ranges, which scanners cannot compare, are left out."""
    found: list[Interval] = []
    for span in affected.ranges or ():
        if (span.type or "").upper() != "GIT":
            found.extend(_pair(_in_order(span.events or [], scheme)))
    return [_complete(interval, affected) for interval in found]


def listed(affected: Affected, spans: Iterable[Interval], scheme: str) -> list[str]:
    """The listed versions that no interval covers.

    A version that the same entry names as fixed is left out: some documents list the fixed version among the
    affected, and the fix is the more exact statement.
    """
    spans = list(spans)
    fixed = {span.fixed for span in spans if span.fixed}
    return [
        version
        for version in dict.fromkeys(affected.versions or ())
        if version and version not in fixed and not any(_covers(span, version, scheme) for span in spans)
    ]


@lru_cache(maxsize=50_000)
def sort_key(version: str, scheme: str) -> Key | None:
    """A version's place in its scheme's order; None where the scheme does not know it."""
    try:
        return scheme_of(scheme).key(version)
    except InvalidVersion:
        return None


def _pair(events: Iterable[Event]) -> Iterator[Interval]:
    introduced: str | None = None
    for event in events:
        if event.introduced is not None:
            if introduced is not None:
                yield Interval(introduced)
            introduced = event.introduced
        elif introduced is not None and event.fixed is not None:
            yield Interval(introduced, fixed=event.fixed)
            introduced = None
        elif introduced is not None and event.last_affected is not None:
            yield Interval(introduced, last_affected=event.last_affected)
            introduced = None
    if introduced is not None:
        yield Interval(introduced)


def _in_order(events: list[Event], scheme: str) -> list[Event]:
    """Events by version; as they stand where a version is not in the scheme."""
    if len(events) == 2 and events[0].introduced is not None and events[1].introduced is None:
        return events
    keyed = []
    for event in events:
        text = event.introduced if event.introduced is not None else (event.fixed or event.last_affected)
        if text is None:
            continue
        start = event.introduced is not None and text in _FROM_THE_START
        key = () if start else sort_key(text, scheme)
        if key is None:
            return events
        # At one version an interval ends before the next begins, but `last_affected` includes the version.
        place = 0 if event.fixed is not None else 1 if event.introduced is not None else 2
        keyed.append(((not start, key, place), event))
    return [event for _, event in sorted(keyed, key=lambda pair: pair[0])]


def _covers(span: Interval, version: str, scheme: str) -> bool:
    key = sort_key(version, scheme)
    if key is None:
        return False
    low = None if span.introduced in _FROM_THE_START else sort_key(span.introduced, scheme)
    if low is not None and key < low:
        return False
    if span.fixed:
        high = sort_key(span.fixed, scheme)
        return high is None or key < high
    if span.last_affected:
        last = sort_key(span.last_affected, scheme)
        return last is None or key <= last
    return True


def _complete(interval: Interval, affected: Affected) -> Interval:
    """Close an open interval with GitHub's `last_known_affected_version_range`, which is `<= 1.2` or `< 1.2`."""
    specific = affected.database_specific
    if interval.fixed or interval.last_affected or not isinstance(specific, Specific):
        return interval
    text = specific.last_known_affected_version_range
    if not isinstance(text, str):
        return interval
    if text.startswith("<="):
        return Interval(interval.introduced, last_affected=text[2:].strip())
    if text.startswith("<"):
        return Interval(interval.introduced, fixed=text[1:].strip())
    return interval
