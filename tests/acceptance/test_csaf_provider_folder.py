"""A CSAF provider's folder as it is laid out on disk: imported, checked, tampered with, exported."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from pysequoia import ArmorKind, SignatureMode, Tsk, armor, sign

from tests.unit.cli.running import Stella


@dataclass
class Folder:
    """What `csaf_downloader` or a provider leaves on a disk."""

    root: Path
    key: Tsk = field(default_factory=lambda: Tsk.generate("Example PSIRT <psirt@example.com>"))

    @property
    def public(self) -> bytes:
        return armor(bytes(self.key.extract_certificate()), ArmorKind.PublicKey).encode()

    def write(self, path: str, content: bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def publish(self, name: str, *, tlp: str = "WHITE", title: str = "An advisory", **tracking: Any) -> Path:
        told = {
            "document": {
                "category": "csaf_security_advisory", "csaf_version": "2.0", "title": title,
                "distribution": {"tlp": {"label": tlp}},
                "publisher": {"category": "vendor", "name": "Cisco PSIRT", "namespace": "https://www.cisco.com"},
                "tracking": {"id": name, "status": "final", "version": "1",
                             "current_release_date": "2024-05-01T00:00:00Z", **tracking},
            },
            "vulnerabilities": [{"cve": "CVE-2018-0234"}],
        }  # fmt: skip
        content = json.dumps(told).encode()
        file = self.write(f"white/2024/{name}.json", content)
        self.digest(file)
        self.sign(file)
        return file

    def digest(self, file: Path) -> None:
        stated = f"{hashlib.sha512(file.read_bytes()).hexdigest()}  {file.name}"
        file.with_name(f"{file.name}.sha512").write_text(stated, encoding="ascii")

    def sign(self, file: Path) -> None:
        signature = sign(self.key.signer(), file.read_bytes(), mode=SignatureMode.DETACHED)
        file.with_name(f"{file.name}.asc").write_bytes(signature)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "psirt.example.com")
    for number in (1, 2, 3):
        made.publish(f"cisco-sa-{number}")
    made.write(
        "white/index.txt",
        b"2024/cisco-sa-1.json\n2024/cisco-sa-2.json\n2024/cisco-sa-3.json\n2024/gone.json\n",
    )
    made.write("white/changes.csv", b'"2024/cisco-sa-1.json","2024-05-01T00:00:00Z"\n')
    made.write("white/csaf-feed-tlp-white.json", b'{"feed": {"entry": []}}')
    return made


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def take(stella: Stella, folder: Folder, *arguments: str) -> Any:
    return stella("concelier", "import", str(folder.root), "--source", "cisco", *arguments)


def checks(**counts: int) -> dict[str, int]:
    names = ("hashesGood", "hashesWrong", "signaturesGood", "signaturesWrong", "signaturesUnverified", "unsigned",
             "listedButAbsent")  # fmt: skip
    return dict.fromkeys(names, 0) | counts


def quarantined(stella: Stella) -> dict[str, str]:
    entries = stella("concelier", "quarantine", "list")
    return {entry["path"].rpartition("/")[2]: entry["reason"] for entry in entries}


def test_without_a_key_hashes_are_checked_and_signatures_are_said_to_be_unverified(
    stella: Stella, folder: Folder
) -> None:
    report = take(stella, folder)
    assert (report["feed"], report["database"], report["added"], report["quarantined"]) == (
        "csaf",
        "cisco",
        3,
        0,
    )
    assert report["checks"] == checks(hashesGood=3, signaturesUnverified=3, listedButAbsent=1)
    told = stella.ask("concelier", "import", str(folder.root), "--source", "cisco", "--format", "table").err
    assert "3 not verified for want of a key" in told
    assert "listings name 1 documents that are not in the input" in told
    (shown,) = stella("concelier", "show", "cisco-sa-1")
    assert shown["provenance"]["checked"] == {"hashes": ["sha512"], "signature": "unverified"}


def test_with_the_publishers_key_every_signature_is_checked(
    stella: Stella, folder: Folder, tmp_path: Path
) -> None:
    key = tmp_path / "cisco.asc"
    key.write_bytes(folder.public)
    report = take(stella, folder, "--openpgp-key", str(key))
    assert report["checks"] == checks(hashesGood=3, signaturesGood=3, listedButAbsent=1)
    assert report["added"] == 3
    (shown,) = stella("concelier", "show", "cisco-sa-1")
    assert shown["provenance"]["checked"] == {"hashes": ["sha512"], "signature": "verified"}


def test_the_key_that_the_folders_metadata_names_is_used(stella: Stella, folder: Folder) -> None:
    fingerprint = folder.key.extract_certificate().fingerprint
    key = {"fingerprint": fingerprint, "url": f"https://psirt.example.com/openpgp/{fingerprint}.asc"}
    metadata = {"publisher": {"name": "Example"}, "public_openpgp_keys": [key], "distributions": []}
    folder.write("provider-metadata.json", json.dumps(metadata).encode())
    folder.write(f"openpgp/{fingerprint}.asc", folder.public)
    report = take(stella, folder)
    assert report["checks"] == checks(hashesGood=3, signaturesGood=3, listedButAbsent=1)


def test_a_document_that_was_tampered_with_is_set_aside_and_the_known_one_stays(
    stella: Stella, folder: Folder, tmp_path: Path
) -> None:
    key = tmp_path / "cisco.asc"
    key.write_bytes(folder.public)
    take(stella, folder, "--openpgp-key", str(key))
    before = stella("concelier", "show", "cisco-sa-2")
    file = folder.root / "white/2024/cisco-sa-2.json"
    file.write_bytes(file.read_bytes().replace(b"An advisory", b"Nothing at all"))

    report = take(stella, folder, "--openpgp-key", str(key), "--prune")
    assert (report["changed"], report["vanished"], report["quarantined"]) == (0, 0, 1)
    assert quarantined(stella) == {"cisco-sa-2.json": "checksum"}

    folder.digest(file)  # who changes a document can change its hash; but not its signature
    report = take(stella, folder, "--openpgp-key", str(key), "--prune")
    assert (report["changed"], report["vanished"], report["quarantined"]) == (0, 0, 1)
    assert report["checks"]["signaturesWrong"] == 1
    assert stella("concelier", "show", "cisco-sa-2") == before
    retried = stella("concelier", "quarantine", "retry", "--source", "cisco")
    assert (retried["read"], retried["changed"]) == (0, 0)

    folder.sign(file)
    report = take(stella, folder, "--openpgp-key", str(key), "--prune")
    assert (report["changed"], report["vanished"], report["quarantined"]) == (1, 0, 0)
    assert quarantined(stella) == {}


def test_a_file_that_is_no_key_is_refused(stella: Stella, folder: Folder, tmp_path: Path) -> None:
    key = tmp_path / "cisco.asc"
    key.write_bytes(b"no key")
    words = ("concelier", "import", str(folder.root), "--source", "cisco", "--openpgp-key", str(key))
    stella.refused(2, "ERR_OPENPGP_KEY", *words)


def test_a_deleted_document_is_withdrawn(stella: Stella, folder: Folder) -> None:
    take(stella, folder)
    file = folder.write(
        "white/2024/cisco-sa-3.json", b'{"document": {"tracking": {"id": "cisco-sa-3", "status": "deleted"}}}'
    )
    folder.digest(file)
    report = take(stella, folder)
    assert (report["changed"], report["withdrawn"]) == (1, 1)
    (shown,) = stella("concelier", "show", "cisco-sa-3")
    assert shown["index"]["withdrawn"] == "deleted"


def test_what_is_marked_above_clear_leaves_only_when_that_is_asked_for(
    stella: Stella, folder: Folder
) -> None:
    folder.publish("cisco-sa-4", tlp="AMBER")
    folder.publish("cisco-sa-5", tlp="GREEN")
    folder.publish("cisco-sa-6", tlp="MAUVE")
    take(stella, folder)
    assert exported(stella) == {"cisco-sa-1", "cisco-sa-2", "cisco-sa-3"}
    assert exported(stella, "--selectors", "tlpAtMost=GREEN") == {
        f"cisco-sa-{number}" for number in (1, 2, 3, 5)
    }
    assert exported(stella, "--selectors", "tlpAtMost=RED") == {
        f"cisco-sa-{number}" for number in range(1, 7)
    }


def exported(stella: Stella, *arguments: str) -> set[str]:
    root = stella.bundle(stella.submit("json:raw", *arguments))
    lines = [
        line for file in sorted((root / "data" / "raw").rglob("*.zst"))
        for line in zstd.decompress(file.read_bytes()).splitlines()
    ]  # fmt: skip
    return {
        name
        for number in range(1, 7)
        if any(b'"' + (name := f"cisco-sa-{number}").encode() + b'"' in line for line in lines)
    }
