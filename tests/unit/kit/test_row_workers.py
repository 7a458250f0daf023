"""Rows measured in blocks, by children where there are any: the same however the bytes are cut and whoever does it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles.content import RowSetDigest, RowsOutOfOrder, SnapshotDigest
from stellaops.bundles.packed import BadPacking
from stellaops.bundles.rows import Row
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.kit import row_blocks, row_workers
from stellaops.kit.places import Places, merged_digest
from stellaops.kit.row_blocks import Parse
from stellaops.kit.row_workers import RowWorkers

PATH = "data/raw/advisories"


def parse(line: bytes) -> Row:
    """Lines of `owner source key`, between commas."""
    owner, source, key = line.decode().split(",")
    return Row(owner, source, key, digests.sha256(key.encode()))


def parser_of(_path: str) -> Parse:
    return parse


@pytest.fixture(params=["here", "children"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[RowWorkers]:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0 if request.param == "children" else 1 << 60)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    made = RowWorkers(parser_of, 1)
    yield made
    made.close()


def measured(workers: RowWorkers, blocks: list[bytes], places: Places | None = None) -> Places:
    places = places or Places(None)
    for found in workers.measure(PATH, [(memoryview(block),) for block in blocks]):
        for stretch in found.stretches:
            places.add(stretch)
    return places


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "acme"]),
        st.sampled_from(["a", "b", "c"]),
        st.text('abc"\\é\t😀', min_size=1, max_size=6),
    ),
    unique=True,
    max_size=30,
).map(sorted)


@given(rows=_ROWS, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_digests_are_those_of_the_rules_however_rows_are_cut(
    rows: list[tuple[str, str, str]], sizes: list[int]
) -> None:
    lines = [",".join(row).encode() for row in rows]
    data = b"".join(line + b"\n" for line in lines)
    pieces: list[bytes] = []
    place = 0
    while place < len(data):
        pieces.append(data[place : place + sizes[len(pieces) % len(sizes)]])
        place += len(pieces[-1])
    by_row, by_line = SnapshotDigest(), RowSetDigest()
    for row, line in zip(rows, lines, strict=True):
        by_row.add(*row, digests.sha256(row[2].encode()))
        by_line.add(*row, line)
    workers = RowWorkers(parser_of, 0)
    places = Places(None)
    for block in row_blocks.blocks(pieces):
        measured(workers, [b"".join(block)], places)
    assert (places.digest(), places.rows_digest()) == (by_row.digest(), by_line.digest())
    assert places.records == len(rows)


@given(rows=_ROWS)
def test_sets_of_other_sources_merge_into_one_order(rows: list[tuple[str, str, str]]) -> None:
    whole = SnapshotDigest()
    for row in rows:
        whole.add(*row, digests.sha256(row[2].encode()))
    several = [Places(Path("/tmp")) for _ in range(2)]
    for number, places in enumerate(several):
        mine = [row for row in rows if (row[1] == "b") is bool(number)]
        measured(RowWorkers(parser_of, 0), [b"".join(f"{','.join(row)}\n".encode() for row in mine)], places)
    assert merged_digest(several) == whole.digest()
    for places in several:
        places.close()


def test_a_source_in_two_sets_is_refused(tmp_path: Path) -> None:
    several = [Places(tmp_path), Places(tmp_path)]
    for places, key in zip(several, "xy", strict=True):
        measured(RowWorkers(parser_of, 0), [f",a,{key}\n".encode()], places)
    with pytest.raises(RowsOutOfOrder, match="two indexes"):
        merged_digest(several)
    for places in several:
        places.close()


def test_children_answer_in_order(workers: RowWorkers) -> None:
    blocks = [b"".join(f",a,{number:04}{row:03}\n".encode() for row in range(40)) for number in range(50)]
    places = measured(workers, blocks)
    assert places.records == 2000
    assert places.rows_digest() == measured(RowWorkers(parser_of, 0), blocks).rows_digest()


def test_blocks_larger_than_a_slot_keep_their_place(
    workers: RowWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_workers, "_SLOT", 64)
    sizes = [1, 30, 2, 3, 1, 1, 40, 40, 2]
    keys = iter(range(1000))
    blocks = [b"".join(f",a,{next(keys):04}\n".encode() for _ in range(size)) for size in sizes]
    places = measured(workers, blocks)
    assert places.records == sum(sizes)
    assert places.rows_digest() == measured(RowWorkers(parser_of, 0), blocks).rows_digest()


@pytest.mark.parametrize("blocks", [
    [b",a,2\n", b",a,1\n"], [b",a,1\n,a,1\n"], [b",a,1\n", b",a,1\n"], [b",b,1\n", b",a,2\n"], [b",b,1\n,a,2\n"],
    [b"acme,a,1\n", b",a,2\n"],
])  # fmt: skip
def test_rows_out_of_order_are_refused_in_a_block_and_between_blocks(
    workers: RowWorkers, blocks: list[bytes]
) -> None:
    with pytest.raises(InvalidInput, match="does not come after"):
        measured(workers, blocks)


def test_after_a_refusal_the_next_set_is_measured_as_ever(workers: RowWorkers) -> None:
    wrong = [b",a,1\n", b",a,3\n,a,2\n", *(f",b,{number}\n".encode() for number in range(9))]
    with pytest.raises(InvalidInput):
        measured(workers, wrong)
    assert measured(workers, [b",a,1\n", b",a,2\n"]).records == 2


def test_a_reader_that_stops_early_leaves_nothing_in_the_way(workers: RowWorkers) -> None:
    results = workers.measure(PATH, [(memoryview(f",a,{number}\n".encode()),) for number in range(9)])
    assert next(results).stretches[0].first == "0"
    results.close()  # type: ignore[attr-defined]
    assert measured(workers, [b",a,1\n"]).records == 1


def test_children_end_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    # Other tests may have left threads behind, and what is forked here does not meet them.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    workers = RowWorkers(parser_of, 1)
    measured(workers, [b",a,1\n"])
    numbers = [number for number, _ in workers._children or ()]
    assert len(numbers) == 2
    workers.close()
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_nobody_forks_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        workers = RowWorkers(parser_of, 1)
        measured(workers, [b",a,1\n"])
        assert workers._children == []
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(("pieces", "told"), [
    ([b"12345"], "no newline"), ([b"1\n2\n3"], "no newline"), ([b"1" * 2_000_000] * 2, "longer than 10"),
])  # fmt: skip
def test_a_line_without_an_end_or_bound_is_refused(pieces: list[bytes], told: str) -> None:
    with pytest.raises(BadPacking, match=told):
        list(row_blocks.blocks(pieces, longest=10))


def test_a_long_line_among_others_is_refused() -> None:
    def never(_line: bytes) -> Row:
        return Row("", "a", "1", Digest("x"))

    reads: Callable[[bytes], Row] = never
    with pytest.raises(BadPacking, match="longer than 10"):
        row_blocks.measure(reads, b"12345678901\n", longest=10)
