"""How fast a bundle is brought to an object store and fetched again, and with how much memory, beside rclone.

    python -m benchmarks.distribution_objects [--bytes 1000000000] [--runs 3] [--format json]

One SeaweedFS on loopback, without TLS, takes every copy, each below a prefix of its own, which is removed afterwards.
The bundle is one file of random bytes with three small ones, as a mirror archive has them beside it. Ours pushes from
the bundle root, with checksums that the server judges, and moves `latest`; it pulls into an empty directory and
compares every digest. rclone copies the same directory there and back: as it comes, and with parts of 16 MiB as ours
are. `aws s3 cp` takes part where it is on PATH. Every push and every pull is a process of its own, the contestants in
turn. Ours is timed after its imports, since workers run for long; the others from their start to their end.

A ratio above 1 is faster than the fastest of the others. Memory is the most that was resident of our process
(`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.distribution_oci import make_bundle
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.exports.distribution.ports import DeliveredFile, Delivery, Kept
from stellaops.exports.run import Archive
from tests.support import s3, tools
from tests.support.object_places import ObjectPlace
from tests.support.targets import TENANT, untold

_ARCHIVE = Archive("e" * 26, "a" * 26)
_PROFILE, _KIND = "raw", "json:raw"
_AWS = ("aws", "s3", "cp", "--recursive", "--quiet")
_Work = Callable[[str], float]


def push_once(order: dict[str, Any]) -> dict[str, Any]:
    """One push in this process."""
    files = tuple(DeliveredFile(*each) for each in order["files"])
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    delivery = Delivery(TENANT, _PROFILE, _KIND, _ARCHIVE, moment, 1, Path(order["root"]), files)
    target = _place(order).open()
    start = time.perf_counter()
    delivered = target.deliver(delivery, untold)
    target.point(delivery, delivered)
    return {"seconds": time.perf_counter() - start, "reference": delivered.reference, "memory": _memory()}


def pull_once(order: dict[str, Any]) -> dict[str, Any]:
    """One pull in this process."""
    target = _place(order).open()
    start = time.perf_counter()
    target.fetch(Kept(TENANT, _PROFILE, _KIND, _ARCHIVE, order["reference"]), Path(order["into"]))
    return {"seconds": time.perf_counter() - start, "memory": _memory()}


def _place(order: dict[str, Any]) -> ObjectPlace:
    key = AccessKey(os.environ["BENCH_KEY_ID"], os.environ["BENCH_KEY_SECRET"])
    folder = Path(order["folder"])
    return ObjectPlace(folder, s3.Bucket(order["url"], key), prefix=order["prefix"])


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Bench:
    """The contestants at one store."""

    def __init__(self, folder: Path, bucket: s3.Bucket, size: int) -> None:
        self._folder, self._bucket = folder, bucket
        self._files = make_bundle(folder / "root", size)
        self.memory = {"push": 0, "pull": 0}
        (folder / "none.conf").touch()
        server, _, self._name = bucket.url.rstrip("/").rpartition("/")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH", "LANG")},
            "BENCH_KEY_ID": bucket.key.id, "BENCH_KEY_SECRET": bucket.key.secret,
            "RCLONE_CONFIG": str(folder / "none.conf"), "RCLONE_CONFIG_W_TYPE": "s3",
            "RCLONE_CONFIG_W_PROVIDER": "Other", "RCLONE_CONFIG_W_ENDPOINT": server,
            "RCLONE_CONFIG_W_ACCESS_KEY_ID": bucket.key.id, "RCLONE_CONFIG_W_SECRET_ACCESS_KEY": bucket.key.secret,
            "RCLONE_CONFIG_W_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": bucket.key.id,
            "AWS_SECRET_ACCESS_KEY": bucket.key.secret, "AWS_ENDPOINT_URL": server, "AWS_REGION": "us-east-1",
        }  # fmt: skip

    def contestants(self) -> dict[str, tuple[_Work, _Work]]:
        """A push to a prefix and a pull from there, by name; each gives seconds."""
        found = {
            "ours": (self._push_ours, self._pull_ours),
            "rclone": self._rclone(),
            "rclone, parts as ours": self._rclone("--s3-chunk-size=16M", "--s3-upload-cutoff=16M"),
        }
        if shutil.which("aws"):
            found["aws s3 cp"] = (self._push_aws, self._pull_aws)
        return found

    def _push_aws(self, prefix: str) -> float:
        return self._timed(*_AWS, str(self._root), self._s3(prefix))

    def _pull_aws(self, prefix: str) -> float:
        seconds = self._timed(*_AWS, self._s3(prefix), str(self._back))
        shutil.rmtree(self._back)
        return seconds

    def warm(self) -> None:
        """Have the store make room for a bundle, which whoever comes first would wait for."""
        push, _ = self._rclone()
        push("warm")
        self.remove("warm")

    def remove(self, prefix: str) -> None:
        """Remove what a push has brought."""
        self._timed(str(tools.require("rclone")), "purge", f"w:{self._name}/{prefix}")

    @property
    def _root(self) -> Path:
        return self._folder / "root"

    @property
    def _back(self) -> Path:
        return self._folder / "back"

    def _s3(self, prefix: str) -> str:
        return f"s3://{self._name}/{prefix}/"

    def _push_ours(self, prefix: str) -> float:
        done = self._ours("--push", self._order(prefix))
        self._references = {prefix: done["reference"]}
        self.memory["push"] = max(self.memory["push"], done["memory"])
        return float(done["seconds"])

    def _pull_ours(self, prefix: str) -> float:
        self._back.mkdir()
        order = {**self._order(prefix), "into": str(self._back), "reference": self._references[prefix]}
        done = self._ours("--pull", order)
        self.memory["pull"] = max(self.memory["pull"], done["memory"])
        shutil.rmtree(self._back)
        return float(done["seconds"])

    def _order(self, prefix: str) -> dict[str, Any]:
        return {
            "folder": str(self._folder), "url": self._bucket.url, "prefix": prefix, "root": str(self._root),
            "files": self._files,
        }  # fmt: skip

    def _ours(self, verb: str, order: dict[str, Any]) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.distribution_objects", verb, json.dumps(order)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=self._environment)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _rclone(self, *options: str) -> tuple[_Work, _Work]:
        program = str(tools.require("rclone"))

        def push(prefix: str) -> float:
            return self._timed(
                program, "copy", "--quiet", *options, str(self._root), f"w:{self._name}/{prefix}"
            )

        def pull(prefix: str) -> float:
            seconds = self._timed(
                program, "copy", "--quiet", *options, f"w:{self._name}/{prefix}", str(self._back)
            )
            shutil.rmtree(self._back)
            return seconds

        return push, pull

    def _timed(self, *command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, env=self._environment, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def measure(size: int, runs: int, directory: Path | None) -> dict[str, Any]:
    """Pushes and pulls of all contestants in turn; medians."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        folder = Path(scratch)
        (folder / "server").mkdir()
        with s3.serving(folder / "server") as bucket:
            bench = Bench(folder, bucket, size)
            contestants = bench.contestants()
            bench.warm()
            taken: dict[str, dict[str, list[float]]] = {"push": {}, "pull": {}}
            for number in range(runs):
                names = list(contestants)
                for place, name in enumerate(names[number % len(names) :] + names[: number % len(names)]):
                    prefix = f"bench-{number}-{place}"
                    for verb, work in zip(taken, contestants[name], strict=True):
                        taken[verb].setdefault(name, []).append(work(prefix))
                    bench.remove(prefix)
    return {
        "machine": machine.describe(), "bytes": size, "runs": runs,
        **{verb: _judged(found, bench.memory[verb]) for verb, found in taken.items()},
    }  # fmt: skip


def _judged(taken: dict[str, list[float]], memory: int) -> dict[str, Any]:
    seconds = {name: round(statistics.median(each), 3) for name, each in taken.items()}
    fastest = min(value for name, value in seconds.items() if name != "ours")
    return {"seconds": seconds, "ratio": round(fastest / seconds["ours"], 2), "memory": memory}


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [machine.line(result["machine"]), f"{result['bytes'] / 1e6:.0f} MB; {result['runs']} runs each"]
    for verb in ("push", "pull"):
        found = result[verb]
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["seconds"].items())
        lines.append(
            f"{verb}    {told}: {found['ratio']} of the fastest; {found['memory'] / 2**20:.0f} MiB resident"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--push", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--pull", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.push or options.pull:
        print(json.dumps(push_once(options.push) if options.push else pull_once(options.pull)))
        return 0
    result = measure(options.bytes, options.runs, options.directory)
    print(json.dumps(result) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
