"""`X.sigstore.json`: Sigstore bundles v0.3 made with a key, which they name by its hint.

A bundle is written as canonical JSON and is a pure function of the key, what is signed, and the signature. So a
verifier takes nothing from a bundle but the signature, builds the bundle again and compares: any other byte counts.
"""

from __future__ import annotations

import base64
from typing import Any

from stellaops.core import canonical_json
from stellaops.signing import cosign_blob, dsse
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
LARGEST_MESSAGE_BUNDLE = 4096
"""More bytes than any bundle over a blob has."""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bundle(key: PublicKey, content: dict[str, Any]) -> bytes:
    material = {"publicKey": {"hint": key.hint}}
    return canonical_json.encode({"mediaType": MEDIA_TYPE, "verificationMaterial": material, **content})


def encode_blob(key: PublicKey, digest: bytes, signature: bytes) -> bytes:
    """The bundle for a DER signature over a blob with a 32-byte SHA-256 digest."""
    message_digest = {"algorithm": "SHA2_256", "digest": _base64(digest)}
    return _bundle(
        key, {"messageSignature": {"messageDigest": message_digest, "signature": _base64(signature)}}
    )


def encode_statement(
    key: PublicKey, payload: bytes, signature: bytes, payload_type: str = dsse.IN_TOTO
) -> bytes:
    """The bundle for a DER signature over a DSSE payload (`dsse.digest`), which it carries."""
    envelope = {
        "payload": _base64(payload),
        "payloadType": payload_type,
        "signatures": [{"sig": _base64(signature)}],
    }
    return _bundle(key, {"dsseEnvelope": envelope})


def verify_blob(data: bytes, digest: bytes, key: PublicKey) -> None:
    """Check a bundle over the 32-byte SHA-256 digest of a blob.

    Raises:
        BadSignature: it does not hold, is another key's, or is not in its only form.
    """
    signature = _signature(data, "messageSignature", "signature")
    if encode_blob(key, digest, signature) != data:
        raise BadSignature("the Sigstore bundle names another key or digest, or is not in its canonical form")
    key.verify(signature, digest)


def verify_statement(data: bytes, payload: bytes, key: PublicKey, payload_type: str = dsse.IN_TOTO) -> None:
    """Check a DSSE bundle that must carry exactly this payload.

    Raises:
        BadSignature: it does not hold, is another key's, carries something else, or is not in its only form.
    """
    signature = _signature(data, "dsseEnvelope", "signatures", 0, "sig")
    if encode_statement(key, payload, signature, payload_type) != data:
        raise BadSignature(
            "the Sigstore bundle names another key or payload, or is not in its canonical form"
        )
    key.verify(signature, dsse.digest(payload_type, payload))


def read_statement(data: bytes, key: PublicKey, payload_type: str = dsse.IN_TOTO) -> bytes:
    """The payload that a DSSE bundle carries, with a signature that holds.

    Raises:
        BadSignature: see `verify_statement`.
    """
    try:
        payload = base64.b64decode(_text(data, "dsseEnvelope", "payload"), validate=True)
    except ValueError as error:
        raise BadSignature("the Sigstore bundle is not in its canonical form") from error
    verify_statement(data, payload, key, payload_type)
    return payload


def _signature(data: bytes, *path: str | int) -> bytes:
    return cosign_blob.decode(_text(data, *path).encode("ascii", "replace"))


def _text(data: bytes, *path: str | int) -> str:
    try:
        value = canonical_json.decode(data)
        for step in path:
            value = value[step]
    except (
        canonical_json.NotCanonical,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
    ) as error:
        raise BadSignature("the Sigstore bundle is not in its canonical form") from error
    if not isinstance(value, str):
        raise BadSignature("the Sigstore bundle is not in its canonical form")
    return value
