"""The delta from a kept export to the state at another sequence: from what changed in between, and nothing else.

Digests of whole sets come out of the base's digest lists (`bundles.digest_list`), amended where rows changed. Only what
is made of many documents at once (findings, databases) is made again and compared.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from msgspec import structs

from stellaops.advisories.aliases import Relation, Statement
from stellaops.bundles import layout
from stellaops.bundles.content import Content, RowSetDigest
from stellaops.bundles.digest_list import AmendedList, DamagedDigestList, DigestList, DigestListWriter, Place
from stellaops.bundles.jsonl import shards
from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import ExportManifest, Source
from stellaops.bundles.mirror.delta import Removal, SetWriter, content_of, write_listing
from stellaops.bundles.vex import consensus_rows
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.exports.building.contents import Built, Material, build_rows
from stellaops.exports.building.delta_ports import Change, ChangedRows, GrowingList, KeptLists
from stellaops.exports.building.mirror import DOCUMENTS, RowSets
from stellaops.exports.building.vex_verdicts import Question, VexRows, verdicts
from stellaops.exports.errors import BaseMissing
from stellaops.exports.ports import Evidence, Selection, Snapshot, Staging
from stellaops.findings.verdicts import weights_of
from stellaops.policy.snapshot import EMPTY
from stellaops.vex.consensus import Held
from stellaops.vex.statement import Words
from stellaops.vex.weights import Weights

_MOST_NAMES = 50_000
"""More names than these are not followed one by one: the consensus is listed as a whole."""
_MOST_ROUNDS = 20
_MOST_DAMAGED = 20
_T = TypeVar("_T")
_NOTHING = digests.sha256(b"")
"""The content digest of a row set without rows."""
_JUDGED_BY = {layout.TRIVY_SENTINELS: layout.TRIVY_DB, layout.TRIVY_JAVA_SENTINELS: layout.TRIVY_JAVA_DB}
"""What a database is judged by travels with it, so that a delta can be verified by itself."""
_ROWS = ("advisories", "vex", "sboms", "findings", "upstream", "normalized")
"""What of a profile's includes is rows."""


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
    return _healed(lambda: _snapshot_after(base, selection, tools))


def _snapshot_after(base: BaseState, selection: Selection, tools: DeltaTools) -> Snapshot:
    sources = _Sources(base, selection, tools)
    earlier = replace(selection, sequence=base.sequence)
    with ExitStack() as stack:
        amended = _Amended(stack, tools.lists, base.manifest.snapshot, lambda: snapshot_kept(earlier, tools))
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


class _Amended:
    """A kept list under amendment, with the file of the list that comes out."""

    def __init__(
        self, stack: ExitStack, lists: KeptLists, digest: Digest, make_again: Callable[[], object]
    ) -> None:
        base = None if digest == _NOTHING else _opened(stack, lists, digest, make_again)
        self.growing: GrowingList = stack.enter_context(lists.growing())
        self.list = AmendedList(base, self.growing.out)

    def finish(self) -> tuple[Digest, int]:
        """Digest and rows of the amended list, which is kept."""
        digest, records = self.list.finish()
        self.growing.keep(digest)
        return digest, records


def _opened(
    stack: ExitStack, lists: KeptLists, digest: Digest, make_again: Callable[[], object]
) -> DigestList:
    """A kept list; made again from the evidence where it is not kept.

    Raises:
        BaseMissing: the evidence does not give it any more.
    """
    found = stack.enter_context(lists.opened(digest))
    if found is None:
        make_again()
        found = stack.enter_context(lists.opened(digest))
    if found is None:
        raise BaseMissing(
            f"the evidence does not give the base's state any more: nothing in it has digest {digest}"
        )
    return found


def build_delta(material: Material, base: BaseState, staging: Staging, tools: DeltaTools) -> Built:
    """The contents of the target state; in the staging place lie the files of the delta.

    Raises:
        BaseMissing: the base's state cannot be told any more.
    """
    built = _healed(lambda: _built(material, base, staging, tools))
    _drop_unchanged(built, base.manifest, staging.root)
    return built


