"""Rows measured in blocks, by children where there are any: the same however the bytes are cut and whoever does it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles.content import RowSetDigest, RowsOutOfOrder, SnapshotDigest
from stellaops.bundles.packed import BadPacking
from stellaops.bundles.rows import Row, owner_of
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.kit import row_blocks, row_workers
from stellaops.kit.places import Places, merged_digest
from stellaops.kit.row_blocks import Block, Measured, Read
from stellaops.kit.row_workers import RowWorkerLost, RowWorkers

PATH = "data/raw/advisories"


def read(lines: bytes, count: int) -> list[Row]:
    """Lines of `source,key`; the owner follows from the source, as it does everywhere."""
    found = []
    for line in lines.decode().splitlines():
        source, key = line.split(",")
        if key == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if key == "long":
            time.sleep(0.2)
        found.append(Row(owner_of(source), source, key, digests.sha256(key.encode())))
    assert len(found) == count
    return found


def read_of(_path: str) -> Read:
    return read


def in_pieces(data: bytes) -> Block:
    return (memoryview(data[:5]), memoryview(data[5:]))


@pytest.fixture(params=["here", "children"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[RowWorkers]:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0 if request.param == "children" else 1 << 60)
    made = forking(monkeypatch)
    yield made
    made.close()


def forking(monkeypatch: pytest.MonkeyPatch, processors: int = 3) -> RowWorkers:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    # Other tests may have left threads behind, and what is forked here does not meet them.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    return RowWorkers(read_of, 1)


def here() -> RowWorkers:
    return RowWorkers(read_of, 0)


class Found:
    """What comes of blocks, as a row set takes it."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or Places(None)
        self.troubles: list[str] = []

    def take(self, measured: Measured) -> None:
        if measured.trouble:
            self.troubles.append(measured.trouble)
        for stretch in measured.stretches:
            self.places.add(stretch)


def measured(workers: RowWorkers, blocks: Iterable[bytes], places: Places | None = None) -> Places:
    found = Found(places)
    for block in blocks:
        workers.measure(PATH, in_pieces(block), found.take)
    workers.finish()
    assert found.troubles == []
    return found.places


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "a@acme", "b@acme"]), st.text('abc"\\é\t😀', min_size=1, max_size=6)
    ),
    unique=True,
    max_size=30,
).map(lambda rows: sorted((owner_of(source), source, key) for source, key in rows))


def line_of(row: tuple[str, str, str]) -> bytes:
    return f"{row[1]},{row[2]}".encode()


