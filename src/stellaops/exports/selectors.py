"""What an export selects: parsed, checked as a whole, and in one canonical form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from stellaops.advisories.severity import Severity
from stellaops.core import timestamps
from stellaops.exports.errors import InvalidSelector

TLP_ORDER = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")

_LISTS = {"sources", "ecosystems", "packages", "ids", "products", "tenants"}
_INSTANTS = {"since", "until"}
_SEVERITIES = tuple(word for word in Severity.__members__ if word != "UNKNOWN")
_NAMES = sorted(_LISTS | _INSTANTS | {"severityAtLeast", "severityUnknown", "tlpAtMost"})


@dataclass(frozen=True, slots=True)
class Selectors:
    """A selection of evidence; empty fields do not restrict.

    Attributes:
        ecosystems: OSV names; `AlmaLinux` also selects `AlmaLinux:8`.
        packages: package URLs without version; `products` is read the same way.
        since, until: bounds of the fetch time, `since` inclusive and `until` exclusive.
        severity_at_least: of the highest severity that a record states.
        keep_unknown_severity: whether records without a severity pass that bound.
        tlp_at_most: the highest marking that may leave.
    """

    sources: tuple[str, ...] = ()
    ecosystems: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    severity_at_least: Severity = Severity.UNKNOWN
    keep_unknown_severity: bool = True
    tlp_at_most: str = "CLEAR"

    def canonical(self) -> dict[str, Any]:
        """The form that stands in `export.json`: only what restricts, lists sorted."""
        wire: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _LISTS and value:
                wire[field.name] = sorted(set(value))
        for name in sorted(_INSTANTS):
            instant = getattr(self, name)
            if instant is not None:
                wire[name] = timestamps.render(instant)
        if self.severity_at_least is not Severity.UNKNOWN:
            wire["severityAtLeast"] = self.severity_at_least.name.lower()
        if not self.keep_unknown_severity:
            wire["severityUnknown"] = "drop"
        if self.tlp_at_most != "CLEAR":
            wire["tlpAtMost"] = self.tlp_at_most
        return wire


def parse(wire: Mapping[str, Any]) -> Selectors:
    """Read selectors as they stand in a profile or come from the command line.

    Raises:
        InvalidSelector: with everything that is wrong.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, value in wire.items():
        try:
            values.update(_read(name, value))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InvalidSelector("; ".join(problems), details=problems)
    return Selectors(**values)


def _read(name: str, value: Any) -> dict[str, Any]:
    """The fields that one selector sets; ValueError says what is wrong with its value."""
    if name in _LISTS:
        return {name: _packages(_texts(value)) if name == "packages" else _texts(value)}
    if name not in _NAMES:
        raise ValueError(f"not a selector; there are {', '.join(_NAMES)}")
    if not isinstance(value, str):
        raise ValueError(f"one text is needed, not {value!r}")  # noqa: TRY004 - `parse` collects ValueErrors
    return _read_one(name, value)


def _read_one(name: str, text: str) -> dict[str, Any]:
    match name:
        case "since" | "until":
            instant = timestamps.parse(text)
            if instant is None:
                raise ValueError(f"{text!r} is no instant (such as 2024-10-01T00:00:00Z)")
            return {name: instant}
        case "severityAtLeast":
            return {"severity_at_least": Severity[_one_of(text.upper(), _SEVERITIES)]}
        case "severityUnknown":
            return {"keep_unknown_severity": _one_of(text, ("keep", "drop")) == "keep"}
        case "tlpAtMost":
            return {"tlp_at_most": _one_of(text.upper().removeprefix("TLP:"), TLP_ORDER)}
    raise AssertionError(name)  # every name of `_NAMES` has its case


def _texts(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, str) and item for item in items):
        raise ValueError(f"a list of texts is needed, not {value!r}")
    return tuple(sorted(set(items)))


def _packages(purls: tuple[str, ...]) -> tuple[str, ...]:
    for purl in purls:
        if not purl.startswith("pkg:") or "@" in purl.rpartition("/")[2].lstrip("@"):
            raise ValueError(f"{purl!r} is no package URL without version (such as pkg:pypi/django)")
    return purls


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(f"{text!r} is none of {', '.join(known)}")
    return text


def parse_pairs(texts: Sequence[str]) -> dict[str, Any]:
    """`K=V,…` from the command line; a part without `=` continues the list before it.

    `sources=pypa,ghsa,severityAtLeast=high` selects two sources.

    Raises:
        InvalidSelector: a text that begins without a name.
    """
    wire: dict[str, Any] = {}
    for text in texts:
        name = ""
        for part in text.split(","):
            head, equals, value = part.partition("=")
            if equals and head.strip().isalpha():
                name, item = head.strip(), value.strip()
            else:
                item = part.strip()
            if not name:
                raise InvalidSelector(f"{text!r} does not begin with a selector's name and =")
            # A second value of a selector that takes one is kept, so that `parse` tells of it with all else.
            if name in _LISTS or name in wire:
                held = wire.setdefault(name, [])
                wire[name] = [*held, item] if isinstance(held, list) else [held, item]
            else:
                wire[name] = item
    return wire


def merged(profile: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """A profile's selectors with those of one request over them, name by name."""
    return {**profile, **request}
