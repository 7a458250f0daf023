"""Get blobs from a registry into files; a connection that breaks is gone on with."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import BinaryIO

from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.transport import Unanswered
from stellaops.bundles.oci.manifests import Descriptor
from stellaops.core import digests
from stellaops.exports.errors import DistributionFailed
from stellaops.kit.disk import disk_errors

_WAITS = (0.2, 1.0, 3.0)


def download(registry: RegistryClient, blob: Descriptor, file: Path) -> None:
    """Write a blob to a file that is not there yet.

    Raises:
        DistributionFailed: it is not to be had, or not what its digest says.
    """
    with disk_errors(file), file.open("xb") as out:
        tries = 0
        while out.tell() < blob.bytes or tries == 0:
            before = out.tell()
            try:
                _read(registry, blob, out)
                break
            except Unanswered as error:
                tries = tries + 1 if out.tell() == before else 1
                if tries > len(_WAITS):
                    raise DistributionFailed(str(error)) from error
                time.sleep(_WAITS[tries - 1])
    with file.open("rb") as content:
        found = digests.of_file(content)
    if found != blob.digest:
        raise DistributionFailed(f"{registry.repository}: the blob {blob.digest} is not what it is called by")


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
        raise DistributionFailed(f"{registry.repository}: the blob {blob.digest} is not what it is called by")
    return content


def _read(registry: RegistryClient, blob: Descriptor, out: BinaryIO) -> None:
    with registry.open_blob(blob.digest, out.tell()) as answer:
        if answer.status == 200 and out.tell():
            out.seek(0)
            out.truncate()
        for piece in answer.pieces():
            out.write(piece)
            if out.tell() > blob.bytes:
                raise DistributionFailed(
                    f"{registry.repository}: the blob {blob.digest} is longer than it should be"
                )
        if out.tell() < blob.bytes:
            raise Unanswered(f"{registry.repository}: the blob {blob.digest} ends after {out.tell()} bytes")
