"""The aggregation-only contract over time: no sequence of imports changes what was stored, or loses a revision."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from stellaops.adapters.sql.schema import OPEN
from tests.contract.stores import Store, as_bytes, osv, sqlite_store

KEYS = [f"GHSA-{letter * 4}" for letter in "abcde"]

# What one file holds in one import: absent, broken, or a version of the document in a form.
fates = st.one_of(
    st.just(None), st.just("broken"), st.tuples(st.integers(0, 2), st.sampled_from([None, 1]), st.booleans())
)
imports = st.tuples(st.lists(fates, min_size=len(KEYS), max_size=len(KEYS)), st.booleans())

Revisions = dict[int, tuple[tuple[Any, ...], int]]


def revisions(store: Store) -> Revisions:
    """Every revision that was ever stored with its exact bytes; and where its interval ends."""
    query = text(
        "SELECT revision.id, revision.*, document.verbatim, document.body, document.raw_start, document.raw_length,"
        " raw_block.data, container.url, container.digest, container.size, container.fetched_at FROM revision"
        " JOIN document ON document.id = revision.id LEFT JOIN raw_block ON raw_block.id = document.raw_block"
        " JOIN container ON container.id = revision.container"
    )
    with store.engine.connect() as connection:
        rows = connection.execute(query).all()
    ends = 1 + list(rows[0]._fields[1:]).index("seq_to") if rows else 0
    return {row[0]: ((*row[:ends], *row[ends + 1 :]), row[ends]) for row in rows}


def files(portion: list[Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, fate in zip(KEYS, portion, strict=True):
        if fate == "broken":
            found[f"{key}.json"] = f'{{"id": "{key}", '
        elif fate is not None:
            version, indent, withdrawn = fate
            document = osv(
                key, summary=f"Version {version}", withdrawn="2024-02-02T00:00:00Z" if withdrawn else None
            )
            found[f"{key}.json"] = json.dumps(document, indent=indent)
    return found


@given(st.lists(imports, min_size=1, max_size=6))
@settings(max_examples=15)
def test_no_sequence_of_imports_changes_or_loses_what_was_stored(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[Any], bool]]
) -> None:
    store = sqlite_store(tmp_path_factory.mktemp("store"))
    store.take({"first.json": osv("GHSA-first")})
    expected: dict[str, dict[str, Any]] = {"GHSA-first": osv("GHSA-first")}
    raws: dict[str, bytes] = {}
    before, states = revisions(store), {store.sequence: store.lines()}
    for portion, prune in history:
        given_files = files(portion) | {"first.json": osv("GHSA-first")}
        report = store.take(given_files, prune=prune)
        for key, fate in zip(KEYS, portion, strict=True):
            if fate is None and prune:
                expected.pop(key, None)
            elif fate is not None and fate != "broken":
                expected[key] = json.loads(as_bytes(given_files[f"{key}.json"]))
                raws[key] = as_bytes(given_files[f"{key}.json"])
        after = revisions(store)
        _check_kept(before, after, report.sequence)
        assert {line.key: _document(line.text) for line in _raw_lines(store)} == expected
        states[report.sequence] = store.lines() if report.sequence not in states else states[report.sequence]
        for sequence, lines in states.items():
            assert store.lines(sequence) == lines
        before = after
    for key in raws:
        if key in expected:
            raw = store.records.raw("demo", key)
            assert raw is not None
            assert json.loads(raw) == expected[key]


def _check_kept(before: Revisions, after: Revisions, sequence: int) -> None:
    for number, (row, end) in before.items():
        assert after[number][0] == row
        assert after[number][1] == end or (end == OPEN and after[number][1] <= sequence)
    # Gapless: each sequence opens or closes exactly one revision of a key, or does both in one step.
    begins = {row[0][row_index(row[0])] for row in after.values()}
    assert begins <= set(range(1, sequence + 1))
    ends = {end for _, end in after.values() if end != OPEN}
    assert begins | ends == set(range(1, sequence + 1))


def row_index(row: tuple[Any, ...]) -> int:
    """Where `seq_from` stands: behind the place in the file, in the order of the table."""
    return 15


def _raw_lines(store: Store) -> Any:
    return store.evidence.raw_lines(store.selection())


def _document(line: bytes) -> Any:
    return json.loads(line)["document"]
