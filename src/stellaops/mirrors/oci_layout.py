"""A scanner's database as an OCI image layout: what a read-only registry serves, and stock tools copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from stellaops.bundles import layout
from stellaops.bundles.oci import manifests
from stellaops.bundles.oci.manifests import Descriptor
from stellaops.core import canonical_json, digests, timestamps
from stellaops.mirrors.tree import Tree

INDEX, MARK = "index.json", "oci-layout"
_BLOBS = "blobs/sha256"
_REFERENCE = "org.opencontainers.image.ref.name"
_FILES = {layout.TRIVY_DB_TYPE: "db.tar.gz", layout.TRIVY_JAVA_DB_TYPE: "javadb.tar.gz"}


def write_layout(
    tree: Tree, folder: str, database: Path, *, media_type: str, generated_at: datetime, schema: int
) -> None:
    """Write a layout with one manifest of one layer.

    Args:
        database: the layer; it is moved away from where it is.
        media_type: of the layer, by which scanners know it.
        generated_at: gives the tag of the day.
        schema: number of the database's schema: the tag that scanners ask for.
    """
    with database.open("rb") as content:
        layer = Descriptor(
            media_type,
            digests.of_file(content),
            database.stat().st_size,
            {manifests.TITLE: _FILES[media_type]},
        )
    made = manifests.build(
        manifests.blob(manifests.EMPTY, manifests.TRIVY_CONFIG),
        [layer],
        annotations={manifests.CREATED: timestamps.render(generated_at)},
    )
    target = tree.root / _blob(folder, layer.digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    database.rename(target)
    for body in (manifests.EMPTY, made.content):
        tree.put(_blob(folder, digests.sha256(body)), body)
    tags = (str(schema), "latest", f"{generated_at:%Y%m%d}")
    tree.put(f"{folder}/{INDEX}", _index(made.descriptor(), tags))
    tree.put(f"{folder}/{MARK}", canonical_json.encode({"imageLayoutVersion": "1.0.0"}))


def _index(described: Descriptor, tags: Sequence[str]) -> bytes:
    wire = {
        "schemaVersion": 2,
        "mediaType": manifests.INDEX,
        "manifests": [{**described.to_wire(), "annotations": {_REFERENCE: tag}} for tag in tags],
    }
    return canonical_json.encode(wire)


def _blob(folder: str, digest: str) -> str:
    return f"{folder}/{_BLOBS}/{digest.removeprefix(digests.PREFIX)}"
