"""The canonical form of an upstream document, made once, at ingest.

JSON and YAML become RFC 8785 JSON. A document that this form would change in value (a duplicate key, an integer
beyond 2^53, a decimal that its double does not carry exactly, a lone surrogate) keeps its own bytes and travels
verbatim; `parsed` is then the nearest JSON that readers of its fields can use.

YAML scalars stay strings, so that a version `1.10` or a date is not changed by a loader's guess; only plain nulls
are null. YAML is read event by event: nesting and alias expansion are bounded here, not by the C stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import orjson
import rfc8785
import yaml

# A record of this size still fits into a line of a bundle when it travels verbatim, in base64.
LARGEST_RECORD = 40 << 20
MAX_DEPTH = 100
MAX_NODES = 1_000_000
MAX_YAML_CHARACTERS = 64 << 20

_LARGEST_EXACT_INTEGER = 2**53
# Refuses integers beyond 2^53, and lone surrogates.
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
# What no character beyond the BMP begins with.
_WITHIN_BMP = bytes(set(range(256)) - set(range(0xF0, 0xF5)))
# Possessive: there is never a way back, for which the engine would keep a frame an escape.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_YAML_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


class _FloatSeen(Exception):
    """The document has a number that needs the careful path."""


def _stop_at_float(_text: str) -> float:
    raise _FloatSeen


_DECODER = msgspec.json.Decoder(float_hook=_stop_at_float)
# Decimals of a few digits, which the sorted encoder writes as RFC 8785 asks: scores are such.
_SHORT_DECIMAL = re.compile(r"(0|[1-9]\d{0,8})\.(\d{1,6})", re.ASCII)
_LEAST_DECIMAL = 0.001


class _ShortDecimals:
    """Reads decimals of a few digits and counts by how many characters their canonical form is shorter."""

    def __init__(self) -> None:
        self.dropped = 0

    def read(self, text: str) -> float:
        found = _SHORT_DECIMAL.fullmatch(text)
        if found is None or 0 < float(text) < _LEAST_DECIMAL:
            raise _FloatSeen
        fraction = found[2].rstrip("0")
        self.dropped += len(found[2]) - len(fraction) + (not fraction)
        return float(text) if fraction else int(found[1])


def _decoded(raw: bytes) -> tuple[Any, int]:
    """The value of a document, and by how much its numbers' canonical forms are shorter."""
    try:
        return _DECODER.decode(raw), 0
    except _FloatSeen:
        decimals = _ShortDecimals()
        return msgspec.json.Decoder(float_hook=decimals.read).decode(raw), decimals.dropped


