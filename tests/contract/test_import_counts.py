"""What imports do is counted in the store, once, whatever way the documents come in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stellaops.adapters.sql.import_counts import DOCUMENTS, OUTCOMES, STATEMENTS, SqlImportCounts
from stellaops.ingest.feeds import Side
from stellaops.ingest.model import ImportReport, owned_source
from stellaops.ingest.ports import Member
from tests.contract.stores import Files, Store, folder_of, osv


class Cut(Files):
    """Inputs that end after a batch, as if the user had pressed Ctrl-C."""

    _looks = 1  # a first import looks through the inputs once, to tell their form and database

    def members(self, skip: int = 0) -> Iterator[Member]:
        self._looks -= 1
        for number, member in enumerate(super().members(skip)):
            if self._looks < 0 and number == 1200:
                raise KeyboardInterrupt
            yield member


def counted(store: Store, name: str, source: str = "demo") -> dict[str, int]:
    found = SqlImportCounts(store.engine).counted()
    return {outcome: found[name, source, outcome] for outcome in OUTCOMES if (name, source, outcome) in found}


def told(*reports: ImportReport) -> dict[str, int]:
    return {outcome: sum(getattr(report, outcome) for report in reports) for outcome in OUTCOMES}


def openvex(name: str, *vulnerabilities: str, version: int = 1) -> dict[str, Any]:
    """A small document of OpenVEX with a statement for each vulnerability."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": f"https://example.org/vex/{name}",
        "author": "Example",
        "timestamp": f"2026-01-0{version}T00:00:00Z",
        "version": version,
        "statements": [
            {
                "vulnerability": {"name": each},
                "products": [{"@id": "pkg:pypi/demo@1.0"}],
                "status": "not_affected",
                "justification": "component_not_present",
            }
            for each in vulnerabilities
        ],
    }


def test_documents_of_advisories_are_counted_as_reports_tell(store: Store) -> None:
    one, two, three = (osv(f"GHSA-{letter * 4}-bbbb-cccc") for letter in "abc")
    first = store.take(folder_of([one, two, three]) | {"broken.json": b'{"id": "GHSA-broken"'})
    assert counted(store, DOCUMENTS) == told(first)
    assert first.quarantined == 1
    later = osv(one["id"], summary="Other", withdrawn="2024-06-01T00:00:00Z")
    second = store.take(folder_of([later, two]), prune=True)
    assert (second.changed, second.withdrawn, second.unchanged, second.vanished) == (1, 1, 1, 1)
    third = store.take(folder_of([later, two]))
    assert counted(store, DOCUMENTS) == told(first, second, third)
    assert counted(store, STATEMENTS) == {}


def test_content_that_is_the_same_in_other_bytes_is_counted_as_unchanged(store: Store) -> None:
    document = osv()
    store.take({"a.json": document})
    for spaced in (b"\n\n", b"\n", b""):
        store.take({"a.json": spaced + json.dumps(document, indent=1).encode()})
    found = counted(store, DOCUMENTS)
    assert (found["added"], found["changed"], found["unchanged"]) == (1, 0, 3)


def test_an_import_that_is_interrupted_and_goes_on_is_counted_once(store: Store) -> None:
    files = folder_of([osv(f"GHSA-{number:04d}-bbbb-cccc") for number in range(1500)])
    with pytest.raises(KeyboardInterrupt):
        store.take(Cut(files))
    assert counted(store, DOCUMENTS) == dict.fromkeys(OUTCOMES, 0)
    report = store.take(Files(files))
    assert report.resumed
    assert counted(store, DOCUMENTS) == told(report)


def test_of_vex_the_statements_are_counted(store: Store) -> None:
    files: dict[str, object] = {
        "one.json": openvex("one", "CVE-2024-1", "CVE-2024-2", "CVE-2024-3"),
        "two.json": openvex("two", "CVE-2024-1"),
    }
    store.take(files, source="vex", side=Side.VEX)
    assert counted(store, STATEMENTS, "vex") == dict.fromkeys(OUTCOMES, 0) | {"added": 4}
    changed = files | {"two.json": openvex("two", "CVE-2024-1", "CVE-2024-2", version=2)}
    store.take(changed, source="vex", side=Side.VEX)
    expected = dict.fromkeys(OUTCOMES, 0) | {"added": 4, "changed": 2, "unchanged": 3}
    assert counted(store, STATEMENTS, "vex") == expected
    store.take({"two.json": changed["two.json"]}, source="vex", side=Side.VEX, prune=True)
    assert counted(store, STATEMENTS, "vex") == expected | {"unchanged": 5, "vanished": 3}
    assert counted(store, DOCUMENTS, "vex") == {}


def test_what_a_tenant_brings_in_itself_is_no_source_of_either_side(store: Store) -> None:
    sbom = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "app", "version": "1"}},
        "components": [{"type": "library", "name": "demo", "version": "1", "purl": "pkg:pypi/demo@1"}],
    }  # fmt: skip
    report = store.take({"app.cdx.json": sbom}, source=owned_source("sboms", "acme"), side=Side.SBOMS)
    assert report.added == 1
    assert SqlImportCounts(store.engine).counted() == {}
