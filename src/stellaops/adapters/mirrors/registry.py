"""Trees of a mirror in one repository of an OCI registry, for mirror hosts that sync from there.

    <repository>:<side>-<exportId>    a tree: a layer for each large file, one for each pack of small ones
    <repository>:<side>-latest        what readers follow: the export id, and the freshness statements as layers

Layers bear the paths of what is in them. A tag is moved by one request, and blobs are named by their digests; so a
reader has a tree whole or not at all. Trust comes from the signatures in the tree, not from here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stellaops.adapters.mirrors.opened_packs import OpenedPacks
from stellaops.adapters.oci import downloads
from stellaops.adapters.oci.errors import LoginsUnusable, RegistryRefused
from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.transport import Unanswered
from stellaops.adapters.oci.uploads import Content, upload
from stellaops.bundles.oci import manifests
from stellaops.bundles.oci.manifests import BadManifest, Descriptor, WireManifest
from stellaops.core import digests
from stellaops.core.digests import PREFIX
from stellaops.core.errors import DependencyFailed
from stellaops.exports.errors import DistributionFailed
from stellaops.kit.disk import disk_errors
from stellaops.mirrors import forms, packs
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree, PublicationConflict, SourceUnreachable
from stellaops.mirrors.ports import Publication
from stellaops.mirrors.signed_files import SIG, measure

TREE = "application/vnd.stellaops.mirror.tree.v1"
"""Artefact type of a tree."""
LATEST = "application/vnd.stellaops.mirror.latest.v1"
PACK = "application/vnd.stellaops.mirror.pack.v1.tar+zstd"
_FILE = "application/vnd.stellaops.mirror.file.v1"
_OWN = "io.stellaops.mirror."
_FIRST, _EXPORT, _NUMBER, _SEQUENCE = f"{_OWN}first", f"{_OWN}exportId", f"{_OWN}number", f"{_OWN}sequence"
_AT_ONCE = 4
_TRIES = 4
_LOGIN = (
    "See that the file of `mirror.dockerConfigFile`, or of --credentials, has a login that may do this there."
)
_EMPTY = Content(manifests.blob(manifests.EMPTY, manifests.EMPTY_TYPE), manifests.EMPTY)


class RegistryFailed(DependencyFailed):
    """The registry of a mirror does not answer, or does not let us do what publishing takes."""

    code = "ERR_MIRROR_REGISTRY"
    hint = "See that the registry is reachable and takes what is pushed there; then run the command again."


class MirrorRegistry:
    """`mirrors.ports.Bucket` in a repository.

    There are no conditional writes at registries: that a pointer never goes back is up to the record of publications,
    and to the number that the pointer bears.
    """

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry
        self._statements: dict[tuple[Side, str], Mapping[str, bytes]] = {}

    @property
    def place(self) -> str:
        """See the port."""
        return f"oci://{self._registry.repository}"

    def has(self, side: Side, export_id: str) -> bool:
        """See the port."""
        with self._failures():
            return self._registry.digest_of(tree_tag(side, export_id)) is not None

    def send(self, side: Side, export_id: str, tree: Path) -> int:
        """See the port. Blobs that are there, of this tree or of another, are not sent again."""
        if self.has(side, export_id):
            return 0
        with self._failures(), disk_errors(tree):
            files = {path: (tree / path).stat().st_size for path in sorted(_files(tree))}
            large = [path for path, size in files.items() if size >= packs.LARGE]
            small = ((path, size) for path, size in files.items() if size < packs.LARGE)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                alone = pool.map(partial(self._send_file, tree), large)
                packed = pool.map(partial(self._send_pack, tree), packs.grouped(small))
                layers = [*alone, *packed]
            count = self._send_blob(_EMPTY)
            made = manifests.build(
                _EMPTY.blob,
                [layer for layer, _ in layers],
                artifact_type=TREE,
                annotations={_EXPORT: export_id},
            )
            self._registry.put_manifest(made, tree_tag(side, export_id))
        return count + sum(sent for _, sent in layers)

    def _send_file(self, tree: Path, path: str) -> tuple[Descriptor, int]:
        measured = measure(tree / path)
        digest = digests.parse(PREFIX + measured.sha256)
        layer = Descriptor(_FILE, digest, measured.bytes, {manifests.TITLE: path})
        return layer, self._send_blob(Content(layer, tree / path))

    def _send_pack(self, tree: Path, paths: Sequence[str]) -> tuple[Descriptor, int]:
        data = packs.pack((path, (tree / path).read_bytes()) for path in paths)
        digest = digests.sha256(data)
        layer = Descriptor(PACK, digest, len(data), {_FIRST: paths[0]})
        return layer, self._send_blob(Content(layer, data))

    def _send_blob(self, content: Content) -> int:
        if self._registry.has(content.blob):
            return 0
        upload(self._registry, content)
        return content.blob.bytes

    def latest(self, side: Side) -> str | None:
        """See the port."""
        with self._failures():
            found = _pointer(self._registry, side)
        return None if found is None else found.annotations.get(_EXPORT)

    def put_freshness(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """See the port: it goes out with the pointer, which is moved next."""
        self._statements[side, domain] = files

    def point(self, publication: Publication) -> None:
        """See the port; with the statements that were put."""
        side = publication.side
        with self._failures():
            found = _pointer(self._registry, side)
            if found is not None and _number(found) > publication.number:
                raise PublicationConflict(f"{self.place}:{latest_tag(side)} was moved on meanwhile")
            told = {
                _EXPORT: publication.export_id,
                _NUMBER: str(publication.number),
                _SEQUENCE: str(publication.sequence),
            }
            layers = {} if found is None else _statements(found)
            for (of, domain), files in self._statements.items():
                if of == side:
                    layers |= {path: self._kept(path, data) for path, data in _named(domain, files)}
            self._write(side, layers, told)

    def drop_freshness(self, side: Side, kept: Sequence[str]) -> None:
        """See the port."""
        with self._failures():
            found = _pointer(self._registry, side)
            if found is not None:
                layers = {
                    path: layer for path, layer in _statements(found).items() if _domain_of(path) in kept
                }
                self._write(side, layers, found.annotations)

    def _kept(self, path: str, data: bytes) -> Descriptor:
        layer = Descriptor(_FILE, digests.sha256(data), len(data), {manifests.TITLE: path})
        self._send_blob(Content(layer, data))
        return layer

    def _write(self, side: Side, layers: Mapping[str, Descriptor], told: Mapping[str, str]) -> None:
        """Have the pointer say this; the manifest that it was before goes, where the registry lets it."""
        self._send_blob(_EMPTY)
        sorted_layers = [layer for _, layer in sorted(layers.items())]
        made = manifests.build(_EMPTY.blob, sorted_layers, artifact_type=LATEST, annotations=told)
        before = self._registry.digest_of(latest_tag(side))
        if before != made.digest:
            self._registry.put_manifest(made, latest_tag(side))
            if before is not None:
                self._registry.remove_manifest(before)

    def remove(self, side: Side, export_id: str) -> None:
        """See the port. The blobs go when the registry itself collects what no manifest names."""
        with self._failures():
            digest = self._registry.digest_of(tree_tag(side, export_id))
            if digest is not None:
                self._registry.remove_manifest(digest)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except RegistryRefused as error:
            raise RegistryRefused(error.what, hint=_LOGIN) from error
        except (DistributionFailed, BadManifest) as error:
            raise RegistryFailed(error.what) from error
        except Unanswered as error:
            raise RegistryFailed(str(error)) from error


class OciSource:
    """`mirrors.sync_ports.TreeSource` on a repository that mirrors are published to. Safe for threads."""

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry
        self._pointers: dict[Side, WireManifest] = {}
        self._trees: dict[tuple[Side, str], _Contents] = {}
        self._packs = OpenedPacks(self._opened)
        self._blobs: dict[str, Descriptor] = {}
        self._guard = threading.Lock()

    @property
    def place(self) -> str:
        """See the port."""
        return f"oci://{self._registry.repository}"

    def domains(self, side: Side) -> Sequence[str]:
        """See the port."""
        found = self._pointer(side)
        return [] if found is None else sorted({_domain_of(path) for path in _statements(found)})

    def latest(self, side: Side, domain: str) -> str | None:
        """See the port."""
        del domain
        found = self._pointer(side)
        return None if found is None else found.annotations.get(_EXPORT)

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """See the port."""
        if path.startswith(f"{forms.FRESHNESS}/"):
            return self._statement(side, path, most)
        export_id, _, rest = path.partition("/")
        with self._failures():
            blob = self._contents(side, export_id).holder(rest)
        if blob is None or (blob.media_type == PACK and rest not in self._pack(blob)):
            return None
        found = bytearray()
        for piece in self.pieces(side, path):
            found += piece
            if len(found) > most:
                raise SourceUnreachable(f"{self.place}: {path} of {side} has more than {most} bytes")
        return bytes(found)

    def _statement(self, side: Side, path: str, most: int) -> bytes | None:
        # A statement and its signature are of one pointer; whoever asks for a statement again wants the newest.
        found = self._pointers.get(side) if path.endswith(SIG) else self._pointer(side)
        blob = None if found is None else _statements(found).get(path)
        with self._failures():
            return None if blob is None else downloads.small(self._registry, blob, most)

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """See the port: packs are brought when the first file of one is asked for."""

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """See the port."""
        export_id, _, rest = path.partition("/")
        with self._failures():
            blob = self._contents(side, export_id).holder(rest)
            if blob is None:
                raise SourceUnreachable(f"{self.place} has no {rest} of {side} {export_id}")
            if blob.media_type != PACK:
                yield from self._blob(blob)
                return
            data = self._pack(blob).get(rest)
        if data is None:
            raise SourceUnreachable(f"{self.place} has no {rest} of {side} {export_id}")
        yield data

    def _blob(self, blob: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; a connection that breaks is gone on with."""
        got = 0
        for attempt in range(_TRIES):
            try:
                with self._registry.open_blob(blob.digest, got) as answer:
                    if answer.status != 206 and got:
                        raise SourceUnreachable(f"{self.place}: the connection broke in {blob.digest}")
                    for piece in answer.pieces():
                        got += len(piece)
                        yield piece
            except Unanswered:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def _pointer(self, side: Side) -> WireManifest | None:
        with self._failures():
            found = _pointer(self._registry, side)
        if found is not None:
            self._pointers[side] = found
        return found

    def _contents(self, side: Side, export_id: str) -> _Contents:
        with self._guard:
            known = self._trees.get((side, export_id))
            if known is None:
                told = self._registry.manifest(tree_tag(side, export_id))
                if told is None:
                    raise SourceUnreachable(f"{self.place} has no tree {export_id} of {side}")
                known = self._trees[side, export_id] = _Contents(manifests.parse(told.content))
            return known

    def _pack(self, blob: Descriptor) -> Mapping[str, bytes]:
        self._blobs[blob.digest] = blob
        return self._packs.files(blob.digest)

    def _opened(self, digest: str) -> Mapping[str, bytes]:
        with self._failures():
            return packs.unpack(downloads.small(self._registry, self._blobs[digest], packs.LARGEST_PACKED))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (SourceUnreachable, BadTree):
            raise
        except (RegistryRefused, LoginsUnusable) as error:
            raise SourceUnreachable(error.what, hint=_LOGIN) from error
        except (DistributionFailed, BadManifest) as error:
            raise SourceUnreachable(error.what) from error
        except Unanswered as error:
            raise SourceUnreachable(str(error)) from error


