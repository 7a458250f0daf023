"""Packs of small files: bounds that follow from the files, and nothing believed of what comes back."""

from __future__ import annotations

import random

import pytest
from backports import zstd

from stellaops.mirrors import packs
from stellaops.mirrors.errors import BadTree


def tree(count: int = 6000) -> dict[str, int]:
    chance = random.Random(5)
    return {
        f"osv/primary/ECO{number % 7}/ID-{number:06}.json": chance.randrange(200, 9000)
        for number in range(count)
    }


def groups(files: dict[str, int]) -> list[tuple[str, ...]]:
    return list(packs.grouped(sorted(files.items())))


def test_every_file_is_in_one_pack_in_the_order_of_paths_and_no_pack_is_too_large() -> None:
    files = tree()
    made = groups(files)
    assert [path for group in made for path in group] == sorted(files)
    assert max(sum(files[path] for path in group) for group in made) <= packs.LARGEST
    assert 4 < len(made) < 40


def test_a_file_that_comes_goes_or_changes_leaves_most_packs_as_they_are() -> None:
    files = tree()
    before = set(groups(files))
    changed = dict(files)
    changed["osv/primary/ECO3/ID-000500x.json"] = 900
    changed.pop(sorted(files)[3000])
    assert len(before - set(groups(changed))) <= 4


def test_a_pack_finds_its_paths_again() -> None:
    made = groups(tree(2500))
    shelf = packs.Shelf([group[0] for group in made])
    for number, group in enumerate(made):
        assert {shelf.number(path) for path in group} == {number}
    assert shelf.number("a") is None


def test_what_is_packed_comes_back_and_the_same_files_give_the_same_bytes() -> None:
    files = {f"mirror/primary/{'long' * 60}/ü{number}.json": b"x" * number for number in range(50)}
    packed = packs.pack(files.items())
    assert packs.unpack(packed) == files
    assert packs.pack(files.items()) == packed


@pytest.mark.parametrize(
    "data", [b"", b"no frame", zstd.compress(b"no tar" * 200), packs.pack([("a", b"b" * 2000)])[:-9]]
)
def test_what_is_no_pack_is_refused(data: bytes) -> None:
    with pytest.raises(BadTree):
        packs.unpack(data)


def test_a_pack_that_opens_to_more_than_is_ever_packed_is_refused() -> None:
    with pytest.raises(BadTree):
        packs.unpack(packs.pack([("a", b"\0" * (4 * packs.LARGEST))]))
