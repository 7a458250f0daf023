"""The compose files by the real Compose, the Dockerfile and scripts by their linters, and names by the settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import runbook
from tests.support.deploy import (
    COMPOSE,
    DEPLOY,
    DIGEST,
    IMAGES,
    NOT_SETTINGS,
    PROFILES,
    compose,
    copy_compose,
    edit,
    is_setting,
    resolved,
)
from tests.support.gateways import until
from tests.support.tools import ROOT, missing, require


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_compose(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="module", params=PROFILES)
def profile(request: pytest.FixtureRequest, place: Path) -> dict[str, Any]:
    found = resolved(place, request.param, *(["--profile", "tls"] if request.param == "full" else []))
    return {**found, "profile": request.param}


SERVICES = {
    "mirror": {"mirror-gateway", "concelier", "excititor", "mirror-sync"},
    "nginx": {"mirror-gateway", "mirror-access", "concelier", "excititor", "mirror-sync"},
    "full": {
        "mirror-gateway", "concelier", "excititor", "mirror-sync", "mirror-publish", "api", "api-tls", "worker",
        "postgres", "objects", "objects-buckets", "migrate", "bootstrap",
    },
}  # fmt: skip
ONCE = {"objects-buckets", "migrate", "bootstrap"}


def test_each_file_has_the_services_that_operators_know(profile: dict[str, Any]) -> None:
    assert set(profile["services"]) == SERVICES[profile["profile"]]
    by_device = {name: volume["driver_opts"]["device"] for name, volume in profile["volumes"].items()
                 if "driver_opts" in volume and volume["driver_opts"]["type"] != "tmpfs"}  # fmt: skip
    assert by_device == {
        "concelier-exports": "/opt/stellaops/mirror-data/concelier",
        "excititor-exports": "/opt/stellaops/mirror-data/excititor",
    }
    told = profile["services"]["concelier"]["environment"] | profile["services"]["excititor"]["environment"]
    assert told["CONCELIER__MIRROR__EXPORTROOT"] == "/exports/json"
    assert told["EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT"] == "/exports"


def test_no_service_has_more_rights_than_it_needs(profile: dict[str, Any]) -> None:
    for name, service in profile["services"].items():
        user = str(service["user"]).split(":")[0]
        assert user.isdecimal(), name
        assert int(user) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert "@sha256:" in service["image"], name
        if name not in ONCE:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_trees_and_secrets_are_read_only_and_stores_out_of_reach(profile: dict[str, Any]) -> None:
    services = profile["services"]
    for name in ("concelier", "excititor"):
        assert all(volume.get("read_only") for volume in services[name]["volumes"]), name
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["target"].startswith(("/run/secrets", "/run/htpasswd", "/run/tls", "/run/trust")):
                assert volume.get("read_only"), (name, volume)
    if profile["profile"] == "full":
        assert profile["networks"]["stores"]["internal"] is True
        near = {name for name, service in services.items() if "stores" in (service.get("networks") or {})}
        assert near == {
            "api", "api-tls", "worker", "postgres", "objects", "migrate", "bootstrap", "mirror-publish", "mirror-sync",
        }  # fmt: skip
        assert all("ports" not in services[name] for name in ("postgres", "objects", "worker"))
        (port,) = services["api"]["ports"]
        assert port["host_ip"] == "127.0.0.1"


def test_a_mirror_host_sees_no_secret_of_the_service(profile: dict[str, Any]) -> None:
    for name in SERVICES["mirror"]:
        service = profile["services"][name]
        assert "secrets" not in service, name
        assert not [
            each for each in service["environment"] if each.startswith(("STELLA_STORE", "STELLA_ARTEFACTS"))
        ]


@pytest.mark.parametrize("missing", [*IMAGES, "MIRROR_SOURCE"])
def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path, missing: str) -> None:
    place = copy_compose(tmp_path)
    for file in ("mirror.env", "stellaops.env"):
        text = (place / "env" / file).read_text()
        (place / "env" / file).write_text(re.sub(rf"(?m)^{missing}=.*$", f"{missing}=", text))
    done = compose(place, "nginx" if missing == "NGINX_IMAGE" else "full", "config", "-q")
    if missing == "MIRROR_SOURCE":
        done = compose(place, "mirror", "config", "-q")
    assert f"required variable {missing} is missing a value" in done.stderr


def test_nothing_in_the_files_names_an_image() -> None:
    for file in COMPOSE.glob("*.yaml"):
        images = re.findall(r"(?m)^\s*image: (.*)$", file.read_text())
        assert images, file
        assert all(re.fullmatch(r"\$\{[A-Z]+_IMAGE:\?.*\}", image) for image in images), file
    for file in (COMPOSE / "env").glob("*.example"):
        for line in re.findall(r"(?m)^\w+_IMAGE=.*$", file.read_text()):
            assert line.endswith("="), line


def test_every_variable_is_a_setting_or_of_compose(profile: dict[str, Any]) -> None:
    for name, service in profile["services"].items():
        for variable in service.get("environment") or {}:
            assert is_setting(variable) or NOT_SETTINGS.fullmatch(variable), (name, variable)


@pytest.mark.parametrize("example", ["mirror.env.example", "stellaops.env.example"])
def test_an_example_names_what_the_files_ask_for_and_nothing_else(example: str) -> None:
    text = (COMPOSE / "env" / example).read_text()
    told = re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=", text)
    assert len(told) == len(set(told))
    for variable in told:
        assert is_setting(variable) or NOT_SETTINGS.fullmatch(variable), variable
    files = [COMPOSE / "docker-compose.mirror.yaml", COMPOSE / "docker-compose.nginx.yaml"]
    if example.startswith("stellaops"):
        files = [COMPOSE / "docker-compose.yaml"]
        told += re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=", (COMPOSE / "env" / "mirror.env.example").read_text())
    asked = {name for file in files for name in re.findall(r"\$\{([A-Z][A-Z0-9_]*)", file.read_text())}
    assert asked - set(told) == set()
    if example.startswith("mirror"):
        ours = {name for name in told if NOT_SETTINGS.fullmatch(name)}
        assert ours - asked == set()


def test_the_examples_are_settings_that_hold(profile: dict[str, Any]) -> None:
    from stellaops.adapters.settings.load import load  # noqa: PLC0415
    from stellaops.adapters.settings.mirrors import read_mirror_host  # noqa: PLC0415

    for service in profile["services"].values():
        environment = {
            name: value for name, value in (service.get("environment") or {}).items() if value is not None
        }
        load({}, {"STELLA_CONFIG": "/dev/null/none", **environment})
        assert read_mirror_host({}, environment).unknown == ()


def test_no_example_takes_away_what_another_says() -> None:
    first, second = (
        dict(re.findall(r"(?m)^([A-Z][A-Z0-9_]+)=(.*)$", file.read_text()))
        for file in (COMPOSE / "env").glob("*.example")
    )
    # Compose takes what it reads last, even where that is empty.
    assert {
        name for name in first.keys() & second.keys() if first[name] != second[name] or not first[name]
    } == set()
    assert not {name for name in first.keys() & second.keys() if name.endswith("_IMAGE")}


def test_what_the_page_says_of_the_whole_service_makes_what_the_validator_wants(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("files cannot be given to the users of the containers without root")
    page = runbook.read("compose.md")
    text = next(each.text for each in page.blocks if each.section == "The whole service")
    assert "validate-profiles.sh" in text
    for folder in ("compose", "tools"):
        shutil.copytree(DEPLOY / folder, tmp_path / "deploy" / folder, ignore=shutil.ignore_patterns("*.env"))
    for example in (tmp_path / "deploy/compose/env").glob("*.example"):
        example.write_text(example.read_text().replace("/opt/stellaops", str(tmp_path / "opt")))
    text = re.sub(r"REGISTRY/(\S+)", rf"registry.example/\1@{DIGEST}", text).replace(
        "/opt/stellaops", str(tmp_path / "opt")
    )
    text = re.sub(r"(?m)^docker compose (.*) up -d$", r"docker-compose \1 config -q", text)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, line in (("sudo", '"$@"'), ("htpasswd", f'{sys.executable} -m tests.support.htpasswd "$@"')):
        (programs / name).write_text(f"#!/bin/sh\nexec env PYTHONPATH={ROOT} {line}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", text], cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is wrong" in done.stderr


def test_a_third_domain_reaches_all_parts(tmp_path: Path) -> None:
    place = copy_compose(tmp_path)
    edit(
        place / "env" / "mirror.env", CONCELIER__MIRROR__DOMAINS__2__ID="edge", GATEWAY__DOMAINS__2__ID="edge"
    )
    services = resolved(place, "mirror")["services"]
    for name in ("concelier", "excititor", "mirror-gateway"):
        assert services[name]["environment"]["CONCELIER__MIRROR__DOMAINS__2__ID"] == "edge"


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    done = subprocess.run(
        [require("hadolint"), "-c", DEPLOY / "docker/.hadolint.yaml", DEPLOY / "docker/Dockerfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_asks_for_its_base_runs_as_nobody_and_takes_only_what_is_there() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    assert re.search(r"(?m)^ARG BASE_IMAGE$", text)
    assert set(re.findall(r"(?m)^FROM (\S+)", text)) == {"${BASE_IMAGE}"}
    final = text.rpartition("FROM ")[2]
    assert re.search(r"(?m)^USER 10001:10001$", final)
    assert "HEALTHCHECK" in final
    assert 'ENTRYPOINT ["stella"]' in final
    taken = (ROOT / ".dockerignore").read_text().splitlines()
    for words in re.findall(r"(?m)^COPY (?!--from)((?:--\S+ )?)(.*)$", text):
        for source in words[1].split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(
                source == each[1:] or source.startswith(f"{each[1:]}/") for each in taken if each[0] == "!"
            ), source


def test_the_image_has_every_library_with_its_hash() -> None:
    pinned = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "requirements/image.txt").read_text()))
    whole = (ROOT / "pyproject.toml").read_text()
    wanted = {re.split(r"[\[>;]", each)[0] for each in re.findall(r'"([A-Za-z0-9.\[\]-]+>=[^"]*)"', whole)}
    assert {each.lower().replace(".", "-") for each in wanted} <= pinned | {"hatchling"}


SCRIPTS = sorted([*(DEPLOY / "tools").glob("*.sh"), *DEPLOY.glob("compose/**/*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_linter_of_shell_finds_nothing(script: Path) -> None:
    done = subprocess.run([require("shellcheck"), script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert script.stat().st_mode & 0o111


_WRITER = """
import os, signal, sys, time
name = sys.argv[1]
def opened(*_):
    global out
    out = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
