"""CycloneDX 1.0 to 1.6 as JSON or XML: components at any depth, and the operating system among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stellaops.advisories.documents.lenient import objects, text
from stellaops.advisories.xml_tree import Element, tree
from stellaops.sboms.component import Component, Platform, Sbom, arranged, as_platform, component

_NAMESPACE = "http://cyclonedx.org/schema/bom/"
_SOURCE = "aquasecurity:trivy:Src"


class CycloneDxForm:
    """The CycloneDX form."""

    name = "CycloneDX"

    def parsed(self, path: str, raw: bytes) -> Any | None:
        """XML of the standard's namespace, with what is read here of it."""
        if not _is_xml(path, raw) or _NAMESPACE.encode() not in raw:
            return None
        root = tree(raw)
        return _bom(root) if root.name == "bom" and root.namespace.startswith(_NAMESPACE) else None

    def is_one(self, value: Any) -> bool:
        """A JSON object that calls itself so, and is more than statements about another document's components."""
        if not isinstance(value, dict) or value.get("bomFormat") != "CycloneDX":
            return False
        return isinstance(value.get("components"), list) or "vulnerabilities" not in value

    def read(self, value: Any) -> Sbom:
        """See the interface."""
        subject = (
            value.get("metadata", {}).get("component") if isinstance(value.get("metadata"), dict) else None
        )
        about = subject if isinstance(subject, dict) else {}
        walked = list(_walk(about, value))
        stated = [each for _, each in walked]
        made = [(_reference(each), _component(each)) for each in stated]
        named = {reference: one for reference, one in made if reference and one is not None}
        others = [one for reference, one in made if not reference and one is not None]
        within = ((_reference(parent), _reference(each)) for parent, each in walked if parent is not None)
        components, parents = arranged(named, (*within, *_dependencies(value)), others)
        return Sbom(
            id=_subject(about, text(value, "serialNumber")),
            form=f"CycloneDX {text(value, 'specVersion')}".strip(),
            name=text(about, "name"),
            components=components,
            parents=parents,
            platform=_platform(stated),
            published=text(value, "metadata", "timestamp") or None,
        )


def _is_xml(path: str, raw: bytes) -> bool:
    return path.lower().endswith(".xml") or raw.lstrip()[:1] == b"<"


def _subject(about: dict[str, Any], serial: str) -> str:
    name, version = text(about, "name"), text(about, "version")
    return text(about, "purl") or (f"{name}@{version}" if name and version else name) or serial


_Stated = dict[str, Any]


def _walk(about: _Stated, value: _Stated) -> Iterator[tuple[_Stated | None, _Stated]]:
    """The subject, where it is a package, and all components, each with what it stands in; without recursion."""
    pending: list[tuple[_Stated | None, _Stated]] = [(None, each) for each in objects(value, "components")]
    pending += [(about, each) for each in objects(about, "components")]
    if text(about, "purl"):
        yield None, {name: told for name, told in about.items() if name != "components"}
    while pending:
        parent, each = pending.pop()
        yield parent, each
        pending.extend((each, inner) for inner in objects(each, "components"))


def _reference(stated: _Stated) -> str:
    return text(stated, "bom-ref")


def _dependencies(value: _Stated) -> Iterator[tuple[str, str]]:
    """References of what depends, and of what it depends on."""
    for each in objects(value, "dependencies"):
        listed = each.get("dependsOn")
        for child in listed if isinstance(listed, list) else ():
            if isinstance(child, str):
                yield text(each, "ref"), child


def _component(stated: dict[str, Any]) -> Component | None:
    if text(stated, "type") == "operating-system":
        return None
    group, name = text(stated, "group"), text(stated, "name")
    properties = {text(each, "name"): text(each, "value") for each in objects(stated, "properties")}
    version = properties.get(f"{_SOURCE}Version", "")
    if version and properties.get(f"{_SOURCE}Release"):
        version = f"{version}-{properties[f'{_SOURCE}Release']}"
    epoch = properties.get(f"{_SOURCE}Epoch", "")
    return component(
        text(stated, "purl"),
        f"{group}/{name}" if group else name,
        text(stated, "version"),
        properties.get(f"{_SOURCE}Name", ""),
        f"{epoch}:{version}" if version and epoch else version,
    )


def _platform(stated: list[dict[str, Any]]) -> Platform | None:
    """The operating system that the document lists; of several, none: then each package must say its own."""
    told = {
        Platform(text(each, "name").lower(), text(each, "version"))
        for each in stated
        if text(each, "type") == "operating-system"
    }
    if told:
        return told.pop() if len(told) == 1 else None
    named = {platform for each in stated if (platform := as_platform(text(each, "purl"))) is not None}
    return named.pop() if len(named) == 1 else None


def _bom(root: Element) -> dict[str, Any]:
    """The JSON form of what is read of an XML document."""
    about = next(root.all("metadata", "component"), None)
    metadata: dict[str, Any] = {"timestamp": root.told("metadata", "timestamp")}
    if about is not None:
        metadata["component"] = _of_element(about)
    value: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": root.namespace.removeprefix(_NAMESPACE),
        "serialNumber": root.attributes.get("serialNumber", ""),
        "metadata": metadata,
    }
    listed = [_of_element(each) for each in root.all("components", "component")]
    if listed or next(root.all("components"), None) is not None:
        value["components"] = listed
    value["dependencies"] = [
        {
            "ref": each.attributes.get("ref", ""),
            "dependsOn": [child.attributes.get("ref", "") for child in each.all("dependency")],
        }
        for each in root.all("dependencies", "dependency")
    ]
    if next(root.all("vulnerabilities"), None) is not None:
        value["vulnerabilities"] = []
    return value


def _of_element(element: Element) -> dict[str, Any]:
    value: dict[str, Any] = {name: element.told(name) for name in ("group", "name", "version", "purl")}
    value["type"] = element.attributes.get("type", "")
    value["bom-ref"] = element.attributes.get("bom-ref", "")
    value["properties"] = [
        {"name": each.attributes.get("name", ""), "value": each.text}
        for each in element.all("properties", "property")
    ]
    value["components"] = [_of_element(each) for each in element.all("components", "component")]
    return value
