"""Pulling a VEX repository: the manifest, wherever it stands, and the archive that it names."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from stellaops.ingest.layouts.interface import Answer, Ask, ListingUnusable, Plan, Situation
from stellaops.ingest.layouts.registry import layout_of
from stellaops.ingest.pull_model import Definition

ARCHIVE = "https://vex.example.org/archive/main.tar.gz"
MANIFEST = {
    "name": "Hub",
    "versions": [
        {"spec_version": "9.9", "locations": [{"url": "https://vex.example.org/later.zip"}]},
        {"spec_version": "0.1", "locations": [{"url": f"{ARCHIVE}//hub-main"}], "update_interval": "24h"},
    ],
}


def plan(url: str, pages: dict[str, bytes]) -> tuple[list[str], Plan]:
    """What is asked for in turn, and the plan."""
    definition = Definition(name="hub", layout="vex-repository", url=url, feed="openvex")
    layout = layout_of("vex-repository")
    layout.check(definition)
    steps = layout.plan(Situation(definition))
    asked: list[str] = []
    try:
        ask: Ask = next(steps)
        while True:
            asked.append(ask.url)
            content = pages.get(ask.url)
            assert content is not None or ask.optional
            ask = steps.send(
                Answer(content or b"", ask.url, False, content is None, datetime(2026, 1, 1, tzinfo=UTC))
            )
    except StopIteration as end:
        return asked, end.value


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://vex.example.org/", "https://vex.example.org/.well-known/vex-repository.json"),
        ("https://vex.example.org/hub", "https://vex.example.org/hub/vex-repository.json"),
        (
            "https://vex.example.org/raw/vex-repository.json",
            "https://vex.example.org/raw/vex-repository.json",
        ),
    ],
)
def test_the_manifest_is_found_and_its_archive_is_all_there_is(url: str, place: str) -> None:
    asked, found = plan(url, {place: json.dumps(MANIFEST).encode()})
    assert asked[-1] == place
    (want,) = found.wants
    assert (want.url, want.path) == (ARCHIVE, "main.tar.gz")
    assert found.full
    assert found.complete


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"versions": [{"spec_version": "9.9"}]}'])
def test_a_manifest_that_names_no_archive_stops_the_pull(content: bytes) -> None:
    place = "https://vex.example.org/vex-repository.json"
    with pytest.raises(ListingUnusable, match="hub"):
        plan(place, {place: content})
