"""Verification as the far side does it: a bundle, a public key, no network, no store."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.running import Answer, Stella, osv, package, spawn, until
from tests.unit.cli.scanning import once


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella.take(
        place / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0"))),
        osv("GHSA-bbbb-bbbb-bbbb", package("npm", "@a/b", *until("2.0.0"), versions=["bulbasaur"])),
    )  # fmt: skip
    for profile in ("json:raw", "trivy:db"):
        run = stella.submit(profile)
        (place / f"{profile}.json").write_text(json.dumps(run), encoding="utf-8")
        stella("export", "download", run["runId"], "--to", str(place / profile))
    stella("authority", "key", "export-public", "--to", str(place / "sender.pub"))
    stranger = stella.of_tenant("stranger")
    run = stranger.submit("json:raw")
    stranger("export", "download", run["runId"], "--to", str(place / "of-a-stranger"))
    stranger("authority", "key", "export-public", "--to", str(place / "stranger.pub"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "verify-bundles", prepare)


def verify(place: Path, bundle: Path, *more: str, before: tuple[str, ...] = ()) -> Answer:
    """As a process that has no data directory of its own, in an empty working directory."""
    place.mkdir(exist_ok=True)
    home = {"HOME": str(place), "XDG_DATA_HOME": str(place / "share")}
    words = ("export", "verify", str(bundle), *more)
    return spawn(*words, before=before, cwd=place, variables=home)


def key(made: Path, name: str = "sender") -> tuple[str, str]:
    return "--key", str(made / f"{name}.pub")


@pytest.mark.parametrize("profile", ["json:raw", "trivy:db"])
def test_a_given_key_is_all_that_verification_needs(
    profile: str, made: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    answer = verify(home, made / profile, *key(made), before=no_network)
    assert (answer.code, answer.err) == (0, "")
    report = answer.value
    run = json.loads((made / f"{profile}.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "ok"
    assert (report["exportId"], report["rerunHash"]) == (run["exportId"], run["rerunHash"])
    assert all(check["status"] in ("ok", "skipped") for check in report["checks"])
    assert list(home.iterdir()) == []


def test_a_table_ends_with_the_verdict(made: Path, tmp_path: Path) -> None:
    answer = verify(tmp_path / "home", made / "json:raw", *key(made), "--format", "table")
    assert answer.code == 0
    assert answer.out.splitlines()[-1].startswith("verdict ok: ")


@pytest.mark.parametrize(("bundle", "trusted"), [("json:raw", "stranger"), ("of-a-stranger", "sender")])
def test_a_strangers_signature_is_not_trusted(bundle: str, trusted: str, made: Path, tmp_path: Path) -> None:
    answer = verify(tmp_path / "home", made / bundle, *key(made, trusted))
    assert answer.code == 6
    assert answer.value["verdict"] == "failed"


def test_without_any_key_nothing_is_trusted(made: Path, tmp_path: Path) -> None:
    answer = verify(tmp_path / "home", made / "json:raw")
    assert (answer.code, answer.out) == (6, "")
    assert answer.err.startswith("error ERR_NO_TRUSTED_KEY: ")


def test_a_key_that_is_none_is_told(made: Path, tmp_path: Path) -> None:
    absent = verify(tmp_path / "home", made / "json:raw", "--key", str(tmp_path / "absent.pub"))
    assert (absent.code, absent.out) == (4, "")
    assert "ERR_KEY_FILE_MISSING" in absent.err
    (tmp_path / "text.pub").write_text("no key", encoding="utf-8")
    broken = verify(tmp_path / "home", made / "json:raw", "--key", str(tmp_path / "text.pub"))
    assert broken.code in (2, 6)
    assert "Traceback" not in broken.err


def test_one_good_key_among_several_is_enough(made: Path, tmp_path: Path) -> None:
    answer = verify(tmp_path / "home", made / "json:raw", *key(made, "stranger"), *key(made))
    assert answer.code == 0


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def repack(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9, mtime=0))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte of the database": lambda root: flip(root / "trivy" / "db.bundle"),
    "a database packed anew": lambda root: repack(root / "trivy" / "db.bundle"),
    "a flipped byte of the manifest": lambda root: flip(root / "export.json"),
    "a flipped byte of the readme": lambda root: flip(root / "README.md"),
    "a flipped byte of a signature": lambda root: flip(root / "signatures" / "export.sig"),
    "a missing file": lambda root: (root / "provenance.json").unlink(),
    "a missing signature": lambda root: (root / "signatures" / "trivy-db.sig").unlink(),
    "an extra file": lambda root: (root / "trivy" / "more").write_bytes(b""),
    "an extra signature": lambda root: (root / "signatures" / "more.sig").write_bytes(b""),
    "a link": lambda root: (root / "more").symlink_to(root / "export.json"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_bundle_that_is_not_as_its_signer_made_it_is_refused(
    damage: str, made: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(made / "trivy:db", tmp_path / "bundle"))
    stella = Stella(made / "data")
    assert stella.ask("export", "verify", str(root), *key(made)).code == 0
    DAMAGE[damage](root)
    answer = stella.ask("export", "verify", str(root), *key(made), "--format", "json")
    assert answer.code == 6, damage
    assert answer.value["verdict"] == "failed"
    bundle = str(root / "trivy" / "db.bundle")
    loaded = stella.ask("trivy", "import", bundle, "--cache-dir", str(tmp_path / "cache"), *key(made))
    assert loaded.code == 6
    assert not (tmp_path / "cache").exists()


def test_a_database_alone_needs_its_signature_and_the_key(made: Path, tmp_path: Path) -> None:
    stella, cache = Stella(tmp_path / "no-data"), ("--cache-dir", str(tmp_path / "cache"))
    alone = Path(shutil.copyfile(made / "trivy:db" / "trivy" / "db.bundle", tmp_path / "db.bundle"))
    signature = str(made / "trivy:db" / "signatures" / "trivy-db.sig")
    words = ("trivy", "import", str(alone), *cache)
    stella.refused(4, "ERR_TRIVY_BUNDLE_MISSING", *words, *key(made))
    stella.refused(
        6, "ERR_TRIVY_BUNDLE_NOT_TRUSTED", *words, *key(made, "stranger"), "--signature", signature
    )
    other = str(made / "trivy:db" / "signatures" / "export.sig")
    stella.refused(6, "ERR_TRIVY_BUNDLE_NOT_TRUSTED", *words, *key(made), "--signature", other)
    assert not (tmp_path / "cache").exists()
    loaded = stella(*words, *key(made), "--signature", signature)
    assert Path(loaded["database"]).is_file()
    stella.refused(
        4, "ERR_TRIVY_BUNDLE_MISSING", "trivy", "import", str(tmp_path / "absent"), *cache, *key(made)
    )


def test_a_revoked_key_verifies_nothing_of_its_tenant(made: Path, tmp_path: Path) -> None:
    stella = Stella(Path(shutil.copytree(made / "data", tmp_path / "data")))
    (active,) = stella("authority", "key", "list")
    assert stella("export", "verify", str(made / "json:raw"))["verdict"] == "ok"
    stella("authority", "key", "rotate")
    assert stella("export", "verify", str(made / "json:raw"))["verdict"] == "ok"
    stella("authority", "key", "revoke", active["keyId"])
    assert stella.ask("export", "verify", str(made / "json:raw")).code == 6


def test_what_was_left_out_of_the_database_stands_in_the_warnings_of_the_run(made: Path) -> None:
    run = json.loads((made / "trivy:db.json").read_text(encoding="utf-8"))
    (warning,) = run["warnings"]
    assert warning.startswith("ghsa GHSA-bbbb-bbbb-bbbb: npm::GitHub Security Advisory npm @a/b: ")
    assert "'=bulbasaur' left out" in warning
    assert json.loads((made / "json:raw.json").read_text(encoding="utf-8"))["warnings"] == []


def test_a_path_that_is_no_bundle_is_told(made: Path, tmp_path: Path) -> None:
    stella = Stella(made / "data")
    stella.refused(4, "ERR_EXPORT_BUNDLE_MISSING", "export", "verify", str(tmp_path / "absent"), *key(made))
    (tmp_path / "empty").mkdir()
    assert stella.ask("export", "verify", str(tmp_path / "empty"), *key(made)).code == 6
