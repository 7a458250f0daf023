from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.signing import cosign_blob, dsse, ecdsa_p256, sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature

KEY = ecdsa_p256.generate()
OTHER = ecdsa_p256.generate()
DIGEST = hashlib.sha256(b"message").digest()
SIGNATURE = KEY.sign_digest(DIGEST)
PAYLOAD = b'{"_type":"x"}'
PLAIN = cosign_blob.encode(SIGNATURE)
BLOB = sigstore_bundle.encode_blob(KEY.public, DIGEST, SIGNATURE)
STATEMENT = sigstore_bundle.encode_statement(
    KEY.public, PAYLOAD, KEY.sign_digest(dsse.digest(dsse.IN_TOTO, PAYLOAD))
)


def refused(data: bytes) -> bool:
    """No form takes the data."""
    with pytest.raises(BadSignature):
        cosign_blob.verify(data, DIGEST, KEY.public)
    with pytest.raises(BadSignature):
        sigstore_bundle.verify_blob(data, DIGEST, KEY.public)
    with pytest.raises(BadSignature):
        sigstore_bundle.verify_statement(data, PAYLOAD, KEY.public)
    return True


def test_each_form_verifies_what_it_wrote() -> None:
    cosign_blob.verify(PLAIN, DIGEST, KEY.public)
    sigstore_bundle.verify_blob(BLOB, DIGEST, KEY.public)
    sigstore_bundle.verify_statement(STATEMENT, PAYLOAD, KEY.public)
    assert len(PLAIN) <= cosign_blob.LARGEST
    assert len(BLOB) <= sigstore_bundle.LARGEST_MESSAGE_BUNDLE


def test_another_key_message_or_payload_is_refused() -> None:
    other = hashlib.sha256(b"other").digest()
    for key, digest in ((OTHER.public, DIGEST), (KEY.public, other)):
        with pytest.raises(BadSignature):
            cosign_blob.verify(PLAIN, digest, key)
        with pytest.raises(BadSignature):
            sigstore_bundle.verify_blob(BLOB, digest, key)
    for key, payload in ((OTHER.public, PAYLOAD), (KEY.public, PAYLOAD + b" ")):
        with pytest.raises(BadSignature):
            sigstore_bundle.verify_statement(STATEMENT, payload, key)
    with pytest.raises(BadSignature):
        sigstore_bundle.verify_statement(STATEMENT, PAYLOAD, KEY.public, "text/plain")


@given(which=st.sampled_from([PLAIN, BLOB, STATEMENT]), place=st.integers(0), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found(which: bytes, place: int, flip: int) -> None:
    changed = bytearray(which)
    changed[place % len(changed)] ^= flip
    assert refused(bytes(changed))


@pytest.mark.parametrize("data", [BLOB, STATEMENT])
def test_another_writing_of_the_same_json_is_refused(data: bytes) -> None:
    value = json.loads(data)
    assert refused(json.dumps(value).encode())
    assert refused(json.dumps(value, separators=(",", ":")).encode() + b"\n")
    assert refused(json.dumps(dict(reversed(value.items())), separators=(",", ":")).encode())
    assert refused(json.dumps(value | {"more": 1}, separators=(",", ":"), sort_keys=True).encode())
    assert refused(data.replace(b"hint", b"hin\\u0074"))
    assert refused(data.replace(b'"mediaType"', b'"mediaType":"x","mediaType"'))


def test_a_hint_of_another_key_is_refused() -> None:
    for data in (BLOB, STATEMENT):
        assert refused(data.replace(KEY.public.hint.encode(), OTHER.public.hint.encode()))


def test_other_base64_of_the_same_signature_is_refused() -> None:
    assert refused(PLAIN + b"\n")
    assert refused(PLAIN[:40] + b"\n" + PLAIN[40:])
    assert refused(PLAIN.rstrip(b"=") + b"====")
    assert refused(base64.urlsafe_b64encode(SIGNATURE).rstrip(b"=") + b"!")


@given(data=st.binary(max_size=200))
def test_junk_is_refused(data: bytes) -> None:
    assert refused(data)


@pytest.mark.parametrize("data", [b"null", b"[]", b'{"messageSignature":[]}', b'{"messageSignature":{"signature":1}}',
                                  b'{"dsseEnvelope":{"signatures":{}}}', b'{"dsseEnvelope":{"signatures":[]}}',
                                  '{"messageSignature":{"signature":"é"}}'.encode(), b"[" * 100_000])  # fmt: skip
def test_json_of_another_shape_is_refused(data: bytes) -> None:
    assert refused(data)


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    encoded = dsse.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
