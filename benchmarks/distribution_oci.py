"""How fast a bundle is brought to an OCI registry and fetched again, and with how much memory, beside skopeo.

    python -m benchmarks.distribution_oci [--bytes 1000000000] [--runs 3] [--format json]

One docker-registry on loopback, without TLS, takes every copy; what it stores is removed before each push, so that
each sends all bytes. The bundle is one file of random bytes with three small ones, as a mirror archive has them beside
it. Ours pushes from the bundle root and pulls into one, with the signatures that a push makes and a pull checks;
skopeo copies the same manifest from an OCI layout to the registry, and from there into a layout. Every push and every
pull is a process of its own, ours and skopeo's in turn, each going first every other time. Ours is timed after its
imports, since workers run for long; skopeo from its start to its end.

A ratio above 1 is faster than skopeo. Memory is the most that was resident of the process (`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import hashlib
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
from stellaops.bundles.oci import names
from stellaops.exports.distribution.ports import DeliveredFile, Delivery, Kept
from stellaops.exports.run import Archive
from tests.support import registry as registries
from tests.support.registry import OciPlace, Registry
from tests.support.targets import TENANT, untold
from tests.support.tools import require

_PATH = f"bench/{TENANT}"
_PROFILE = "raw"
_ARCHIVE = Archive("e" * 26, "a" * 26)
_PIECE = 1 << 20


def make_bundle(root: Path, size: int) -> list[tuple[str, str, int]]:
    """A bundle root with one large file; its files as paths, digests and sizes, which a run has at hand."""
    (root / "signatures").mkdir(parents=True)
    with (root / "archive.bin").open("wb") as out:
        for place in range(0, size, _PIECE):
            out.write(os.urandom(min(_PIECE, size - place)))
    for name in ("export.json", "files.json", "signatures/export.sig"):
        (root / name).write_text(f"{name}\n" * 40, encoding="utf-8")
    return [_measured(root, path) for path in sorted(root.rglob("*")) if path.is_file()]


def _measured(root: Path, path: Path) -> tuple[str, str, int]:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return path.relative_to(root).as_posix(), digest, path.stat().st_size


def push_once(order: dict[str, Any]) -> dict[str, Any]:
    """One push in this process."""
    files = tuple(DeliveredFile(*each) for each in order["files"])
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    delivery = Delivery(TENANT, _PROFILE, "json:raw", _ARCHIVE, moment, 1, Path(order["root"]), files)
    target = _place(order).open()
    start, used = time.perf_counter(), time.process_time()
    delivered = target.deliver(delivery, untold)
    target.point(delivery, delivered)
    return {**_measured_since(start, used), "reference": delivered.reference}


def pull_once(order: dict[str, Any]) -> dict[str, Any]:
    """One pull in this process."""
    target = _place(order).open()
    start, used = time.perf_counter(), time.process_time()
    target.fetch(Kept(TENANT, _PROFILE, "json:raw", _ARCHIVE, order["reference"]), Path(order["into"]))
    return _measured_since(start, used)


def _place(order: dict[str, Any]) -> OciPlace:
    folder = Path(order["folder"])
    keys = registries.OneKey(folder / "key.pem")
    return OciPlace(Registry(order["host"], folder, folder), folder, keys, path=_PATH)


def _measured_since(start: float, used: float) -> dict[str, Any]:
    return {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - used,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


class Bench:
    """The two contestants at one registry."""

    def __init__(self, folder: Path, registry: Registry, size: int) -> None:
        self._folder, self._registry = folder, registry
        self._order: dict[str, Any] = {
            "folder": str(folder),
            "host": registry.host,
            "root": str(folder / "root"),
        }
        self._order["files"] = make_bundle(folder / "root", size)
        self._repository = f"docker://{registry.host}/{_PATH}/{names.component(_PROFILE)}"

    def prepare(self) -> None:
        """Have the bundle's manifest as an OCI layout, from which skopeo pushes."""
        self.push_ours()
        self.pull_peer(self._folder / "layout")

    def push_ours(self) -> dict[str, Any]:
        """Ours, from the bundle root."""
        self._empty()
        made = self._ours("--push", self._order)
        self._order["reference"] = made["reference"]
        return made

    def push_peer(self) -> dict[str, Any]:
        """Skopeo, from the layout."""
        self._empty()
        return self._skopeo(f"oci:{self._folder / 'layout'}:latest", f"{self._repository}:latest", "dest")

    def pull_ours(self) -> dict[str, Any]:
        """Ours, into a bundle root."""
        into = self._folder / "back"
        into.mkdir()
        done = self._ours("--pull", {**self._order, "into": str(into)})
        shutil.rmtree(into)
        return done

    def pull_peer(self, into: Path | None = None) -> dict[str, Any]:
        """Skopeo, into a layout."""
        target = into or self._folder / "copied"
        done = self._skopeo(f"{self._repository}:latest", f"oci:{target}:latest", "src")
        if into is None:
            shutil.rmtree(target)
        return done

    def _empty(self) -> None:
        shutil.rmtree(self._registry.storage, ignore_errors=True)

    def _ours(self, verb: str, order: dict[str, Any]) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.distribution_oci", verb, json.dumps(order)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _skopeo(self, source: str, target: str, plain: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self._folder) as home:  # else it remembers where blobs are
            words = [
                "--insecure-policy",
                "copy",
                "--quiet",
                "--preserve-digests",
                f"--{plain}-tls-verify=false",
            ]
            command = [str(require("skopeo")), *words, source, target]
            start, used = time.perf_counter(), _children()
            subprocess.run(command, check=True, env={"HOME": home, "PATH": "/usr/bin:/bin", "TMPDIR": home})
            return {"seconds": time.perf_counter() - start, "processor": _children() - used}


