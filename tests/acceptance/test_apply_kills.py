"""Applying that is killed, meets a full disk, or is watched by a reader: the target is old or new, never between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stellaops.kit import target
from stellaops.kit.apply import ApplyRefused, Trust, apply_delta, restore
from stellaops.kit.target import TargetUnusable
from stellaops.kit.verify import verify_bundle
from tests.support.mirrors import Archive, State, delta_of, full, key_pem
from tests.support.tools import ROOT

MIB = 1 << 20
TRUST = Trust([key_pem()])
PROGRAM = """
import sys
from pathlib import Path
from stellaops.kit.apply import Trust, apply_delta, restore
verb, into, key, *archives = sys.argv[1:]
trust = Trust([Path(key).read_bytes()])
if verb == "apply":
    apply_delta(Path(archives[0]), Path(into), trust)
else:
    restore([Path(each) for each in archives], Path(into), trust)
"""


def text(number: int) -> str:
    """What does not shrink when it is packed."""
    return random.Random(number).randbytes(1500).hex()


FIRST = State({("a", f"K{number:05d}"): text(number) for number in range(1500)})
SECOND = replace(
    FIRST, documents={**FIRST.documents, **{("b", f"N{n}"): text(10_000 + n) for n in range(300)}}
)


class Sent:
    """A full archive and the delta after it, and the key to check them with."""

    def __init__(self, place: Path) -> None:
        self.full: Archive = full(FIRST, place / "0")
        self.delta: Archive = delta_of(self.full, SECOND, place / "1")
        self.key = place / "key.pub"
        self.key.write_bytes(key_pem())

    def start(self, verb: str, into: Path, *archives: Archive) -> subprocess.Popen[bytes]:
        paths = [str(each.path) for each in archives]
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, verb, str(into), str(self.key), *paths], cwd=ROOT
        )


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    return Sent(tmp_path_factory.mktemp("sent"))


def in_force(into: Path) -> str:
    """The export in force, which must be whole."""
    report = verify_bundle(into / target.CURRENT, TRUST.pems)
    assert report.verdict == "ok", report
    assert report.export_id is not None
    return report.export_id


def seconds_of(sent: Sent, verb: str, into: Path, *archives: Archive) -> float:
    began = time.monotonic()
    assert sent.start(verb, into, *archives).wait(60) == 0
    return time.monotonic() - began


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_at_any_moment_leaves_old_or_new_and_the_next_start_goes_on(
    sent: Sent, tmp_path: Path, seed: int
) -> None:
    restore([sent.full.path], tmp_path / "measured", TRUST)
    whole = seconds_of(sent, "apply", tmp_path / "measured", sent.delta)
    into = tmp_path / "into"
    restore([sent.full.path], into, TRUST)
    chance = random.Random(seed)
    for _ in range(3):
        with sent.start("apply", into, sent.delta) as process:
            time.sleep(whole * chance.uniform(0.3, 1.0))
            process.send_signal(signal.SIGKILL)
        assert in_force(into) in (sent.full.export_id, sent.delta.export_id)
    with suppress(ApplyRefused):  # a kill came when all was done
        apply_delta(sent.delta.path, into, TRUST)
    assert in_force(into) == sent.delta.export_id
    assert (into / target.LOG).read_text().count("\n") == 2
    with target.opened(into):
        left = {path.name for path in (into / ".apply").iterdir()}
        assert left == {"lock"}


def test_a_restore_that_was_killed_goes_on(sent: Sent, tmp_path: Path) -> None:
    whole = seconds_of(sent, "restore", tmp_path / "measured", sent.full, sent.delta)
    into = tmp_path / "into"
    chance = random.Random(5)
    for _ in range(4):
        with sent.start("restore", into, sent.full, sent.delta) as process:
            time.sleep(whole * chance.uniform(0.3, 0.9))
            process.send_signal(signal.SIGKILL)
        if (into / target.CURRENT).exists():
            assert in_force(into) in (sent.full.export_id, sent.delta.export_id)
    restore([sent.full.path, sent.delta.path], into, TRUST)
    assert in_force(into) == sent.delta.export_id


@pytest.mark.parametrize("room", [0, 64 * 1024, MIB, 3 * MIB, 5 * MIB])
def test_a_full_disk_leaves_what_was_there(sent: Sent, small_disk: Callable[[int], Path], room: int) -> None:
    disk = small_disk(48 * MIB)
    into = disk / "into"
    restore([sent.full.path], into, TRUST)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(max(0, free - room)))
    refused = None
    try:
        apply_delta(sent.delta.path, into, TRUST)
    except TargetUnusable as error:
        refused = str(error)
    assert in_force(into) == (sent.full if refused else sent.delta).export_id
    assert "full" in (refused or "full")
    assert room or refused
    (disk / "ballast").unlink()
    if refused:
        apply_delta(sent.delta.path, into, TRUST)
    assert in_force(into) == sent.delta.export_id


def test_a_disk_that_cannot_be_written_is_a_clear_error(
    sent: Sent, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(48 * MIB)
    restore([sent.full.path], disk / "into", TRUST)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(TargetUnusable, match="read-only"):
        apply_delta(sent.delta.path, disk / "into", TRUST)
    assert in_force(disk / "into") == sent.full.export_id


def test_a_reader_sees_one_state_or_the_other(sent: Sent, tmp_path: Path) -> None:
    into = tmp_path / "into"
    restore([sent.full.path], into, TRUST)
    back = delta_of(sent.delta, FIRST, tmp_path / "back")
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            root = (into / target.CURRENT).resolve()  # what a reader opens once, it reads to the end
            seen.append(in_force_at(root))

    reader = threading.Thread(target=read)
    reader.start()
    apply_delta(sent.delta.path, into, TRUST)
    apply_delta(back.path, into, TRUST)
    done.set()
    reader.join()
    assert set(seen) <= {sent.full.export_id, sent.delta.export_id}
    assert seen


def in_force_at(root: Path) -> str:
    report = verify_bundle(root, TRUST.pems)
    assert report.verdict == "ok", report
    assert report.export_id == root.name
    return root.name
