"""Pulls in this process, over real sockets, with a clock and waits that the test holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from stellaops.adapters.sql.pulls import SqlPulls
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.adapters.web.download import FileSpools, Network
from stellaops.adapters.web.egress import Resolve, resolve
from stellaops.core.egress import EgressPolicy
from stellaops.ingest.pull import PullOptions, PullTools, pull_source, pull_sources
from stellaops.ingest.pull_model import Definition, PullReport
from tests.contract.stores import Store

LOOPBACK = EgressPolicy((ip_network("127.0.0.0/8"),), frozenset(("127.0.0.1", "localhost")))


@dataclass
class Puller:
    """A store, a spool and a clock."""

    store: Store
    engine: Engine
    root: Path
    policy: EgressPolicy = LOOPBACK
    settings: Mapping[str, Any] = field(default_factory=dict)
    clock: datetime = datetime(2026, 11, 1, tzinfo=UTC)
    waits: list[float] = field(default_factory=list)
    look_up: Resolve = resolve
    parallel: int = 4
    largest: int = 1 << 30
    small: int = 4 << 20

    @property
    def pulls(self) -> SqlPulls:
        return SqlPulls(self.engine)

    @property
    def tools(self) -> PullTools:
        settings = WebSettings(self.policy, read_seconds=5, connect_seconds=5, **self.settings)
        network = Network(
            WebClient(settings, look_up=self.look_up),
            lambda: self.clock,
            self._sleep,
            lambda: 0.5,
            threading.Semaphore(self.parallel),
            self.largest,
            self.small,
        )
        spools = FileSpools(self.root / "pulls", network)
        return PullTools(
            self.pulls,
            spools,
            self.store.sources,
            self.store.imports,
            lambda: self.clock,
            lambda: 0.5,
            self.parallel,
        )

    def pull(self, definition: Definition, *, full: bool = False, at_once: bool = False) -> PullReport:
        """Pull, as a new process would; the clock goes on by a minute."""
        self.clock += timedelta(minutes=1)
        return pull_source(definition, self.tools, PullOptions(full, at_once))

    def pull_all(self, definitions: list[Definition]) -> list[PullReport]:
        self.clock += timedelta(minutes=1)
        return pull_sources(definitions, self.tools, PullOptions(), at_once=self.parallel)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def bucket(url: str, *ecosystems: str, name: str = "demo", **more: Any) -> Definition:
    """The definition of a source on an OSV bucket."""
    options = {"ecosystems": list(ecosystems), **more.pop("options", {})}
    return Definition(name=name, layout="osv-bucket", url=url, options=options, prune=True, **more)


def ok(report: PullReport) -> PullReport:
    """A pull that must have worked."""
    assert (report.state, report.error_text) == ("ok", ""), report
    return report
