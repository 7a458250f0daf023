"""AES-256-GCM of whole files under one key: nonce (12 bytes), ciphertext, tag (16 bytes).

The export's id and the path of the file are authenticated with it, so that no file can take another's place. A
reader may use what it was given only after the end, when the tag has been checked: it writes into a temporary place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from stellaops.bundles.encryption.errors import Undecipherable

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MOST_BYTES = (1 << 36) - 32
"""What one nonce may be used for, in bytes."""


class ContentKey:
    """The key of one export; it shows itself nowhere."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise Undecipherable(f"the content key has {len(key)} bytes, not {KEY_BYTES}")
        self._key = key

    def reveal(self) -> bytes:
        """The key's bytes, for wrapping alone."""
        return self._key

    def encrypt(
        self, chunks: Iterable[bytes], bound_to: bytes, entropy: Callable[[int], bytes]
    ) -> Iterator[bytes]:
        """The encrypted file, piece by piece.

        Args:
            bound_to: `{exportId}:{path}`; see `binding`.
        """
        nonce = entropy(NONCE_BYTES)
        cipher = Cipher(AES(self._key), GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(bound_to)
        yield nonce
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_BYTES:
                raise Undecipherable(
                    f"a file of more than {MOST_BYTES} bytes cannot be encrypted with one nonce"
                )
            yield cipher.update(chunk)
        yield cipher.finalize() + cipher.tag

    def decrypt(self, chunks: Iterable[bytes], bound_to: bytes) -> Iterator[bytes]:
        """The content, piece by piece; not to be used before the end was reached.

        Raises:
            Undecipherable: see there; perhaps only at the end.
        """
        held = bytearray()
        source = iter(chunks)
        while len(held) < NONCE_BYTES and (chunk := next(source, b"")):
            held += chunk
        if len(held) < NONCE_BYTES:
            raise Undecipherable("the encrypted file is cut off")
        cipher = Cipher(AES(self._key), GCM(bytes(held[:NONCE_BYTES]))).decryptor()
        cipher.authenticate_additional_data(bound_to)
        del held[:NONCE_BYTES]
        for chunk in source:
            held += chunk
            if len(held) > TAG_BYTES:
                yield cipher.update(bytes(held[:-TAG_BYTES]))
                del held[:-TAG_BYTES]
        if len(held) > TAG_BYTES:
            yield cipher.update(bytes(held[:-TAG_BYTES]))
        try:
            yield cipher.finalize_with_tag(bytes(held[-TAG_BYTES:]))
        except (InvalidTag, ValueError) as error:
            raise Undecipherable("the encrypted file was changed, cut off, or belongs elsewhere") from error

    def __repr__(self) -> str:
        return "ContentKey()"


def binding(export_id: str, path: str) -> bytes:
    """What a file's ciphertext is bound to."""
    return f"{export_id}:{path}".encode()
