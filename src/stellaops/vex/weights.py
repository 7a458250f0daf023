"""How much an issuer's word counts: by what it is to the product, or by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.core import canonical_json
from stellaops.core.digests import Digest, sha256
from stellaops.core.errors import InvalidInput
from stellaops.vex.statement import Role

HEAVIEST = 1000

_DEFAULTS = ((Role.SUPPLIER, 100), (Role.DISTRIBUTOR, 75), (Role.RESEARCHER, 50), (Role.OTHER, 25))


class BadWeights(InvalidInput):
    """A file of weights cannot be used; all that is wrong is listed."""

    code = "ERR_VEX_WEIGHTS"
    hint = "Correct what is listed; docs/use/vex.md shows a file of weights."


class Weights(Struct, frozen=True):
    """Weights from 0, which silences an issuer, to 1000.

    Attributes:
        roles: the weight of each role.
        issuers: weights by the name of the issuer, as documents state it; they come before all others.
        sources: weights by the source that a document is from; they come before those of roles.
    """

    roles: Mapping[Role, int] = field(default_factory=lambda: dict(_DEFAULTS))
    issuers: Mapping[str, int] = {}
    sources: Mapping[str, int] = {}

    def of(self, issuer: str, role: str, source: str) -> int:
        """What a word of an issuer counts."""
        if issuer in self.issuers:
            return self.issuers[issuer]
        return self.sources[source] if source in self.sources else self.roles[role]  # type: ignore[index]  # a role is its own text

    @property
    def digest(self) -> Digest:
        """Tells these weights from others."""
        told = {"issuers": dict(self.issuers), "roles": dict(self.roles), "sources": dict(self.sources)}
        return sha256(canonical_json.encode(told))


def parse(raw: bytes) -> Weights:
    """Weights from a YAML or JSON file with `roles`, `issuers` and `sources`; what it leaves out stays as it is.

    Raises:
        BadWeights: see there.
    """
    try:
        value = from_yaml(raw).parsed
    except Malformed as error:
        raise BadWeights(f"the weights cannot be read: {error}") from error
    problems: list[str] = []
    if value is not None and not isinstance(value, dict):
        raise BadWeights("the weights are no mapping of roles, issuers and sources")
    told: dict[str, Any] = value or {}
    problems += [f"{name}: is none of roles, issuers, sources" for name in told if name not in _SECTIONS]
    roles, issuers, sources = (_section(told.get(name), name, problems) for name in _SECTIONS)
    known = [role.value for role in Role]
    problems += [f"roles.{name}: is none of {', '.join(known)}" for name in roles if name not in known]
    if problems:
        raise BadWeights("; ".join(problems), details=problems)
    return Weights(dict(_DEFAULTS) | {Role(name): value for name, value in roles.items()}, issuers, sources)


_SECTIONS = ("roles", "issuers", "sources")


def _section(value: Any, section: str, problems: list[str]) -> dict[str, int]:
    if value is not None and not isinstance(value, dict):
        problems.append(f"{section}: a mapping of names to weights is needed")
        return {}
    found = {}
    for name, weight in (value or {}).items():
        if isinstance(weight, str) and weight.isascii() and weight.isdigit() and int(weight[:9]) <= HEAVIEST:
            found[name] = int(weight)
        else:
            problems.append(f"{section}.{name}: {weight!r} is no whole number from 0 to {HEAVIEST}")
    return found
