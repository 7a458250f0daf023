"""Artefacts in an S3-compatible object store, for workers and servers that share no disk.

    <prefix><exportId>/<archiveId>/…      the files of a bundle
    <prefix><exportId>/<archiveId>.json   which files it has; written last, removed first: without it there is none

So a bundle appears at once, as in a directory. Where only its signatures are replaced, that happens file by file; each
of them holds for itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import obstore
from obstore import exceptions as failures
from obstore.store import S3Store

from stellaops.adapters.files.workspace import beside, held_place, settle_at
from stellaops.adapters.objects.paths import is_inside
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import DependencyFailed, InvalidInput
from stellaops.exports.errors import ArtefactMissing, BundleGone
from stellaops.exports.ports import StoredFile
from stellaops.exports.run import Archive
from stellaops.kit.disk import disk_errors

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

_PIECE = 1 << 20
_PART = 16 << 20
_AT_ONCE = 4
_CLIENT: ClientConfig = {"connect_timeout": "5s", "timeout": "1h", "read_timeout": "60s"}
_RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


class ObjectStoreFailed(DependencyFailed):
    """The object store does not answer, or answers with an error of its own."""

    code = "ERR_ARTEFACTS_UNREACHABLE"
    hint = "See that `artefacts.store` and `artefacts.endpoint` name a store that runs; then try again."


class ObjectStoreRefused(DependencyFailed):
    """The object store does not let us in."""

    code = "ERR_ARTEFACTS_REFUSED"
    hint = (
        "Check the access key in the file that `artefacts.keyFile` names, and what it may do in the bucket."
    )


class BadObjectStore(InvalidInput):
    """The address of the object store cannot be used."""

    code = "ERR_ARTEFACTS_ADDRESS"
    hint = "Write `artefacts.store` as `s3://BUCKET/PREFIX`, and `artefacts.endpoint` as `https://HOST`."


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where artefacts lie.

    Attributes:
        address: `s3://BUCKET/PREFIX`.
        endpoint: of a store that is not AWS's own.
        key: None for what the machine itself is allowed to do.
        plain: whether the endpoint may be reached without TLS.
    """

    address: str
    region: str
    endpoint: str | None = None
    key: AccessKey | None = field(default=None, repr=False)
    plain: bool = False


class _Entry(msgspec.Struct, frozen=True):
    """A file of a bundle. `tag` is what the store said of the object when it was written."""

    path: str
    bytes: int
    digest: Digest
    tag: str | None


class _Listing(msgspec.Struct, frozen=True):
    files: tuple[_Entry, ...]


