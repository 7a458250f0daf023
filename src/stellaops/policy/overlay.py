"""Policy overlays: YAML documents of rules, each with an id, a reason and, where wanted, a date of expiry.

A document is checked as a whole, and all that is wrong with it is told at once, by the place in the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from stellaops.advisories.advisory import Advisory, Affected
from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.advisories.severity import Severity
from stellaops.core import timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput
from stellaops.policy.fields import Fields, Problems
from stellaops.sboms.purl import parse as parse_purl

API_VERSION = "stellaops.io/policy.v1"
KIND = "PolicyOverlay"
HEAVIEST = 1000
"""The greatest weight of an issuer; 0 silences one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ENCODER = msgspec.json.Encoder(order="sorted")


class BadOverlay(InvalidInput):
    """Policy overlays cannot be used; all that is wrong is listed."""

    code = "ERR_POLICY_INVALID"
    hint = "Correct what is listed; docs/use/policy.md shows every kind of rule."


class Match(Struct, frozen=True, omit_defaults=True):
    """Which findings a rule is about: those for which every list that is given holds one.

    Attributes:
        vulnerabilities: ids; each stands for all names of its vulnerability.
        packages: package URLs without a version, or with the only one that is meant.
        sboms: subjects of bills of materials.
    """

    vulnerabilities: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    sboms: tuple[str, ...] = ()


class SeverityOverride(Struct, frozen=True, omit_defaults=True, tag="severityOverride", tag_field="kind"):
    """Findings that count as more or less severe than documents say."""

    id: str
    reason: str
    match: Match
    severity: str
    expires: str | None = None


class IgnoreRule(Struct, frozen=True, omit_defaults=True, tag="ignoreRule", tag_field="kind"):
    """Findings that are put aside."""

    id: str
    reason: str
    match: Match
    expires: str | None = None


class PrivateAdvisory(Struct, frozen=True, omit_defaults=True, tag="privateAdvisory", tag_field="kind"):
    """An advisory of the tenant's own, in the shape of an OSV document."""

    id: str
    reason: str
    advisory: dict[str, Any]
    expires: str | None = None


class IssuerWeight(Struct, frozen=True, omit_defaults=True, tag="vexIssuerWeight", tag_field="kind"):
    """How much the VEX statements of one issuer count."""

    id: str
    reason: str
    issuer: str
    weight: int
    expires: str | None = None


class AllowedSources(Struct, frozen=True, omit_defaults=True, tag="sourceAllowList", tag_field="kind"):
    """Sources of advisories that count; with any such rule, all others don't."""

    id: str
    reason: str
    sources: tuple[str, ...]
    expires: str | None = None


Rule = SeverityOverride | IgnoreRule | PrivateAdvisory | IssuerWeight | AllowedSources


class Overlay(Struct, frozen=True):
    """One document.

    Attributes:
        id: its name, which is its key among the tenant's overlays.
        rules: in the order of their ids.
    """

    id: str
    rules: tuple[Rule, ...] = ()
    description: str = ""
    published: str | None = None
    modified: str | None = None
    withdrawn: str | None = None
    tlp: str | None = None
    publisher: str | None = None


class OverlayIndexRow(Struct, frozen=True):
    """An index row; its fields stand in the order of canonical JSON."""

    digest: str
    id: str
    key: str
    rules: list[str]
    source: str
    withdrawn: None = None


def index_row(overlay: Overlay, source: str, key: str, digest: Digest) -> bytes:
    """Canonical JSON of a document's index row, without a newline."""
    return _ENCODER.encode(
        OverlayIndexRow(digest, overlay.id, key, [rule.id for rule in overlay.rules], source)
    )


def parse(raw: bytes, place: str = "") -> Overlay:
    """The overlay of a YAML or JSON document.

    Args:
        place: what the document is called in messages.

    Raises:
        BadOverlay: with everything that is wrong.
    """
    found, problems = lint(raw, place)
    if found is None:
        raise BadOverlay(
            f"{place or 'the overlay'}: {len(problems)} problems; first: {problems[0]}", details=problems
        )
    return found


def lint(raw: bytes, place: str = "") -> tuple[Overlay | None, tuple[str, ...]]:
    """The overlay, or None and all that is wrong with the document."""
    try:
        value = from_yaml(raw).parsed
    except Malformed as error:
        return None, (f"{place}: {error}" if place else str(error),)
    return read(value, place)


