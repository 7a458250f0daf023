"""Profiles: named, revisioned recipes of exports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from stellaops.exports import selectors
from stellaops.exports.errors import InvalidProfile, InvalidSelector, UnsupportedSchema

API_VERSION = "stellaops.io/export.v1"
KIND = "ExportProfile"
KINDS = ("json:raw", "trivy:db")
"""`kind:variant` of the bundles that can be built."""
TRIVY_SCHEMA = 2

_NAME = re.compile(r"[a-z0-9][a-z0-9:._-]{0,62}")
_DURATION = re.compile(r"(\d{1,6})(h|m|d)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Name and labels of a profile."""

    name: str
    tenant: str = ""
    revision: str = ""
    labels: dict[str, str] = {}


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What a profile says; fields of other kinds of bundle are refused by `check`."""

    kind: str
    variant: str
    selectors: dict[str, Any] = {}
    include: list[str] = []
    schema_version: int = TRIVY_SCHEMA
    next_update: str = "24h"
    smoke: Literal["required", "ifAvailable", "off"] = "ifAvailable"
    policy_snapshot_mode: Literal["required", "optional", "none"] = "none"


class ProfileDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A profile as it is written in YAML or JSON."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: Spec


@dataclass(frozen=True, slots=True)
class Profile:
    """One immutable revision of a profile.

    Attributes:
        revision: `r1`, `r2`, …; `r0` for the built-in ones.
    """

    name: str
    tenant: str
    revision: str
    spec: Spec
    labels: tuple[tuple[str, str], ...] = ()
    created_at: datetime | None = None
    created_by: str = ""
    reason: str = ""

    @property
    def kind(self) -> str:
        """`kind:variant`."""
        return f"{self.spec.kind}:{self.spec.variant}"

    @property
    def next_update(self) -> timedelta:
        """How long scanners may keep the database before they look for a newer one."""
        return duration(self.spec.next_update)

    def to_wire(self) -> dict[str, Any]:
        """The profile as a document."""
        document = ProfileDocument(
            API_VERSION, KIND, Metadata(self.name, self.tenant, self.revision, dict(self.labels)), self.spec
        )
        wire = msgspec.to_builtins(document)
        assert isinstance(wire, dict)  # noqa: S101 - a struct becomes a dict
        return wire


def built_in(tenant: str) -> tuple[Profile, ...]:
    """The profiles that every tenant has from the start."""
    return tuple(
        Profile(name=name, tenant=tenant, revision="r0", spec=Spec(kind=kind, variant=variant))
        for name in KINDS
        for kind, _, variant in [name.partition(":")]
    )


def read(wire: object) -> ProfileDocument:
    """A profile document from parsed YAML or JSON, checked.

    Raises:
        InvalidProfile: with everything that is wrong.
        UnsupportedSchema: a Trivy schema other than 2.
    """
    problems = _form_problems(wire, ProfileDocument, "")
    if problems:
        raise InvalidProfile("; ".join(problems), details=problems)
    document = msgspec.convert(wire, ProfileDocument)
    if document.api_version != API_VERSION:
        problems.append(f"apiVersion must be {API_VERSION}, not {document.api_version!r}")
    if document.kind != KIND:
        problems.append(f"kind must be {KIND}, not {document.kind!r}")
    if not _NAME.fullmatch(document.metadata.name):
        problems.append(f"metadata.name {document.metadata.name!r} must be 1 to 63 of a-z, 0-9, : . _ -")
    problems += _spec_problems(document.spec)
    if problems:
        raise InvalidProfile("; ".join(problems), details=problems)
    check_schema(document.spec)
    return document


def check_name(name: str) -> None:
    """Refuse a name that would not pass through file names, logs and manifests as it is.

    Raises:
        InvalidProfile: see there.
    """
    if not _NAME.fullmatch(name):
        raise InvalidProfile(
            f"the name {name[:80]!r} must be 1 to 63 of a-z, 0-9, : . _ -, and begin with a-z or 0-9"
        )


def check_schema(spec: Spec) -> None:
    """Refuse a Trivy schema that is not written here.

    Raises:
        UnsupportedSchema: any other than 2.
    """
    if spec.kind == "trivy" and spec.schema_version != TRIVY_SCHEMA:
        raise UnsupportedSchema(
            f"Trivy schema {spec.schema_version} is not supported; this release writes schema {TRIVY_SCHEMA}"
        )


def duration(text: str) -> timedelta:
    """A duration such as `24h`, `90m`, `7d`.

    Raises:
        InvalidProfile: another form, or zero.
    """
    found = _DURATION.fullmatch(text)
    if not found or int(found[1]) == 0:
        raise InvalidProfile(f"{text!r} is no duration such as 24h, 90m or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _form_problems(wire: object, form: type[msgspec.Struct], where: str) -> list[str]:
    """Every field that is unknown, missing or of another type; the library's own error names the first only."""
    if not isinstance(wire, dict):
        return [f"{where.rstrip('.') or 'the profile'} must be an object, not {type(wire).__name__}"]
    known = {field.encode_name: field for field in msgspec.structs.fields(form)}
    problems = [
        f"{where}{name} is not a field; there are {', '.join(known)}" for name in wire if name not in known
    ]
    for name, field in known.items():
        if name not in wire:
            problems += [f"{where}{name} is missing"] if field.required else []
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            problems += _form_problems(wire[name], field.type, f"{where}{name}.")
        else:
            try:
                msgspec.convert(wire[name], field.type)
            except msgspec.ValidationError as error:
                problems.append(f"{where}{name}: {error}")
    return problems


def _spec_problems(spec: Spec) -> list[str]:
    problems = []
    if f"{spec.kind}:{spec.variant}" not in KINDS:
        problems.append(f"spec.kind and spec.variant must be one of {', '.join(KINDS)}")
    try:
        duration(spec.next_update)
    except InvalidProfile as error:
        problems.append(f"spec.nextUpdate: {error.what}")
    try:
        selectors.parse(spec.selectors)
    except InvalidSelector as error:
        problems += [f"spec.selectors.{detail}" for detail in error.details or (error.what,)]
    if spec.include not in ([], ["advisories"]):
        problems.append("spec.include: only advisories can be included in this kind of bundle")
    return problems
