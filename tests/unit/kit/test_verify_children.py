"""A verification by several processes says what one by a single process says, and ends where one of them is lost."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from stellaops.bundles import layout, rows
from stellaops.core import canonical_json
from stellaops.kit import contents, row_blocks, row_workers
from stellaops.kit.report import Report
from stellaops.kit.row_workers import RowWorkerLost
from stellaops.kit.verify import verify_bundle
from tests.unit.kit import small_mirror
from tests.unit.kit.small_bundle import INDEX, RAW, SENDER, packed, raw_line

_DOCUMENTS = {
    f"X-{number:03}": canonical_json.encode({"id": f"X-{number:03}", "summary": "é" * 40})
    for number in range(120)
}
_LINES = [raw_line(key, document) for key, document in _DOCUMENTS.items()]
_FIRST, _SECOND = (layout.shard(RAW, number) for number in (0, 1))
_BLOCK = 1000


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few lines, and processors whatever there are."""
    monkeypatch.setattr(row_blocks, "_BLOCK", _BLOCK)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    monkeypatch.setattr(threading, "active_count", lambda: 1)


def archive(tmp_path: Path, **files: bytes) -> Path:
    replaced = {
        {"first": _FIRST, "second": _SECOND, "index": layout.index_file(INDEX)}[name]: data
        for name, data in files.items()
    }
    return small_mirror.mirror(
        tmp_path / "mirror", tmp_path / "root", documents=_DOCUMENTS, cut=60, files=replaced, trivy=False
    )  # fmt: skip


def verified(path: Path, monkeypatch: pytest.MonkeyPatch, *, children: bool) -> Report:
    monkeypatch.setattr(row_workers, "_ENOUGH", 0 if children else 1 << 60)
    return verify_bundle(path, [SENDER.public_key_pem()])


_WRONG = {
    "nothing": {},
    "rows change places": {"first": packed([*_LINES[:30], _LINES[31], _LINES[30], *_LINES[32:60]])},
    "rows change places between files": {"first": packed(_LINES[:61]), "second": packed(_LINES[60:])},
    "a line is none": {"first": packed([*_LINES[:30], b"{}", *_LINES[30:60]])},
    "both files have a line that is none": {
        "first": packed([*_LINES[:50], b"[]"]), "second": packed([b"{}", *_LINES[60:]]),
    },
    "a frame is cut short": {"first": packed(_LINES[:60])[:-30]},
    "something follows a frame with a line that is none": {"first": packed([b"{}", *_LINES[:59]]) + b"x"},
    "something follows a frame": {"second": packed(_LINES[60:]) + b"x"},
    "a row is missing": {"second": packed(_LINES[61:])},
    "a document is another": {
        "second": packed([*_LINES[60:90], _LINES[90].replace(b'"summary"', b'"summery"'), *_LINES[91:]]),
    },
    "the index is another": {"index": packed([b'{"digest":"sha256:%b","key":"X","source":"osv"}' % (b"0" * 64)])},
}  # fmt: skip


@pytest.mark.parametrize("what", _WRONG)
def test_children_find_what_one_process_finds(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, **_WRONG[what])
    alone = verified(path, monkeypatch, children=False)
    assert [check.name for check in alone.failed()] == ([] if what == "nothing" else ["content"])
    assert verified(path, monkeypatch, children=True) == alone


def test_the_first_trouble_of_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, **_WRONG["something follows a frame with a line that is none"])
    (found,) = verified(path, monkeypatch, children=True).failed()
    assert "a raw line is not of its form" in found.detail
    assert "follows" not in found.detail


def test_a_child_that_is_killed_in_the_middle_leaves_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = os.getpid()
    usual = rows.RAW.read

    class Deadly:
        def read(self, lines: bytes, count: int) -> object:
            if os.getpid() != reader and b"X-03" in lines:
                os.kill(os.getpid(), signal.SIGKILL)
            return usual(lines, count)

    monkeypatch.setattr(
        contents, "form_of", lambda path: Deadly() if path.startswith(layout.RAW) else rows.INDEX
    )
    with pytest.raises(RowWorkerLost, match="ended by signal 9") as caught:
        verified(archive(tmp_path), monkeypatch, children=True)
    assert "verify again" in caught.value.advice
