"""The API on a data directory of its own, asked as an ASGI application, and as a real process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from stellaops.api.app import App, create_app
from stellaops.api.frame.limits import Limits
from stellaops.authority.access import SCOPES
from stellaops.authority.actors import OPERATOR
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.run import Run
from stellaops.exports.run_export import run_export
from tests.support.workers import TENANT, Service

EVERY_SCOPE = tuple(SCOPES)
OTHER = "other"
ROOMY = Limits(requests_per_minute=10_000_000)


@dataclass
class Api:
    """A service whose API is asked without a network."""

    service: Service
    limits: Limits = ROOMY
    _tokens: dict[Any, str] = field(default_factory=dict)

    @property
    def local(self) -> Local:
        return self.service.local

    @cached_property
    def app(self) -> App:
        return create_app(self.local, self.limits)

    @cached_property
    def client(self) -> TestClient:
        """Asks as nobody in particular; unexpected errors are answers, as for real callers."""
        return TestClient(self.app, raise_server_exceptions=False)

    def token(self, tenants: Iterable[str] = (TENANT,), scopes: Iterable[str] = EVERY_SCOPE) -> str:
        """An access token of a client that may do so much."""
        key = tuple(tenants), tuple(scopes)
        if key not in self._tokens:
            for tenant in set(key[0]) - {TENANT, "*"}:
                self.tenant(tenant)
            made = create_client(
                ClientTools(self.local.clients, self.local.tenants),
                OPERATOR,
                Wanted(tenants=key[0], scopes=key[1]),
                now=now(),
            )
            issued = self.local.issuer.issue(made.client.id, [made.secret or ""])
            self._tokens[key] = issued.token
            self.local.access.forget()
        return self._tokens[key]

    def tenant(self, name: str, **limits: int) -> None:
        """Make a tenant, or change its limits."""
        if self.local.tenants.get(name) is None:
            self.local.tenants.add(Tenant(name, created_at=now(), **limits))

    def ask(
        self,
        method: str,
        path: str,
        *,
        tenants: Iterable[str] = (TENANT,),
        scopes: Iterable[str] = EVERY_SCOPE,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Any:
        """A request with a token."""
        told = {"authorization": f"Bearer {self.token(tenants, scopes)}", **(headers or {})}
        return self.client.request(method, path, headers=told, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: object = None, **more: Any) -> Any:
        if body is not None:
            more["json"] = body
        return self.ask("POST", path, **more)

    def finished_run(self, profile: str = "json:raw", tenant: str = TENANT) -> Run:
        """A run that was executed here and now; its bundle is real."""
        recipe = find_profile(tenant, profile, self.local.profiles)
        request = RunRequest(new_run_id(), tenant, recipe, {})
        return run_export(request, self.local.export_tools, by="test")


@contextmanager
def api(place: Path, url: str | None = None, limits: Limits = ROOMY) -> Iterator[Api]:
    """The API on a new data directory, or on a PostgreSQL database."""
    with closing(Service(place, url)) as service:
        yield Api(service, limits)


@dataclass
class ApiProcess:
    """`stella serve …` as a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def serving(
    service: Service, part: str = "api", *options: str, port: int | None = None
) -> Iterator[ApiProcess]:
    """`stella serve PART` on a free port, until it answers; stopped by its pid at the end."""
    port = port or free_port()
    log = service.place / f"serve-{part}-{port}.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLA_")}
    command = "from stellaops.cli.start import main; main()"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", part, "--port", str(port), *options],
            env=kept | service.variables | {"STELLA_API_REQUESTS_PER_MINUTE": "10000000"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out,
        )
    found = ApiProcess(process, f"http://127.0.0.1:{port}", log)
    try:
        _until_up(found, port)
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _until_up(found: ApiProcess, port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert found.process.poll() is None, found.log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.settimeout(30)
                connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(found.log.read_text())
