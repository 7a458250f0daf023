"""Files of age: what they hold comes back, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles.encryption import age, bech32
from stellaops.bundles.encryption.errors import InvalidIdentity, InvalidRecipient, NoIdentity, Undecipherable

OURS, OTHER = age.Identity(bytes(range(32))), age.Identity(bytes(range(1, 33)))
SIZES = [0, 1, 15, 16, age.CHUNK - 1, age.CHUNK, age.CHUNK + 1, 3 * age.CHUNK]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[place : place + size] for place in range(0, len(data), size))


def sealed(data: bytes, *keys: age.Identity) -> bytes:
    return b"".join(age.encrypt([data], [key.recipient for key in keys or (OURS,)], os.urandom))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [1000, 1 << 16, 1 << 20])
def test_what_was_encrypted_comes_back(size: int, pieces: int) -> None:
    data = os.urandom(size)
    written = b"".join(age.encrypt(cut(data, pieces), [OTHER.recipient, OURS.recipient], os.urandom))
    assert b"".join(age.decrypt(cut(written, pieces), [OURS])) == data


def test_only_recipients_can_read() -> None:
    with pytest.raises(NoIdentity):
        list(age.decrypt([sealed(b"secret", OTHER)], [OURS]))


def test_a_file_needs_a_recipient() -> None:
    with pytest.raises(InvalidRecipient, match="no recipient"):
        list(age.encrypt([b"secret"], [], os.urandom))


def test_every_flipped_byte_is_found() -> None:
    written = sealed(b"a short text")
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1
        with pytest.raises((Undecipherable, NoIdentity)):
            list(age.decrypt([bytes(changed)], [OURS]))


@pytest.mark.parametrize("size", [10, age.CHUNK, 2 * age.CHUNK])
def test_a_file_cut_off_anywhere_is_found(size: int) -> None:
    written = sealed(os.urandom(size))
    for length in {*range(0, 200, 7), *range(len(written) - 20, len(written)), len(written) - age.CHUNK - 16}:
        with pytest.raises((Undecipherable, NoIdentity)):
            list(age.decrypt([written[: max(0, length)]], [OURS]))


def test_chunks_in_another_order_are_found() -> None:
    written = sealed(os.urandom(3 * age.CHUNK))
    head = len(written) - 3 * (age.CHUNK + age.OVERHEAD)
    first, second, third = cut(written[head:], age.CHUNK + age.OVERHEAD)
    with pytest.raises(Undecipherable, match="chunk 0"):
        list(age.decrypt([written[:head] + second + first + third], [OURS]))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_age_file_end_in_our_errors(data: bytes) -> None:
    for given_bytes in (data, b"age-encryption.org/v1\n" + data):
        with pytest.raises((Undecipherable, NoIdentity)):
            list(age.decrypt([given_bytes], [OURS]))


def test_a_header_without_end_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        yield b"age-encryption.org/v1\n"
        while True:
            yield b"-> X25519 " + b"A" * 43 + b"\n"

    with pytest.raises(Undecipherable, match="header"):
        list(age.decrypt(endless(), [OURS]))


def test_keys_are_read_as_they_are_written() -> None:
    text = f"# created by hand\n\n{OURS.secret()}\n{OTHER.secret()}\n"
    assert [key.recipient for key in age.identities(text)] == [OURS.recipient, OTHER.recipient]
    assert age.Recipient.parse(str(OURS.recipient)) == OURS.recipient


@pytest.mark.parametrize(
    "text", ["", "age1", "AGE1QQQ", "age1" + "q" * 58, str(OURS.recipient)[:-1] + "b", "é"]
)
def test_texts_that_are_no_recipients_are_refused(text: str) -> None:
    with pytest.raises(InvalidRecipient):
        age.Recipient.parse(text)


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1QQQ\n", "hello"])
def test_texts_that_hold_no_identity_are_refused(text: str) -> None:
    with pytest.raises(InvalidIdentity):
        age.identities(text)


def test_no_error_and_no_repr_shows_a_private_key() -> None:
    secret = OURS.secret()
    assert secret not in repr(OURS)
    with pytest.raises(InvalidIdentity) as caught:
        age.identities(secret[:-1] + ("Q" if secret[-1] != "Q" else "P"))
    assert secret[20:-1] not in str(caught.value)


@given(st.binary(max_size=60))
def test_bech32_gives_back_what_it_was_given(data: bytes) -> None:
    text = bech32.encode("x", data)
    assert bech32.decode("x", text) == bech32.decode("x", text.upper()) == data
