"""Signatures of manifests as cosign has them: under a tag, and as Sigstore bundles that refer to the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stellaops.bundles.oci import manifests
from stellaops.bundles.oci.manifests import Descriptor, Manifest, WireManifest, blob
from stellaops.bundles.oci.names import Repository
from stellaops.core import canonical_json
from stellaops.core.digests import PREFIX, Digest
from stellaops.signing import cosign_blob, dsse, sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey, load_public_key
from stellaops.signing.interface import Signer

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
LARGEST_PAYLOAD = 64 << 10

_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
_EPOCH = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest with signatures, and the blobs that it names and that are not at the registry yet."""

    manifest: Manifest
    blobs: tuple[tuple[Descriptor, bytes], ...]


def payload(repository: Repository, digest: Digest) -> bytes:
    """What is signed of a manifest: its digest, and the name that it was signed under."""
    return canonical_json.encode(
        {
            "critical": {
                "identity": {"docker-reference": str(repository)},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )


def sign(repository: Repository, digest: Digest, signer: Signer, others: Sequence[Descriptor] = ()) -> Signed:
    """The manifest for cosign's tag, with a signature more.

    Args:
        others: layers with the signatures that are there already; they stay.

    Raises:
        StellaError: the key cannot be used, or its signature does not hold.
    """
    message = payload(repository, digest)
    signature = signer.sign(message)
    load_public_key(signer.public_key_pem()).verify(signature, hashlib.sha256(message).digest())
    encoded = cosign_blob.encode(signature).decode("ascii")
    bare = blob(message, SIMPLE_SIGNING)
    layer = Descriptor(bare.media_type, bare.digest, bare.bytes, {SIGNATURE: encoded})
    layers = (*others, layer)
    config = _config([each.digest for each in layers])
    described = blob(config, _IMAGE_CONFIG)
    return Signed(manifests.build(described, layers), ((layer, message), (described, config)))


def _config(layers: Sequence[Digest]) -> bytes:
    wire: dict[str, Any] = {
        "architecture": "",
        "config": {},
        "created": _EPOCH,
        "history": [{"created": _EPOCH} for _ in layers],
        "os": "",
        "rootfs": {"diff_ids": list(layers), "type": "layers"},
    }
    return canonical_json.encode(wire)


def signatures(manifest: WireManifest) -> tuple[Descriptor, ...]:
    """The layers with signatures in the manifest of cosign's tag."""
    return tuple(layer.sound() for layer in manifest.layers if layer.media_type == SIMPLE_SIGNING)


def holds(layer: Descriptor, message: bytes, digest: Digest, keys: Sequence[PublicKey]) -> bool:
    """Whether a signature is over a manifest's digest and by one of some keys.

    Args:
        message: the content of the layer.
    """
    try:
        critical = msgspec.json.decode(message)["critical"]
        signature = cosign_blob.decode(layer.annotations[SIGNATURE].encode("ascii"))
        if critical["image"]["docker-manifest-digest"] != digest:
            return False
    except (BadSignature, LookupError, TypeError, ValueError):
        return False
    return any(_verifies(key, signature, message) for key in keys)


def _verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, hashlib.sha256(message).digest())
    except BadSignature:
        return False
    return True


def bundle(subject: Descriptor, signer: Signer) -> Signed:
    """The same as a Sigstore bundle that refers to the manifest, as cosign 3 looks for it.

    Raises:
        StellaError: the key cannot be used, or its signature does not hold.
    """
    statement = canonical_json.encode(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": {},
            "predicateType": PREDICATE,
            "subject": [{"digest": {"sha256": subject.digest.removeprefix(PREFIX)}}],
        }
    )
    key = load_public_key(signer.public_key_pem())
    digest = dsse.digest(dsse.IN_TOTO, statement)
    signature = signer.sign_digest(digest)
    key.verify(signature, digest)
    content = sigstore_bundle.encode_statement(key, statement, signature)
    layer = blob(content, sigstore_bundle.MEDIA_TYPE)
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": PREDICATE,
        "io.stellaops.keyId": signer.key_id,
    }
    config = blob(manifests.EMPTY, manifests.EMPTY_TYPE)
    manifest = manifests.build(
        config, [layer], artifact_type=sigstore_bundle.MEDIA_TYPE, subject=subject, annotations=annotations
    )
    return Signed(manifest, ((layer, content), (config, manifests.EMPTY)))


def is_ours(entry: Descriptor, key_id: str) -> bool:
    """Whether a referrer is a Sigstore bundle by a key."""
    return (
        entry.artifact_type == sigstore_bundle.MEDIA_TYPE
        and entry.annotations.get("io.stellaops.keyId") == key_id
    )
