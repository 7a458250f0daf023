"""SPDX 2.0 to 2.3 as JSON or tag-value: packages by their package URLs, and the operating system among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stellaops.advisories.canonical import MAX_NODES, Malformed
from stellaops.advisories.documents.lenient import objects, text
from stellaops.sboms.component import Component, Platform, Sbom, arranged, as_platform, component

_TAG = re.compile(r"\s*([A-Za-z]+):[ \t]*(.*)")
_TEXT, _END = "<text>", "</text>"
_NONE = frozenset(("NOASSERTION", "NONE"))
_TRIVY_OS = "SPDXRef-OperatingSystem"
_DESCRIBES = frozenset(("DESCRIBES",))
_DOWN = frozenset(("CONTAINS", "DEPENDS_ON"))
_UP = frozenset(("CONTAINED_BY", "DEPENDENCY_OF"))


class SpdxForm:
    """The SPDX form."""

    name = "SPDX"

    def parsed(self, path: str, raw: bytes) -> Any | None:
        """Tag-value, told by its first tag."""
        head = raw[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
        if head[:1] in (b"{", b"[", b"<") or b"SPDXVersion:" not in raw[:65536]:
            return None
        try:
            told = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Malformed("not-utf-8", str(error)) from error
        return _document(_tags(told))

    def is_one(self, value: Any) -> bool:
        """A JSON object with the standard's version."""
        return isinstance(value, dict) and text(value, "spdxVersion").startswith("SPDX-")

    def read(self, value: Any) -> Sbom:
        """See the interface."""
        packages = list(objects(value, "packages"))
        systems = [each for each in packages if _is_system(each)]
        made = [(text(each, "SPDXID"), _component(each)) for each in packages if not _is_system(each)]
        named = {reference: one for reference, one in made if reference and one is not None}
        others = [one for reference, one in made if not reference and one is not None]
        components, parents = arranged(named, _edges(value), others)
        return Sbom(
            id=_subject(value, packages),
            form=text(value, "spdxVersion"),
            name=text(value, "name"),
            components=components,
            parents=parents,
            platform=_platform(systems, packages),
            published=text(value, "creationInfo", "created") or None,
        )


def _edges(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """References of what contains or depends, and of what is inside it."""
    for each in objects(value, "relationships"):
        pair = text(each, "spdxElementId"), text(each, "relatedSpdxElement")
        kind = text(each, "relationshipType")
        if kind in _DOWN:
            yield pair
        elif kind in _UP:
            yield pair[1], pair[0]


def _is_system(package: dict[str, Any]) -> bool:
    purpose = text(package, "primaryPackagePurpose").upper().replace("_", "-")
    return purpose == "OPERATING-SYSTEM" or text(package, "SPDXID").startswith(_TRIVY_OS)


def _component(package: dict[str, Any]) -> Component | None:
    return component(_purl(package), _told(package, "name"), _told(package, "versionInfo"))


def _purl(package: dict[str, Any]) -> str:
    for reference in objects(package, "externalRefs"):
        if text(reference, "referenceType").lower().rpartition("/")[2] == "purl":
            return text(reference, "referenceLocator")
    return ""


def _told(package: dict[str, Any], name: str) -> str:
    found = text(package, name)
    return "" if found in _NONE else found


def _platform(systems: list[dict[str, Any]], packages: list[dict[str, Any]]) -> Platform | None:
    told = {Platform(text(each, "name").lower(), _told(each, "versionInfo")) for each in systems}
    if told:
        return told.pop() if len(told) == 1 else None
    named = {platform for each in packages if (platform := as_platform(_purl(each))) is not None}
    return named.pop() if len(named) == 1 else None


def _subject(value: dict[str, Any], packages: list[dict[str, Any]]) -> str:
    """The only package that the document describes, else the document by its name."""
    listed = value.get("documentDescribes")
    named = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    named |= {
        text(each, "relatedSpdxElement")
        for each in objects(value, "relationships")
        if text(each, "relationshipType") in _DESCRIBES and text(each, "spdxElementId") == "SPDXRef-DOCUMENT"
    }
    described = [each for each in packages if text(each, "SPDXID") in named]
    if len(described) == 1:
        name, version = _told(described[0], "name"), _told(described[0], "versionInfo")
        return _purl(described[0]) or (f"{name}@{version}" if name and version else name)
    return text(value, "name") or text(value, "documentNamespace")


def _tags(told: str) -> Iterator[tuple[str, str]]:
    """Tags and values; a value between `<text>` marks may go over lines."""
    lines = iter(told.splitlines())
    for number, line in enumerate(lines):
        if number > MAX_NODES:
            raise Malformed("too-many-nodes", f"more than {MAX_NODES} lines in one document")
        found = _TAG.match(line)
        if found is None:
            continue
        value = found[2].strip()
        if value.startswith(_TEXT) and _END not in value:
            value = "\n".join((value, *_until_end(lines)))
        yield found[1], value.removeprefix(_TEXT).partition(_END)[0].strip()


def _until_end(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if _END in line:
            return


def _document(tags: Iterator[tuple[str, str]]) -> dict[str, Any]:
    """The JSON form of what is read of a tag-value document."""
    value: dict[str, Any] = {"packages": [], "relationships": [], "creationInfo": {}}
    inside: dict[str, Any] | None = None
    for tag, told in tags:
        match tag:
            case "PackageName":
                inside = {"name": told, "externalRefs": []}
                value["packages"].append(inside)
            case "FileName" | "SnippetSPDXID" | "LicenseID":
                inside = {}
            case "SPDXVersion" | "DocumentName" | "DocumentNamespace":
                value[_DOCUMENT_TAGS[tag]] = told
            case "Created":
                value["creationInfo"]["created"] = told
            case "Relationship":
                value["relationships"].append(_relationship(told))
            case "ExternalRef" if inside is not None and "externalRefs" in inside:
                inside["externalRefs"].append(_reference(told))
            case "SPDXID" | "PackageVersion" | "PrimaryPackagePurpose" if inside is not None:
                inside[_PACKAGE_TAGS[tag]] = told
    return value


_DOCUMENT_TAGS = {
    "SPDXVersion": "spdxVersion",
    "DocumentName": "name",
    "DocumentNamespace": "documentNamespace",
}
_PACKAGE_TAGS = {
    "SPDXID": "SPDXID",
    "PackageVersion": "versionInfo",
    "PrimaryPackagePurpose": "primaryPackagePurpose",
}


def _relationship(told: str) -> dict[str, str]:
    first, kind, other = ([*told.split(), "", "", ""])[:3]
    return {"spdxElementId": first, "relationshipType": kind, "relatedSpdxElement": other}


def _reference(told: str) -> dict[str, str]:
    category, kind, locator = ([*told.split(), "", "", ""])[:3]
    return {"referenceCategory": category, "referenceType": kind, "referenceLocator": locator}