opened()
signal.signal(signal.SIGUSR1, opened)
time.sleep(1)
for number in range(1500):
    os.write(out, b"%01000d\\n" % number)
    time.sleep(0.001)
time.sleep(60)
"""


def test_the_log_of_nginx_is_rotated_and_told_without_a_gap(tmp_path: Path) -> None:
    """A writer in the place of nginx: it holds its log open, and opens the next one by the same signal."""
    for name in ("logs", "run", "bin"):
        (tmp_path / name).mkdir()
    nap = tmp_path / "bin/sleep"
    nap.write_text("#!/bin/sh\nexec /bin/sleep 0.3\n")
    nap.chmod(0o755)
    writer = tmp_path / "writer.py"
    writer.write_text(_WRITER)
    script, log = DEPLOY / "compose/mirror-gateway/nginx/start.sh", tmp_path / "run/access.log"
    words = [script, tmp_path / "logs", tmp_path / "run", 1, sys.executable, writer, log]
    paths = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(["sh", *map(str, words)], stdout=out, env=paths)
    try:
        until(lambda: (tmp_path / "out").read_bytes().endswith(b"01499\n"))
    finally:
        process.terminate()
        process.wait(10)
    assert (tmp_path / "logs/access.log.1").stat().st_size > 1 << 20
    assert [int(line) for line in (tmp_path / "out").read_bytes().splitlines()] == list(range(1500))
