"""CycloneDX in XML, as the value that its JSON form would have, as far as statements need it."""

from __future__ import annotations

from typing import Any

from stellaops.advisories.xml_tree import Element, tree

_NAMESPACE = "http://cyclonedx.org/schema/bom/"
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


def parsed(raw: bytes) -> Any:
    """The value of a document; None for XML of another kind.

    Raises:
        Malformed: no XML, with a declaration of types or entities, too deep or too large.
    """
    root = tree(raw)
    if root.name != "bom" or not root.namespace.startswith(_NAMESPACE):
        return None
    value = _value(root)
    if not isinstance(value, dict):
        return None
    return {**value, "bomFormat": "CycloneDX", "specVersion": root.namespace.removeprefix(_NAMESPACE)}


def _value(element: Element) -> Any:
    """An element as JSON has it: a list, an object with its attributes as members, or its text.

    What other namespaces add is none of the standard's members.
    """
    children = [child for child in element.children if child.namespace.startswith(_NAMESPACE)]
    if element.name in _LISTS and not (element.name == "versions" and not children):
        return [_value(child) for child in children]
    if not children and not element.attributes:
        return element.text
    value: dict[str, Any] = dict(element.attributes)
    if element.name == "hash":
        value["content"] = element.text
    for child in children:
        value[_RENAMED.get(child.name, child.name)] = _value(child)
    return value
