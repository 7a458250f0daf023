"""SQLite and PostgreSQL give the same exports from the same documents, also when four processes import at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import command, environment, older_and_newer
from tests.acceptance.pulling import OPEN
from tests.contract.stores import osv
from tests.support import osv_bucket
from tests.support.postgres import Server
from tests.support.tools import ROOT
from tests.support.web import serving

_WORKERS = 4


@dataclass(frozen=True)
class Installation:
    """A data directory, and variables that say where its stores lie."""

    data: Path
    variables: Mapping[str, str]

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(self.data, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
            env={**environment(), **self.variables},
        )  # fmt: skip

    def run(self, *arguments: object) -> Any:
        return ended(self.start(*arguments))

    def import_at_once(self, archives: Mapping[str, Path], *more: object) -> None:
        processes = [
            self.start("concelier", "import", path, "--source", name, *more)
            for name, path in archives.items()
        ]
        for process in processes:
            ended(process)

    def export(self, profile: str) -> dict[str, bytes]:
        """Every file of an export that stands outside of `signatures/`."""
        run = self.run("export", "run", "submit", "--profile", profile)
        (manifest,) = [Path(each["path"]) for each in run["artifacts"] if each["name"] == "export.json"]
        files = (file for file in manifest.parent.rglob("*") if file.is_file())
        found = {str(file.relative_to(manifest.parent)): file.read_bytes() for file in files}
        return {name: content for name, content in found.items() if not name.startswith("signatures/")}


def ended(process: subprocess.Popen[bytes]) -> Any:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.fixture
def on_postgres(postgres_server: Server, tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        url = postgres_server.url(stack.enter_context(postgres_server.database()))
        found = Installation(
            tmp_path / "postgres", {"STELLA_STORE_EVIDENCE": url, "STELLA_STORE_SERVICE": url}
        )
        found.run("db", "migrate")
        yield found


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "sqlite", {})


@pytest.mark.slow
def test_both_databases_give_the_same_exports_after_imports_by_four_processes(
    on_postgres: Installation, on_sqlite: Installation, tmp_path: Path
) -> None:
    older, newer = older_and_newer(tmp_path, 400)
    names = [f"source{number}" for number in range(_WORKERS)]
    for installation in (on_postgres, on_sqlite):
        installation.import_at_once(dict.fromkeys(names, older))
        installation.import_at_once(dict.fromkeys(names, newer), "--prune")
    one_by_one = Installation(tmp_path / "alone", {})
    for path, more in ((older, ()), (newer, ("--prune",))):
        for name in names:
            one_by_one.run("concelier", "import", path, "--source", name, *more)
    expected = one_by_one.run("concelier", "status")
    for installation in (on_postgres, on_sqlite):
        told = installation.run("concelier", "status")
        assert _without_times(told) == _without_times(expected)
    for profile in ("json:raw", "trivy:db"):
        wanted = one_by_one.export(profile)
        assert any(name.startswith(("data/", "trivy/")) for name in wanted)
        assert on_postgres.export(profile) == wanted
        assert on_sqlite.export(profile) == wanted


@pytest.mark.slow
def test_both_databases_give_the_same_exports_after_pulls_by_four_processes(
    on_postgres: Installation, on_sqlite: Installation
) -> None:
    folders = {"npm": "GHSA-aaaa-bbbb", "Go": "GO-2024", "PyPI": "PYSEC-2024", "crates.io": "RUSTSEC-2024"}
    documents = {
        folder: {f"{name}-{number:04}": affecting(folder, f"{name}-{number:04}") for number in range(150)}
        for folder, name in folders.items()
    }
    exports = []
    with serving(osv_bucket.files(documents)) as upstream:
        for where in (on_postgres, on_sqlite):
            there = Installation(where.data, {**where.variables, **OPEN})
            for folder in folders:
                told = ("--layout", "osv-bucket", "--url", upstream.url, "--option", f"ecosystems={folder}")
                there.run("concelier", "sources", "add", folder, *told)
            pulls = [there.start("concelier", "pull", folder) for folder in folders]
            assert [ended(process)[0]["added"] for process in pulls] == [150] * 4
            exports.append([there.export(profile) for profile in ("json:raw", "trivy:db")])
    assert exports[0] == exports[1]
    assert any(name.startswith("trivy/") for name in exports[0][1])


def affecting(ecosystem: str, identifier: str) -> dict[str, Any]:
    versions = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}]
    return osv(
        identifier, affected=[{"package": {"ecosystem": ecosystem, "name": "left-pad"}, "ranges": versions}]
    )


def _without_times(status: Any) -> Any:
    return status["sequence"], [
        {name: value for name, value in line.items() if name != "checkedAt"} for line in status["sources"]
    ]


def test_a_copy_that_is_killed_goes_on_and_exports_the_same(
    on_postgres: Installation, tmp_path: Path
) -> None:
    older, newer = older_and_newer(tmp_path, 700)
    on_postgres.run("concelier", "import", older, "--source", "one")
    on_postgres.run("concelier", "import", newer, "--source", "one", "--prune")
    url = on_postgres.variables["STELLA_STORE_EVIDENCE"]
    there = Installation(tmp_path / "there", {})
    killed = 0
    for wait in (0.5, 0.7, 0.9, 1.2, 1.6):
        process = there.start("db", "copy", url, there.data)
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed, "at least one copy was killed"
    process = there.start("db", "copy", url, there.data)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert there.export("trivy:db") == on_postgres.export("trivy:db")
    assert there.export("json:raw") == on_postgres.export("json:raw")
