"""Encrypted bundles: readable for their recipients, verifiable for everyone, and never half decrypted."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stellaops.bundles.encryption import age
from stellaops.bundles.encryption.errors import NoIdentity
from stellaops.core.errors import NotTrusted, StellaError
from stellaops.kit.apply import ApplyRefused, Trust, restore
from stellaops.kit.decrypt import NotEncrypted, TargetThere, decrypt
from stellaops.kit.report import Report
from stellaops.kit.verify import verify_bundle
from tests.support.tools import require
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import once

MODES = ["age", "aes-gcm"]
KINDS = ["json:raw", "mirror:full", "trivy:db"]
OURS, THEIRS, STRANGER = (age.Identity(bytes([number] * 32)) for number in (1, 2, 3))


def profile(name: str, kind: str, **encryption: Any) -> dict[str, Any]:
    head, _, variant = kind.partition(":")
    return {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": name},
        "spec": {"kind": head, "variant": variant, "encryption": encryption},
    }


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella.take(
        place / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0"))),
        osv("GHSA-bbbb-bbbb-bbbb", package("npm", "right", *until("2.0.0"))),
    )  # fmt: skip
    recipients = [str(OURS.recipient), str(THEIRS.recipient)]
    for mode in MODES:
        for kind in KINDS:
            name = f"{mode}-{kind.replace(':', '-')}"
            document = profile(name, kind, enabled=True, mode=mode, recipientKeys=recipients)
            (place / "profile.json").write_text(json.dumps(document), encoding="utf-8")
            stella("export", "profile", "create", str(place / "profile.json"))
            run = stella.submit(name)
            stella("export", "download", run["runId"], "--to", str(place / name))
    stella("export", "download", stella.submit("json:raw")["runId"], "--to", str(place / "clear"))
    stella("authority", "key", "export-public", "--to", str(place / "sender.pub"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "encrypted-bundles", prepare)


@pytest.fixture(params=[f"{mode}-{kind.replace(':', '-')}" for mode in MODES for kind in KINDS])
def bundle(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Path:
    """A copy of each kind of bundle in each mode."""
    shutil.copytree(made / request.param, tmp_path / request.param)
    return Path(tmp_path / request.param)


@pytest.fixture(scope="session")
def key(made: Path) -> bytes:
    return (made / "sender.pub").read_bytes()


def statuses(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def files(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def test_everyone_can_verify_what_is_encrypted_as_far_as_that_goes(bundle: Path, key: bytes) -> None:
    report = verify_bundle(bundle, [key])
    assert report.verdict == "ok"
    found = statuses(report)
    assert (found["content"], found["encryption"], found["files"]) == ("skipped", "warning", "ok")


@pytest.mark.parametrize("identity", [OURS, THEIRS])
def test_each_recipient_verifies_to_the_end(bundle: Path, key: bytes, identity: age.Identity) -> None:
    report = verify_bundle(bundle, [key], identities=[STRANGER, identity])
    assert report.verdict == "ok", report.failed()
    found = statuses(report)
    assert (found["content"], found["records"], found["encryption"]) == ("ok", "ok", "ok")


def test_a_strangers_key_opens_nothing(bundle: Path, key: bytes, tmp_path: Path) -> None:
    report = verify_bundle(bundle, [key], identities=[STRANGER])
    assert [check.name for check in report.failed()] == ["encryption"]
    for identities in ([], [STRANGER]):
        with pytest.raises(NoIdentity):
            decrypt(bundle, tmp_path / "out", Trust([key], identities=identities))
    assert not (tmp_path / "out").exists()


def test_what_is_decrypted_verifies_by_itself(bundle: Path, key: bytes, tmp_path: Path) -> None:
    head = decrypt(bundle, tmp_path / "out", Trust([key], identities=[OURS]))
    report = verify_bundle(tmp_path / "out", [key])
    assert report.verdict == "ok", report.failed()
    assert report.export_id == head.manifest.export_id
    assert statuses(report)["content"] == "ok"
    with pytest.raises(TargetThere):
        decrypt(bundle, tmp_path / "out", Trust([key], identities=[OURS]))


def test_nothing_readable_is_left_in_the_clear(bundle: Path) -> None:
    told = b"GHSA-aaaa-aaaa-aaaa"
    clear = {path.name for path in files(bundle) if told in path.read_bytes()}
    assert not clear


def test_every_changed_ciphertext_is_found(bundle: Path, key: bytes, tmp_path: Path) -> None:
    for path in files(bundle):
        if path.suffix in (".sig", ".sha256", ".json", ".yaml", ".md"):
            continue
        before = path.read_bytes()
        for place in range(0, len(before), max(1, len(before) // 12)):
            changed = bytearray(before)
            changed[place] ^= 1
            path.write_bytes(changed)
            assert verify_bundle(bundle, [key]).verdict == "failed"
            assert verify_bundle(bundle, [key], identities=[OURS]).verdict == "failed"
            with pytest.raises(StellaError):
                decrypt(bundle, tmp_path / "out", Trust([key], identities=[OURS]))
            assert not (tmp_path / "out").exists()
        path.write_bytes(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [bundle.name]


def test_a_bundle_of_another_sender_is_not_decrypted(bundle: Path, tmp_path: Path) -> None:
    stranger = Stella(tmp_path / "other")
    stranger("authority", "key", "create")
    stranger("authority", "key", "export-public", "--to", str(tmp_path / "other.pub"))
    other = (tmp_path / "other.pub").read_bytes()
    with pytest.raises(NotTrusted):
        decrypt(bundle, tmp_path / "out", Trust([other], identities=[OURS]))


def test_a_bundle_in_the_clear_is_not_decrypted(made: Path, key: bytes, tmp_path: Path) -> None:
    with pytest.raises(NotEncrypted):
        decrypt(made / "clear", tmp_path / "out", Trust([key], identities=[OURS]))


def test_the_state_is_the_same_encrypted_or_not(made: Path) -> None:
    def of(name: str) -> Any:
        return json.loads((made / name / "export.json").read_bytes())

    clear, encrypted = of("clear"), of("age-json-raw")
    for each in (clear, encrypted):
        del each["exportId"], each["profile"]["name"]
    assert clear == encrypted


@pytest.mark.parametrize("mode", MODES)
def test_an_encrypted_archive_is_restored_by_its_recipient_alone(
    made: Path, key: bytes, tmp_path: Path, mode: str
) -> None:
    (archive,) = (made / f"{mode}-mirror-full").glob("*.tar.zst")
    with pytest.raises((ApplyRefused, NoIdentity)):
        restore([archive], tmp_path / "into", Trust([key]))
    assert not (tmp_path / "into" / "current").exists()
    done = restore([archive], tmp_path / "into", Trust([key], identities=[OURS]))
    report = verify_bundle(tmp_path / "into", [key])
    assert (report.verdict, report.export_id) == ("ok", done.export_id)


def test_stock_age_decrypts_each_file_of_mode_age(made: Path, key: bytes, tmp_path: Path) -> None:
    decrypt(made / "age-json-raw", tmp_path / "ours", Trust([key], identities=[OURS]))
    (tmp_path / "identity").write_text(OURS.secret() + "\n", encoding="ascii")
    told = [path for path in files(made / "age-json-raw") if path.name.endswith(".zst")]
    assert len(told) >= 2
    for path in told:
        name = path.relative_to(made / "age-json-raw")
        words: list[str | Path] = [require("age"), "--decrypt", "--identity", tmp_path / "identity", path]
        stock = subprocess.run(words, check=True, capture_output=True).stdout
        assert stock == (tmp_path / "ours" / name).read_bytes()


@pytest.mark.parametrize(
    ("encryption", "said"),
    [
        ({"enabled": True}, "names nobody"),
        ({"enabled": True, "recipientKeys": ["age1nobody"]}, "no recipient of age"),
        ({"enabled": True, "mode": "rot13", "recipientKeys": [str(OURS.recipient)]}, "mode"),
    ],
)
def test_a_profile_that_cannot_encrypt_is_refused(
    tmp_path: Path, encryption: dict[str, Any], said: str
) -> None:
    (tmp_path / "p.json").write_text(json.dumps(profile("p", "json:raw", **encryption)), encoding="utf-8")
    words = ("export", "profile", "create", str(tmp_path / "p.json"))
    assert said in Stella(tmp_path / "data").refused(2, "ERR_EXPORT_INVALID_PROFILE", *words)
