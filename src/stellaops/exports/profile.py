"""Profiles: named, revisioned recipes of exports."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from stellaops.core import durations
from stellaops.exports.errors import InvalidProfile

API_VERSION = "stellaops.io/export.v1"
KIND = "ExportProfile"
KINDS = ("json:policy", "json:raw", "mirror:delta", "mirror:full", "trivy:db", "trivy:java-db")
"""`kind:variant` of the bundles that can be built."""
DELTA, FULL = "mirror:delta", "mirror:full"
USUAL_SHARE = "50%"
"""Above which share of the full archive a delta is no delta any more."""
TRIVY_SCHEMAS = {"db": 2, "java-db": 1}
"""The schema that is written of each variant of `trivy`."""
_USUAL_NEXT_UPDATE = "24h"
_NEXT_UPDATE = {"trivy:java-db": "3d"}
"""Where it is another; as Trivy's own builders have it."""

DRIVERS = ("http", "object", "oci")
"""How bundles can be distributed."""
Kind = Literal["advisories", "artefacts", "sboms", "vex"]
"""A kind of evidence."""
INCLUDABLE: Mapping[str, tuple[Kind, ...]] = {
    "advisories": ("advisories",),
    "vex": ("vex",),
    "sboms": ("sboms",),
    "findings": ("advisories", "sboms", "vex"),
    "upstream": (),
    "normalized": (),
    "trivy": ("advisories", "artefacts"),
    "vex-repository": ("vex",),
}
"""What a bundle of rows or a mirror can include, with the evidence that it is made from."""
_USUALLY_INCLUDED = ("advisories", "vex")
OF_ROWS = ("json", "mirror")
"""Kinds of bundles that choose what they include."""
MOST_RETAINED = 36_500
"""Days or bundles of a rule of retention."""
HIGHEST_LEVEL = 19
"""Of compression; above it readers need more memory than they can be asked for."""

_PERCENT = re.compile(r"(\d{1,3})%")


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
    key_ref: str | None = None
    """Which of the tenant's keys signs: its id, or its URI in a key service; the active one where None."""