def _built(material: Material, base: BaseState, staging: Staging, tools: DeltaTools) -> Built:
    for left in list(staging.root.iterdir()):  # of an attempt that met a damaged list
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with ExitStack() as stack:
        sets = _DeltaSets(material, base, staging, tools, stack)
        sets.apply_changes()
        return build_rows(material, staging, sets)


def _healed(attempt: Callable[[], _T]) -> _T:
    """Attempt again where a kept list was damaged, which then is kept no more; it is made again from the evidence."""
    for _ in range(_MOST_DAMAGED):
        try:
            return attempt()
        except DamagedDigestList:
            continue
    return attempt()


def build_full(material: Material, staging: Staging, lists: KeptLists) -> Built:
    """The contents of a full archive, whose digest lists are kept for the deltas that will build on it."""
    return build_rows(material, staging, _KeepingSets(material, staging, lists))


class _KeepingSets(RowSets):
    """Writes row sets, and keeps their lists."""

    def __init__(self, material: Material, staging: Staging, lists: KeptLists) -> None:
        super().__init__(material, staging)
        self._lists = lists

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """A row set; its lines in ascending order."""
        with self._lists.growing() as growing:
            list_ = DigestListWriter(growing.out)
            content = shards.write_row_set(
                name, lines, self._staging.create, keep=list_.add, level=self._level, endings=self._endings
            )
            list_.close()
            growing.keep(content.content_digest)
        return content


def _drop_unchanged(built: Built, base: ExportManifest, root: Path) -> None:
    """Take away files that the base has too, and what was written of row sets that are no contents any more."""
    known = {content.path: content.content_digest for content in base.contents}
    other = {content.path for content in built.contents if known.get(content.path) != content.content_digest}
    for content in built.contents:
        together = {content.path, _JUDGED_BY.get(content.path, content.path)}
        if not layout.is_row_set(content.path) and not together & other:
            (root / content.path).unlink()
    there = {content.path for content in built.contents}
    for path in sorted(root.rglob("*.jsonl.zst")):
        name = content_of(path.relative_to(root).as_posix())
        if name is not None and name not in there:
            path.unlink()


@dataclass(frozen=True, slots=True)
class _Set:
    """A row set whose rows are followed one by one."""

    amended: _Amended
    writer: SetWriter

    def put(self, place: Place, line: bytes | None, change: Change | None = None) -> None:
        """The row of a key that may have changed; None where there is none.

        Args:
            change: of the document whose row it is; None for a row that is made of several.
        """
        digest = None if line is None else digests.sha256(line)
        before = self.amended.list.set(place, digest)
        if line is not None and digest != before:
            self.writer.upsert(line)
        elif line is None and before is not None:
            self.writer.remove(_removal(place, change))

    def finish(self, path: str) -> Content:
        """The whole set."""
        digest, records = self.amended.finish()
        self.writer.close()
        return Content(path, digest, records, layout.ROW_SET_TYPE)


def _removal(place: Place, change: Change | None) -> Removal:
    if change is None or not change.gone or change.digest_before is None:
        return Removal(*place, "deselected")
    return Removal(*place, "vanished", Digest(change.digest_before))


