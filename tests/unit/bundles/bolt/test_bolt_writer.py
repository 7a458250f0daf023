from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from stellaops.bundles.trivy.bolt.check import CheckResult, check
from stellaops.bundles.trivy.bolt.errors import BoltBucketMisuse, BoltEntryInvalid, BoltKeyOrder
from stellaops.bundles.trivy.bolt.layout import LEAF, MAX_KEY, PAGE_HEADER
from stellaops.bundles.trivy.bolt.reader import BoltReader, Bucket
from stellaops.bundles.trivy.bolt.writer import LEAF_TARGET, BoltWriter, BucketHandle

Entries = Iterable[tuple[bytes, bytes]]


def written(
    fill: Callable[[BoltWriter], Iterable[tuple[bytes, BucketHandle]]], *, page_size: int = 4096
) -> bytes:
    out = io.BytesIO()
    writer = BoltWriter(out, page_size=page_size)
    writer.finish(fill(writer))
    return out.getvalue()


def one_bucket(entries: Entries, *, page_size: int = 4096) -> bytes:
    return written(lambda writer: [(b"bucket", writer.leaf_bucket(entries))], page_size=page_size)


def opened(data: bytes, *path: bytes) -> Bucket:
    bucket = BoltReader(data).at(*path)
    assert bucket is not None
    return bucket


def sound(data: bytes) -> CheckResult:
    result = check(data)
    result.demand_ok()
    return result


def many(count: int, size: int = 20) -> Iterator[tuple[bytes, bytes]]:
    for number in range(count):
        yield b"CVE-%09d" % number, b"%d" % number * size


# ---- bytes


def test_a_tiny_database_has_exactly_these_bytes() -> None:
    def page(content: bytes) -> bytes:
        return content.ljust(1024, b"\0")

    def meta(number: int, checksum: str) -> bytes:
        return page(
            bytes.fromhex(
                f"0{number}00000000000000 0400 0000 00000000"
            )  # page id, meta, no elements, no overflow
            + bytes.fromhex("edda0ced 02000000 00040000 00000000")  # magic, version, page size, flags
            + bytes.fromhex("0300000000000000 0000000000000000")  # root page, sequence
            + bytes.fromhex("0200000000000000 0400000000000000")  # freelist page, high water
            + bytes.fromhex(f"0{number}00000000000000 {checksum}")  # transaction
        )

    root = page(
        bytes.fromhex("0300000000000000 0200 0100 00000000")  # page 3, leaf, one element
        + bytes.fromhex("01000000 10000000 06000000 36000000")  # a bucket: pos 16, key 6, value 54
        + b"bucket"
        + bytes.fromhex("0000000000000000 0000000000000000")  # inline, sequence 0
        + bytes.fromhex("0000000000000000 0200 0100 00000000")  # leaf, one element
        + bytes.fromhex("00000000 10000000 03000000 03000000")  # pos 16, key 3, value 3
        + b"keyval"
    )
    freelist = page(bytes.fromhex("0200000000000000 1000 0000 00000000"))
    expected = meta(0, "22076125b0d305a4") + meta(1, "43515030b99a00c3") + freelist + root
    assert one_bucket([(b"key", b"val")], page_size=1024) == expected


def test_the_same_input_gives_the_same_bytes_whether_listed_or_streamed() -> None:
    for count in (0, 1, 10, 1000, 5000):
        listed = one_bucket(list(many(count)))
        assert one_bucket(tuple(many(count))) == listed
        assert one_bucket(many(count)) == listed


def test_the_file_may_start_within_another_stream() -> None:
    out = io.BytesIO(b"head")
    out.seek(4)
    writer = BoltWriter(out)
    writer.finish([(b"bucket", writer.leaf_bucket([(b"key", b"val")]))])
    assert out.getvalue() == b"head" + one_bucket([(b"key", b"val")])
    assert out.tell() == len(out.getvalue())


def test_an_unfinished_file_is_no_database() -> None:
    out = io.BytesIO()
    writer = BoltWriter(out)
    writer.leaf_bucket(many(10_000))
    assert not check(out.getvalue()).ok


@pytest.mark.parametrize("page_size", [1024, 4096, 16384, 65536])
def test_every_page_size_is_read_back(page_size: int) -> None:
    data = one_bucket(many(20_000), page_size=page_size)
    assert sound(data).page_size == page_size
    assert list(opened(data, b"bucket").items()) == list(many(20_000))


@pytest.mark.parametrize("page_size", [0, 512, 4095, 5000, 131072])
def test_a_page_size_that_readers_refuse_is_refused(page_size: int) -> None:
    with pytest.raises(BoltEntryInvalid, match=str(page_size)):
        BoltWriter(io.BytesIO(), page_size=page_size)


# ---- buckets


def test_a_database_without_buckets_is_sound() -> None:
    data = written(lambda _: [])
    assert sound(data).buckets == 0
    assert list(BoltReader(data).buckets()) == []
    assert BoltReader(data).bucket(b"any") is None


