"""What every test shares: slow tests only when asked, no network, hypothesis profiles, peers' programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from stellaops.authority import client_secrets
from stellaops.core import collecting
from tests.support import network, postgres, room, tools


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config: pytest.Config) -> None:
    network.forbid()
    collecting.look_seldom()
    # The least: nobody guesses at the secrets of tests, which make thousands.
    client_secrets._COSTS = (10, 8, 1)
    if not hasattr(config, "workerinput"):  # the one process that starts the others
        _prepare(config)
    # No deadline: the time of one example says more about the machine's other work than about the code.
    hypothesis.settings.register_profile("dev", deadline=None)
    hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
    in_ci = os.environ.get("CI", "").lower() == "true"
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if in_ci else "dev"))


def _prepare(config: pytest.Config) -> None:
    room.compile_once()
    # What slow tests write is too large for it.
    if config.option.basetemp is None and not config.getoption("--run-slow"):
        place = room.in_memory()
        if place is not None:
            config.option.basetemp = place / "t"
            config.add_cleanup(partial(room.give_back, place))


def pytest_collection_finish(session: pytest.Session) -> None:
    collecting.keep_all()  # thousands of tests, which stay to the end


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def trivy() -> Path:
    """Stock Trivy."""
    return tools.require("trivy")


@pytest.fixture(scope="session")
def cosign2() -> Path:
    """Stock cosign of generation 2."""
    return tools.require("cosign2")


@pytest.fixture(scope="session")
def cosign3() -> Path:
    """Stock cosign of generation 3."""
    return tools.require("cosign3")


@pytest.fixture(params=["cosign2", "cosign3"])
def cosign(request: pytest.FixtureRequest) -> Path:
    """Each generation of cosign in turn."""
    return tools.require(request.param)


@pytest.fixture(scope="session")
def openssl() -> Path:
    """The openssl command."""
    return tools.require("openssl")


@pytest.fixture(scope="session")
def no_network() -> tuple[str, ...]:
    """Words to put before a command so that it runs without any network."""
    return tools.require_no_network()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`small_disk(size)` mounts a file system of so many bytes and answers where; needs root."""
    with ExitStack() as disks:
        yield lambda size: disks.enter_context(tools.small_disk(tmp_path / f"disk-{size}", size))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL server, one for the session."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> tuple[postgres.Server, str]:
    """The server, and a database with both stores in this release's schema, to copy."""
    # A test that needs no database needs none of its libraries either.
    from stellaops.adapters.sql import migrations  # noqa: PLC0415
    from stellaops.adapters.sql.address import parse_address  # noqa: PLC0415
    from stellaops.adapters.sql.engine import open_engine  # noqa: PLC0415

    name = "stella_template"
    postgres_server.run(f"CREATE DATABASE {name}")
    for store in (migrations.EVIDENCE, migrations.SERVICE):
        engine = open_engine(parse_address(postgres_server.url(name)), store.name)
        migrations.migrate(engine, store)
        engine.dispose()
    return postgres_server, name
