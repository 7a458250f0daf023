from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stellaops.adapters.keys.disk import KeyFileNotWritten, passphrase_file
from stellaops.adapters.keys.file import FileKeyStore
from stellaops.authority import manage_keys
from stellaops.authority.keys import KeyNotFound, KeyRecord, KeyRevoked, KeyState, KeyUnavailable, Protection
from stellaops.authority.tenants import BadTenantName
from stellaops.signing import ecdsa_p256

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SECRET = b"a passphrase that must not be told"


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path)


def private_file(tmp_path: Path, record: KeyRecord) -> Path:
    return tmp_path / "keys" / record.tenant / f"{record.key_id}.pem"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_run_makes_the_tenants_key_and_later_ones_use_it(
    store: FileKeyStore, tmp_path: Path
) -> None:
    first = manage_keys.active_signer(store, store, "acme", now=NOW)
    again = manage_keys.active_signer(FileKeyStore(tmp_path), FileKeyStore(tmp_path), "acme", now=LATER)
    assert first.key_id == again.key_id
    assert first.sign(b"x") == again.sign(b"x")
    (record,) = manage_keys.list_keys(store, "acme")
    assert (record.key_id, record.state, record.created_at) == (first.key_id, KeyState.ACTIVE, NOW)


def test_first_runs_at_the_same_time_make_one_key(tmp_path: Path) -> None:
    def run(_number: int) -> str:
        store = FileKeyStore(tmp_path)
        return manage_keys.active_signer(store, store, "acme", now=NOW).key_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(run, range(16)))) == 1


