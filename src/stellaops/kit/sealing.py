"""Closing a bundle root: everything that stands in it beside the content, made in one place as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stellaops.bundles import files_manifest, layout, provenance, rendering
from stellaops.bundles.files_manifest import Base, FileEntry, FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.core import digests
from stellaops.kit import signatures
from stellaops.signing.interface import Signer


@dataclass(frozen=True, slots=True)
class Sealed:
    """The files to write beside the content, by path, in the order in which a reader wants them."""

    manifest: ExportManifest
    files: FilesManifest
    written: Mapping[str, bytes]

    @property
    def artifacts(self) -> tuple[FileEntry, ...]:
        """Every file of the root outside `signatures/`, content too, by path."""
        own = [_entry(path, self.written[path]) for path in (layout.FILES, layout.PROVENANCE)]
        return tuple(sorted([*self.files.files, *own], key=lambda entry: entry.path))

    @property
    def signatures(self) -> tuple[str, ...]:
        """Paths of the signature files."""
        return tuple(path for path in self.written if path.startswith(layout.SIGNATURES))


def seal(
    manifest: ExportManifest,
    content: Iterable[FileEntry],
    toolchain: Mapping[str, Any],
    signer: Signer,
    *,
    kind: str | None = None,
    base: Base | None = None,
    environment: Mapping[str, Any] | None = None,
    jws: bool = False,
) -> Sealed:
    """Make manifests, provenance, documents and signatures for content that is already packed.

    Args:
        manifest: the state.
        content: the packed content files as they lie in the root.
        toolchain: libraries, versions and parameters that made their bytes.
        signer: the tenant's key.
        kind: of the archive, where it is not the state profile's `kind:variant` (a delta carries the state of a full).
        base: of a delta, what it builds on.
        environment: what else the provenance says of the packaging.
        jws: whether to sign both manifests as detached JWS too.

    Raises:
        BadFilesManifest: a content file that must not be there.
        StellaError: the signer cannot sign.
    """
    documents = {
        layout.MANIFEST: manifest.data,
        layout.MANIFEST_YAML: rendering.manifest_yaml(manifest),
        layout.README: rendering.readme(manifest),
    }
    entries = [*content, *(_entry(path, data) for path, data in documents.items())]
    own_kind = kind or f"{manifest.profile.kind}:{manifest.profile.variant}"
    files = files_manifest.build(own_kind, manifest.export_id, entries, toolchain, base)
    statement = provenance.build(manifest, files, environment)
    signed = {entry.path: entry.digest for entry in entries} | {layout.FILES: digests.sha256(files.data)}
    made = signatures.make(signer, signed, statement)
    if jws:
        made |= signatures.make_jws(signer, {layout.MANIFEST: manifest.data, layout.FILES: files.data})
    written = {
        layout.MANIFEST: manifest.data,
        layout.FILES: files.data,
        **made,
        layout.MANIFEST_YAML: documents[layout.MANIFEST_YAML],
        layout.README: documents[layout.README],
        layout.PROVENANCE: statement,
    }
    return Sealed(manifest, files, written)


def _entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path, digests.sha256(data), len(data), layout.codec(path))
