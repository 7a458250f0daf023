"""`stella export retention` and pins on a data directory; how long bundles are kept, as settings say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.load import InvalidSettings
from stellaops.adapters.settings.retention import retention_grace, retention_rules
from stellaops.exports.retention.rules import USUAL, Mode, Rule
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    made = Stella(tmp_path / "data")
    made.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    return made


def test_a_run_is_pinned_shown_and_let_go(stella: Stella) -> None:
    run = stella.submit("json:raw")["runId"]
    pinned = stella("export", "run", "pin", run, "--reason", "under review")
    assert (pinned["runId"], pinned["kind"]) == (run, "pin")
    shown = stella("export", "retention", "show")
    assert [each["runId"] for each in shown["pins"]] == [run]
    assert [each["why"].partition(":")[0] for each in shown["stays"]] == ["0 days old; kept for 30 days"]
    stella.refused(2, "ERR_EXPORT_RUN_KEPT", "export", "run", "delete", run)
    stella.refused(
        4, "ERR_EXPORT_PIN_NOT_FOUND", "export", "run", "unpin", run, "--reason", "x", "--legal-hold"
    )
    stella("export", "run", "unpin", run, "--reason", "done")
    assert stella("export", "retention", "run", "--dry-run")["expired"] == []
    told = stella.ask("export", "retention", "run", "--dry-run", "--format", "table")
    assert "nothing goes" in told.err
    assert "goes because" not in told.out
    done = stella("export", "retention", "run", "--every-tenant")
    assert (done["ok"], done["dryRun"]) == (True, False)
    assert stella("export", "retention", "show")["last"]["report"]["archives"] == 0
    stella("export", "run", "delete", run)


def test_a_run_whose_bundle_went_shows_no_files_and_no_bundle_at_its_targets(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(
        "{apiVersion: stellaops.io/export.v1, kind: ExportProfile, metadata: {name: mine}, spec: {kind: json,"
        " variant: raw, distribution: [http], retention: {mode: count, value: 1}}}"
    )
    stella("export", "profile", "create", str(file))
    first = stella.submit("mine")
    word = Path(first["artifacts"][0]["path"]).name
    shown = stella.ask("export", "run", "show", first["runId"], "--format", "table").out
    assert word in shown
    assert "http: succeeded" in shown
    stella.take(tmp_path / "feed", "ghsa", osv("GHSA-3333-3333-3333", package("PyPI", "q", *until("1.0"))))
    stella.submit("mine")
    assert [each["runId"] for each in stella("export", "retention", "run")["expired"]] == [first["runId"]]
    shown = stella.ask("export", "run", "show", first["runId"], "--format", "table").out
    assert word not in shown
    assert "none any more; there were" in shown
    assert "http: gone with the bundle" in shown


def test_a_profile_says_how_long_its_bundles_are_kept(stella: Stella, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    text = (
        "{apiVersion: stellaops.io/export.v1, kind: ExportProfile, metadata: {name: mine},"
        " spec: {kind: json, variant: raw, retention: %s}}"
    )
    file.write_text(text % "{mode: count, value: 3}")
    stella("export", "profile", "create", str(file))
    (rule,) = [each for each in stella("export", "retention", "show")["rules"] if each["profile"] == "mine"]
    assert (rule["mode"], rule["value"], rule["from"]) == ("count", 3, "profile")
    for wrong in (
        "{mode: weeks, value: 3}",
        "{mode: days, value: 0}",
        "{mode: days}",
        "{mode: count, value: 99999}",
    ):
        file.write_text(text % wrong)
        told = stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", str(file))
        assert "retention" in told


def test_the_settings_of_the_runbook_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "ExportCenter:\n  Retention:\n    Mirror:\n      Mode: days\n      Value: 14\n"
        "    Trivy:\n      Mode: count\n      Value: 4\n    EvidenceGrace: 6h\n"
    )
    found = settings.load({}, {"STELLA_CONFIG": str(file), "EXPORTCENTER__RETENTION__MIRROR__VALUE": "60"})
    assert retention_rules(found) == {
        "json": USUAL["json"], "mirror": Rule(Mode.DAYS, 60), "trivy": Rule(Mode.COUNT, 4),
    }  # fmt: skip
    assert retention_grace(found).total_seconds() == 6 * 3600
    file.write_text("retention:\n  json: {mode: count, value: 2}\n")
    assert retention_rules(settings.load({}, {"STELLA_CONFIG": str(file)}))["json"] == Rule(Mode.COUNT, 2)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("JSON__MODE", "weeks", "days or count"),
        ("JSON__VALUE", "0", "above zero"),
        ("TRIVY__VALUE", "100000", "at most"),
        ("EVIDENCEGRACE", "soon", "no duration"),
    ],
)
def test_settings_that_say_nothing_are_refused(tmp_path: Path, name: str, value: str, told: str) -> None:
    variables = {"STELLA_CONFIG": str(tmp_path / "none"), f"EXPORTCENTER__RETENTION__{name}": value}
    found = settings.load({}, variables)
    reader = retention_grace if name == "EVIDENCEGRACE" else retention_rules
    with pytest.raises(InvalidSettings, match=told):
        reader(found)


def test_names_that_are_no_settings_are_told(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("ExportCenter:\n  Retention:\n    Mirrors: {Mode: days}\n")
    with pytest.raises(InvalidSettings, match=r"retention\.mirrors\.mode.*retention\.mirror\.mode"):
        settings.load({}, {"STELLA_CONFIG": str(file)})
