from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.secret import SecretBox

from stellaops.signing import cosign_key, ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import UnusableKey
from stellaops.signing.key_files import KeyForm

KEY = ecdsa_p256.generate()
SECRET = b"a passphrase that must not be told"
WRITTEN = key_files.write(KEY, KeyForm.COSIGN, SECRET)


def opened(pem: bytes) -> dict[str, Any]:
    """The JSON in a file."""
    value = json.loads(base64.b64decode(b"".join(pem.splitlines()[1:-1])))
    assert isinstance(value, dict)
    return value


def closed(value: Mapping[str, Any] | bytes, label: bytes = cosign_key.LABEL) -> bytes:
    """A file around some JSON."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(text), label)


def by_hand(der: bytes, passphrase: bytes, label: bytes, costs: Mapping[str, int]) -> bytes:
    """A key file made by other means than ours: OpenSSL's scrypt by way of hashlib, and NaCl."""
    n, r, p = (costs[name] for name in ("N", "r", "p"))
    salt, nonce = b"s" * 32, b"n" * 24
    secret = hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)
    sealed = SecretBox(secret).encrypt(der, nonce).ciphertext
    return closed(
        {
            "kdf": {"name": "scrypt", "params": dict(costs), "salt": base64.b64encode(salt).decode()},
            "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
            "ciphertext": base64.b64encode(sealed).decode(),
        },
        label,
    )


def refused(data: bytes, passphrase: bytes | None = SECRET) -> str:
    with pytest.raises(UnusableKey) as caught:
        key_files.read(data, passphrase)
    assert caught.value.__cause__ is None
    assert SECRET.decode() not in str(caught.value) + caught.value.advice
    return str(caught.value)


def test_a_key_goes_to_the_file_and_back() -> None:
    assert key_files.is_encrypted(WRITTEN)
    assert key_files.read(WRITTEN, SECRET).sign(b"x") == KEY.sign(b"x")


def test_the_file_has_the_costs_and_the_form_that_cosign_writes() -> None:
    value = opened(WRITTEN)
    assert value["kdf"]["params"] == {"N": 65536, "r": 8, "p": 1}
    assert [len(base64.b64decode(text)) for text in (value["kdf"]["salt"], value["cipher"]["nonce"])] == [
        32,
        24,
    ]
    assert list(value) == ["kdf", "cipher", "ciphertext"]
    assert max(map(len, WRITTEN.splitlines())) <= 64


def test_no_two_files_share_a_salt_or_a_nonce() -> None:
    one, other = opened(WRITTEN), opened(key_files.write(KEY, KeyForm.COSIGN, SECRET))
    assert one["kdf"]["salt"] != other["kdf"]["salt"]
    assert one["cipher"]["nonce"] != other["cipher"]["nonce"]


@pytest.mark.parametrize("label", [cosign_key.LABEL, cosign_key.OLD_LABEL])
@pytest.mark.parametrize("n", [2**15, 2**16, 2**17])
def test_the_costs_of_every_cosign_are_read(label: bytes, n: int) -> None:
    made = by_hand(KEY.to_pkcs8(), SECRET, label, {"N": n, "r": 8, "p": 1})
    assert key_files.read(made, SECRET).key_id == KEY.key_id
    assert key_files.read(made.replace(b"\n", b"\r\n"), SECRET).key_id == KEY.key_id


def test_a_key_under_an_empty_passphrase_is_read_and_never_written() -> None:
    made = by_hand(KEY.to_pkcs8(), b"", cosign_key.LABEL, {"N": 2**15, "r": 8, "p": 1})
    assert key_files.read(made, b"").key_id == KEY.key_id
    assert "needs a passphrase" in refused(made, None)
    for form in KeyForm:
        with pytest.raises(UnusableKey, match="empty passphrase"):
            key_files.write(KEY, form, b"")
    with pytest.raises(UnusableKey, match="always under a passphrase"):
        key_files.write(KEY, KeyForm.COSIGN, None)


@pytest.mark.parametrize(
    ("passphrase", "said"), [(None, "needs a passphrase"), (b"", "another one"), (b"x", "another one")]
)
def test_a_wrong_or_missing_passphrase_is_told_without_telling_it(
    passphrase: bytes | None, said: str
) -> None:
    assert said in refused(WRITTEN, passphrase)


