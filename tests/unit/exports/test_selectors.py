"""Selectors: every one of them, from the command line and from profiles, and what each takes out of an export."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from stellaops.exports import selectors
from stellaops.exports.errors import InvalidSelector
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import once

HIGH = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}
LOW = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]}


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella.take(
        place / "ghsa", "ghsa",
        osv("GHSA-aaaa-aaaa-aaaa", package("npm", "@scope/left", *until("1.0.0")), aliases=["CVE-2026-1001"], **HIGH),
        osv("GHSA-bbbb-bbbb-bbbb", package("PyPI", "Some_Thing", *until("1.0")), **LOW),
        osv("GHSA-cccc-cccc-cccc", package("PyPI", "other", *until("1.0")), package("npm", "other", *until("1.0.0"))),
    )  # fmt: skip
    stella.take(
        place / "alma",
        "almalinux",
        osv("ALSA-2026:1", package("AlmaLinux:9", "bash", *until("5.1-7.el9")), **HIGH),
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Stella:
    return Stella(once(tmp_path_factory, "selector-store", prepare) / "data")


def chosen(store: Stella, *arguments: str) -> set[str]:
    """What stands in an export of raw data, by the first letters of the ids."""
    run = store.submit("json:raw", *arguments)
    index = store.bundle(run) / "indexes" / "advisories.index.jsonl.zst"
    rows = [json.loads(line) for line in zstd.decompress(index.read_bytes()).splitlines()]
    plan = store("export", "plan", "--profile", "json:raw", *arguments)
    assert plan["records"] == len(rows)
    assert plan["selectors"] == run["selectors"]
    return {row["id"][:6] for row in rows}


EVERYTHING = {"GHSA-a", "GHSA-b", "GHSA-c", "ALSA-2"}


@pytest.mark.parametrize(
    ("pairs", "ids"),
    [
        ("sources=almalinux", {"ALSA-2"}),
        ("sources=almalinux,ghsa", EVERYTHING),
        ("ecosystems=npm", {"GHSA-a", "GHSA-c"}),
        ("ecosystems=AlmaLinux", {"ALSA-2"}),
        ("ecosystems=AlmaLinux:9", {"ALSA-2"}),
        ("packages=pkg:npm/%40scope/left", {"GHSA-a"}),
        ("packages=pkg:pypi/some-thing,pkg:pypi/other", {"GHSA-b", "GHSA-c"}),
        ("products=pkg:npm/other", {"GHSA-c"}),
        ("ids=GHSA-bbbb-bbbb-bbbb", {"GHSA-b"}),
        ("ids=CVE-2026-1001,ALSA-2026:1", {"GHSA-a", "ALSA-2"}),
        ("severityAtLeast=high", EVERYTHING - {"GHSA-b"}),
        ("severityAtLeast=HIGH,severityUnknown=drop", {"GHSA-a", "ALSA-2"}),
        ("severityAtLeast=low,severityUnknown=drop", EVERYTHING - {"GHSA-c"}),
        ("since=2020-01-01T00:00:00Z", EVERYTHING),
        ("until=2999-01-01T00:00:00Z", EVERYTHING),
        ("tlpAtMost=amber+strict", EVERYTHING),
        ("tlpAtMost=TLP:RED", EVERYTHING),
        ("tenants=default", EVERYTHING),
        ("sources=ghsa,ecosystems=PyPI,severityAtLeast=high", {"GHSA-c"}),
    ],
)
def test_a_selector_takes_what_it_says(pairs: str, ids: set[str], store: Stella) -> None:
    assert chosen(store, "--selectors", pairs) == ids


@pytest.mark.parametrize(
    "pairs",
    [
        "since=2999-01-01T00:00:00Z", "until=2020-01-01T00:00:00Z", "sources=nobody", "ecosystems=AlmaLinux:8",
        "ecosystems=alma", "ids=GHSA-none", "packages=pkg:npm/left", "severityAtLeast=critical,sources=nobody",
    ],
)  # fmt: skip
def test_a_selection_of_nothing_is_refused_unless_it_is_meant(pairs: str, store: Stella) -> None:
    error = store.refused(
        2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "json:raw", "--selectors", pairs
    )
    assert "selects nothing" in error
    failed = store("export", "run", "list", "--status", "failed")  # also those of tests beside this one
    assert "empty" in {run["errorCode"] for run in failed}
    run = store.submit("json:raw", "--selectors", pairs, "--allow-empty")
    assert store("export", "verify", str(store.bundle(run)))["verdict"] == "ok"


@pytest.mark.parametrize("profile", ["json:raw", "trivy:db"])
def test_an_empty_export_that_is_meant_verifies(profile: str, store: Stella) -> None:
    run = store.submit(profile, "--selectors", "sources=nobody", "--allow-empty")
    manifest = json.loads((store.bundle(run) / "export.json").read_bytes())
    assert manifest["generatedAt"] == "1970-01-01T00:00:00Z"
    assert manifest["sources"] == []


def test_bounds_of_the_fetch_time_are_inclusive_below_and_exclusive_above(store: Stella) -> None:
    instants = sorted(
        store("concelier", "show", name)[0]["provenance"]["fetchedAt"]
        for name in ("GHSA-aaaa-aaaa-aaaa", "ALSA-2026:1")
    )
    assert chosen(store, "--selectors", f"since={instants[1]}") == {"ALSA-2"}
    assert chosen(store, "--selectors", f"until={instants[1]}") == EVERYTHING - {"ALSA-2"}


def test_nothing_above_clear_leaves_without_being_asked_for(store: Stella, tmp_path: Path) -> None:
    own = Stella(tmp_path / "data")
    own.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa"), osv("GHSA-bbbb-bbbb-bbbb"))
    connection = sqlite3.connect(own.data_dir / "evidence.db")
    # No feed of this release states a marking; the store's column stands for those that will. Its guards stand aside.
    guards = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'revision'"
    )
    with connection:
        for (guard,) in guards.fetchall():
            connection.execute(f"DROP TRIGGER {guard}")
        connection.execute("UPDATE revision SET tlp = 'AMBER' WHERE key = 'GHSA-aaaa-aaaa-aaaa'")
    connection.close()
    assert chosen(own) == {"GHSA-b"}
    assert chosen(own, "--selectors", "tlpAtMost=GREEN") == {"GHSA-b"}
    assert chosen(own, "--selectors", "tlpAtMost=AMBER") == {"GHSA-a", "GHSA-b"}


# ---- what is wrong is told, all at once


def problems(wire: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidSelector) as caught:
        selectors.parse(wire)
    return sorted(caught.value.details)


def test_everything_that_is_wrong_is_listed_at_once(store: Stella) -> None:
    pairs = "colour=red,severityAtLeast=huge,since=yesterday,tlpAtMost=PURPLE,severityUnknown=maybe,sise=3,sources="
    error = store.refused(
        2,
        "ERR_EXPORT_INVALID_SELECTOR",
        "export",
        "run",
        "submit",
        "--profile",
        "json:raw",
        "--selectors",
        pairs,
    )
    for name in ("colour", "severityAtLeast", "since", "tlpAtMost", "severityUnknown", "sise", "sources"):
        assert f"\n  - {name}: " in error


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ({"sources": [1]}, "a list of texts"),
        ({"sources": [""]}, "a list of texts"),
        ({"sources": {"a": "b"}}, "a list of texts"),
        ({"since": 3}, "one text is needed"),
        ({"severityAtLeast": "unknown"}, "none of"),
        ({"severityAtLeast": ["high", "low"]}, "one text is needed"),
        ({"packages": ["left"]}, "no package URL"),
        ({"packages": ["pkg:npm/left@1.0.0"]}, "without version"),
        ({"tlpAtMost": "WHITE"}, "none of"),
    ],
)
def test_a_value_of_the_wrong_form_is_told(wire: dict[str, Any], said: str) -> None:
    (problem,) = problems(wire)
    assert problem.startswith(f"{next(iter(wire))}: ")
    assert said in problem


@pytest.mark.parametrize("pairs", ["severityAtLeast=high,low", "severityAtLeast=high,severityAtLeast=low"])
def test_a_second_value_of_a_selector_that_takes_one_is_no_silent_change(pairs: str) -> None:
    assert problems(selectors.parse_pairs([pairs])) == problems({"severityAtLeast": ["high", "low"]})


def test_a_text_that_begins_without_a_name_is_told() -> None:
    with pytest.raises(InvalidSelector, match="does not begin with a selector's name"):
        selectors.parse_pairs(["pypa,ghsa"])


def test_parts_without_a_name_continue_the_list_before_them() -> None:
    pairs = ["sources=a, b,severityAtLeast=high,packages=pkg:npm/x?y=z,pkg:pypi/q", "sources=c"]
    assert selectors.parse_pairs(pairs) == {
        "sources": ["a", "b", "c"],
        "severityAtLeast": "high",
        "packages": ["pkg:npm/x?y=z", "pkg:pypi/q"],
    }


def test_another_tenants_evidence_cannot_be_selected(store: Stella) -> None:
    words = ("export", "plan", "--profile", "json:raw", "--selectors", "tenants=default,rival")
    assert "rival" in store.refused(2, "ERR_EXPORT_INVALID_SELECTOR", *words)


def test_the_canonical_form_holds_only_what_restricts_and_reads_back() -> None:
    wire = {
        "sources": ["b", "a", "b"], "severityUnknown": "keep", "tlpAtMost": "clear", "ids": "one",
        "since": "2024-01-01T02:00:00+02:00",
    }  # fmt: skip
    read = selectors.parse(wire)
    assert read.canonical() == {"ids": ["one"], "since": "2024-01-01T00:00:00Z", "sources": ["a", "b"]}
    assert selectors.parse(read.canonical()) == read
