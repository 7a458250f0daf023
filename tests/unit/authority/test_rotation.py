"""Rotation with overlap, revocation, other passphrases, keys from elsewhere; and what a kill leaves of each."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stellaops.adapters.keys.file import FileKeyStore
from stellaops.authority import manage_keys
from stellaops.authority.keys import (
    BadReason,
    KeyNotFound,
    KeyRevoked,
    KeyState,
    KeyUnavailable,
    PassphraseNeeded,
    Protection,
)
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.key_files import KeyForm
from tests.support.choosing import all_quick_but

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OLD, NEW = b"the old passphrase", b"the new passphrase"


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path)


def place(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "acme"


def published(tmp_path: Path) -> Path:
    return tmp_path / "tenants" / "acme" / "export-center.pub"


def states(store: FileKeyStore) -> dict[str, KeyState]:
    return {record.key_id: record.state for record in store.records("acme")}


class TestRotation:
    def test_receivers_can_have_a_key_before_it_signs(self, store: FileKeyStore) -> None:
        first = manage_keys.create_key(store, "acme", now=NOW)
        following = manage_keys.create_key(store, "acme", now=LATER, activate=False)
        together = first.public_key_pem + following.public_key_pem
        assert manage_keys.export_all_public(store, "acme") == together
        switched = manage_keys.activate_key(store, "acme", following.key_id, now=LATER)
        assert switched.state is KeyState.ACTIVE
        (retired,) = (each for each in store.records("acme") if each.key_id == first.key_id)
        assert (retired.state, retired.retired_at) == (KeyState.RETIRED, LATER)
        assert first.public_key_pem in manage_keys.export_all_public(store, "acme")

    def test_a_key_that_signs_again_is_no_longer_retired(self, store: FileKeyStore) -> None:
        first = manage_keys.create_key(store, "acme", now=NOW)
        manage_keys.create_key(store, "acme", now=LATER)
        again = manage_keys.activate_key(store, "acme", first.key_id, now=LATER)
        assert (again.state, again.retired_at) == (KeyState.ACTIVE, None)
        assert again.remark() == ""

    def test_the_first_key_signs_though_it_was_to_wait(self, store: FileKeyStore) -> None:
        assert manage_keys.create_key(store, "acme", now=NOW, activate=False).state is KeyState.ACTIVE


class TestRevocation:
    def test_it_keeps_its_first_time_and_reason(self, store: FileKeyStore) -> None:
        key_id = manage_keys.create_key(store, "acme", now=NOW).key_id
        manage_keys.revoke_key(store, "acme", key_id, now=NOW, reason="laptop stolen")
        record = manage_keys.revoke_key(store, "acme", key_id, now=LATER, reason="another")
        assert (record.revoked_at, record.revocation_reason) == (NOW, "laptop stolen")
        assert record.remark() == "revoked 2026-01-02T03:04:05Z: laptop stolen"
        assert manage_keys.trusted_keys(store, "acme").remarks == {key_id: record.remark()}

    def test_its_public_key_is_published_no_more(self, store: FileKeyStore, tmp_path: Path) -> None:
        first = manage_keys.create_key(store, "acme", now=NOW)
        second = manage_keys.create_key(store, "acme", now=NOW)
        manage_keys.revoke_key(store, "acme", first.key_id, now=LATER)
        assert published(tmp_path).read_bytes() == second.public_key_pem
        assert manage_keys.export_all_public(store, "acme") == second.public_key_pem
        manage_keys.revoke_key(store, "acme", second.key_id, now=LATER)
        assert not published(tmp_path).exists()
        with pytest.raises(KeyNotFound):
            manage_keys.export_all_public(store, "acme")

    @pytest.mark.parametrize("reason", ["x" * 201, "two\nlines", "\x1b[31m", "tab\t"])
    def test_a_reason_is_one_plain_line(self, store: FileKeyStore, reason: str) -> None:
        key_id = manage_keys.create_key(store, "acme", now=NOW).key_id
        with pytest.raises(BadReason):
            manage_keys.revoke_key(store, "acme", key_id, now=NOW, reason=reason)
        assert states(store) == {key_id: KeyState.ACTIVE}

    def test_it_neither_leaves_nor_comes_back(self, store: FileKeyStore) -> None:
        key_id = manage_keys.create_key(store, "acme", now=NOW).key_id
        key = store.private_key("acme", key_id)
        manage_keys.revoke_key(store, "acme", key_id, now=NOW)
        with pytest.raises(KeyRevoked):
            manage_keys.export_private(store, "acme", key_id, KeyForm.COSIGN, NEW)
        with pytest.raises(KeyRevoked):
            manage_keys.import_key(store, "acme", key, None, now=LATER)


class TestPassphrases:
    def test_all_keys_go_under_another_one(self, tmp_path: Path) -> None:
        before = FileKeyStore(tmp_path, lambda: OLD)
        ids = [manage_keys.create_key(before, "acme", now=NOW).key_id for _ in range(3)]
        changed = manage_keys.change_passphrase(before, "acme", None, NEW)
        assert sorted(each.key_id for each in changed) == sorted(ids)
        after = FileKeyStore(tmp_path, lambda: NEW)
        for key_id in ids:
            assert after.signer("acme", key_id).key_id == key_id
            with pytest.raises(KeyUnavailable):
                before.signer("acme", key_id)

    def test_one_may_be_named_and_none_may_be_meant(self, tmp_path: Path) -> None:
        store = FileKeyStore(tmp_path, lambda: OLD)
        one, other = (manage_keys.create_key(store, "acme", now=NOW).key_id for _ in range(2))
        (record,) = manage_keys.change_passphrase(store, "acme", one, None, unprotected=True)
        assert record.protection is Protection.PLAIN
        found = {each.key_id: each.protection for each in store.records("acme")}
        assert found == {one: Protection.PLAIN, other: Protection.ENCRYPTED}
        assert FileKeyStore(tmp_path).signer("acme", one).key_id == one

    @pytest.mark.parametrize(("given", "unprotected"), [(None, False), (NEW, True)])
    def test_what_is_meant_must_be_said(
        self, store: FileKeyStore, given: bytes | None, unprotected: bool
    ) -> None:
        manage_keys.create_key(store, "acme", now=NOW)
        with pytest.raises(PassphraseNeeded):
            manage_keys.change_passphrase(store, "acme", None, given, unprotected=unprotected)

    def test_one_that_does_not_open_changes_nothing(self, tmp_path: Path) -> None:
        manage_keys.create_key(FileKeyStore(tmp_path), "acme", now=NOW)
        manage_keys.create_key(FileKeyStore(tmp_path, lambda: OLD), "acme", now=NOW)
        before = {path: path.read_bytes() for path in place(tmp_path).iterdir()}
        with pytest.raises(KeyUnavailable):
            manage_keys.change_passphrase(FileKeyStore(tmp_path, lambda: b"wrong"), "acme", None, NEW)
        assert {path: path.read_bytes() for path in place(tmp_path).iterdir()} == before

    def test_a_change_that_was_cut_off_is_finished_by_the_same_call(self, tmp_path: Path) -> None:
        store = FileKeyStore(tmp_path, lambda: OLD)
        ids = [manage_keys.create_key(store, "acme", now=NOW).key_id for _ in range(2)]
        manage_keys.change_passphrase(store, "acme", ids[0], NEW)
        manage_keys.change_passphrase(store, "acme", None, NEW)
        after = FileKeyStore(tmp_path, lambda: NEW)
        assert {after.signer("acme", key_id).key_id for key_id in ids} == set(ids)

    def test_a_tenant_without_private_keys_is_told(self, store: FileKeyStore, tmp_path: Path) -> None:
        with pytest.raises(KeyNotFound):
            manage_keys.change_passphrase(store, "acme", None, NEW)
        record = manage_keys.create_key(store, "acme", now=NOW)
        (place(tmp_path) / f"{record.key_id}.pem").unlink()
        (left,) = store.records("acme")
        assert left.protection is Protection.ABSENT
        with pytest.raises(KeyNotFound):
            manage_keys.change_passphrase(store, "acme", None, NEW)


class TestFromElsewhere:
    def test_a_key_that_comes_waits_and_may_sign(self, store: FileKeyStore) -> None:
        manage_keys.create_key(store, "acme", now=NOW)
        key = ecdsa_p256.generate()
        assert manage_keys.import_key(store, "acme", key, None, now=LATER).state is KeyState.WAITING
        record = manage_keys.import_key(store, "acme", key, None, now=LATER, activate=True)
        assert (record.state, record.created_at) == (KeyState.ACTIVE, LATER)
        assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id == key.key_id

    def test_the_first_to_come_signs(self, store: FileKeyStore, tmp_path: Path) -> None:
        key = ecdsa_p256.generate()
        assert manage_keys.import_key(store, "acme", key, NEW, now=NOW).state is KeyState.ACTIVE
        assert published(tmp_path).read_bytes() == key.public_key_pem()
        assert FileKeyStore(tmp_path, lambda: NEW).signer("acme", key.key_id).sign(b"x") == key.sign(b"x")

    def test_a_damaged_private_key_is_restored_by_it(self, store: FileKeyStore, tmp_path: Path) -> None:
        record = manage_keys.create_key(store, "acme", now=NOW)
        key = store.private_key("acme", record.key_id)
        (place(tmp_path) / f"{record.key_id}.pem").write_bytes(b"half")
        with pytest.raises(KeyUnavailable):
            store.signer("acme", record.key_id)
        assert manage_keys.import_key(store, "acme", key, None, now=LATER).created_at == NOW
        assert store.signer("acme", record.key_id).key_id == record.key_id

    @pytest.mark.parametrize("form", list(KeyForm))
    def test_what_leaves_comes_back_as_it_was(
        self, store: FileKeyStore, tmp_path: Path, form: KeyForm
    ) -> None:
        record = manage_keys.create_key(store, "acme", now=NOW)
        told, data = manage_keys.export_private(store, "acme", None, form, NEW)
        assert told == record
        other = FileKeyStore(tmp_path / "other")
        manage_keys.import_key(other, "acme", key_files.read(data, NEW), None, now=LATER)
        assert other.signer("acme", record.key_id).sign(b"x") == store.signer("acme", record.key_id).sign(
            b"x"
        )


class TestDamage:
    def test_a_damaged_record_takes_no_other_key_with_it(self, store: FileKeyStore, tmp_path: Path) -> None:
        damaged = manage_keys.create_key(store, "acme", now=NOW)
        active = manage_keys.create_key(store, "acme", now=LATER)
        (place(tmp_path) / f"{damaged.key_id}.json").write_bytes(b"{")
        assert states(store) == {active.key_id: KeyState.ACTIVE}
        assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id == active.key_id
        assert manage_keys.create_key(store, "acme", now=LATER).state is KeyState.ACTIVE
        with pytest.raises(KeyUnavailable, match="damaged"):
            manage_keys.revoke_key(store, "acme", damaged.key_id, now=LATER)

    def test_a_key_of_which_nobody_knows_whether_it_was_revoked_verifies_nothing(
        self, store: FileKeyStore, tmp_path: Path
    ) -> None:
        record = manage_keys.create_key(store, "acme", now=NOW)
        path = place(tmp_path) / f"{record.key_id}.json"
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"revokedAt":null', b'"revokedAt":"once upon a time"'))
        trusted = manage_keys.trusted_keys(store, "acme")
        assert trusted.pems == ()
        assert trusted.revoked == {record.key_id}
        assert "damaged" in trusted.remarks[record.key_id]
        path.write_bytes(text)
        assert manage_keys.trusted_keys(store, "acme").revoked == frozenset()

    def test_no_new_key_is_made_in_place_of_a_damaged_one(self, store: FileKeyStore, tmp_path: Path) -> None:
        record = manage_keys.create_key(store, "acme", now=NOW)
        (place(tmp_path) / f"{record.key_id}.json").write_bytes(b"")
        with pytest.raises(KeyUnavailable, match="no active signing key"):
            manage_keys.active_signer(store, store, "acme", now=LATER)
        assert len(list(place(tmp_path).glob("*.pem"))) == 1

    def test_records_from_before_rotation_had_times_are_read(
        self, store: FileKeyStore, tmp_path: Path
    ) -> None:
        first = manage_keys.create_key(store, "acme", now=NOW)
        manage_keys.create_key(store, "acme", now=LATER)
        path = place(tmp_path) / f"{first.key_id}.json"
        shorter = path.read_bytes().replace(b'"retiredAt":"2026-01-02T04:04:05Z","revocationReason":"",', b"")
        path.write_bytes(shorter)
        assert b"retiredAt" not in shorter
        assert states(store)[first.key_id] is KeyState.RETIRED


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from stellaops.adapters.keys import disk
from stellaops.adapters.keys.file import FileKeyStore
from stellaops.authority import manage_keys

left = int(sys.argv[2])
rename = Path.replace
def killed(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return rename(self, target)
Path.replace = killed
store = FileKeyStore(Path(sys.argv[1]), lambda: b"the old passphrase")
now = datetime(2026, 1, 3, tzinfo=UTC)
ids = [each.key_id for each in store.records("acme")]
ACTION
"""
ACTIONS = {
    "rotate": "manage_keys.create_key(store, 'acme', now=now)",
    "activate": "manage_keys.activate_key(store, 'acme', ids[0], now=now)",
    "revoke": "manage_keys.revoke_key(store, 'acme', ids[1], now=now, reason='x')",
    "passwd": "manage_keys.change_passphrase(store, 'acme', None, b'the new passphrase')",
}


