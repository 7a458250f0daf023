"""How fast a mirror host takes over a tree of many files, beside `rclone sync --checksum` of the same tree.

    python -m benchmarks.mirror_sync [--files 20000] [--changed 1] [--runs 3] [--format json]

The tree is one domain with so many documents of a bucket and their archives, signed as publishing signs it. It lies in
a bucket of a SeaweedFS on loopback, without TLS, and in a directory. From each it is synced three times: into nothing,
after `--changed` per cent of the documents have changed, and once more with nothing to do. Ours verifies signatures,
takes documents from the archives, hashes every file that comes, and switches whole trees. With `checked` it hashes what
is held too, as rclone has to in order to compare. rclone writes into the directory that readers see. `aws s3 sync`
takes part where it is on PATH. All fetch eight files at a time, the contestants in turn, ours in this process, the
others as processes.

A ratio above 1 is faster than the fastest of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import machine
from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.sources import BucketSource, DirectorySource
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.web.client import WebSettings
from stellaops.bundles import freshness
from stellaops.bundles.zip_writer import ZipWriter, pack
from stellaops.core.digests import content_id, sha256
from stellaops.mirrors import forms, osv_bucket
from stellaops.mirrors.ports import Publication
from stellaops.mirrors.signed_files import measure, sign_file
from stellaops.mirrors.sync import SyncTools, Trusted, Wish, sync
from stellaops.mirrors.sync_ports import TreeSource
from stellaops.signing import cosign_blob, ecdsa_p256
from tests.support import s3, tools
from tests.support.object_places import LOOPBACK

_DOMAIN = "bench"
_AT_ONCE = 8
_STEPS = ("first", "changed", "again")


class Trees:
    """A published tree and the one after it, in a directory and in a bucket."""

    def __init__(self, folder: Path, bucket: MirrorBucket, files: int, changed: int) -> None:
        self.root, self._bucket = MirrorDirectory(folder / "published"), bucket
        self._signer = ecdsa_p256.generate()
        self.key = ecdsa_p256.load_public_key(self._signer.public_key_pem())
        self._folder = folder
        self.ids = [self._tree(files, 0, 0), self._tree(files, max(1, files * changed // 100), 1)]
        for export_id in self.ids:
            bucket.send("concelier", export_id, self.root.root / "concelier" / export_id)

    def _tree(self, files: int, changed: int, number: int) -> str:
        export_id = content_id(b"%d" % number)
        tree = self.root.root / "concelier" / export_id
        chance = random.Random(1)
        for place in range(files):
            text = "".join(chance.choices("abcdefgh ", k=chance.randrange(400, 4000)))
            if place < changed:
                text = text[::-1]
            file = tree / f"osv/{_DOMAIN}/ECO{place % 7}/ID-{place}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"id": f"ID-{place}", "details": text}), encoding="utf-8")
        for folder in (tree / "osv" / _DOMAIN).iterdir():
            _pack(folder)
        own = tree / forms.place(_DOMAIN)
        own.mkdir(parents=True)
        (own / forms.BUNDLE).write_bytes(forms.bundle_head(export_id) + forms.BUNDLE_END)
        told = {
            "domainId": _DOMAIN,
            "displayName": _DOMAIN,
            "generatedAt": "2026-01-01T00:00:00Z",
            "advisories": 0,
        }
        (own / forms.MANIFEST).write_text(json.dumps(told), encoding="utf-8")
        with (own / forms.TREE).open("xb") as out:
            out.writelines(forms.tree_lines("concelier", _DOMAIN, export_id, self._entries(tree)))
        sign_file(own / forms.TREE, self._signer, jws=False)
        return export_id

    @staticmethod
    def _entries(tree: Path) -> Iterator[forms.Entry]:
        for file in sorted(tree.rglob("*")):
            if file.is_file() and file.name != forms.TREE:
                measured = measure(file)
                yield forms.Entry(file.relative_to(tree).as_posix(), measured.sha256, measured.bytes)

    def show(self, number: int) -> str:
        """Make a tree the one in force, in both places; its id."""
        export_id, profile = self.ids[number], forms.freshness_profile("concelier", _DOMAIN)
        made = freshness.issue(
            "default", profile, export_id, 1, [], now=datetime.now(UTC), cadence=timedelta(days=1)
        )
        data = freshness.encode(made)
        signed = {"": data, ".sig": cosign_blob.encode(self._signer.sign(data))}
        publication = Publication("concelier", 1, export_id, 1, sha256(b""), made.issued)
        for place in (self.root, self._bucket):
            place.put_freshness("concelier", _DOMAIN, signed)
        self.root.point(publication)
        return export_id


def _pack(folder: Path) -> None:
    """Write the archive of an ecosystem."""
    documents = sorted(folder.iterdir())
    with (folder / osv_bucket.ALL).open("xb") as out:
        writer = ZipWriter(out)
        for file in documents:
            writer.add(file.name, pack(file.read_bytes()))
        writer.finish()


class Bench:
    """The contestants on one server."""

    def __init__(self, folder: Path, server: s3.Bucket, files: int, changed: int) -> None:
        base, _, self._name = server.url.rstrip("/").rpartition("/")
        client = S3Client(
            BucketPlace.of(f"s3://{self._name}", base, "us-east-1"),
            lambda: server.key,
            WebSettings(LOOPBACK),
            lambda: datetime.now(UTC),
            connections=_AT_ONCE,
        )
        self.trees = Trees(folder, MirrorBucket(client), files, changed)
        self.sources: dict[str, TreeSource] = {
            "bucket": BucketSource(client),
            "directory": DirectorySource(self.trees.root.root),
        }
        self._environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "RCLONE_CONFIG": str(folder / "none.conf"),
            "RCLONE_CONFIG_W_TYPE": "s3", "RCLONE_CONFIG_W_PROVIDER": "Other", "RCLONE_CONFIG_W_ENDPOINT": base,
            "RCLONE_CONFIG_W_ACCESS_KEY_ID": server.key.id, "RCLONE_CONFIG_W_SECRET_ACCESS_KEY": server.key.secret,
            "RCLONE_CONFIG_W_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": server.key.id,
            "AWS_SECRET_ACCESS_KEY": server.key.secret, "AWS_ENDPOINT_URL": base, "AWS_REGION": "us-east-1",
        }  # fmt: skip

    def contestants(self, source: str) -> dict[str, Callable[[Path, str], float]]:
        """Each brings the tree of an id to a directory; seconds."""
        found: dict[str, Callable[[Path, str], float]] = {
            "ours": lambda into, _: self._ours(source, into),
            "ours, checked": lambda into, _: self._ours(source, into, check_held=True),
            "rclone": lambda into, export_id: self._rclone(source, into, export_id),
        }
        if source == "bucket" and shutil.which("aws"):
            found["aws s3 sync"] = self._aws
        return found

    def _ours(self, source: str, into: Path, *, check_held: bool = False) -> float:
        start = time.perf_counter()
        key = self.trees.key
        tools_ = SyncTools(
            self.sources[source], MirrorDirectory(into), Trusted({key.key_id: key}), lambda: datetime.now(UTC),
            time.sleep,
        )  # fmt: skip
        sync(Wish(("concelier",), (_DOMAIN,), check_held=check_held, at_once=_AT_ONCE), tools_)
        return time.perf_counter() - start

    def _rclone(self, source: str, into: Path, export_id: str) -> float:
        place = f"concelier/{export_id}"
        there = f"w:{self._name}/{place}" if source == "bucket" else str(self.trees.root.root / place)
        command = [
            str(tools.require("rclone")), "sync", "--quiet", "--checksum", "--fast-list",
            f"--transfers={_AT_ONCE}", f"--checkers={_AT_ONCE}", there, str(into),
        ]  # fmt: skip
        return self._timed(*command)

    def _aws(self, into: Path, export_id: str) -> float:
        return self._timed(
            "aws", "s3", "sync", "--quiet", "--delete", f"s3://{self._name}/concelier/{export_id}", str(into)
        )

    def _timed(self, *command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, env=self._environment, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def measure_all(files: int, changed: int, runs: int, directory: Path | None) -> dict[str, Any]:
    """Medians of seconds by source, step and contestant."""
    taken: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        folder = Path(scratch)
        (folder / "server").mkdir()
        with s3.serving(folder / "server") as server:
            bench = Bench(folder, server, files, changed)
            for number in range(runs):
                for source in bench.sources:
                    names = list(bench.contestants(source))
                    for step, shown in zip(_STEPS, (0, 1, 1), strict=True):
                        export_id = bench.trees.show(shown)
                        for name in names[number % len(names) :] + names[: number % len(names)]:
                            into = folder / "into" / source / name
                            into.mkdir(parents=True, exist_ok=True)
                            seconds = bench.contestants(source)[name](into, export_id)
                            of_step = taken.setdefault(source, {}).setdefault(step, {})
                            of_step.setdefault(name, []).append(seconds)
                shutil.rmtree(folder / "into")
    return {
        "machine": machine.describe(), "files": files, "changed": changed, "runs": runs,
        **{source: {step: _judged(each) for step, each in steps.items()} for source, steps in taken.items()},
    }  # fmt: skip


def _judged(taken: dict[str, list[float]]) -> dict[str, Any]:
    seconds = {name: round(statistics.median(each), 3) for name, each in taken.items()}
    fastest = min(value for name, value in seconds.items() if not name.startswith("ours"))
    return {"seconds": seconds, "ratio": round(fastest / seconds["ours"], 2)}


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        f"{result['files']} files, {result['changed']} % of them changed; {result['runs']} runs each",
    ]
    for source in ("bucket", "directory"):
        for step in _STEPS:
            found = result[source][step]
            told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["seconds"].items())
            lines.append(f"{source:9} {step:7} {told}: {found['ratio']} of the fastest")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--changed", type=int, default=1, help="per cent")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    options = parser.parse_args()
    result = measure_all(options.files, options.changed, options.runs, options.directory)
    print(json.dumps(result) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
