"""Profiles: created, changed, cloned, deleted; what is wrong with one is told all at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from stellaops.exports import profile, read_profile
from stellaops.exports.errors import InvalidProfile, UnsupportedSchema
from tests.unit.cli.running import Stella, osv, package, until


def document(name: str = "mine", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": name, "labels": {"team": "a"}},
        "spec": {"kind": "json", "variant": "raw", **spec},
    }


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def written(tmp_path: Path, wire: dict[str, Any], form: str = "yaml") -> str:
    file = tmp_path / f"{wire['metadata']['name'].replace(':', '-')}.{form}"
    file.write_text(yaml.safe_dump(wire) if form == "yaml" else json.dumps(wire), encoding="utf-8")
    return str(file)


def problems(wire: object) -> list[str]:
    with pytest.raises(InvalidProfile) as caught:
        read_profile.read(wire)
    return list(caught.value.details)


def test_the_built_in_profiles_are_there_for_every_tenant_and_stay(stella: Stella) -> None:
    for tenant in ("default", "acme"):
        names = [each["metadata"]["name"] for each in stella.of_tenant(tenant)("export", "profile", "list")]
        assert names == list(profile.KINDS)
    stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "delete", "trivy:db")
    assert "clone it" in profile_update_of_built_in(stella)


def profile_update_of_built_in(stella: Stella) -> str:
    file = written(stella.data_dir.parent, document("trivy:db"))
    return stella.refused(
        2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "update", file, "--reason", "why"
    )


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_was_created_is_shown_as_the_document_that_it_was(
    form: str, stella: Stella, tmp_path: Path
) -> None:
    wire = document(selectors={"ecosystems": ["npm"], "since": "2024-01-01T00:00:00Z"}, nextUpdate="7d")
    created = stella("export", "profile", "create", written(tmp_path, wire, form))
    assert created == stella("export", "profile", "show", "mine")
    assert created["spec"] == wire["spec"]
    assert created["metadata"] == {
        "name": "mine",
        "tenant": "default",
        "revision": "r1",
        "labels": {"team": "a"},
    }
    stella.refused(2, "ERR_ALREADY_EXISTS", "export", "profile", "create", written(tmp_path, wire, form))


def test_an_instant_that_yaml_would_read_as_one_stays_a_text(stella: Stella, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    text = yaml.safe_dump(document(selectors={"since": "SINCE"})).replace("SINCE", "2024-10-01T00:00:00Z")
    file.write_text(text, encoding="utf-8")
    created = stella("export", "profile", "create", str(file))
    assert created["spec"]["selectors"] == {"since": "2024-10-01T00:00:00Z"}


def test_a_shown_profile_can_be_created_elsewhere(stella: Stella, tmp_path: Path) -> None:
    stella("export", "profile", "create", written(tmp_path, document()))
    (tmp_path / "shown.yaml").write_text(
        stella.ask("export", "profile", "show", "mine", "--format", "table").out, encoding="utf-8"
    )
    copied = stella.of_tenant("acme")("export", "profile", "create", str(tmp_path / "shown.yaml"))
    assert copied["metadata"]["tenant"] == "acme"
    assert copied["metadata"]["revision"] == "r1"


def test_every_change_is_a_revision_with_its_reason_and_no_change_is_none(
    stella: Stella, tmp_path: Path
) -> None:
    stella("export", "profile", "create", written(tmp_path, document()))
    for number, update in ((1, "24h"), (2, "48h"), (2, "48h"), (3, "24h")):
        file = written(tmp_path, document(nextUpdate=update))
        changed = stella("export", "profile", "update", file, "--reason", f"now {update}")
        assert changed["metadata"]["revision"] == f"r{number}"
    history = stella("export", "profile", "history", "mine")
    assert [(each["revision"], each["reason"]) for each in history] == [
        ("r1", "created"), ("r2", "now 48h"), ("r3", "now 24h"),
    ]  # fmt: skip
    assert all(each["createdBy"] and each["createdAt"] for each in history)
    blank = ("export", "profile", "update", written(tmp_path, document(nextUpdate="1h")), "--reason", " ")
    assert "reason" in stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", *blank)


def test_a_profile_is_cloned_and_deleted_and_unknown_ones_are_told(stella: Stella) -> None:
    cloned = stella("export", "profile", "clone", "trivy:db", "weekly")
    assert (cloned["metadata"]["revision"], cloned["spec"]["kind"]) == ("r1", "trivy")
    stella.refused(2, "ERR_ALREADY_EXISTS", "export", "profile", "clone", "json:raw", "weekly")
    assert stella("export", "profile", "delete", "weekly", "--dry-run")["removed"] is False
    assert stella("export", "profile", "show", "weekly") == cloned
    assert stella("export", "profile", "delete", "weekly")["removed"] is True
    for words in (
        ("show", "weekly"),
        ("history", "weekly"),
        ("delete", "weekly"),
        ("clone", "weekly", "other"),
    ):
        error = stella.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "profile", *words)
        assert "it has json:policy, json:raw, mirror:delta, mirror:full, trivy:db, trivy:java-db" in error


def test_profiles_of_another_tenant_are_not_found(stella: Stella, tmp_path: Path) -> None:
    stella("export", "profile", "create", written(tmp_path, document()))
    rival = stella.of_tenant("rival")
    rival.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "profile", "show", "mine")
    rival.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "run", "submit", "--profile", "mine")


# ---- what is wrong


def test_fields_that_are_unknown_missing_or_of_another_type_are_listed_at_once() -> None:
    wire = document(schemaVersion="two", smoke="perhaps", colour="red", selectors=["npm"])
    del wire["spec"]["variant"], wire["metadata"]["name"]
    wire["metadata"]["labels"] = {"a": 1}
    wire["more"] = 1
    told = problems(wire)
    for beginning in (
        "more is not a field", "metadata.name is missing", "metadata.labels: ", "spec.colour is not a field",
        "spec.variant is missing", "spec.schemaVersion: ", "spec.smoke: ", "spec.selectors: ",
    ):  # fmt: skip
        assert [problem for problem in told if problem.startswith(beginning)], beginning
    assert len(told) == 8


def test_values_that_cannot_be_used_are_listed_at_once() -> None:
    wire = document(
        "Bad Name", kind="xml", nextUpdate="soon", include=["vex"],
        selectors={"colour": "red", "severityAtLeast": "huge"},
    )  # fmt: skip
    wire["apiVersion"], wire["kind"] = "v0", "Recipe"
    told = problems(wire)
    for beginning in (
        "apiVersion must be", "kind must be", "metadata.name", "spec.kind and spec.variant", "spec.nextUpdate",
        "spec.selectors.colour", "spec.selectors.severityAtLeast", "spec.include",
    ):  # fmt: skip
        assert [problem for problem in told if problem.startswith(beginning)], beginning
    assert len(told) == 8


@pytest.mark.parametrize("wire", [None, [], "text", 3, {"metadata": 3}, {"apiVersion": [], "kind": {}}])
def test_what_is_no_profile_at_all_is_told(wire: object) -> None:
    assert problems(wire)


def test_every_problem_is_shown_on_the_command_line(stella: Stella, tmp_path: Path) -> None:
    wire = document(nextUpdate="soon", selectors={"colour": "red"})
    error = stella.refused(
        2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", written(tmp_path, wire)
    )
    assert "\n  - spec.nextUpdate: " in error
    assert "\n  - spec.selectors.colour: not a selector" in error
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    stella.refused(
        2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", str(tmp_path / "broken.yaml")
    )


@pytest.mark.parametrize("name", ["a" * 64, "", "-a", "A", "a b", "a/b", "mine\n"])
def test_a_name_outside_the_alphabet_is_refused(name: str) -> None:
    assert problems(document(name))


@pytest.mark.parametrize("text", ["0h", "1w", "h", "1h\n", "-1h", "1.5h", "1234567h"])
def test_a_duration_of_another_form_is_refused(text: str) -> None:
    assert problems(document(nextUpdate=text))


@pytest.mark.parametrize("version", [1, 3, 0])
def test_another_schema_of_trivy_is_not_supported(version: int, stella: Stella, tmp_path: Path) -> None:
    wire = document(kind="trivy", variant="db", schemaVersion=version)
    with pytest.raises(UnsupportedSchema):
        read_profile.read(wire)
    error = stella.refused(
        2, "ERR_EXPORT_UNSUPPORTED_SCHEMA", "export", "profile", "create", written(tmp_path, wire)
    )
    assert "schemaVersion: 2" in error


def test_a_stored_profile_of_another_schema_fails_its_run_by_that_code(
    stella: Stella, tmp_path: Path
) -> None:
    """A later release may know schema 3 and leave such a profile in the store."""
    stella.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0"))))
    stella("export", "profile", "create", written(tmp_path, document("later", kind="trivy", variant="db")))
    replace_stored_spec(stella, '{"kind":"trivy","variant":"db","schemaVersion":3}')
    stella.refused(2, "ERR_EXPORT_UNSUPPORTED_SCHEMA", "export", "run", "submit", "--profile", "later")
    (run,) = stella("export", "run", "list")
    assert (run["status"], run["errorCode"]) == ("failed", "unsupported_schema")


def replace_stored_spec(stella: Stella, spec: str) -> None:
    connection = sqlite3.connect(stella.data_dir / "service.db")
    with connection:
        connection.execute("UPDATE profile SET spec = ?", (spec.encode(),))
    connection.close()
