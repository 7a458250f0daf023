"""Manifests of bundles: one layer for each file, and for Trivy's databases one that stock Trivy pulls.

All of it is a function of the bundle's files and ids, so that the same bundle has the same digest at every registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from stellaops.bundles import layout
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import NotTrusted

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
TRIVY_CONFIG = "application/vnd.aquasec.trivy.config.v1+json"
BUNDLE = "application/vnd.stellaops.export.bundle.v1"
"""Artefact type of a bundle: its layers are the files of a bundle root, each titled with its path."""
STATE = "application/vnd.stellaops.export.state.v1"
BUNDLE_CONFIG = "application/vnd.stellaops.export.config.v1+json"
LARGEST = 4 << 20
"""Bytes that a manifest may have: what registries accept at least."""

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
_VERSION = "org.opencontainers.image.version"
_OWN = "io.stellaops.export."
EXPORT_ID, ARCHIVE_ID = f"{_OWN}exportId", f"{_OWN}archiveId"
_DIGEST, _SEQUENCE = f"{_OWN}digest", f"{_OWN}sequence"
TENANT, PROFILE, KIND = f"{_OWN}tenant", f"{_OWN}profile", f"{_OWN}kind"

SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_ROWS = "application/vnd.stellaops.export.rows.v1.jsonl+zstd"
_TYPES = {
    layout.MANIFEST: "application/vnd.stellaops.export.manifest.v1+json",
    layout.FILES: "application/vnd.stellaops.export.files.v1+json",
    layout.PROVENANCE: "application/vnd.in-toto+json",
    layout.TRIVY_DB: layout.TRIVY_DB_TYPE,
    layout.TRIVY_JAVA_DB: layout.TRIVY_JAVA_DB_TYPE,
}
_SUFFIXES = (
    (".sigstore.json", SIGSTORE_BUNDLE),
    (".jsonl.zst", _ROWS),
    (".tar.zst", "application/vnd.stellaops.mirror.archive.v1.tar+zstd"),
    (".tar.gz", layout.GZIP_TAR_TYPE),
    (".sig", "application/vnd.stellaops.signature.v1+base64"),
    (".jws", "application/jose"),
    (".sha256", "text/plain"),
    (".json", layout.JSON_TYPE),
    (".yaml", "application/yaml"),
    (".xml", "application/xml"),
    (".spdx", "text/spdx"),
    (".md", "text/markdown"),
)
_OTHER = "application/octet-stream"
_MAGIC = {"zstd": b"\x28\xb5\x2f\xfd", "gzip": b"\x1f\x8b"}


class BadManifest(NotTrusted):
    """A manifest at a registry that is none of a bundle."""

    code = "ERR_OCI_MANIFEST"
    hint = "Deliver the bundle again with `stella export distribute`."


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of something that lies beside it; `bytes` is its size."""

    media_type: str
    digest: Digest
    bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        wire: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.bytes}
        if self.artifact_type:
            wire["artifactType"] = self.artifact_type
        return wire | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class Identity:
    """What a bundle is; all of it comes from its content and its profile."""

    tenant: str
    profile: str
    kind: str
    export_id: str
    archive_id: str
    generated_at: datetime

    def annotations(self) -> dict[str, str]:
        """As a manifest carries it."""
        return {
            CREATED: timestamps.render(self.generated_at),
            _VERSION: self.export_id,
            EXPORT_ID: self.export_id,
            ARCHIVE_ID: self.archive_id,
            TENANT: self.tenant,
            PROFILE: self.profile,
            KIND: self.kind,
        }

    def config(self) -> bytes:
        """The configuration of the bundle's manifest, for registries and tools that tell artefacts by it."""
        return canonical_json.encode(
            {
                "archiveId": self.archive_id,
                "exportId": self.export_id,
                "kind": self.kind,
                "profile": self.profile,
            }
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest and the digest that names it."""

    content: bytes
    digest: Digest
    media_type: str = MANIFEST
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self) -> Descriptor:
        """What an index says of it."""
        return Descriptor(
            self.media_type, self.digest, len(self.content), self.annotations, self.artifact_type
        )


def media_type(path: str, head: bytes) -> str:
    """The media type of a file of a bundle root.

    Args:
        head: its first bytes; what is packed by its name and not by them is encrypted.
    """
    magic = _MAGIC.get(layout.codec(path))
    if magic is not None and not head.startswith(magic):
        return _OTHER
    found = (kind for suffix, kind in _SUFFIXES if path.endswith(suffix))
    return _TYPES.get(path) or next(found, _OTHER)


def blob(content: bytes, kind: str) -> Descriptor:
    """The descriptor of some bytes."""
    return Descriptor(kind, digests.sha256(content), len(content))


def of_bundle(
    identity: Identity, layers: Sequence[Descriptor], subject: Descriptor | None = None
) -> Manifest:
    """The manifest of a whole bundle.

    Args:
        layers: its files, titled with their paths.
        subject: the manifest of the database in it, where there is one.
    """
    config = blob(identity.config(), BUNDLE_CONFIG)
    return build(config, layers, artifact_type=BUNDLE, subject=subject, annotations=identity.annotations())


def of_database(identity: Identity, database: Descriptor) -> Manifest:
    """The manifest by which stock Trivy pulls a database: one layer, the configuration that Trivy's own have.

    Args:
        database: the file of the bundle, with its media type.
    """
    name = "javadb.tar.gz" if database.media_type == layout.TRIVY_JAVA_DB_TYPE else "db.tar.gz"
    layer = Descriptor(database.media_type, database.digest, database.bytes, {TITLE: name})
    return build(blob(EMPTY, TRIVY_CONFIG), [layer], annotations=identity.annotations())


def build(
    config: Descriptor,
    layers: Iterable[Descriptor],
    *,
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] = {},
) -> Manifest:
    """Write a manifest."""
    wire: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.to_wire(),
        "layers": [layer.to_wire() for layer in layers],
    }
    if artifact_type:
        wire["artifactType"] = artifact_type
    if subject is not None:
        bare = Descriptor(subject.media_type, subject.digest, subject.bytes)
        wire["subject"] = bare.to_wire()
    if annotations:
        wire["annotations"] = dict(annotations)
    content = canonical_json.encode(wire)
    return Manifest(content, digests.sha256(content), MANIFEST, artifact_type, annotations)


def of_state(digest: Digest, sequence: int, generated_at: datetime) -> Manifest:
    """What is kept about the moving tags: which manifest they stand for, and of which sequence."""
    empty = blob(EMPTY, EMPTY_TYPE)
    told = {_DIGEST: digest, _SEQUENCE: str(sequence), CREATED: timestamps.render(generated_at)}
    return build(empty, [empty], artifact_type=STATE, annotations=told)


def stood_for(state: WireManifest) -> Digest | None:
    """The manifest that the moving tags were last moved to."""
    try:
        return digests.parse(state.annotations.get(_DIGEST, ""))
    except ValueError:
        return None


def is_behind(state: WireManifest, sequence: int, generated_at: datetime) -> bool:
    """Whether a bundle is older than what the moving tags stand for.

    Both the sequence and the content have to say so. A lower sequence alone is that of an installation that was set up
    anew; older content alone, of one that has given up its newest source.
    """
    known = state.annotations.get(_SEQUENCE, "")
    created = timestamps.parse(state.annotations.get(CREATED, ""))
    older = known.isdecimal() and int(known) > sequence
    return older and created is not None and created > generated_at


class WireDescriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor as it is read; fields that are not known are passed over."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None

    def sound(self) -> Descriptor:
        """The same, checked.

        Raises:
            BadManifest: the digest or the size is none.
        """
        try:
            digest = digests.parse(self.digest)
        except ValueError as error:
            raise BadManifest(f"a descriptor has the digest {self.digest[:80]!r}") from error
        if self.size < 0:
            raise BadManifest(f"a descriptor of {digest} has the size {self.size}")
        return Descriptor(self.media_type, digest, self.size, self.annotations or {}, self.artifact_type)


class WireManifest(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest as it is read."""

    schema_version: int
    config: WireDescriptor
    layers: tuple[WireDescriptor, ...]
    media_type: str = ""
    artifact_type: str | None = None
    subject: WireDescriptor | None = None
    annotations: dict[str, str] = {}


def parse(content: bytes) -> WireManifest:
    """Read a manifest.

    Raises:
        BadManifest: it is none.
    """
    try:
        return msgspec.json.decode(content, type=WireManifest)
    except msgspec.DecodeError as error:
        raise BadManifest(f"what lies there is no manifest: {error}") from error


def files_of(manifest: WireManifest) -> dict[str, Descriptor]:
    """The files of a bundle by path.

    Raises:
        BadManifest: it is no bundle's, or one of its paths is no path inside a bundle root.
    """
    if manifest.config.media_type != BUNDLE_CONFIG:
        raise BadManifest(f"the manifest has a configuration of type {manifest.config.media_type[:100]!r}")
    found: dict[str, Descriptor] = {}
    for layer in manifest.layers:
        descriptor = layer.sound()
        path = descriptor.annotations.get(TITLE, "")
        if not layout.is_portable(path) or path in found:
            raise BadManifest(f"the manifest has a layer with the title {path[:100]!r}")
        found[path] = descriptor
    return found