def test_the_private_key_is_the_owners_alone_whatever_the_umask(store: FileKeyStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record = manage_keys.create_key(store, "acme", now=NOW)
    finally:
        os.umask(before)
    assert mode(private_file(tmp_path, record)) == 0o600
    assert mode(tmp_path / "keys" / "acme") == 0o700
    assert mode(tmp_path / "tenants" / "acme" / "export-center.pub") == 0o644


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_may_open_is_refused(
    store: FileKeyStore, tmp_path: Path, open_to: int
) -> None:
    record = manage_keys.create_key(store, "acme", now=NOW)
    private_file(tmp_path, record).chmod(open_to)
    with pytest.raises(KeyUnavailable, match="open to others"):
        manage_keys.active_signer(store, store, "acme", now=NOW)


def test_a_link_in_place_of_a_private_key_is_refused(store: FileKeyStore, tmp_path: Path) -> None:
    record = manage_keys.create_key(store, "acme", now=NOW)
    path = private_file(tmp_path, record)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(KeyUnavailable):
        store.signer("acme", record.key_id)


def test_the_public_key_is_published_and_exported(store: FileKeyStore, tmp_path: Path) -> None:
    signer = manage_keys.active_signer(store, store, "acme", now=NOW)
    published = (tmp_path / "tenants" / "acme" / "export-center.pub").read_bytes()
    assert published == manage_keys.export_public(store, "acme") == signer.public_key_pem()
    assert ecdsa_p256.load_public_key(published).key_id == signer.key_id


def test_of_several_keys_one_signs(store: FileKeyStore, tmp_path: Path) -> None:
    first = manage_keys.create_key(store, "acme", now=NOW)
    waiting = manage_keys.create_key(store, "acme", now=LATER, activate=False)
    assert (first.state, waiting.state) == (KeyState.ACTIVE, KeyState.WAITING)
    third = manage_keys.create_key(store, "acme", now=LATER)
    states = {each.key_id: (each.state, each.retired_at) for each in manage_keys.list_keys(store, "acme")}
    assert states == {
        first.key_id: (KeyState.RETIRED, LATER),
        waiting.key_id: (KeyState.WAITING, None),
        third.key_id: (KeyState.ACTIVE, None),
    }
    assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id == third.key_id
    manage_keys.activate_key(store, "acme", waiting.key_id, now=LATER)
    assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id == waiting.key_id
    assert (tmp_path / "tenants" / "acme" / "export-center.pub").read_bytes() == waiting.public_key_pem
    assert manage_keys.export_public(store, "acme", first.key_id) == first.public_key_pem


def test_a_revoked_key_neither_signs_nor_verifies(store: FileKeyStore) -> None:
    record = manage_keys.create_key(store, "acme", now=NOW)
    assert manage_keys.revoke_key(store, "acme", record.key_id, now=LATER).state is KeyState.REVOKED
    with pytest.raises(KeyUnavailable):
        store.signer("acme", record.key_id)
    with pytest.raises(KeyNotFound):
        manage_keys.active_signer(store, store, "acme", now=LATER)
    with pytest.raises(KeyRevoked):
        manage_keys.activate_key(store, "acme", record.key_id, now=LATER)
    trusted = manage_keys.trusted_keys(store, "acme")
    assert trusted.revoked == {record.key_id}
    replacement = manage_keys.create_key(store, "acme", now=LATER)
    assert replacement.state is KeyState.ACTIVE
    assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id == replacement.key_id


def test_keys_belong_to_their_tenant(store: FileKeyStore) -> None:
    record = manage_keys.create_key(store, "acme", now=NOW)
    assert manage_keys.list_keys(store, "other") == ()
    for call in (
        lambda: store.signer("other", record.key_id),
        lambda: manage_keys.export_public(store, "other", record.key_id),
        lambda: manage_keys.export_public(store, "other"),
        lambda: manage_keys.revoke_key(store, "other", record.key_id, now=NOW),
        lambda: store.signer("acme", "../other/" + "0" * 64),
    ):
        with pytest.raises(KeyNotFound):
            call()


@pytest.mark.parametrize("tenant", ["", "..", ".", "a/b", "../x", "A", "é", "a" * 64, "a\0b", "a\n"])
def test_a_tenant_name_never_leaves_its_directory(store: FileKeyStore, tenant: str) -> None:
    with pytest.raises(BadTenantName):
        manage_keys.create_key(store, tenant, now=NOW)


class TestPassphrase:
    def test_it_protects_the_file_and_opens_the_key(self, tmp_path: Path) -> None:
        store = FileKeyStore(tmp_path, lambda: SECRET)
        signer = manage_keys.active_signer(store, store, "acme", now=NOW)
        (record,) = store.records("acme")
        pem = private_file(tmp_path, record).read_bytes()
        assert pem.startswith(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----")
        assert record.protection is Protection.ENCRYPTED
        assert FileKeyStore(tmp_path, lambda: SECRET).signer("acme", record.key_id).sign(b"x") == signer.sign(
            b"x"
        )

    @pytest.mark.parametrize("given", [None, b"", b"another"])
    def test_without_it_the_key_is_unavailable_and_nothing_is_told(
        self, tmp_path: Path, given: bytes | None
    ) -> None:
        record = manage_keys.create_key(FileKeyStore(tmp_path, lambda: SECRET), "acme", now=NOW)
        with pytest.raises(KeyUnavailable) as caught:
            FileKeyStore(tmp_path, lambda: given).signer("acme", record.key_id)
        assert caught.value.__cause__ is None
        assert SECRET.decode() not in str(caught.value) + caught.value.advice

    def test_a_key_without_one_opens_though_one_is_configured(self, tmp_path: Path) -> None:
        record = manage_keys.create_key(FileKeyStore(tmp_path), "acme", now=NOW)
        assert FileKeyStore(tmp_path, lambda: SECRET).signer("acme", record.key_id).key_id == record.key_id

    def test_it_comes_from_a_file_that_only_the_owner_may_open(self, tmp_path: Path) -> None:
        path = tmp_path / "passphrase"
        path.write_bytes(SECRET + b"\n")
        path.chmod(0o600)
        assert passphrase_file(path)() == SECRET
        (tmp_path / "mounted").symlink_to(path)
        assert passphrase_file(tmp_path / "mounted")() == SECRET
        path.chmod(0o644)
        for name in ("passphrase", "mounted"):
            with pytest.raises(KeyUnavailable):
                passphrase_file(tmp_path / name)()
        with pytest.raises(KeyUnavailable):
            passphrase_file(tmp_path / "nowhere")()


class TestDamage:
    def test_another_keys_private_key_is_refused(self, store: FileKeyStore, tmp_path: Path) -> None:
        first = manage_keys.create_key(store, "acme", now=NOW)
        second = manage_keys.create_key(store, "acme", now=LATER)
        private_file(tmp_path, second).write_bytes(private_file(tmp_path, first).read_bytes())
        with pytest.raises(KeyUnavailable, match="another one"):
            store.signer("acme", second.key_id)

    @pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b'{"publicKey":1}', b"\xff"])
    def test_a_damaged_record_is_told(self, store: FileKeyStore, tmp_path: Path, data: bytes) -> None:
        record = manage_keys.create_key(store, "acme", now=NOW)
        private_file(tmp_path, record).with_suffix(".json").write_bytes(data)
        assert store.records("acme") == ()
        (damaged,) = store.damaged("acme")
        assert damaged.key_id == record.key_id
        assert "damaged" in damaged.what
        with pytest.raises(KeyUnavailable, match="damaged"):
            manage_keys.active_signer(store, store, "acme", now=LATER)

    def test_a_private_key_whose_record_was_never_written_is_no_key(
        self, store: FileKeyStore, tmp_path: Path
    ) -> None:
        """What a crash between the two files leaves."""
        record = manage_keys.create_key(store, "acme", now=NOW)
        private_file(tmp_path, record).with_suffix(".json").unlink()
        assert store.records("acme") == ()
        assert manage_keys.active_signer(store, store, "acme", now=LATER).key_id != record.key_id

    def test_a_write_that_fails_leaves_nothing_behind(
        self, store: FileKeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(KeyFileNotWritten, match="No space"):
            manage_keys.create_key(store, "acme", now=NOW)
        assert [path.name for path in (tmp_path / "keys" / "acme").iterdir()] == [".lock"]