class Compression(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """How hard files of rows are packed. It stands in no state."""

    level: int | None = None
    """Of zstd, 1 to 19; the usual one, 6, where None."""


class Encryption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """For whom the contents are encrypted. It stands in no state; only `export.json` is the same each time."""

    enabled: bool = False
    mode: Literal["age", "aes-gcm"] = "age"
    """Each file as a file of age, or all under one key of AES-256-GCM that is wrapped for each recipient."""
    recipient_keys: list[str] = []
    """Public keys of age (`age1…`), and in mode aes-gcm URIs of keys in key services."""


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """When an export that is sound in itself is not published all the same."""

    max_shrink: str | None = None
    """How much less it may hold than the run before it, as `20%`."""
    max_source_age: str | None = None
    """How long ago its sources may have been compared with their upstreams, as `36h`."""
    approve: bool = False
    """Whether a run that breaks a bound is held for an approval; else it fails."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """How long bundles are kept. It stands in no state; what stays whatever a rule says, `exports.retention` knows."""

    mode: Literal["days", "count"]
    """For days after their runs have ended, or the newest ones by count."""
    value: int


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A place where bundles are brought to."""

    driver: str
    name: str = ""
    """Of the target as the installation's settings name it; the driver's own name where empty."""
    required: bool = False
    """Whether a run fails that cannot reach it."""
    settings: dict[str, Any] = {}
    """What the profile says to the target; where it is and who may write to it, the installation says."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A target that a profile's bundles are brought to.

    Attributes:
        name: of the target, as the installation's settings name it.
        required: whether a run fails that cannot reach it.
        options: what the profile says to the target.
    """

    name: str
    driver: str
    required: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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
    gate: Gate = Gate()
    distribution: list[str | Target] = []
    """Where bundles go beside the store of artefacts; `http`, the download from there, is always there."""
    compression: Compression = Compression()
    encryption: Encryption = Encryption()
    schedule: str | None = None
    """When the profile is run by itself: cron, in UTC."""
    retention: Retention | None = None
    """How long bundles are kept; as the installation's settings say for the kind of bundle where None."""
    time_limit: str | None = None
    """How long an attempt of a run may take, as `90m`; the worker's own limit where None."""
    of: str | None = None
    """Of a delta: the full profile whose state it carries; `mirror:full` where None."""
    full_instead: Literal["ifNeeded", "never"] = "ifNeeded"
    """Of a delta: whether a full archive is made where none can be, or where it would be too large."""
    max_share: str | None = None
    """Of a delta: above which share of the full archive a full one is made instead, as `50%`."""


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
    def included(self) -> tuple[Kind, ...]:
        """The evidence that the bundle is made from."""
        if self.kind == "trivy:java-db":
            return ("artefacts",)
        if self.spec.kind not in OF_ROWS:
            return ("advisories",)
        parts = {*self._include, "findings"} if self.has_findings else set(self._include)
        return tuple(sorted({kind for part in parts for kind in INCLUDABLE.get(part, ())}))

    def includes(self, part: str) -> bool:
        """Whether something of `INCLUDABLE` is in the bundle; a kind of evidence means its documents."""
        return self.spec.kind in OF_ROWS and part in self._include

    @property
    def _include(self) -> Sequence[str]:
        return self.spec.include or _USUALLY_INCLUDED

    @property
    def has_findings(self) -> bool:
        """Whether the tenant's findings are in the bundle, and so the policy that they were made under."""
        return self.kind == "json:policy" or self.includes("findings")

    @property
    def has_trivy(self) -> bool:
        """Whether there are databases for Trivy in the bundle."""
        return self.spec.kind == "trivy" or self.includes("trivy")

    @property
    def policy_mode(self) -> Literal["required", "optional", "none"]:
        """Whether a policy snapshot is applied: findings take one where there is one, others when told to."""
        mode = self.spec.policy_snapshot_mode
        return mode or ("optional" if self.has_findings else "none")

    @property
    def next_update(self) -> timedelta:
        """How long scanners may keep the database before they look for a newer one."""
        return duration(self.spec.next_update or usual_next_update(self.kind))

    def to_wire(self) -> dict[str, Any]:
        """The profile as a document."""
        document = ProfileDocument(
            API_VERSION, KIND, Metadata(self.name, self.tenant, self.revision, dict(self.labels)), self.spec
        )
        wire = msgspec.to_builtins(document)
        assert isinstance(wire, dict)  # noqa: S101 - a struct becomes a dict
        return wire


HTTP = Destination("http", "http")
"""The download from here: bundles lie there before they are brought anywhere."""


def destinations(spec: Spec) -> tuple[Destination, ...]:
    """Where the bundles of a profile are brought to, `http` first; a plain word is a driver and the target's name."""
    told = (Target(each) if isinstance(each, str) else each for each in spec.distribution)
    found = [
        Destination(target.name or target.driver, target.driver, target.required, dict(target.settings))
        for target in told
    ]
    return (HTTP, *(each for each in found if each.driver != HTTP.driver))


def built_in(tenant: str) -> tuple[Profile, ...]:
    """The profiles that every tenant has from the start."""
    return tuple(
        Profile(name=name, tenant=tenant, revision="r0", spec=Spec(kind=kind, variant=variant))
        for name in KINDS
        for kind, _, variant in [name.partition(":")]
    )


def duration(text: str) -> timedelta:
    """A duration such as `24h`, `90m`, `7d`.

    Raises:
        InvalidProfile: another form, or zero.
    """
    found = durations.parse(text)
    if found is None:
        raise InvalidProfile(f"{text!r} is no duration such as 24h, 90m or 7d")
    return found


def percent(text: str) -> int:
    """A share such as `20%`.

    Raises:
        InvalidProfile: another form, or more than all.
    """
    found = _PERCENT.fullmatch(text)
    if not found or int(found[1]) > 100:
        raise InvalidProfile(f"{text!r} is no share such as 20%, from 0% to 100%")
    return int(found[1])


def usual_next_update(kind: str) -> str:
    """After what time the next export of a kind is expected, where the profile does not say."""
    return _NEXT_UPDATE.get(kind, _USUAL_NEXT_UPDATE)
