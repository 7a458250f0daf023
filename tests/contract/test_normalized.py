"""Documents of every feed in one form: OSV for advisories, OpenVEX for VEX, whatever upstream wrote."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from stellaops.adapters.sql.normalizing import StoredDocument, normalized
from stellaops.advisories.canonical import Malformed, from_json
from stellaops.core import timestamps
from stellaops.ingest.feeds import FEEDS
from tests.contract.feed_samples import Samples, all_samples

SAMPLES = all_samples()
_NONE = {"epss", "kev", "maven-index"}
"""Feeds that speak of no package, or of no vulnerability."""
_EVENTS = {"introduced", "fixed", "last_affected", "limit"}


def documents(samples: Samples) -> Iterator[tuple[str, bytes]]:
    feed = FEEDS[samples.feed]
    for path, content in samples.files.items():
        for number, each in enumerate(feed.records(path, content)):
            canonical = feed.canonical(path, each.raw)
            stored = StoredDocument(
                samples.feed, path, canonical.verbatim, canonical.body, each.context or ""
            )
            yield from normalized(stored, f"key-{number}")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_feed_gives_osv_documents_that_say_what_osv_demands(name: str) -> None:
    found = list(documents(SAMPLES[name]))
    assert bool(found) is (SAMPLES[name].feed not in _NONE)
    for key, body in found:
        assert from_json(body).body == body, "canonical JSON"
        document = msgspec.json.decode(body)
        assert key.startswith("key-")
        assert document["schema_version"].startswith("1.7.")
        assert document["id"]
        for instant in ("modified", "published", "withdrawn"):
            stays = SAMPLES[name].feed == "osv"  # year 1 too
            assert stays or instant not in document or timestamps.parse(document[instant]) is not None
        assert "modified" in document
        for affected in document.get("affected", ()):
            for each in affected.get("ranges", ()):
                assert each["type"] in ("SEMVER", "ECOSYSTEM", "GIT")
                assert each["events"]
                assert all(len(event) == 1 and event.keys() <= _EVENTS for event in each["events"])


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_keys_of_one_record_come_in_order_and_once(name: str) -> None:
    keys = [key for key, _ in documents(SAMPLES[name])]
    by_record: dict[str, list[str]] = {}
    for key in keys:
        by_record.setdefault(key.partition("\t")[0], []).append(key)
    samples = len(SAMPLES[name].files)
    for some in by_record.values():
        assert samples > 1 or (some == sorted(some) and len(set(some)) == len(some))


def test_what_can_not_be_read_any_more_has_no_line() -> None:
    assert list(normalized(StoredDocument("osv", "x.json", False, b'{"no":"id"}', ""), "x")) == []


def test_broken_samples_never_raise_anything_else() -> None:
    for samples in SAMPLES.values():
        for path, (content, _) in samples.broken.items():
            feed = FEEDS[samples.feed]
            try:
                found = [feed.canonical(path, each.raw) for each in feed.records(path, content)]
            except Malformed:
                continue
            for canonical in found:
                list(
                    normalized(
                        StoredDocument(samples.feed, path, canonical.verbatim, canonical.body, ""), "x"
                    )
                )
