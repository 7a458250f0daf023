"""CSAF 2.0 and 2.1 documents with a product status: VEX, and security advisories.

A statement is what one vulnerability's products have in common: status, reason, impact and action. Versions of a
product stand under its id; a product that a relationship defines is stated for its component on that platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from stellaops.advisories.canonical import Canonical, Malformed
from stellaops.advisories.documents import csaf as advisories
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.csaf import document as csaf
from stellaops.csaf.document import AFFECTED, FIXED, Document, Targets, Vulnerability
from stellaops.csaf.products import Product as CsafProduct
from stellaops.vex.products import best
from stellaops.vex.statement import (
    Issuer,
    Role,
    Statement,
    Status,
    Target,
    VexDocument,
    Words,
    instant,
    vulnerability,
)

_STATUSES = (
    (Status.AFFECTED, AFFECTED),
    (Status.UNDER_INVESTIGATION, ("under_investigation",)),
    (Status.FIXED, FIXED),
    (Status.NOT_AFFECTED, ("known_not_affected",)),
)
_ROLES = {
    "vendor": Role.SUPPLIER,
    "multiplier": Role.DISTRIBUTOR,
    "coordinator": Role.RESEARCHER,
    "discoverer": Role.RESEARCHER,
}
# What these say is no action to take.
_NO_ACTION = frozenset(("optional_patch",))

_Told = tuple[Status, str, Words, str]


class CsafVexFeed(DocumentFiles):
    """The CSAF feed, read for its statements."""

    name = "csaf-vex"

    def __init__(self) -> None:
        self._files = advisories.CsafFeed()

    def recognises(self, path: str, content: bytes) -> bool:
        """See the CSAF feed of advisories."""
        return self._files.recognises(path, content)

    def may_hold_documents(self, path: str) -> bool:
        """See the CSAF feed of advisories."""
        return self._files.may_hold_documents(path)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON."""
        return self._files.canonical(path, raw)

    def read(self, parsed: Any, context: str = "") -> VexDocument | None:
        """The statements of a document; None for other JSON, such as a CVE record beside it."""
        # The advisory feed says which documents can be read; a stub that takes one back has no statements.
        told = self._files.read(parsed, context)
        if told is None:
            return None
        try:
            document = csaf.read(parsed)
        except csaf.NotIdentified as error:  # pragma: no cover - the feed has looked
            raise Malformed("no-id", str(error)) from error
        publisher = document.publisher
        return VexDocument(
            id=document.tracking.id,
            issuer=Issuer(publisher.name or publisher.namespace, _ROLES.get(publisher.category, Role.OTHER)),
            statements=tuple(_statements(document)),
            published=told.published,
            modified=told.modified,
            withdrawn=told.withdrawn,
            title=document.title,
            tlp=document.tlp,
            publisher=told.publisher,
        )


def _statements(document: Document) -> Iterator[Statement]:
    targets: dict[str, tuple[Target, ...]] = {}
    for told in document.vulnerabilities:
        name = vulnerability(
            told.cve or next((text for _, text in told.ids), ""), [text for _, text in told.ids]
        )
        if not name:
            continue
        for (status, flag, words, date), product_ids in _alike(document, told).items():
            about = (each for product_id in product_ids for each in _targets(document, product_id, targets))
            yield Statement(name, status, tuple(dict.fromkeys(about)), flag, words, instant(date))


def _alike(document: Document, told: Vulnerability) -> dict[_Told, list[str]]:
    """The product ids of which the same is said."""
    flags = _by_product(document, ((flag.targets, (flag.label, flag.date)) for flag in told.flags))
    impacts = _by_product(document, ((t.targets, t.details) for t in told.threats if t.category == "impact"))
    actions = _by_product(
        document, ((r.targets, r.details) for r in told.remediations if r.category not in _NO_ACTION)
    )
    found: dict[_Told, list[str]] = {}
    for status, names in _STATUSES:
        for product_id in told.products(*names):
            label, date = flags[product_id][0] if product_id in flags else ("", "")
            words = Words("\n".join(impacts.get(product_id, ())), "\n".join(actions.get(product_id, ())))
            key = (status, label if status is Status.NOT_AFFECTED else "", words, date)
            found.setdefault(key, []).append(product_id)
    return found


def _by_product(document: Document, told: Iterable[tuple[Targets, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for targets, value in told:
        for product_id in document.products.expand(targets.product_ids, targets.group_ids):
            said = found.setdefault(product_id, [])
            if value not in said:
                said.append(value)
    return found


def _targets(document: Document, product_id: str, known: dict[str, tuple[Target, ...]]) -> tuple[Target, ...]:
    if product_id not in known:
        identity = document.products.identify(product_id)
        helpers = [each.helper for each in identity.component]
        hashes = tuple(f"{h.algorithm}:{h.value}" for helper in helpers for h in helper.hashes)
        name = next(map(_name, identity.component), "") or product_id
        # The nearest platform that has a name of its own; most have a CPE.
        platform = (*identity.platform_cpes, *map(_name, identity.platforms), "")[0]
        known[product_id] = tuple(
            Target(each, platform) for each in best(identity.purls, identity.cpes, hashes, name)
        )
    return known[product_id]


def _name(product: CsafProduct) -> str:
    return product.name or product.id
