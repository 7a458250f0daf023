"""Domains: the audiences of a mirror, each with what it may see, in which formats, and how much of it an hour.

A document is checked as a whole, and all that is wrong with it is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.core import durations
from stellaops.exports import selectors as selecting
from stellaops.exports.errors import InvalidSelector
from stellaops.exports.selectors import TLP_ORDER, Selectors
from stellaops.mirrors.errors import InvalidDomain
from stellaops.signing import key_uri

Side = Literal["concelier", "excititor"]
SIDES: tuple[Side, ...] = ("concelier", "excititor")
"""The two halves of a mirror: advisories, and VEX."""

OSV, TRIVY_DB, TRIVY_JAVA_DB = "osv", "trivy-db", "trivy-java-db"
ADVISORY_FORMATS = (OSV, TRIVY_DB, TRIVY_JAVA_DB)
"""What advisories are published as beside the bundle, which there always is."""

REPOSITORY = "repository"
DOCUMENT_FORMATS = ("json", "jsonl", "openvex", "csaf", "cyclonedx")
VEX_FORMATS = (*DOCUMENT_FORMATS, REPOSITORY)
"""What the consensus is published as."""

SORTS = ("vulnId", "productKey", "newest")
MOST_SORTED = 100_000
"""The largest limit: so many verdicts are held in memory at once."""

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_MOST_TEXT = 200

_Form = TypeVar("_Form")


class Quotas(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """How much one credential may fetch in an hour; no bound where None."""

    max_index_requests_per_hour: int | None = None
    max_download_requests_per_hour: int | None = None


class Advisories(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What the domain sees of the advisories."""

    enabled: bool = True
    selectors: dict[str, Any] = {}
    formats: tuple[str, ...] = ADVISORY_FORMATS
    allow_empty: bool = False
    """Whether the domain is published without any advisory."""


