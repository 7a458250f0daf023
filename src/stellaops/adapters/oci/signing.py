"""Signatures of a manifest at its registry: cosign's tag, and the index of what refers to it."""

from __future__ import annotations

from collections.abc import Sequence

from stellaops.adapters.oci import cosign, downloads
from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.uploads import Content, upload
from stellaops.bundles.oci import manifests, referrers
from stellaops.bundles.oci.manifests import Descriptor, Manifest
from stellaops.bundles.oci.names import fallback_tag, signature_tag
from stellaops.core.digests import Digest
from stellaops.exports.errors import VerifyFailed
from stellaops.signing.ecdsa_p256 import PublicKey, load_public_key
from stellaops.signing.interface import Signer


def sign(registry: RegistryClient, subject: Descriptor, signer: Signer) -> None:
    """See that a manifest carries a key's signature in both forms; the signatures of others stay.

    Raises:
        StellaError: the key cannot be used; or see `RegistryClient`.
    """
    key = load_public_key(signer.public_key_pem())
    there = _signatures(registry, subject.digest)
    if not _signed(registry, there, subject.digest, [key]):
        _send(registry, made := cosign.sign(registry.repository, subject.digest, signer, there))
        registry.put_manifest(made.manifest, signature_tag(subject.digest))
    entries, _ = registry.referrers(subject.digest)
    if not any(cosign.is_ours(entry, key.key_id) for entry in entries):
        _send(registry, made := cosign.bundle(subject, signer))
        refer(registry, made.manifest, subject.digest)


def demand_signature(registry: RegistryClient, digest: Digest, keys: Sequence[PublicKey]) -> None:
    """See that a manifest is signed by one of some keys.

    Raises:
        VerifyFailed: it is not.
    """
    if not _signed(registry, _signatures(registry, digest), digest, keys):
        raise VerifyFailed(f"{registry.repository.at(digest)} has no signature by a key of the tenant")


def refer(registry: RegistryClient, manifest: Manifest, subject: Digest) -> None:
    """Send a manifest that refers to another; where the registry keeps no index of that, we do."""
    if registry.put_manifest(manifest):
        return
    entries, kept = registry.referrers(subject)
    if not kept:
        fresh = referrers.added(entries, manifest.descriptor())
        if len(fresh) > len(entries):
            registry.put_manifest(referrers.write(fresh), fallback_tag(subject))


def forget(registry: RegistryClient, digest: Digest) -> None:
    """Remove the signatures of a manifest that was removed, and the index of what referred to it."""
    entries, kept = registry.referrers(digest)
    for entry in entries:
        registry.remove_manifest(entry.digest)
    for tag in (signature_tag(digest), *(() if kept else (fallback_tag(digest),))):
        found = registry.digest_of(tag)
        if found is not None:
            registry.remove_manifest(found)


def _signatures(registry: RegistryClient, digest: Digest) -> tuple[Descriptor, ...]:
    found = registry.manifest(signature_tag(digest))
    return cosign.signatures(manifests.parse(found.content)) if found else ()


def _signed(
    registry: RegistryClient, layers: Sequence[Descriptor], digest: Digest, keys: Sequence[PublicKey]
) -> bool:
    return any(
        cosign.holds(layer, downloads.small(registry, layer, cosign.LARGEST_PAYLOAD), digest, keys)
        for layer in layers
        if layer.bytes <= cosign.LARGEST_PAYLOAD
    )


def _send(registry: RegistryClient, made: cosign.Signed) -> None:
    for blob, content in made.blobs:
        if not registry.has(blob):
            upload(registry, Content(blob, content))
