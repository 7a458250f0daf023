"""Documents of the consensus against the rules of their formats."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import openvex_rules
from tests.unit.cli.running import Stella
from tests.unit.exports.test_vex_exports import (
    ADVISORY,
    APP,
    DOCUMENTS,
    LEFT,
    NOT_IN_PATH,
    openvex,
    statement,
    take,
    written,
)

CPE22, CPE23 = "cpe:/o:acme:os:8", "cpe:2.3:a:acme:tool:1.0:*:*:*:*:*:*:*"


@pytest.fixture(scope="module")
def stella(tmp_path_factory: pytest.TempPathFactory) -> Stella:
    """A store with statements of every status, with every reason and none, about every kind of product."""
    root = tmp_path_factory.mktemp("schemas")
    made = Stella(root / "data")
    more = openvex(
        "Zed",
        statement("not_affected", "pkg:npm/silent", parts=[]),
        statement("not_affected", "pkg:npm/told", parts=[], impact_statement="not built in"),
        statement("not_affected", "pkg:npm/known", parts=[], justification="component_not_present"),
        statement("not_affected", "pkg:npm/both", parts=[], **NOT_IN_PATH, status_notes="looked twice"),
        statement("affected", "pkg:npm/helpless", parts=[]),
        statement("fixed", CPE22, parts=[]),
        statement("fixed", CPE23, parts=[]),
        statement("under_investigation", "a plain name, with <odd> signs", parts=[]),
        statement("fixed", "pkg:oci/app?repository_url=example.org%2Fapp", parts=[LEFT], name="GO-2026-1"),
    )
    take(made, root / "vex", "hub", **DOCUMENTS, more=more)
    made.take(root / "advisories", "ghsa", ADVISORY)
    return made


def test_openvex_keeps_the_rules_of_its_schema(stella: Stella, tmp_path: Path) -> None:
    _, document = written(stella, "openvex", tmp_path)
    assert openvex_rules.problems(document) == []
    told = {status for each in document["statements"] for status in [each["status"]]}
    assert told == {"affected", "fixed", "not_affected", "under_investigation"}
    about = {product["@id"]: each for each in document["statements"] for product in each["products"]}
    both = about["pkg:npm/both"]
    assert (both["justification"], "impact_statement" in both) == (NOT_IN_PATH["justification"], False)
    assert NOT_IN_PATH["impact_statement"] in both["status_notes"]
    assert "looked twice" in both["status_notes"]
    assert about["pkg:npm/told"]["impact_statement"] == "not built in"
    assert {CPE22, CPE23} <= about.keys()


def test_what_was_said_beside_a_justification_is_read_again(stella: Stella, tmp_path: Path) -> None:
    written(stella, "openvex", tmp_path, "--product", "pkg:npm/both")
    again = Stella(tmp_path / "again")
    again("excititor", "import", str(tmp_path / "out.openvex.json"), "--source", "copy")
    (product,) = again("excititor", "consensus", "CVE-2026-1000", "--product", "pkg:npm/both")["products"]
    assert (product["status"], product["justification"]) == ("not_affected", NOT_IN_PATH["justification"])
    assert NOT_IN_PATH["impact_statement"] in product["notes"]


def test_every_document_of_a_repository_keeps_them_too(stella: Stella, tmp_path: Path) -> None:
    words = ("excititor", "export", "--kind", "vex-repository", "--to", str(tmp_path), "--base-url")
    stella(*words, "https://vex.example.org")
    packed = (tmp_path / "vex-repository.tar.gz").read_bytes()
    read = 0
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            if member.isfile() and not member.name.endswith("index.json"):
                content = archive.extractfile(member)
                assert content is not None
                assert openvex_rules.problems(json.load(content)) == [], member.name
                read += 1
    assert read >= 7


def _first(document: Any, status: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["statements"] if each["status"] == status)
    return found


BREAKS: dict[str, Callable[[Any], object]] = {
    "no author": lambda document: document.pop("author"),
    "no statements": lambda document: document["statements"].clear(),
    "a version in words": lambda document: document.update(version="1"),
    "a day for an instant": lambda document: document.update(timestamp="2026-01-01"),
    "a field that there is not": lambda document: document.update(publisher="x"),
    "the same twice": lambda document: document["statements"].append(document["statements"][0]),
    "no vulnerability": lambda document: document["statements"][0].pop("vulnerability"),
    "a vulnerability as text": lambda document: document["statements"][0].update(vulnerability="CVE-1"),
    "a status that there is not": lambda document: document["statements"][0].update(status="ok"),
    "affected without an action": lambda document: _first(document, "affected").pop("action_statement"),
    "no reason": lambda document: [
        _first(document, "not_affected").pop(name, None) for name in ("justification", "impact_statement")
    ],
    "two reasons": lambda document: _first(document, "not_affected").update(
        justification="component_not_present", impact_statement="x"
    ),
    "a reason of one's own": lambda document: _first(document, "not_affected").update(
        justification="because"
    ),
    "a product that is no address": lambda document: document["statements"][0]["products"][0].update(
        {"@id": "left pad"}
    ),
    "a product as text": lambda document: document["statements"][0].update(products=[APP]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_rules_refuse_what_breaks_them(stella: Stella, tmp_path: Path, name: str) -> None:
    _, document = written(stella, "openvex", tmp_path)
    broken = copy.deepcopy(document)
    BREAKS[name](broken)
    assert broken != document
    assert openvex_rules.problems(broken)


def failures(document: Any) -> list[str]:
    """What the checks of the CSAF 2.0 schema, the VEX profile and the mandatory tests find."""
    verification = pytest.importorskip("csaf_lib.verification", reason="needs csaf-lib")
    try:
        report = verification.Verifier(document).run_all()
    except ValueError as error:  # its model refuses a word that there is not
        return [str(error)]
    return [f"{each.test_id} {each.message}" for each in report.failures]


def test_csaf_is_what_its_schema_and_the_vex_profile_accept(stella: Stella, tmp_path: Path) -> None:
    _, document = written(stella, "csaf", tmp_path)
    assert failures(document) == []


@pytest.mark.parametrize(
    "breaks",
    [
        lambda document: document["document"].pop("publisher"),
        lambda document: document["document"]["tracking"].update(status="done"),
        lambda document: document["vulnerabilities"][0].pop("notes"),
        lambda document: document["vulnerabilities"][0]["product_status"].update(known_affected=["nowhere"]),
        lambda document: document["vulnerabilities"][0].pop("remediations"),
    ],
)
def test_those_checks_refuse_what_breaks_them(
    stella: Stella, tmp_path: Path, breaks: Callable[[Any], object]
) -> None:
    _, document = written(stella, "csaf", tmp_path)
    breaks(document)
    assert failures(document)


@pytest.mark.parametrize("sbom", [False, True])
def test_cyclonedx_is_what_its_schema_accepts(stella: Stella, tmp_path: Path, sbom: bool) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="needs cyclonedx-python-lib[json-validation]"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    more: tuple[str, ...] = ()
    if sbom:
        bill = {
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "serialNumber": "urn:uuid:11111111-2222-4333-8444-555555555555",
            "metadata": {"component": {"type": "application", "name": "app", "bom-ref": "r", "purl": f"{APP}@1.0.0"}},
            "components": [{"type": "library", "name": "left", "bom-ref": "l", "purl": LEFT}],
        }  # fmt: skip
        file = tmp_path / "bill.json"
        file.write_text(json.dumps(bill), encoding="utf-8")
        more = ("--sbom", str(file))
    _, document = written(stella, "cyclonedx", tmp_path, *more)
    checker = validation.JsonStrictValidator(schema.SchemaVersion.V1_5)
    assert checker.validate_str(json.dumps(document)) is None
    document["vulnerabilities"][0]["analysis"]["state"] = "fine"
    assert checker.validate_str(json.dumps(document)) is not None