class VexExport(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """One file made of the consensus."""

    key: str
    format: str
    vuln_id: str | None = None
    """Only this vulnerability, by any of its names."""
    product_key: str | None = None
    """Only this package: a package URL without version."""
    sort: str = "vulnId"
    """Which verdicts come first, where there is a limit."""
    limit: int | None = None


class Vex(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What the domain sees of the consensus of VEX statements."""

    enabled: bool = True
    selectors: dict[str, Any] = {}
    formats: tuple[str, ...] = VEX_FORMATS
    """Each is an export of all that is selected, under the key `consensus-FORMAT`."""
    exports: tuple[VexExport, ...] = ()
    """Further ones, narrowed."""


class Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A domain as it is written in YAML or JSON."""

    id: str
    display_name: str = ""
    require_authentication: bool = True
    tlp_at_most: str = "CLEAR"
    """The highest marking that the domain's readers may see."""
    cadence: str = "24h"
    """How often a new tree is expected."""
    key_ref: str = ""
    """The key that signs it: its id, or its URI in a key service; the tenant's active one where empty."""
    quotas: Quotas = Quotas()
    advisories: Advisories = Advisories()
    vex: Vex = Vex()


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    domains: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a tenant, whose key signs what it is given."""

    tenant: str
    document: Document

    @property
    def id(self) -> str:
        """Its name in URLs and host names."""
        return self.document.id

    @property
    def display_name(self) -> str:
        """Its name for people."""
        return self.document.display_name or self.document.id

    @property
    def key_ref(self) -> str | None:
        """The key that signs it; None for the tenant's active one."""
        return self.document.key_ref or None

    @property
    def cadence(self) -> timedelta:
        """How often a new tree is expected."""
        return durations.parse(self.document.cadence) or timedelta(days=1)

    def has(self, side: Side) -> bool:
        """Whether it takes part in a side."""
        return self.document.advisories.enabled if side == "concelier" else self.document.vex.enabled

    def selectors(self, side: Side) -> Selectors:
        """What is selected for it."""
        part = self.document.advisories if side == "concelier" else self.document.vex
        return selecting.parse({**part.selectors, "tlpAtMost": self.document.tlp_at_most})

    @property
    def advisory_formats(self) -> tuple[str, ...]:
        """What there is beside the bundle, in the order of `ADVISORY_FORMATS`."""
        return tuple(name for name in ADVISORY_FORMATS if name in self.document.advisories.formats)

    @property
    def vex_exports(self) -> tuple[VexExport, ...]:
        """Every export of the consensus, by key."""
        vex = self.document.vex
        whole = [VexExport(f"consensus-{name}", name) for name in DOCUMENT_FORMATS if name in vex.formats]
        return tuple(sorted((*whole, *vex.exports), key=lambda each: each.key))

    @property
    def has_repository(self) -> bool:
        """Whether there is a VEX repository."""
        return REPOSITORY in self.document.vex.formats

    def to_wire(self) -> dict[str, Any]:
        """The domain as a document, with every field that says something."""
        wire = _told(self.document)
        assert isinstance(wire, dict)  # noqa: S101 - a struct becomes a dict
        return wire


def _told(value: object) -> object:
    """A value as it is written; what is None says nothing."""
    if isinstance(value, Struct):
        fields = ((each.encode_name, getattr(value, each.name)) for each in msgspec.structs.fields(value))
        return {name: _told(held) for name, held in fields if held is not None}
    return [_told(each) for each in value] if isinstance(value, tuple) else value


def is_domain_id(text: str) -> bool:
    """Whether a text can be the id of a domain, and so a part of host names and paths."""
    return _ID.fullmatch(text) is not None


def read(wire: object) -> Document:
    """A domain from parsed YAML or JSON, checked.

    Raises:
        InvalidDomain: with everything that is wrong.
    """
    return _checked((_converted(wire, Document),))[0]


def read_file(data: bytes) -> tuple[Document, ...]:
    """The domains of a YAML or JSON file: `domains:` with a list.

    Raises:
        InvalidDomain: with everything that is wrong.
    """
    try:
        parsed = from_yaml(data).parsed
    except Malformed as error:
        raise InvalidDomain(f"the file cannot be read: {error}") from error
    return _checked(_converted(parsed, _File).domains)


def _converted(wire: object, form: type[_Form]) -> _Form:
    try:
        return msgspec.convert(wire, form, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidDomain(str(error)) from error


def _checked(documents: Sequence[Document]) -> tuple[Document, ...]:
    problems = [f"{each.id[:80]}: {problem}" for each in documents for problem in _problems(each)]
    names = [each.id for each in documents]
    problems += [
        f"{twice}: stands there twice" for twice in sorted({name for name in names if names.count(name) > 1})
    ]
    if problems:
        raise InvalidDomain("; ".join(problems), details=problems)
    return tuple(documents)


def _problems(document: Document) -> Iterator[str]:
    if not _ID.fullmatch(document.id):
        yield "id must be 1 to 63 of a-z, 0-9 and -, as a part of a host name"
    if len(document.display_name) > _MOST_TEXT or not document.display_name.isprintable():
        yield f"displayName must be at most {_MOST_TEXT} printable characters"
    yield from _key_problems(document.key_ref)
    if document.tlp_at_most not in TLP_ORDER:
        yield f"tlpAtMost {document.tlp_at_most!r} is none of {', '.join(TLP_ORDER)}"
    if durations.parse(document.cadence) is None:
        yield f"cadence {document.cadence!r} is no duration such as 24h, 90m or 7d"
    for name, value in msgspec.to_builtins(document.quotas).items():
        if value < 0:
            yield f"quotas.{name} must not be below 0"
    yield from _selector_problems("advisories", document.advisories.selectors)
    yield from _selector_problems("vex", document.vex.selectors)
    yield from _unknown("advisories.formats", document.advisories.formats, ADVISORY_FORMATS)
    yield from _unknown("vex.formats", document.vex.formats, VEX_FORMATS)
    yield from _export_problems(document.vex.exports)


def _key_problems(key: str) -> Iterator[str]:
    if key and not _KEY_ID.fullmatch(key):
        try:
            key_uri.parse(key)
        except key_uri.BadKeyUri as error:
            yield f"keyRef is no id of a key (64 hexadecimal digits), and {error.what}"


def _selector_problems(part: str, wire: Mapping[str, Any]) -> Iterator[str]:
    for name in ("tlpAtMost", "tenants"):
        if name in wire:
            yield f"{part}.selectors: {name} is no selector of a domain; the marking stands beside its id"
    try:
        selecting.parse({name: value for name, value in wire.items() if name not in ("tlpAtMost", "tenants")})
    except InvalidSelector as error:
        for problem in error.details:
            yield f"{part}.selectors: {problem}"


def _unknown(field: str, given: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for name in given:
        if name not in known:
            yield f"{field}: {name!r} is none of {', '.join(known)}"


def _export_problems(exports: Sequence[VexExport]) -> Iterator[str]:
    keys = [each.key for each in exports]
    reserved = {f"consensus-{name}" for name in DOCUMENT_FORMATS}
    for each in exports:
        place = f"vex.exports {each.key[:80]!r}"
        if not _KEY.fullmatch(each.key):
            yield f"{place}: a key must be 1 to 63 of a-z, 0-9, . _ -"
        if each.key in reserved or keys.count(each.key) > 1:
            yield f"{place}: the key is taken"
        yield from _unknown(f"{place}: format", (each.format,), DOCUMENT_FORMATS)
        yield from _unknown(f"{place}: sort", (each.sort,), SORTS)
        if each.limit is not None and not 1 <= each.limit <= MOST_SORTED:
            yield f"{place}: limit must be 1 to {MOST_SORTED}"
        if each.limit is None and each.sort != SORTS[0]:
            yield f"{place}: sort says which verdicts come first under a limit, and there is none"
        if each.product_key is not None and not each.product_key.startswith("pkg:"):
            yield f"{place}: productKey must be a package URL such as pkg:npm/lodash"
