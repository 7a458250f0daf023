"""A publisher of mirrors on one data directory, and a reader who believes nothing that is not signed."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backports import zstd

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.bundles import freshness
from stellaops.bundles.freshness import Freshness
from stellaops.ingest.feeds import Side as Feeds
from stellaops.mirrors import forms
from stellaops.mirrors.domain import Domain, Side, read
from stellaops.mirrors.publish import Outcome, publish
from stellaops.signing import cosign_blob, detached_jws, ecdsa_p256, sigstore_bundle
from stellaops.signing.ecdsa_p256 import PublicKey
from tests.support.exporting import TENANT, Sender
from tests.unit.cli.running import osv, package, until

CVE = "CVE-2026-1000"
LEFT = osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.5.0")), aliases=[CVE])
RIGHT = osv("GHSA-bbbb-bbbb-bbbb", package("PyPI", "right", *until("2.0")), package("npm", "right"))
BOTH = {"left.json": LEFT, "right.json": RIGHT}
VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "https://example.org/acme",
    "author": "Acme",
    "role": "supplier",
    "timestamp": "2026-01-01T00:00:00Z",
    "version": 1,
    "statements": [
        {
            "vulnerability": {"name": name},
            "products": [{"@id": product}],
            "status": status,
            "timestamp": at,
            **more,
        }
        for name, product, status, at, more in (
            (CVE, "pkg:npm/app@1.0.0", "fixed", "2026-02-01T00:00:00Z", {}),
            (
                CVE,
                "pkg:npm/base@1.0.0",
                "affected",
                "2026-03-01T00:00:00Z",
                {"action_statement": "upgrade"},
            ),
            ("CVE-2026-2000", "pkg:npm/app@1.0.0", "fixed", "2026-04-01T00:00:00Z", {}),
        )
    ],
}


class Publisher(Sender):
    """Evidence, domains and where they are published to."""

    def __init__(self, data: Path, root: Path | None = None) -> None:
        super().__init__(data)
        self.root = MirrorDirectory(root or data / "mirrors")

    def filled(self) -> Publisher:
        """The same with two advisories and a document of VEX."""
        self.take(BOTH, "ghsa")
        self.take({"acme.json": VEX}, "acme", Feeds.VEX)
        return self

    def domain(self, name: str, tenant: str = TENANT, **more: Any) -> Domain:
        """Define a domain, or change it."""
        made = Domain(tenant, read({"id": name, **more}))
        self.local.mirror_domains.put(made)
        return made

    def publish(self, **more: Any) -> Outcome:
        """Publish into the root."""
        return publish(self.root, self.local.publish_tools, **more)

    def id_of(self, side: Side = "concelier") -> str:
        """The export id that readers follow."""
        found = self.root.latest(side)
        assert found is not None
        return found

    def tree(self, side: Side = "concelier") -> Path:
        """The tree that readers follow."""
        return self.root.root / side / self.id_of(side)

    def key(self) -> PublicKey:
        """The tenant's key."""
        return ecdsa_p256.load_public_key(self.local.tenant_keys.signer(TENANT).public_key_pem())


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def demand_signed(file: Path, key: PublicKey, *, jws: bool = True) -> bytes:
    """The content of a file whose signatures all hold."""
    data = file.read_bytes()
    digest = hashlib.sha256(data).digest()
    cosign_blob.verify(file.with_name(f"{file.name}.sig").read_bytes(), digest, key)
    sigstore_bundle.verify_blob(file.with_name(f"{file.name}.sigstore.json").read_bytes(), digest, key)
    if jws:
        detached_jws.verify(file.with_name(f"{file.name}.jws").read_bytes(), data, key)
    return data


def demand_listed(root: Path, side: Side, export_id: str, domain: str, key: PublicKey) -> None:
    """A domain's tree holds exactly what its signed list says, and packed forms are of the files beside them."""
    tree = root / side / export_id
    folder = forms.place(domain)
    listed = forms.parse_tree(demand_signed(tree / folder / forms.TREE, key, jws=False))
    assert (listed.side, listed.domain, listed.export_id) == (side, domain, export_id)
    own = {
        path: data
        for each in forms.folders(side, domain)
        if (tree / each).is_dir()
        for path, data in ((f"{each}/{name}", data) for name, data in snapshot(tree / each).items())
    }
    told = {f"{folder}/{forms.TREE}{suffix}" for suffix in ("", ".sig", ".sigstore.json", ".gz", ".zst")}
    assert {entry.path for entry in listed.files} | told == own.keys() | told
    for entry in listed.files:
        data = own[entry.path]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry.sha256, entry.bytes), entry.path
    for path, data in own.items():
        if path.endswith(".zst"):
            assert zstd.decompress(data) == own[path.removesuffix(".zst")]
        elif path.endswith(".gz") and path.removesuffix(".gz") in own:
            assert gzip.decompress(data) == own[path.removesuffix(".gz")]


def follow(root: Path, domain: str, key: PublicKey) -> Mapping[str, Any]:
    """Go from the index to the bundle as readers do, with every digest and signature; the bundle."""
    side = root / "concelier"
    index = json.loads((side / "latest" / forms.INDEX).read_bytes())
    (entry,) = [each for each in index["domains"] if each["id"] == domain]
    manifest = demand_signed(side / entry["manifest"]["path"], key)
    bundle = demand_signed(side / entry["bundle"]["path"], key)
    for told, data in ((entry["manifest"], manifest), (entry["bundle"], bundle)):
        assert told["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert told["sizeBytes"] == len(data)
    described, held = json.loads(manifest), json.loads(bundle)
    assert described["exportId"] == held["exportId"] == entry["exportId"] == index["exportId"]
    assert described["advisories"] == len(held["advisories"]) == entry["advisories"]
    assert all((side / each["path"]).is_file() for each in entry["signatures"])
    found: dict[str, Any] = held
    return found


def statement(root: Path, side: Side, domain: str, key: PublicKey) -> Freshness:
    """The freshness statement of a domain, whose signature holds."""
    file = root / side / forms.FRESHNESS / f"{domain}.json"
    data = file.read_bytes()
    cosign_blob.verify(file.with_name(f"{file.name}.sig").read_bytes(), hashlib.sha256(data).digest(), key)
    return freshness.parse(data)