@pytest.mark.parametrize(
    "costs",
    [{"N": 2**40}, {"N": 2**24}, {"r": 2**30}, {"p": 2**30}, {"N": 0}, {"N": -1}, {"N": 3}, {"r": 0}, {"p": 0},
     {"N": 2}, {"N": 2**14}, {"r": 16}, {"p": 2}, {"N": 2**70}],
)  # fmt: skip
def test_costs_that_a_stranger_chose_are_refused_before_any_are_paid(
    costs: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def paid(*_: object, **__: object) -> bytes:
        raise AssertionError("scrypt was called")

    monkeypatch.setattr(cosign_key, "_derive", paid)
    value = opened(WRITTEN)
    value["kdf"]["params"] |= costs
    said = refused(closed(value))
    assert "scrypt" in said or "damaged" in said


@pytest.mark.parametrize(
    "change",
    [lambda v: v["kdf"].update(name="argon2"), lambda v: v["cipher"].update(name="none"), lambda v: v.pop("kdf"),
     lambda v: v.pop("ciphertext"), lambda v: v["kdf"].update(salt=""), lambda v: v["cipher"].update(nonce="AAAA"),
     lambda v: v.update(ciphertext="!"), lambda v: v.update(ciphertext=""), lambda v: v.update(ciphertext=1),
     lambda v: v["kdf"].update(params=None), lambda v: v["kdf"]["params"].update(N="65536")],
)  # fmt: skip
def test_json_of_another_shape_is_refused(change: Any) -> None:
    value = opened(WRITTEN)
    change(value)
    assert refused(closed(value))


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 4000, b'{"kdf":' * 1000])
def test_what_is_no_such_json_is_refused(text: bytes) -> None:
    assert "damaged" in refused(closed(text))


def test_a_file_that_is_too_large_or_half_written_is_refused() -> None:
    assert "damaged" in refused(WRITTEN + b"\n" * cosign_key.LARGEST)
    assert "more than" in refused(WRITTEN + b"\n" * key_files.LARGEST)
    for size in range(0, len(WRITTEN) - 2, 7):
        assert refused(WRITTEN[:size])


@settings(max_examples=25)  # most flips cost one scrypt
@given(place=st.integers(0, len(WRITTEN) - 2), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found_or_changes_nothing(place: int, flip: int) -> None:
    changed = bytearray(WRITTEN)
    changed[place] ^= flip
    try:
        key = key_files.read(bytes(changed), SECRET)
    except UnusableKey:
        return
    assert key.key_id == KEY.key_id


@given(data=st.binary(max_size=300))
def test_junk_raises_only_our_error(data: bytes) -> None:
    for text in (data, closed(data)):
        with pytest.raises(UnusableKey):
            key_files.read(text, SECRET)


def test_a_key_of_another_kind_in_the_right_form_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    costs = {"N": 2**15, "r": 8, "p": 1}
    assert "secp384r1" in refused(by_hand(other, SECRET, cosign_key.LABEL, costs))
    assert "PKCS#8" in refused(by_hand(b"no key at all", SECRET, cosign_key.LABEL, costs))


def test_pkcs8_and_what_openssl_writes_are_read_too() -> None:
    assert key_files.read(key_files.write(KEY, KeyForm.PKCS8, None), None).key_id == KEY.key_id
    under = key_files.write(KEY, KeyForm.PKCS8, SECRET)
    assert key_files.is_encrypted(under)
    assert key_files.read(under, SECRET).key_id == KEY.key_id
    plain = serialization.load_der_private_key(KEY.to_pkcs8(), None)
    for protection in (serialization.NoEncryption(), serialization.BestAvailableEncryption(SECRET)):
        sec1 = plain.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, protection
        )
        encrypted = b"ENCRYPTED" in sec1
        assert key_files.is_encrypted(sec1) is encrypted
        assert key_files.read(sec1, SECRET if encrypted else None).key_id == KEY.key_id


def test_no_file_shows_its_secret() -> None:
    assert KEY.to_pkcs8()[36:68] not in base64.b64decode(opened(WRITTEN)["ciphertext"])
    assert KEY.to_pkcs8()[36:68] in base64.b64decode(b"".join(KEY.to_pem(None).splitlines()[1:-1]))


def test_several_public_keys_in_one_file_are_read_in_their_order() -> None:
    other = ecdsa_p256.generate()
    both = KEY.public_key_pem() + b"# a remark\n" + other.public_key_pem()
    assert [key.key_id for key in ecdsa_p256.load_public_keys(both)] == [KEY.key_id, other.key_id]
    private = key_files.write(KEY, KeyForm.PKCS8, None)
    for wrong in (b"", b"junk", both[:-40], both + private, private, both + b"-----BEGIN CERTIFICATE-----"):
        with pytest.raises(UnusableKey):
            ecdsa_p256.load_public_keys(wrong)
