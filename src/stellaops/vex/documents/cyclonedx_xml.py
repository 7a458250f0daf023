"""CycloneDX in XML, as the value that its JSON form would have, as far as statements need it.

Read by expat with handlers: declarations of types and entities are refused, nesting and the number of elements are
bounded, and nothing outside the document is ever looked at.
"""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from stellaops.advisories.canonical import MAX_DEPTH, MAX_NODES, Malformed

_NAMESPACE = "http://cyclonedx.org/schema/bom/"
_SEPARATOR = " "
# Elements whose children are a list in JSON, with the member that holds a bare text.
_LISTS = {
    "components": "component",
    "services": "service",
    "vulnerabilities": "vulnerability",
    "references": "reference",
    "responses": "response",
    "affects": "target",
    "versions": "version",
    "hashes": "hash",
    "authors": "author",
    "tools": "tool",
    "ratings": "rating",
    "advisories": "advisory",
    "cwes": "cwe",
}
_RENAMED = {"responses": "response"}


class _Element:
    """One element under construction."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[_Element] = []
        self.text: list[str] = []


def parsed(raw: bytes) -> Any:
    """The value of a document; None for XML of another kind.

    Raises:
        Malformed: no XML, with a declaration of types or entities, too deep or too large.
    """
    builder = _Builder()
    try:
        root = builder.build(raw)
    except expat.ExpatError as error:
        raise Malformed("not-xml", str(error)) from error
    except (LookupError, ValueError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("not-xml", f"unreadable encoding: {error}"[:300]) from error
    if root is None or root.name != "bom":
        return None
    value = _value(root)
    if not isinstance(value, dict):
        return None
    return {**value, "bomFormat": "CycloneDX", "specVersion": builder.version}


class _Builder:
    """Builds elements from the parser's events."""

    def __init__(self) -> None:
        self.version = ""
        self._root: _Element | None = None
        self._stack: list[_Element] = []
        self._count = 0

    def build(self, raw: bytes) -> _Element | None:
        parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.Parse(raw, True)
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1 + len(attributes)
        if len(self._stack) >= MAX_DEPTH:
            raise Malformed("too-deep", f"more than {MAX_DEPTH} levels of nesting")
        if self._count > MAX_NODES:
            raise Malformed("too-many-nodes", f"more than {MAX_NODES} elements in one document")
        space, _, local = name.rpartition(_SEPARATOR)
        element = _Element(local, attributes)
        if self._stack:
            # What other namespaces add is none of the standard's members.
            if space.startswith(_NAMESPACE):
                self._stack[-1].children.append(element)
        elif space.startswith(_NAMESPACE):
            self._root, self.version = element, space.removeprefix(_NAMESPACE)
        self._stack.append(element)

    def _end(self, _name: str) -> None:
        self._stack.pop()

    def _characters(self, text: str) -> None:
        self._stack[-1].text.append(text)

    def _refuse(self, *_declared: Any) -> None:
        raise Malformed("xml-declarations", "declarations of types and entities are not read")


def _value(element: _Element) -> Any:
    """An element as JSON has it: a list, an object with its attributes as members, or its text."""
    if element.name in _LISTS and not (element.name == "versions" and not element.children):
        return [_value(child) for child in element.children]
    text = "".join(element.text).strip()
    if not element.children and not element.attributes:
        return text
    value: dict[str, Any] = dict(element.attributes)
    if element.name == "hash":
        value["content"] = text
    for child in element.children:
        value[_RENAMED.get(child.name, child.name)] = _value(child)
    return value
