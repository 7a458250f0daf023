"""A CSAF provider in the layout of Red Hat's: VEX documents with hashes, signatures, listings and deletions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pysequoia import ArmorKind, SignatureMode, Tsk, armor, sign

HOME = "data/csaf/v2/vex/"
METADATA = ".well-known/csaf/provider-metadata.json"


def vex(cve: str, updated: str, status: str = "known_affected", title: str = "A flaw") -> bytes:
    """A VEX document about one product, as a provider writes it."""
    product = "pkg:rpm/redhat/demo@1.0"
    return json.dumps(
        {
            "document": {
                "category": "csaf_vex", "csaf_version": "2.0", "title": title,
                "distribution": {"tlp": {"label": "WHITE"}},
                "publisher": {"category": "vendor", "name": "Red Hat Product Security",
                              "namespace": "https://www.redhat.com"},
                "tracking": {"id": cve, "status": "final", "version": "1", "initial_release_date": updated,
                             "current_release_date": updated},
            },
            "product_tree": {"branches": [{
                "category": "product_version", "name": "demo-1.0",
                "product": {"product_id": "demo", "name": "demo-1.0",
                            "product_identification_helper": {"purl": product}},
            }]},
            "vulnerabilities": [{"cve": cve, "product_status": {status: ["demo"]}}],
        }
    ).encode()  # fmt: skip


@dataclass
class Provider:
    """What lies at the provider, as paths from the root of its web server; listings are written by `publish`.

    Attributes:
        home: the folder of the documents and their listings.
        signing: makes the signatures; None leaves them out.
    """

    home: str = HOME
    signing: Tsk | None = None
    documents: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def put(self, name: str, updated: str, **more: Any) -> None:
        """Add or change a document such as `2024/cve-2024-0001`."""
        self.documents[f"{name}.json"] = updated, vex(name.rpartition("/")[2].upper(), updated, **more)

    def delete(self, name: str, at: str) -> None:
        """Delete a document; the listing of changes goes on naming it, as Red Hat's does."""
        updated, _ = self.documents[f"{name}.json"]
        self.documents[f"{name}.json"] = updated, b""
        self.deleted[f"{name}.json"] = at

    def publish(self) -> dict[str, bytes]:
        """Every file by its path from the root."""
        self.files.clear()
        for path, (_, content) in self.documents.items():
            if content:
                self._document(f"{self.home}{path}", content)
        changes = sorted(((at, path) for path, (at, _) in self.documents.items()), reverse=True)
        self.files[f"{self.home}changes.csv"] = "".join(f'"{path}","{at}"\n' for at, path in changes).encode()
        if self.deleted:
            lines = [f'"{path}","{at}"\n' for path, at in self.deleted.items()]
            self.files[f"{self.home}deletions.csv"] = "".join(lines).encode()
        return self.files

    def announce(self, url: str) -> dict[str, bytes]:
        """The same with metadata and the public key, for a server at an address that ends with a slash."""
        self.publish()
        told: dict[str, Any] = {
            "publisher": {"category": "vendor", "name": "Red Hat Product Security"},
            "distributions": [{"directory_url": f"{url}{self.home}"}],
        }
        if self.signing is not None:
            fingerprint = self.signing.extract_certificate().fingerprint
            self.files[f"openpgp/{fingerprint}.asc"] = self.public
            told["public_openpgp_keys"] = [
                {"fingerprint": fingerprint, "url": f"{url}openpgp/{fingerprint}.asc"}
            ]
        self.files[METADATA] = json.dumps(told).encode()
        return self.files

    @property
    def public(self) -> bytes:
        """The public key."""
        assert self.signing is not None
        return armor(bytes(self.signing.extract_certificate()), ArmorKind.PublicKey).encode()

    def write(self, root: Path) -> Path:
        """Lay the files out in a folder, as a copy of the web server has them."""
        for path, content in self.files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return root

    def _document(self, path: str, content: bytes) -> None:
        name = path.rpartition("/")[2]
        self.files[path] = content
        for algorithm in ("sha256", "sha512"):
            stated = f"{hashlib.new(algorithm, content).hexdigest()}  {name}\n"
            self.files[f"{path}.{algorithm}"] = stated.encode()
        if self.signing is not None:
            signature = sign(self.signing.signer(), content, mode=SignatureMode.DETACHED)
            self.files[f"{path}.asc"] = signature


def served(files: dict[str, bytes]) -> dict[str, Any]:
    """Files as a server of these tests takes them."""
    return {f"/{path}": content for path, content in files.items()}