@given(rows=_ROWS, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_digests_are_those_of_the_rules_however_rows_are_cut(
    rows: list[tuple[str, str, str]], sizes: list[int]
) -> None:
    data = b"".join(line_of(row) + b"\n" for row in rows)
    pieces: list[bytes] = []
    place = 0
    while place < len(data):
        pieces.append(data[place : place + sizes[len(pieces) % len(sizes)]])
        place += len(pieces[-1])
    by_row, by_line = SnapshotDigest(), RowSetDigest()
    for row in rows:
        by_row.add(*row, digests.sha256(row[2].encode()))
        by_line.add(*row, line_of(row))
    places = measured(here(), [b"".join(block) for block in row_blocks.blocks(pieces)])
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
        measured(here(), [b"".join(line_of(row) + b"\n" for row in mine)], places)
    assert merged_digest(several) == whole.digest()
    for places in several:
        places.close()


def test_a_source_in_two_sets_is_refused(tmp_path: Path) -> None:
    several = [Places(tmp_path), Places(tmp_path)]
    for places, key in zip(several, "xy", strict=True):
        measured(here(), [f"a,{key}\n".encode()], places)
    with pytest.raises(RowsOutOfOrder, match="two indexes"):
        merged_digest(several)
    for places in several:
        places.close()


def test_children_answer_in_order(workers: RowWorkers) -> None:
    blocks = [b"".join(f"a,{number:04}{row:03}\n".encode() for row in range(40)) for number in range(50)]
    places = measured(workers, blocks)
    assert places.records == 2000
    assert places.rows_digest() == measured(here(), blocks).rows_digest()


def test_a_slow_child_holds_up_the_order_and_nothing_else(
    workers: RowWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_workers, "_WAITING", 20)
    blocks = [b"a,long\n", *(f"b,{number:03}\n".encode() for number in range(200))]
    assert measured(workers, blocks).rows_digest() == measured(here(), blocks).rows_digest()


def test_blocks_larger_than_a_slot_keep_their_place(
    workers: RowWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_workers, "_SLOT", 64)
    sizes = [1, 30, 2, 3, 1, 1, 40, 40, 2]
    keys = iter(range(1000))
    blocks = [b"".join(f"a,{next(keys):04}\n".encode() for _ in range(size)) for size in sizes]
    places = measured(workers, blocks)
    assert places.records == sum(sizes)
    assert places.rows_digest() == measured(here(), blocks).rows_digest()


@pytest.mark.parametrize("block", [
    b"a,2\na,1\n", b"a,1\na,1\n", b"b,1\nb,2\na@acme,2\na@acme,1\n",
])  # fmt: skip
def test_rows_out_of_order_in_a_block_are_trouble(workers: RowWorkers, block: bytes) -> None:
    found = Found()
    workers.measure(PATH, in_pieces(block), found.take)
    workers.finish()
    assert ["does not come after" in trouble for trouble in found.troubles] == [True]
    assert found.places.records == 0


@pytest.mark.parametrize("blocks", [
    [b"a,2\n", b"a,1\n"], [b"a,1\n", b"a,1\n"], [b"b,1\n", b"a,2\n"], [b"b,1\na,2\n"], [b"a@acme,1\n", b"a,2\n"],
])  # fmt: skip
def test_rows_out_of_order_between_blocks_or_sources_are_refused(
    workers: RowWorkers, blocks: list[bytes]
) -> None:
    with pytest.raises(RowsOutOfOrder, match="does not come after"):
        measured(workers, blocks)


def test_trouble_of_one_file_comes_in_its_turn_and_leaves_the_other_files_alone(workers: RowWorkers) -> None:
    names = ("one", "two", "three")
    found = {name: Found() for name in names}
    told: list[str] = []
    for name in names:
        for number in range(9):
            bad = name == "two" and number == 4
            block = b"a,2\na,1\n" if bad else f"{name},{number}\n".encode()

            def take(result: Measured, name: str = name) -> None:
                told.append(name)
                found[name].take(result)

            workers.measure(PATH, in_pieces(block), take)
    workers.put(Measured(trouble="cut short"), found["three"].take)
    workers.finish()
    assert told == [name for name in names for _ in range(9)]
    assert [found[name].places.records for name in names] == [9, 8, 9]
    assert [len(found[name].troubles) for name in names] == [0, 1, 1]
    assert found["three"].troubles == ["cut short"]


def test_what_a_reader_did_not_foresee_is_trouble_too(workers: RowWorkers) -> None:
    found = Found()
    workers.measure(PATH, in_pieces(b"without a comma\n"), found.take)
    workers.finish()
    assert found.troubles == [
        "reading stopped: ValueError: 'not enough values to unpack (expected 2, got 1)'"
    ]


def test_who_closes_early_waits_for_nothing(workers: RowWorkers) -> None:
    found = Found()
    for number in range(9):
        workers.measure(PATH, in_pieces(f"a,{number}\n".encode()), found.take)
    workers.close()
    workers.close()


def test_a_child_that_is_killed_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    workers = forking(monkeypatch, processors=2)
    with pytest.raises(RowWorkerLost, match="ended by signal 9"):
        measured(workers, [b"a,1\n", b"a,die\n"])
    workers.close()


def test_a_child_that_is_gone_before_its_next_block_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    workers = forking(monkeypatch, processors=2)
    measured(workers, [b"a,1\n"])
    child = (workers._children or [])[0]
    os.kill(child.number, signal.SIGKILL)
    os.waitid(os.P_PID, child.number, os.WEXITED | os.WNOWAIT)
    with pytest.raises(RowWorkerLost, match="ended by signal 9"):
        measured(workers, [b"a,2\n"])
    workers.close()


def stopped(workers: RowWorkers) -> int:
    """The number of the one child, which does not go on."""
    (child,) = workers._children or []
    os.kill(child.number, signal.SIGSTOP)
    os.waitpid(child.number, os.WUNTRACED)
    return child.number


def is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_does_not_go_on_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    monkeypatch.setattr(row_workers, "_MOMENT", 0.1)
    workers = forking(monkeypatch, processors=2)
    measured(workers, [b"a,1\n"])
    number = stopped(workers)
    monkeypatch.setattr(os, "waitpid", not_for_ever(number))
    workers.close()
    assert not is_there(number)


def not_for_ever(number: int) -> Callable[[int, int], tuple[int, int]]:
    """`waitpid` that refuses to wait for a process that is stopped, which would never end."""
    usual = os.waitpid

    def waitpid(pid: int, options: int) -> tuple[int, int]:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        assert options or state != "T", "it would wait for ever"
        return usual(pid, options)

    return waitpid


def test_an_interruption_ends_the_wait_for_a_child_that_does_not_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    monkeypatch.setattr(row_workers, "_MOMENT", 0.1)
    workers = forking(monkeypatch, processors=2)
    measured(workers, [b"a,1\n"])
    number = stopped(workers)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            measured(workers, [b"a,2\n"])
        monkeypatch.setattr(os, "waitpid", not_for_ever(number))
        workers.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not is_there(number)


def test_children_end_with_the_work_and_are_one_less_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    workers = forking(monkeypatch, processors=3)
    measured(workers, [b"a,1\n"])
    numbers = [child.number for child in workers._children or ()]
    assert len(numbers) == 2
    workers.close()
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_one_processor_measures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    workers = forking(monkeypatch, processors=1)
    measured(workers, [b"a,1\n"])
    assert workers._children == []


def test_nobody_forks_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        workers = RowWorkers(read_of, 1)
        measured(workers, [b"a,1\n"])
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


def test_a_long_line_among_others_is_trouble() -> None:
    def never(_lines: bytes, count: int) -> list[Row]:
        return [Row("", "a", "1", Digest("x"))] * count

    assert "longer than 10" in row_blocks.measure(never, b"1\n12345678901\n2\n", longest=10).trouble


def test_the_collector_of_cycles_is_as_it_was_afterwards() -> None:
    for state in (gc.enable, gc.disable):
        state()
        row_blocks.measure(read, b"a,1\n")
        assert gc.isenabled() is (state is gc.enable)
    gc.enable()