class _Contents:
    """Which blob has a file of a tree."""

    def __init__(self, manifest: WireManifest) -> None:
        layers = [layer.sound() for layer in manifest.layers]
        self._alone = {
            layer.annotations.get(manifests.TITLE, ""): layer for layer in layers if layer.media_type != PACK
        }
        packed = sorted(
            (layer for layer in layers if layer.media_type == PACK),
            key=lambda layer: layer.annotations.get(_FIRST, ""),
        )
        self._packed = packed
        self._shelf = packs.Shelf([layer.annotations.get(_FIRST, "") for layer in packed])

    def holder(self, path: str) -> Descriptor | None:
        """The blob that is a file, or the pack that has it if any has."""
        if path in self._alone:
            return self._alone[path]
        number = self._shelf.number(path)
        return None if number is None else self._packed[number]


def tree_tag(side: Side, export_id: str) -> str:
    """The tag of a tree."""
    return f"{side}-{export_id}"


def latest_tag(side: Side) -> str:
    """The tag of what readers follow."""
    return f"{side}-latest"


def _pointer(registry: RegistryClient, side: Side) -> WireManifest | None:
    found = registry.manifest(latest_tag(side))
    return None if found is None else manifests.parse(found.content)


def _number(pointer: WireManifest) -> int:
    text = pointer.annotations.get(_NUMBER, "")
    return int(text) if text.isdecimal() else 0


def _statements(pointer: WireManifest) -> dict[str, Descriptor]:
    layers = [layer.sound() for layer in pointer.layers]
    found = {layer.annotations.get(manifests.TITLE, ""): layer for layer in layers}
    return {path: layer for path, layer in found.items() if path.startswith(f"{forms.FRESHNESS}/")}


def _named(domain: str, files: Mapping[str, bytes]) -> Iterable[tuple[str, bytes]]:
    return ((f"{forms.FRESHNESS}/{domain}.json{suffix}", data) for suffix, data in files.items())


def _domain_of(path: str) -> str:
    return path.removeprefix(f"{forms.FRESHNESS}/").partition(".")[0]


def _files(tree: Path) -> Iterator[str]:
    for place, _, names in os.walk(tree):
        for name in names:
            yield (Path(place) / name).relative_to(tree).as_posix()
