"""Texts keep every character and the order of their bytes, on each database."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.types import from_postgres, to_postgres
from stellaops.exports.ports import Selection
from stellaops.exports.selectors import Selectors
from tests.contract.stores import Store, folder_of, osv

# Where collations of languages, or texts without U+0000, go wrong.
KEYS = [
    "A-1",
    "B-1",
    "a-1",
    "b-1",
    "a-10",
    "a-2",
    "a_1",
    "Ä-1",
    "ä-1",
    "z-1",
    "é-1",
    "𝄞-1",
    "\ufffd-1",
    "a.1",
    "A_1",
]

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\x01\x02"))


@given(_TEXTS, _TEXTS)
def test_the_form_for_postgres_is_reversible_keeps_the_order_and_has_no_null(one: str, other: str) -> None:
    assert from_postgres(to_postgres(one)) == one
    assert "\x00" not in to_postgres(one)
    assert (one.encode() < other.encode()) == (to_postgres(one).encode() < to_postgres(other).encode())


def test_keys_come_in_the_order_of_their_bytes(store: Store) -> None:
    store.take(folder_of([osv(key, aliases=[]) for key in KEYS]))
    assert store.keys() == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("odd", ["a\x00b", "a\x01b", "\x00", "\x01\x02"])
def test_odd_characters_are_kept_in_every_text(store: Store, odd: str) -> None:
    span = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}
    affected = [{"package": {"ecosystem": "npm", "name": f"x{odd}y"}, "ranges": [span]}]
    store.take({"a.json": osv(affected=affected, aliases=[f"CVE-2024-1{odd}", "CVE-2024-10001"])})
    store.take({f"b{odd}.json": "{", "c.json": osv("GHSA-cccc-cccc-cccc")}, "other")
    assert next(package for _, package, *_ in store.evidence.advisories(store.selection())) == f"x{odd}y"
    assert store.reasons("other") == [(f"b{odd}.json", "not-json")]
    assert [record.key for record in store.records.find("CVE-2024-10001", "default")] == [
        "GHSA-aaaa-bbbb-cccc",
        "GHSA-cccc-cccc-cccc",
    ]
    chosen = Selection("default", store.sequence, Selectors(ids=("CVE-2024-10001",)))
    assert store.evidence.snapshot(chosen).records == 2


def test_selectors_find_ecosystems_with_and_without_release_packages_and_aliases(store: Store) -> None:
    def affects(ecosystem: str, name: str) -> list[dict[str, object]]:
        span = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}
        return [
            {
                "package": {"ecosystem": ecosystem, "name": name, "purl": f"pkg:deb/debian/{name}"},
                "ranges": [span],
            }
        ]

    store.take(
        folder_of(
            [
                osv("X-1", affected=affects("Debian:11", "curl"), aliases=["CVE-2024-0001"]),
                osv("X-2", affected=affects("Debian:12", 'quo"ted'), aliases=["CVE-2024-0002"]),
                osv("X-3", affected=affects("DebianOdd", "wget"), aliases=[]),
            ]
        )
    )

    def found(**selectors: object) -> list[str]:
        selection = Selection("default", store.sequence, Selectors(**selectors))  # type: ignore[arg-type]
        return [line.key for line in store.evidence.raw_lines(selection)]

    assert found(ecosystems=("Debian",)) == ["X-1", "X-2"]
    assert found(ecosystems=("Debian:11",)) == ["X-1"]
    assert found(ecosystems=("Deb",)) == []
    assert found(ids=("CVE-2024-0002", "X-3")) == ["X-2", "X-3"]
    (package,) = [p for p in _packages(store) if "curl" in p]
    assert found(packages=(package,)) == ["X-1"]


def _packages(store: Store) -> list[str]:
    import json  # noqa: PLC0415

    with reading(store.engine) as connection:
        rows = connection.execute(select(schema.index_row.c.value)).scalars()
        return [package for row in rows for package in json.loads(row)["packages"]]


def _random(size: int) -> str:
    """Text that does not compress, as an index would try."""
    return "".join(random.Random(size).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))


@pytest.mark.parametrize("size", [1024, 1025, 9000])
def test_a_package_name_of_any_length_can_be_stored_or_is_reported(store: Store, size: int) -> None:
    affected = [{"package": {"ecosystem": "npm", "name": _random(size)}, "versions": ["1.0.0"]}]
    assert store.take({"a.json": osv("X" + _random(255), affected=affected, aliases=[])}).added == 1
    rows = list(store.evidence.advisories(store.selection()))
    problems = list(store.evidence.problems(store.selection()))
    assert (len(rows), len(problems)) == ((1, 0) if size <= 1024 else (0, 1))


def test_a_key_that_no_index_holds_puts_its_record_in_quarantine(store: Store) -> None:
    folders = "/".join(_random(200) for _ in range(11))
    report = store.take({f"{folders}/a.json": osv(), "b.json": osv("GHSA-bbbb-bbbb-bbbb")}, database="dhi")
    assert (report.added, report.quarantined) == (1, 1)
    assert [reason for _, reason in store.reasons()] == ["key-too-long"]


def test_a_text_as_long_as_a_path_can_be_is_kept(store: Store) -> None:
    path = "d/" * 1900 + "x.json"
    store.take({path: "{", "a.json": osv()})
    assert store.reasons() == [(path, "not-json")]
    with writing(store.engine) as connection:
        assert connection.execute(select(schema.quarantine.c.path)).scalar_one() == path
