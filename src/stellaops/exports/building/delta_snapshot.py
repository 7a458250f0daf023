"""The snapshot that a delta goes to: from the base's state and what changed since."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from stellaops.bundles.digest_list import DigestListWriter
from stellaops.bundles.manifest import ExportManifest, Source
from stellaops.exports.building.delta_ports import Change, ChangedRows, KeptLists
from stellaops.exports.building.kept_lists import Amended, healed
from stellaops.exports.ports import Evidence, Selection, Snapshot


@dataclass(frozen=True, slots=True)
class BaseState:
    """The state that a delta begins with.

    Attributes:
        manifest: of the base's export.
        sequence: at which it was cut.
        records: how many records of each source it selected.
    """

    manifest: ExportManifest
    sequence: int
    records: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeltaTools:
    """What deltas work with beside the tools of every run."""

    changed: ChangedRows
    lists: KeptLists
    evidence: Evidence


def snapshot_after(base: BaseState, selection: Selection, tools: DeltaTools) -> Snapshot:
    """The snapshot of a selection whose state at the base's sequence is known.

    Raises:
        BaseMissing: the base's state cannot be told any more.
    """
    return healed(lambda: _snapshot_after(base, selection, tools))


def _snapshot_after(base: BaseState, selection: Selection, tools: DeltaTools) -> Snapshot:
    sources = _Sources(base, selection, tools)
    earlier = replace(selection, sequence=base.sequence)
    with ExitStack() as stack:
        amended = Amended(stack, tools.lists, base.manifest.snapshot, lambda: snapshot_kept(earlier, tools))
        for change in tools.changed.changes(selection, base.sequence, lines=False):
            before = amended.list.set((change.owner, change.source, change.key), change.digest)
            sources.note(change, before)
        digest, records = amended.finish()
    return Snapshot(digest, records, sources.found(), sources.counts)


def snapshot_kept(selection: Selection, tools: DeltaTools) -> Snapshot:
    """The snapshot of a selection out of all of its rows; its list is kept for deltas."""
    with tools.lists.growing() as growing:
        writer = DigestListWriter(growing.out)
        found = tools.evidence.snapshot(selection, writer.add)
        writer.close()
        growing.keep(found.digest)
    return found


class _Sources:
    """The sources of a snapshot, from those of the base and what changed."""

    def __init__(self, base: BaseState, selection: Selection, tools: DeltaTools) -> None:
        self._selection = selection
        self._tools = tools
        self._newest: dict[str, datetime | None] = {
            source.name: source.updated_at for source in base.manifest.sources
        }
        self._doubtful: set[str] = set()
        self.counts: dict[str, int] = dict(base.records)

    def note(self, change: Change, before: str | None) -> None:
        """Take a change; `before` is the digest that was selected at the base."""
        name = change.source
        self.counts[name] = self.counts.get(name, 0) + (change.digest is not None) - (before is not None)
        known = self._newest.get(name)
        if before is not None and known is not None and change.stated_before == known:
            self._doubtful.add(name)  # the newest of the base is gone; perhaps nothing else is as new
        if change.digest is not None:
            stated = change.stated_at
            if stated is not None and (known is None or stated >= known):
                self._newest[name] = stated
                self._doubtful.discard(name)
            else:
                self._newest.setdefault(name, known)

    def found(self) -> tuple[Source, ...]:
        """Those with selected documents."""
        registered = self._tools.changed.registered()
        sources = []
        for name in sorted(self._newest):
            if not self.counts.get(name):
                self.counts.pop(name, None)
                continue
            newest = self._newest[name]
            if name in self._doubtful:
                state = self._tools.changed.source_state(self._selection, name)
                newest = None if state is None else state.updated_at
            sources.append(Source(name, *registered[name], newest))
        return tuple(sources)