class _DeltaSets(RowSets):
    """Takes the row sets of a full bundle, and writes what of them differs from the base."""

    def __init__(
        self, material: Material, base: BaseState, staging: Staging, tools: DeltaTools, stack: ExitStack
    ) -> None:
        super().__init__(material, staging)
        self._material = material
        self._base = base
        self._tools = tools
        self._stack = stack
        self._done: dict[str, Content] = {}
        self._revisions: set[int] = set()

    def apply_changes(self) -> None:
        """Bring the sets up to date that have a row for each document."""
        sets: dict[str, _Set] = {}
        with ExitStack() as stack:
            for change in self._tools.changed.changes(self._material.selection, self._base.sequence):
                self._revisions.update(change.revisions if change.kind in DOCUMENTS else ())
                for path, line in self._rows_of(change):
                    if path not in sets:
                        sets[path] = self._set(stack, path)
                    sets[path].put((change.owner, change.source, change.key), line, change)
            for path, each in sets.items():
                self._done[path] = each.finish(path)
        for path in self._followed():
            content = self._base.manifest.content(path)
            if path not in self._done and content is not None:
                self._done[path] = content

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """A row set; its lines are not asked for where it is known by now what changed."""
        done = self._done.get(name)
        if done is not None:
            return done
        if name == layout.CONSENSUS:
            followed = self._consensus()
            if followed is not None:
                return followed
        return self._listed(name, lines)

    def _followed(self) -> Iterator[str]:
        for kind in self._material.selection.records:
            if kind in DOCUMENTS and self._material.profile.includes(kind):
                yield f"{layout.RAW}{kind}"
            if kind != "sboms":
                yield f"{layout.INDEXES}{kind}"

    def _rows_of(self, change: Change) -> Iterator[tuple[str, bytes | None]]:
        """The row sets in which a document has a line, with the line."""
        if change.kind in DOCUMENTS and self._material.profile.includes(change.kind):
            yield f"{layout.RAW}{change.kind}", change.raw
        if change.kind != "sboms":
            yield f"{layout.INDEXES}{change.kind}", change.index

    def _set(self, stack: ExitStack, path: str) -> _Set:
        held = self._base.manifest.content(path)
        digest = _NOTHING if held is None else held.content_digest
        amended = _Amended(stack, self._tools.lists, digest, lambda: self._list_again(path))
        return _Set(amended, self._writer(stack, path))

    def _writer(self, stack: ExitStack, path: str) -> SetWriter:
        writer = SetWriter(path, self._staging.create)
        stack.callback(writer.close)
        return writer

    def _listed(self, name: str, lines: Iterable[Line]) -> Content:
        """Compare a set that is listed as a whole."""
        held = self._base.manifest.content(name)
        with ExitStack() as stack:
            base: Iterable[tuple[Place, str]] = ()
            if held is not None:
                found = _opened(stack, self._tools.lists, held.content_digest, lambda: self._list_again(name))
                base = found.lines()
            growing = stack.enter_context(self._tools.lists.growing())
            list_ = DigestListWriter(growing.out)
            content = write_listing(name, lines, base, self._writer(stack, name), list_.add)
            list_.close()
            growing.keep(content.content_digest)
        return content

    def _consensus(self) -> Content | None:
        """Work out the consensus of those vulnerabilities alone that changed documents speak of.

        None where those are too many, or where it is weighed otherwise than in the base.
        """
        held = self._base.manifest.content(layout.CONSENSUS)
        weighed_by = self._base.manifest.policy_snapshot or EMPTY.digest
        if held is None or weighed_by != self._material.policy.digest:
            return None
        if not held.records and not self._records(layout.VEX_INDEX):
            return held
        new = self._material.selection
        old = replace(new, sequence=self._base.sequence)
        vex = self._material.vex
        names = _connected(vex, (old, new), self._tools.changed.names_in(self._speaking()))
        if names is None:
            return None
        question = Question(weights_of(self._material.policy, Weights()))
        before, after = (_consensus_lines(_Only(vex, names), each, question) for each in (old, new))
        if before == after:
            return held
        with ExitStack() as stack:
            amended = _Amended(
                stack, self._tools.lists, held.content_digest, lambda: self._list_again(layout.CONSENSUS)
            )
            set_ = _Set(amended, self._writer(stack, layout.CONSENSUS))
            for place in sorted({*before, *after}):
                set_.put(place, after.get(place))
            return set_.finish(layout.CONSENSUS)

    def _speaking(self) -> set[int]:
        """The documents, before and after, that changed and have a say in names; advisories do, selected or not."""
        selection = self._material.selection
        if set(DOCUMENTS) <= set(selection.records):
            return self._revisions
        every = replace(selection, records=DOCUMENTS)
        changes = self._tools.changed.changes(every, self._base.sequence, lines=False)
        return {revision for change in changes for revision in change.revisions}

    def _records(self, path: str) -> int:
        """Rows of a set in the base, or in the target as far as it is known."""
        known = (self._base.manifest.content(path), self._done.get(path))
        return sum(content.records for content in known if content is not None)

    def _list_again(self, name: str) -> None:
        """Keep a list of the base again, out of the evidence at the base's sequence."""
        profile, selection = self._material.profile, self._material.selection
        include = [part for part in _ROWS if profile.includes(part)]
        rows_alone = replace(profile, spec=structs.replace(profile.spec, include=include))
        earlier = replace(
            self._material, selection=replace(selection, sequence=self._base.sequence), profile=rows_alone
        )
        nowhere = _Nowhere(self._staging.root, self._staging.scratch)
        build_rows(earlier, nowhere, _Listing(earlier, nowhere, self._tools.lists, name))


