"""Units and timers of the plain host, by systemd's own judges: no manager has to run for that."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.deploy import DEPLOY, is_setting
from tests.support.tools import find, missing, require

UNITS = DEPLOY / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
OWN = re.compile(r"SERVE_(HOST|PORT|WORKERS|OPTIONS)|MIRROR_(SOURCE|TARGET|SYNC_OPTIONS)|MAINPID")
"""Variables of the units themselves."""


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, with this environment's program in place of an installed one."""
    place = tmp_path_factory.mktemp("units")
    program = require("stella")
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        (place / path.name).write_text(path.read_text().replace("/opt/stellaops/bin/stella", str(program)))
    return place


def analyze(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = find("systemd-analyze")
    if program is None:
        missing("systemd-analyze is not there")
    return subprocess.run([program, *words], cwd=place, capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_any_unit(units: Path) -> None:
    names = sorted(path.name for path in units.iterdir())
    assert {"stella-api.service", "stella-worker@.service", "stella-all.service", "stella-mirror-gateway.service",
            "stella-mirror-concelier.service", "stella-mirror-excititor.service", "stella-mirror-sync.service",
            "stella-mirror-sync.timer"} <= set(names)  # fmt: skip
    done = analyze(units, "verify", "--man=no", *names)
    assert (done.returncode, done.stderr) == (0, "")
    # What is wrong would be said: keys that systemd does not know are no errors to it.
    (units / "broken.service").write_text(
        (units / "stella-api.service").read_text().replace("UMask", "UMaks")
    )
    assert "UMaks" in analyze(units, "verify", "--man=no", "broken.service").stderr
    (units / "broken.service").unlink()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_do_more_than_it_must(units: Path, name: str) -> None:
    done = analyze(units, "security", "--offline=true", "--threshold=15", name)
    assert done.returncode == 0, done.stdout[-600:]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_runs_as_a_user_of_its_own_and_comes_back(name: str) -> None:
    text = (UNITS / name).read_text()
    assert "\nUser=stellaops\n" in text
    assert ("\nRestart=always\n" in text) is ("\nType=oneshot\n" not in text)
    if name == "stella-mirror-gateway.service":
        assert "\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in text
    else:
        assert "\nCapabilityBoundingSet=\n" in text


def test_timers_run_every_five_minutes(units: Path) -> None:
    for timer in units.glob("*.timer"):
        (calendar,) = re.findall(r"(?m)^OnCalendar=(.*)$", timer.read_text())
        done = analyze(units, "calendar", "--iterations=3", calendar)
        assert done.returncode == 0
        minutes = [
            int(each) for each in re.findall(r"\d\d:(\d\d):00", done.stdout.partition("Next elapse")[2])
        ]
        assert minutes
        assert all((b - a) % 60 in {0, 5} for a, b in pairwise(minutes))
        assert (UNITS / f"{timer.stem}.service").exists()


def test_units_and_their_variables_are_settings() -> None:
    told = set()
    for example in UNITS.glob("*.env.example"):
        told |= set(re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=", example.read_text()))
    named, asked = set(), set()
    for name in SERVICES:
        text = (UNITS / name).read_text()
        for line in re.findall(r"(?m)^Environment=(.*)$", text):
            named |= {word.partition("=")[0] for word in line.split()}
        asked |= set(re.findall(r"\$\{?([A-Z_]+)", text))
    for variable in told | named:
        assert is_setting(variable) or OWN.fullmatch(variable), variable
    assert asked <= told | named | {"MAINPID"}


def test_the_user_and_the_directories_are_declared(tmp_path: Path) -> None:
    made = (UNITS / "tmpfiles.conf").read_text()
    for place in (
        "/etc/stellaops/secrets",
        "/opt/stellaops/mirror-data/concelier",
        "/etc/stellaops/mirror-gateway/tls",
    ):
        assert f"d {place} " in made
    if os.geteuid() != 0:
        missing("owners of files cannot be set without root")
    program = find("systemd-sysusers")
    if program is None:
        missing("systemd-sysusers is not there")
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        [program, f"--root={tmp_path}", UNITS / "sysusers.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stellaops" in (tmp_path / "etc/passwd").read_text()
    program = find("systemd-tmpfiles")
    if program is None:
        missing("systemd-tmpfiles is not there")
    done = subprocess.run(
        [program, f"--root={tmp_path}", "--create", UNITS / "tmpfiles.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert (tmp_path / "opt/stellaops/mirror-data/excititor").is_dir()
