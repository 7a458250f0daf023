"""Exports signed and encrypted by keys of key services, as stock cosign, openssl and receivers see them."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stellaops.bundles import layout
from stellaops.bundles.encryption import age
from stellaops.exports.distribution import deliver
from stellaops.kit import command_line
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.key_files import KeyForm
from tests.support import openbao, softhsm
from tests.support.openbao import OpenBao
from tests.support.softhsm import SoftHsm
from tests.unit.cli.running import Stella, osv, package, until

KEY = ("authority", "key")
KINDS = ["file", "pkcs11", "hashivault"]
IDENTITY = age.Identity(bytes([7] * 32))


@dataclass
class Installation:
    """A data directory and the key services that its settings name."""

    stella: Stella
    place: Path
    bao: OpenBao
    hsm: SoftHsm

    def uri(self, kind: str, name: str) -> str:
        """A new key."""
        if kind == "pkcs11":
            return self.hsm.make(name)
        if kind == "hashivault":
            return self.bao.make(name)
        path = self.place / f"{name}.pem"
        path.write_bytes(key_files.write(ecdsa_p256.generate(), KeyForm.PKCS8, None))
        path.chmod(0o600)
        return f"file://{path}"

    def profile(self, name: str, **spec: Any) -> None:
        document = {
            "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": name},
            "spec": {"kind": "json", "variant": "raw"} | spec,
        }  # fmt: skip
        path = self.place / f"{name}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        self.stella("export", "profile", "create", str(path))

    def of_tenant(self, name: str) -> Installation:
        return Installation(self.stella.of_tenant(name), self.place, self.bao, self.hsm)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    place = tmp_path_factory.mktemp("key-services")
    hsm = softhsm.token()
    with pytest.MonkeyPatch.context() as patch, openbao.serving(place / "bao") as bao:
        quick = {"STELLA_KEY_SERVICES_ATTEMPTS": "1"}
        for name, value in {**bao.settings, **hsm.settings, **quick}.items():
            patch.setenv(name, value)
        stella = Stella(place / "data")
        stella.take(place / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0"))))
        yield Installation(stella, place, bao, hsm)


@pytest.fixture(scope="module", params=KINDS)
def signed(request: pytest.FixtureRequest, installation: Installation) -> tuple[Path, Path]:
    """A bundle that a key of each kind signed, and the file of its public key."""
    ours = installation.of_tenant(f"conformance-{request.param}")
    made = ours.stella(*KEY, "create", "--uri", ours.uri(request.param, f"c-{request.param}"))
    assert (made["state"], made["encrypted"]) == ("active", None)
    run = ours.stella.submit("json:raw")
    public = installation.place / f"{request.param}.pub"
    ours.stella(*KEY, "export-public", "--to", str(public))
    assert ours.stella("export", "verify", run["runId"])["verdict"] == "ok"
    return ours.stella.bundle(run), public


@dataclass
class Peers:
    """Stock verifiers, without a network."""

    commands: tuple[Path, Path]
    place: Path
    no_network: tuple[str, ...]

    def accept(self, public: Path, signature: Path, blob: Path) -> list[bool]:
        """What cosign and openssl say of a `.sig`."""
        cosign, openssl = self.commands
        der = self.place / "signature.der"
        der.write_bytes(base64.b64decode(signature.read_bytes()))
        for_cosign = (
            "verify-blob",
            "--key",
            public,
            "--signature",
            signature,
            "--insecure-ignore-tlog=true",
            blob,
        )
        for_openssl = ("dgst", "-sha256", "-verify", public, "-signature", der, blob)
        done = [
            subprocess.run(
                [*self.no_network, *command], capture_output=True, text=True, check=False, timeout=60,
                env={"HOME": str(self.place), "PATH": "/usr/bin:/bin"},
            )
            for command in ((cosign, *for_cosign), (openssl, *for_openssl))
        ]  # fmt: skip
        return [each.returncode == 0 and "Verified OK" in each.stdout + each.stderr for each in done]


@pytest.fixture
def peers(cosign: Path, openssl: Path, tmp_path: Path, no_network: tuple[str, ...]) -> Peers:
    return Peers((cosign, openssl), tmp_path, no_network)


@pytest.mark.parametrize("path", [layout.MANIFEST, layout.FILES])
def test_stock_cosign_and_openssl_accept_the_signatures(
    signed: tuple[Path, Path], path: str, peers: Peers, tmp_path: Path
) -> None:
    root, public = signed
    signature = root / layout.signature_paths(path)[0]
    changed = tmp_path / "changed"
    changed.write_bytes((root / path).read_bytes() + b" ")
    assert peers.accept(public, signature, root / path) == [True, True]
    assert peers.accept(public, signature, changed) == [False, False]


def test_nothing_of_a_service_stands_in_the_bundle_and_no_secret_in_the_data_directory(
    installation: Installation, signed: tuple[Path, Path]
) -> None:
    root, _ = signed
    for path in (each for each in root.rglob("*") if each.is_file()):
        data = path.read_bytes()
        assert b"hashivault:" not in data
        assert b"pkcs11:" not in data
    token = installation.bao.token_file.read_bytes().strip()
    for path in (each for each in installation.stella.data_dir.rglob("*") if each.is_file()):
        data = path.read_bytes()
        assert token not in data
        assert installation.hsm.pin.encode() not in data


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotation_keeps_old_bundles_verifiable_and_signs_kept_ones_again(
    installation: Installation, kind: str
) -> None:
    ours = installation.of_tenant(f"rotating-{kind}")
    uri = ours.uri(kind, f"r-{kind}")
    first = ours.stella(*KEY, "create", "--uri", uri)
    run = ours.stella.submit("json:raw")
    out = installation.place / f"out-{kind}"
    ours.stella("export", "download", run["runId"], "--to", str(out))
    ours.stella.refused(2, "ERR_KEY_PASSPHRASE_NEEDED", *KEY, "rotate")
    ours.stella.refused(2, "ERR_KEY_KNOWN", *KEY, "rotate", "--uri", uri)
    if kind == "hashivault":
        installation.bao.rotate(f"r-{kind}")
    else:
        uri = ours.uri(kind, f"r2-{kind}")
    second = ours.stella(*KEY, "rotate", "--uri", uri)
    assert [each["problem"] for each in second["resigned"]] == [None]
    listed = {each["keyId"]: each for each in ours.stella(*KEY, "list")}
    assert (listed[first["keyId"]]["state"], listed[second["keyId"]]["state"]) == ("retired", "active")

    both = installation.place / f"both-{kind}.pub"
    ours.stella(*KEY, "export-public", "--all", "--to", str(both))
    assert ours.stella("export", "verify", str(out), "--key", str(both))["verdict"] == "ok"
    kept = ours.stella("export", "verify", run["runId"])
    assert second["keyId"] in kept["checks"][0]["detail"]
    ours.stella(*KEY, "activate", first["keyId"])
    ours.stella.submit("json:raw", "--allow-empty", "--selectors", "severityAtLeast=critical")
    ours.stella(*KEY, "activate", second["keyId"])
    ours.stella(*KEY, "revoke", first["keyId"], "--reason", "moved")
    assert ours.stella.ask("export", "verify", str(out)).code == 6


def test_a_tenants_first_key_is_the_one_that_the_settings_name(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLA_KEY_SERVICES_FIRST_KEY", "hashivault://first-{tenant}")
    ours = installation.of_tenant("newcomer")
    ours.stella.refused(10, "ERR_EXPORT_SIGNING", "export", "run", "submit", "--profile", "json:raw")
    assert ours.stella(*KEY, "list") == []  # no key in a file takes its place
    uri = ours.uri("hashivault", "first-newcomer")
    ours.stella.submit("json:raw")
    assert [(each["uri"], each["state"]) for each in ours.stella(*KEY, "list")] == [(uri, "active")]


def test_the_published_list_tells_the_time_of_each_key(installation: Installation) -> None:
    ours = installation.of_tenant("listing")
    first = ours.stella(*KEY, "create")
    second = ours.stella(*KEY, "rotate", "--uri", ours.uri("hashivault", "listing"))
    ours.stella(*KEY, "revoke", first["keyId"], "--reason", "leaked")
    listed = ours.stella(*KEY, "export-public", "--all")
    assert [(each["keyId"], each["state"]) for each in listed["keys"]] == [
        (first["keyId"], "revoked"),
        (second["keyId"], "active"),
    ]
    revoked, active = listed["keys"]
    assert (revoked["publicKey"], revoked["revocationReason"]) == (None, "leaked")
    assert revoked["createdAt"] <= revoked["retiredAt"] <= revoked["revokedAt"]
    assert ecdsa_p256.load_public_key(active["publicKey"].encode()).key_id == second["keyId"]
    published = ours.stella.data_dir / "tenants" / "listing"
    assert json.loads((published / "keys.json").read_bytes()) == listed
    assert (published / "export-center.pub").read_text() == active["publicKey"]
    assert "hashivault" not in (published / "keys.json").read_text()
    assert ours.stella.ask(*KEY, "export-public", "--all").out == active["publicKey"]


def test_a_profile_names_the_key_that_signs_its_exports(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, told = installation.of_tenant("naming"), list[str | None]()
    bring = deliver.bring

    def listening(*given: Any, key: str | None, **more: Any) -> Any:
        told.append(key)
        return bring(*given, key=key, **more)

    monkeypatch.setattr(deliver, "bring", listening)
    active = ours.stella(*KEY, "create")["keyId"]
    uri = ours.uri("hashivault", "naming")
    other = ours.stella(*KEY, "create", "--uri", uri, "--no-activate")["keyId"]
    for name, key, used in (("by-uri", uri, other), ("by-id", active, active), ("unnamed", None, active)):
        ours.profile(name, signing={} if key is None else {"keyRef": key})
        run = ours.stella.submit(name)
        assert used in ours.stella("export", "verify", run["runId"])["checks"][0]["detail"]
        ours.stella("export", "distribute", run["runId"])
        assert told == [key, key]  # what targets make of a bundle is signed by the same key
        told.clear()
    installation.bao.rotate("naming")
    newer = ours.stella(*KEY, "create", "--uri", uri, "--no-activate")["keyId"]
    assert all(each["problem"] is None for each in ours.stella(*KEY, "resign"))
    runs = {run["profile"]: run["runId"] for run in ours.stella("export", "run", "list")}
    for name, used in (("by-uri", newer), ("by-id", active), ("unnamed", active)):
        assert used in ours.stella("export", "verify", runs[name])["checks"][0]["detail"]
    ours.stella(*KEY, "revoke", other)
    ours.stella(*KEY, "revoke", newer)
    ours.stella.refused(10, "ERR_EXPORT_SIGNING", "export", "run", "submit", "--profile", "by-uri")
    path = ours.place / "bad.json"
    document = json.loads((ours.place / "by-uri.json").read_text())
    document["metadata"]["name"] = "bad"
    for key in ("gcpkms://x", "acme", "hashivault://h/x"):
        document["spec"]["signing"]["keyRef"] = key
        path.write_text(json.dumps(document))
        ours.stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", str(path))


@pytest.fixture(scope="module")
def encrypted(installation: Installation) -> tuple[Path, dict[str, str]]:
    """A mirror archive for a person, a vault and a module; what each of them opens it with."""
    ours = installation.of_tenant("encrypting")
    vault = installation.bao.make("bundles", "aes256-gcm96")
    module = installation.hsm.make_secret("bundles")
    recipients = [str(IDENTITY.recipient), vault, module]
    encryption = {"enabled": True, "mode": "aes-gcm", "recipientKeys": recipients}
    ours.profile("for-all", kind="mirror", variant="full", encryption=encryption)
    run = ours.stella.submit("for-all")
    place = installation.place / "encrypted"
    ours.stella("export", "download", run["runId"], "--to", str(place))
    (archive,) = place.glob("mirror-*.tar.zst")
    identity = installation.place / "identity.txt"
    identity.write_text(f"{IDENTITY.secret()}\n")
    ours.stella(*KEY, "export-public", "--to", str(installation.place / "encrypting.pub"))
    return archive, {"age": str(identity), "hashivault": vault, "pkcs11": module}


class TestEncryption:
    @pytest.mark.parametrize("kind", ["age", "hashivault", "pkcs11"])
    def test_every_recipient_decrypts_it(
        self, installation: Installation, encrypted: tuple[Path, dict[str, str]], kind: str, tmp_path: Path
    ) -> None:
        archive, identities = encrypted
        trusting = ("--key", str(installation.place / "encrypting.pub"))
        opening = ("--identity", identities[kind])
        clear = tmp_path / "clear"
        installation.stella("mirror", "decrypt", str(archive), "--to", str(clear), *trusting, *opening)
        assert installation.stella("mirror", "verify", str(clear), *trusting)["verdict"] == "ok"
        assert list((clear / "data").rglob("*.jsonl.zst"))
        closed = installation.stella("mirror", "verify", str(archive), *trusting)
        opened = installation.stella("mirror", "verify", str(archive), *trusting, *opening)
        skipped = [{c["id"] for c in each["checks"] if c["status"] == "skipped"} for each in (closed, opened)]
        assert opened["verdict"] == "ok"
        assert skipped[1] < skipped[0]

    def test_others_do_not(
        self, installation: Installation, encrypted: tuple[Path, dict[str, str]], tmp_path: Path
    ) -> None:
        archive, _ = encrypted
        stranger = installation.bao.make("stranger", "aes256-gcm96")
        words = ("mirror", "decrypt", str(archive), "--to", str(tmp_path / "clear"), "--key",
                 str(installation.place / "encrypting.pub"))  # fmt: skip
        said = installation.stella.refused(5, "ERR_ENCRYPTION_NO_IDENTITY", *words, "--identity", stranger)
        assert "hashivault://bundles" in said
        installation.stella.refused(5, "ERR_ENCRYPTION_NO_IDENTITY", *words)
        assert not (tmp_path / "clear").exists()

    def test_a_sealed_service_is_told_and_leaves_nothing(
        self, installation: Installation, encrypted: tuple[Path, dict[str, str]], tmp_path: Path
    ) -> None:
        archive, identities = encrypted
        words = ("mirror", "decrypt", str(archive), "--to", str(tmp_path / "clear"), "--key",
                 str(installation.place / "encrypting.pub"), "--identity", identities["hashivault"])  # fmt: skip
        installation.bao.seal()
        try:
            installation.stella.refused(10, "ERR_KEY_SERVICE_DOWN", *words)
        finally:
            installation.bao.unseal()
        assert not (tmp_path / "clear").exists()

    def test_the_offline_kit_says_that_it_asks_no_service(
        self,
        installation: Installation,
        encrypted: tuple[Path, dict[str, str]],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        archive, identities = encrypted
        words = ["decrypt", str(archive), "--to", str(tmp_path / "clear"), "--key",
                 str(installation.place / "encrypting.pub"), "--identity", identities["hashivault"]]  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            command_line.run(words, keys=tmp_path)
        assert ended.value.code == 5
        assert "ERR_KIT_NO_KEY_SERVICES" in capsys.readouterr().err

    def test_a_service_that_is_away_when_the_content_key_is_wrapped_ends_the_run_as_signing(
        self, installation: Installation
    ) -> None:
        ours = installation.of_tenant("unwrapped")
        ours.stella(*KEY, "create")
        absent = "pkcs11:token=export;object=absent"
        encryption = {"enabled": True, "mode": "aes-gcm", "recipientKeys": [absent]}
        ours.profile("away", encryption=encryption)
        said = ours.stella.refused(10, "ERR_EXPORT_SIGNING", "export", "run", "submit", "--profile", "away")
        assert absent in said
        (run,) = ours.stella("export", "run", "list")
        assert (run["status"], run["errorCode"], run["exportId"]) == ("failed", "signing", None)

    @pytest.mark.parametrize(
        ("mode", "key", "reason"),
        [
            ("age", "hashivault://bundles", "needs mode aes-gcm"),
            ("aes-gcm", "file:///run/key.pem", "wraps no content key"),
            ("aes-gcm", "gcpkms://x", "none of the key services"),
            ("aes-gcm", "somebody", "no recipient of age"),
        ],
    )
    def test_recipients_that_cannot_be_are_refused_with_the_reason(
        self, installation: Installation, mode: str, key: str, reason: str
    ) -> None:
        document = {
            "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "refused"},
            "spec": {"kind": "json", "variant": "raw",
                     "encryption": {"enabled": True, "mode": mode, "recipientKeys": [key]}},
        }  # fmt: skip
        path = installation.place / "refused.json"
        path.write_text(json.dumps(document))
        words = ("export", "profile", "create", str(path))
        assert reason in installation.stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", *words)
