"""A small export tree as a mirror host serves it, with real signatures and digests, made without a store."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backports import zstd

from stellaops.core import digests
from stellaops.mirrors.signed_files import sign_file
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PrivateKey

KEY = ecdsa_p256.generate()
_DB_LAYER = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class MirrorTree:
    """Exports of both sides below one directory; each `publish` makes another one and switches to it."""

    root: Path
    domains: tuple[str, ...] = ("primary", "community")
    key: PrivateKey = KEY
    ids: dict[str, str] = field(default_factory=dict)

    def publish(
        self, edition: str = "1", advisories: int = 40, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Another export on both sides.

        Args:
            edition: says what the content is; the same edition is the same export.
            files: more of them, by path below each domain's mirror directory of Concelier.
        """
        for side, make in (("concelier", self._concelier), ("excititor", self._excititor)):
            export = digests.content_id(f"{side} {edition} {self.domains}".encode())
            place = self.root / side / export
            place.mkdir(parents=True, exist_ok=True)
            make(place, export, edition, advisories)
            for path, data in (files or {}).items():
                for domain in self.domains:
                    _write(place / "mirror" / domain / path, data)
            self.ids[side] = export
            self.switch(side, export)

    def switch(self, side: str, export: str) -> None:
        """Make an export the one under the stable names."""
        coming = self.root / side / ".latest"
        coming.unlink(missing_ok=True)
        coming.symlink_to(export)
        coming.rename(self.root / side / "latest")
        for domain in self.domains:
            statement = {
                "exportId": export,
                "version": len(list((self.root / side).iterdir())),
                "issued": "2026-01-02T12:00:00Z",
            }
            path = self.root / side / "freshness" / f"{domain}.json"
            _write(path, _json(statement), packed=False)
            for ending in (".sig", ".sigstore.json"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            sign_file(path, self.key, jws=False)

    def place(self, side: str, path: str) -> Path:
        """A file of the newest export."""
        return self.root / side / self.ids[side] / path

    def _concelier(self, place: Path, export: str, edition: str, advisories: int) -> None:
        listed = []
        for domain in self.domains:
            folder = place / "mirror" / domain
            rows = [{"id": f"CVE-2026-{n:04}", "for": domain, "edition": edition} for n in range(advisories)]
            _write(folder / "bundle.json", _json({"exportId": export, "advisories": rows}))
            manifest = {
                "schemaVersion": 1, "domainId": domain, "exportId": export, "generatedAt": "2026-01-02T12:00:00Z",
                "advisories": len(rows), "sources": [], "bundle": _described(folder / "bundle.json"),
            }  # fmt: skip
            _write(folder / "manifest.json", _json(manifest))
            _write(folder / "mirror-key.pub", self.key.public_key_pem(), packed=False)
            signatures = [
                path for name in ("bundle.json", "manifest.json") for path in _signed(folder / name, self.key)
            ]
            listed.append(
                {
                    "id": domain, "displayName": domain.title(), "exportId": export,
                    "generatedAt": "2026-01-02T12:00:00Z",
                    "manifest": _at(folder / "manifest.json", place.parent),
                    "bundle": _at(folder / "bundle.json", place.parent),
                    "signatures": [{"path": str(path.relative_to(place.parent))} for path in signatures],
                }
            )  # fmt: skip
            _write(
                place / "osv" / domain / "PyPI" / "CVE-2026-0001.json",
                _json(rows[0] if rows else {}),
                packed=False,
            )
            _write(place / "osv" / domain / "ecosystems.txt", b"PyPI\n", packed=False)
            layout(place / "oci" / domain / "trivy-db", f"db of {domain} {edition}".encode())
        _write(place / "index.json", _json({"schemaVersion": 1, "exportId": export, "domains": listed}))

    def _excititor(self, place: Path, export: str, edition: str, advisories: int) -> None:
        for domain in self.domains:
            folder = place / "mirror" / domain
            exports = []
            for key, name in (
                ("consensus-json", "consensus-json.json"),
                ("consensus-openvex", "consensus-openvex.openvex.json"),
            ):
                _write(
                    folder / "exports" / name,
                    _json({"domain": domain, "edition": edition, "of": key, "n": advisories}),
                )
                _signed(folder / "exports" / name, self.key)
                path = f"/excititor/exports/{export}/mirror/{domain}/exports/{name}"
                digest = digests.sha256((folder / "exports" / name).read_bytes())
                exports.append(
                    {
                        "exportKey": key,
                        "exportId": export,
                        "file": f"exports/{name}",
                        "path": path,
                        "artifactDigest": digest,
                    }
                )
            _write(folder / "index.json", _json({"schemaVersion": 1, "exportId": export, "exports": exports}))
            _signed(folder / "index.json", self.key)
            _write(folder / "mirror-key.pub", self.key.public_key_pem(), packed=False)
            _write(
                place / "vex" / domain / "vex-repository.tar.gz",
                gzip.compress(domain.encode(), mtime=0),
                packed=False,
            )


def layout(folder: Path, database: bytes, tags: Iterable[str] = ("2", "latest")) -> None:
    """An OCI image layout with one artefact of Trivy's kind."""
    layer, config = _blob(folder, database), _blob(folder, b"{}")
    manifest = {
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **config},
        "layers": [
            {"mediaType": _DB_LAYER, **layer, "annotations": {"org.opencontainers.image.title": "db.tar.gz"}}
        ],
    }  # fmt: skip
    described = {"mediaType": _MANIFEST, **_blob(folder, _json(manifest))}
    named = [{**described, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in tags]
    _write(folder / "index.json", _json({"schemaVersion": 2, "manifests": named}), packed=False)
    _write(folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', packed=False)


def _blob(folder: Path, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    _write(folder / "blobs" / "sha256" / digest, data, packed=False)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _signed(file: Path, key: PrivateKey) -> list[Path]:
    sign_file(file, key)
    return [file.with_name(file.name + ending) for ending in (".sig", ".jws", ".sigstore.json")]


def _described(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    return {"digest": digests.sha256(data), "sizeBytes": len(data)}


def _at(file: Path, side: Path) -> dict[str, Any]:
    return {"path": str(file.relative_to(side)), **_described(file)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _write(file: Path, data: bytes, *, packed: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    if packed and len(data) > 1024:
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(data, mtime=0))
        file.with_name(file.name + ".zst").write_bytes(zstd.compress(data))
