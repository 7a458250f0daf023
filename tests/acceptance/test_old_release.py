"""An earlier release works on a store of this one, and this one goes on from there: real code, real store."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import COMMAND, environment, older_and_newer
from tests.support.tools import ROOT

SCHEMA_1 = "d4e836e"
"""The last commit whose stores had schema 1."""

_OLD_COMMAND = (sys.executable, "-c", "from stellaops.cli.main import main; main()")


@dataclass(frozen=True)
class Release:
    """A release's command; None for this one."""

    source: Path | None
    data: Path

    def run(self, *arguments: object) -> Any:
        path = {} if self.source is None else {"PYTHONPATH": str(self.source)}
        begin = COMMAND if self.source is None else _OLD_COMMAND
        command = [*begin, "--data-dir", str(self.data), "--format", "json", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment() | path
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def export(self, profile: str) -> dict[str, str]:
        """Content digests by path."""
        run = self.run("export", "run", "submit", "--profile", profile)
        (manifest,) = [each["path"] for each in run["artifacts"] if each["name"] == "export.json"]
        wire = json.loads(Path(manifest).read_bytes())
        return {each["path"]: each["contentDigest"] for each in wire["contents"]}


@pytest.fixture(scope="module")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was, out of the history."""
    packed = subprocess.run(["git", "archive", SCHEMA_1, "src"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history is not there: no commit {SCHEMA_1} in this checkout")
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    shown = subprocess.run(
        [sys.executable, "-c", "import stellaops; print(stellaops.__file__)"],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(directory / "src")},
    )  # fmt: skip
    assert shown.stdout.startswith(str(directory)), "the old package must be the one that runs"
    return directory / "src"


@pytest.mark.slow
def test_releases_take_turns_on_one_store_and_lose_nothing(old_source: Path, tmp_path: Path) -> None:
    older, newer = older_and_newer(tmp_path, 240)
    apart, shared = tmp_path / "apart", tmp_path / "shared"
    old, new = Release(old_source, shared), Release(None, shared)

    old.run("concelier", "import", older, "--source", "one")
    old.export("trivy:db")
    new.run("concelier", "import", newer, "--source", "one", "--prune")
    after_new = new.export("trivy:db")
    old.run("concelier", "import", older, "--source", "two")
    of_old = old.export("trivy:db")
    of_new = new.export("trivy:db"), new.export("json:raw")

    # What each release makes of a store that it filled alone.
    for name, source in (("old", old_source), ("new", None)):
        alone = Release(source, apart / name)
        alone.run("concelier", "import", older, "--source", "one")
        alone.run("concelier", "import", newer, "--source", "one", "--prune")
        if source is None:
            assert alone.export("trivy:db") == after_new
        alone.run("concelier", "import", older, "--source", "two")
        if source is None:
            assert (alone.export("trivy:db"), alone.export("json:raw")) == of_new
        else:
            assert alone.export("trivy:db") == of_old


def test_an_import_that_the_old_release_began_is_ended_by_this_one(old_source: Path, tmp_path: Path) -> None:
    older, _ = older_and_newer(tmp_path, 240)
    shared, apart = tmp_path / "shared", tmp_path / "apart"
    old, new = Release(old_source, shared), Release(None, shared)
    old.run("concelier", "import", older, "--source", "one")
    # As if its process had ended before anything became visible: the documents are there, with its rows alone.
    interrupted = """
import sys
from pathlib import Path
from stellaops.adapters import settings
from stellaops.adapters.files.inputs import FileInputs
from stellaops.bootstrap import Local, now
from stellaops.ingest.import_documents import ImportRequest, import_documents
local = Local(settings.load({"dataDir": sys.argv[1]}, {"STELLA_CONFIG": "/none"}))
local.imports.apply = lambda *args, **kwargs: sys.exit(3)
import_documents(ImportRequest("two"), FileInputs([Path(sys.argv[2])]), sources=local.sources, store=local.imports,
                 now=now)
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupted, str(shared), str(older)],
        check=False, env=environment() | {"PYTHONPATH": str(old_source)},
    )  # fmt: skip
    assert done.returncode == 3
    report = new.run("concelier", "import", older, "--source", "two")
    assert (report["resumed"], report["added"]) == (True, 160)
    alone = Release(None, apart)
    for source in ("one", "two"):
        alone.run("concelier", "import", older, "--source", source)
    assert new.export("trivy:db") == alone.export("trivy:db")