class _Listing(RowSets):
    """Takes the row sets of a full bundle, and keeps the list of one of them."""

    def __init__(self, material: Material, staging: Staging, lists: KeptLists, name: str) -> None:
        super().__init__(material, staging)
        self._lists = lists
        self._name = name

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """Read the lines of the one set; those of the others are not asked for."""
        if name != self._name:
            return Content(name, _NOTHING, 0, layout.ROW_SET_TYPE)
        with self._lists.growing() as growing:
            list_ = DigestListWriter(growing.out)
            digest = RowSetDigest(list_.add)
            for line in lines:
                digest.add(line.owner, line.source, line.key, line.text)
            list_.close()
            growing.keep(digest.digest())
        return Content(name, digest.digest(), digest.records, layout.ROW_SET_TYPE)


@dataclass(frozen=True, slots=True)
class _Nowhere:
    """A staging place whose files go nowhere."""

    root: Path
    scratch: Path

    def create(self, path: str) -> BinaryIO:
        """See the port."""
        del path
        return io.BytesIO()

    def reserve(self, size: int) -> None:
        """See the port: nothing takes room here."""


@dataclass(frozen=True, slots=True)
class _Only:
    """The statements under some names."""

    vex: VexRows
    names: frozenset[str]

    def vulnerabilities(self, selection: Selection, package: str | None = None) -> Sequence[str]:
        """See the port: those of the names under which there are statements."""
        found = self.vex.statements(selection, self.names, package)
        return sorted({held.vulnerability for held in found})

    def statements(
        self, selection: Selection, names: Collection[str], package: str | None = None
    ) -> Sequence[Held]:
        """See the port."""
        return self.vex.statements(selection, names, package)

    def links(self, selection: Selection, names: Collection[str]) -> Sequence[Statement]:
        """See the port."""
        return self.vex.links(selection, names)

    def words(self, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
        """See the port."""
        return self.vex.words(places)


def _consensus_lines(vex: VexRows, selection: Selection, question: Question) -> dict[Place, bytes]:
    lines = (consensus_rows.line(verdict) for some in verdicts(vex, selection, question) for verdict in some)
    return {(line.owner, line.source, line.key): line.text for line in lines}


def _connected(vex: VexRows, selections: Sequence[Selection], names: set[str]) -> frozenset[str] | None:
    """Some names with all that documents give the same vulnerability, before or after; None for too many."""
    found, border = set(names), set(names)
    for _ in range(_MOST_ROUNDS):
        if len(found) > _MOST_NAMES:
            return None
        told = {one.link for selection in selections for one in vex.links(selection, border)}
        reached = {
            name for link in told if link.relation is Relation.SAME for name in (link.subject, link.object)
        }
        border = reached - found
        if not border:
            return frozenset(found)
        found |= border
    return None
