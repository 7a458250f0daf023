"""Secrets of clients: made of 256 random bits, or strong ones that were given; kept as scrypt hashes alone."""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from stellaops.core.errors import InvalidInput

PREFIX = "stella_"
"""What the secrets that are made here begin with, so that scanners for leaked secrets can tell them."""
_COSTS = (15, 8, 1)  # log2 N, r, p: 32 MiB and a tenth of a second; what is guessed has 128 bits at least
_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22,44})\$([A-Za-z0-9+/]{43})"
)
_GIVEN = re.compile(r"[!-~]{32,256}")
_ENOUGH_BITS = 128


class WeakSecret(InvalidInput):
    """A secret that was given is too short, too regular, or has characters that cannot be sent."""

    code = "ERR_CLIENT_SECRET_WEAK"
    hint = "Give 32 to 256 printable ASCII characters without spaces, for example by `openssl rand -hex 32`."


@dataclass(frozen=True, slots=True)
class _Hash:
    costs: tuple[int, int, int]
    salt: bytes
    digest: bytes

    def __str__(self) -> str:
        ln, r, p = self.costs
        return f"$scrypt$ln={ln},r={r},p={p}${_text(self.salt)}${_text(self.digest)}"


def generate() -> str:
    """A secret with 256 bits from the operating system."""
    return PREFIX + secrets.token_urlsafe(32)


def demand_strength(secret: str) -> str:
    """The secret, if it is strong enough.

    Raises:
        WeakSecret: see there; the message never holds the secret.
    """
    if not _GIVEN.fullmatch(secret):
        raise WeakSecret("the secret does not have 32 to 256 printable ASCII characters")
    if secret in (secret + secret)[1:-1]:
        raise WeakSecret("the secret repeats itself")
    if len(secret) * math.log2(len(set(secret))) < _ENOUGH_BITS:
        raise WeakSecret("the secret has too few different characters")
    return secret


def hashed(secret: str, others: Sequence[str] = ()) -> str:
    """The hash of a secret, in PHC's string form.

    Args:
        others: hashes of the client's other secrets; with the salt of theirs, one derivation checks them all.
    """
    like = next((found for found in map(_parsed, others) if found and found.costs == _COSTS), None)
    salt = like.salt if like else secrets.token_bytes(16)
    return str(_Hash(_COSTS, salt, _derived(secret, _COSTS, salt)))


def matching(secret: str, hashes: Sequence[str]) -> int | None:
    """Which of the hashes is that of a secret; None for none.

    Takes as long for an unknown client, whose hashes are none, as for a known one: one derivation, and every
    comparison in constant time.
    """
    known = [_parsed(each) for each in hashes]
    wanted = {(each.costs, each.salt) for each in known if each} or {(_COSTS, bytes(16))}
    derived = {(costs, salt): _derived(secret, costs, salt) for costs, salt in wanted}
    found = None
    for place, each in enumerate(known):
        if each and hmac.compare_digest(derived[each.costs, each.salt], each.digest):
            found = place
    return found


def _derived(secret: str, costs: tuple[int, int, int], salt: bytes) -> bytes:
    ln, r, p = costs
    return Scrypt(salt=salt, length=32, n=1 << ln, r=r, p=p).derive(secret.encode("utf-8", "replace"))


def _parsed(text: str) -> _Hash | None:
    """A hash as it is stored; None for one that is damaged, or whose costs nobody should pay."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    ln, r, p = int(found[1]), int(found[2]), int(found[3])
    if not (10 <= ln <= 17 and 1 <= r <= 8 and 1 <= p <= 4):
        return None
    try:
        return _Hash((ln, r, p), _bytes(found[4]), _bytes(found[5]))
    except binascii.Error:
        return None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
