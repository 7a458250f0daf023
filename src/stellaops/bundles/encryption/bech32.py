"""Bech32 (BIP 173) of 32 bytes under a prefix: how age writes its keys."""

from __future__ import annotations

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def encode(prefix: str, data: bytes) -> str:
    """The text of some bytes, in lower case."""
    values = _regroup(data, 8, 5, pad=True)
    residue = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [(residue >> 5 * (_CHECKSUM - 1 - place)) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode(prefix: str, text: str) -> bytes:
    """The bytes of a text.

    Raises:
        ValueError: another prefix, a character too many or changed, both cases at once.
    """
    if text != text.lower() and text != text.upper():
        raise ValueError("upper and lower case are mixed")
    head, one, tail = text.lower().rpartition("1")
    if not one or head != prefix:
        raise ValueError(f"it does not begin with {prefix}1")
    if len(tail) < _CHECKSUM or not set(tail) <= set(_ALPHABET):
        raise ValueError("there are other characters than those of Bech32")
    values = [_ALPHABET.index(character) for character in tail]
    if _polymod([*_expanded(head), *values]) != 1:
        raise ValueError("the checksum does not fit")
    return bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))


def _polymod(values: list[int]) -> int:
    residue = 1
    for value in values:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            residue ^= term if top >> place & 1 else 0
    return residue


def _expanded(prefix: str) -> list[int]:
    return [*(ord(each) >> 5 for each in prefix), 0, *(ord(each) & 31 for each in prefix)]


def _regroup(data: bytes | list[int], width: int, into: int, *, pad: bool) -> list[int]:
    """Numbers of so many bits as numbers of another width."""
    held = bits = 0
    out = []
    for value in data:
        held = held << width | value
        bits += width
        while bits >= into:
            bits -= into
            out.append(held >> bits & (1 << into) - 1)
        held &= (1 << bits) - 1
    if pad and bits:
        out.append(held << into - bits & (1 << into) - 1)
    elif not pad and (bits >= width or held):
        raise ValueError("the last character holds bits that stand for nothing")
    return out
