"""A small, real mirror archive, and hands for making ones that no writer makes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from backports import zstd

from stellaops.bundles import layout, tar, tar_zst
from stellaops.bundles.manifest import Profile
from stellaops.bundles.tar_zst import ArchiveWriter
from stellaops.core import digests
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import PrivateKey
from tests.unit.kit.small_bundle import SENDER, SmallBundle

NAME = "mirror-20260102-full.tar.zst"
PROFILE = Profile("mirror", "full", "mirror:full")


def bundle(tmp_path: Path, **changes: object) -> Path:
    """The unpacked root."""
    return SmallBundle(profile=PROFILE, **changes).write(tmp_path)  # type: ignore[arg-type]


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def pack(files: dict[str, bytes], target: Path, key: PrivateKey = SENDER) -> Path:
    """An archive of some files in a directory of its own, as runs write it."""
    target.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    writer = ArchiveWriter(out)
    for path in tar_zst.in_order(files):
        writer.add(path, len(files[path]), [files[path]])
    writer.finish()
    return put(out.getvalue(), target, key)


def put(data: bytes, target: Path, key: PrivateKey = SENDER) -> Path:
    """Any bytes as an archive, with an honest digest and signature beside it."""
    target.mkdir(parents=True, exist_ok=True)
    archive = target / NAME
    archive.write_bytes(data)
    line = tar_zst.digest_line(digests.sha256(data), NAME)
    (target / f"{NAME}{layout.ARCHIVE_DIGEST}").write_bytes(line)
    signature = cosign_blob.encode(key.sign_digest(hashlib.sha256(line).digest()))
    (target / f"{NAME}{layout.ARCHIVE_SIGNATURE}").write_bytes(signature)
    return archive


def mirror(target: Path, scratch: Path, **changes: object) -> Path:
    """A whole honest archive."""
    return pack(files_of(bundle(scratch, **changes)), target)


def members(files: dict[str, bytes]) -> Iterator[bytes]:
    """The pieces of the tar of an archive: header, data and padding of each file in turn."""
    for path in tar_zst.in_order(files):
        yield tar.header(f"{tar_zst.FOLDER}{path}", len(files[path]))
        yield files[path] + tar.padding(len(files[path]))


def frame(pieces: Iterable[bytes], **options: int) -> bytes:
    """One zstd frame as archives have it, or with other parameters."""
    parameter = zstd.CompressionParameter
    usual = {"compression_level": 1, "window_log": 19, "checksum_flag": 1}
    chosen = {getattr(parameter, name): value for name, value in {**usual, **options}.items()}
    compressor = zstd.ZstdCompressor(options=chosen)
    return b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])


def unpacked(archive: bytes) -> bytes:
    """The tar in it."""
    return zstd.decompress(archive)
