from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature, UnusableKey
from stellaops.signing.interface import Signer

KEY = ecdsa_p256.generate()
SECRET = b"a passphrase that must not be told"


def pem(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> tuple[bytes, bytes]:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def test_signatures_are_those_of_rfc_6979() -> None:
    """Appendix A.2.5, SHA-256, messages `sample` and `test`."""
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    key = ecdsa_p256.private_key(ec.derive_private_key(secret, ec.SECP256R1()))
    assert decode_dss_signature(key.sign(b"sample")) == (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    assert decode_dss_signature(key.sign(b"test")) == (
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    )


@given(message=st.binary(max_size=300))
def test_a_message_and_its_digest_have_one_signature(message: bytes) -> None:
    signer: Signer = KEY
    digest = hashlib.sha256(message).digest()
    assert signer.sign(message) == signer.sign_digest(digest) == signer.sign(message)
    KEY.public.verify(signer.sign(message), digest)


@given(message=st.binary(max_size=50), place=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_signature_does_not_hold(message: bytes, place: int, flip: int) -> None:
    signature = bytearray(KEY.sign(message))
    signature[place % len(signature)] ^= flip
    with pytest.raises(BadSignature):
        KEY.public.verify(bytes(signature), hashlib.sha256(message).digest())


def test_der_that_is_not_minimal_is_refused() -> None:
    digest = hashlib.sha256(b"x").digest()
    signature = KEY.sign_digest(digest)
    r, s = decode_dss_signature(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    body = signature[2:]
    padded = b"\x30" + bytes([len(body) + 1]) + b"\x02" + bytes([body[1] + 1]) + b"\0" + body[2:]
    long_form = b"\x30\x81" + signature[1:]
    for wrong in (
        padded,
        long_form,
        signature + b"\0",
        signature[:-1],
        b"",
        encode_dss_signature(r + order, s),
    ):
        with pytest.raises(BadSignature):
            KEY.public.verify(wrong, digest)


def test_the_key_id_is_the_digest_of_the_public_key() -> None:
    der = serialization.load_pem_public_key(KEY.public_key_pem()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert KEY.key_id == hashlib.sha256(der).hexdigest()
    assert ecdsa_p256.load_public_key(KEY.public_key_pem()) == KEY.public


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_only_p256_is_accepted(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> None:
    private, public = pem(key)
    with pytest.raises(UnusableKey):
        ecdsa_p256.load_public_key(public)
    with pytest.raises(UnusableKey):
        ecdsa_p256.load_private_key(private, None)


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_junk_is_no_key(data: bytes) -> None:
    with pytest.raises(UnusableKey):
        ecdsa_p256.load_public_key(data)
    with pytest.raises(UnusableKey):
        ecdsa_p256.load_private_key(data, None)


def test_a_private_key_goes_to_pem_and_back() -> None:
    assert ecdsa_p256.load_private_key(KEY.to_pem(None), None).sign(b"x") == KEY.sign(b"x")
    assert ecdsa_p256.load_private_key(KEY.to_pem(SECRET), SECRET).sign(b"x") == KEY.sign(b"x")


@pytest.mark.parametrize(
    ("protection", "given"), [(SECRET, None), (SECRET, b"another"), (None, SECRET), (SECRET, b"")]
)
def test_a_wrong_passphrase_is_told_without_telling_it(protection: bytes | None, given: bytes | None) -> None:
    with pytest.raises(UnusableKey) as caught:
        ecdsa_p256.load_private_key(KEY.to_pem(protection), given)
    assert caught.value.__cause__ is None
    assert SECRET.decode() not in str(caught.value) + caught.value.advice


def test_no_key_shows_its_secret() -> None:
    secret = KEY.to_pem(None).splitlines()[1].decode()
    assert secret not in repr(KEY)
    assert repr(KEY) == f"PrivateKey(public=PublicKey(key_id='{KEY.key_id}'))"
