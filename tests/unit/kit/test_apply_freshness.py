"""Freshness statements at the receiver: what is older than what is known, or has expired, does not come in."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stellaops.bundles import freshness
from stellaops.kit import disk, target
from stellaops.kit.apply import Applied, Trust, apply_delta, restore
from stellaops.kit.freshness import Stale
from stellaops.kit.verify import verify_bundle
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import PrivateKey
from tests.support.mirrors import NOON, SENDER, STRANGER, Archive, State, delta_of, full, key_pem

FIRST = State({("a", "K1"): "one", ("a", "K2"): "two"})
SECOND = replace(FIRST, documents={**FIRST.documents, ("a", "K3"): "three"})
TRUST = Trust([key_pem()], at=NOON + timedelta(hours=1))
LATE = replace(TRUST, at=NOON + timedelta(days=4))


def say(archive: Archive, version: int, key: PrivateKey = SENDER) -> None:
    """Lay a statement beside an archive."""
    made = freshness.issue(
        "default", "mirror:full", archive.export_id, version, (), now=NOON, cadence=timedelta(days=1)
    )
    data = freshness.encode(made)
    (archive.path.parent / freshness.FILE).write_bytes(data)
    (archive.path.parent / freshness.SIGNATURE).write_bytes(cosign_blob.encode(key.sign(data)))


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Archive, Archive]:
    base = full(FIRST, tmp_path / "0")
    return base, delta_of(base, SECOND, tmp_path / "1")


def version(into: Path) -> int:
    return freshness.parse((into / freshness.FILE).read_bytes()).version


def test_a_statement_is_kept_with_what_it_is_about(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, delta = archives
    say(base, 1)
    say(delta, 2)
    restore([base.path], tmp_path / "into", TRUST)
    assert version(tmp_path / "into") == 1
    apply_delta(delta.path, tmp_path / "into", TRUST)
    assert version(tmp_path / "into") == 2
    report = verify_bundle(tmp_path / "into", [key_pem()], at=TRUST.at, max_age=timedelta(days=1))
    assert report.verdict == "ok", report.failed()


def test_an_older_export_does_not_come_back(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, delta = archives
    say(base, 1)
    say(delta, 2)
    into = tmp_path / "into"
    restore([base.path, delta.path], into, TRUST)
    with pytest.raises(Stale, match="older than 2"):
        restore([base.path], into, TRUST)
    assert (into / "current").resolve().name == delta.export_id
    restore([base.path], into, replace(TRUST, allow_stale=True))
    assert (into / "current").resolve().name == base.export_id


def test_an_expired_statement_is_refused_unless_told(
    archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, delta = archives
    say(base, 1)
    say(delta, 2)
    into = tmp_path / "into"
    with pytest.raises(Stale, match="expired"):
        restore([base.path], into, LATE)
    assert not (into / "current").exists()
    restore([base.path], into, TRUST)
    with pytest.raises(Stale, match="expired"):
        apply_delta(delta.path, into, LATE)
    assert (into / "current").resolve().name == base.export_id
    apply_delta(delta.path, into, replace(LATE, allow_stale=True))
    assert (into / "current").resolve().name == delta.export_id


def silent(archive: Archive) -> Archive:
    """The archive with no statement beside it."""
    for name in (freshness.FILE, freshness.SIGNATURE):
        (archive.path.parent / name).unlink(missing_ok=True)
    return archive


def known(into: Path) -> int:
    state = json.loads((into / target.STATE).read_bytes())
    return int(state.get("freshnessVersion", 0))


def test_an_archive_without_statement_lets_nothing_older_in_after_it(
    archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, delta = archives
    into = tmp_path / "into"
    say(base, 5)
    restore([base.path], into, TRUST)
    done = restore([silent(base).path], into, TRUST)
    assert known(into) == 5
    assert "version 5 of its profile is known" in done.warnings[0]
    say(base, 4)
    with pytest.raises(Stale, match="version 4 is older than 5"):
        restore([base.path], into, TRUST)
    apply_delta(silent(delta).path, into, TRUST)
    assert known(into) == 5
    with pytest.raises(Stale, match="version 4 is older than 5"):
        restore([base.path], into, TRUST)


def test_what_is_taken_though_stale_does_not_lower_what_is_known(
    archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, delta = archives
    into = tmp_path / "into"
    say(base, 5)
    restore([base.path], into, TRUST)
    say(base, 3)
    restore([base.path], into, replace(TRUST, allow_stale=True))
    assert known(into) == 5
    say(delta, 4)
    with pytest.raises(Stale, match="version 4 is older than 5"):
        apply_delta(delta.path, into, TRUST)


@pytest.mark.parametrize("damage", [
    lambda into: (into / "current").unlink(),
    lambda into: (into / target.STATE).write_bytes(b"{"),
    lambda into: (into / target.STATE).unlink(),
], ids=["no link", "no state that can be read", "no state"])  # fmt: skip
def test_a_damaged_target_forgets_nothing(
    damage: Callable[[Path], object], archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, _ = archives
    into = tmp_path / "into"
    say(base, 5)
    restore([base.path], into, TRUST)
    damage(into)
    say(base, 4)
    with pytest.raises(Stale, match="version 4 is older than 5"):
        restore([base.path], into, TRUST)
    restore([silent(base).path], into, TRUST)
    assert known(into) == 5


def test_a_statement_about_another_export_does_not_stay(
    archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, delta = archives
    into = tmp_path / "into"
    say(base, 1)
    restore([base.path], into, TRUST)
    restore([silent(base).path], into, TRUST)
    assert version(into) == 1  # it is about what is in force
    assert apply_delta(delta.path, into, TRUST).warnings
    assert not (into / freshness.FILE).exists()
    assert not (into / freshness.SIGNATURE).exists()
    assert known(into) == 1


def test_who_gets_a_statement_is_warned_of_nothing(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, delta = archives
    say(base, 1)
    say(delta, 2)
    done: list[Applied] = [restore([base.path], tmp_path / "into", TRUST)]
    done.append(apply_delta(delta.path, tmp_path / "into", TRUST))
    assert [each.warnings for each in done] == [(), ()]
    assert done[0].to_wire()["warnings"] == []


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do some work in a child that is killed when it flushes the disk for the so manieth time; whether it was."""
    child = os.fork()
    if child == 0:
        left = number
        usual = disk.sync

        def sync(path: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            usual(path)

        disk.sync = sync
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def test_a_kill_at_any_moment_leaves_state_and_statement_together(
    archives: tuple[Archive, Archive], tmp_path: Path
) -> None:
    base, delta = archives
    say(base, 5)
    say(delta, 6)
    number, seen = 0, set[int]()
    while True:
        number += 1
        into = tmp_path / f"into-{number}"
        restore([base.path], into, TRUST)
        if not killed_at(number, lambda into=into: apply_delta(delta.path, into, TRUST)):  # type: ignore[misc]
            break
        with target.opened(into):
            pass
        state = json.loads((into / target.STATE).read_bytes())
        assert state["freshnessVersion"] == (6 if state["exportId"] == delta.export_id else 5)
        assert version(into) == known(into)
        seen.add(known(into))
    assert seen == {5, 6}


def test_without_statement_archives_come_in(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, delta = archives
    done = restore([base.path, delta.path], tmp_path / "into", LATE)
    assert "nothing tells whether it is the newest" in done.warnings[0]
    assert not (tmp_path / "into" / freshness.FILE).exists()


def test_a_statement_of_a_stranger_lets_nothing_in(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, _ = archives
    say(base, 1, STRANGER)
    with pytest.raises(Exception, match="no trusted key signed freshness"):
        restore([base.path], tmp_path / "into", TRUST)
    assert not (tmp_path / "into" / "current").exists()


@pytest.mark.parametrize("hours", [1, 24 * 4])
def test_verify_judges_the_statement_beside_an_archive(archives: tuple[Archive, Archive], hours: int) -> None:
    base, _ = archives
    say(base, 1)
    report = verify_bundle(base.path, [key_pem()], at=NOON + timedelta(hours=hours))
    assert [check.name for check in report.failed()] == ([] if hours == 1 else ["freshness"])
