"""The signatures of a bundle root: made together after packing, checked together before anything else is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from stellaops.bundles import layout, provenance
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.kit.tree import Readable, UntrustedFile
from stellaops.signing import cosign_blob, detached_jws, dsse, ecdsa_p256, sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey
from stellaops.signing.interface import Signer

LARGEST_STATEMENT_BUNDLE = provenance.LARGEST * 4 // 3 + sigstore_bundle.LARGEST_MESSAGE_BUNDLE


def make(signer: Signer, files: Mapping[str, Digest], statement: bytes | None) -> dict[str, bytes]:
    """All signature files of a bundle root, by path.

    Args:
        signer: the tenant's key.
        files: digests of the files of the root; those that have signatures of their own are picked out.
        statement: `provenance.json`, where there is one.

    Raises:
        StellaError: the signer cannot sign, or made a signature that does not hold.
    """
    key = ecdsa_p256.load_public_key(signer.public_key_pem())
    made: dict[str, bytes] = {}
    for path in sorted(path for path in files if layout.signed_stem(path)):
        digest = _bytes(files[path])
        signature = signer.sign_digest(digest)
        key.verify(signature, digest)
        plain, bundle = layout.signature_paths(path)
        made[plain] = cosign_blob.encode(signature)
        made[bundle] = sigstore_bundle.encode_blob(key, digest, signature)
    if statement is not None:
        digest = dsse.digest(dsse.IN_TOTO, statement)
        signature = signer.sign_digest(digest)
        key.verify(signature, digest)
        made[layout.PROVENANCE_BUNDLE] = sigstore_bundle.encode_statement(key, statement, signature)
    return made


def make_jws(signer: Signer, manifests: Mapping[str, bytes]) -> dict[str, bytes]:
    """The detached JWS over each manifest, by path of the signature.

    Args:
        signer: the tenant's key.
        manifests: the bytes of both, by path.

    Raises:
        StellaError: the signer cannot sign, or made a signature that does not hold.
    """
    key = ecdsa_p256.load_public_key(signer.public_key_pem())
    made: dict[str, bytes] = {}
    for path, name in layout.JWS_PATHS.items():
        made[name] = detached_jws.sign(signer, manifests[path])
        detached_jws.verify(made[name], manifests[path], key)
    return made


def signer_of(tree: Readable, manifest: bytes, trusted: Sequence[PublicKey]) -> PublicKey:
    """Which trusted key signed the manifest.

    Raises:
        BadSignature: none did.
        UntrustedFile: the signature cannot be read.
    """
    plain, _ = layout.signature_paths(layout.MANIFEST)
    signature = tree.read(plain, cosign_blob.LARGEST)
    digest = hashlib.sha256(manifest).digest()
    for key in trusted:
        try:
            cosign_blob.verify(signature, digest, key)
        except BadSignature:
            continue
        return key
    tried = ", ".join(key.key_id for key in trusted)
    raise BadSignature(f"no trusted key signed export.json (tried: {tried or 'none was given'})")


def problems(tree: Readable, key: PublicKey, files: Mapping[str, Digest]) -> list[str]:
    """What is wrong with the signatures over these files, each of which must be there in every form.

    Args:
        tree: the bundle root.
        key: the signer of the manifest, who must have made all other signatures too.
        files: digests of all files as they lie there, by path.
    """
    found = []
    for path in sorted(path for path in files if layout.signed_stem(path)):
        digest = _bytes(files[path])
        plain, bundle = layout.signature_paths(path)
        try:
            cosign_blob.verify(tree.read(plain, cosign_blob.LARGEST), digest, key)
        except (BadSignature, UntrustedFile) as error:
            found.append(f"{plain}: {error}")
        try:
            data = tree.read(bundle, sigstore_bundle.LARGEST_MESSAGE_BUNDLE)
            sigstore_bundle.verify_blob(data, digest, key)
        except (BadSignature, UntrustedFile) as error:
            found.append(f"{bundle}: {error}")
    return found


def jws_problems(tree: Readable, key: PublicKey, manifests: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the detached JWS over the manifests, each of which must be there.

    Args:
        tree: the bundle root.
        key: the signer of the manifest, who must have made these too.
        manifests: the bytes of both, by path; an applied tree has one of them alone.
    """
    found = []
    for path, name in layout.JWS_PATHS.items():
        if path not in manifests:
            continue
        try:
            detached_jws.verify(tree.read(name, detached_jws.LARGEST), manifests[path], key)
        except (BadSignature, UntrustedFile) as error:
            found.append(f"{name}: {error}")
    return found


def statement_problems(tree: Readable, key: PublicKey, statement: bytes) -> Iterable[str]:
    """What is wrong with the signature over `provenance.json`, whose bytes its envelope must carry."""
    try:
        data = tree.read(layout.PROVENANCE_BUNDLE, LARGEST_STATEMENT_BUNDLE)
        sigstore_bundle.verify_statement(data, statement, key)
    except (BadSignature, UntrustedFile) as error:
        return [f"{layout.PROVENANCE_BUNDLE}: {error}"]
    return []


def _bytes(digest: Digest) -> bytes:
    return bytes.fromhex(digest.removeprefix(digests.PREFIX))