class S3Artefacts:
    """`exports.ports.ArtefactStore` in a bucket.

    Args:
        scratch: where bundles are copied to that must be read as directories.
    """

    def __init__(self, place: S3Place, scratch: Path) -> None:
        self._store, self._prefix = _opened(place)
        self._where = place.address
        self._scratch = scratch

    def put(self, archive: Archive, root: Path) -> None:
        """See the port. What is there and as it was written is not sent again."""
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        measured = {name: _measure(root / name) for name in names}
        with self._failures():
            known, there = self._listing(archive), self._tags(archive)
            sound = {
                entry.path: entry
                for entry in (known.files if known else ())
                if entry.tag is not None
                and there.get(entry.path) == entry.tag
                and measured.get(entry.path) == (entry.digest, entry.bytes)
            }
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                sent = list(
                    pool.map(
                        lambda name: (
                            sound.get(name) or self._send(archive, root / name, name, measured[name])
                        ),
                        names,
                    )
                )
            if known is None or tuple(sent) != known.files:
                body = msgspec.json.encode(_Listing(tuple(sent)))
                obstore.put(self._store, self._listing_key(archive), body)
            self._remove(archive, there.keys() - set(names))

    def _send(self, archive: Archive, file: Path, name: str, measured: tuple[Digest, int]) -> _Entry:
        digest, size = measured
        result = obstore.put(self._store, self._key(archive, name), file, chunk_size=_PART)
        return _Entry(name, size, digest, result["e_tag"])

    def exists(self, archive: Archive) -> bool:
        """See the port."""
        return self._known(archive) is not None

    def files(self, archive: Archive) -> Sequence[StoredFile]:
        """See the port."""
        known = self._known(archive)
        return [StoredFile(entry.path, entry.bytes) for entry in known.files] if known else []

    def stat(self, archive: Archive, path: str) -> StoredFile | None:
        """See the port."""
        found = (file for file in self.files(archive) if file.path == path) if is_inside(path) else iter(())
        return next(found, None)

    def read(self, archive: Archive, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See the port."""
        file = self.stat(archive, path)
        if file is None:
            raise ArtefactMissing(f"{archive.export_id} has no file {path[:200]!r}")
        last = file.bytes if end is None else min(end, file.bytes)
        if start >= last:
            return iter(())
        with self._failures():
            found = obstore.get(self._store, self._key(archive, path), options={"range": (start, last)})
        return self._pieces(found.stream(min_chunk_size=_PIECE))

    def _pieces(self, stream: Iterable[Any]) -> Iterator[bytes]:
        with self._failures():
            for chunk in stream:
                piece = bytes(chunk)
                for place in range(0, len(piece), _PIECE):
                    yield piece[place : place + _PIECE]

    def link(self, archive: Archive, path: str, seconds: int) -> str:
        """See `exports.distribution.links.LinkingStore`."""
        with self._failures():
            return obstore.sign(
                self._store, "GET", self._key(archive, path), expires_in=timedelta(seconds=seconds)
            )

    def local_root(self, archive: Archive) -> Path | None:
        """See the port."""
        del archive
        return None

    def local_file(self, archive: Archive, path: str) -> Path | None:
        """See the port."""
        del archive, path
        return None

    @contextmanager
    def opened(self, archive: Archive) -> Iterator[Path]:
        """See the port: a copy."""
        with disk_errors(self._scratch), held_place(self._scratch, f"bundle-{uuid4().hex}") as place:
            root = place / "root"
            root.mkdir()
            self._fetch(archive, root)
            yield root

    def copy(self, archive: Archive, target: Path) -> None:
        """See the port."""
        with (
            disk_errors(target),
            beside(target),
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.partial-") as directory,
        ):
            partial = Path(directory) / target.name
            partial.mkdir()
            self._fetch(archive, partial)
            for path in (partial, *partial.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            settle_at(partial, target)

    def _fetch(self, archive: Archive, root: Path) -> None:
        files = self.files(archive)
        if not files:
            raise BundleGone(f"archive {archive.archive_id} of export {archive.export_id} is not kept")
        for file in files:
            target = root / file.path
            with disk_errors(root):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as out:
                    for piece in self.read(archive, file.path):
                        out.write(piece)

    def delete(self, archive: Archive) -> None:
        """See the port."""
        with self._failures():
            if self._listing(archive) is not None:
                obstore.delete(self._store, self._listing_key(archive))
            self._remove(archive, self._tags(archive).keys())

    def _known(self, archive: Archive) -> _Listing | None:
        with self._failures():
            return self._listing(archive)

    def _listing(self, archive: Archive) -> _Listing | None:
        try:
            body = obstore.get(self._store, self._listing_key(archive)).bytes()
        except (FileNotFoundError, failures.NotFoundError):
            return None
        return msgspec.json.decode(bytes(body), type=_Listing)

    def _tags(self, archive: Archive) -> dict[str, str | None]:
        """What the store says of each object of a bundle, by path."""
        folder = self._key(archive, "")
        return {
            str(found["path"]).removeprefix(folder): found["e_tag"]
            for page in obstore.list(self._store, prefix=folder)
            for found in page
        }

    def _remove(self, archive: Archive, names: Iterable[str]) -> None:
        keys = sorted(self._key(archive, name) for name in names)
        if keys:
            obstore.delete(self._store, keys)

    def _key(self, archive: Archive, path: str) -> str:
        return f"{self._prefix}{archive.export_id}/{archive.archive_id}/{path}"

    def _listing_key(self, archive: Archive) -> str:
        return f"{self._prefix}{archive.export_id}/{archive.archive_id}.json"

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (failures.PermissionDeniedError, failures.UnauthenticatedError) as error:
            raise ObjectStoreRefused(f"{self._where}: {_brief(error)}") from error
        except (failures.BaseError, FileNotFoundError, ConnectionError, TimeoutError) as error:
            raise ObjectStoreFailed(f"{self._where}: {_brief(error)}") from error


def _opened(place: S3Place) -> tuple[S3Store, str]:
    """The bucket, and what all keys begin with."""
    parts = urlsplit(place.address)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadObjectStore(f"{place.address!r} is no address of a bucket")
    endpoint = urlsplit(place.endpoint or "https://")
    if endpoint.scheme not in ("https", "http") or (endpoint.scheme == "http" and not place.plain):
        raise BadObjectStore(
            f"{place.endpoint!r} is reached without TLS, and is not among `egress.allowHttp`"
        )
    # With checksums the server refuses what changed on the way; its signature of the body not every server looks at.
    config: S3Config = {
        "region": place.region,
        "virtual_hosted_style_request": False,
        "checksum_algorithm": "SHA256",
    }
    if place.endpoint:
        config["endpoint"] = place.endpoint.rstrip("/")
    options: ClientConfig = {**_CLIENT, "allow_http": place.plain}
    store = S3Store(
        parts.netloc,
        config=config,
        client_options=options,
        retry_config=_RETRIES,
        # Not in `config`: the library would add a session token of the environment to a key from a file.
        credential_provider=None if place.key is None else partial(_credential, place.key),
    )
    prefix = parts.path.strip("/")
    return store, f"{prefix}/" if prefix else ""


def _credential(key: AccessKey) -> S3Credential:
    return {
        "access_key_id": key.id,
        "secret_access_key": key.secret,
        "token": key.token or None,
        "expires_at": None,
    }


def _measure(file: Path) -> tuple[Digest, int]:
    with file.open("rb") as content:
        return digests.of_file(content), file.stat().st_size


def _brief(error: BaseException) -> str:
    """The first line of the library's words; those after it show requests."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
