"""`stella export token` and `stella export link` on a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.authority.download_tokens import opened_by
from stellaops.bootstrap import Local, now
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def local(stella: Stella) -> Local:
    return Local(settings.load({"dataDir": str(stella.data_dir)}, {"STELLA_CONFIG": "/nonexistent"}))


def test_a_token_is_made_into_a_file_rotated_and_revoked(stella: Stella, tmp_path: Path) -> None:
    file, other = tmp_path / "trivy.token", tmp_path / "other.token"
    made = stella(
        "export", "token", "create", "--profile", "trivy:db", "--expires", "30d", "--secret-file", str(file)
    )
    assert (made["state"], made["profiles"], made["secretFile"]) == ("active", ["trivy:db"], str(file))
    assert "downloadToken" not in made
    assert file.stat().st_mode & 0o777 == 0o600
    store = local(stella).download_tokens
    assert opened_by(store, file.read_text().strip(), now=now()).client == f"token:{made['tokenId']}"
    stella("export", "token", "rotate", made["tokenId"], "--overlap", "1h", "--secret-file", str(other))
    for each in (file, other):
        opened_by(store, each.read_text().strip(), now=now())
    (listed,) = stella("export", "token", "list")
    assert [each["usedAt"] is not None for each in listed["secrets"]] == [True, True]
    stella("export", "token", "revoke", made["tokenId"], "--reason", "lost")
    stella.refused(2, "ERR_DOWNLOAD_TOKEN_REVOKED", "export", "token", "rotate", made["tokenId"])
    stella.refused(4, "ERR_DOWNLOAD_TOKEN_NOT_FOUND", "export", "token", "revoke", "0" * 12)
    stella.refused(2, "ERR_USAGE", "export", "token", "create", "--expires", "soon")


def test_people_see_a_line_for_each_secret(stella: Stella) -> None:
    made = stella("export", "token", "create")["tokenId"]
    told = stella.ask("export", "token", "rotate", made, "--format", "table").out
    assert "secret 1          opens until 2" in told
    assert "{" not in told
    told = stella.ask("export", "token", "revoke", made, "--format", "table").out
    assert "secret 2          opens nothing" in told


def test_a_token_that_is_not_written_to_a_file_is_told_once(stella: Stella) -> None:
    made = stella("export", "token", "create", "--name", "partner")
    assert made["downloadToken"].startswith(f"stella_dl_{made['tokenId']}.")
    assert "stella_dl_" not in str(stella("export", "token", "list"))


def test_a_file_that_is_there_is_not_written_over_and_no_token_is_made(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "taken"
    file.write_text("x", encoding="utf-8")
    stella.refused(2, "ERR_KEY_FILE_EXISTS", "export", "token", "create", "--secret-file", str(file))
    assert stella("export", "token", "list") == []


def test_a_link_leads_to_the_address_of_the_settings(
    stella: Stella, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0")))
    stella.take(tmp_path / "feed", "ghsa", document)
    run = stella.submit("json:raw")
    stella.refused(5, "ERR_DOWNLOAD_PUBLIC_URL", "export", "link", "latest", "export.json")
    monkeypatch.setenv("STELLA_API_PUBLIC_URL", "https://stella.example.org/")
    told = stella("export", "link", "latest", "export.json", "--expires", "24h")
    (link,) = told["links"]
    assert link["url"].startswith(
        f"https://stella.example.org/api/export/runs/{run['runId']}/artifacts/export.json?"
    )
    assert len(stella("export", "link", run["runId"])["links"]) > 5
    stella.refused(4, "ERR_EXPORT_ARTEFACT_MISSING", "export", "link", "latest", "no.json")
    said = stella.refused(2, "ERR_DOWNLOAD_LINK_LIFE", "export", "link", "latest", "--expires", "8d")
    assert "a link cannot live for 8 days\n" in said
    said = stella.refused(2, "ERR_DOWNLOAD_LINK_LIFE", "export", "link", "latest", "--expires", "9s")
    assert "a link cannot live for 9 seconds\n" in said
    assert stella("export", "link", "latest", "--expires", "10s")["links"]
