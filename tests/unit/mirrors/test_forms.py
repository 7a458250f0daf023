"""The signed list of a tree: what is written is read, and nothing that leads out of the domain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.forms import PLACEHOLDER, TREE_SCHEMA, Entry, bundle_head, parse_tree, tree_lines

ID = "a" * 26
ENTRY = {"path": "mirror/primary/bundle.json", "sha256": "0" * 64, "bytes": 5}


def tree(**more: Any) -> bytes:
    wire = {
        "schema": TREE_SCHEMA,
        "side": "concelier",
        "domain": "primary",
        "exportId": ID,
        "files": [ENTRY],
        **more,
    }
    return json.dumps(wire).encode()


def test_a_list_that_is_written_is_read() -> None:
    entries = [Entry(f"osv/primary/npm/A-{number}.json", "0" * 64, number) for number in range(3)]
    listed = parse_tree(b"".join(tree_lines("concelier", "primary", ID, entries)))
    assert listed.files == tuple(entries)
    assert (listed.side, listed.domain, listed.export_id) == ("concelier", "primary", ID)
    assert parse_tree(b"".join(tree_lines("excititor", "primary", ID, []))).files == ()


@pytest.mark.parametrize(
    "path",
    [
        "mirror/other/bundle.json",
        "mirror/primary/../other/bundle.json",
        "mirror/primary//bundle.json",
        "mirror/primary/./bundle.json",
        "mirror/primary/",
        "/etc/passwd",
        "mirror/primary/a\\..\\b",
        "mirror/primary/a\nb",
        "mirror/primaryother/x",
        "vex/primary/x",
        "",
    ],
)
def test_a_path_outside_the_domain_is_refused(path: str) -> None:
    with pytest.raises(BadTree, match="has the entry"):
        parse_tree(tree(files=[{**ENTRY, "path": path}]))


@pytest.mark.parametrize(
    "more",
    [
        {"schema": "https://example.org/v2"},
        {"side": "other"},
        {"exportId": "../x"},
        {"files": [{**ENTRY, "sha256": "0" * 63}]},
        {"files": [{**ENTRY, "bytes": -1}]},
        {"files": [ENTRY, ENTRY]},
        {"files": [{**ENTRY, "mode": 7}]},
        {"more": 1},
    ],
)
def test_another_form_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadTree):
        parse_tree(tree(**more))


def test_bytes_that_are_no_json_are_refused() -> None:
    for data in (b"", b"{", b"\xff\xfe", b"[]"):
        with pytest.raises(BadTree):
            parse_tree(data)


def test_the_head_of_a_bundle_has_one_length() -> None:
    assert len(bundle_head(ID)) == len(bundle_head(PLACEHOLDER))
