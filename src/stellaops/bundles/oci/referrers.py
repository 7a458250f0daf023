"""What refers to a manifest: the index that a registry makes of it, or that clients keep under the fallback tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from stellaops.bundles.oci.manifests import INDEX, BadManifest, Descriptor, Manifest, WireDescriptor
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest


class _Index(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    manifests: tuple[WireDescriptor, ...] = ()


def read(content: bytes) -> tuple[Descriptor, ...]:
    """What an index lists.

    Raises:
        BadManifest: it is no index.
    """
    try:
        index = msgspec.json.decode(content, type=_Index)
    except msgspec.DecodeError as error:
        raise BadManifest(f"what lies there is no index: {error}") from error
    return tuple(entry.sound() for entry in index.manifests)


def write(entries: Iterable[Descriptor]) -> Manifest:
    """The index of some entries."""
    wire = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.to_wire() for entry in entries]}
    content = canonical_json.encode(wire)
    return Manifest(content, digests.sha256(content), INDEX)


def added(entries: Sequence[Descriptor], entry: Descriptor) -> tuple[Descriptor, ...]:
    """The entries with one more, where it is not there yet; those of others stay as they are."""
    return tuple(entries) if any(each.digest == entry.digest for each in entries) else (*entries, entry)


def removed(entries: Sequence[Descriptor], digests_of: Iterable[Digest]) -> tuple[Descriptor, ...]:
    """The entries without some."""
    gone = set(digests_of)
    return tuple(each for each in entries if each.digest not in gone)
