"""`X.jws`: a detached JWS over a file as it is (RFC 7515 appendix F, RFC 7797 `b64: false`), by ES256.

Compact serialisation with an empty middle: protected header, two dots, signature. The header is canonical JSON and a
function of the key alone. So a verifier takes nothing from the file but the signature, builds the rest again and
compares: no algorithm, no key and no extension is ever taken from what a stranger wrote.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from stellaops.core import canonical_json
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey
from stellaops.signing.interface import Signer

LARGEST = 512
"""More bytes than any such file has."""
_HALF = 32
"""Bytes of each of the two numbers of an ES256 signature (RFC 7518 §3.4)."""


def header(key_id: str) -> bytes:
    """The protected header as base64url: `alg`, `b64`, `crit`, `kid` (see `PublicKey.key_id`) and `typ`."""
    fields = {"alg": "ES256", "b64": False, "crit": ["b64"], "kid": key_id, "typ": "JOSE"}
    return _base64url(canonical_json.encode(fields))


def sign(signer: Signer, payload: bytes) -> bytes:
    """The file for a payload, which need not be text.

    Raises:
        StellaError: the signer cannot sign.
    """
    hasher = begin(signer.key_id)
    hasher.update(payload)
    return sign_hashed(signer, hasher)


def begin(key_id: str) -> hashlib._Hash:
    """A hasher that is to be given the payload, piece by piece, for `sign_hashed` or `verify_hashed`."""
    return hashlib.sha256(header(key_id) + b".")


def sign_hashed(signer: Signer, hasher: hashlib._Hash) -> bytes:
    """The file for a payload that a hasher of `begin` was given.

    Raises:
        StellaError: the signer cannot sign.
    """
    r, s = decode_dss_signature(signer.sign_digest(hasher.digest()))
    return header(signer.key_id) + b".." + _base64url(r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big"))


def verify(data: bytes, payload: bytes, key: PublicKey) -> None:
    """Check a file over a payload.

    Raises:
        BadSignature: it does not hold, names another key or algorithm, or is not in its only form.
    """
    hasher = begin(key.key_id)
    hasher.update(payload)
    verify_hashed(data, hasher, key)


def verify_hashed(data: bytes, hasher: hashlib._Hash, key: PublicKey) -> None:
    """Check a file over a payload that a hasher of `begin` was given.

    Raises:
        BadSignature: see `verify`.
    """
    stated, dots, signature = data.partition(b"..")
    if stated != header(key.key_id) or not dots:
        raise BadSignature(
            "the JWS names another key or algorithm, or its header is not in its canonical form"
        )
    key.verify(_der(signature), hasher.digest())


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _der(text: bytes) -> bytes:
    try:
        both = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the signature of the JWS is not base64url") from error
    if len(both) != 2 * _HALF or _base64url(both) != text:
        raise BadSignature("the signature of the JWS is not in its canonical form")
    return encode_dss_signature(int.from_bytes(both[:_HALF], "big"), int.from_bytes(both[_HALF:], "big"))
