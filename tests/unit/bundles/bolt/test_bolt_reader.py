from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stellaops.bundles.trivy.bolt.check import check
from stellaops.bundles.trivy.bolt.errors import BoltInvalid
from stellaops.bundles.trivy.bolt.layout import (
    BRANCH,
    CHECKSUM,
    FREELIST,
    LEAF,
    MAGIC,
    META,
    META_FIELDS,
    NO_FREELIST,
    PAGE_HEADER,
    fnv1a_64,
)
from stellaops.bundles.trivy.bolt.pages import Data
from stellaops.bundles.trivy.bolt.reader import BoltReader, Bucket
from stellaops.bundles.trivy.bolt.writer import BoltWriter, BucketHandle

SIZE = 1024


# ---- files made by hand, page by page


def meta_page(
    number: int, *, root: int, pages: int, freelist: int = 2, transaction: int | None = None
) -> bytes:
    fields = META_FIELDS.pack(
        MAGIC, 2, SIZE, 0, root, 0, freelist, pages, number if transaction is None else transaction
    )
    return PAGE_HEADER.pack(number, META, 0, 0) + fields + CHECKSUM.pack(fnv1a_64(fields))


def branch(page: int, *children: tuple[bytes, int]) -> bytes:
    table, keys = b"", b""
    for number, (key, child) in enumerate(children):
        table += struct.pack("<IIQ", 16 * (len(children) - number) + len(keys), len(key), child)
        keys += key
    return PAGE_HEADER.pack(page, BRANCH, len(children), 0) + table + keys


def leaf(page: int, *entries: tuple[int, bytes, bytes], overflow: int = 0) -> bytes:
    table, content = b"", b""
    for number, (flags, key, value) in enumerate(entries):
        table += struct.pack(
            "<IIII", flags, 16 * (len(entries) - number) + len(content), len(key), len(value)
        )
        content += key + value
    return PAGE_HEADER.pack(page, LEAF, len(entries), overflow) + table + content


def freelist(*ids: int) -> bytes:
    return PAGE_HEADER.pack(2, FREELIST, len(ids), 0) + struct.pack(f"<{len(ids)}Q", *ids)


def sub(root: int) -> bytes:
    return struct.pack("<QQ", root, 0)


def file(*pages: bytes, free: bytes | None = None, root: int = 3, freelist_page: int = 2) -> bytes:
    """A file of two meta pages, a freelist, and pages from 3 on."""
    count = 3 + len(pages)
    metas = [meta_page(n, root=root, pages=count, freelist=freelist_page) for n in (0, 1)]
    return b"".join(
        page.ljust(SIZE, b"\0") for page in (*metas, freelist() if free is None else free, *pages)
    )


def walk(bucket: Bucket) -> Iterator[bytes]:
    pending = [bucket]
    while pending:
        current = pending.pop()
        yield from (key for key, _ in current.items())
        pending += [inner for _, inner in current.buckets()]


SOUND = file(
    leaf(3, (1, b"inline", sub(0) + leaf(0, (0, b"k", b"v"))), (1, b"paged", sub(4))),
    branch(4, (b"a", 5), (b"m", 6)),
    leaf(5, (0, b"a", b"1"), (0, b"b", b"2")),
    leaf(6, (0, b"m", b"3")),
)


def test_a_file_made_by_hand_is_read() -> None:
    assert check(SOUND).problems == ()
    reader = BoltReader(SOUND)
    paged = reader.bucket(b"paged")
    assert paged is not None
    assert list(paged.items()) == [(b"a", b"1"), (b"b", b"2"), (b"m", b"3")]
    assert [paged.get(key) for key in (b"0", b"a", b"b", b"c", b"m", b"z")] == [
        None,
        b"1",
        b"2",
        None,
        b"3",
        None,
    ]
    assert reader.get(b"paged") is None
    assert paged.bucket(b"a") is None
    assert reader.at(b"inline", b"k") is None
    assert reader.at(b"nothing", b"below") is None
    assert list(walk(reader)) == [b"a", b"b", b"m", b"k"]


LEAF_4 = leaf(4, (0, b"k", b"v"))
ROOT_TO_4 = leaf(3, (1, b"b", sub(4)))

