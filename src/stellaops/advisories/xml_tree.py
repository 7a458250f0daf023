"""XML as plain elements, bounded: declarations of types and entities are refused, so nothing expands or is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from stellaops.advisories.canonical import MAX_DEPTH, MAX_NODES, Malformed

_SEPARATOR = " "


class Element:
    """One element: its name without namespace, attributes, children, and the text directly in it."""

    __slots__ = ("attributes", "children", "name", "namespace", "words")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.namespace, _, self.name = name.rpartition(_SEPARATOR)
        self.attributes = attributes
        self.children: list[Element] = []
        self.words: list[str] = []

    @property
    def text(self) -> str:
        """Its own text without blanks around it."""
        return "".join(self.words).strip()

    def all(self, *path: str) -> Iterator[Element]:
        """The elements at a path of names."""
        found = [self]
        for name in path:
            found = [child for element in found for child in element.children if child.name == name]
        return iter(found)

    def told(self, *path: str) -> str:
        """The text of the first element at a path of names; empty where there is none."""
        return next((element.text for element in self.all(*path)), "")


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1 + len(attributes)
        if len(self._open) >= MAX_DEPTH:
            raise Malformed("too-deep", f"more than {MAX_DEPTH} levels of nesting")
        if self._count > MAX_NODES:
            raise Malformed("too-many-nodes", f"more than {MAX_NODES} elements in one document")
        element = Element(name, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def characters(self, text: str) -> None:
        self._open[-1].words.append(text)

    def refuse(self, *_declared: Any) -> int:
        raise Malformed("xml-declarations", "declarations of types and entities are not read")


def tree(raw: bytes) -> Element:
    """The root element of a document.

    Raises:
        Malformed: no XML, with a declaration of types or entities, too deep or too large.
    """
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    parser.ExternalEntityRefHandler = builder.refuse
    try:
        parser.Parse(raw, True)
    except Malformed:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Malformed("not-xml", str(error)[:300]) from error
    if builder.root is None:
        raise Malformed("not-xml", "no element")
    return builder.root
