"""Where published trees are synced from: a directory, a bucket, or another mirror over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from stellaops.adapters.mirrors.bucket import BucketFailed, MirrorBucket
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opened_packs import OpenedPacks
from stellaops.adapters.objects.s3_client import S3Client, S3Failed
from stellaops.adapters.web.client import Reply, WebClient
from stellaops.core.egress import redacted, target_of
from stellaops.core.errors import DependencyFailed
from stellaops.mirrors import forms, packs
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree, SourceUnreachable

_PIECE = 1 << 20
_LARGEST_INDEX = 16 << 20
_SUFFIX = ".json"
_FEW = 20
"""Files that are got one by one, whatever they are packed in."""
_SHARE = 3
"""A pack is got whole by who lacks at least one in so many of its files."""
_LOGIN = (
    "Name a file with credentials that the mirror takes by --credentials, and by --credentials-kind what it holds: "
    "`user:password`, or a token."
)

_Form = TypeVar("_Form")
_Sign = Callable[[str, Mapping[str, str]], dict[str, str]]


class DirectorySource:
    """`mirrors.sync_ports.TreeSource` on a directory, such as a share."""

    def __init__(self, root: Path) -> None:
        self._root = MirrorDirectory(root)

    @property
    def place(self) -> str:
        """See the port."""
        return self._root.place

    def domains(self, side: Side) -> Sequence[str]:
        """See the port: by the trees' own folders, so that one without a statement is told of too."""
        latest = self._root.latest(side)
        return [] if latest is None else sorted(self._root.domains(side, latest))

    def latest(self, side: Side, domain: str) -> str | None:
        """See the port."""
        del domain
        return self._root.latest(side)

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """See the port."""
        file = self._root.root / side / path
        try:
            with file.open("rb") as content:
                data = content.read(most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceUnreachable(f"{file}: {error.strerror}") from error
        return _bounded(data, most, str(file))

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """See the port: each is fetched when it is asked for."""

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """See the port."""
        file = self._root.root / side / path
        try:
            with file.open("rb") as content:
                while piece := content.read(_PIECE):
                    yield piece
        except OSError as error:
            raise SourceUnreachable(f"{file}: {error.strerror}") from error


class BucketSource:
    """`mirrors.sync_ports.TreeSource` on a bucket that mirrors are published to."""

    def __init__(self, client: S3Client) -> None:
        self._client, self._bucket = client, MirrorBucket(client)
        self._packs = OpenedPacks(self._opened)
        self._packed: dict[tuple[Side, str], str] = {}

    @property
    def place(self) -> str:
        """See the port."""
        return self._bucket.place

    def domains(self, side: Side) -> Sequence[str]:
        """See the port."""
        folder = f"{side}/{forms.FRESHNESS}/"
        with self._failures():
            names = list(self._bucket.bucket.listed(folder))
        return sorted(
            name.removeprefix(folder).removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)
        )

    def latest(self, side: Side, domain: str) -> str | None:
        """See the port."""
        del domain
        with self._failures():
            return self._bucket.latest(side)

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """See the port."""
        with self._failures():
            stored = self._bucket.bucket.stat(f"{side}/{path}")
        if stored is None:
            return None
        if stored.bytes > most:
            raise SourceUnreachable(f"{self.place}/{side}/{path} has more than {most} bytes")
        return b"".join(self.pieces(side, path))

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """See the port: packs of which much is lacked are got whole, what else is lacked file by file."""
        del scratch
        if len(paths) < _FEW:
            return
        export_id = paths[0].partition("/")[0]
        with self._failures():
            whole = self._bucket.whole(side, export_id)
        shelf = packs.Shelf([each.first for each in whole.packs] if whole else [])
        numbers = {path: shelf.number(path.partition("/")[2]) for path in paths}
        lacked = Counter(number for number in numbers.values() if number is not None)
        for path, number in numbers.items():
            if (
                whole is not None
                and number is not None
                and _SHARE * lacked[number] >= whole.packs[number].files
            ):
                self._packed[side, path] = f"{side}/{whole.packs[number].key}"

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """See the port."""
        name = self._packed.get((side, path))
        data = None if name is None else self._packs.files(name).get(path.partition("/")[2])
        if data is not None:
            yield data
        else:
            yield from self._object(f"{side}/{path}")

    def _object(self, name: str) -> Iterator[bytes]:
        key = f"{self._client.place.prefix}{name}"
        with self._failures(), self._client.open(key) as response:
            yield from self._client.pieces(response, self._client.url(key), _PIECE)

    def _opened(self, name: str) -> Mapping[str, bytes]:
        """The files of a pack; none where it is gone meanwhile, or is none: each is there by itself too."""
        found = bytearray()
        try:
            for piece in self._object(name):
                found += piece
                if len(found) > packs.LARGEST_PACKED:
                    return {}
            return packs.unpack(bytes(found))
        except (SourceUnreachable, BadTree):
            return {}

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except S3Failed as failure:
            raise SourceUnreachable(f"{self.place}: {failure.what}") from failure
        except BucketFailed as failure:
            raise SourceUnreachable(failure.what, hint=failure.advice) from failure