def killed_at(tmp_path: Path, action: str, rename: int) -> bool:
    """Do something in a process that is killed between a write and its rename, the first or a later one."""
    program = KILLED.replace("ACTION", ACTIONS[action])
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(rename)], check=False, capture_output=True
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def all_open(tmp_path: Path, key_ids: list[str]) -> None:
    for key_id in key_ids:
        FileKeyStore(tmp_path, lambda: OLD).private_key("acme", key_id, NEW)


@pytest.mark.parametrize("action", all_quick_but(ACTIONS, ("passwd", "rotate")))
def test_a_kill_between_any_write_and_its_rename_loses_no_key(action: str, tmp_path: Path) -> None:
    for rename in range(10):
        data = tmp_path / str(rename)
        store = FileKeyStore(data, lambda: OLD)
        ids = [manage_keys.create_key(store, "acme", now=NOW + n * timedelta(1)).key_id for n in range(2)]
        killed = killed_at(data, action, rename)
        assert store.damaged("acme") == ()
        assert set(ids) <= set(states(store))
        all_open(data, ids)
        left = [path for path in place(data).iterdir() if path.name.startswith(".") and path.name != ".lock"]
        assert len(left) <= 1
        # The same command again ends well, and the dead one's secret is gone.
        assert not killed_at(data, action, 99)
        assert not [
            path for path in place(data).iterdir() if path.name.startswith(".") and path.name != ".lock"
        ]
        active = [key_id for key_id, state in states(store).items() if state is KeyState.ACTIVE]
        if action == "revoke":
            assert (active, published(data).exists()) == ([], False)
        else:
            public = published(data).read_bytes()
            assert [ecdsa_p256.load_public_key(public).key_id] == active
        if not killed:
            assert rename > 0
            return
    pytest.fail("it never came to its end")


def test_what_a_kill_kept_from_being_published_is_published_by_the_next_run(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    record = manage_keys.create_key(store, "acme", now=NOW)
    published(tmp_path).write_bytes(b"an earlier key")
    manage_keys.active_signer(store, store, "acme", now=NOW)
    assert published(tmp_path).read_bytes() == record.public_key_pem


def test_only_dead_writers_files_are_swept(store: FileKeyStore, tmp_path: Path) -> None:
    manage_keys.create_key(store, "acme", now=NOW)
    dead = place(tmp_path) / f".{'0' * 64}.pem.{'a' * 16}"
    kept = place(tmp_path) / "notes.txt"
    for path in (dead, kept):
        path.write_bytes(b"x")
    manage_keys.create_key(store, "acme", now=LATER)
    assert (dead.exists(), kept.exists()) == (False, True)
