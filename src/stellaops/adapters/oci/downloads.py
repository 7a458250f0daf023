"""Get blobs from a registry into files; a connection that breaks is gone on with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.transport import Unanswered
from stellaops.bundles.oci.manifests import Descriptor
from stellaops.core import digests
from stellaops.exports.errors import DistributionFailed
from stellaops.kit.disk import disk_errors

_WAITS = (0.2, 1.0, 3.0)
_REMOVE_FIRST = "Remove the blob at the registry; only then `stella export distribute` brings it again."


def download(registry: RegistryClient, blob: Descriptor, file: Path, got: Callable[[int], None]) -> None:
    """Write a blob to a file that is not there yet.

    Args:
        got: is told of every piece how many bytes it has; it may end the download by raising.

    Raises:
        DistributionFailed: it is not to be had, or not what its digest says.
    """
    with disk_errors(file), file.open("xb", buffering=0) as out:
        copy = _Copy(registry, blob, out, got)
        tries = 0
        while True:
            before = copy.bytes
            try:
                copy.go_on()
                break
            except Unanswered as error:
                tries = tries + 1 if copy.bytes <= before else 1
                if tries > len(_WAITS):
                    raise DistributionFailed(str(error)) from error
                time.sleep(_WAITS[tries - 1])
    if digests.of_hash(copy.hasher) != blob.digest:
        raise _damaged(registry, blob)


class _Copy:
    """A blob on its way into a file: how many bytes of it are there, and their digest."""

    def __init__(
        self, registry: RegistryClient, blob: Descriptor, out: BinaryIO, got: Callable[[int], None]
    ) -> None:
        self._registry, self._blob, self._out, self._got = registry, blob, out, got
        self.bytes, self.hasher = 0, hashlib.sha256()

    def go_on(self) -> None:
        """Read from where it is, to the end."""
        name = f"{self._registry.repository}: the blob {self._blob.digest}"
        with self._registry.open_blob(self._blob.digest, self.bytes) as answer:
            if answer.status == 200 and self.bytes:
                self._out.seek(0)
                self._out.truncate()
                self.bytes, self.hasher = 0, hashlib.sha256()
            for piece in answer.pieces():
                self.bytes += len(piece)
                if self.bytes > self._blob.bytes:
                    raise DistributionFailed(f"{name} is longer than it should be")
                self.hasher.update(piece)
                _write(self._out, piece)
                self._got(len(piece))
        if self.bytes < self._blob.bytes:
            raise Unanswered(f"{name} ends after {self.bytes} bytes")


def _write(out: BinaryIO, piece: bytes) -> None:
    """All of it; a file without a buffer may take less at a time."""
    left = memoryview(piece)
    while left:
        left = left[out.write(left) :]


def small(registry: RegistryClient, blob: Descriptor, most: int) -> bytes:
    """A blob that is to be held in memory.

    Raises:
        DistributionFailed: see `download`; or it has more than `most` bytes.
    """
    if blob.bytes > most:
        raise DistributionFailed(
            f"{registry.repository}: the blob {blob.digest} has {blob.bytes} bytes", again=False
        )
    try:
        with registry.open_blob(blob.digest) as answer:
            content = answer.read(most)
    except Unanswered as error:
        raise DistributionFailed(str(error)) from error
    if digests.of_hash(hashlib.sha256(content)) != blob.digest:
        raise _damaged(registry, blob)
    return content


def _damaged(registry: RegistryClient, blob: Descriptor) -> DistributionFailed:
    what = f"{registry.repository}: the blob {blob.digest} is not what it is called by"
    return DistributionFailed(
        f"{what}; a registry keeps a damaged blob until it is removed there", hint=_REMOVE_FIRST
    )
