"""What moving names of targets stand for, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.target_latest import SqlLatest
from stellaops.exports.distribution.ports import Pointed
from tests.contract.stores import NOON, Place

ONE = Pointed(
    "edge", "acme", "mirror:full", "run-1", 7, NOON, "s3://bundles/one/", NOON + timedelta(seconds=1)
)


def test_names_stand_for_what_was_noted_last_for_each_target_tenant_and_profile(place: Place) -> None:
    latest = SqlLatest(place.engine(migrations.SERVICE))
    assert latest.of("edge", "acme", "mirror:full") is None
    others = [
        replace(ONE, target="core"),
        replace(ONE, tenant="other"),
        replace(ONE, profile="trivy:db", run_id="run-9"),
    ]
    newer = replace(ONE, run_id="run-2", sequence=8, reference="s3://bundles/two/")
    for each in (ONE, *others, newer):
        latest.note(each)
    assert latest.of("edge", "acme", "mirror:full") == newer
    assert latest.of("edge", "other", "mirror:full") == others[1]
    assert list(latest.all("acme")) == [others[0], newer, others[2]]
    assert latest.all("nobody") == []


def test_the_larger_sequence_is_the_newer_and_of_equal_ones_the_run_that_was_submitted_later() -> None:
    later = replace(ONE, submitted_at=NOON + timedelta(seconds=1))
    assert later.is_newer_than(ONE)
    assert not ONE.is_newer_than(later)
    assert not ONE.is_newer_than(ONE)
    assert replace(ONE, sequence=8).is_newer_than(later)
