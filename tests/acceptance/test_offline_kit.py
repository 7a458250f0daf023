"""The offline kit on the far side: a bare Python, no network, nothing but what lies in the kit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import ROOT, missing
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import once

BARE = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella.take(
        place / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0"))),
        osv("GHSA-bbbb-bbbb-bbbb", package("npm", "right", *until("2.0.0"))),
    )  # fmt: skip
    stella.submit("mirror:full")
    trivy = stella.submit("trivy:db")
    words: list[str | Path] = [
        sys.executable,
        ROOT / "tools" / "offline_kit.py",
        "--data-dir",
        place / "data",
    ]
    more: list[str | Path] = ["--run", "latest:mirror:full", "--run", trivy["runId"]]
    build = subprocess.run(
        [*words, "--to", place / "kit", *more], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if "No matching distribution" in build.stderr or "Connection" in build.stderr:
        missing(f"wheels for the kit cannot be had: {build.stderr.strip()[-200:]}")
    assert build.returncode == 0, build.stderr
    cut: list[str | Path] = ["--to", place / "cut", *more[:2], "--chunk-size", "64K"]
    subprocess.run([*words, *cut], check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "offline-kit", prepare)


@pytest.fixture
def kit(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "kit", tmp_path / "kit")
    return tmp_path / "kit"


class Far:
    """The machine on the far side: its own home, and no network."""

    def __init__(self, home: Path, no_network: tuple[str, ...]) -> None:
        self._before = [*no_network, "env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin"]

    def mirror(self, kit: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*self._before, BARE, "-I", kit / "bin" / "mirror", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def shell(self, kit: Path, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._before, "sh", "-c", line], cwd=kit, capture_output=True, text=True, check=False
        )


@pytest.fixture
def far(tmp_path: Path, no_network: tuple[str, ...]) -> Far:
    (tmp_path / "home").mkdir()
    return Far(tmp_path / "home", no_network)


def archive(kit: Path) -> Path:
    (found,) = (kit / "bundles").glob("*-full.tar.zst")
    return found


def code_lines(kit: Path, heading: str) -> list[str]:
    """The commands under a heading of the kit's README."""
    text = (kit / "README.md").read_text(encoding="utf-8")
    _, _, section = text.partition(f"## {heading}")
    assert section, heading
    joined = section.partition("\n## ")[0].replace("\\\n", "")
    return [line.strip() for line in joined.splitlines() if line.startswith("    ")]


@pytest.mark.usefixtures("openssl")
def test_the_readme_checks_the_kit_with_openssl(kit: Path, far: Far, tmp_path: Path) -> None:
    fingerprint, decode, verify, sums = code_lines(kit, "1. Check the kit itself")
    assert (
        far.shell(kit, fingerprint)
        .stdout.split()[0]
        .startswith(next(path.stem for path in (kit / "keys").glob("*.pub") if path.stem != "export-center"))
    )
    here = str(tmp_path / "kit.der")
    assert far.shell(kit, decode.replace("/tmp/kit.der", here)).returncode == 0
    assert far.shell(kit, verify.replace("/tmp/kit.der", here)).stdout.strip() == "Verified OK"
    assert far.shell(kit, sums).returncode == 0
    (kit / "bin" / "mirror").write_text("print('ok')", encoding="utf-8")
    assert far.shell(kit, sums).returncode != 0


def test_a_bare_python_verifies_without_network(kit: Path, far: Far) -> None:
    answer = far.mirror(kit, "verify", archive(kit), "--format", "json")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["verdict"] == "ok"


def test_the_readme_verifies_a_fresh_kit_by_its_age(kit: Path, far: Far) -> None:
    lines = code_lines(kit, "3. Verify a bundle")
    assert len(lines) == 2
    for line in lines:
        words = line.replace("mirror-YYYYMMDD-full.tar.zst", archive(kit).name).split()
        answer = far.shell(kit, f"{BARE} -I {' '.join(words)}")
        assert answer.returncode == 0, answer.stdout
    assert "version 1, issued" in answer.stdout
    (kit / "bundles" / "freshness.json").unlink()
    assert far.mirror(kit, "verify", archive(kit), "--max-age", "7d").returncode == 6


def test_an_archive_that_comes_without_statement_is_taken_with_a_warning(
    kit: Path, far: Far, tmp_path: Path
) -> None:
    answer = far.mirror(kit, "restore", archive(kit), "--into", tmp_path / "mirror")
    assert (answer.returncode, answer.stderr) == (0, "")
    (kit / "bundles" / "freshness.json").unlink()
    answer = far.mirror(kit, "restore", archive(kit), "--into", tmp_path / "mirror")
    assert answer.returncode == 0
    assert answer.stderr.startswith("warning: no freshness statement about mirror-")
    assert "version 1 of its profile is known here" in answer.stderr


