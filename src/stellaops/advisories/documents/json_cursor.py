"""Walking through a JSON file to cut exact byte slices out of it, wherever they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from stellaops.advisories.canonical import Malformed

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANKS = re.compile(r"[ \t\r\n]*")
_BOM = "\ufeff"


class JsonCursor:
    """A place in the text of a JSON file.

    Every method raises `Malformed` where the text is not what it asks for.

    Attributes:
        place: the character that comes next.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("not-utf-8", str(error)) from error
        self.place = 0
        self._plain = len(self._text) == len(content)
        self._reached = (0, 0)
        if self._text.startswith(_BOM):
            self.place = 1

    def at(self, character: str) -> bool:
        """Whether a character comes next, behind blanks."""
        self._skip()
        return self._text.startswith(character, self.place)

    def value(self) -> Any:
        """The next value, numbers as texts; the cursor moves behind it."""
        self._skip()
        try:
            found, self.place = _DECODER.raw_decode(self._text, self.place)
        except RecursionError as error:
            raise Malformed("too-deep", "a value is nested too deep to be read") from error
        except ValueError as error:
            raise Malformed("not-json", str(error)[:300]) from error
        return found

    def keys(self) -> Iterator[str]:
        """The keys of the next object; at each the caller moves the cursor behind its value."""
        for _ in self._entries("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                raise Malformed("not-json", f"a key that is no text before character {self.place}")
            self._take(":")
            self._skip()
            yield key

    def items(self) -> Iterator[None]:
        """The items of the next array; at each the caller moves the cursor behind it."""
        return self._entries("[", "]")

    def end(self) -> None:
        """Nothing may follow."""
        self._skip()
        if self.place != len(self._text):
            raise Malformed("not-json", f"more than one value: something follows at character {self.place}")

    def slice(self, begin: int, end: int) -> tuple[int, bytes]:
        """The bytes between two places, and their offset; places must be asked for in their order."""
        raw = self._text[begin:end].encode()
        if self._plain:
            return begin, raw
        place, offset = self._reached
        offset += len(self._text[place:begin].encode())
        self._reached = (begin, offset)
        return offset, raw

    def _entries(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.at(closing):
            self._take(closing)
            return
        while True:
            self._skip()
            yield
            if self.at(closing):
                break
            self._take(",")
        self._take(closing)

    def _take(self, character: str) -> None:
        if not self.at(character):
            raise Malformed("not-json", f"no {character!r} at character {self.place}")
        self.place += 1

    def _skip(self) -> None:
        found = _BLANKS.match(self._text, self.place)
        self.place = found.end() if found else self.place
