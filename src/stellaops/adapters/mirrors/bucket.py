"""Trees of a mirror in a bucket, for mirror hosts that sync from there.

<prefix><side>/<exportId>/…                    never changes
<prefix><side>/<exportId>.json                 how much it is, and in which packs; written last, removed first
<prefix><side>/packs/<digest>.tar.zst          small files once more, many in one object, for those who lack many
<prefix><side>/latest.json                     `{"exportId", "number", "sequence"}`; moved by one conditional write
<prefix><side>/freshness/<domain>.json[.sig]
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from stellaops.adapters.objects.s3_bucket import S3Bucket, Wanted
from stellaops.adapters.objects.s3_client import S3Client, S3Failed
from stellaops.core.errors import DependencyFailed
from stellaops.mirrors import forms, packs
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import PublicationConflict
from stellaops.mirrors.osv_bucket import archive_of
from stellaops.mirrors.ports import Publication
from stellaops.mirrors.signed_files import measure

_TRIES = 5
_PACKS = "packs"
_NO_BUCKET = (
    "Make the bucket, or correct its name, `mirror.endpoint` or `mirror.region`; then run the command again."
)


class BucketFailed(DependencyFailed):
    """The bucket of a mirror does not answer, or does not let us do what publishing takes."""

    code = "ERR_MIRROR_BUCKET"
    hint = "Check `mirror.endpoint`, and the access key in the file of `mirror.keyFile`; then run the command again."


class Latest(msgspec.Struct, frozen=True, rename="camel"):
    """What readers of a bucket follow. Trust comes from the signatures in the tree, not from here."""

    export_id: str
    number: int
    sequence: int


class Packed(msgspec.Struct, frozen=True, rename="camel"):
    """A pack: its key below the side, the first path in it, and how many files it has."""

    key: str
    first: str
    files: int


class Whole(msgspec.Struct, frozen=True, rename="camel"):
    """Says that a tree is there, whole; its packs, in the order of their paths, may be gone earlier."""

    export_id: str
    files: int
    bytes: int
    packs: tuple[Packed, ...] = ()


class MirrorBucket:
    """`mirrors.ports.Bucket`."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self.bucket = S3Bucket(client)

    @property
    def place(self) -> str:
        """See the port."""
        return self._client.place.address

    def has(self, side: Side, export_id: str) -> bool:
        """See the port."""
        with self.failures():
            return self.bucket.read(_mark(side, export_id)) is not None

    def send(self, side: Side, export_id: str, tree: Path) -> int:
        """See the port. A tree that was not brought to its end is gone on with."""
        if self.has(side, export_id):
            return 0
        folder = f"{side}/{export_id}/"
        wanted = [
            Wanted(folder + path, tree / path, measured.sha256, measured.bytes)
            for path in _files(tree)
            for measured in (measure(tree / path),)
        ]
        sent: list[int] = []
        with self.failures():
            there = self.bucket.listed(folder)
            missing = [each for each in wanted if not self._is_there(each, there)]
            self.bucket.send(missing, sent.append)
            packed = self._send_packs(side, wanted, sent.append)
            whole = Whole(export_id, len(wanted), sum(each.bytes for each in wanted), packed)
            self.bucket.put(_mark(side, export_id), msgspec.json.encode(whole))
        return sum(sent)

    def _send_packs(
        self, side: Side, wanted: Sequence[Wanted], sent: Callable[[int], None]
    ) -> tuple[Packed, ...]:
        """Bring the packs of a tree's small files; those that an earlier tree had too are there.

        Documents that stand in an archive of the tree are in no pack: hosts take them from there.
        """
        folder = f"{side}/"
        there, made = self.bucket.listed(f"{folder}{_PACKS}/"), []
        paths_of = {each.key.removeprefix(folder).partition("/")[2]: each for each in wanted}
        small = {
            path: each
            for path, each in paths_of.items()
            if each.bytes < packs.LARGE and archive_of(path) not in paths_of
        }
        for paths in packs.grouped((path, small[path].bytes) for path in sorted(small)):
            told = "".join(f"{path}\t{small[path].sha256}\n" for path in paths)
            key = f"{_PACKS}/{hashlib.sha256(told.encode()).hexdigest()}.tar.zst"
            if folder + key not in there:
                data = packs.pack((path, small[path].file.read_bytes()) for path in paths)
                self.bucket.put(folder + key, data)
                sent(len(data))
            made.append(Packed(key, paths[0], len(paths)))
        return tuple(made)

    def whole(self, side: Side, export_id: str) -> Whole | None:
        """What is said of a tree that is there, whole."""
        with self.failures():
            found = self.bucket.read(_mark(side, export_id))
        try:
            return None if found is None else msgspec.json.decode(found[0], type=Whole)
        except msgspec.DecodeError as error:
            raise BucketFailed(f"{self.place}/{_mark(side, export_id)} is not ours: {error}") from error

    def _is_there(self, wanted: Wanted, there: Mapping[str, object]) -> bool:
        if wanted.key not in there:
            return False
        stored = self.bucket.stat(wanted.key)
        return stored is not None and (stored.bytes, stored.sha256) == (wanted.bytes, wanted.sha256)

    def latest(self, side: Side) -> str | None:
        """See the port."""
        with self.failures():
            found = self._latest(side)
        return None if found is None else found[0].export_id

    def point(self, publication: Publication) -> None:
        """See the port: never back to an earlier publication, whoever else writes."""
        side = publication.side
        wanted = Latest(publication.export_id, publication.number, publication.sequence)
        body = msgspec.json.encode(wanted)
        with self.failures():
            for _ in range(_TRIES):
                found = self._latest(side)
                if found is not None and found[0] == wanted:
                    return
                if found is not None and found[0].number > publication.number:
                    break
                if self.bucket.write(_latest_key(side), body, over=None if found is None else found[1]):
                    return
        raise PublicationConflict(f"{self.place}/{_latest_key(side)} was moved on meanwhile")

    def _latest(self, side: Side) -> tuple[Latest, str] | None:
        found = self.bucket.read(_latest_key(side))
        if found is None:
            return None
        try:
            return msgspec.json.decode(found[0], type=Latest), found[1]
        except msgspec.DecodeError as error:
            raise BucketFailed(f"{self.place}/{_latest_key(side)} is not ours: {error}") from error

    def put_freshness(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """See the port."""
        with self.failures():
            for suffix, data in files.items():
                self.bucket.put(f"{_freshness(side)}{domain}.json{suffix}", data)

    def drop_freshness(self, side: Side, kept: Sequence[str]) -> None:
        """See the port."""
        folder = _freshness(side)
        with self.failures():
            names = list(self.bucket.listed(folder))
            self.bucket.delete(
                [name for name in names if name.removeprefix(folder).partition(".")[0] not in kept]
            )

    def remove(self, side: Side, export_id: str) -> None:
        """See the port. Packs that the newest tree has no use for go too: without them files are got one by one."""
        gone, newest = self.whole(side, export_id), self.latest(side)
        kept = self.whole(side, newest) if newest is not None and newest != export_id else None
        used = {each.key for each in kept.packs} if kept else set()
        with self.failures():
            self.bucket.delete([_mark(side, export_id)])
            self.bucket.delete(
                [f"{side}/{each.key}" for each in gone.packs if each.key not in used] if gone else []
            )
            self.bucket.delete(self.bucket.listed(f"{side}/{export_id}/"))

    @contextmanager
    def failures(self) -> Iterator[None]:
        """What goes wrong at the store, as an error of ours."""
        try:
            yield
        except S3Failed as failure:
            if failure.code == "NoSuchBucket":
                raise BucketFailed(f"{self.place}: there is no such bucket", hint=_NO_BUCKET) from failure
            raise BucketFailed(f"{self.place}: {failure.what}") from failure


def _files(tree: Path) -> Iterator[str]:
    for place, _, names in os.walk(tree):
        for name in names:
            yield (Path(place) / name).relative_to(tree).as_posix()


def _mark(side: Side, export_id: str) -> str:
    return f"{side}/{export_id}.json"


def _latest_key(side: Side) -> str:
    return f"{side}/{forms.LATEST_OBJECT}"


def _freshness(side: Side) -> str:
    return f"{side}/{forms.FRESHNESS}/"
