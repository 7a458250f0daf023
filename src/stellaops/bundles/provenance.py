"""`provenance.json`: an in-toto Statement v1 with a SLSA v1 predicate.

It is a function of `export.json` and `files.json`: a verifier makes it again and compares. It holds no times, so that
the same export by the same tools has the same provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from stellaops.bundles import layout
from stellaops.bundles.files_manifest import FilesManifest
from stellaops.bundles.manifest import ExportManifest, Source
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest

BUILD_TYPE = "https://stellaops.io/export-center/build/v1"
BUILDER = "https://stellaops.io/export-center/builder/v1"
LARGEST = 16 * 1024 * 1024
"""Bytes that a provenance statement may have."""


def build(
    manifest: ExportManifest, files: FilesManifest, environment: Mapping[str, Any] | None = None
) -> bytes:
    """The statement in canonical JSON.

    Args:
        manifest: subject `export.json` and the materials.
        files: subject `files.json` and the toolchain.
        environment: what else describes the packaging, for example the recipients of an encryption.
    """
    internal: dict[str, Any] = {
        "kind": files.kind,
        "projections": dict(manifest.projections),
        "toolchain": dict(files.toolchain),
    }
    if environment:
        internal["environment"] = dict(environment)
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": _external(manifest),
            "internalParameters": internal,
            "resolvedDependencies": _materials(manifest, files),
        },
        "runDetails": {"builder": {"id": BUILDER}, "metadata": {"invocationId": manifest.export_id}},
    }
    return canonical_json.encode(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                _resource(layout.MANIFEST, digests.sha256(manifest.data)),
                _resource(layout.FILES, digests.sha256(files.data)),
            ],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": predicate,
        }
    )


def _external(manifest: ExportManifest) -> dict[str, Any]:
    profile = manifest.profile
    return {
        "tenant": manifest.tenant,
        "profile": {"kind": profile.kind, "variant": profile.variant, "name": profile.name},
        "selectors": dict(manifest.selectors),
    }


def _materials(manifest: ExportManifest, files: FilesManifest) -> list[dict[str, Any]]:
    materials = [_resource("snapshot", manifest.snapshot)]
    if manifest.policy_snapshot is not None:
        materials.append(_resource("policy", manifest.policy_snapshot))
    if files.base is not None:
        base = {"exportId": files.base.export_id, "archiveId": files.base.archive_id}
        materials.append(
            {"name": "base", "uri": f"urn:stellaops:archive:{files.base.archive_id}", "annotations": base}
        )
    return materials + [_source(source) for source in manifest.sources]


def _source(source: Source) -> dict[str, Any]:
    annotations = {
        "database": source.database,
        "licence": source.licence,
        "updatedAt": None if source.updated_at is None else timestamps.render(source.updated_at),
    }
    return {
        "name": f"source/{source.name}",
        "uri": f"urn:stellaops:source:{quote(source.name, safe='')}",
        "annotations": annotations,
    }


def _resource(name: str, digest: Digest) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix(digests.PREFIX)}}
