"""A CSAF document as values: who says what about which vulnerabilities and products.

Versions 2.0 and 2.1 come out in one shape: `scores` and `metrics`, `cwe` and `cwes`, `purl` and `purls`, `release_date`
and `disclosure_date`, TLP in the words of version 2 of the protocol. What breaks the schema is read as far as it goes;
only a document that nothing identifies is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from msgspec import Struct

from stellaops.csaf import tlp
from stellaops.csaf.products import ProductTree, read_tree
from stellaops.csaf.values import obj, objects, text, texts

AFFECTED = ("known_affected", "first_affected", "last_affected")
FIXED = ("fixed", "first_fixed")
STATUSES = (
    *AFFECTED,
    *FIXED,
    "known_not_affected",
    "recommended",
    "under_investigation",
    "unknown",
)
"""The members of `product_status`; `unknown` since 2.1."""

_CVSS = (("cvss_v2", "V2"), ("cvss_v3", "V3"), ("cvss_v4", "V40"))
_NO_LETTERS = re.compile(r"[^a-z]")
# Profiles of 2.1 that say of a document that it does not count any more.
_TAKEN_BACK = frozenset(("csafwithdrawn", "csafsuperseded"))


class NotIdentified(ValueError):
    """A CSAF document without the id that its publisher tracks it under."""


class Reference(Struct, frozen=True):
    """A link; `category` is `self` or `external`."""

    url: str
    summary: str = ""
    category: str = ""


class Note(Struct, frozen=True):
    """A piece of text; `category` such as `summary`, `description`, `general`, `legal_disclaimer`."""

    category: str
    text: str
    title: str = ""


class Publisher(Struct, frozen=True):
    """Who issues a document. `namespace` is a URL that the publisher controls."""

    name: str
    namespace: str
    category: str = ""


class Tracking(Struct, frozen=True):
    """How a publisher tracks a document.

    Attributes:
        status: `draft`, `interim`, `final`; also `deleted` in the stubs that Red Hat leaves.
        initial_release, current_release: as stated; empty where not stated.
    """

    id: str
    status: str = ""
    version: str = ""
    aliases: tuple[str, ...] = ()
    initial_release: str = ""
    current_release: str = ""


class Targets(Struct, frozen=True):
    """The products that a statement is about, by id and by group; neither says that it is about all."""

    product_ids: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()


class Remediation(Struct, frozen=True):
    """What to do; `category` such as `vendor_fix`, `mitigation`, `workaround`, `none_available`, `no_fix_planned`."""

    category: str
    details: str
    targets: Targets
    url: str = ""
    date: str = ""


class Threat(Struct, frozen=True):
    """How bad, or how far exploited; `category` is `impact`, `exploit_status` or `target_set`."""

    category: str
    details: str
    targets: Targets


class Flag(Struct, frozen=True):
    """Why products are not affected; `label` as in OpenVEX, such as `vulnerable_code_not_present`."""

    label: str
    targets: Targets
    date: str = ""


class Rating(Struct, frozen=True):
    """One assessment of severity.

    Attributes:
        vectors: CVSS version (`V2 V3 V40`) to vector.
        words: severities as words: `baseSeverity` where there is no vector, the qualitative rating of 2.1.
        source: who says so, where it is not the publisher.
    """

    vectors: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    product_ids: tuple[str, ...]
    source: str = ""


class Vulnerability(Struct, frozen=True):
    """What a document says of one vulnerability.

    Attributes:
        ids: system and text of identifiers beside the CVE id.
        status: `product_status`: status to product ids, as stated; groups are not used there.
    """

    cve: str = ""
    ids: tuple[tuple[str, str], ...] = ()
    title: str = ""
    notes: tuple[Note, ...] = ()
    cwes: tuple[str, ...] = ()
    status: dict[str, tuple[str, ...]] = {}
    remediations: tuple[Remediation, ...] = ()
    ratings: tuple[Rating, ...] = ()
    threats: tuple[Threat, ...] = ()
    flags: tuple[Flag, ...] = ()
    references: tuple[Reference, ...] = ()
    discovered: str = ""
    disclosed: str = ""

    def products(self, *statuses: str) -> tuple[str, ...]:
        """The ids of the products in any of these statuses, each once."""
        return tuple(dict.fromkeys(name for status in statuses for name in self.status.get(status, ())))


class Document(Struct, frozen=True, dict=True):
    """One CSAF document.

    Attributes:
        tlp: a label of TLP 2 (`csaf.tlp.LABELS`).
        aggregate_severity: the publisher's word for the document as a whole.
        tree: the parsed value of `product_tree`; `products` reads it.
    """

    version: str
    category: str
    title: str
    publisher: Publisher
    tracking: Tracking
    tlp: str
    lang: str
    aggregate_severity: str
    notes: tuple[Note, ...]
    references: tuple[Reference, ...]
    vulnerabilities: tuple[Vulnerability, ...]
    tree: Any

    @cached_property
    def products(self) -> ProductTree:
        """The products that the statements name."""
        return read_tree(self.tree)

    @property
    def taken_back(self) -> bool:
        """Whether the publisher says that the document does not count any more: deleted, withdrawn or superseded."""
        told = _NO_LETTERS.sub("", self.category.lower())
        return self.tracking.status.lower() == "deleted" or told in _TAKEN_BACK


def is_csaf(value: Any) -> bool:
    """Whether a parsed value is meant as a CSAF document, however incomplete."""
    document = obj(value, "document")
    return bool(obj(document, "tracking")) or bool(text(document, "csaf_version"))


def read(value: Any) -> Document:
    """A document from its parsed value.

    Raises:
        NotIdentified: it has no `document.tracking.id`.
    """
    told = obj(value, "document")
    tracking = _tracking(obj(told, "tracking"))
    if not tracking.id:
        raise NotIdentified("document.tracking.id is missing or empty")
    publisher = obj(told, "publisher")
    return Document(
        version=text(told, "csaf_version"),
        category=text(told, "category"),
        title=text(told, "title"),
        publisher=Publisher(
            text(publisher, "name"), text(publisher, "namespace"), text(publisher, "category")
        ),
        tracking=tracking,
        tlp=_marking(told),
        lang=text(told, "lang"),
        aggregate_severity=text(told, "aggregate_severity", "text"),
        notes=_notes(told),
        references=_references(told),
        vulnerabilities=tuple(_vulnerability(found) for found in objects(value, "vulnerabilities")),
        tree=value.get("product_tree"),
    )


def _marking(told: dict[str, Any]) -> str:
    """The label; where a marking stands but cannot be read, the narrowest."""
    marking = obj(told, "distribution").get("tlp")
    word = marking if isinstance(marking, str) else text(marking, "label")
    restricted = marking not in (None, "", {}) and not word
    return "RED" if restricted else tlp.label(word)


def _tracking(told: dict[str, Any]) -> Tracking:
    return Tracking(
        id=text(told, "id"),
        status=text(told, "status"),
        version=text(told, "version"),
        aliases=texts(told, "aliases"),
        initial_release=text(told, "initial_release_date"),
        current_release=text(told, "current_release_date"),
    )


def _vulnerability(told: dict[str, Any]) -> Vulnerability:
    return Vulnerability(
        cve=text(told, "cve"),
        ids=tuple(
            (text(one, "system_name"), text(one, "text")) for one in objects(told, "ids") if text(one, "text")
        ),
        title=text(told, "title"),
        notes=_notes(told),
        cwes=tuple(
            text(cwe, "id") for name in ("cwe", "cwes") for cwe in objects(told, name) if text(cwe, "id")
        ),
        status={name: found for name in STATUSES if (found := texts(told, "product_status", name))},
        remediations=tuple(_remediations(told)),
        ratings=(*_scores(told), *_metrics(told)),
        threats=tuple(
            Threat(text(one, "category"), text(one, "details"), _targets(one))
            for one in objects(told, "threats")
        ),
        flags=tuple(
            Flag(text(one, "label"), _targets(one), text(one, "date")) for one in objects(told, "flags")
        ),
        references=_references(told),
        discovered=text(told, "discovery_date"),
        disclosed=text(told, "disclosure_date") or text(told, "release_date"),
    )


def _remediations(told: dict[str, Any]) -> Iterator[Remediation]:
    for one in objects(told, "remediations"):
        words = text(one, "category"), text(one, "details")
        yield Remediation(*words, _targets(one), text(one, "url"), text(one, "date"))


def _scores(told: dict[str, Any]) -> Iterator[Rating]:
    """The scores of 2.0."""
    return (_rating(score, texts(score, "products")) for score in objects(told, "scores"))


def _metrics(told: dict[str, Any]) -> Iterator[Rating]:
    """The metrics of 2.1."""
    for metric in objects(told, "metrics"):
        yield _rating(obj(metric, "content"), texts(metric, "products"), text(metric, "source"))


def _rating(told: dict[str, Any], product_ids: tuple[str, ...], source: str = "") -> Rating:
    vectors: list[tuple[str, str]] = []
    words = [text(told, "qualitative_severity_rating")]
    for name, version in _CVSS:
        vector = text(told, name, "vectorString")
        if vector:
            vectors.append((version, vector))
        else:
            words.append(text(told, name, "baseSeverity"))
    return Rating(tuple(vectors), tuple(word for word in words if word), product_ids, source)


def _targets(told: dict[str, Any]) -> Targets:
    return Targets(texts(told, "product_ids"), texts(told, "group_ids"))


def _notes(told: dict[str, Any]) -> tuple[Note, ...]:
    return tuple(
        Note(text(note, "category"), text(note, "text"), text(note, "title"))
        for note in objects(told, "notes")
    )


def _references(told: dict[str, Any]) -> tuple[Reference, ...]:
    return tuple(
        Reference(url, text(one, "summary"), text(one, "category"))
        for one in objects(told, "references")
        if (url := text(one, "url"))
    )
