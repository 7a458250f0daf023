"""What a VEX document says, in one shape for all forms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from stellaops.core import timestamps
from stellaops.vex.products import Product, bounded

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)


class Status(StrEnum):
    """How a product stands to a vulnerability, in the words of OpenVEX."""

    AFFECTED = "affected"
    UNDER_INVESTIGATION = "under_investigation"
    FIXED = "fixed"
    NOT_AFFECTED = "not_affected"


class Role(StrEnum):
    """What an issuer is to the product."""

    SUPPLIER = "supplier"
    DISTRIBUTOR = "distributor"
    RESEARCHER = "researcher"
    OTHER = "other"


class Issuer(Struct, frozen=True):
    """Who makes the statements of a document; without a name where it states none."""

    name: str = ""
    role: Role = Role.OTHER


class Target(Struct, frozen=True):
    """What a statement is about.

    Attributes:
        platform: what the product is a part of or installed on, where that narrows the statement; else empty.
        subcomponents: where in the product the vulnerability lies; empty where the statement does not say.
    """

    product: Product
    platform: str = ""
    subcomponents: tuple[Product, ...] = ()


class Words(Struct, frozen=True, array_like=True):
    """The texts of a statement: why it is not affected, what to do, and whatever else is told."""

    impact: str = ""
    action: str = ""
    notes: str = ""


class Statement(Struct, frozen=True):
    """One statement.

    Attributes:
        vulnerability: the name that it is looked up by: the CVE, where the statement itself names one.
        stated: its own instant; None where it has none, so that the document's counts.
    """

    vulnerability: str
    status: Status
    targets: tuple[Target, ...]
    justification: str = ""
    words: Words = Words()
    stated: datetime | None = None


class VexDocument(Struct, frozen=True):
    """One document.

    Attributes:
        id: its own name; not unique, not even within a source.
        published, modified: as stated; None where not stated.
        withdrawn: whatever says that its issuer took it back; None where it stands.
        tlp: a label of TLP 2; None where its form has none.
        publisher: the address that stands for the issuer, where the form says it.
    """

    id: str
    issuer: Issuer
    statements: tuple[Statement, ...]
    published: str | None = None
    modified: str | None = None
    withdrawn: str | None = None
    title: str = ""
    tlp: str | None = None
    publisher: str | None = None


def vulnerability(name: str, aliases: Iterable[str] = ()) -> str:
    """What a statement about a vulnerability is looked up by: the CVE that it names, else its own name."""
    own = _tidy(name)
    if _CVE.match(own):
        return own
    cves = {alias for alias in map(_tidy, aliases) if _CVE.match(alias)}
    return cves.pop() if len(cves) == 1 else bounded(own)


@lru_cache(maxsize=20_000)
def instant(text: str) -> datetime | None:
    """An instant as documents write it; None for what is none."""
    return timestamps.parse(text) if text else None


def role(words: str) -> Role:
    """The role that an issuer's own words mean."""
    lowered = words.lower()
    return next((role for sign, role in _SIGNS if sign in lowered), Role.OTHER)


def _tidy(name: str) -> str:
    text = name.strip()
    upper = text.upper()
    return upper if _CVE.match(upper) else text


_SIGNS = (
    ("distributor", Role.DISTRIBUTOR),
    ("distribution", Role.DISTRIBUTOR),
    ("packager", Role.DISTRIBUTOR),
    ("multiplier", Role.DISTRIBUTOR),
    ("researcher", Role.RESEARCHER),
    ("discoverer", Role.RESEARCHER),
    ("coordinator", Role.RESEARCHER),
    ("analyst", Role.RESEARCHER),
    ("supplier", Role.SUPPLIER),
    ("vendor", Role.SUPPLIER),
    ("manufacturer", Role.SUPPLIER),
    ("maintainer", Role.SUPPLIER),
    ("producer", Role.SUPPLIER),
)
