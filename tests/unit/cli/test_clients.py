"""`stella authority client`, `tenant`, `token-key` and `bootstrap` on a data directory."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.authority import client_secrets
from stellaops.bootstrap import Local
from tests.unit.cli.running import Stella


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def local(stella: Stella) -> Local:
    return Local(settings.load({"dataDir": str(stella.data_dir)}, {"STELLA_CONFIG": "/nonexistent"}))


def opens(stella: Stella, client_id: str, secret: str) -> bool:
    return local(stella).issuer.proves(client_id, secret)


def create(stella: Stella, *more: str) -> Any:
    return stella("authority", "client", "create", "ci", "--scope", "export:read export:run", *more)


def test_the_first_operator_is_made_by_one_command_and_its_secret_lies_in_a_file(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "admin.secret"
    made = stella("authority", "bootstrap", "--secret-file", str(file))
    assert (made["clientId"], made["tenants"], made["created"]) == ("admin", ["*"], True)
    assert "clientSecret" not in made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert opens(stella, "admin", file.read_text().strip())
    stella.refused(2, "ERR_CLIENT_EXISTS", "authority", "bootstrap")


def test_people_see_a_line_for_each_secret(stella: Stella, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        answer = stella.ask("authority", *words, "--format", "table")
        assert answer.code == 0, answer.err
        assert "{" not in answer.out
        return answer.out

    assert "\nsecret 1          made 2" in told("bootstrap", "--secret-file", str(tmp_path / "admin.secret"))
    told("client", "create", "ci", "--scope", "export:read")
    rotated = told("client", "rotate", "ci")
    assert rotated.count(", never used") == 2
    assert rotated.count(", ends 2") == 1
    for words in (("show",), ("set", "--name", "CI"), ("revoke",)):
        assert "\nsecret 2 " in told("client", words[0], "ci", *words[1:])


def test_a_container_bootstraps_at_every_start_with_the_secret_that_is_mounted(
    stella: Stella, tmp_path: Path
) -> None:
    mounted, link = tmp_path / "..data", tmp_path / "admin-secret"
    secret = client_secrets.generate()
    mounted.write_text(f"{secret}\n")
    mounted.chmod(0o400)
    link.symlink_to(mounted)
    first = stella("authority", "bootstrap", "--secret-from", str(link))
    again = stella("authority", "bootstrap", "--secret-from", str(link))
    assert (first["created"], again["created"]) == (True, False)
    assert "clientSecret" not in first
    assert opens(stella, "admin", secret)


def test_a_secret_from_a_file_that_others_may_read_or_that_is_weak_is_refused(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(client_secrets.generate())
    file.chmod(0o644)
    stella.refused(5, "ERR_KEY_UNAVAILABLE", "authority", "bootstrap", "--secret-from", str(file))
    for weak in (b"changeme", b"a" * 64, "ö".encode() * 40):
        file.write_bytes(weak)
        file.chmod(0o600)
        said = stella.refused(
            2, "ERR_CLIENT_SECRET_WEAK", "authority", "bootstrap", "--secret-from", str(file)
        )
        assert weak.decode() not in said
    assert stella("authority", "client", "list") == []


def test_a_file_that_is_there_is_not_written_over_and_no_client_is_made(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("mine")
    stella.refused(2, "ERR_KEY_FILE_EXISTS", "authority", "bootstrap", "--secret-file", str(file))
    assert file.read_text() == "mine"
    assert stella("authority", "client", "list") == []


def test_no_file_is_left_where_no_client_was_made(stella: Stella, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    stella.refused(
        2, "ERR_CLIENT_INVALID", "authority", "client", "create", "ci", "--scope", "root", "--secret-file", str(file)
    )  # fmt: skip
    assert not file.exists()


def test_a_client_is_made_for_the_tenant_that_is_meant(stella: Stella) -> None:
    stella("authority", "tenant", "create", "acme")
    assert create(stella)["tenants"] == ["default"]
    made = stella("authority", "client", "create", "b", "--scope", "export:read", "--tenant", "acme")
    assert made["tenants"] == ["acme"]
    every = stella("authority", "client", "create", "c", "--scope", "all", "--for-tenant", "*")
    assert (every["tenants"], len(every["scopes"])) == (["*"], 13)
    stella.refused(
        4, "ERR_TENANT_NOT_FOUND", "authority", "client", "create", "d", "--scope", "all", "--for-tenant", "nobody"
    )  # fmt: skip


def test_a_rotation_leaves_the_earlier_secret_its_overlap(stella: Stella) -> None:
    first = create(stella)["clientSecret"]
    second = stella("authority", "client", "rotate", "ci", "--overlap", "30m")["clientSecret"]
    assert (opens(stella, "ci", first), opens(stella, "ci", second)) == (True, True)
    stella.refused(2, "ERR_CLIENT_SECRETS", "authority", "client", "rotate", "ci")
    third = stella("authority", "client", "rotate", "ci", "--overlap", "0")["clientSecret"]
    assert [opens(stella, "ci", each) for each in (first, second, third)] == [False, False, True]
    stella.refused(2, "ERR_USAGE", "authority", "client", "rotate", "ci", "--overlap", "soon")


def test_a_revoked_client_opens_nothing_and_says_why(stella: Stella) -> None:
    secret = create(stella)["clientSecret"]
    stella("authority", "client", "revoke", "ci", "--reason", "laptop stolen")
    assert not opens(stella, "ci", secret)
    (shown,) = stella("authority", "client", "list")
    assert shown["revocationReason"] == "laptop stolen"
    stella.refused(2, "ERR_CLIENT_REVOKED", "authority", "client", "rotate", "ci")
    stella.refused(4, "ERR_CLIENT_NOT_FOUND", "authority", "client", "show", "nobody")


def test_a_client_is_changed(stella: Stella) -> None:
    create(stella)
    changed = stella("authority", "client", "set", "ci", "--name", "build", "--scope", "export:read")
    assert (changed["name"], changed["scopes"], changed["tenants"]) == ("build", ["export:read"], ["default"])
    stella.refused(2, "ERR_USAGE", "authority", "client", "set", "ci")


def test_limits_of_tenants_are_set_and_listed(stella: Stella) -> None:
    stella("authority", "tenant", "create", "acme", "--max-active-runs", "4")
    stella("authority", "tenant", "set", "acme", "--max-active-runs", "0", "--reason", "invoice")
    stella("authority", "tenant", "set", "default", "--max-queued-runs", "5")
    listed = stella("authority", "tenant", "list")
    assert [(t["tenant"], t["maxActiveRuns"], t["maxQueuedRuns"]) for t in listed] == [
        ("default", 2, 5), ("acme", 0, 100),
    ]  # fmt: skip
    stella.refused(2, "ERR_TENANT_EXISTS", "authority", "tenant", "create", "acme")
    stella.refused(2, "ERR_TENANT_NAME", "authority", "tenant", "create", "../acme")
    stella.refused(2, "ERR_TENANT_LIMIT", "authority", "tenant", "set", "acme", "--max-active-runs", "-1")
    stella.refused(
        4, "ERR_TENANT_NOT_FOUND", "authority", "tenant", "set", "nobody", "--max-active-runs", "1"
    )


def test_a_tenant_that_nobody_made_works_on_a_data_directory_as_ever(stella: Stella) -> None:
    assert stella("export", "profile", "list", "--tenant", "unknown-to-the-service")


def test_keys_of_access_tokens_are_rotated_and_revoked(stella: Stella) -> None:
    secret = create(stella)["clientSecret"]
    first = local(stella).issuer.issue("ci", [secret]).token
    (key,) = stella("authority", "token-key", "list")
    assert key["state"] == "active"
    stella("authority", "token-key", "rotate")
    second = local(stella).issuer.issue("ci", [secret]).token
    for token in (first, second):
        assert local(stella).access.principal(token).client == "ci"
    stella("authority", "token-key", "revoke", key["keyId"])
    states = {each["keyId"]: each["state"] for each in stella("authority", "token-key", "list")}
    assert sorted(states.values()) == ["active", "revoked"]
    assert states[key["keyId"]] == "revoked"
    stella.refused(4, "ERR_TOKEN_KEY_NOT_FOUND", "authority", "token-key", "revoke", "nothing")


def test_every_change_stands_in_the_audit_log(stella: Stella) -> None:
    create(stella)
    stella("authority", "client", "rotate", "ci")
    stella("authority", "tenant", "set", "default", "--max-active-runs", "1", "--reason", "why not")
    stella("authority", "key", "rotate")
    records = local(stella).audit.list(["default"])
    assert [record.change.action for record in records] == [
        "key.rotated", "tenant.changed", "client.rotated", "client.created",
    ]  # fmt: skip
    assert {record.origin for record in records} == {"local"}
    assert all(record.actor.startswith("local:") for record in records)
    assert (records[1].change.target, records[1].change.reason) == ("tenant/default", "why not")


def test_changes_of_profiles_stand_in_the_audit_log(stella: Stella, tmp_path: Path) -> None:
    document = stella("export", "profile", "clone", "json:raw", "mine")
    document["spec"]["nextUpdate"] = "48h"
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(document))
    for _ in range(2):  # the second time there is nothing new
        stella("export", "profile", "update", str(file), "--reason", "slower")
    stella("export", "profile", "delete", "mine")
    records = local(stella).audit.list(["default"])
    assert [(record.change.action, record.change.reason) for record in records] == [
        ("profile.deleted", ""), ("profile.changed", "slower"), ("profile.created", "cloned from json:raw"),
    ]  # fmt: skip
    assert {record.change.target for record in records} == {"profile/mine"}
    assert records[2].change.after == records[1].change.before
    assert records[1].change.after == records[0].change.before
