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
KINDS = ("json:policy", "json:raw", "trivy:db", "trivy:java-db")
"""`kind:variant` of the bundles that can be built."""
TRIVY_SCHEMAS = {"db": 2, "java-db": 1}
"""The schema that is written of each variant of `trivy`."""
_USUAL_NEXT_UPDATE = "24h"
_NEXT_UPDATE = {"trivy:java-db": "3d"}
"""Where it is another; as Trivy's own builders have it."""

_INCLUDABLE: tuple[Literal["advisories"], Literal["vex"]] = ("advisories", "vex")

_NAME = re.compile(r"[a-z0-9][a-z0-9:._-]{0,62}")
_DURATION = re.compile(r"(\d{1,6})(h|m|d)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Name and labels of a profile."""

    name: str
    tenant: str = ""
    revision: str = ""
    labels: dict[str, str] = {}


class Signing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """How a bundle is signed. It stands in no state: the same export may be signed in more forms or in fewer."""

    forms: list[Literal["jws"]] = []
    """Forms beside the cosign signature and the Sigstore bundle, which every bundle has."""


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What a profile says; fields of other kinds of bundle are refused by `check`."""

    kind: str
    variant: str
    selectors: dict[str, Any] = {}
    include: list[str] = []
    schema_version: int | None = None
    next_update: str | None = None
    smoke: Literal["required", "ifAvailable", "off"] = "ifAvailable"
    policy_snapshot_mode: Literal["required", "optional", "none"] | None = None
    signing: Signing = Signing()


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
    def included(self) -> tuple[Literal["advisories", "artefacts", "vex"], ...]:
        """What of the shared evidence is in the bundle."""
        if self.kind == "trivy:java-db":
            return ("artefacts",)
        if self.spec.kind != "json":
            return ("advisories",)
        chosen = self.spec.include or _INCLUDABLE
        return tuple(kind for kind in _INCLUDABLE if kind in chosen)

    @property
    def policy_mode(self) -> Literal["required", "optional", "none"]:
        """Whether a policy snapshot is applied: `json:policy` takes one where there is one, others when told to."""
        mode = self.spec.policy_snapshot_mode
        return mode or ("optional" if self.kind == "json:policy" else "none")

    @property
    def next_update(self) -> timedelta:
        """How long scanners may keep the database before they look for a newer one."""
        return duration(self.spec.next_update or _NEXT_UPDATE.get(self.kind, _USUAL_NEXT_UPDATE))

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
        UnsupportedSchema: a Trivy schema that is not written here.
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
    return msgspec.structs.replace(document, spec=_without_defaults(document.spec))


def _without_defaults(spec: Spec) -> Spec:
    """A value that is the kind's own says nothing: with it or without it, the profile is the same."""
    usual = _NEXT_UPDATE.get(f"{spec.kind}:{spec.variant}", _USUAL_NEXT_UPDATE)
    return msgspec.structs.replace(
        spec,
        schema_version=None,  # `check_schema` lets no other pass
        next_update=None if spec.next_update == usual else spec.next_update,
    )


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
        UnsupportedSchema: any other than the one of the profile's variant.
    """
    written = TRIVY_SCHEMAS.get(spec.variant)
    if spec.kind == "trivy" and written is not None and spec.schema_version not in (None, written):
        raise UnsupportedSchema(
            f"schema {spec.schema_version} of trivy:{spec.variant} is not supported; this release writes {written}"
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
        if spec.next_update is not None:
            duration(spec.next_update)
    except InvalidProfile as error:
        problems.append(f"spec.nextUpdate: {error.what}")
    try:
        selectors.parse(spec.selectors)
    except InvalidSelector as error:
        problems += [f"spec.selectors.{detail}" for detail in error.details or (error.what,)]
    includable = _INCLUDABLE if spec.kind == "json" else ("advisories",)
    problems += [
        f"spec.include: {item!r} is none of {', '.join(includable)}"
        for item in spec.include
        if item not in includable
    ]
    return problems