class Malformed(ValueError):
    """Bytes that are no document. `reason` is a stable word for the quarantine, the message says what was seen."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def check_size(raw: bytes) -> None:
    """Refuse a record that no bundle could carry.

    Raises:
        Malformed: see there.
    """
    if len(raw) > LARGEST_RECORD:
        raise Malformed("too-large", f"{len(raw)} bytes, the limit is {LARGEST_RECORD}")


class Canonical(msgspec.Struct, frozen=True):
    """One document after canonicalisation.

    Attributes:
        body: canonical JSON, or the document's own bytes where `verbatim`.
        verbatim: whether the document keeps its own bytes.
        parsed: the value to read fields from, of dicts, lists, texts, numbers and None.
    """

    body: bytes
    verbatim: bool
    parsed: Any


def from_json(raw: bytes) -> Canonical:
    """Canonical form of a JSON document.

    Raises:
        Malformed: not UTF-8, not JSON, larger than LARGEST_RECORD or nested deeper than MAX_DEPTH.
    """
    check_size(raw)
    if len(raw) > MAX_NODES and _nodes(raw) > MAX_NODES:
        raise Malformed("too-many-nodes", f"more than {MAX_NODES} values in one document")
    try:
        value, dropped = _decoded(raw)
        body = orjson.dumps(value, option=_CANONICAL)
        # Sorting never makes a document longer than its minified self, and dropping a duplicate key or normalising an
        # escape makes it shorter: equal length means that nothing was lost.
        if len(body) + dropped == len(msgspec.json.format(raw, indent=-1)) and _is_in_order(body):
            if body.count(b"{") + body.count(b"[") > MAX_DEPTH and not _shallow(body):
                _check_depth(value)
            return Canonical(body, False, value)
    except (_FloatSeen, msgspec.DecodeError, orjson.JSONEncodeError, UnicodeDecodeError, RecursionError):
        pass
    return _carefully(raw)


def from_yaml(raw: bytes) -> Canonical:
    """Canonical form of a YAML document.

    Raises:
        Malformed: not one YAML document, nested deeper than MAX_DEPTH, keys that are no scalars, or aliases that
            expand beyond MAX_NODES or MAX_YAML_CHARACTERS; larger than LARGEST_RECORD.
    """
    check_size(raw)
    builder = _YamlBuilder()
    try:
        value = builder.build(yaml.parse(raw, Loader=yaml.CBaseLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Malformed("not-yaml", " ".join(str(error).split())[:300]) from error
    return _seal(raw, value, changed=builder.duplicate_key)


def _nodes(raw: bytes) -> int:
    """At most how many values a document has, not counting separators inside strings."""
    outside = _STRINGS.sub(b"", raw)
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{")


def _carefully(raw: bytes) -> Canonical:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    reader = _JsonReader()
    try:
        value = reader.read(text)
    except RecursionError as error:
        raise Malformed("too-deep", f"more than {MAX_DEPTH} levels of nesting") from error
    except ValueError as error:
        raise Malformed("not-json", str(error)[:300]) from error
    return _seal(raw, value, changed=reader.changed)


def _seal(raw: bytes, value: Any, *, changed: bool) -> Canonical:
    _check_depth(value)
    if not changed:
        try:
            body = rfc8785.dumps(value)
        except (rfc8785.CanonicalizationError, UnicodeEncodeError):
            changed = True
        else:
            return Canonical(body, False, value)
    return Canonical(raw, True, _readable(value))


class _JsonReader:
    """The standard parser with an eye on everything that RFC 8785 would change in value."""

    def __init__(self) -> None:
        self.changed = False

    def read(self, text: str) -> Any:
        return json.loads(
            text,
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._decimal,
            parse_constant=self._constant,
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        self.changed |= len(value) != len(pairs)
        return value

    def _integer(self, digits: str) -> int | str:
        if len(digits) > 17 or abs(int(digits)) > _LARGEST_EXACT_INTEGER:
            self.changed = True
            return digits
        return int(digits)

    def _decimal(self, digits: str) -> float | str:
        value = float(digits)
        try:
            exact = math.isfinite(value) and Decimal(digits) == Decimal(repr(value))
        except InvalidOperation:
            exact = False
        if exact:
            return value
        self.changed = True
        return digits

    @staticmethod
    def _constant(word: str) -> Any:
        raise ValueError(f"{word} is no JSON value")


class _YamlBuilder:
    """Builds a value from parser events with an explicit stack."""

    def __init__(self) -> None:
        self.duplicate_key = False
        self._nodes = 0
        self._characters = 0
        self._anchors: dict[str, tuple[Any, int, int]] = {}

    def build(self, events: Iterator[Any]) -> Any:
        """The value of the only document in a stream of events."""
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Malformed("several-documents", "a file must hold one YAML document")
            elif isinstance(event, yaml.NodeEvent):
                value = self._node(event, events, 0)
        if documents == 0:
            raise Malformed("empty", "no YAML document")
        return value

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._nodes, self._characters
        self._count(1, len(event.value) if isinstance(event, yaml.ScalarEvent) else 0)
        if isinstance(event, yaml.ScalarEvent):
            plain_null = event.implicit[0] and event.value in _YAML_NULLS
            value: Any = None if plain_null else event.value
        elif depth >= MAX_DEPTH:
            raise Malformed("too-deep", f"more than {MAX_DEPTH} levels of nesting")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(events, depth)
        else:
            value = self._mapping(events, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before[0], self._characters - before[1])
        return value

    def _sequence(self, events: Iterator[Any], depth: int) -> list[Any]:
        items = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
        return items

    def _mapping(self, events: Iterator[Any], depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise Malformed("odd-key", "a mapping key that is no scalar")
            self.duplicate_key |= event.value in value
            self._count(0, len(event.value))
            if event.anchor:
                self._anchors[event.anchor] = (event.value, 1, len(event.value))
            value[event.value] = self._node(next(events), events, depth + 1)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise Malformed("not-yaml", f"alias *{event.anchor} names no finished anchor")
        value, nodes, characters = self._anchors[event.anchor]
        self._count(nodes, characters)
        return value

    def _count(self, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > MAX_YAML_CHARACTERS:
            limits = f"{MAX_NODES} nodes or {MAX_YAML_CHARACTERS} characters"
            raise Malformed("alias-bomb", f"aliases expand to more than {limits}")


def _is_in_order(body: bytes) -> bool:
    """Whether keys sorted by code points are sorted by UTF-16 units too: no character is beyond the BMP."""
    return body.isascii() or not body.translate(None, _WITHIN_BMP)


def _shallow(body: bytes) -> bool:
    """Whether the nesting is at most 16 levels, told from the brackets alone; brackets in strings may hide it."""
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(16):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Malformed("too-deep", f"more than {MAX_DEPTH} levels of nesting")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]


def _readable(value: Any) -> Any:
    """The value with lone surrogates replaced, so that it can be encoded."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value
