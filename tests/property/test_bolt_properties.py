from __future__ import annotations

import io
import random
from collections.abc import Iterator
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.bundles.trivy.bolt.check import check
from stellaops.bundles.trivy.bolt.errors import BoltInvalid
from stellaops.bundles.trivy.bolt.layout import CHECKSUM, META_FIELDS, fnv1a_64
from stellaops.bundles.trivy.bolt.reader import BoltReader, Bucket
from stellaops.bundles.trivy.bolt.writer import BoltWriter, BucketHandle

Tree = dict[bytes, "bytes | Tree"]

PAGE_SIZES = st.sampled_from([1024, 4096, 16384])
KEYS = st.binary(min_size=1, max_size=30)
# Few bytes drawn, many written: lengths around the sizes at which the layout changes.
VALUES = st.one_of(
    st.binary(max_size=20),
    st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), st.integers(0, 140_000)),
)
LEAVES = st.dictionaries(KEYS, VALUES, max_size=12)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=5), max_leaves=12)
ROOTS = st.dictionaries(KEYS, TREES, max_size=5)


def place(writer: BoltWriter, tree: Tree, name: bytes = b"") -> BucketHandle:
    if all(isinstance(value, bytes) for value in tree.values()):
        rows = [(key, value) for key, value in sorted(tree.items()) if isinstance(value, bytes)]
        return writer.leaf_bucket(rows if len(rows) % 2 else iter(rows), name=name)
    return writer.bucket(placed(writer, tree), name=name)


def placed(writer: BoltWriter, tree: Tree) -> Iterator[tuple[bytes, BucketHandle]]:
    for key, value in sorted(tree.items()):
        assert isinstance(value, dict)
        yield key, place(writer, value, key)


def write(root: Tree, page_size: int = 4096) -> bytes:
    out = io.BytesIO()
    writer = BoltWriter(out, page_size=page_size)
    writer.finish(placed(writer, root))
    return out.getvalue()


def read(bucket: Bucket) -> Tree:
    tree: Tree = dict(bucket.items())
    assert list(tree) == sorted(tree)
    for name, inner in bucket.buckets():
        tree[name] = read(inner)
    return tree


def look_up(bucket: Bucket, tree: Tree) -> None:
    for key, value in tree.items():
        if isinstance(value, bytes):
            assert bucket.get(key) == value
            assert bucket.bucket(key) is None
        else:
            inner = bucket.bucket(key)
            assert inner is not None
            assert bucket.get(key) is None
            look_up(inner, value)


@given(ROOTS, PAGE_SIZES)
def test_what_was_written_is_read_back_and_passes_the_check(root: Tree, page_size: int) -> None:
    data = write(root, page_size)
    assert check(data).problems == ()
    reader = BoltReader(data)
    assert read(reader) == root
    look_up(reader, root)
    assert len(data) % page_size == 0


@given(ROOTS)
def test_the_order_in_which_rows_were_collected_does_not_show(root: Tree) -> None:
    assert write(dict(reversed(root.items()))) == write(root)


@given(st.lists(st.integers(0, 5000), max_size=200), PAGE_SIZES, st.randoms(use_true_random=False))
def test_many_entries_of_uneven_size_are_read_back(
    sizes: list[int], page_size: int, rng: random.Random
) -> None:
    rows: Tree = {
        b"%05d" % number + b"k" * rng.choice((0, 5, 900)): b"v" * size for number, size in enumerate(sizes)
    }
    data = write({b"bucket": rows}, page_size)
    assert check(data).ok
    assert read(BoltReader(data)) == {b"bucket": rows}


# ---- hostile files


def sample(page_size: int) -> bytes:
    package: Tree = {b"CVE-%d" % n: b"{}" * n for n in range(5)}
    large: Tree = {b"CVE-%05d" % n: b"x" * 150 for n in range(1200)}
    top: Tree = {b"package %d" % n: package for n in range(200)}
    return write({b"debian": top, b"nothing": {}, b"vulnerability": large}, page_size)


SAMPLES = [sample(1024), sample(4096)]


def repaired(data: bytearray, page_size: int) -> bytes:
    """With the meta pages' checksums made to hold, so that damage there is met too."""
    for at in (16, page_size + 16):
        fields = bytes(data[at : at + META_FIELDS.size])
        if len(fields) == META_FIELDS.size:
            data[at + len(fields) : at + len(fields) + 8] = CHECKSUM.pack(fnv1a_64(fields))
    return bytes(data)


def use_everything(data: bytes) -> None:
    """Read all that there is, by every way in; whatever happens must be entries or BoltInvalid."""
    check(data)
    try:
        pending: list[Bucket] = [BoltReader(data)]
    except BoltInvalid:
        return
    while pending:
        bucket = pending.pop()
        try:
            assert all(row[0] for row in islice(bucket.items(), 2000))
            bucket.get(b"CVE-00700")
            bucket.bucket(b"package 7")
            pending += [inner for _, inner in bucket.buckets()]
        except BoltInvalid:
            continue


STRUCTURAL = st.sampled_from(range(0, len(SAMPLES[0]), 1024))


@given(
    st.sampled_from([0, 1]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8),
)
@settings(max_examples=150)
def test_flipped_bytes_anywhere_never_do_more_than_make_the_file_invalid(
    which: int, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(SAMPLES[which])
    for place_, mask in flips:
        data[int(place_ * len(data))] ^= mask
    use_everything(bytes(data))
    use_everything(repaired(data, (1024, 4096)[which]))


@given(STRUCTURAL, st.integers(0, 200), st.binary(min_size=1, max_size=16))
@settings(max_examples=150)
def test_bytes_written_over_headers_and_tables_never_do_more_than_make_the_file_invalid(
    page: int, offset: int, patch: bytes
) -> None:
    data = bytearray(SAMPLES[0])
    at = min(page + offset, len(data) - len(patch))
    data[at : at + len(patch)] = patch
    use_everything(bytes(data))
    use_everything(repaired(data, 1024))


@given(st.lists(st.tuples(STRUCTURAL, STRUCTURAL), min_size=1, max_size=6))
def test_pages_put_in_the_place_of_others_never_do_more_than_make_the_file_invalid(
    moves: list[tuple[int, int]],
) -> None:
    data = bytearray(SAMPLES[0])
    for source, target in moves:
        # The page id is made to fit, so that cycles and shared pages get past the first check.
        data[target + 8 : target + 1024] = data[source + 8 : source + 1024]
    use_everything(repaired(data, 1024))


@given(st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_invalid(share: float) -> None:
    data = SAMPLES[1][: int(share * len(SAMPLES[1]))]
    assert not check(data).ok
    use_everything(data)


@given(st.binary(max_size=5000))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert not check(data).ok
