"""Detached JWS, held against another implementation of RFC 7515 and RFC 7797."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stellaops.signing import detached_jws, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature

KEY = ecdsa_p256.generate()
OTHER = ecdsa_p256.generate()
PAYLOAD = b'{"exportId":"x","text":"a.b"}'
SIGNED = detached_jws.sign(KEY, PAYLOAD)


def unpadded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def fields(signed: bytes = SIGNED) -> dict[str, object]:
    text = signed.split(b"..")[0]
    value = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    assert isinstance(value, dict)
    return value


def refused(data: bytes, payload: bytes = PAYLOAD) -> bool:
    with pytest.raises(BadSignature):
        detached_jws.verify(data, payload, KEY.public)
    return True


def test_the_header_says_what_was_promised() -> None:
    assert fields() == {"alg": "ES256", "b64": False, "crit": ["b64"], "kid": KEY.key_id, "typ": "JOSE"}
    assert len(SIGNED) <= detached_jws.LARGEST


@given(payload=st.binary(max_size=300))
def test_it_verifies_what_it_wrote_and_writes_it_but_once(payload: bytes) -> None:
    signed = detached_jws.sign(KEY, payload)
    assert signed == detached_jws.sign(KEY, payload)
    detached_jws.verify(signed, payload, KEY.public)
    assert refused(signed, payload + b"\n")


def by_joserfc(signed: bytes, payload: bytes, key: ecdsa_p256.PrivateKey) -> bool:
    public = ECKey.import_key(key.public_key_pem().decode())
    try:
        joserfc_jws.deserialize_compact(signed, public, payload=payload, algorithms=["ES256"])
    except JoseError:
        return False
    return True


@pytest.mark.parametrize("payload", [PAYLOAD, b"", b"\x00\xff\n.", "é.".encode() * 1000])
def test_another_implementation_agrees(payload: bytes) -> None:
    signed = detached_jws.sign(KEY, payload)
    assert by_joserfc(signed, payload, KEY)
    assert not by_joserfc(signed, payload + b"x", KEY)
    assert not by_joserfc(signed, payload, OTHER)


def test_what_another_implementation_signs_with_our_header_is_accepted() -> None:
    """Its signature is another one, since only ours is deterministic."""
    private = ECKey.import_key(KEY.to_pem(None).decode())
    header = {"alg": "ES256", "b64": False, "crit": ["b64"], "kid": KEY.key_id, "typ": "JOSE"}
    made = joserfc_jws.serialize_compact(header, PAYLOAD, private, algorithms=["ES256"])
    both = made.encode().split(b".")[0] + b".." + made.encode().rpartition(b".")[2]
    assert both != SIGNED
    detached_jws.verify(both, PAYLOAD, KEY.public)


@given(place=st.integers(0), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found(place: int, flip: int) -> None:
    changed = bytearray(SIGNED)
    changed[place % len(changed)] ^= flip
    assert refused(bytes(changed))


@given(place=st.integers(0), flip=st.integers(1, 255))
def test_any_flipped_byte_of_the_payload_is_found(place: int, flip: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[place % len(changed)] ^= flip
    assert refused(SIGNED, bytes(changed))


def test_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        detached_jws.verify(SIGNED, PAYLOAD, OTHER.public)
    renamed = detached_jws.header(OTHER.key_id) + SIGNED[SIGNED.index(b"..") :]
    assert refused(renamed)
    with pytest.raises(BadSignature):
        detached_jws.verify(renamed, PAYLOAD, OTHER.public)


@pytest.mark.parametrize(
    "changed",
    [{"alg": "none"}, {"alg": "HS256"}, {"b64": True}, {"crit": []}, {"typ": "JWT"}, {"jku": "https://x"},
     {"jwk": {}}, {"kid": KEY.key_id.upper()}],
)  # fmt: skip
def test_a_header_of_another_making_is_refused_whatever_it_signs(changed: dict[str, object]) -> None:
    header = unpadded(json.dumps(fields() | changed, separators=(",", ":"), sort_keys=True).encode())
    signature = KEY.sign(header + b"." + PAYLOAD)
    r, s = decode_dss_signature(signature)
    assert refused(header + b".." + unpadded(r.to_bytes(32, "big") + s.to_bytes(32, "big")))


def test_other_writings_of_the_same_signature_are_refused() -> None:
    head, _, tail = SIGNED.partition(b"..")
    for wrong in (
        SIGNED + b"\n", SIGNED + b"=", b" " + SIGNED, head + b"." + unpadded(PAYLOAD) + b"." + tail,
        head + b"." + PAYLOAD + b"." + tail, head + b".." + tail + b"..", head + b".." + tail[:-1], head + b"..",
        b".." + tail, b"", b"..", head, head + b".." + base64.b64encode(b"\xff" * 64),
        head + b".." + unpadded(b"\0" * 64), head + b".." + unpadded(b"\xff" * 64),
        head + b".." + unpadded(KEY.sign(b"x")),
    ):  # fmt: skip
        assert refused(wrong)


@given(data=st.binary(max_size=200))
def test_junk_is_refused(data: bytes) -> None:
    assert refused(data)
    assert refused(detached_jws.header(KEY.key_id) + b".." + data)
