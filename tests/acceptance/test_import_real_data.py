"""Real OSV sources: every one imports with one command, and its counts are those of its files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.importing import imported, state, stella
from tests.contract.stores import sqlite_store
from tests.support.shared import require_shared

# The number of documents as the data's README has it, and of those whose id another document of the source repeats.
SOURCES = {
    "haskell-osv": ("haskell", 35, 0),
    "rconsortium-osv": ("rconsortium", 14, 0),
    "k8s-osv": ("k8s", 44, 0),
    "ghsa-sample": ("ghsa", 13, 0),
    "rustsec-osv": ("rustsec", 714, 0),
    "dhi-osv": ("dhi", 693, 0),
    "julia-osv": ("julia", 1703, 0),
    "govuln-osv": ("govuln", 4291, 0),
    "bitnami-osv": ("bitnami", 7444, 0),
    "almalinux-osv": ("almalinux", 5680, 43),
    "ossfuzz-osv": ("ossfuzz", 4026, 0),
    "cleanstart-osv": ("cleanstart", 4109, 0),
    "pypa-osv": ("pypa", 7080, 0),
    "pypa-osv-2024-10": ("pypa", 2661, 0),
}
QUICK = ("haskell-osv", "k8s-osv", "ghsa-sample")
_ID = re.compile(r'^\s*"?id"?: *["\']?([^"\'\n,]+)["\']?,?\s*$', re.MULTILINE)
_DOCUMENT = re.compile(r"\.(json|ya?ml)$")


def archive(name: str) -> Path:
    return require_shared(f"data/advisories/{name}/all.zip")


def repeated_ids(path: Path) -> int:
    """How many documents have the id of another one, told without our reader."""
    ids = []
    with zipfile.ZipFile(path) as files:
        for name in files.namelist():
            if _DOCUMENT.search(name):
                text = files.read(name).decode()
                found = json.loads(text)["id"] if name.endswith("json") else _ID.findall(text)[0].strip()
                ids.append(found)
    return len(ids) - len(set(ids))


def check(name: str, data: Path) -> None:
    database, documents, equal = SOURCES[name]
    first = imported(data, archive(name), "--source", name)
    expected = {"database": database, "read": documents, "added": documents - equal, "equalKeys": equal}
    assert {field: first[field] for field in expected} == expected
    assert (first["quarantined"], first["changed"], first["unchanged"]) == (0, 0, 0)
    assert first["sequence"] == first["added"]
    again = imported(data, archive(name), "--source", name)
    assert again == first | {"added": 0, "unchanged": documents - equal}
    assert stella(data, "concelier", "status").value["sources"][0]["documents"] == documents - equal


@pytest.mark.parametrize("name", QUICK)
def test_a_small_source_imports_with_its_counts_and_again_without_change(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SOURCES.keys() - set(QUICK)))
def test_a_source_imports_with_its_counts_and_again_without_change(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
def test_what_the_counts_leave_open_is_explained_by_equal_ids() -> None:
    for name, (database, _, equal) in SOURCES.items():
        if database not in {"dhi", "ossfuzz"}:  # keyed by path too
            assert repeated_ids(archive(name)) == equal, name
    assert (repeated_ids(archive("dhi-osv")), repeated_ids(archive("ossfuzz-osv"))) > (0, 0)


@pytest.mark.slow
def test_an_update_of_a_real_source_reports_what_changed(tmp_path: Path) -> None:
    old = imported(tmp_path, archive("pypa-osv-2024-10"), "--source", "pypa")
    assert (old["read"], old["added"]) == (2661, 2661)
    new = imported(tmp_path, archive("pypa-osv"), "--source", "pypa", "--prune")
    names = ("read", "added", "changed", "unchanged", "withdrawn", "vanished", "quarantined")
    assert [new[name] for name in names] == [7080, 4419, 762, 1899, 9, 0, 0]
    assert new["sequence"] == 2661 + 4419 + 762


def test_a_folder_and_an_archive_of_it_are_the_same_state(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive("dhi-osv")) as files:
        files.extractall(tmp_path / "in")
    shutil.make_archive(str(tmp_path / "all"), "xztar", tmp_path / "in")
    states = []
    for number, source in enumerate((archive("dhi-osv"), tmp_path / "in", tmp_path / "all.tar.xz")):
        imported(tmp_path / f"data{number}", source, "--source", "dhi")
        states.append(state(tmp_path / f"data{number}"))
    assert states[0] == states[1] == states[2]
    assert len(states[0][2]) == 693


def test_real_documents_come_back_byte_for_byte(tmp_path: Path) -> None:
    imported(tmp_path, archive("rconsortium-osv"), "--source", "r")
    with zipfile.ZipFile(archive("rconsortium-osv")) as files:
        raws = {name: files.read(name) for name in files.namelist() if _DOCUMENT.search(name)}
    store = sqlite_store(tmp_path)
    for raw in raws.values():
        assert store.records.raw("r", _ID.findall(raw.decode())[0].strip()) == raw
    assert len(raws) == 14


@pytest.mark.slow
def test_all_sources_leave_one_state_whatever_the_order_and_the_hash_seed(tmp_path: Path) -> None:
    names = sorted(SOURCES.keys() - {"pypa-osv-2024-10"})
    for name in names:
        imported(tmp_path / "there", archive(name), "--source", name)
    script = "import sys; from stellaops.cli.start import main; main(sys.argv[1:])"
    for name in reversed(names):
        arguments = [
            "--data-dir",
            str(tmp_path / "back"),
            "concelier",
            "import",
            str(archive(name)),
            "--source",
            name,
        ]
        subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "HOME": "/nonexistent"},
            check=True,
            capture_output=True,
        )
    there, back = state(tmp_path / "there"), state(tmp_path / "back")
    assert there == back
    assert there[1] == sum(
        documents - equal for name, (_, documents, equal) in SOURCES.items() if name in names
    )


# What the feeds in forms of their own hold: records read, and added where that differs.
OTHERS = {
    "alpine-secdb": (1652, 1652), "cisa-csaf": (2383, 2383), "cpansec": (722, 722), "debian-dsa": (9120, 9120),
    "elixir-yaml": (108, 108), "friendsofphp": (1592, 1592), "kev": (4001, 1405), "mozilla-mfsa": (1578, 1578),
    "nodejs-wg": (638, 638), "retirejs": (1027, 1027), "rubysec": (1381, 1381), "vulnrichment-subset": (5224, 5224),
}  # fmt: skip


@pytest.mark.slow
def test_one_command_imports_every_source_and_again_changes_nothing(tmp_path: Path) -> None:
    folder = require_shared("data/advisories")
    expected = {name: (read, read - equal) for name, (_, read, equal) in SOURCES.items()} | OTHERS
    listed = tmp_path / "sources.yaml"
    entries = [{"source": name, "paths": [str(folder / name)]} for name in sorted(expected)]
    listed.write_text(json.dumps({"sources": entries}))
    data = tmp_path / "data"
    first = stella(data, "concelier", "import", "--sources", listed).value
    assert {one["source"]: (one["read"], one["added"]) for one in first} == expected
    assert {one["quarantined"] for one in first} == {0}
    (kev,) = (one for one in first if one["source"] == "kev")
    assert (kev["changed"], kev["vanished"]) == (50, 1)
    again = stella(data, "concelier", "import", "--sources", listed).value
    assert {(one["added"], one["changed"], one["vanished"]) for one in again} == {(0, 0, 0)}
    assert {one["sequence"] for one in again} == {first[-1]["sequence"]}
    assert stella(data, "doctor", "--all").code == 0
