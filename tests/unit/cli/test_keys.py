"""`stella authority key …` as it is typed, and what a verifier says of bundles by each kind of key."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.key_files import KeyForm
from tests.unit.cli.running import Stella, osv, package, until

KEY = ("authority", "key")
SECRET = "a passphrase that must not be told"  # noqa: S105


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    return secret_file(tmp_path / "passphrase", f"{SECRET}\n".encode())


def secret_file(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


def exported(stella: Stella, tmp_path: Path, profile: str = "json:raw") -> dict[str, Any]:
    document = osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0")))
    stella.take(tmp_path / "in", "ghsa", document)
    run = stella.submit(profile)
    assert isinstance(run, dict)
    return run


def signer_said(stella: Stella, *words: str) -> str:
    answer = stella.ask("export", "verify", *words, "--format", "json")
    return str(answer.value["checks"][0]["detail"])


class TestImport:
    @pytest.mark.parametrize("own", [b"x", b""])
    def test_cosigns_key_file_becomes_the_tenants_key(
        self, stella: Stella, tmp_path: Path, own: bytes
    ) -> None:
        key = ecdsa_p256.generate()
        file = secret_file(tmp_path / "cosign.key", key_files.write(key, KeyForm.COSIGN, b"x"))
        given = secret_file(tmp_path / "own", own)
        if not own:
            said = stella.refused(2, "ERR_KEY_UNUSABLE", *KEY, "import", file, "--passphrase-file", given)
            assert "another one" in said
            return
        taken = stella(*KEY, "import", file, "--passphrase-file", given)
        assert (taken["keyId"], taken["state"], taken["encrypted"]) == (key.key_id, "active", True)
        public = tmp_path / "data" / "tenants" / "default" / "export-center.pub"
        assert public.read_bytes() == key.public_key_pem()

    def test_without_its_passphrase_it_is_refused_and_named(self, stella: Stella, tmp_path: Path) -> None:
        file = secret_file(
            tmp_path / "cosign.key", key_files.write(ecdsa_p256.generate(), KeyForm.COSIGN, SECRET.encode())
        )
        said = stella.refused(2, "ERR_KEY_UNUSABLE", *KEY, "import", file)
        assert file in said
        assert "needs a passphrase" in said
        assert stella(*KEY, "list") == []

    def test_a_file_that_others_may_read_is_refused(self, stella: Stella, tmp_path: Path) -> None:
        file = tmp_path / "plain.pem"
        secret_file(file, key_files.write(ecdsa_p256.generate(), KeyForm.PKCS8, None))
        file.chmod(0o644)
        stella.refused(5, "ERR_KEY_UNAVAILABLE", *KEY, "import", str(file))
        stella.refused(5, "ERR_KEY_UNAVAILABLE", *KEY, "import", str(tmp_path / "absent"))

    def test_what_is_no_key_is_refused(self, stella: Stella, tmp_path: Path) -> None:
        for data in (b"", b"junk", os.urandom(1000)):
            stella.refused(2, "ERR_KEY_UNUSABLE", *KEY, "import", secret_file(tmp_path / "junk", data))

    def test_it_is_kept_under_the_passphrase_that_is_named_for_it(
        self, stella: Stella, tmp_path: Path, passphrase: str
    ) -> None:
        key = ecdsa_p256.generate()
        file = secret_file(tmp_path / "plain.pem", key_files.write(key, KeyForm.PKCS8, None))
        assert stella(*KEY, "import", file, "--new-passphrase-file", passphrase)["encrypted"] is True
        kept = tmp_path / "data" / "keys" / "default" / f"{key.key_id}.pem"
        assert key_files.read(kept.read_bytes(), SECRET.encode()).key_id == key.key_id


class TestExportPrivate:
    def test_it_writes_a_new_file_for_its_owner_alone(
        self, stella: Stella, tmp_path: Path, passphrase: str
    ) -> None:
        made = stella(*KEY, "create")
        target = tmp_path / "out.key"
        words = (*KEY, "export-private", "--to", str(target), "--new-passphrase-file", passphrase)
        assert stella(*words)["keyId"] == made["keyId"]
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert key_files.read(target.read_bytes(), SECRET.encode()).key_id == made["keyId"]
        before = target.read_bytes()
        stella.refused(2, "ERR_KEY_FILE_EXISTS", *words)
        assert target.read_bytes() == before

    def test_it_follows_no_link(self, stella: Stella, tmp_path: Path, passphrase: str) -> None:
        stella(*KEY, "create")
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        words = (*KEY, "export-private", "--to", str(tmp_path / "link"))
        stella.refused(2, "ERR_KEY_FILE_EXISTS", *words, "--new-passphrase-file", passphrase)
        assert not (tmp_path / "elsewhere").exists()

    def test_what_protects_it_must_be_said(self, stella: Stella, tmp_path: Path, passphrase: str) -> None:
        stella(*KEY, "create")
        words = (*KEY, "export-private", "--to", str(tmp_path / "out"))
        stella.refused(2, "ERR_KEY_PASSPHRASE_NEEDED", *words)
        both = ("--no-passphrase", "--new-passphrase-file", passphrase)
        stella.refused(2, "ERR_KEY_PASSPHRASE_NEEDED", *words, *both)
        stella.refused(2, "ERR_KEY_UNUSABLE", *words, "--no-passphrase")
        empty = secret_file(tmp_path / "empty", b"\n")
        stella.refused(2, "ERR_KEY_UNUSABLE", *words, "--new-passphrase-file", empty)
        assert not (tmp_path / "out").exists()
        assert stella(*words, "--form", "pkcs8", "--no-passphrase")["encrypted"] is False

    def test_a_place_that_cannot_be_written_is_told(
        self, stella: Stella, tmp_path: Path, passphrase: str
    ) -> None:
        stella(*KEY, "create")
        target = str(tmp_path / "absent" / "out")
        words = (*KEY, "export-private", "--to", target, "--new-passphrase-file", passphrase)
        stella.refused(5, "ERR_KEY_FILE_NOT_WRITTEN", *words)
        stella.refused(5, "ERR_KEY_FILE_NOT_WRITTEN", *KEY, "export-public", "--to", target)


class TestPasswd:
    def test_runs_need_the_new_passphrase(
        self, stella: Stella, tmp_path: Path, passphrase: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stella(*KEY, "create")
        (changed,) = stella(*KEY, "passwd", "--new-passphrase-file", passphrase)
        assert changed["encrypted"] is True
        exported_words = ("export", "run", "submit", "--profile", "json:raw")
        stella.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1"))))
        assert SECRET not in stella.refused(10, "ERR_EXPORT_SIGNING", *exported_words)
        monkeypatch.setenv("STELLA_KEY_PASSPHRASE_FILE", passphrase)
        stella.submit("json:raw")

    def test_a_wrong_passphrase_is_told(self, stella: Stella, tmp_path: Path, passphrase: str) -> None:
        stella(*KEY, "create", "--passphrase-file", passphrase)
        wrong = secret_file(tmp_path / "wrong", b"wrong")
        words = (*KEY, "passwd", "--no-passphrase", "--passphrase-file", wrong)
        assert "another one" in stella.refused(5, "ERR_KEY_UNAVAILABLE", *words)
        (changed,) = stella(*KEY, "passwd", "--no-passphrase", "--passphrase-file", passphrase)
        assert changed["encrypted"] is False


def test_a_rotation_takes_no_passphrase_away_unless_told(
    stella: Stella, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stella(*KEY, "create", "--passphrase-file", passphrase)["keyId"]
    stella.refused(2, "ERR_KEY_PASSPHRASE_NEEDED", *KEY, "rotate")
    assert [each["keyId"] for each in stella(*KEY, "list")] == [first]
    monkeypatch.setenv("STELLA_KEY_PASSPHRASE_FILE", passphrase)
    assert stella(*KEY, "rotate")["encrypted"] is True
    assert stella(*KEY, "rotate", "--no-passphrase")["encrypted"] is False
    stella.refused(2, "ERR_USAGE", *KEY, "rotate", "--no-passphrase", "--passphrase-file", passphrase)


def test_the_list_tells_what_became_of_each_key(stella: Stella, tmp_path: Path, passphrase: str) -> None:
    first = stella(*KEY, "create")["keyId"]
    second = stella(*KEY, "rotate", "--passphrase-file", passphrase)["keyId"]
    third = stella(*KEY, "create", "--no-activate")["keyId"]
    stella(*KEY, "revoke", first, "--reason", "leaked")
    (tmp_path / "data" / "keys" / "default" / f"{third}.json").write_bytes(b"")
    listed = {each["keyId"]: each for each in stella(*KEY, "list")}
    assert {key_id: each["state"] for key_id, each in listed.items()} == {
        first: "revoked", second: "active", third: "damaged",
    }  # fmt: skip
    assert (listed[first]["revocationReason"], listed[first]["encrypted"]) == ("leaked", False)
    assert listed[first]["retiredAt"]
    assert listed[first]["revokedAt"]
    assert listed[second]["encrypted"] is True
    header, *lines = stella.ask(*KEY, "list", "--format", "table").out.splitlines()
    assert header.split() == ["key", "state", "created", "retired", "revoked", "encrypted", "service"]
    assert len(lines) == 3


class TestVerdicts:
    def test_a_retired_key_verifies_and_is_told(self, stella: Stella, tmp_path: Path) -> None:
        run = exported(stella, tmp_path)
        old = run["runId"]
        stella(*KEY, "rotate", "--keep-signatures")
        said = signer_said(stella, old)
        assert "(retired 20" in said

    def test_a_revoked_key_verifies_nothing_and_the_reason_is_told(
        self, stella: Stella, tmp_path: Path
    ) -> None:
        run = exported(stella, tmp_path)
        (key,) = stella(*KEY, "list")
        stella(*KEY, "export-public", "--to", str(tmp_path / "old.pub"))
        stella(*KEY, "revoke", key["keyId"], "--reason", "laptop stolen")
        for words in ((run["runId"],), (run["runId"], "--key", str(tmp_path / "old.pub"))):
            answer = stella.ask("export", "verify", *words, "--format", "json")
            assert answer.code == 6
            said = answer.value["checks"][0]["detail"]
            assert "verifies nothing: revoked 20" in said
            assert said.endswith(": laptop stolen")

    def test_one_file_of_all_public_keys_verifies_what_each_signed(
        self, stella: Stella, tmp_path: Path
    ) -> None:
        run = exported(stella, tmp_path)
        stella("export", "download", run["runId"], "--to", str(tmp_path / "old"))
        stella(*KEY, "rotate")
        stella("export", "download", run["runId"], "--to", str(tmp_path / "new"))
        keys = tmp_path / "all.pub"
        told = stella(*KEY, "export-public", "--all", "--to", str(keys))
        assert len(told["keyIds"]) == 2
        stranger = Stella(tmp_path / "elsewhere")
        for bundle in ("old", "new"):
            assert stranger("export", "verify", str(tmp_path / bundle), "--key", str(keys))["verdict"] == "ok"
        keys.write_bytes(keys.read_bytes() + b"-----BEGIN PUBLIC KEY-----\n")
        stranger.refused(2, "ERR_KEY_UNUSABLE", "export", "verify", str(tmp_path / "old"), "--key", str(keys))


class TestResign:
    def test_a_rotation_signs_kept_exports_again(self, stella: Stella, tmp_path: Path) -> None:
        run = exported(stella, tmp_path)
        root = stella.bundle(run)
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        rotated = stella(*KEY, "rotate")
        assert rotated["resigned"] == [
            {"exportId": run["exportId"], "archiveId": run["archiveId"], "problem": None}
        ]
        after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert set(after) == set(before)
        changed = {path.relative_to(root).parts[0] for path in before if before[path] != after[path]}
        assert changed == {"signatures"}
        assert signer_said(stella, run["runId"]).endswith(rotated["keyId"])

    def test_after_a_revocation_exports_verify_again(self, stella: Stella, tmp_path: Path) -> None:
        run = exported(stella, tmp_path)
        (key,) = stella(*KEY, "list")
        stella(*KEY, "revoke", key["keyId"])
        assert stella.ask("export", "verify", run["runId"]).code == 6
        stella(*KEY, "create")
        assert [each["problem"] for each in stella(*KEY, "resign")] == [None]
        assert stella("export", "verify", run["runId"])["verdict"] == "ok"

    def test_an_export_that_is_not_what_its_run_made_is_not_signed(
        self, stella: Stella, tmp_path: Path
    ) -> None:
        run = exported(stella, tmp_path)
        root = stella.bundle(run)
        target = root / "README.md"
        target.write_bytes(target.read_bytes() + b"x")
        signatures = {path: path.read_bytes() for path in (root / "signatures").iterdir()}
        answer = stella.ask(*KEY, "rotate", "--format", "json")
        assert answer.code == 6
        (done,) = answer.value["resigned"]
        assert "README.md" in done["problem"]
        assert {path: path.read_bytes() for path in (root / "signatures").iterdir()} == signatures

    def test_without_exports_there_is_nothing_to_sign(self, stella: Stella) -> None:
        stella(*KEY, "create")
        assert stella(*KEY, "resign") == []


def profile(*forms: str) -> str:
    return json.dumps(
        {
            "apiVersion": "stellaops.io/export.v1",
            "kind": "ExportProfile",
            "metadata": {"name": "with-jws"},
            "spec": {"kind": "json", "variant": "raw", "signing": {"forms": forms}},
        }
    )


class TestJws:
    def made(self, stella: Stella, tmp_path: Path) -> dict[str, Any]:
        file = tmp_path / "profile.json"
        file.write_text(profile("jws"), encoding="utf-8")
        stella("export", "profile", "create", str(file))
        return exported(stella, tmp_path, "with-jws")

    def test_a_profile_asks_for_it_and_verification_checks_it(self, stella: Stella, tmp_path: Path) -> None:
        run = self.made(stella, tmp_path)
        wanted = {"signatures/export.jws", "signatures/files.jws"}
        assert wanted <= set(run["signatures"])
        (said,) = (
            check["detail"]
            for check in stella("export", "verify", run["runId"])["checks"]
            if check["id"] == "V08"
        )
        assert "JWS" in said
        stella(*KEY, "rotate")
        root = stella.bundle(run)
        assert all((root / path).is_file() for path in wanted)
        assert stella("export", "verify", run["runId"])["verdict"] == "ok"
        (root / "signatures" / "export.jws").write_bytes(b"x")
        assert stella.ask("export", "verify", run["runId"]).code == 6

    def test_a_form_that_is_not_known_is_refused(self, stella: Stella, tmp_path: Path) -> None:
        (tmp_path / "wrong.json").write_text(profile("pgp"), encoding="utf-8")
        said = stella.refused(
            2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", str(tmp_path / "wrong.json")
        )
        assert "signing.forms" in said
