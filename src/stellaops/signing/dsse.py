"""DSSE: a payload and its signature over the pre-authentication encoding of both type and payload."""

from __future__ import annotations

import hashlib

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of in-toto statements."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def digest(payload_type: str, payload: bytes) -> bytes:
    """The 32-byte SHA-256 digest that is signed."""
    return hashlib.sha256(pre_authentication_encoding(payload_type, payload)).digest()