class _Domain(msgspec.Struct, rename="camel"):
    id: str
    export_id: str


class _Index(msgspec.Struct):
    domains: list[_Domain]


class _Exports(msgspec.Struct, rename="camel"):
    export_id: str


class HttpSource:
    """`mirrors.sync_ports.TreeSource` on a mirror that serves its trees over HTTP.

    Args:
        url: of the mirror; what follows its host comes before every path.
        sign: the credentials as headers, asked for each request to the mirror itself.
    """

    def __init__(self, url: str, client: WebClient, sign: _Sign) -> None:
        self._base, self._client, self._sign = url.rstrip("/"), client, sign
        target = target_of(url)
        self._host, self._origin = target.host, target.origin

    @property
    def place(self) -> str:
        """See the port."""
        return redacted(self._base)

    def domains(self, side: Side) -> Sequence[str]:
        """See the port: those of Concelier's index that the side knows."""
        names = [each.id for each in self._index().domains]
        if side == "concelier":
            return names
        return [name for name in names if self.latest(side, name) is not None]

    def latest(self, side: Side, domain: str) -> str | None:
        """See the port."""
        if side == "concelier":
            return next((each.export_id for each in self._index().domains if each.id == domain), None)
        data = self._get(f"/excititor/mirror/{quote(domain, safe='')}/index", _LARGEST_INDEX)
        return None if data is None else self._decoded(data, _Exports).export_id

    def _index(self) -> _Index:
        data = self._get("/concelier/exports/index.json", _LARGEST_INDEX)
        return _Index([]) if data is None else self._decoded(data, _Index)

    def _decoded(self, data: bytes, form: type[_Form]) -> _Form:
        try:
            return msgspec.json.decode(data, type=form)
        except msgspec.DecodeError as error:
            raise SourceUnreachable(f"{self.place}: its index cannot be read: {error}") from error

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """See the port."""
        return self._get(f"/{side}/exports/{quote(path)}", most)

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """See the port: each is fetched when it is asked for."""

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """See the port."""
        with self._opened(f"/{side}/exports/{quote(path)}") as reply:
            if reply.status != HTTPStatus.OK:
                raise self._refusal(reply)
            yield from reply.pieces()

    def _get(self, path: str, most: int) -> bytes | None:
        with self._opened(path) as reply:
            if reply.status == HTTPStatus.NOT_FOUND:
                return None
            if reply.status != HTTPStatus.OK:
                raise self._refusal(reply)
            found = bytearray()
            for piece in reply.pieces():
                found += piece
                if len(found) > most:
                    break
            return _bounded(bytes(found), most, redacted(reply.url))

    @contextmanager
    def _opened(self, path: str) -> Iterator[Reply]:
        try:
            with self._client.get(
                self._base + path,
                hosts=(self._host,),
                headers={},
                sign=self._sign,
                signed_origin=self._origin,
            ) as reply:
                yield reply
        except SourceUnreachable:
            raise
        except DependencyFailed as error:
            raise SourceUnreachable(error.what, hint=error.advice) from error

    def _refusal(self, reply: Reply) -> SourceUnreachable:
        after = reply.headers.get("retry-after", "")
        wait = f"; it asks to wait {after} s" if after.isdecimal() else ""
        hint = _LOGIN if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) else None
        return SourceUnreachable(f"{redacted(reply.url)} answers {reply.status}{wait}", hint=hint)


def _bounded(data: bytes, most: int, where: str) -> bytes:
    if len(data) > most:
        raise SourceUnreachable(f"{where} has more than {most} bytes")
    return data