def test_archives_of_one_name_are_not_packed_one_over_the_other(tmp_path: Path) -> None:
    stella = Stella(tmp_path / "data")
    runs = []
    for word in ("aaaa", "bbbb"):
        document = osv(f"GHSA-{word}-aaaa-aaaa", package("npm", "left", *until("1.0.0")))
        stella.take(tmp_path / word, "ghsa", document)
        runs.append(stella.submit("mirror:full"))
    (name,) = {path.name for each in runs for path in stella.bundle(each).glob("*.tar.zst")}
    words: list[str | Path] = [sys.executable, ROOT / "tools" / "offline_kit.py"]
    words += ["--data-dir", tmp_path / "data"]
    words += [word for each in runs for word in ("--run", each["runId"])]
    answer = subprocess.run(
        [*words, "--to", tmp_path / "kit"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("error ERR_")
    assert f"both have {name}" in answer.stderr
    assert all(each["runId"] in answer.stderr for each in runs)
    assert not (tmp_path / "kit").exists()


def test_a_changed_bundle_is_refused(kit: Path, far: Far) -> None:
    data = bytearray(archive(kit).read_bytes())
    data[len(data) // 2] ^= 1
    archive(kit).write_bytes(data)
    answer = far.mirror(kit, "verify", archive(kit))
    assert answer.returncode == 6
    assert "verdict failed" in answer.stdout.splitlines()[-1]


def test_a_bundle_of_a_stranger_is_refused(kit: Path, far: Far, made: Path) -> None:
    stranger = Stella(made / "data").of_tenant("stranger")
    stranger("authority", "key", "create")
    stranger("authority", "key", "export-public", "--to", str(kit / "stranger.pub"))
    answer = far.mirror(kit, "verify", archive(kit), "--key", kit / "stranger.pub")
    assert answer.returncode == 6


def test_a_library_that_was_exchanged_is_not_used(kit: Path, far: Far) -> None:
    for wheel in (kit / "lib").glob("msgspec*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"x")
    answer = far.mirror(kit, "verify", archive(kit))
    assert answer.returncode == 5
    assert "not as it was packed" in answer.stderr


def test_the_full_bundle_is_restored_and_its_tree_verified(
    kit: Path, far: Far, tmp_path: Path, cosign: Path
) -> None:
    into = tmp_path / "mirror"
    answer = far.mirror(kit, "restore", archive(kit), "--into", into, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["changed"] is True
    assert far.mirror(kit, "verify", into / "current").returncode == 0
    lines = [line for line in code_lines(kit, "5. Use it") if line.startswith("cosign")]
    usable = lines if cosign.name == "cosign3" else lines[:1]
    for line in usable:
        words = line.replace("/srv/mirror", str(into)).replace("cosign", str(cosign), 1)
        answer = far.shell(kit, words)
        assert answer.returncode == 0, answer.stderr


def test_a_database_is_loaded_into_a_cache_of_trivy(
    kit: Path, far: Far, tmp_path: Path, trivy: Path, no_network: tuple[str, ...]
) -> None:
    (bundle,) = (kit / "bundles").rglob("db.bundle")
    answer = far.mirror(kit, "trivy", "import", bundle, "--cache-dir", tmp_path / "cache")
    assert answer.returncode == 0, answer.stderr
    project = tmp_path / "project"
    project.mkdir()
    lock = {
        "name": "x", "lockfileVersion": 3,
        "packages": {"node_modules/left": {"version": "0.9.0"}},
    }  # fmt: skip
    (project / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    scan: list[str | Path] = [
        *no_network,
        trivy,
        "fs",
        "--skip-db-update",
        "--offline-scan",
        "--skip-version-check",
        "--quiet",
    ]
    report = subprocess.run(
        [*scan, "--cache-dir", tmp_path / "cache", "--format", "json", project],
        check=True,
        capture_output=True,
    )
    found = [
        vulnerability["VulnerabilityID"]
        for result in json.loads(report.stdout)["Results"]
        for vulnerability in result.get("Vulnerabilities", ())
    ]
    assert found == ["GHSA-aaaa-aaaa-aaaa"]


def test_a_bundle_in_chunks_is_put_together(made: Path, far: Far, tmp_path: Path) -> None:
    kit, joined = made / "cut", tmp_path / "joined"
    assert list((kit / "bundles").glob("*.part000"))
    assert far.mirror(kit, "join", kit / "bundles", "--to", joined).returncode == 0
    (found,) = joined.glob("*-full.tar.zst")
    assert far.mirror(kit, "verify", found, "--max-age", "7d").returncode == 0


def test_a_cache_that_others_can_write_is_not_used(kit: Path, far: Far, tmp_path: Path) -> None:
    place = tmp_path / "home" / ".cache" / "stellaops-kit"
    place.mkdir(parents=True)
    place.chmod(0o777)
    answer = far.mirror(kit, "verify", archive(kit))
    assert answer.returncode == 5
    assert "must belong to you" in answer.stderr
