"""CycloneDX 1.4 to 1.6 with analysed vulnerabilities, as JSON or XML, one document a file.

An affected component is named by its reference inside the document, or by a link into another document, whose
fragment is a reference there. A vulnerability that nobody has analysed is a finding, not a statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.csaf.values import obj, objects, text, texts
from stellaops.vex.documents import cyclonedx_xml
from stellaops.vex.documents.layout import NO_DOCUMENTS
from stellaops.vex.products import Product, best, identify, product
from stellaops.vex.statement import (
    Issuer,
    Role,
    Statement,
    Status,
    Target,
    VexDocument,
    Words,
    instant,
    vulnerability,
)

_SIGNS = (b'"CycloneDX"', b"cyclonedx.org/schema/bom/")
_STATES = {
    "exploitable": Status.AFFECTED,
    "in_triage": Status.UNDER_INVESTIGATION,
    "resolved": Status.FIXED,
    "resolved_with_pedigree": Status.FIXED,
    "not_affected": Status.NOT_AFFECTED,
    "false_positive": Status.NOT_AFFECTED,
}
_JUSTIFICATIONS = {
    "code_not_present": "vulnerable_code_not_present",
    "code_not_reachable": "vulnerable_code_not_in_execute_path",
    "requires_configuration": "vulnerable_code_cannot_be_controlled_by_adversary",
    "requires_dependency": "vulnerable_code_cannot_be_controlled_by_adversary",
    "requires_environment": "vulnerable_code_cannot_be_controlled_by_adversary",
    "protected_by_compiler": "inline_mitigations_already_exist",
    "protected_at_runtime": "inline_mitigations_already_exist",
    "protected_at_perimeter": "inline_mitigations_already_exist",
    "protected_by_mitigating_control": "inline_mitigations_already_exist",
}
_LINK = "urn:cdx:"


class CycloneDxFeed(DocumentFiles):
    """The CycloneDX feed."""

    name = "cyclonedx-vex"

    def recognises(self, path: str, content: bytes) -> bool:
        """A CycloneDX document with vulnerabilities; a bill of materials without any says nothing of them."""
        if not self.may_hold_documents(path) or not any(sign in content for sign in _SIGNS):
            return False
        try:
            return _is_vex(self.canonical(path, content).parsed)
        except Malformed:
            return False

    def may_hold_documents(self, path: str) -> bool:
        """JSON and XML files but hidden ones."""
        base = path.rpartition("/")[2].lower()
        return base.endswith((".json", ".xml")) and not base.startswith(".") and base not in NO_DOCUMENTS

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON; XML has no canonical JSON and keeps its own bytes."""
        if path.lower().endswith(".xml"):
            return Canonical(raw, True, cyclonedx_xml.parsed(raw))
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> VexDocument | None:
        """The statements of a document; None for what is no CycloneDX, or has no vulnerabilities."""
        if not _is_vex(parsed):
            return None
        components = _components(parsed)
        metadata = obj(parsed, "metadata")
        told = enumerate(objects(parsed, "vulnerabilities"), 1)
        return VexDocument(
            id=text(parsed, "serialNumber"),
            issuer=_issuer(metadata),
            statements=tuple(each for number, one in told for each in _statements(number, one, components)),
            published=text(metadata, "timestamp") or None,
            title=text(metadata, "component", "name"),
        )


def _is_vex(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("bomFormat") == "CycloneDX"
        and isinstance(value.get("vulnerabilities"), list)
    )


def _issuer(metadata: dict[str, Any]) -> Issuer:
    """Who the document says it comes from: the supplier or manufacturer of its product, else its authors."""
    component = obj(metadata, "component")
    for place in (metadata, component):
        for field in ("supplier", "manufacturer", "manufacture"):
            name = text(place, field, "name")
            if name:
                return Issuer(name, Role.SUPPLIER)
    publisher = text(component, "publisher")
    if publisher:
        return Issuer(publisher, Role.SUPPLIER)
    names = (text(one, "name") or text(one, "email") for one in objects(metadata, "authors"))
    return Issuer(next((name for name in names if name), ""))


