"""Imports from a file of sources, the explanation of aliases, and the doctor, on the command line."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

from stellaops.signing import ecdsa_p256
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two folders of documents, and a file beside them that names both."""
    for name, identifier in (("one", "GHSA-1"), ("two", "PYSEC-1")):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        document = osv(identifier, package("PyPI", "jinja2", *until("3.1.3")), aliases=["CVE-2024-22195"])
        (folder / f"{identifier}.json").write_text(json.dumps(document))
    file = tmp_path / "in" / "sources.yaml"
    file.write_text("sources:\n- {source: ghsa, paths: [one]}\n- {source: pypa, paths: [two], prune: true}\n")
    return file


def test_one_command_imports_all_that_a_file_lists(stella: Stella, listed: Path) -> None:
    reports = stella("concelier", "import", "--sources", str(listed))
    assert [(one["source"], one["database"], one["added"]) for one in reports] == [
        ("ghsa", "ghsa", 1), ("pypa", "pypa", 1),
    ]  # fmt: skip
    again = stella("concelier", "import", "--sources", str(listed))
    assert [(one["added"], one["unchanged"]) for one in again] == [(0, 1), (0, 1)]


def test_a_source_that_fails_stops_no_other_and_decides_the_exit_code(stella: Stella, listed: Path) -> None:
    text = listed.read_text().replace("[one]", "[nowhere]")
    listed.write_text(text)
    answer = stella.ask("concelier", "import", "--sources", str(listed), "--format", "json")
    assert answer.code == 4
    assert "nowhere" in answer.err
    assert [one.get("error", {}).get("code") for one in answer.value][1:] == [None]
    assert answer.value[0]["error"]["hint"]
    assert [one["source"] for one in stella("concelier", "status")["sources"]] == ["pypa"]


def test_a_key_that_the_file_names_must_be_there(stella: Stella, listed: Path) -> None:
    listed.write_text(listed.read_text().replace("[one]", "[one], openpgpKeys: [publisher.asc]"))
    answer = stella.ask("concelier", "import", "--sources", str(listed), "--format", "json")
    assert (answer.code, "publisher.asc" in answer.err) == (4, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sources: []", "the list of sources is empty"),
        ("- x", "Expected `object`"),
        ("sources: [{source: a}]", "paths"),
        ("sources: [{source: a, paths: [x], fedd: osv}]", "fedd"),
        ("sources: [{source: a b, paths: [x]}]", "cannot be a source's name"),
        ("sources: [{source: a, paths: [x]}, {source: a, paths: [y]}]", "stands there twice"),
        ("sources: [{source: a, paths: []}]", "has no paths"),
        ("sources: [", "not-yaml"),
    ],
)
def test_a_file_of_sources_that_is_wrong_is_refused_before_anything_is_imported(
    stella: Stella, tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(content)
    said = stella.refused(2, "ERR_IMPORT_SOURCES_FILE", "concelier", "import", "--sources", str(file))
    assert told in said


@pytest.mark.parametrize("more", [(), ("x",), ("--source", "a"), ("--sources", "FILE", "--source", "a")])
def test_paths_and_a_name_or_a_file_of_sources_are_needed(
    stella: Stella, listed: Path, more: tuple[str, ...]
) -> None:
    arguments = [str(listed) if word == "FILE" else word for word in more]
    stella.refused(2, "ERR_USAGE", "concelier", "import", *arguments)


def test_a_folder_in_no_known_form_is_refused(stella: Stella, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "letter.json").write_text('{"dear": "reader"}')
    said = stella.refused(
        2, "ERR_IMPORT_UNKNOWN_FORM", "concelier", "import", str(folder), "--source", "papers"
    )
    assert "papers" in said


def test_documents_of_another_side_are_told_with_the_command_that_takes_them(
    stella: Stella, tmp_path: Path
) -> None:
    advisory, vex, sbom = (tmp_path / name for name in ("ghsa.json", "vex.json", "image.cdx.json"))
    advisory.write_text(json.dumps(osv("GHSA-1", package("PyPI", "jinja2", *until("3.1.3")))))
    vex.write_text(
        json.dumps({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex-1", "version": 1,
                    "author": "A", "timestamp": "2026-01-02T03:04:05Z", "statements": []})
    )  # fmt: skip
    sbom.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}))
    for side, file, command in (
        ("excititor", advisory, "`stella concelier import`"),
        ("concelier", vex, "`stella excititor import`"),
        ("concelier", sbom, "`stella evidence sbom import`"),
    ):
        said = stella.refused(2, "ERR_IMPORT_UNKNOWN_FORM", side, "import", str(file), "--source", "x")
        assert command in said.partition("\n→ ")[2], said


