"""The runbook of the mirrors, command by command: before the gateway, and its smoke tests before nginx too."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from stellaops.core import timestamps
from tests.support import runbook, tools
from tests.support.api import free_port
from tests.support.fronts import FORMS, NAMES, front
from tests.support.gateways import GatewayProcess, until, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.real_mirror import publish_all
from tests.support.runbook import Outcome, Shell

PAGE = "runbook-mirrors.md"
SMOKE = "6. Smoke tests"
FRESHNESS = "7.1 Freshness"
ENDING = "7.8 Ending"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a published tree in `mirror` and the public key beside it."""
    place = tmp_path_factory.mktemp("publisher")
    publish_all(place).close()
    return place


def _programs(place: Path) -> dict[str, Path]:
    found = {"cosign-2": tools.require("cosign2"), "cosign-3": tools.require("cosign3")}
    found |= {name: tools.require(name) for name in ("jq", "curl", "openssl")}
    stock = tools.find("htpasswd")
    if stock is None:
        stock = place / "htpasswd"
        stock.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tools.ROOT)!r})\n"
            "from tests.support.htpasswd import main\nmain()\n"
        )
        stock.chmod(0o755)
    return {**found, "htpasswd": stock}


@contextmanager
def _desk(published: Path, place: Path, port: int, **variables: str) -> Iterator[Shell]:
    """An operator's shell, whose curl finds the mirror's host names on this machine and trusts their certificates."""
    desk = place / "desk"
    for directory in (desk, place / "home"):
        directory.mkdir(parents=True)
    shutil.copy(published / "mirror-key.pub", desk)
    names = "".join(f'resolve = "{name}:{port}:127.0.0.1"\n' for name in NAMES.values())
    (place / "home" / ".curlrc").write_text(f'{names}cacert = "{desk / "trusted.pem"}"\n')
    told = {name.upper(): f"https://{host}:{port}" for name, host in NAMES.items()}
    told |= {"NODE": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with runbook.shell(place, _programs(place), told | variables) as shell:
        yield shell


class Reader:
    """Reads the community's manifest again and again, as clients do, and keeps what it was answered."""

    def __init__(self, port: int, trusted: Path, password: str) -> None:
        self.statuses: list[int] = []
        self._ended = threading.Event()
        nobodys = cast("subprocess.Popen[bytes]", None)  # the page started it
        context = ssl.create_default_context(cafile=trusted)
        mirror = GatewayProcess(nobodys, port, trusted.parent, context, NAMES)

        def read() -> None:
            while not self._ended.wait(0.02):
                path = "/concelier/exports/freshness/community.json"
                self.statuses.append(mirror.ask(path, "partners", password=password).status)

        self._thread = threading.Thread(target=read)
        self._thread.start()

    def end(self) -> set[int]:
        self._ended.set()
        self._thread.join(30)
        return set(self.statuses)


@pytest.mark.slow
def test_the_runbook_is_done_from_an_empty_host_to_its_end(published: Path, tmp_path: Path) -> None:
    page, root = runbook.read(PAGE), tmp_path / "mirror-data"
    ports = free_port(), free_port()
    readers: list[Reader] = []
    with _desk(
        published,
        tmp_path,
        ports[0],
        SOURCE=str(published / "mirror"),
        ROOT=str(root),
        SPARE_PORT=str(ports[1]),
    ) as shell:

        def late(shell: Shell) -> None:
            """The last sync went through twenty minutes ago. From here on somebody reads."""
            past = timestamps.render(datetime.now(UTC) - timedelta(minutes=20))
            for state in root.glob("*/.synced/*.json"):
                state.write_text(re.sub(r'"syncedAt":"[^"]+"', f'"syncedAt":"{past}"', state.read_text()))
            _until_lag(shell, lambda seconds: seconds > 900)
            password = (tmp_path / "desk" / "partners.password").read_text().strip()
            readers.append(Reader(ports[0], tmp_path / "desk" / "trusted.pem", password))

        before = {FRESHNESS: late, ENDING: lambda _: _demand(readers[0].end() == {200}, readers[0].statuses)}
        after = {FRESHNESS: lambda shell: _until_lag(shell, lambda seconds: seconds < 60)}
        try:
            outcomes = runbook.follow(page, shell, before=before, after=after)
        finally:
            for each in readers:
                each.end()
    _smoked(outcomes)
    (status, metrics, synced) = [each for each in outcomes if each.command.section == FRESHNESS]
    assert all(int(line.split("\t")[2]) > 900 for line in status.out.splitlines())
    assert {float(value) > 900 for value in re.findall(r"sync_lag_seconds\{.*\} (\S+)", metrics.out)} == {
        True
    }
    assert set(synced.out.split()) == {"0"}
    assert "mirror.ended" in outcomes[-1].out
    _told_no_secret(tmp_path)


def _demand(holds: bool, told: object) -> None:
    assert holds, told


def _lags(shell: Shell) -> list[float]:
    told = shell.value('$(curl -fsS "$PRIMARY/metrics")')
    return [
        float(value) for value in re.findall(r"^mirror_sync_lag_seconds\{.*\} (\S+)$", told, re.MULTILINE)
    ]


def _until_lag(shell: Shell, holds: Callable[[float], bool]) -> None:
    def all_hold() -> bool:
        found = _lags(shell)
        return bool(found) and all(holds(each) for each in found)

    until(all_hold)


def _smoked(outcomes: Sequence[Outcome]) -> None:
    """What the smoke tests printed is what a good mirror gives."""
    found = [each for each in outcomes if each.command.section == SMOKE]
    said = "\n".join(each.out for each in found)
    for expected in ("passed", "consensus-openvex", '"domains"', "max-age=60"):
        assert expected in said, expected
    assert sum("Verified OK" in each.out + each.err for each in found) == 3


def _told_no_secret(place: Path) -> None:
    """No password in any log of the page's processes."""
    desk = place / "desk"
    for password in desk.glob("*.password"):
        secret = password.read_text().strip()
        for log in desk.glob("*.log"):
            assert secret not in log.read_text(), log


@pytest.mark.slow
@pytest.mark.parametrize("form", ["nginx over TLS"])
def test_the_smoke_tests_hold_before_nginx_too(published: Path, tmp_path: Path, form: str) -> None:
    tree = MirrorTree(published / "mirror")
    with front(FORMS[form], tmp_path / "front", tree) as found:
        variables = {"PRIMARY_CREDS": "edge-lyon:of-lyon", "COMMUNITY_CREDS": "partners:of-partners"}
        write_users(found.users / "mirror-primary.htpasswd", {"edge-lyon": "of-lyon"})
        write_users(found.users / "mirror-community.htpasswd", {"partners": "of-partners"})
        for each in (found.gateway, *found.back_ends.values()):
            each.reload()
        with _desk(published, tmp_path, found.outside.port, **variables) as shell:
            desk = tmp_path / "desk"
            (desk / "edge-lyon.password").write_text("of-lyon\n")
            chains = [(found.users / f"mirror-{domain}.crt").read_text() for domain in NAMES]
            (desk / "trusted.pem").write_text("".join(chains))
            outcomes = runbook.follow(runbook.read(PAGE), shell, only=lambda section: section == SMOKE)
    _smoked(outcomes)
