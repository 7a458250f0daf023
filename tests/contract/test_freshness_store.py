"""Freshness statements on each database: versions grow by one, whoever issues them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql.freshness import SqlFreshness
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.bundles import freshness
from stellaops.bundles.freshness import Checked
from stellaops.exports.issue_freshness import Signed, State, VersionTaken, issue_freshness
from stellaops.signing import cosign_blob, ecdsa_p256
from tests.contract.stores import NOON, Place

KEY = ecdsa_p256.generate()
STATE = State("default", "mirror:full", "abc", ("ghsa",), timedelta(hours=24))


@pytest.fixture
def engine(place: Place) -> Engine:
    return place.engine(SERVICE)


def issue(engine: Engine, state: State = STATE) -> int:
    sources = [Checked("ghsa", NOON, True), Checked("other", NOON, True)]
    made = issue_freshness(state, sources, SqlFreshness(engine), KEY, lambda: NOON)
    assert made is not None
    return made.version


def test_versions_grow_by_one_for_each_profile_of_each_tenant(engine: Engine) -> None:
    assert [issue(engine), issue(engine), issue(engine)] == [1, 2, 3]
    assert issue(engine, State("other", "mirror:full", "abc", (), timedelta(hours=1))) == 1
    assert issue(engine, State("default", "mine", "abc", (), timedelta(hours=1))) == 1


def test_the_newest_statement_is_kept_as_it_was_signed(engine: Engine) -> None:
    issue(engine)
    signed = SqlFreshness(engine).newest("default", "mirror:full")
    assert signed is not None
    found = freshness.parse(signed.files[freshness.FILE])
    assert (found.export_id, found.expires - found.issued) == ("abc", timedelta(hours=72))
    assert [source.name for source in found.sources] == ["ghsa"]
    digest = hashlib.sha256(signed.statement).digest()
    cosign_blob.verify(signed.signature, digest, ecdsa_p256.load_public_key(KEY.public_key_pem()))


def test_a_version_that_is_not_the_next_is_refused(engine: Engine) -> None:
    issue(engine)
    store = SqlFreshness(engine)
    for version in (1, 3):
        with pytest.raises(VersionTaken):
            store.put("default", "mirror:full", Signed(version, b"{}", b""))
    newest = store.newest("default", "mirror:full")
    assert newest is not None
    assert newest.version == 1


def test_statements_issued_at_once_have_each_their_own_version(engine: Engine) -> None:
    def attempt(_: int) -> int | None:
        try:
            return issue(engine)
        except VersionTaken:
            return None

    with ThreadPoolExecutor(4) as pool:
        versions = [version for version in pool.map(attempt, range(8)) if version is not None]
    assert len(set(versions)) == len(versions)
    newest = SqlFreshness(engine).newest("default", "mirror:full")
    assert newest is not None
    assert newest.version == max(versions) == len(versions)


def test_an_export_of_an_earlier_snapshot_does_not_become_the_newest_again(engine: Engine) -> None:
    later, earlier = replace(STATE, sequence=7), replace(STATE, export_id="old", sequence=6)
    assert issue(engine, later) == 1
    assert issue_freshness(earlier, [], SqlFreshness(engine), KEY, lambda: NOON) is None
    newest = SqlFreshness(engine).newest("default", "mirror:full")
    assert newest is not None
    assert freshness.parse(newest.statement).export_id == "abc"
    assert issue(engine, later) == 2