def test_empty_buckets_are_kept() -> None:
    data = written(
        lambda writer: [
            (b"empty leaf", writer.leaf_bucket([])),
            (b"empty stream", writer.leaf_bucket(iter(()))),
            (b"holds nothing", writer.bucket([])),
            (b"nested", writer.bucket([(b"empty", writer.leaf_bucket(()))])),
        ]
    )
    assert sound(data).buckets == 5
    for path in ((b"empty leaf",), (b"empty stream",), (b"holds nothing",), (b"nested", b"empty")):
        assert list(opened(data, *path).items()) == []
        assert list(opened(data, *path).buckets()) == []


def test_a_bucket_of_a_hundred_thousand_entries_keeps_them_in_order() -> None:
    data = one_bucket(many(100_000))
    assert sound(data).entries == 100_000
    bucket = opened(data, b"bucket")
    assert all(a == b for a, b in zip(bucket.items(), many(100_000), strict=True))
    assert bucket.get(b"CVE-000099999") == b"99999" * 20
    assert bucket.get(b"CVE-000099999x") is None
    assert bucket.get(b"A") is None


def test_branches_of_several_levels_are_built_where_pages_are_small_and_keys_long() -> None:
    keys = [b"%06d" % number + b"k" * 30_000 for number in range(300)]
    data = one_bucket(((key, b"v") for key in keys), page_size=1024)
    sound(data)
    assert [key for key, _ in opened(data, b"bucket").items()] == keys
    assert opened(data, b"bucket").get(keys[123]) == b"v"


def test_a_value_larger_than_a_leaf_gets_overflow_pages() -> None:
    rows = [(b"a", b"1" * 3_000_000), (b"b", b"2"), (b"c", b"3" * 70_000), (b"d", b"")]
    data = one_bucket(rows)
    sound(data)
    assert list(opened(data, b"bucket").items()) == rows
    assert opened(data, b"bucket").get(b"c") == rows[2][1]


def test_a_thousand_levels_of_buckets_are_written_and_read() -> None:
    def nested(writer: BoltWriter) -> list[tuple[bytes, BucketHandle]]:
        handle = writer.leaf_bucket([(b"key", b"value")])
        for _ in range(1000):
            handle = writer.bucket([(b"b", handle)])
        return [(b"b", handle)]

    data = written(nested)
    assert sound(data).buckets == 1001
    assert opened(data, *[b"b"] * 1001).get(b"key") == b"value"


def test_small_buckets_take_no_page_of_their_own() -> None:
    def fill(writer: BoltWriter) -> Iterator[tuple[bytes, BucketHandle]]:
        packages = ((b"package-%05d" % n, writer.leaf_bucket(list(many(10)))) for n in range(2000))
        yield b"distribution", writer.bucket(packages)

    data = written(fill)
    payload = 2000 * (sum(16 + len(key) + len(value) for key, value in many(10)) + 16 + 13 + 32)
    assert payload < len(data) < payload * 1.05
    assert sound(data).inline_buckets == 2000


def test_children_are_written_while_their_parent_consumes_them() -> None:
    made = []

    def children(writer: BoltWriter) -> Iterator[tuple[bytes, BucketHandle]]:
        for number in range(10):
            made.append(number)
            yield b"%d" % number, writer.leaf_bucket(many(5000), name=b"%d" % number)

    data = written(lambda writer: [(b"top", writer.bucket(children(writer)))])
    assert made == list(range(10))
    assert sound(data).entries == 50_000
    assert [name for name, _ in opened(data, b"top").buckets()] == [b"%d" % n for n in range(10)]


# ---- what is refused


def rows_with(*keys: bytes) -> list[tuple[bytes, bytes]]:
    return [(key, b"value") for key in keys]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((b"b", b"a"), "bucket 'openssl': key 'a' comes after 'b', which is greater"),
        ((b"a", b"a"), "bucket 'openssl': key 'a' is there twice"),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
def test_keys_out_of_order_are_refused_with_their_names(
    keys: tuple[bytes, ...], message: str, kind: Callable[[Entries], Entries]
) -> None:
    with pytest.raises(BoltKeyOrder) as caught:
        BoltWriter(io.BytesIO()).leaf_bucket(kind(rows_with(*keys)), name=b"openssl")
    assert caught.value.what == message


def test_keys_out_of_order_across_leaves_are_refused() -> None:
    rows = [(b"b%06d" % number, b"x" * 100) for number in range(2000)]
    for at in (700, 1999):
        wrong = [*rows[:at], (b"a", b""), *rows[at:]]
        with pytest.raises(BoltKeyOrder, match="key 'a' comes after 'b"):
            one_bucket(wrong)


