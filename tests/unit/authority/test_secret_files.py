"""Who may be able to read a secret file that an operator names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stellaops.adapters.keys.disk import is_lent

SERVICE = 10001
READ = f"""
import os, sys
from pathlib import Path
from stellaops.adapters.keys.disk import read_named
from stellaops.authority.keys import KeyUnavailable
os.setgroups([])
os.setgid({SERVICE})
os.setuid({SERVICE})
try:
    print(read_named(Path(sys.argv[1])).decode())
except KeyUnavailable as error:
    print(error.code, "open to others" in str(error))
"""


def _state(mode: int, owner: int, group: int) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "group", "lent"),
    [
        (0o440, 0, SERVICE, True),  # as Kubernetes mounts a secret for a pod with `fsGroup`
        (0o640, 0, SERVICE, True),
        (0o640, 0, 50, False),  # a group that is not ours
        (0o440, 4711, SERVICE, False),  # somebody else's file
        (0o660, 0, SERVICE, False),  # the group could change it
        (0o444, 0, SERVICE, False),
        (0o441, 0, SERVICE, False),
        (0o644, 0, SERVICE, False),
    ],
)
def test_root_may_lend_a_secret_to_one_of_our_groups_and_nobody_else_may(
    mode: int, owner: int, group: int, lent: bool
) -> None:
    assert is_lent(_state(mode, owner, group), (7, SERVICE)) is lent


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users reach; pytest's own are closed to them."""
    place = Path(tempfile.mkdtemp(prefix="lent-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files and processes to others")
@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (0o440, "hush"),
        (0o444, "ERR_KEY_UNAVAILABLE True"),
        (0o460, "ERR_KEY_UNAVAILABLE True"),
    ],
)
def test_a_service_that_is_not_root_reads_what_root_lends_to_its_group(
    open_place: Path, mode: int, told: str
) -> None:
    secret = open_place / "secret"
    secret.write_text("hush")
    os.chown(secret, 0, SERVICE)
    secret.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(secret)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told
