"""The same evidence gives the same bytes, whatever surrounds the two runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import ROOT
from tests.unit.cli.running import Stella, environment, spawn
from tools import reproduce

EXAMPLES = ROOT / "examples" / "advisories"


@pytest.mark.slow  # `make reproduce` does as much
def test_two_stores_in_unlike_surroundings_export_the_same_bytes(tmp_path: Path) -> None:
    """Other directory, time zone, locale, umask, hash seed, order of import, and (where faketime is) another year."""
    rows = reproduce.reproduce(tmp_path, EXAMPLES)
    assert reproduce.verdict(rows) == []
    paths = {(row.profile, row.path) for row in rows}
    for profile in set(reproduce.PROFILES) - {"mirror:full"}:
        assert {
            (profile, "export.json"),
            (profile, "files.json"),
            (profile, "signatures/export.sig"),
        } <= paths
    assert ("trivy:db", "trivy/db.bundle") in paths
    mirror = {path for profile, path in paths if profile == "mirror:full"}
    assert len(mirror) == 3
    assert {path.partition(".tar.zst")[2] for path in mirror} == {"", ".sha256", ".sha256.sig"}
    assert ("json:raw", "data/raw/advisories/00000.jsonl.zst") in paths


def test_the_surroundings_are_unlike(tmp_path: Path) -> None:
    first, second = reproduce.surroundings(tmp_path)
    assert first.umask != second.umask
    assert first.backwards is not second.backwards
    for name in ("TZ", "LC_ALL", "PYTHONHASHSEED"):
        assert first.variables[name] != second.variables[name]
    said = [
        subprocess.run(
            [
                *place.clock,
                sys.executable,
                "-c",
                "import os,time; print(time.tzname, os.umask(0), hash('a'))",
            ],
            env=environment(**place.variables),
            umask=place.umask,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for place in (first, second)
    ]
    assert said[0] != said[1]


def test_a_difference_is_found(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for place in ("one", "two"):
        (tmp_path / place / "export.json").write_text(place, encoding="utf-8")
    rows = list(reproduce.compare("json:raw", tmp_path / "one", tmp_path / "two"))
    told = reproduce.verdict(rows, ["json:raw"])
    assert told[0] == "json:raw: export.json differs"
    assert any("signatures/export.sig" in line for line in told)


@pytest.mark.parametrize(
    "variables",
    [
        {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "77", "PYTHONUTF8": "0"},
        pytest.param(
            {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"TZ": "UTC", "LANG": "de_DE.ISO-8859-1", "PYTHONHASHSEED": "random", "PYTHONOPTIMIZE": "1"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_variables_change_no_byte_of_an_export(variables: dict[str, str], tmp_path: Path) -> None:
    here = Stella(tmp_path / "here")
    for folder in ("alpine", "pypa"):
        here("concelier", "import", str(EXAMPLES / folder), "--source", folder)
    there = tmp_path / "there" / "deep er"
    for folder in ("pypa", "alpine"):
        words = ("concelier", "import", str(EXAMPLES / folder), "--source", folder)
        answer = spawn("--data-dir", str(there), *words, variables=variables)
        assert answer.code == 0, answer.err
    here("authority", "key", "create")
    for name in ("keys", "tenants"):
        shutil.copytree(here.data_dir / name, there / name)
    for profile in reproduce.PROFILES:
        first = here.submit(profile)
        words = ("export", "run", "submit", "--profile", profile)
        second = json.loads(spawn("--data-dir", str(there), *words, variables=variables).out)
        found = [
            reproduce.digests(Stella(place).bundle(run))
            for place, run in ((here.data_dir, first), (there, second))
        ]
        assert found[0] == found[1]


@pytest.mark.slow
def test_make_reproduce_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reproduce.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "all equal" in done.stdout.splitlines()[-1]
