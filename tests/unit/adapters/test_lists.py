"""Long lists come in blocks: every line once, with its place in the file, in memory of one block."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from stellaops.adapters.files import lists
from stellaops.adapters.files.inputs import ArchiveDamaged, FileInputs
from stellaops.core.digests import sha256
from stellaops.ingest.ports import Member
from stellaops.ingest.recognise import spread
from tests.contract.stores import sqlite_store

HEADER = b"groupId,artifactId,version,packaging,sha1\n"


def lines(count: int) -> bytes:
    rows = (
        f"org.g{number % 97},lib{number},1.0,jar,{hashlib.sha1(b'%d' % number).hexdigest()}\n"  # noqa: S324
        for number in range(count)
    )
    return HEADER + "".join(rows).encode()


def members(path: Path, skip: int = 0) -> list[Member]:
    return list(FileInputs([path]).members(skip))


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_list_comes_in_blocks_each_with_the_header(tmp_path: Path, packed: bool) -> None:
    content = lines(20_000)
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    found = members(path)
    assert len(found) == -(-len(content) // lists.BLOCK)
    joined = b""
    for number, member in enumerate(found):
        assert member.path == "a.csv"
        assert member.content.startswith(HEADER)
        assert member.content.endswith(b"\n")
        assert len(member.content) < lists.BLOCK + 1000
        assert member.container_digest == sha256(path.read_bytes())
        rest = member.content[len(HEADER) if number else 0 :]
        place = member.offset + (len(HEADER) if number else 0)
        assert content[place : place + len(rest)] == rest
        joined += rest
    assert joined == content
    assert members(path, skip=2) == found[2:]
    assert len(spread(FileInputs([path]))) == 1


def test_a_file_of_another_feed_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "epss.csv"
    path.write_bytes(b"#model_version:v1\ncve,epss,percentile\n" + b"CVE-2024-0001,0.1,0.1\n" * 40_000)
    (member,) = members(path)
    assert member.content == path.read_bytes()


def test_a_line_without_end_is_a_problem_and_not_a_full_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(lines(10) + b"x" * (lists.BLOCK + lists.LONGEST_LINE + 10))
    (member,) = members(path)
    assert member.problem.startswith("too-large: a line of more than")


def test_a_damaged_compressed_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(lines(20_000))[:-1000])
    with pytest.raises(ArchiveDamaged):
        members(path)


def test_records_of_blocks_are_stored_with_their_places_in_the_file(tmp_path: Path) -> None:
    content = lines(9_000).replace(b"lib8000,1.0", b"lib8000,")
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    store = sqlite_store(tmp_path / "data")
    report = store.take(FileInputs([path]))
    assert (report.feed, report.added, report.quarantined) == ("maven-index", 8_999, 1)
    sha1 = hashlib.sha1(b"7000").hexdigest()  # noqa: S324
    record = store.one(f"org.g{7000 % 97}:lib7000:1.0:jar:{sha1}")
    assert content[record.offset : record.offset + record.length].endswith(f"jar,{sha1}".encode())
    ((broken, reason),) = store.reasons()
    assert (broken, reason) == ("a.csv", "no-version")
    fixed = lines(9_000)
    path.write_bytes(fixed)
    again = store.take(FileInputs([path]))
    assert (again.added, again.changed, again.unchanged, again.quarantined) == (1, 0, 8_999, 0)
