"""`trivy/db.bundle`: a gzip tar of `metadata.json` and `trivy.db`, the same bytes on every machine.

`trivy/java-db.bundle` is the same of `trivy-java.db`.

See `bundles.gzip_tar` for how it is packed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from stellaops.bundles import gzip_tar
from stellaops.bundles.content import members_digest
from stellaops.bundles.trivy.inspect import DATABASE, METADATA
from stellaops.core import digests
from stellaops.core.digests import Digest


def write_archive(
    out: BinaryIO, database: BinaryIO, size: int, metadata: bytes, name: str = DATABASE
) -> Digest:
    """Pack a database and its metadata; returns the archive's content digest by the bytes of both.

    Args:
        database: read from its present position.
        size: its bytes.
        name: of the database in the archive.
    """
    hasher = hashlib.sha256()

    def tar() -> Iterator[bytes]:
        yield gzip_tar.header(METADATA, len(metadata)) + metadata + gzip_tar.padding(len(metadata))
        yield gzip_tar.header(name, size)
        while chunk := database.read(1 << 20):
            hasher.update(chunk)
            yield chunk
        yield gzip_tar.padding(size) + gzip_tar.END

    gzip_tar.write(out, tar())
    return members_digest({METADATA: digests.sha256(metadata), name: digests.of_hash(hasher)})
