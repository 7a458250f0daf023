"""Freshness statements at the receiver: what is older than what is known, or has expired, does not come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stellaops.bundles import freshness
from stellaops.kit.apply import Trust, apply_delta, restore
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


def test_without_statement_archives_come_in(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    base, delta = archives
    restore([base.path, delta.path], tmp_path / "into", LATE)
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