def test_an_input_that_cannot_be_read_is_told_with_its_reason(stella: Stella, tmp_path: Path) -> None:
    file = tmp_path / "feed.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("GHSA-1.json", json.dumps(osv("GHSA-1")))
    said = stella.refused(2, "ERR_IMPORT_UNKNOWN_FORM", "excititor", "import", str(file), "--source", "x")
    assert "GHSA-1.json cannot be read: " in said
    assert "`stella excititor import --help`" in said


def test_a_wrong_command_line_points_to_the_help_of_its_command(stella: Stella) -> None:
    said = stella.refused(2, "ERR_USAGE", "concelier", "import", "one.jsonl")
    assert said.endswith("→ See `stella concelier import --help`.\n")


def test_show_why_names_who_says_that_ids_are_one(stella: Stella, listed: Path) -> None:
    stella("concelier", "import", "--sources", str(listed))
    told = stella("concelier", "show", "GHSA-1", "--why")
    assert told["names"] == ["CVE-2024-22195", "GHSA-1", "PYSEC-1"]
    assert {(one["source"], one["followed"]) for one in told["statements"]} == {
        ("ghsa", True),
        ("pypa", True),
    }
    stella.refused(4, "ERR_CONCELIER_NOT_FOUND", "concelier", "show", "CVE-1999-0001", "--why")
    table = stella.ask("concelier", "show", "GHSA-1", "--why", "--format", "table")
    assert "rule 1: the only CVE that the document names" in table.out


def test_the_doctor_is_content_with_a_sound_store_and_fails_on_a_damaged_one(
    stella: Stella, listed: Path
) -> None:
    stella("concelier", "import", "--sources", str(listed))
    assert {one["verdict"] for one in stella("doctor", "--all")} == {"ok"}
    with sqlite3.connect(stella.data_dir / "evidence.db") as store:
        store.execute("DROP TRIGGER document_is_immutable")
        store.execute("UPDATE document SET body = x'7b7d' WHERE id = 1")
    answer = stella.ask("doctor", "--format", "json")
    assert answer.code == 6
    assert answer.err.startswith("error ERR_DOCTOR_FAILED")
    (failed,) = (one for one in answer.value if one["verdict"] == "failed")
    assert (failed["name"], "ghsa GHSA-1: the document" in failed["detail"]) == ("digests", True)


def test_databases_that_a_mirror_has_come_to_offer_are_told_by_the_list_and_the_doctor(
    stella: Stella,
) -> None:
    key = ecdsa_p256.generate().public_key_pem().decode()
    common = ("--layout", "mirror", "--url", "https://mirror.example.org", "--option", "domain=primary",
              "--option", f"publicKey={key}")  # fmt: skip
    stella("concelier", "sources", "add", "up-ghsa", "--database", "ghsa", *common)
    with sqlite3.connect(stella.data_dir / "evidence.db") as store:
        store.executemany("INSERT INTO source_database VALUES ('up-ghsa', ?)", [("ghsa",), ("wolfi",)])
    answer = stella.ask("--format", "table", "concelier", "sources", "list", "--enabled")
    assert "domain primary of https://mirror.example.org has documents of wolfi" in answer.err
    assert stella("concelier", "sources", "show", "up-ghsa")["untaken"] == ["wolfi"]
    (found,) = [each for each in json.loads(stella.ask("doctor", "--format", "json").out)
                if each["name"] == "mirrors pulled"]  # fmt: skip
    assert (found["verdict"], "--database wolfi" in found["hint"]) == ("warning", True)
    stella("concelier", "sources", "add", "up-wolfi", "--database", "wolfi", *common)
    assert not any(each["untaken"] for each in stella("concelier", "sources", "list"))
