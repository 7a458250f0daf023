"""bbolt itself as the peer of our writer: building `bolt_peer/main.go` and asking it.

Needs Go and bbolt's source as Debian ships them (golang-go, golang-github-coreos-bbolt-dev), or a GOPATH in
`BOLT_PEER_GOPATH` that holds go.etcd.io/bbolt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stellaops.bundles.trivy.bolt.reader import Bucket

_SOURCE = Path(__file__).parent / "bolt_peer" / "main.go"
_DEBIAN_GOPATH = "/usr/share/gocode"


class Unavailable(Exception):
    """Go or bbolt is not there; the message says which."""


def build(directory: Path) -> Path:
    """Compile the peer into a directory; the path of the program."""
    go = shutil.which("go")
    if go is None:
        raise Unavailable("Go is not installed (Debian: golang-go)")
    gopath = os.environ.get("BOLT_PEER_GOPATH", _DEBIAN_GOPATH)
    if not (Path(gopath) / "src" / "go.etcd.io" / "bbolt").is_dir():
        raise Unavailable(f"no bbolt source under {gopath} (Debian: golang-github-coreos-bbolt-dev)")
    program = directory / "bolt_peer"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": gopath,
        "GOCACHE": str(directory / "go-cache"),
    }
    subprocess.run([go, "build", "-o", program, _SOURCE], env=environment, check=True, cwd=directory)
    return program


def ask(program: Path, *words: str | Path) -> dict[str, Any]:
    """Run the peer; its answer."""
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def content_digest(root: Bucket) -> str:
    """The digest over a file's whole content that the peer makes too, in hex."""
    total = hashlib.sha256()
    for mark, parts in _content(root):
        total.update(mark)
        for part in parts:
            total.update(struct.pack("<I", len(part)))
            total.update(part)
    return total.hexdigest()


def _content(bucket: Bucket) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    # Our buckets hold either entries or buckets, so two passes keep the order of the keys.
    for key, value in bucket.items():
        yield b"K", (key, value)
    for name, inner in bucket.buckets():
        yield b"B", (name,)
        yield from _content(inner)
        yield b"E", ()
