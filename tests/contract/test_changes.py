"""What changed between two sequences, on each database: enough to tell the later state from the earlier one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from stellaops.adapters.files.kept_lists import FileKeptLists
from stellaops.adapters.sql.changes import SqlChanges
from stellaops.bundles import manifest
from stellaops.bundles.digest_list import AmendedList, DigestListWriter
from stellaops.bundles.manifest import Profile
from stellaops.core import timestamps
from stellaops.exports.building.delta_ports import Change
from stellaops.exports.building.delta_snapshot import BaseState, DeltaTools, snapshot_after, snapshot_kept
from stellaops.exports.ports import Selection, Snapshot
from stellaops.exports.selectors import Selectors, parse
from tests.contract.stores import Store, folder_of, osv

HIGH = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
LOW = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]
NARROWED = parse({"severityAtLeast": "high", "severityUnknown": "drop"})


def history(store: Store) -> list[int]:
    """Sequences of a store in which documents come, change, leave the selection, vanish and return."""
    a, b, c = (osv(f"GHSA-{letter * 4}", severity=HIGH) for letter in "abc")
    moments = [0]
    for documents in (
        [a, b],
        [{**a, "severity": LOW}, b, c],
        [{**a, "modified": "2031-05-01T00:00:00Z"}, {**c, "summary": "another"}],
        [{**a, "modified": "2024-05-01T00:00:00Z"}, b, c],
        [b],
    ):
        store.take(folder_of(documents), "one", prune=True)
        moments.append(store.sequence)
    store.take(folder_of([a]), "two", prune=True)
    store.take({"x.json": osv("GHSA-aaaa", severity=HIGH) | {"id": "GHSA-bbbb"}}, "two", prune=True)
    return [*moments, store.sequence]


def changes(store: Store, base: int, new: int, selectors: Selectors = Selectors()) -> list[Change]:  # noqa: B008
    return list(SqlChanges(store.engine).changes(replace(store.selection(new), selectors=selectors), base))


def test_a_key_is_told_once_with_what_became_of_it(store: Store) -> None:
    a, b = osv("GHSA-aaaa"), osv("GHSA-bbbb")
    store.take(folder_of([a, b]), prune=True)
    base = store.sequence
    store.take(folder_of([{**a, "summary": "one"}]), prune=True)
    store.take(folder_of([{**a, "summary": "two"}]), prune=True)
    one, two = changes(store, base, store.sequence)
    assert (one.key, one.gone, one.kind) == ("GHSA-aaaa", False, "advisories")
    assert (two.key, two.gone, two.digest, two.raw) == ("GHSA-bbbb", True, None, None)
    assert one.raw == store.lines()[0]
    assert len(one.revisions) == 2
    assert changes(store, store.sequence, store.sequence) == []


def test_what_came_and_went_in_between_is_told_as_gone(store: Store) -> None:
    store.take(folder_of([osv("GHSA-aaaa")]), prune=True)
    base = store.sequence
    store.take(folder_of([osv("GHSA-aaaa"), osv("GHSA-bbbb")]), prune=True)
    store.take(folder_of([osv("GHSA-aaaa")]), prune=True)
    (gone,) = changes(store, base, store.sequence)
    assert (gone.key, gone.gone, gone.digest_before) == ("GHSA-bbbb", True, None)


def test_what_is_no_longer_selected_is_there_and_has_no_line(store: Store) -> None:
    store.take(folder_of([osv("GHSA-aaaa", severity=HIGH)]))
    base = store.sequence
    store.take(folder_of([osv("GHSA-aaaa", severity=LOW)]))
    (change,) = changes(store, base, store.sequence, NARROWED)
    assert (change.gone, change.digest, change.raw) == (False, None, None)
    assert change.digest_before is not None


def state(snapshot: Snapshot, sequence: int) -> BaseState:
    """A base as it would stand in an export."""
    instants = [source.updated_at for source in snapshot.sources if source.updated_at]
    known = manifest.build(
        tenant="default",
        profile=Profile("mirror", "full", "mirror:full"),
        selectors={},
        generated_at=max(instants, default=timestamps.EPOCH),
        snapshot=snapshot.digest,
        sources=snapshot.sources,
        policy_snapshot=None,
        projections={},
        contents=[],
    )
    return BaseState(known, sequence, snapshot.counts)


def test_a_snapshot_comes_out_of_the_one_before_it(store: Store, tmp_path: Path) -> None:
    moments = history(store)
    tools = DeltaTools(SqlChanges(store.engine), FileKeptLists(tmp_path / "lists"), store.evidence)
    for selectors in (Selectors(), NARROWED):
        for base, new in combinations(moments, 2):
            earlier, later = (replace(store.selection(at), selectors=selectors) for at in (base, new))
            found = snapshot_after(state(snapshot_kept(earlier, tools), base), later, tools)
            assert found == whole(store, later), (selectors, base, new)


def whole(store: Store, selection: Selection) -> Snapshot:
    found = store.evidence.snapshot(selection)
    return replace(found, counts=dict(found.counts))


def test_a_list_that_is_not_kept_is_made_again(store: Store, tmp_path: Path) -> None:
    moments = history(store)
    lists = FileKeptLists(tmp_path / "lists")
    tools = DeltaTools(SqlChanges(store.engine), lists, store.evidence)
    base = state(snapshot_kept(store.selection(moments[1]), tools), moments[1])
    for path in (tmp_path / "lists").iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert snapshot_after(base, store.selection(), tools) == whole(store, store.selection())


def test_lists_are_named_by_what_they_hash_to(store: Store, tmp_path: Path) -> None:
    history(store)
    lists = FileKeptLists(tmp_path / "lists")
    with lists.growing() as growing:
        writer = DigestListWriter(growing.out)
        found = store.evidence.snapshot(store.selection(), writer.add)
        writer.close()
        growing.keep(found.digest)
    with ExitStack() as stack:
        kept = stack.enter_context(lists.opened(found.digest))
        assert kept is not None
        assert (kept.records, kept.digest) == (found.records, found.digest)
        out = stack.enter_context((tmp_path / "amended").open("wb"))
        assert AmendedList(kept, out).finish() == (found.digest, found.records)
