"""The state of a store hangs on what was imported, not on the order or the portions in which it came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.stores import Store, osv, sqlite_store

KEYS = [f"GHSA-{letter * 4}" for letter in "abcdefg"]
INSTANTS = [
    None,
    "2024-01-01T00:00:00Z",
    "2024-01-01T01:00:00+01:00",
    "2024-06-01T00:00:00.5Z",
    "2099-01-01T00:00:00Z",
]

contents = st.builds(
    lambda key, instant, text, withdrawn: osv(
        key,
        modified=instant,
        published=None,
        summary=text,
        withdrawn="2024-02-02T00:00:00Z" if withdrawn else None,
    ),
    st.sampled_from(KEYS),
    st.sampled_from(INSTANTS),
    st.sampled_from(["one", "two", "three", "é"]),
    st.booleans(),
)


def spelled(document: dict[str, Any], form: int) -> bytes:
    """A document as JSON or YAML bytes, in one of several forms."""
    if form == 1:
        return json.dumps(document, indent=2, ensure_ascii=False).encode()
    if form == 2:
        return json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode() + b"\n"
    return json.dumps(document).encode()


files = st.lists(st.tuples(contents, st.integers(0, 2)), min_size=1, max_size=12)


def new_store(factory: pytest.TempPathFactory) -> Store:
    return sqlite_store(factory.mktemp("store"))


def state(store: Store) -> tuple[str, list[bytes], list[bytes]]:
    index = [line.text for line in store.evidence.index_lines(store.selection())]
    return store.digest(), store.lines(), index


@given(files, st.randoms(use_true_random=False))
@settings(max_examples=12)
def test_any_order_of_the_files_leaves_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[dict[str, Any], int]], random: Any
) -> None:
    members = [
        (f"{number}.json", spelled(document, form)) for number, (document, form) in enumerate(documents)
    ]
    straight, shuffled = new_store(tmp_path_factory), new_store(tmp_path_factory)
    first = straight.take(dict(members))
    random.shuffle(members)
    second = shuffled.take(dict(members))
    assert state(straight) == state(shuffled)
    assert (first.added, first.equal_keys) == (second.added, second.equal_keys)
    again = shuffled.take(dict(members))
    assert (again.added, again.changed, again.sequence) == (0, 0, second.sequence)


@given(files, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=12)
def test_any_portions_of_the_keys_in_any_order_leave_the_same_state(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[tuple[dict[str, Any], int]],
    random: Any,
    portions: int,
) -> None:
    whole, split = new_store(tmp_path_factory), new_store(tmp_path_factory)
    whole.take(
        {f"{number}.json": spelled(document, form) for number, (document, form) in enumerate(documents)}
    )
    parts: list[dict[str, bytes]] = [{} for _ in range(portions)]
    for number, (document, form) in enumerate(documents):
        parts[KEYS.index(document["id"]) % portions][f"{number}.json"] = spelled(document, form)
    random.shuffle(parts)
    for part in filter(None, parts):
        split.take(part, database="ghsa")
    assert state(split) == state(whole)


@given(
    st.lists(contents, min_size=1, max_size=5),
    st.lists(st.integers(0, 2), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=12)
def test_forms_of_the_same_contents_leave_the_same_state_however_they_come(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[dict[str, Any]],
    forms: list[int],
    together: bool,
) -> None:
    unique = list({document["id"]: document for document in documents}.values())
    here, there = new_store(tmp_path_factory), new_store(tmp_path_factory)
    for form in forms:
        here.take({f"{d['id']}.json": spelled(d, form) for d in unique})
    if together:
        there.take({f"{d['id']}.{form}.json": spelled(d, form) for form in set(forms) for d in unique})
    else:
        for form in sorted(set(forms), reverse=True):
            there.take({f"{d['id']}.json": spelled(d, form) for d in unique})
    assert state(here) == state(there)


@given(st.lists(files, min_size=1, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_sources_may_be_imported_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, portions: list[list[tuple[dict[str, Any], int]]], random: Any
) -> None:
    sources = [
        (f"s{place}", {f"{n}.json": spelled(document, form) for n, (document, form) in enumerate(portion)})
        for place, portion in enumerate(portions)
    ]
    straight, shuffled = new_store(tmp_path_factory), new_store(tmp_path_factory)
    for name, part in sources:
        straight.take(part, name)
    random.shuffle(sources)
    for name, part in sources:
        shuffled.take(part, name)
    assert state(straight) == state(shuffled)


def test_a_store_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    document = {"x.json": osv("GHSA-x")}
    stores = [sqlite_store(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        store.take(document)
    assert state(stores[0]) == state(stores[1])
