"""The age format, version 1, for X25519 recipients: https://age-encryption.org/v1.

A random file key is wrapped for each recipient in the header, which a MAC under the file key closes. The payload is
cut into chunks of 64 KiB, each sealed with ChaCha20-Poly1305 under a nonce that counts them and marks the last one:
what a reader is given was checked, and a cut-off file does not pass for a whole one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stellaops.bundles.encryption import bech32
from stellaops.bundles.encryption.errors import InvalidIdentity, InvalidRecipient, NoIdentity, Undecipherable

CHUNK = 1 << 16
"""Bytes of the payload that are sealed together."""
OVERHEAD = 16
LARGEST_HEADER = 1 << 16
"""Bytes of the largest header that is read: about 500 recipients."""

_VERSION = b"age-encryption.org/v1"
_WRAPPING = b"age-encryption.org/v1/X25519"
_RECIPIENT, _IDENTITY = "age", "age-secret-key-"
_NONE = bytes(12)
_STANZA = re.compile(rb"-> ([!-~]+(?: [!-~]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)")
_HEADER = re.compile(rb"%b\n((?:%b)+)--- ([A-Za-z0-9+/]{43})\n" % (re.escape(_VERSION), _STANZA.pattern))

Entropy = Callable[[int], bytes]
"""Gives so many bytes that nobody can guess."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public key of someone who may read."""

    public: bytes

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """The recipient of a text `age1…`.

        Raises:
            InvalidRecipient: see there.
        """
        try:
            public = bech32.decode(_RECIPIENT, text)
        except ValueError as error:
            raise InvalidRecipient(f"{text[:80]!r} is no recipient of age: {error}") from error
        if len(public) != 32 or text != text.lower():
            raise InvalidRecipient(f"{text[:80]!r} is no recipient of age")
        return cls(public)

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT, self.public)


class Identity:
    """A private key; it shows itself nowhere."""

    def __init__(self, private: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private)

    @property
    def recipient(self) -> Recipient:
        """Who it is."""
        return Recipient(self._key.public_key().public_bytes_raw())

    def secret(self) -> str:
        """The text that an identity file holds."""
        return bech32.encode(_IDENTITY, self._key.private_bytes_raw()).upper()

    def unwrap(self, share: bytes, body: bytes) -> bytes | None:
        """The file key of a stanza; None where it is somebody else's.

        Raises:
            Undecipherable: a share that no honest writer makes.
        """
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise Undecipherable("the header holds a share of a wrong form") from error
        wrapping = _derived(shared, share + self.recipient.public, _WRAPPING)
        try:
            return ChaCha20Poly1305(wrapping).decrypt(_NONE, body, None)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"


def identities(text: str) -> tuple[Identity, ...]:
    """The private keys in the text of an identity file; lines of comment may stand between.

    Raises:
        InvalidIdentity: there is none, or a line is something else.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            private = bech32.decode(_IDENTITY, line.strip())
        except ValueError as error:
            raise InvalidIdentity(f"line {number} is no private key of age: {error}") from error
        if len(private) != 32:
            raise InvalidIdentity(f"line {number} is no private key of age: {len(private)} bytes, not 32")
        found.append(Identity(private))
    if not found:
        raise InvalidIdentity("there is no private key of age")
    return tuple(found)


def encrypt(chunks: Iterable[bytes], recipients: Sequence[Recipient], entropy: Entropy) -> Iterator[bytes]:
    """The age file of some bytes, piece by piece.

    Raises:
        InvalidRecipient: there is none, or one is no point of the curve.
    """
    if not recipients:
        raise InvalidRecipient("there is no recipient to encrypt for")
    file_key, nonce = entropy(16), entropy(16)
    stanzas = b"".join(_wrapped(file_key, recipient, entropy) for recipient in recipients)
    header = b"%b\n%b---" % (_VERSION, stanzas)
    yield b"%b %b\n%b" % (header, _unpadded(_mac(file_key, header)), nonce)
    cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    for number, (piece, last) in enumerate(_cut(chunks, CHUNK)):
        yield cipher.encrypt(_nonce(number, last=last), piece, None)


def decrypt(chunks: Iterable[bytes], keys: Sequence[Identity]) -> Iterator[bytes]:
    """The content of an age file, piece by piece, each checked before it is given.

    A reader that has not come to the end has not checked that there is one.

    Raises:
        NoIdentity: it is encrypted for others.
        Undecipherable: see there.
    """
    source = iter(chunks)
    header, rest = _read_header(source)
    file_key = _file_key(header, keys)
    head = header.group(0)
    if not hmac.compare_digest(_mac(file_key, head[: head.rindex(b"---") + 3]), _padded(header.groups()[-1])):
        raise Undecipherable("the header of the age file is not as it was written")
    nonce, source = _take(rest, source, 16)
    cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    for number, (piece, last) in enumerate(_cut(source, CHUNK + OVERHEAD)):
        try:
            plain = cipher.decrypt(_nonce(number, last=last), piece, None)
        except InvalidTag as error:
            raise Undecipherable(f"chunk {number} of the age file was changed or cut off") from error
        if last and number and not plain:
            raise Undecipherable("the age file ends with an empty chunk")
        yield plain


def _wrapped(file_key: bytes, recipient: Recipient, entropy: Entropy) -> bytes:
    ephemeral = X25519PrivateKey.from_private_bytes(entropy(32))
    share = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.public))
    except ValueError as error:
        raise InvalidRecipient(f"{recipient} is no usable key") from error
    wrapping = _derived(shared, share + recipient.public, _WRAPPING)
    body = ChaCha20Poly1305(wrapping).encrypt(_NONE, file_key, None)
    return b"-> X25519 %b\n%b\n" % (_unpadded(share), _unpadded(body))


def _file_key(header: re.Match[bytes], keys: Sequence[Identity]) -> bytes:
    for stanza in _STANZA.finditer(header.group(1)):
        kind, *arguments = stanza.group(1).split(b" ")
        if kind != b"X25519":
            continue
        share, body = _padded(b"".join(arguments)), _padded(stanza.group(2).replace(b"\n", b""))
        if len(arguments) != 1 or len(share) != 32 or len(body) != 32:
            raise Undecipherable("the header holds a recipient of a wrong form")
        for key in keys:
            if (found := key.unwrap(share, body)) is not None:
                return found
    raise NoIdentity("none of the private keys given is one of the recipients'")


def _read_header(source: Iterator[bytes]) -> tuple[re.Match[bytes], bytes]:
    data = b""
    while (found := _HEADER.match(data)) is None:
        piece = next(source, b"")
        if not piece or len(data) > LARGEST_HEADER:
            raise Undecipherable("it does not begin with the header of an age file")
        data += piece
    return found, data[found.end() :]


def _take(held: bytes, source: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    while len(held) < size:
        piece = next(source, b"")
        if not piece:
            raise Undecipherable("the age file ends before its payload")
        held += piece
    return held[:size], _joined(held[size:], source)


def _joined(first: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from source


def _cut(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Pieces of one size and whether it is the last one, which may be shorter; of nothing one empty piece."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        # The last piece may be full, so that one is given only when more follows.
        place = 0
        while len(held) - place > size:
            yield bytes(held[place : place + size]), False
            place += size
        del held[:place]
    yield bytes(held), True


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _derived(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, purpose).derive(secret)


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _padded(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise Undecipherable("the header holds something that is not base64") from error
    if _unpadded(data) != text:
        raise Undecipherable("the header holds base64 that is not in its one form")
    return data
