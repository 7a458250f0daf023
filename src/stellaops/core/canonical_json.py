"""Canonical JSON (RFC 8785) for what the product writes itself: manifests, index rows, statements.

These have no floats, no integers beyond 2^53 and no object keys outside the Basic Multilingual Plane, and for such
values msgspec's sorted form is RFC 8785's form. `encode` refuses any other value, so that the claim cannot break
silently. Upstream documents, which may hold anything, are canonicalised in `advisories.canonical`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")
_LARGEST_EXACT_INTEGER = 2**53
# Nothing with fewer digits in a row is beyond 2^53.
_MAY_BE_LARGE = re.compile(rb"[:\[,-][0-9]{16}")


class NotCanonical(ValueError):
    """A value that the restricted canonical form cannot carry, or bytes that are not in canonical form."""


def _refuse_float(text: str) -> None:
    raise NotCanonical(f"float {text[:80]}")


_DECODER = msgspec.json.Decoder(float_hook=_refuse_float)


def encode(value: Any) -> bytes:
    """Canonical bytes of a value of objects, arrays, strings, booleans, null and integers within ±2^53.

    Raises:
        NotCanonical: a float, a larger integer, or an object key outside the BMP.
    """
    builtins = msgspec.to_builtins(value)
    _check(builtins)
    return _ENCODER.encode(builtins)


def decode(data: bytes) -> Any:
    """Parse bytes that must already be in canonical form.

    Raises:
        NotCanonical: the bytes are not JSON, or not the canonical bytes of their value (a duplicate key, another
            order, white space, a number form …).
    """
    try:
        value = _DECODER.decode(data)
        # The encoder alone shows the rest where a look at the bytes has shown that no value can be one of the others.
        plain = data.isascii() and not _MAY_BE_LARGE.search(data)
        if (_ENCODER.encode(value) if plain else encode(value)) == data:
            return value
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotCanonical(str(error)) from error
    raise NotCanonical("the bytes are not the canonical form of their value")


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MUST_ESCAPE = re.compile(r'["\\\x00-\x1f]')


def escape(text: str) -> str:
    """A text with JSON's escapes but without the quotes around it: safe as a field between tabs."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _MUST_ESCAPE.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def _check(value: Any) -> None:
    """Refuse what the form cannot carry; texts, of which there are most, are told from the rest first."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not (key.isascii() or max(key) <= "\uffff"):
                raise NotCanonical(f"object key {key!r}")
            if type(item) is not str:
                _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) is not str:
                _check(item)
    elif isinstance(value, float):
        raise NotCanonical(f"float {value!r}")
    elif isinstance(value, int) and abs(value) > _LARGEST_EXACT_INTEGER:
        raise NotCanonical(f"integer {value!r}")
