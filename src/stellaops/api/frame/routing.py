"""From a path to its operations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stellaops.api.operation import Operation


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: tuple[str, _Node] | None = None
    rest: tuple[str, dict[str, Operation]] | None = None
    operations: dict[str, Operation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The operations of a path by method, and the values of its parameters."""

    operations: dict[str, Operation]
    path: dict[str, str]


class Routes:
    """A tree of path segments; a literal segment goes before a parameter."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        ids: set[str] = set()
        for operation in operations:
            if operation.id in ids:
                raise ValueError(f"two operations are called {operation.id}")
            ids.add(operation.id)
            place = self._place(operation.path)
            if operation.method in place:
                raise ValueError(f"{operation.method} {operation.path} stands twice")
            place[operation.method] = operation

    def _place(self, path: str) -> dict[str, Operation]:
        node = self._root
        for segment in path.split("/")[1:]:
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            name, _, kind = segment[1:-1].partition(":")
            if kind == "path":
                if node.rest is None:
                    node.rest = (name, {})
                return node.rest[1]
            if node.parameter is None:
                node.parameter = (name, _Node())
            elif node.parameter[0] != name:
                raise ValueError(f"{path}: the parameter is called {node.parameter[0]} elsewhere")
            node = node.parameter[1]
        return node.operations

    def find(self, path: str) -> Found | None:
        """What a path leads to."""
        values: dict[str, str] = {}
        found = _find(self._root, path.split("/")[1:], values)
        return Found(found, values) if found else None


def _find(node: _Node, segments: list[str], values: dict[str, str]) -> dict[str, Operation] | None:
    if not segments:
        return node.operations or None
    first, more = segments[0], segments[1:]
    if first in node.literals:
        found = _find(node.literals[first], more, values)
        if found:
            return found
    if node.parameter is not None and first:
        found = _find(node.parameter[1], more, values)
        if found:
            values[node.parameter[0]] = first
            return found
    if node.rest is not None and any(segments):
        values[node.rest[0]] = "/".join(segments)
        return node.rest[1]
    return None
