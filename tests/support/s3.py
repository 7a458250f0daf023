"""A real S3 server (SeaweedFS) on this machine, with one bucket and a key made for the test."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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


@contextmanager
def serving(directory: Path) -> Iterator[Bucket]:
    """SeaweedFS with a bucket, stopped by its process id."""
    weed = tools.require("weed")
    key = AccessKey(f"key{secrets.token_hex(8)}", secrets.token_hex(20))
    with ExitStack() as reserved:
        ports = [
            reserved.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(8)
        ]
    master, volume, filer, s3 = ports[:4]
    command = [
        str(weed), "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}",
        f"-master.port.grpc={ports[4]}", f"-volume.port.grpc={ports[5]}", f"-filer.port.grpc={ports[6]}",
        f"-s3.port.grpc={ports[7]}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
    ]  # fmt: skip
    variables = {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "HOME": str(directory),
        "PATH": "",
    }
    log = (directory / "weed.log").open("wb")
    with subprocess.Popen(command, env=variables, stdout=log, stderr=log, cwd=directory) as process:
        try:
            bucket = Bucket(
                f"http://127.0.0.1:{s3}/{BUCKET}/", key, f"http://127.0.0.1:{filer}/buckets/{BUCKET}/"
            )
            _wait(bucket, process, directory / "weed.log")
            yield bucket
        finally:
            process.send_signal(signal.SIGKILL)
            log.close()


def _wait(bucket: Bucket, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    url = f"{bucket.url}?list-type=2"
    while time.monotonic() < end and process.poll() is None:
        headers = signed_headers("GET", url, {}, bucket.key, datetime.now(UTC))
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).close()  # noqa: S310
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
        else:
            return
    tools.missing(f"SeaweedFS does not start: {log.read_text(errors='replace')[-800:]}")
