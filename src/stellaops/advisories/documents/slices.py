"""Cutting files into records, as exact byte slices: arrays, arrays under a member of an object, lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import msgspec

from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.interface import Slice

BOM = b"\xef\xbb\xbf"

# In one file: an array of records of the largest size has far fewer.
_MOST_SEPARATORS = 5_000_000
_NO_BLANK = re.compile(r"[^ \t\r\n]")
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_object(content: bytes) -> bool:
    """Whether a file looks like a JSON object."""
    return content[:64].removeprefix(BOM).lstrip()[:1] == b"{"


def members(content: bytes) -> dict[str, Slice]:
    """The members of the JSON object that a file is, the last of equal names.

    Raises:
        Malformed: the file is not a JSON object.
    """
    start = len(BOM) if content.startswith(BOM) else 0
    try:
        found = _OBJECT.decode(memoryview(content)[start:])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # One record with a lone surrogate or NaN must not cost its neighbours.
        return _members_carefully(content, start)
    # An equal text further ahead is as good a place: a slice is told by its bytes.
    return {name: Slice(content.index(bytes(raw), start), bytes(raw)) for name, raw in found.items()}


def elements(content: bytes, start: int = 0, end: int | None = None) -> Iterable[Slice]:
    """The elements of the JSON array that stands in a file between two places.

    Raises:
        Malformed: it is no array, or has more elements than a file may hold.
    """
    stop = len(content) if end is None else end
    if content.count(b",", start, stop) > _MOST_SEPARATORS:
        raise Malformed("too-many-nodes", "an array with millions of values; cut it into several files")
    start += len(BOM) if content.startswith(BOM, start) else 0
    try:
        items = _LIST.decode(memoryview(content)[start:stop])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _elements_carefully(content, start, stop)
    return _placed(content, start, items)


def lines(content: bytes) -> Iterator[Slice]:
    """The lines that are not empty, without the blanks around them."""
    position = 0
    for line in content.splitlines(keepends=True):
        raw = line.strip()
        if raw:
            yield Slice(position + line.index(raw), raw)
        position += len(line)


def _placed(content: bytes, position: int, items: list[msgspec.Raw]) -> Iterator[Slice]:
    for item in items:
        raw = bytes(item)
        position = content.index(raw, position)
        yield Slice(position, raw)
        position += len(raw)


def _members_carefully(content: bytes, start: int) -> dict[str, Slice]:
    text = _text(content[start:])
    found: dict[str, Slice] = {}
    with _Told():
        for name, begin, end in _pairs(text):
            raw = text[begin:end].encode()
            found[name] = Slice(start + len(text[:begin].encode()), raw)
    return found


def _elements_carefully(content: bytes, start: int, stop: int) -> list[Slice]:
    text = _text(content[start:stop])
    with _Told():
        spans = _spans(text)
    slices = []
    position, reached = start, 0
    for begin, end in spans:
        position += len(text[reached:begin].encode())
        raw = text[begin:end].encode()
        slices.append(Slice(position, raw))
        position, reached = position + len(raw), end
    return slices


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error


class _Told:
    """Turns what the standard parser raises into what feeds raise."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RecursionError):
            raise Malformed("too-deep", "a value is nested too deep to be read") from error
        if isinstance(error, ValueError):
            raise Malformed("not-json", str(error)[:300]) from error


def _pairs(text: str) -> Iterator[tuple[str, int, int]]:
    """The members of a JSON object: name, and where the value begins and ends."""
    place = _skip_blanks(text, 0)
    if text[place : place + 1] != "{":
        raise ValueError("not a JSON object")
    place = _skip_blanks(text, place + 1)
    while text[place : place + 1] != "}":
        if text[place : place + 1] != '"':
            raise ValueError(f"a member's name must stand at character {place}")
        name, place = _SCANNER.raw_decode(text, place)
        place = _skip_blanks(text, place)
        if text[place : place + 1] != ":":
            raise ValueError(f"a colon must stand at character {place}")
        begin = _skip_blanks(text, place + 1)
        end = _SCANNER.raw_decode(text, begin)[1]
        yield name, begin, end
        place = _skip_blanks(text, end)
        if text[place : place + 1] == ",":
            place = _skip_blanks(text, place + 1)
        elif text[place : place + 1] != "}":
            raise ValueError(f"the object does not go on as it must at character {place}")
    if _skip_blanks(text, place + 1) != len(text):
        raise ValueError(f"something follows the object at character {place + 1}")


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the elements of a JSON array begin and end."""
    spans: list[tuple[int, int]] = []
    place = _skip_blanks(text, 0)
    if text[place : place + 1] != "[":
        raise ValueError("not a JSON array")
    place = _skip_blanks(text, place + 1)
    while text[place : place + 1] != "]" or spans:
        end = _SCANNER.raw_decode(text, place)[1]
        spans.append((place, end))
        place = _skip_blanks(text, end)
        if text[place : place + 1] != ",":
            break
        place = _skip_blanks(text, place + 1)
    if text[place : place + 1] != "]" or _skip_blanks(text, place + 1) != len(text):
        raise ValueError(f"the array does not end as it must at character {place}")
    return spans


def _skip_blanks(text: str, place: int) -> int:
    found = _NO_BLANK.search(text, place)
    return found.start() if found else len(text)
