"""The log of the nginx in front: each line counts once, however it is written, rotated and read."""

from __future__ import annotations

import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.adapters.sql.gateway_store import MemoryStore
from stellaops.core.errors import DependencyFailed
from stellaops.gateway.proxy_log import ProxyLog


def _line(
    domain: str = "primary", status: int = 200, cache: str = "HIT", code: str = "", kind: str = "index"
) -> bytes:
    told = {
        "domain": domain,
        "class": kind,
        "status": status,
        "cacheStatus": cache,
        "code": code,
        "path": "/x",
    }
    return json.dumps(told).encode() + b"\n"


def _total(store: MemoryStore) -> float:
    return sum(store.counts().values())


@given(
    st.lists(st.sampled_from(("write", "half", "rotate", "read", "other")), max_size=40),
    st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_each_line_counts_once_whenever_and_by_whomever_it_is_read(steps: list[str], seed: int) -> None:
    chance, written, rotations, half = random.Random(seed), 0, 0, b""
    with tempfile.TemporaryDirectory() as folder:
        log, store = Path(folder) / "access.log", MemoryStore()
        readers = [ProxyLog(log, store) for _ in range(2)]
        for step in steps:
            match step:
                case "write" | "half":
                    lines = _line() * chance.randint(1, 5)
                    cut = len(lines) - 7 if step == "half" else len(lines)
                    with log.open("ab") as file:
                        file.write(half + lines[:cut])
                    half = lines[cut:]
                    written += lines.count(b"\n")
                case "rotate" if log.exists() and not half:
                    for each in readers:  # logs are rotated more seldom than they are read
                        each.gather({"primary"})
                    rotations += 1
                    log.rename(log.with_name(f"access.log.{rotations}"))
                case "read":
                    readers[0].gather({"primary"})
                case "other":
                    readers[1].gather({"primary"})
        if half:
            with log.open("ab") as file:
                file.write(half)
        readers[0].gather({"primary"})
        assert _total(store) == written


def test_lines_written_before_a_rotation_and_not_yet_read_are_counted(tmp_path: Path) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    log.write_bytes(_line())
    ProxyLog(log, store).gather({"primary"})
    with log.open("ab") as file:
        file.write(_line() * 3)
    log.rename(tmp_path / "access.log.1")
    log.write_bytes(_line() * 2)
    ProxyLog(log, store).gather({"primary"})
    assert _total(store) == 6


def test_a_log_that_was_cut_off_is_read_from_its_beginning(tmp_path: Path) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    log.write_bytes(_line() * 5)
    ProxyLog(log, store).gather({"primary"})
    log.write_bytes(_line() * 2)
    ProxyLog(log, store).gather({"primary"})
    assert _total(store) == 7


def test_only_known_labels_become_series_and_other_lines_none(tmp_path: Path) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    log.write_bytes(
        _line("evil", 404, "odd", kind='x"} 1') + b"no json\n" + b"[1]\n" + _line("primary", 200, kind="other")
        + _line("primary", 429, "", "ERR_MIRROR_QUOTA") + _line("primary", 429, "", "ERR_MIRROR_LOGIN_RATE")
        + b'{"status":99999,"domain":"primary","class":"index"}\n'
    )  # fmt: skip
    ProxyLog(log, store).gather({"primary"})
    assert store.counts() == {
        ("mirror_requests_total", 'domain="-",class="other",status="404",cache="NONE"'): 1.0,
        ("mirror_requests_total", 'domain="primary",class="index",status="429",cache="NONE"'): 2.0,
        ("mirror_requests_total", 'domain="primary",class="index",status="0",cache="NONE"'): 1.0,
        ("mirror_quota_rejections_total", 'domain="primary"'): 1.0,
    }


def test_what_cannot_be_read_or_kept_is_counted_later(tmp_path: Path) -> None:
    class Away(MemoryStore):
        is_away = True

        def read_to(self, name: str) -> tuple[str, int] | None:
            if self.is_away:
                raise DependencyFailed("away")
            return super().read_to(name)

    log, store = tmp_path / "access.log", Away()
    reader = ProxyLog(log, store)
    reader.gather({"primary"})
    log.write_bytes(_line())
    reader.gather({"primary"})
    store.is_away = False
    reader.gather({"primary"})
    assert _total(store) == 1


def test_a_log_that_is_a_pipe_is_told_and_nobody_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    os.mkfifo(log)
    reader = ProxyLog(log, store)
    reader.gather({"primary"})
    reader.gather({"primary"})
    assert [each.getMessage() for each in caplog.records if "only a plain file" in each.getMessage()] != []
    assert len(caplog.records) == 1
    log.unlink()
    log.write_bytes(_line())
    reader.gather({"primary"})
    assert _total(store) == 1


def test_another_file_under_the_same_number_is_read_from_its_beginning(tmp_path: Path) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    log.write_bytes(b'{"time":"1"}\n' + _line())
    ProxyLog(log, store).gather({"primary"})
    log.write_bytes(b'{"time":"2"}\n' + _line() * 5)  # the number stays, as where a file system is made anew
    ProxyLog(log, store).gather({"primary"})
    assert _total(store) == 6


def test_a_place_that_an_earlier_release_has_kept_is_gone_on_from(tmp_path: Path) -> None:
    log, store = tmp_path / "access.log", MemoryStore()
    log.write_bytes(_line() * 3)
    state = log.stat()
    store.add_read(str(log), None, (f"{state.st_dev}:{state.st_ino}", len(_line()) * 2), {})
    ProxyLog(log, store).gather({"primary"})
    assert _total(store) == 1
    log.rename(tmp_path / "access.log.1")
    log.write_bytes(_line())
    ProxyLog(log, store).gather({"primary"})
    assert _total(store) == 2
