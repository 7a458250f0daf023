"""`stella db`: what operators see of the stores, and that a password is never among it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.load import Setting, Settings
from tests.contract.stores import as_bytes, osv
from tests.unit.cli.running import call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one import."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(as_bytes(osv()))
    (tmp_path / "in" / "b.json").write_bytes(b"{")
    directory = tmp_path / "data"
    assert (
        call("--data-dir", str(directory), "concelier", "import", str(tmp_path / "in"), "--source", "s").code
        == 0
    )
    return directory


def test_status_of_nothing_says_so_and_makes_nothing(tmp_path: Path) -> None:
    answer = call("--data-dir", str(tmp_path / "none"), "--format", "json", "db", "status")
    stores = answer.value["stores"]
    assert [(each["store"], each["schema"], each["kind"]) for each in stores] == [
        ("evidence", 0, "sqlite"),
        ("service", 0, "sqlite"),
    ]
    assert all(each["pending"] for each in stores)
    assert not (tmp_path / "none").exists()


def test_status_tells_schema_size_rows_and_derived_rows(data: Path) -> None:
    (store,) = call("--data-dir", str(data), "--format", "json", "db", "status", "--store", "evidence").value[
        "stores"
    ]
    assert store["schema"] == store["releaseSchema"] >= store["oldestRelease"] >= 1
    assert store["address"] == str(data / "evidence.db")
    assert (store["pending"], store["rows"]["document"], store["rows"]["quarantine"]) == ([], 1, 1)
    assert store["bytes"] > 8192
    assert {each["name"] for each in store["projections"]} >= {"index", "trivy"}
    assert all(each["complete"] for each in store["projections"])
    assert "evidence.db" in call("--data-dir", str(data), "--format", "table", "db", "status").out


def test_migrate_says_what_it_did_and_then_nothing(tmp_path: Path) -> None:
    words = ("--data-dir", str(tmp_path / "new"), "--format", "json", "db", "migrate")
    pending = call(*words, "--dry-run").value
    assert [each["store"] for each in pending if each["pending"]] == ["evidence", "service"]
    assert not (tmp_path / "new").exists()
    assert all(each["done"] for each in call(*words).value)
    assert not any(each["done"] for each in call(*words, "--rows").value)


def test_a_data_directory_is_copied_to_another(data: Path, tmp_path: Path) -> None:
    answer = call("--format", "json", "db", "copy", str(data), str(tmp_path / "copy"))
    tables = {row["name"]: row["rows"] for each in answer.value for row in each["tables"]}
    assert (answer.code, tables["document"], tables["quarantine"], tables["head"]) == (0, 1, 1, 1)
    here, there = (
        json.loads(call("--data-dir", str(place), "--format", "json", "concelier", "status").out)
        for place in (data, tmp_path / "copy")
    )
    assert here == there
    assert call("--format", "json", "db", "copy", str(data), str(tmp_path / "copy")).value == answer.value
    (tmp_path / "in" / "b.json").write_bytes(as_bytes(osv("GHSA-bbbb-bbbb-bbbb")))
    more = ("concelier", "import", str(tmp_path / "in"), "--source", "s")
    assert call("--data-dir", str(tmp_path / "copy"), *more).code == 0
    again = call("db", "copy", str(data), str(tmp_path / "copy"))
    assert (again.code, "ERR_STORE_COPY_TARGET" in again.err) == (2, True)


def test_nothing_is_copied_from_nowhere(tmp_path: Path) -> None:
    answer = call("db", "copy", str(tmp_path / "none"), str(tmp_path / "copy"))
    assert (answer.code, "ERR_STORE_NOT_FOUND" in answer.err) == (4, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("address", ["postgresql://me:geheim@db/x", "postgresql://me@db/x?password=geheim"])
def test_a_password_in_an_address_is_refused_and_shown_nowhere(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"store:\n  evidence: {address}\n", encoding="utf-8")
    monkeypatch.setenv("STELLA_CONFIG", str(file))
    refused = [
        call("--data-dir", str(tmp_path), "concelier", "status"),
        call("--trace", "--data-dir", str(tmp_path), "db", "status"),
        call("db", "copy", address, str(tmp_path / "copy")),
    ]
    assert [(each.code, "ERR_STORE_ADDRESS" in each.err) for each in refused] == [(2, True)] * 3
    shown = call("--format", "json", "config", "show")
    assert shown.code == 0
    assert "geheim" not in "".join(each.out + each.err for each in (*refused, shown))
    assert "geheim" not in repr(
        settings.load({}, {"STELLA_STORE_EVIDENCE": address, "STELLA_CONFIG": "/none"})
    )


def test_settings_show_an_address_without_its_credentials() -> None:
    shown = Settings(
        {"x": Setting("postgresql://me@db:1/x?sslmode=require&sslpassword=geheim&host=y", "test")}
    ).shown("x")
    assert shown == "postgresql://***@db:1/x?sslmode=require&sslpassword=***&host=y"
