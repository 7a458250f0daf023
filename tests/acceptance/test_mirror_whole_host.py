"""A mirror host as it is deployed: sync, back ends and gateway as processes, and nothing of the service in reach.

Every file that they open and every address that they connect to is written down by an audit hook of Python's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from stellaops.signing.ecdsa_p256 import PublicKey
from tests.support import tools
from tests.support.gateways import GatewayProcess, Setup, follow, serving, until
from tests.support.real_mirror import Told, publish_all, stella
from tests.unit.cli.running import osv, package

HOOK = """
import json, os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def _noted(event, told):
    if event == "open":
        # Without a mode it is os.open, whose flags say whether it writes.
        writes = any(each in told[1] for each in "wax+") if isinstance(told[1], str) else bool(told[2] & 3)
        os.write(_log, json.dumps(["write" if writes else "read", str(told[0])]).encode() + b"\\n")
    elif event in ("sqlite3.connect", "socket.connect"):
        os.write(_log, json.dumps([event, str(told[-1])]).encode() + b"\\n")
sys.addaudithook(_noted)
"""
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@dataclass
class World:
    """What a host has: two publications to sync, a public key, users; and what was noted of its processes."""

    place: Path
    key: PublicKey

    @property
    def root(self) -> Path:
        return self.place / "host" / "mirror-data"

    def source(self, number: int) -> Path:
        return self.place / f"publication-{number}"

    def variables(self, part: str) -> dict[str, str]:
        """Those that have a process noted, and a data directory in which there is nothing."""
        return {
            "PYTHONPATH": str(self.place / "hook"), "AUDIT_LOG": str(self.place / f"{part}.audit"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "STELLA_DATA_DIR": str(self.place / "host" / f"{part}-state"),
        }  # fmt: skip

    def noted(self, part: str) -> Iterator[tuple[str, str]]:
        for line in (self.place / f"{part}.audit").read_text().splitlines():
            event, told = json.loads(line)
            yield event, told

    def sync(self, number: int) -> Told:
        key = self.place / "mirror-key.pub"
        command = ("mirror", "sync", self.source(number), self.root, "--key", key, "--format", "json")
        return stella(self.place, *command, variables=self.variables("sync"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two publications of one publisher, who is gone: evidence, queue and signing key with all of its data."""
    place = tmp_path_factory.mktemp("host")
    publisher = publish_all(place)
    found = World(place, publisher.key())
    shutil.copytree(place / "mirror", found.source(1), symlinks=True)
    publisher.take({"new.json": osv("GHSA-cccc-cccc-cccc", package("npm", "left"))}, "ghsa")
    publisher.publish()
    publisher.close()
    (place / "mirror").rename(found.source(2))
    shutil.rmtree(place / "publisher")
    (place / "hook").mkdir()
    (place / "hook" / "sitecustomize.py").write_text(HOOK)
    found.root.mkdir(parents=True)
    return found


def _read_only(root: Path) -> Sequence[str]:
    """What has a process see a directory read-only; without the right to do so the test ends."""
    rights = () if os.geteuid() == 0 else ("--map-root-user",)
    before = (str(tools.require("unshare")), *rights, "--mount", "sh", "-c", READ_ONLY, str(root))
    tried = subprocess.run([*before, "touch", str(root / "written")], capture_output=True, check=False)
    if tried.returncode == 0 or b"Read-only" not in tried.stderr:
        tools.missing(f"this machine does not let us mount a directory read-only: {tried.stderr.decode()}")
    return before


def test_a_host_syncs_and_serves_with_nothing_of_the_service_in_reach(world: World) -> None:
    before = _read_only(world.root)
    assert world.sync(1).code == 0
    users = {"GATEWAY__SECRETSDIR": str(world.place)}
    with ExitStack() as stack:

        def begun(part: str, more: dict[str, str], before: Sequence[str] = ()) -> GatewayProcess:
            setup = Setup(world.root, world.place / "host" / part, users | world.variables(part) | more)
            return stack.enter_context(serving(setup, part, before=before))

        concelier = begun("concelier", {"EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": ""}, before)
        excititor = begun("excititor", {"CONCELIER__MIRROR__EXPORTROOT": ""}, before)
        no_trees = {"CONCELIER__MIRROR__EXPORTROOT": "", "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": ""}
        behind = {
            "GATEWAY__CONCELIER__URL": concelier.url, "GATEWAY__EXCITITOR__URL": excititor.url,
            "GATEWAY__CACHEDIR": str(world.place / "host" / "cache"),
        }  # fmt: skip
        gateway = begun("gateway", no_trees | behind)
        first = follow(gateway, "edge", world.key)
        assert gateway.ask("/readyz").status == 200
        login = (
            "--credentials",
            world.place / "login",
            "--key",
            world.place / "mirror-key.pub",
            "--format",
            "json",
        )
        (world.place / "login").write_text("edge:correct-horse")
        checked = stella(
            world.place, "mirror", "check", gateway.url, "--inside", "--domain", "primary", *login
        )
        assert checked.code == 0, checked.out + checked.err

        done = world.sync(2)
        changed = {each["changed"] for each in done.json if each["side"] == "concelier"}
        assert (done.code, changed) == (0, {True}), done.err
        until(lambda: _bundle(concelier) != first)
        assert _bundle(concelier) == next(
            each["exportId"] for each in done.json if each["side"] == "concelier"
        )
        for each in (concelier, excititor, gateway):
            assert '"level":"error"' not in each.log(), each.log()
    for part in ("sync", "concelier", "excititor", "gateway"):
        _demand_apart(world, part)


def _bundle(back_end: GatewayProcess) -> str:
    """The export that the newest bundle is of."""
    return str(
        back_end.ask("/concelier/exports/mirror/primary/bundle.json", "edge").headers["x-stella-export-id"]
    )


def _demand_apart(world: World, part: str) -> None:
    """A process opened no store but its own, reached none but its back ends, and wrote where it may."""
    noted = list(world.noted(part))
    assert any(event == "read" for event, _ in noted), "nothing was noted"
    stores = {told for event, told in noted if event == "sqlite3.connect"}
    own = str(world.place / "host" / f"{part}-state" / "gateway" / "state.db")
    assert all(own in told for told in stores), stores
    reached = {told for event, told in noted if event == "socket.connect"}
    assert all("'127.0.0.1'" in told for told in reached), reached
    assert not reached or part == "gateway", reached
    host = str(world.place / "host")
    devices = ("/dev/null", "/dev/tty", "/dev/pts/")
    wrote = {told for event, told in noted if event == "write" and not told.isdecimal()}
    # Beside its own places a process tries out where temporary files can be.
    tried = {told for told in wrote if Path(told).parent == Path(tempfile.gettempdir())}
    foreign = {told for told in wrote - tried if not told.startswith((host, *devices))}
    assert not foreign, foreign
    if part in ("concelier", "excititor"):
        assert not {told for told in wrote if told.startswith(str(world.root))}, wrote
    keys = {told for _, told in noted if "/keys/" in told and told.startswith(str(world.place))}
    assert not [told for told in keys if Path(told).exists()], keys
