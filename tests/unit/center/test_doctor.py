"""What the doctor makes of what it sees: each judgement both ways, and that one broken part hides no other."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stellaops.adapters.keys.file import FileKeyStore
from stellaops.adapters.settings import load as settings
from stellaops.adapters.sql.administration import StoreStatus
from stellaops.authority.clients import Client, ClientSecret
from stellaops.authority.download_tokens import DownloadToken, Secret
from stellaops.bootstrap import Local
from stellaops.center.doctor import (
    clocks,
    credentials,
    examine,
    files,
    keys,
    mirrors,
    notifications,
    queue,
    stores,
    upkeep,
)
from stellaops.core.errors import DependencyFailed
from stellaops.exports.distribution.verify_targets import FAILED, OK, SKIPPED, TargetCheck
from stellaops.exports.ports import QueueStatus
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.mirrors.sync_state import SyncState
from tests.support.mirror_tree import MirrorTree
from tests.support.runbook import ROOT
from tests.unit.cli.running import Stella, osv, package, until

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def days(number: float) -> timedelta:
    return timedelta(days=number)


# Settings and disks


def settled(tmp_path: Path, **variables: str) -> settings.Settings:
    return settings.load({}, {"STELLA_CONFIG": str(tmp_path / "none.yaml"), **variables})


def told(tmp_path: Path, **variables: str) -> Finding:
    (found,) = files.check_settings(settled(tmp_path, **variables))
    return found


def test_files_that_settings_name_have_to_be_there_and_secrets_closed(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("x")
    secret.chmod(0o600)
    assert told(tmp_path, STELLA_KEY_PASSPHRASE_FILE=str(secret)).verdict is Verdict.OK
    secret.chmod(0o644)
    found = told(tmp_path, STELLA_KEY_PASSPHRASE_FILE=str(secret))
    assert (found.verdict, "chmod 600" in found.hint) == (Verdict.WARNING, True)
    authority = tmp_path / "ca.pem"
    authority.write_text("x")
    assert told(tmp_path, STELLA_EGRESS_CA_FILE=str(authority)).verdict is Verdict.OK  # no secret
    found = told(tmp_path, STELLA_KEY_PASSPHRASE_FILE=str(tmp_path / "gone"), STELLA_TRIVY=str(authority))
    assert found.verdict is Verdict.FAILED
    assert "keyPassphraseFile" in found.detail
    assert "no program" in found.detail


def test_files_of_tenants_are_left_to_their_tenants(tmp_path: Path) -> None:
    assert told(tmp_path, STELLA_PKCS11_PIN_FILE="/run/{tenant}/pin").verdict is Verdict.OK


def test_disks_are_looked_at(tmp_path: Path) -> None:
    names = [each.name for each in files.check_disks(tmp_path)]
    assert names == ["disk", "disk entries", "temporary room"]
    assert [each.name for each in files.check_disks(tmp_path / "absent")] == ["temporary room"]


# Stores


class Standing:
    """A store in some state."""

    name = "service"
    is_absent = False

    def __init__(self, status: StoreStatus | Exception) -> None:
        self._status = status

    def status(self) -> StoreStatus:
        if isinstance(self._status, Exception):
            raise self._status
        return self._status


def status(schema: int, *pending: str) -> StoreStatus:
    return StoreStatus("service", "sqlite", "/x/service.db", schema, 1, 7, pending, 1 << 21, {}, ())


@pytest.mark.parametrize(
    ("standing", "serves", "begun", "verdict", "hint"),
    [
        (status(7), False, True, Verdict.OK, ""),
        (status(6, "a table"), False, True, Verdict.WARNING, "stella db migrate"),
        (status(0), False, False, Verdict.WARNING, "stella config show"),
        (status(0), False, True, Verdict.OK, ""),
        (status(0), True, False, Verdict.OK, ""),
        (DependencyFailed("no answer", hint="Start it."), False, True, Verdict.FAILED, "Start it."),
    ],
)
def test_a_store_is_told_by_its_state(
    standing: StoreStatus | Exception, serves: bool, begun: bool, verdict: Verdict, hint: str
) -> None:
    found = stores.check_store(Standing(standing), serves=serves, begun=begun)
    assert (found.name, found.verdict, hint in found.hint) == ("service store", verdict, True)


# Clocks


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0, Verdict.OK), (-2, Verdict.OK), (3, Verdict.WARNING), (-31, Verdict.FAILED), (3600, Verdict.FAILED)],
)
def test_clocks_that_are_apart_are_told(seconds: int, verdict: Verdict) -> None:
    found = clocks.compare("clock", NOON + timedelta(seconds=seconds), NOON)
    assert found.verdict is verdict
    assert found.hint or verdict is Verdict.OK


def test_the_clock_of_a_disk_is_compared_and_a_closed_directory_told(tmp_path: Path) -> None:
    assert clocks.check_file_system(tmp_path).verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []
    assert clocks.check_file_system(Path("/proc/self")).verdict is Verdict.FAILED


# Keys, credentials


def test_a_tenant_needs_an_active_key_that_signs(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path, lambda: None)
    assert keys.check_tenants(["acme"], store, store).verdict is Verdict.OK  # its first run makes one
    made = store.create("acme", NOON)
    assert keys.check_tenants(["acme"], store, store).verdict is Verdict.OK
    file = tmp_path / "keys" / "acme" / f"{made.key_id}.pem"
    file.chmod(0o644)
    found = keys.check_tenants(["other", "acme"], store, store)
    assert (found.verdict, found.detail.startswith("acme: ")) == (Verdict.FAILED, True)
    file.chmod(0o600)
    store.revoke("acme", made.key_id, NOON, "lost")
    found = keys.check_tenants(["acme"], store, store)
    assert (found.verdict, "no key is active" in found.detail) == (Verdict.FAILED, True)


def client(name: str, *secrets: ClientSecret) -> Client:
    return Client(name, name, ("acme",), (), NOON - days(400), secrets)


def test_old_secrets_and_ones_that_end_while_they_are_used_are_told() -> None:
    old = client("ci", ClientSecret(1, "h", NOON - days(91)))
    young = client("edge", ClientSecret(1, "h", NOON - days(89)))
    assert credentials.check_secrets([young], NOON, days(90)).verdict is Verdict.OK
    found = credentials.check_secrets([young, old], NOON, days(90))
    assert (found.verdict, found.detail) == (Verdict.WARNING, "ci (91 days)")
    assert credentials.check_secrets([old], NOON, None).verdict is Verdict.OK
    ends = ClientSecret(1, "h", NOON - days(80), NOON + days(1), used_at=NOON)
    found = credentials.check_secrets(
        [client("x", ends, ClientSecret(2, "h", NOON - days(1)))], NOON, days(90)
    )
    assert (found.verdict, found.detail) == (Verdict.WARNING, "x still uses one that ends")


def test_download_tokens_that_end_soon_are_told() -> None:
    def token(name: str, end: datetime, revoked: datetime | None = None) -> DownloadToken:
        secrets = (Secret(1, "d", NOON - days(30), end),)
        return DownloadToken("0" * 12, "acme", name, (), (), NOON, "x", secrets, revoked)

    fine = [
        token("far", NOON + days(20)),
        token("over", NOON - days(1)),
        token("revoked", NOON + days(1), NOON),
    ]
    assert credentials.check_tokens(fine, NOON, days(14)).verdict is Verdict.OK
    found = credentials.check_tokens([*fine, token("near", NOON + days(13))], NOON, days(14))
    assert (found.verdict, found.detail) == (Verdict.WARNING, "end soon: acme/near")


# The queue, targets, notifications


@pytest.mark.parametrize(
    ("paused", "ready", "running", "workers", "verdict"),
    [
        (False, 0, 0, [], Verdict.OK),
        (True, 0, 0, ["running"], Verdict.OK),
        (True, 1, 0, ["running"], Verdict.WARNING),
        (False, 1, 0, ["running"], Verdict.OK),
        (False, 1, 0, ["draining"], Verdict.FAILED),
        (False, 0, 1, ["lost"], Verdict.FAILED),
        (False, 0, 1, ["lost", "running"], Verdict.WARNING),
    ],
)
def test_a_queue_that_nobody_empties_is_told(
    paused: bool, ready: int, running: int, workers: list[str], verdict: Verdict
) -> None:
    found = queue.judge(
        QueueStatus(paused, {"acme": ready}, {"acme": running}), workers, NOON if paused else None
    )
    assert found.verdict is verdict
    assert bool(found.hint) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("state", "sound", "verdict"),
    [
        (OK, NOON, Verdict.OK),
        (SKIPPED, NOON - days(1), Verdict.OK),
        (SKIPPED, NOON - days(3), Verdict.WARNING),
        (SKIPPED, None, Verdict.WARNING),
        (FAILED, NOON, Verdict.FAILED),
    ],
)
def test_targets_are_told_by_their_last_verification(
    state: str, sound: datetime | None, verdict: Verdict
) -> None:
    check = TargetCheck("acme", "trivy:db", "trivy:db", "edge", "oci", "run-1", "r", NOON, state)
    assert upkeep.check_targets([(check, sound)], NOON).verdict is verdict


def test_notifications_that_stay_are_told() -> None:
    assert notifications.judge({"delivered": 4}, (0, None), NOON).verdict is Verdict.OK
    assert notifications.judge({}, (1, NOON - timedelta(minutes=1)), NOON).verdict is Verdict.OK
    assert notifications.judge({}, (1, NOON - days(1)), NOON).verdict is Verdict.WARNING
    assert notifications.judge({"failed": 1}, (0, None), NOON).verdict is Verdict.WARNING


# Mirrors


def certificate(file: Path, begin: datetime, end: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror.example.org")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end).sign(key, hashes.SHA256())
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


def test_certificates_are_told_before_they_end(tmp_path: Path) -> None:
    good = certificate(tmp_path / "good", NOON - days(1), NOON + days(40))
    soon = certificate(tmp_path / "soon", NOON - days(1), NOON + days(13))
    over = certificate(tmp_path / "over", NOON - days(9), NOON - days(1))

    def verdict(*paths: Path) -> Verdict:
        return mirrors.check_certificates([(path.name, path) for path in paths], NOON, days(14)).verdict

    assert verdict(good) is Verdict.OK
    assert verdict(good, soon) is Verdict.WARNING
    assert verdict(good, soon, over) is Verdict.FAILED
    assert verdict(tmp_path / "absent") is Verdict.FAILED


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MirrorTree:
    """This machine serves a tree."""
    tree = MirrorTree(tmp_path / "tree")
    tree.publish()
    for path in (tree.root / "concelier" / "freshness").glob("*.json"):
        statement = json.loads(path.read_text()) | {"expires": "2090-01-01T00:00:00Z"}
        path.write_text(json.dumps(statement))
    monkeypatch.setenv("STELLA_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("CONCELIER__MIRROR__EXPORTROOT", str(tree.root / "concelier"))
    monkeypatch.setenv("CONCELIER__MIRROR__DOMAINS__0__ID", "primary")
    monkeypatch.setenv("GATEWAY__SECRETSDIR", str(tmp_path))
    return tree


def test_a_mirror_host_is_examined_without_any_store(host: MirrorTree, tmp_path: Path) -> None:
    (tmp_path / "mirror-primary.htpasswd").write_text("x")
    data = tmp_path / "data"
    data.mkdir()
    found = _examined(data, datetime.now(UTC))
    assert found["service store"].verdict is Verdict.OK
    assert found["mirror trees"].verdict is Verdict.OK
    assert found["mirror users"].verdict is Verdict.OK
    assert list(data.iterdir()) == []
    late = _examined(data, datetime(2091, 1, 1, tzinfo=UTC))
    assert late["mirror users"].verdict is Verdict.WARNING
    assert (late["mirror trees"].verdict, "expired" in late["mirror trees"].detail) == (Verdict.FAILED, True)
    (tmp_path / "mirror-primary.htpasswd").unlink()
    (host.root / "concelier" / "latest").unlink()
    for path in (host.root / "concelier" / "freshness").iterdir():
        path.unlink()
    broken = _examined(data, datetime.now(UTC))
    assert broken["mirror users"].verdict is Verdict.FAILED
    assert broken["mirror trees"].verdict is Verdict.FAILED


def test_a_host_that_syncs_fill_has_to_be_synced_within_the_alert_s_time(
    host: MirrorTree, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()

    def verdict(moment: datetime) -> tuple[Verdict, str]:
        found = _examined(tmp_path / "data", moment)["mirror syncs"]
        return found.verdict, found.detail

    assert verdict(NOON)[0] is Verdict.OK  # its publisher writes here
    noted = host.root / "concelier" / ".synced" / "primary.json"
    noted.parent.mkdir()
    assert verdict(NOON) == (Verdict.WARNING, "last synced: concelier/primary never")
    noted.write_bytes(SyncState("e", NOON).encode())
    assert verdict(NOON + timedelta(minutes=15))[0] is Verdict.OK
    assert verdict(NOON + timedelta(minutes=16))[0] is Verdict.WARNING
    noted.write_bytes(SyncState("e", NOON, given_up=True).encode())
    later, told = verdict(NOON + timedelta(days=9))
    assert (later, told.endswith("given up by their publisher: concelier/primary")) == (Verdict.OK, True)


def _examined(data: Path, moment: datetime) -> dict[str, Finding]:
    local = Local(settings.load({"dataDir": str(data)}))
    wanted = examine.Wanted("default", 100, days(7), moment)
    return {each.name: each for each in examine.examine(local, wanted)}


# The whole


def test_one_broken_part_hides_no_other(tmp_path: Path) -> None:
    stella = Stella(tmp_path / "data")
    stella.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    stella.submit("json:raw")
    (tmp_path / "data" / "evidence.db").write_bytes(b"no database" * 1000)
    answer = stella.ask("doctor", "--format", "json")
    assert answer.code == 6
    found = {each["name"]: each for each in answer.value}
    assert found["evidence store"]["verdict"] == "failed"
    assert found["evidence store"]["hint"]
    assert found["keys"]["verdict"] == found["chores"]["verdict"] == "ok"


def test_the_page_of_the_doctor_lists_its_checks(host: MirrorTree, tmp_path: Path) -> None:
    stella = Stella(tmp_path / "data")
    stella.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    stella.submit("json:raw")
    made = {*_examined(tmp_path / "data", datetime.now(UTC)), "database clock"}  # which only a server has
    page = (ROOT / "docs" / "operate" / "doctor.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`([^`]+)`", row)} == made


def test_every_check_of_a_whole_installation_is_made_and_content(tmp_path: Path) -> None:
    stella = Stella(tmp_path / "data")
    stella.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    stella.submit("json:raw")
    found = stella("doctor")
    assert {each["verdict"] for each in found} == {"ok"}
    assert {each["name"] for each in found} >= {
        "settings", "evidence store", "service store", "clock", "disk", "temporary room", "keys", "credentials",
        "download tokens", "queue", "targets", "chores", "mirrors", "notifications", "structure", "digests", "rows",
        "feed ages", "quarantine",
    }  # fmt: skip
