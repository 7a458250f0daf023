"""Files under one content key: bound to their export and path, and whole."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stellaops.bundles.encryption.aes_gcm import ContentKey, binding
from stellaops.bundles.encryption.errors import Undecipherable

KEY = bytes(range(32))
HERE = binding("abc", "data/raw/x.jsonl.zst")


def sealed(data: bytes, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    return b"".join(ContentKey(KEY).encrypt([data[:7], data[7:]], HERE, entropy))


@pytest.mark.parametrize("size", [0, 1, 16, 17, 100_000])
@pytest.mark.parametrize("pieces", [1, 13, 1 << 16])
def test_what_was_encrypted_comes_back(size: int, pieces: int) -> None:
    data = os.urandom(size)
    written = sealed(data)
    if pieces == 1 and size > 1000:
        written_pieces = [written[:1], written[1:]]
    else:
        written_pieces = [written[place : place + pieces] for place in range(0, len(written), pieces)]
    assert b"".join(ContentKey(KEY).decrypt(written_pieces, HERE)) == data


def test_the_form_is_nonce_ciphertext_tag() -> None:
    written = sealed(b"some text")
    assert AESGCM(KEY).decrypt(written[:12], written[12:], HERE) == b"some text"


def test_every_flipped_byte_is_found() -> None:
    written = sealed(b"some text")
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1
        with pytest.raises(Undecipherable):
            list(ContentKey(KEY).decrypt([bytes(changed)], HERE))


@pytest.mark.parametrize("length", range(37))
def test_a_file_cut_off_anywhere_is_found(length: int) -> None:
    with pytest.raises(Undecipherable):
        list(ContentKey(KEY).decrypt([sealed(b"some text")[:length]], HERE))


@pytest.mark.parametrize(
    "elsewhere", [binding("abd", "data/raw/x.jsonl.zst"), binding("abc", "data/raw/y.jsonl.zst")]
)
def test_a_file_cannot_take_the_place_of_another(elsewhere: bytes) -> None:
    with pytest.raises(Undecipherable, match="belongs elsewhere"):
        list(ContentKey(KEY).decrypt([sealed(b"some text")], elsewhere))


def test_a_key_does_not_show_itself() -> None:
    assert repr(ContentKey(KEY)) == "ContentKey()"
