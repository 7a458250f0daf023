"""Lenient access to parsed JSON: what is not of the expected kind counts as absent.

Real providers break the schema in every place (nested lists, numbers for texts, null for objects). A document is not
refused for what nobody reads, so every reader of this package goes through these functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

_EXPONENT = 1e21
"""From here on the canonical form of JSON writes numbers with an exponent."""


def obj(value: Any, *path: str) -> dict[str, Any]:
    """The object at a path of member names; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def text(value: Any, *path: str) -> str:
    """The text at a path, without blanks around it; numbers as written in JSON, anything else as empty."""
    found = obj(value, *path[:-1]).get(path[-1]) if path else value
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    if isinstance(found, float) and found.is_integer() and abs(found) < _EXPONENT:
        # As the canonical form has it: 1.0 is 1, digits beyond 2^53 are zeros.
        found = int(Decimal(repr(found)))
    return str(found).strip()


def items(value: Any, *path: str) -> Iterator[Any]:
    """The elements of the list at a path, those of lists inside it included; a single value counts as its only one."""
    found = obj(value, *path[:-1]).get(path[-1]) if path else value
    if isinstance(found, list):
        pending = list(reversed(found))
        while pending:
            element = pending.pop()
            if isinstance(element, list):
                pending.extend(reversed(element))
            else:
                yield element
    elif found is not None:
        yield found


def objects(value: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The objects in the list at a path."""
    return (element for element in items(value, *path) if isinstance(element, dict))


def texts(value: Any, *path: str) -> tuple[str, ...]:
    """The texts in the list at a path, each once, in the order given."""
    return tuple(dict.fromkeys(found for element in items(value, *path) if (found := text(element))))
