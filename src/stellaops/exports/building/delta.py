"""The delta from a kept export to the state at another sequence: from what changed in between, and nothing else.

Digests of whole sets come out of the base's digest lists (`bundles.digest_list`), amended where rows changed. Only what
is made of many documents at once (findings, databases) is made again and compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from stellaops.bundles import layout
from stellaops.bundles.content import Content
from stellaops.bundles.digest_list import DigestListWriter, Place
from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.mirror.delta import Removal, SetWriter, content_of, write_listing
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.exports.building.contents import Built, build_rows
from stellaops.exports.building.delta_consensus import connected, lines_about
from stellaops.exports.building.delta_ports import Change, KeptLists
from stellaops.exports.building.delta_snapshot import BaseState, DeltaTools
from stellaops.exports.building.keeping_sets import KeepingSets, Listing, Nowhere
from stellaops.exports.building.kept_lists import NOTHING, Amended, healed, opened
from stellaops.exports.building.material import Material
from stellaops.exports.building.mirror import DOCUMENTS, RowSets
from stellaops.exports.building.vex_verdicts import Question
from stellaops.exports.ports import Staging
from stellaops.findings.verdicts import weights_of
from stellaops.policy.snapshot import EMPTY
from stellaops.vex.weights import Weights

_JUDGED_BY = {layout.TRIVY_SENTINELS: layout.TRIVY_DB, layout.TRIVY_JAVA_SENTINELS: layout.TRIVY_JAVA_DB}
"""What a database is judged by travels with it, so that a delta can be verified by itself."""
_ROWS = ("advisories", "vex", "sboms", "findings", "upstream", "normalized")
"""What of a profile's includes is rows."""


def build_delta(material: Material, base: BaseState, staging: Staging, tools: DeltaTools) -> Built:
    """The contents of the target state; in the staging place lie the files of the delta.

    Raises:
        BaseMissing: the base's state cannot be told any more.
    """
    built = healed(lambda: _built(material, base, staging, tools))
    _drop_unchanged(built, base.manifest, staging.root)
    return built


def _built(material: Material, base: BaseState, staging: Staging, tools: DeltaTools) -> Built:
    for left in list(staging.root.iterdir()):  # of an attempt that met a damaged list
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with ExitStack() as stack:
        sets = _DeltaSets(material, base, staging, tools, stack)
        sets.apply_changes()
        return build_rows(material, staging, sets)


def build_full(material: Material, staging: Staging, lists: KeptLists) -> Built:
    """The contents of a full archive, whose digest lists are kept for the deltas that will build on it."""
    return build_rows(material, staging, KeepingSets(material, staging, lists))


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

    amended: Amended
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
        digest = NOTHING if held is None else held.content_digest
        amended = Amended(stack, self._tools.lists, digest, lambda: self._list_again(path))
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
                found = opened(stack, self._tools.lists, held.content_digest, lambda: self._list_again(name))
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
        names = connected(vex, (old, new), self._tools.changed.names_in(self._speaking()))
        if names is None:
            return None
        question = Question(weights_of(self._material.policy, Weights()))
        before, after = (lines_about(vex, names, each, question) for each in (old, new))
        if before == after:
            return held
        with ExitStack() as stack:
            amended = Amended(
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
        nowhere = Nowhere(self._staging.root, self._staging.scratch)
        build_rows(earlier, nowhere, Listing(earlier, nowhere, self._tools.lists, name))
