"""Large files hold many records; a single record has a limit of its own."""

from __future__ import annotations

import json

import pytest

from stellaops.adapters.files import inputs
from stellaops.advisories import canonical
from tests.contract.feed_samples import debian_tracker
from tests.contract.stores import Store


def test_a_record_beyond_the_limit_is_quarantined_and_its_neighbours_are_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.dumps(debian_tracker.DATA).encode()
    sizes = {len(json.dumps(record)) for names in debian_tracker.DATA.values() for record in names.values()}
    monkeypatch.setattr(canonical, "LARGEST_RECORD", max(sizes) - 1)
    assert len(content) > max(sizes)
    report = store.take({"tracker.json": content})
    assert store.reasons() == [("tracker.json", "too-large")]
    assert report.added == len(debian_tracker.EXPECTED_KEYS) - 1


def test_a_file_may_be_larger_than_a_record() -> None:
    assert inputs.MAX_MEMBER > 100 << 20 > canonical.LARGEST_RECORD


def test_a_newer_listing_lets_go_of_what_it_lacks_in_its_own_scope_alone(store: Store) -> None:
    shorter = {name: names for name, names in debian_tracker.DATA.items() if name != "zlib"}
    store.take({"tracker.json": json.dumps(debian_tracker.DATA).encode()})
    report = store.take({"tracker.json": json.dumps(shorter).encode()})
    assert (report.vanished, report.changed, report.added) == (1, 0, 0)
    assert store.keys() == [key for key in debian_tracker.EXPECTED_KEYS if not key.startswith("zlib/")]