def test_bucket_names_out_of_order_are_refused() -> None:
    with pytest.raises(BoltKeyOrder, match="bucket 'top': key 'x' is there twice"):
        written(
            lambda writer: [
                (b"top", writer.bucket(((b"x", writer.leaf_bucket(())) for _ in "ab"), name=b"top"))
            ]
        )
    with pytest.raises(BoltKeyOrder, match="key 'debian' comes after 'ubuntu'"):
        written(lambda writer: [(name, writer.leaf_bucket(())) for name in (b"ubuntu", b"debian")])


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(BoltEntryInvalid, match="bucket 'b' has an empty key"):
        BoltWriter(io.BytesIO()).leaf_bucket(rows_with(b""), name=b"b")
    with pytest.raises(BoltEntryInvalid, match="empty key after 'a'"):
        BoltWriter(io.BytesIO()).leaf_bucket(rows_with(b"a", b""), name=b"b")


def test_the_longest_key_is_taken_and_a_longer_one_refused() -> None:
    longest = b"k" * MAX_KEY
    data = one_bucket(rows_with(longest))
    sound(data)
    assert opened(data, b"bucket").get(longest) == b"value"
    with pytest.raises(BoltEntryInvalid, match="32769 bytes"):
        BoltWriter(io.BytesIO()).leaf_bucket(rows_with(longest + b"k"))
    with pytest.raises(BoltEntryInvalid, match="32769 bytes"):
        written(lambda writer: [(longest + b"k", writer.leaf_bucket(()))])


def test_a_value_that_no_node_can_hold_is_refused_before_anything_of_it_is_copied() -> None:
    with pytest.raises(BoltEntryInvalid, match="value of 'huge' in bucket 'b' has 2147483647 bytes"):
        BoltWriter(io.BytesIO()).leaf_bucket([(b"a", b""), (b"huge", bytes(2**31 - 1))], name=b"b")


def test_a_bucket_that_was_not_placed_is_told() -> None:
    writer = BoltWriter(io.BytesIO())
    writer.leaf_bucket(many(10_000), name=b"forgotten")
    with pytest.raises(BoltBucketMisuse) as caught:
        writer.finish([])
    assert caught.value.details == ("'forgotten'",)


def test_a_bucket_with_pages_cannot_be_placed_twice_nor_in_another_file() -> None:
    first, second = BoltWriter(io.BytesIO()), BoltWriter(io.BytesIO())
    handle = first.leaf_bucket(many(10_000))
    with pytest.raises(BoltBucketMisuse, match="'a'"):
        second.finish([(b"a", handle)])
    with pytest.raises(BoltBucketMisuse, match="'b' under 'top'"):
        first.bucket([(b"a", handle), (b"b", handle)], name=b"top")


def test_nothing_can_be_added_to_a_finished_file() -> None:
    writer = BoltWriter(io.BytesIO())
    writer.finish([])
    for act in (lambda: writer.leaf_bucket([]), lambda: writer.bucket([]), lambda: writer.finish([])):
        with pytest.raises(BoltBucketMisuse, match="finished"):
            act()


# ---- layout and memory


def test_a_bucket_is_inline_below_the_leaf_target_and_has_pages_from_there_on() -> None:
    def inline(value: int) -> int:
        return sound(one_bucket([(b"k", b"v" * value)])).inline_buckets

    overhead = PAGE_HEADER.size + 16 + 1
    assert inline(LEAF_TARGET - overhead - 1) == 1
    assert inline(LEAF_TARGET - overhead) == 0


def test_leaves_are_nearly_full_and_their_last_pages_too() -> None:
    rows = [(b"CVE-%06d" % n, b"x" * (300 + n * 7919 % 2700)) for n in range(5000)]
    data = one_bucket(rows)
    payload = sum(16 + len(key) + len(value) for key, value in rows)
    assert len(data) < payload * 1.02
    leaves = [
        struct.unpack_from("<I", data, at + 12)[0] + 1
        for at in range(3 * 4096, len(data), 4096)
        if PAGE_HEADER.unpack_from(data, at)[:2] == (at // 4096, LEAF)
    ]
    assert len(leaves) > 100
    assert min(leaves[:-2]) >= 8


_PEAK = """
import resource, sys
from stellaops.bundles.trivy.bolt.writer import BoltWriter
def run(count):
    with open(sys.argv[1], "wb") as out:
        writer = BoltWriter(out)
        entries = ((b"%012d" % number, b"value") for number in range(count))
        writer.finish([(b"bucket", writer.leaf_bucket(entries))])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small, large = run(100_000), run(int(sys.argv[2]))
print(large - small)
"""


def grown(path: Path, count: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, path, str(count)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024


def test_memory_stays_flat_when_entries_grow_tenfold(tmp_path: Path) -> None:
    assert grown(tmp_path / "large.db", 1_000_000) < 4_000_000


@pytest.mark.slow
def test_memory_stays_flat_for_ten_million_entries(tmp_path: Path) -> None:
    assert grown(tmp_path / "large.db", 10_000_000) < 4_000_000
