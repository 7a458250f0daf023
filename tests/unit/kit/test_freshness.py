"""Freshness statements: signed, growing, expiring; what a receiver demands of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stellaops.bundles import freshness
from stellaops.bundles.freshness import BadFreshness, Checked
from stellaops.kit.freshness import Demands, find, problems
from stellaops.kit.tree import UntrustedFile
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature, PrivateKey, PublicKey

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
STATEMENT = freshness.issue(
    "default", "mirror:full", "abc", 3, (Checked("b", None, False), Checked("a", NOON, True)),
    now=NOON, cadence=timedelta(hours=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return ecdsa_p256.generate()


def public(key: PrivateKey) -> PublicKey:
    return ecdsa_p256.load_public_key(key.public_key_pem())


@pytest.fixture
def put(tmp_path: Path, key: PrivateKey) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        (tmp_path / freshness.FILE).write_bytes(data)
        signature = key.sign_digest(hashlib.sha256(data).digest())
        (tmp_path / freshness.SIGNATURE).write_bytes(cosign_blob.encode(signature))
        return tmp_path

    return write


def test_a_statement_comes_back_as_it_was_issued(put: Callable[[bytes], Path], key: PrivateKey) -> None:
    found = find(put(freshness.encode(STATEMENT)), [public(key)])
    assert found == STATEMENT
    assert found is not None
    assert found.expires - found.issued == timedelta(hours=3)
    assert [source.name for source in found.sources] == ["a", "b"]


def test_a_directory_without_statement_has_none(tmp_path: Path, key: PrivateKey) -> None:
    assert find(tmp_path, [public(key)]) is None


def test_a_statement_of_a_stranger_is_refused(put: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadSignature, match="no trusted key"):
        find(put(freshness.encode(STATEMENT)), [public(ecdsa_p256.generate())])


def test_a_revoked_key_signs_nothing(put: Callable[[bytes], Path], key: PrivateKey) -> None:
    with pytest.raises(BadSignature):
        find(put(freshness.encode(STATEMENT)), [public(key)], {public(key).key_id})


def test_a_statement_without_signature_is_refused(put: Callable[[bytes], Path], key: PrivateKey) -> None:
    place = put(freshness.encode(STATEMENT))
    (place / freshness.SIGNATURE).unlink()
    with pytest.raises(UntrustedFile):
        find(place, [public(key)])


def changed(**values: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(freshness.encode(STATEMENT)) | values)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        freshness.encode(STATEMENT) + b"\n",
        changed(schema="other"),
        changed(version=0),
        changed(version=2**60),
        changed(expires="tomorrow"),
        changed(more=1),
    ],
)
def test_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(BadFreshness):
        freshness.parse(data)


@pytest.mark.parametrize(
    ("demands", "said"),
    [
        (Demands(NOON), None),
        (Demands(NOON + timedelta(hours=3)), None),
        (Demands(NOON + timedelta(hours=3, seconds=1)), "expired"),
        (Demands(NOON + timedelta(minutes=20), max_age=timedelta(minutes=20)), None),
        (Demands(NOON + timedelta(minutes=21), max_age=timedelta(minutes=20)), "longer ago"),
        (Demands(NOON, least_version=3), None),
        (Demands(NOON, least_version=4), "older than 4"),
    ],
)
def test_what_is_demanded_is_judged(demands: Demands, said: str | None) -> None:
    found = problems(STATEMENT, "abc", "default", demands)
    assert (said is None and not found) or (said is not None and [said in each for each in found] == [True])


def test_a_statement_about_another_export_says_nothing_of_this_one() -> None:
    assert problems(STATEMENT, "abd", "default", Demands(NOON))
    assert problems(replace(STATEMENT, tenant="other"), "abc", "default", Demands(NOON))


def test_without_statement_only_a_demanded_age_fails() -> None:
    assert not problems(None, "abc", "default", Demands(NOON))
    assert problems(None, "abc", "default", Demands(NOON, max_age=timedelta(days=1)))
