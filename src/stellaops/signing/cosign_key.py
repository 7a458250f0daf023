"""Private keys as cosign keeps them: PKCS#8 in NaCl's secretbox, under a key that scrypt makes of a passphrase.

The file is PEM around JSON: the function that makes the key, with its salt and costs; the cipher with its nonce; and
the ciphertext, each of them base64. Cosign reads three sets of costs, and so do we: what a file asks for beyond them
would be memory and time that a stranger decides about.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PrivateKey, UnusableKey

LABEL = b"ENCRYPTED SIGSTORE PRIVATE KEY"
"""What cosign has written since 2.0."""
OLD_LABEL = b"ENCRYPTED COSIGN PRIVATE KEY"
"""What cosign 1 wrote, and cosign 2 and 3 still read."""
LARGEST = 16 * 1024
"""More bytes than any such file of a P-256 key has."""

_PEM = re.compile(
    rb"\s*-----BEGIN (%b|%b)-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----\s*" % (LABEL, OLD_LABEL)
)
_COSTS = frozenset((n, 8, 1) for n in (2**15, 2**16, 2**17))
"""N, r and p: of cosign 1, of cosign since, and the highest that it reads. 128·N·r bytes of memory: 32 to 128 MiB."""
_NOW = (2**16, 8, 1)
_SALT_BYTES = 32


class _Costs(msgspec.Struct, frozen=True):
    """Costs of scrypt, with the names of its paper."""

    n: int = msgspec.field(name="N")
    r: int
    p: int


class _Function(msgspec.Struct, frozen=True):
    name: Literal["scrypt"]
    params: _Costs
    salt: bytes


class _Cipher(msgspec.Struct, frozen=True):
    name: Literal["nacl/secretbox"]
    nonce: bytes


class _Envelope(msgspec.Struct, frozen=True):
    """The JSON in the file, keys in the order in which cosign writes them."""

    kdf: _Function
    cipher: _Cipher
    ciphertext: bytes


def recognises(data: bytes) -> bool:
    """Whether a file calls itself a private key of cosign's."""
    return any(b"-----BEGIN %b-----" % label in data[:256] for label in (LABEL, OLD_LABEL))


def encode(key: PrivateKey, passphrase: bytes) -> bytes:
    """The file for a key, with the costs that cosign writes, a random salt and a random nonce.

    Raises:
        UnusableKey: the passphrase is empty.
    """
    if not passphrase:
        raise UnusableKey("an empty passphrase protects nothing", hint="Put a passphrase into the file.")
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(SecretBox.NONCE_SIZE)
    box = SecretBox(_derive(passphrase, salt, _Costs(*_NOW)))
    envelope = _Envelope(
        _Function("scrypt", _Costs(*_NOW), salt),
        _Cipher("nacl/secretbox", nonce),
        box.encrypt(key.to_pkcs8(), nonce).ciphertext,
    )
    text = base64.encodebytes(msgspec.json.encode(envelope)).replace(b"\n", b"")
    lines = b"".join(text[start : start + 64] + b"\n" for start in range(0, len(text), 64))
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (LABEL, lines, LABEL)


def decode(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """The key in a file.

    Args:
        data: the file.
        passphrase: what it was made with; cosign also makes keys under an empty one.

    Raises:
        UnusableKey: another form, costs that cosign does not use, no or another passphrase, or no P-256 key. The
            message never holds key material or the passphrase, and no cause is chained that might.
    """
    envelope = _envelope(data)
    if passphrase is None:
        raise UnusableKey("the private key needs a passphrase", hint=ecdsa_p256.OPENING_HINT)
    box = SecretBox(_derive(passphrase, envelope.kdf.salt, envelope.kdf.params))
    try:
        der = box.decrypt(envelope.ciphertext, envelope.cipher.nonce)
    except CryptoError:
        raise UnusableKey(
            "the private key is damaged or its passphrase is another one", hint=ecdsa_p256.OPENING_HINT
        ) from None
    return ecdsa_p256.load_pkcs8(der)


def _derive(passphrase: bytes, salt: bytes, costs: _Costs) -> bytes:
    return Scrypt(salt=salt, length=SecretBox.KEY_SIZE, n=costs.n, r=costs.r, p=costs.p).derive(passphrase)


def _envelope(data: bytes) -> _Envelope:
    found = _PEM.fullmatch(data) if len(data) <= LARGEST else None
    if found is None:
        raise UnusableKey("the file is no private key of cosign's: its PEM is damaged", hint=_DAMAGE_HINT)
    try:
        text = base64.b64decode(b"".join(found[2].split()), validate=True)
        envelope = msgspec.json.decode(text, type=_Envelope)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise UnusableKey(
            "the file is no private key of cosign's: what its PEM holds is damaged", hint=_DAMAGE_HINT
        ) from None
    costs = envelope.kdf.params
    if (costs.n, costs.r, costs.p) not in _COSTS:
        raise UnusableKey(
            f"the private key asks for scrypt with N={costs.n}, r={costs.r}, p={costs.p}, which cosign never writes",
            hint="Do not use this file; make the key again with cosign or with `stella authority key create`.",
        )
    if not 16 <= len(envelope.kdf.salt) <= 64 or len(envelope.cipher.nonce) != SecretBox.NONCE_SIZE:
        raise UnusableKey(
            "the private key's salt or nonce has a length that cosign never writes", hint=_DAMAGE_HINT
        )
    return envelope


_DAMAGE_HINT = "Restore the key file from its backup."