def _components(parsed: dict[str, Any]) -> dict[str, tuple[Product, ...]]:
    """What the references inside the document stand for."""
    found: dict[str, tuple[Product, ...]] = {}
    pending = [obj(parsed, "metadata", "component"), *_within(parsed)]
    while pending:
        one = pending.pop()
        reference = text(one, "bom-ref")
        if reference and reference not in found:
            found[reference] = _component(one)
        pending.extend(_within(one))
    return found


def _within(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for field in ("components", "services"):
        yield from objects(value, field)


def _component(one: dict[str, Any]) -> tuple[Product, ...]:
    name, version = text(one, "name"), text(one, "version")
    named = "/".join(part for part in (text(one, "group"), name) if part)
    hashes = tuple(
        f"{text(each, 'alg').lower()}:{text(each, 'content').lower()}" for each in objects(one, "hashes")
    )
    purl, cpe = text(one, "purl"), text(one, "cpe")
    told = f"{named}@{version}" if version else named
    return best((purl,) if purl else (), (cpe,) if cpe else (), () if named else hashes, told)


def _statements(
    number: int, one: dict[str, Any], components: dict[str, tuple[Product, ...]]
) -> Iterator[Statement]:
    analysis = obj(one, "analysis")
    state = text(analysis, "state")
    if not state:
        return
    if state not in _STATES:
        raise Malformed("schema", f"vulnerability {number}: analysis.state is none of {', '.join(_STATES)}")
    name = vulnerability(text(one, "id"), [text(each, "id") for each in objects(one, "references")])
    if not name:
        raise Malformed("schema", f"vulnerability {number} has no id")
    stated = text(analysis, "lastUpdated") or text(analysis, "firstIssued") or text(one, "updated")
    reason = text(analysis, "justification")
    words = Words(
        text(analysis, "detail"),
        "\n".join(filter(None, (text(one, "recommendation"), ", ".join(texts(analysis, "response"))))),
        f"justification: {reason}" if reason else "",
    )
    grouped: dict[Status, dict[Target, None]] = {}
    for status, target in _targets(one, _STATES[state], components):
        grouped.setdefault(status, {})[target] = None
    for status, targets in grouped.items() or ((_STATES[state], ()),):
        justification = _JUSTIFICATIONS.get(reason, reason) if status is Status.NOT_AFFECTED else ""
        yield Statement(name, status, tuple(targets), justification, words, instant(stated))


def _targets(
    one: dict[str, Any], status: Status, components: dict[str, tuple[Product, ...]]
) -> Iterator[tuple[Status, Target]]:
    for affected in objects(one, "affects"):
        for each in _referenced(text(affected, "ref"), components):
            versions = list(objects(affected, "versions"))
            for told in versions:
                version = text(told, "version") or text(told, "range")
                yield _of_version(text(told, "status"), status), Target(_versioned(each, version))
            if not versions:
                yield status, Target(each)


def _of_version(word: str, status: Status) -> Status:
    """What the word beside a version means in the state that was analysed."""
    if word == "unaffected" and status is not Status.FIXED:
        return Status.NOT_AFFECTED
    if word == "affected" and status is Status.FIXED:
        return Status.AFFECTED
    return Status.UNDER_INVESTIGATION if word == "unknown" else status


def _referenced(reference: str, components: dict[str, tuple[Product, ...]]) -> tuple[Product, ...]:
    if reference in components:
        return components[reference]
    if reference.startswith(_LINK):
        inside = unquote(reference.partition("#")[2])
        # Generators like to use package URLs as references: then the link says what it leads to.
        return (product(inside if inside.startswith("pkg:") else reference),)
    return (product(reference),) if reference else ()


def _versioned(one: Product, version: str) -> Product:
    if not version or one.identity != one.package:
        return one
    if version.startswith("vers:"):
        return product(
            f"{one.identity}?vers={version}"
            if one.identity.startswith("pkg:")
            else f"{one.identity} {version}"
        )
    return product(f"{one.identity}@{identify(version)}", one.others)