BROKEN: dict[str, tuple[bytes, str]] = {
    "a branch that is its own child": (file(ROOT_TO_4, branch(4, (b"a", 4))), "referred to twice"),
    "two branches that are each other's child": (
        file(ROOT_TO_4, branch(4, (b"a", 5)), branch(5, (b"a", 4))),
        "referred to twice",
    ),
    "a leaf with two parents": (
        file(ROOT_TO_4, branch(4, (b"a", 5), (b"b", 5)), leaf(5, (0, b"a", b""))),
        "twice",
    ),
    "a bucket within itself": (file(ROOT_TO_4, leaf(4, (1, b"b", sub(4)))), "referred to twice"),
    "a bucket whose root is the root": (file(leaf(3, (1, b"b", sub(3)))), "referred to twice"),
    "two buckets with one root": (file(leaf(3, (1, b"b", sub(4)), (1, b"c", sub(4))), LEAF_4), "twice"),
    "a bucket beyond the end": (file(leaf(3, (1, b"b", sub(99)))), "out of range"),
    "a bucket in a meta page": (file(leaf(3, (1, b"b", sub(1)))), "out of range"),
    "a bucket in the freelist page": (file(leaf(3, (1, b"b", sub(2)))), "should be a branch or a leaf"),
    "a page that calls itself otherwise": (file(ROOT_TO_4, leaf(5, (0, b"k", b"v"))), "calls itself page 5"),
    "overflow beyond the end": (file(ROOT_TO_4, leaf(4, (0, b"k", b"v"), overflow=9)), "beyond the end"),
    "overflow over another node": (
        file(leaf(3, (1, b"b", sub(4)), (1, b"c", sub(5))), leaf(4, (0, b"k", b""), overflow=1), leaf(5)),
        "overlaps",
    ),
    "overflow over the freelist": (
        file(ROOT_TO_4, leaf(4, (0, b"k", b""), overflow=1), free=b"", freelist_page=5).ljust(
            6 * SIZE, b"\0"
        ),
        "",
    ),
    "keys that descend": (file(ROOT_TO_4, leaf(4, (0, b"b", b""), (0, b"a", b""))), "do not ascend"),
    "keys that are equal": (file(ROOT_TO_4, leaf(4, (0, b"a", b""), (0, b"a", b""))), "do not ascend"),
    "an empty key": (file(ROOT_TO_4, leaf(4, (0, b"", b"x"))), "a key of 0 bytes"),
    "branch keys that descend": (
        file(ROOT_TO_4, branch(4, (b"b", 5), (b"a", 6)), leaf(5, (0, b"b", b"")), leaf(6, (0, b"a", b""))),
        "do not ascend",
    ),
    "a key before its parent's": (file(ROOT_TO_4, branch(4, (b"b", 5)), leaf(5, (0, b"a", b""))), "span"),
    "a key behind its parent's next": (
        file(ROOT_TO_4, branch(4, (b"a", 5), (b"c", 6)), leaf(5, (0, b"d", b"")), leaf(6, (0, b"e", b""))),
        "span",
    ),
    "an empty leaf below a branch": (file(ROOT_TO_4, branch(4, (b"a", 5)), leaf(5)), "empty node"),
    "an empty branch": (file(ROOT_TO_4, branch(4)), "has 0 elements"),
    "an unknown flag of an entry": (file(leaf(3, (2, b"b", b""))), "flags or position"),
    "a page of two types": (
        file(ROOT_TO_4, PAGE_HEADER.pack(4, LEAF | BRANCH, 0, 0)),
        "should be a branch or a leaf",
    ),
    "more elements than fit": (file(ROOT_TO_4, PAGE_HEADER.pack(4, LEAF, 5000, 0)), "no room for 5000"),
    "more elements than a count may say": (file(PAGE_HEADER.pack(3, LEAF, 0xFFFF, 0)), "no room for 65535"),
    "a value beyond its page": (
        file(
            ROOT_TO_4, PAGE_HEADER.pack(4, LEAF, 1, 0) + struct.pack("<IIII", 0, 16, 1, 4_000_000_000) + b"k"
        ),
        "do not fit",
    ),
    "a key beyond its page": (
        file(ROOT_TO_4, PAGE_HEADER.pack(4, LEAF, 1, 0) + struct.pack("<IIII", 0, 16, 5000, 0) + b"k"),
        "do not fit",
    ),
    "values that overlap": (
        file(
            ROOT_TO_4,
            PAGE_HEADER.pack(4, LEAF, 2, 0) + struct.pack("<8I", 0, 32, 1, 500, 0, 17, 1, 500) + b"a" * 600,
        ),
        "flags or position",
    ),
    "a bucket of a few bytes": (file(leaf(3, (1, b"b", b"short"))), "too short"),
    "a bucket with pages and inline content": (
        file(leaf(3, (1, b"b", sub(4) + b"x")), LEAF_4),
        "inline content",
    ),
    "an inline bucket without a page": (file(leaf(3, (1, b"b", sub(0)))), "cut off"),
    "an inline bucket that says branch": (
        file(leaf(3, (1, b"b", sub(0) + PAGE_HEADER.pack(0, BRANCH, 0, 0)))),
        "broken header",
    ),
    "an inline bucket with bytes too many": (file(leaf(3, (1, b"b", sub(0) + leaf(0) + b"x"))), "too many"),
    "an inline bucket whose entries do not fit": (
        file(
            leaf(
                3,
                (1, b"b", sub(0) + PAGE_HEADER.pack(0, LEAF, 1, 0) + struct.pack("<4I", 0, 16, 1, 9) + b"k"),
            )
        ),
        "do not fit",
    ),
    "a bucket within an inline bucket": (
        file(leaf(3, (1, b"b", sub(0) + leaf(0, (1, b"c", sub(4)))), (0, b"z", b"")), LEAF_4),
        "holds a bucket",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_format_is_refused_by_check_and_reader(name: str) -> None:
    data, message = BROKEN[name]
    problems = check(data).problems
    assert problems
    assert message in " ".join(problems)
    if message:
        with pytest.raises(BoltInvalid, match=message):
            list(walk(BoltReader(data)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file(leaf(3), leaf(4)), "1 pages are neither used nor free, the first is page 4"),
        (file(leaf(3), free=freelist(3)), "page 3 is in the freelist and in use"),
        (file(leaf(3), leaf(4), free=freelist(4, 4)), "page 4 after page 4"),
        (file(leaf(3), leaf(4), leaf(5), free=freelist(5, 4)), "page 4 after page 5"),
        (file(leaf(3), leaf(4), free=freelist(4, 9)), "page 9 after page 4"),
        (file(leaf(3), free=freelist(1)), "page 1 after page 1"),
        (file(leaf(3), free=freelist(2)), "page 2 is in the freelist and in use"),
        (file(leaf(3), free=leaf(2)), "should be the freelist"),
        (file(leaf(3), free=PAGE_HEADER.pack(2, FREELIST, 1000, 0)), "no room for 1000"),
        (
            file(leaf(3), free=PAGE_HEADER.pack(2, FREELIST, 0xFFFF, 0) + struct.pack("<Q", 2**63)),
            "no room for 9223372036854775808",
        ),
    ],
)
def test_a_freelist_that_does_not_fit_the_file_is_told(data: bytes, message: str) -> None:
    assert message in check(data).problems[0]


def test_free_pages_are_counted_in_both_forms_of_the_freelist_and_nothing_is_asked_where_none_is_stored() -> (
    None
):
    spare = (leaf(4), leaf(5))
    assert check(file(leaf(3), *spare, free=freelist(4, 5))).free_pages == 2
    long_form = PAGE_HEADER.pack(2, FREELIST, 0xFFFF, 0) + struct.pack("<3Q", 2, 4, 5)
    assert check(file(leaf(3), *spare, free=long_form)).problems == ()
    assert check(file(leaf(3), *spare, freelist_page=NO_FREELIST)).ok


# ---- meta pages


def with_metas(first: bytes, second: bytes) -> bytes:
    return first.ljust(SIZE, b"\0") + second.ljust(SIZE, b"\0") + SOUND[2 * SIZE :]


GOOD = [meta_page(n, root=3, pages=7) for n in (0, 1)]


@pytest.mark.parametrize("damaged", [0, 1])
def test_one_valid_meta_page_is_enough_to_read_but_not_to_pass_the_check(damaged: int) -> None:
    metas = list(GOOD)
    metas[damaged] = metas[damaged][:30] + b"\xff" + metas[damaged][31:]
    data = with_metas(*metas)
    assert list(walk(BoltReader(data))) == [b"a", b"b", b"m", b"k"]
    assert "checksum" in check(data).problems[0]


def test_the_meta_page_of_the_higher_transaction_counts() -> None:
    newer = meta_page(0, root=5, pages=7, transaction=8)
    assert list(BoltReader(with_metas(newer, GOOD[1])).items()) == [(b"a", b"1"), (b"b", b"2")]


def test_a_meta_page_headed_otherwise_is_told() -> None:
    wrong = PAGE_HEADER.pack(1, LEAF, 0, 0) + GOOD[1][16:]
    assert check(with_metas(GOOD[0], wrong)).problems == ("the header of meta page 1 is wrong",)


@pytest.mark.parametrize(
    ("root", "pages", "free", "message"),
    [
        (7, 7, 2, "root page 7"),
        (1, 7, 2, "root page 1"),
        (3, 8, 2, "cut off"),
        (3, 2**63, 2, "cut off"),
        (3, 7, 7, "freelist page 7"),
        (3, 7, 0, "freelist page 0"),
    ],
)
def test_a_meta_page_that_leads_out_of_the_file_is_refused(
    root: int, pages: int, free: int, message: str
) -> None:
    data = with_metas(*(meta_page(n, root=root, pages=pages, freelist=free) for n in (0, 1)))
    with pytest.raises(BoltInvalid, match=message):
        BoltReader(data)
    assert not check(data).ok


@pytest.mark.parametrize("data", [b"", b"x", bytes(16), bytes(79), bytes(5000), b"SQLite format 3\0" * 1000])
def test_what_is_no_database_is_refused(data: bytes) -> None:
    with pytest.raises(BoltInvalid):
        BoltReader(data)
    assert not check(data).ok


def test_another_version_or_page_size_is_named() -> None:
    def changed(version: int, size: int) -> bytes:
        fields = META_FIELDS.pack(MAGIC, version, size, 0, 3, 0, 2, 7, 0)
        return bytes(16) + fields + CHECKSUM.pack(fnv1a_64(fields))

    with pytest.raises(BoltInvalid, match="version 1"):
        BoltReader(changed(1, SIZE).ljust(SIZE, b"\0"))
    for size in (0, 1000, 512, 2**17):
        with pytest.raises(BoltInvalid, match=f"page size is {size}"):
            BoltReader(changed(2, size).ljust(SIZE, b"\0"))


# ---- what data may be


def sample() -> bytes:
    out = io.BytesIO()
    writer = BoltWriter(out)

    def children() -> Iterator[tuple[bytes, BucketHandle]]:
        for number in range(50):
            yield (
                b"%02d" % number,
                writer.leaf_bucket([(b"k%04d" % n, b"v" * 100) for n in range(number * 30)]),
            )

    writer.finish(
        [(b"huge", writer.leaf_bucket([(b"k", b"v" * 2_000_000)])), (b"top", writer.bucket(children()))]
    )
    return out.getvalue()


@pytest.mark.parametrize("kind", ["bytes", "memoryview", "mmap"])
def test_bytes_views_and_maps_read_alike(tmp_path: Path, kind: str) -> None:
    raw = sample()
    path = tmp_path / "trivy.db"
    path.write_bytes(raw)
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        kinds: dict[str, Data] = {"bytes": raw, "memoryview": memoryview(raw), "mmap": mapped}
        data = kinds[kind]
        assert check(data) == check(raw)
        top = BoltReader(data).bucket(b"top")
        assert top is not None
        assert [(name, list(b.items())) for name, b in top.buckets()] == [
            (b"%02d" % number, [(b"k%04d" % n, b"v" * 100) for n in range(number * 30)])
            for number in range(50)
        ]
        huge = BoltReader(data).bucket(b"huge")
        assert huge is not None
        assert huge.get(b"k") == b"v" * 2_000_000


@pytest.mark.parametrize(
    "read", [lambda b: list(b.items()), lambda b: b.get(b"k"), lambda b: list(b.buckets())]
)
def test_a_map_can_be_closed_after_an_error(tmp_path: Path, read: Callable[[Bucket], object]) -> None:
    path = tmp_path / "trivy.db"
    path.write_bytes(BROKEN["a value beyond its page"][0])
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        bucket = BoltReader(mapped).bucket(b"b")
        assert bucket is not None
        with pytest.raises(BoltInvalid):
            read(bucket)


# ---- every byte


def content(data: bytes) -> list[tuple[tuple[bytes, ...], list[tuple[bytes, bytes]]]]:
    found = []
    pending: list[Bucket] = [BoltReader(data)]
    while pending:
        bucket = pending.pop()
        found.append((bucket.path, list(bucket.items())))
        pending += [inner for _, inner in bucket.buckets()]
    return found


def unseen(data: bytes, position: int, before: object) -> bool:
    changed = bytearray(data)
    changed[position] ^= 0x41
    if not check(bytes(changed)).ok:
        return False
    return content(bytes(changed)) == before


def test_no_flipped_byte_goes_unseen_but_in_blank_space_and_sequence_numbers() -> None:
    # Each bucket's sequence and everything behind the last entry of a page carry nothing. The first key of a branch
    # may be less than the first one below it (bbolt leaves it so after a deletion), and finds the same entries.
    before = content(SOUND)
    used = [80, 80, 16, 16 + 32 + 6 + 16 + 34 + 5 + 16, 16 + 34, 16 + 36, 16 + 18]
    quiet = {page * SIZE + at for page, end in enumerate(used) for at in range(end, SIZE)}
    root = 3 * SIZE + 16 + 32
    for value in (root + 6, root + 6 + 16 + 34 + 5):
        quiet |= set(range(value + 8, value + 16))
    quiet.add(4 * SIZE + 16 + 32)
    missed = {position for position in range(len(SOUND)) if unseen(SOUND, position, before)}
    assert missed == quiet
