"""JSON arrays that are longer than memory: their items are written aside, then copied between head and tail."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any, BinaryIO

import msgspec

_ENCODER = msgspec.json.Encoder()


class Spool:
    """Items of one JSON array, on a scratch file that is read back once.

    Attributes:
        count: how many there are.
    """

    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self._hasher = hashlib.sha256()
        self.count = 0

    def add(self, item: Any) -> None:
        """Append an item."""
        text = (b",\n" if self.count else b"") + _ENCODER.encode(item)
        self._hasher.update(text)
        self._scratch.write(text)
        self.count += 1

    def copy(self, out: BinaryIO) -> None:
        """Write all items, between brackets."""
        self._scratch.seek(0)
        out.write(b"[\n")
        shutil.copyfileobj(self._scratch, out, 1 << 20)
        out.write(b"\n]")

    def digest(self) -> str:
        """SHA-256 of the items, in hex."""
        return self._hasher.hexdigest()


def write_object(out: BinaryIO, members: dict[str, Any]) -> None:
    """Write an object of one line a member, some of whose values are spools, in the order given."""
    for number, (name, value) in enumerate(members.items()):
        out.write(b"{\n" if number == 0 else b",\n")
        out.write(_ENCODER.encode(name) + b": ")
        if isinstance(value, Spool):
            value.copy(out)
        else:
            out.write(_ENCODER.encode(value))
    out.write(b"\n}\n")