def read(value: Any, place: str = "") -> tuple[Overlay | None, tuple[str, ...]]:
    """The same from a parsed document, whose scalars are texts."""
    problems = Problems(place)
    document = Fields(value, "", problems, ("apiVersion", "kind", "metadata", "spec"))
    document.exactly("apiVersion", API_VERSION)
    document.exactly("kind", KIND)
    metadata = document.fields("metadata", ("name", "description"))
    name = metadata.text("name", _NAME, "1 to 63 of letters, digits, dot, hyphen and underscore")
    spec = document.fields("spec", tuple(_SECTIONS))
    rules = [rule for section, read_one in _SECTIONS.items() for rule in _section(spec, section, read_one)]
    problems.repeated("spec", [rule.id for rule in rules])
    if problems.found:
        return None, tuple(problems.found)
    return Overlay(name, tuple(sorted(rules, key=lambda rule: rule.id)), metadata.optional("description")), ()


def expired(rule: Rule, at: datetime) -> bool:
    """Whether a rule is no longer in force: a date counts to its end, in UTC."""
    if rule.expires is None:
        return False
    end = timestamps.parse(rule.expires)
    if end is None:
        return False
    return at >= (end + timedelta(days=1) if _DATE.fullmatch(rule.expires) else end)


def advisory_of(rule: PrivateAdvisory) -> Advisory:
    """A private advisory as all other advisories are read."""
    return msgspec.convert(rule.advisory, Advisory)


_Reader = Callable[[Fields, dict[str, Any]], Rule | None]


def _section(spec: Fields, name: str, read_one: _Reader) -> list[Rule]:
    found: list[Rule] = []
    own = _OWN_FIELDS[name]
    for entry in spec.each(name, ("id", "reason", "expires", *own)):
        shared = {
            "id": entry.text("id", _NAME, "1 to 63 of letters, digits, dot, hyphen and underscore"),
            "reason": entry.text("reason"),
            "expires": entry.instant("expires"),
        }
        rule = read_one(entry, shared)
        if rule is not None:
            found.append(rule)
    return found


def _severity(entry: Fields, shared: dict[str, Any]) -> Rule:
    words = tuple(severity.name for severity in Severity if severity)
    return SeverityOverride(**shared, match=_match(entry), severity=entry.one_of("severity", words))


def _ignore(entry: Fields, shared: dict[str, Any]) -> Rule:
    return IgnoreRule(**shared, match=_match(entry))


def _private(entry: Fields, shared: dict[str, Any]) -> Rule | None:
    value = entry.value.get("advisory")
    if not isinstance(value, dict):
        entry.wrong("advisory", "an OSV document is needed")
        return None
    try:
        advisory = msgspec.convert(value, Advisory)
    except msgspec.ValidationError as error:
        entry.wrong("advisory", f"no OSV document: {error}")
        return None
    if not advisory.id.strip():
        entry.wrong("advisory.id", "must not be empty")
    if not advisory.affected:
        entry.wrong("advisory.affected", "at least one package is needed")
    for number, affected in enumerate(advisory.affected or ()):
        _check_affected(entry, number, affected)
    return PrivateAdvisory(**shared, advisory=value)


def _check_affected(entry: Fields, number: int, affected: Affected) -> None:
    package = affected.package
    if package is None or not package.name or not package.ecosystem:
        entry.wrong(f"advisory.affected[{number}].package", "an ecosystem and a name are needed")
    if not affected.ranges and not affected.versions:
        entry.wrong(f"advisory.affected[{number}]", "ranges or versions are needed")


def _weight(entry: Fields, shared: dict[str, Any]) -> Rule:
    return IssuerWeight(**shared, issuer=entry.text("issuer"), weight=entry.number("weight", HEAVIEST))


def _sources(entry: Fields, shared: dict[str, Any]) -> Rule:
    sources = entry.texts("sources")
    if not sources:
        entry.wrong("sources", "at least one name is needed")
    return AllowedSources(**shared, sources=sources)


_SECTIONS: Mapping[str, _Reader] = MappingProxyType(
    {
        "severityOverrides": _severity,
        "ignoreRules": _ignore,
        "privateAdvisories": _private,
        "vexIssuerWeights": _weight,
        "sourceAllowLists": _sources,
    }
)
_OWN_FIELDS = {
    "severityOverrides": ("match", "severity"),
    "ignoreRules": ("match",),
    "privateAdvisories": ("advisory",),
    "vexIssuerWeights": ("issuer", "weight"),
    "sourceAllowLists": ("sources",),
}


def _match(entry: Fields) -> Match:
    inside = entry.fields("match", ("vulnerabilities", "packages", "sboms"))
    packages = inside.texts("packages")
    for number, text in enumerate(packages):
        if parse_purl(text) is None:
            inside.wrong(f"packages[{number}]", f"{text!r} is no package URL")
    told = Match(inside.texts("vulnerabilities"), packages, inside.texts("sboms"))
    if isinstance(entry.value.get("match"), dict) and told == Match():
        entry.wrong("match", "at least one of vulnerabilities, packages and sboms is needed")
    return told