def _children() -> float:
    """Processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(size: int, runs: int, directory: Path | None) -> dict[str, Any]:
    """Alternate pushes and pulls; medians."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        folder = Path(scratch)
        registries.OneKey(folder / "key.pem")
        with registries.serving(folder / "registry") as registry:
            bench = Bench(folder, registry, size)
            bench.prepare()
            pushed = _alternate(bench.push_ours, bench.push_peer, runs)
            bench.push_ours()  # the signatures that a pull checks
            pulled = _alternate(bench.pull_ours, bench.pull_peer, runs)
    return {"machine": machine.describe(), "bytes": size, "runs": runs, "push": pushed, "pull": pulled}


def _alternate(
    ours: Callable[[], dict[str, Any]], peer: Callable[[], dict[str, Any]], runs: int
) -> dict[str, Any]:
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for number in range(runs):
        turns = [(ours, mine), (peer, theirs)]
        for work, results in turns if number % 2 == 0 else reversed(turns):
            os.sync()  # what was written before is not paid for by who comes next
            results.append(work())
    result: dict[str, Any] = {"memory": max(each["memory"] for each in mine)}
    for name, results in (("ours", mine), ("skopeo", theirs)):
        for kind in ("seconds", "processor"):
            result.setdefault(name, {})[kind] = round(statistics.median(each[kind] for each in results), 3)
    result["ratio"] = round(result["skopeo"]["seconds"] / result["ours"]["seconds"], 2)
    return result


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [machine.line(result["machine"]), f"{result['bytes'] / 1e6:.0f} MB; {result['runs']} runs each"]
    for verb in ("push", "pull"):
        found = result[verb]
        lines.append(
            f"{verb}    ours {_times(found['ours'])}, skopeo {_times(found['skopeo'])}: {found['ratio']} of its speed;"
            f" {found['memory'] / 2**20:.0f} MiB resident"
        )
    return "\n".join(lines)


def _times(found: dict[str, float]) -> str:
    return f"{found['seconds']:.2f} s ({found['processor']:.2f} s of processor time)"


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
