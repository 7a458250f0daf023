"""How long a full mirror bundle takes to make and to verify, and how much memory, beside zstd and SHA-256 alone.

    python -m benchmarks.mirror_bundles [--documents 50000] [--runs 3] [--format json]

One import of made-up documents (`benchmarks.documents`) fills a store. Every export and every verification is a process
of its own, followed in the same process by its peer:

* of the export, zstd with the same levels and workers over the same bytes, and SHA-256 over them: first the rows of
  each file, then the archive; nothing is read from a store, ordered, signed or verified;
* of the verification, the same archive unpacked with everything that is packed in it, and SHA-256 over what comes out;
  nothing is parsed.

A ratio of 1 is as fast as the peer. `made` is the building, sealing and packing, `whole` the run with its own
verification. Memory is the most that was resident before the peer began (`ru_maxrss`).
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
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from backports import zstd

from benchmarks import documents, machine, stores
from stellaops.bundles import tar_zst
from stellaops.bundles.jsonl.shards import ZSTD_OPTIONS
from stellaops.kit.verify import verify_bundle

PROFILE = "mirror:full"
_PIECE = 1 << 20
_MADE = ("build", "sign", "pack")
_PARAMETER = zstd.CompressionParameter
_OUTER: dict[int, int] = {
    _PARAMETER.compression_level: tar_zst.LEVEL,
    _PARAMETER.window_log: tar_zst.WINDOW_LOG,
    _PARAMETER.checksum_flag: 1,
    _PARAMETER.nb_workers: 2,
}


def fill(store: Path, count: int) -> dict[str, Any]:
    """A store with made-up documents."""
    archive = store.parent / "generated.zip"
    size = documents.write_zip(archive, count)
    report = stores.fill(stores.open_store(store), "generated", [archive])
    return {"documents": report.added, "bytes": size}


def make_once(store: Path) -> dict[str, Any]:
    """One export in this process, then its peer."""
    shutil.rmtree(store / "exports", ignore_errors=True)
    for path in store.glob("service.db*"):  # else the next run would share what the one before made
        path.unlink()
    local = stores.open_store(store)
    start = time.perf_counter()
    run = stores.export(local, PROFILE)
    wall = time.perf_counter() - start
    memory = _memory()
    bundle = store / "exports" / str(run.export_id) / str(run.archive_id)
    archive = next(path for path in bundle.iterdir() if path.name.endswith(".zst"))
    return {
        "whole": wall,
        "made": sum(run.durations.get(phase, 0.0) for phase in _MADE),
        "phases": run.durations,
        "bytes": archive.stat().st_size,
        "memory": memory,
        "peer": _pack_again(archive),
        "archive": str(archive),
    }


def verify_once(store: Path, archive: Path) -> dict[str, Any]:
    """One verification in this process, then its peer."""
    trusted, _ = stores.open_store(store).tenant_keys.trusted(stores.TENANT)
    start = time.perf_counter()
    report = verify_bundle(archive, trusted)
    wall = time.perf_counter() - start
    memory = _memory()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    size = sum(_hashed(_unpacked(file, name)) for name, file in _members(archive))
    return {
        "verdict": report.verdict,
        "wall": wall,
        "processor": children.ru_utime + children.ru_stime,
        "memory": memory,
        "peer": time.perf_counter() - start,
        "unpacked": size,
    }


def _memory() -> int:
    """The most that was resident of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zstd.open(archive, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None  # noqa: S101 - archives hold plain files
            yield member.name, file


def _unpacked(file: IO[bytes], name: str) -> Iterator[bytes]:
    packed = zstd.ZstdDecompressor() if name.endswith(".zst") else None
    while piece := file.read(_PIECE):
        yield piece if packed is None else packed.decompress(piece)


def _hashed(pieces: Iterator[bytes]) -> int:
    hasher, size = hashlib.sha256(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    return size


def _pack_again(archive: Path) -> float:
    """Seconds to pack and hash what the export packed; what is read for it does not count."""
    clock = _Clock()
    with tempfile.TemporaryFile(dir=archive.parent) as out:
        for name, file in _members(archive):
            if name.endswith(".zst"):
                rows = b"".join(_unpacked(file, name))
                with clock.running():
                    _packed(rows, out, ZSTD_OPTIONS)
        with zstd.open(archive, "rb") as plain:
            compressor, hasher = zstd.ZstdCompressor(options=_OUTER), hashlib.sha256()
            while piece := plain.read(_PIECE):
                with clock.running():
                    some = compressor.compress(piece)
                    hasher.update(some)
                    out.write(some)
        with clock.running():
            out.write(compressor.flush())
            out.flush()
            os.fsync(out.fileno())
    return clock.seconds


def _packed(rows: bytes, out: IO[bytes], options: dict[int, int]) -> None:
    hasher, compressor = hashlib.sha256(), zstd.ZstdCompressor(options=options)
    for place in range(0, len(rows), _PIECE):
        piece = rows[place : place + _PIECE]
        hasher.update(piece)
        out.write(compressor.compress(piece))
    out.write(compressor.flush())


class _Clock:
    seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start


def measure(count: int, runs: int, directory: Path) -> dict[str, Any]:
    """Fill a store, then alternate exports and verifications; medians."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        store = Path(scratch) / "data"
        filled = _in_process("--fill", str(store), str(count))
        made, verified = [], []
        for _ in range(runs):
            made.append(_in_process("--make", str(store)))
            verified.append(_in_process("--verify", str(store), made[-1]["archive"]))
    return {
        "machine": machine.describe(),
        **filled,
        "runs": runs,
        "full": _made(made),
        "verify": _verified(verified),
    }


def _in_process(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.mirror_bundles", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _made(results: list[dict[str, Any]]) -> dict[str, Any]:
    made, whole, peer = (_median([each[name] for each in results]) for name in ("made", "whole", "peer"))
    return {
        "made": round(made, 3),
        "whole": round(whole, 3),
        "peer": round(peer, 3),
        "madeToPeer": round(peer / made, 2),
        "wholeToPeer": round(peer / whole, 2),
        "phases": {
            phase: round(_median([each["phases"][phase] for each in results]), 3)
            for phase in results[0]["phases"]
        },
        "bytes": results[0]["bytes"],
        "memory": max(each["memory"] for each in results),
    }  # fmt: skip


def _verified(results: list[dict[str, Any]]) -> dict[str, Any]:
    wall, peer, children = (
        _median([each[name] for each in results]) for name in ("wall", "peer", "processor")
    )
    return {
        "verdicts": sorted({each["verdict"] for each in results}),
        "wall": round(wall, 3),
        "peer": round(peer, 3),
        "toPeer": round(peer / wall, 2),
        "childrenProcessor": round(children, 3),
        "unpacked": results[0]["unpacked"],
        "memory": max(each["memory"] for each in results),
    }


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    full, verify = result["full"], result["verify"]
    phases = " ".join(f"{name} {seconds:.2f}" for name, seconds in full["phases"].items())
    made = (
        f"full    made {full['made']:.2f} s, whole {full['whole']:.2f} s, peer {full['peer']:.2f} s:"
        f" {full['madeToPeer']} of its speed, whole {full['wholeToPeer']};"
        f" {full['bytes'] / 1e6:.1f} MB, {full['memory'] / 2**20:.0f} MiB resident"
    )
    checked = (
        f"verify  {verify['wall']:.2f} s ({', '.join(verify['verdicts'])}), peer {verify['peer']:.2f} s:"
        f" {verify['toPeer']} of its speed; {verify['unpacked'] / 1e6:.0f} MB unpacked,"
        f" {verify['memory'] / 2**20:.0f} MiB resident"
    )
    count = f"{result['documents']:,} generated documents, {result['bytes'] / 1e6:.0f} MB; {result['runs']} runs each"
    return "\n".join((machine.line(result["machine"]), count, made, f"        {phases}", checked))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    parser.add_argument("--fill", nargs=2, metavar=("STORE", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--make", metavar="STORE", help=argparse.SUPPRESS)
    parser.add_argument("--verify", nargs=2, metavar=("STORE", "ARCHIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        print(json.dumps(fill(Path(options.fill[0]), int(options.fill[1]))))
    elif options.make:
        print(json.dumps(make_once(Path(options.make))))
    elif options.verify:
        print(json.dumps(verify_once(Path(options.verify[0]), Path(options.verify[1]))))
    else:
        directory = options.directory or Path(tempfile.gettempdir())
        result = measure(options.documents, options.runs, directory)
        print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
