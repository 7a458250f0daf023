"""A real S3 server (SeaweedFS) on this machine, with one bucket and a key made for the test."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from stellaops.adapters.web.sigv4 import AccessKey, signed_headers
from tests.support import tools

BUCKET = "feeds"
_PATIENCE = 60


@dataclass(frozen=True)
class Bucket:
    """Where the bucket is, and the key that may read and write it."""

    url: str
    key: AccessKey

    def put(self, name: str, content: bytes) -> None:
        """Store an object, by a filer request that the server signs for itself: writing is not under test."""
        request = urllib.request.Request(f"{self._filer}{quote(name)}", data=content, method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    _filer: str = ""


READER = "reader"
"""Name of the identity that may read the bucket and nothing else."""


class Server:
    """SeaweedFS on ports of its own: it can be killed, and started again with what it has stored.

    Attributes:
        bucket: with the key that may do everything.
        reader: the same with a key that may only read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._weed = tools.require("weed")
        with ExitStack() as reserved:
            self._ports = [
                reserved.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
                for _ in range(8)
            ]
        _, _, filer, s3 = self._ports[:4]
        self.url = f"http://127.0.0.1:{s3}"
        writer, reader = (AccessKey(f"key{secrets.token_hex(8)}", secrets.token_hex(20)) for _ in range(2))
        self.bucket = Bucket(f"{self.url}/{BUCKET}/", writer, f"http://127.0.0.1:{filer}/buckets/{BUCKET}/")
        self.reader = replace(self.bucket, key=reader)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._identities()
        master, volume, filer, s3 = self._ports[:4]
        command = [
            str(self._weed), "mini", f"-dir={self._directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-bucket={BUCKET}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
            f"-s3.port={s3}", f"-master.port.grpc={self._ports[4]}", f"-volume.port.grpc={self._ports[5]}",
            f"-filer.port.grpc={self._ports[6]}", f"-s3.port.grpc={self._ports[7]}", "-master.telemetry=false",
            "-webdav=false", "-admin.ui=false", f"-s3.config={self._directory / 'identities.json'}",
        ]  # fmt: skip
        variables = {"HOME": str(self._directory), "PATH": ""}
        with (self._directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=variables, stdout=log, stderr=log, cwd=self._directory
            )
        _wait(self.bucket, self._process, self._directory / "weed.log")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)

    def _identities(self) -> None:
        def identity(name: str, key: AccessKey, actions: list[str]) -> dict[str, object]:
            credentials = [{"accessKey": key.id, "secretKey": key.secret}]
            return {"name": name, "credentials": credentials, "actions": actions}

        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        found = [
            identity("writer", self.bucket.key, everything),
            identity(READER, self.reader.key, [f"Read:{BUCKET}", f"List:{BUCKET}"]),
        ]
        text = json.dumps({"identities": found})
        (self._directory / "identities.json").write_text(text, encoding="utf-8")


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """SeaweedFS with a bucket, stopped by its process id."""
    server = Server(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def serving(directory: Path) -> Iterator[Bucket]:
    """The bucket of a server that runs."""
    with running(directory) as server:
        yield server.bucket


def _wait(bucket: Bucket, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it keeps and gives an object: right after a start its door answers before its volumes do."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            for method in ("PUT", "GET", "DELETE"):
                _ask(bucket, method)
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
        else:
            return
    tools.missing(f"SeaweedFS does not start: {log.read_text(errors='replace')[-800:]}")


def _ask(bucket: Bucket, method: str) -> None:
    url = f"{bucket.url}is-it-up"
    content = b"yes" if method == "PUT" else b""
    digest = hashlib.sha256(content).hexdigest()
    headers = signed_headers(method, url, {}, bucket.key, datetime.now(UTC), payload=digest)
    request = urllib.request.Request(url, data=content or None, headers=headers, method=method)  # noqa: S310
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
