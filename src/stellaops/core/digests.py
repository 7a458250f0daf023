"""SHA-256 digests as a type, and the two id forms derived from them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from io import BufferedReader
from typing import NewType

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits."""

PREFIX = "sha256:"


def sha256(data: bytes | memoryview) -> Digest:
    """Digest of some bytes."""
    return Digest(PREFIX + hashlib.sha256(data).hexdigest())


def of_hash(hasher: hashlib._Hash) -> Digest:
    """Digest of a SHA-256 hasher that was fed elsewhere."""
    return Digest(PREFIX + hasher.hexdigest())


def parse(text: str) -> Digest:
    """Check that a text is a digest in its only form.

    Raises:
        ValueError: any other text.
    """
    digits = text.removeprefix(PREFIX)
    if len(text) != len(PREFIX) + 64 or len(digits) != 64 or digits.strip("0123456789abcdef"):
        raise ValueError(f"{text[:80]!r} is not a sha256 digest")
    return Digest(text)


def of_file(file: BufferedReader) -> Digest:
    """Digest of a file's bytes from its present position on, read in pieces."""
    return Digest(PREFIX + hashlib.file_digest(file, "sha256").hexdigest())


def content_id(data: bytes) -> str:
    """The id of something by its content: first 26 characters of the lower-case base32 of its SHA-256."""
    return base64.b32encode(hashlib.sha256(data).digest()).decode("ascii").lower()[:26]


def of_lines(lines: Iterable[bytes]) -> Digest:
    """Digest of many pieces as if they were joined; nothing is kept in memory."""
    hasher = hashlib.sha256()
    for line in lines:
        hasher.update(line)
    return of_hash(hasher)
