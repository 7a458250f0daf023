"""CycloneDX 1.5 VEX documents of the consensus.

Products are components of the document itself; what is inside a product stands inside its component. Where a bill of
materials is named, the products are its components, by links into it: the only form that Trivy follows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from stellaops.bundles.vex.csaf import OPEN, uncontradicted
from stellaops.bundles.vex.openvex import Author
from stellaops.bundles.vex.spool import Spool, write_object
from stellaops.bundles.vex.verdict import Verdict
from stellaops.core import digests, timestamps
from stellaops.core.errors import InvalidInput
from stellaops.vex.consensus import Subject, reason
from stellaops.vex.products import applies, identify, package_of
from stellaops.vex.statement import Status

_STATES = {
    Status.AFFECTED: "exploitable",
    Status.UNDER_INVESTIGATION: "in_triage",
    Status.FIXED: "resolved",
    Status.NOT_AFFECTED: "not_affected",
}
_JUSTIFICATIONS = {
    "component_not_present": "code_not_present",
    "vulnerable_code_not_present": "code_not_present",
    "vulnerable_code_not_in_execute_path": "code_not_reachable",
    "vulnerable_code_cannot_be_controlled_by_adversary": "requires_environment",
    "inline_mitigations_already_exist": "protected_by_mitigating_control",
}
_SERIAL = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Linked:
    """A bill of materials that a document is about.

    Attributes:
        serial: its `serialNumber`.
        references: `bom-ref` of each component by identity.
    """

    serial: str
    version: int
    references: Mapping[str, str] = field(default_factory=dict)

    def refs(self, subject: Subject) -> Iterator[str]:
        """Links to the components that a verdict holds for."""
        inside = subject.subcomponent or (subject.product if subject.platform else "")
        whole = subject.platform or subject.product
        if inside and not any(applies(whole, identity) for identity in self.references):
            return
        wanted = inside or whole
        for identity, reference in self.references.items():
            if package_of(identity) == package_of(wanted) and applies(wanted, identity):
                serial = self.serial.removeprefix("urn:uuid:")
                yield f"urn:cdx:{serial}/{self.version}#{quote(reference, safe='')}"


class NotLinkable(InvalidInput):
    """A file that is no CycloneDX bill of materials in JSON with a serial number, so that nothing can link to it."""

    code = "ERR_VEX_SBOM_NOT_LINKABLE"
    hint = "Give a CycloneDX document in JSON that has a serialNumber, such as `trivy --format cyclonedx` writes."


class _Listed(msgspec.Struct, rename={"bom_ref": "bom-ref"}):
    bom_ref: str = ""
    purl: str = ""
    components: list[_Listed] = []


class _Metadata(msgspec.Struct):
    component: _Listed = msgspec.field(default_factory=_Listed)


class _Bill(msgspec.Struct, rename="camel"):
    bom_format: str
    serial_number: str
    version: int = 1
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    components: list[_Listed] = []


def read_linked(raw: bytes) -> Linked:
    """The bill of materials of a CycloneDX document.

    Raises:
        NotLinkable: see there.
    """
    try:
        bill = msgspec.json.decode(raw, type=_Bill)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotLinkable(f"the bill of materials cannot be read: {error}") from error
    if bill.bom_format != "CycloneDX" or not _SERIAL.fullmatch(bill.serial_number):
        raise NotLinkable("the bill of materials is no CycloneDX with a serialNumber of the form urn:uuid:…")
    references: dict[str, str] = {}
    pending = [bill.metadata.component, *bill.components]
    while pending:
        one = pending.pop()
        pending.extend(one.components)
        if one.purl:
            references[identify(one.purl)] = one.bom_ref or one.purl
    return Linked(bill.serial_number, bill.version, references)


class Writer:
    """One document; the verdicts on a vulnerability are given together, vulnerabilities in any order.

    Attributes:
        left_out: broad verdicts that a narrower one contradicts; about a bill, those that decide on nothing in it.
    """

    def __init__(
        self, out: BinaryIO, scratch: BinaryIO, author: Author, linked: Linked | None = None
    ) -> None:
        self._out = out
        self._spool = Spool(scratch)
        self._author = author
        self._linked = linked
        self._newest = timestamps.EPOCH
        self._components: dict[str, dict[str, dict[str, Any]]] = {}
        self.left_out = 0
        self.statements = 0

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        alike: dict[tuple[str, ...], list[str]] = {}
        carried = 0
        for verdict, refs in self._placed(verdicts):
            carried += 1
            alike.setdefault(_told(verdict), []).extend(refs)
            self._newest = max(self._newest, verdict.instant)
        for told in sorted(alike):
            self._spool.add(_vulnerability(verdicts[0], told, sorted(set(alike[told]))))
        self.statements += carried
        self.left_out += len(verdicts) - carried

    def finish(self) -> None:
        """Write the document; it needs at least one verdict."""
        members: dict[str, Any] = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{_uuid(self._spool.digest())}",
            "version": 1,
            "metadata": _metadata(self._author, self._newest),
        }
        if self._components:
            members["components"] = [
                _component(name, parts) for name, parts in sorted(self._components.items())
            ]
        write_object(self._out, members | {"vulnerabilities": self._spool})

    def _placed(self, verdicts: Sequence[Verdict]) -> list[tuple[Verdict, list[str]]]:
        """The verdicts that are carried, with what each refers to."""
        if self._linked is None:
            return [(verdict, [self._ref(verdict.subject)]) for verdict in uncontradicted(verdicts)]
        chosen: dict[str, Verdict] = {}
        # Of a component the narrowest verdict counts; of two alike the one that leaves something to do.
        for verdict in sorted(verdicts, key=lambda each: (each.narrowness, each.status in OPEN)):
            chosen.update(dict.fromkeys(self._linked.refs(verdict.subject), verdict))
        placed: dict[int, tuple[Verdict, list[str]]] = {}
        for ref, verdict in chosen.items():
            placed.setdefault(id(verdict), (verdict, []))[1].append(ref)
        return list(placed.values())

    def _ref(self, subject: Subject) -> str:
        whole = subject.platform or subject.product
        parts = self._components.setdefault(whole, {})
        inside = tuple(filter(None, (subject.product if subject.platform else "", subject.subcomponent)))
        if not inside:
            return _ref(whole)
        parts[_ref(whole, *inside)] = _leaf(_ref(whole, *inside), inside[-1])
        return _ref(whole, *inside)


def _told(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.status.value, verdict.justification, verdict.impact, verdict.words.action,
        reason(verdict.consensus), timestamps.render(verdict.instant),
    )  # fmt: skip


def _vulnerability(first: Verdict, told: tuple[str, ...], refs: list[str]) -> dict[str, Any]:
    status, justification, impact, action, why, instant = told
    analysis: dict[str, Any] = {"state": _STATES[Status(status)], "lastUpdated": instant}
    if justification:
        analysis["justification"] = _JUSTIFICATIONS[justification]
    analysis["detail"] = "\n".join(filter(None, (impact, why)))
    wire: dict[str, Any] = {
        "id": first.subject.vulnerability,
        "source": {"name": _scheme(first.subject.vulnerability)},
    }
    if first.aliases:
        wire["references"] = [{"id": alias, "source": {"name": _scheme(alias)}} for alias in first.aliases]
    if action:
        wire["recommendation"] = action
    return wire | {"analysis": analysis, "affects": [{"ref": ref} for ref in refs]}


def _scheme(identifier: str) -> str:
    return identifier.partition("-")[0] or identifier


def _metadata(author: Author, newest: datetime) -> dict[str, Any]:
    return {"timestamp": timestamps.render(newest), "authors": [{"name": author.name}]}


def _component(identity: str, parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    inside = [parts[ref] for ref in sorted(parts)]
    return _leaf(_ref(identity), identity) | ({"components": inside} if inside else {})


def _leaf(ref: str, identity: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"type": "library", "bom-ref": ref, "name": identity}
    if identity.startswith("pkg:"):
        bare = package_of(identity)
        version = identity[len(bare) :].partition("?")[0].partition("#")[0].removeprefix("@")
        wire["name"] = bare.rpartition("/")[2]
        if version:
            wire["version"] = version
        wire["purl"] = identity
    elif identity.startswith("cpe:"):
        wire["cpe"] = identity
    return wire


def _ref(*names: str) -> str:
    """A package URL for itself; what stands inside another component needs a name of its own."""
    return names[0] if len(names) == 1 else f"ref-{digests.content_id(chr(10).join(names).encode())}"


def _uuid(digest: str) -> uuid.UUID:
    """A UUID of version 8 (RFC 9562: made by a rule of one's own) from a digest."""
    return uuid.UUID(int=int(digest[:32], 16) & ~(0xF << 76) & ~(0x3 << 62) | (8 << 76) | (2 << 62))
