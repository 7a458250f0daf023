"""CSAF 2.0 documents of the consensus, in the profile `csaf_vex`.

A product inside another one is a relationship. Readers such as Trivy ask each status by itself and do not weigh a
narrow statement against a broad one, so a broad one that a narrower verdict contradicts is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from stellaops.bundles.vex.openvex import Author
from stellaops.bundles.vex.spool import Spool, write_object
from stellaops.bundles.vex.verdict import NO_ACTION, NO_REASON, Verdict
from stellaops.core import digests, timestamps
from stellaops.vex.consensus import name, reason
from stellaops.vex.products import applies
from stellaops.vex.statement import Status

_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_PURL = re.compile(r"pkg:[A-Za-z.\-+][A-Za-z0-9.\-+]*/.+")
_CPE = re.compile(
    r"(cpe:2\.3:[aho*\-](:(((\?*|\*?)([a-zA-Z0-9\-._]|(\\[\\*?!\"#$%&'()+,/:;<=>@\[\]\^`{|}~]))+(\?*|\*?))|[*\-])){5}"
    r"(:(([a-zA-Z]{2,3}(-([a-zA-Z]{2}|[0-9]{3}))?)|[*\-]))"
    r"(:(((\?*|\*?)([a-zA-Z0-9\-._]|(\\[\\*?!\"#$%&'()+,/:;<=>@\[\]\^`{|}~]))+(\?*|\*?))|[*\-])){4})"
    r"|(cpe:/[AHOaho]?(:[A-Za-z0-9._\-~%]*){0,6})"
)
_STATUSES = {
    Status.AFFECTED: "known_affected",
    Status.UNDER_INVESTIGATION: "under_investigation",
    Status.FIXED: "fixed",
    Status.NOT_AFFECTED: "known_not_affected",
}
OPEN = (Status.AFFECTED, Status.UNDER_INVESTIGATION)
"""What leaves something to do."""


class Writer:
    """One document; the verdicts on a vulnerability are given together, vulnerabilities in any order.

    Attributes:
        left_out: broad verdicts that a narrower one contradicts.
    """

    def __init__(self, out: BinaryIO, scratch: BinaryIO, author: Author) -> None:
        self._out = out
        self._spool = Spool(scratch)
        self._author = author
        self._newest = timestamps.EPOCH
        self._tree = _Tree()
        self.left_out = 0
        self.statements = 0

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        carried = uncontradicted(verdicts)
        self.left_out += len(verdicts) - len(carried)
        self.statements += len(carried)
        if carried:
            self._spool.add(_vulnerability(carried, self._tree))
            self._newest = max(self._newest, *(each.instant for each in carried), timestamps.EPOCH)

    def finish(self) -> None:
        """Write the document; it needs at least one verdict."""
        write_object(
            self._out,
            {
                "document": _document(self._author, self._newest, self._spool.digest()),
                "product_tree": self._tree.wire(),
                "vulnerabilities": self._spool,
            },
        )


def uncontradicted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on one vulnerability without those that would close what a narrower one leaves open."""
    pending = [each for each in verdicts if each.status in OPEN]
    return [
        each
        for each in verdicts
        if each.status in OPEN or not any(_covers(each, narrower) for narrower in pending)
    ]


def _covers(broad: Verdict, narrow: Verdict) -> bool:
    one, other = broad.subject, narrow.subject
    return (
        one.package == other.package
        and one.platform in ("", other.platform)
        and applies(one.product, other.product)
        and (
            not one.subcomponent
            or (bool(other.subcomponent) and applies(one.subcomponent, other.subcomponent))
        )
    )


def _document(author: Author, newest: datetime, digest: str) -> dict[str, Any]:
    at = timestamps.render(newest)
    return {
        "category": "csaf_vex",
        "csaf_version": "2.0",
        "lang": "en",
        "distribution": {"tlp": {"label": "WHITE"}},
        "publisher": {"category": "other", "name": author.name, "namespace": author.namespace},
        "title": "Consensus of VEX statements",
        "tracking": {
            "id": f"stellaops-vex-{digest[:32]}",
            "status": "final",
            "version": "1",
            "initial_release_date": at,
            "current_release_date": at,
            "revision_history": [{"date": at, "number": "1", "summary": "Consensus as of this instant"}],
        },
    }


class _Tree:
    """The product tree, grown as products are named."""

    def __init__(self) -> None:
        self._products: dict[str, dict[str, Any]] = {}
        self._relationships: dict[str, dict[str, Any]] = {}

    def product(self, verdict: Verdict) -> str:
        """The id of what a verdict is about."""
        about = verdict.subject
        found = self._single(about.product)
        if about.platform:
            found = self._inside(found, about.product, self._single(about.platform), about.platform)
        if about.subcomponent:
            whole = f"{about.product} on {about.platform}" if about.platform else about.product
            found = self._inside(self._single(about.subcomponent), about.subcomponent, found, whole)
        return found

    def wire(self) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "full_product_names": [self._products[each] for each in sorted(self._products)]
        }
        if self._relationships:
            tree["relationships"] = [self._relationships[each] for each in sorted(self._relationships)]
        return tree

    def _single(self, identity: str) -> str:
        found = _id(identity)
        if found not in self._products:
            helper = _helper(identity)
            self._products[found] = {"name": identity, "product_id": found} | (
                {"product_identification_helper": helper} if helper else {}
            )
        return found

    def _inside(self, part: str, part_name: str, whole: str, whole_name: str) -> str:
        found = _id(part, whole)
        self._relationships[found] = {
            "category": "default_component_of",
            "full_product_name": {"name": f"{part_name} in {whole_name}", "product_id": found},
            "product_reference": part,
            "relates_to_product_reference": whole,
        }
        return found


def _id(*names: str) -> str:
    return f"CSAFPID-{digests.content_id(chr(10).join(names).encode())}"


def _helper(identity: str) -> dict[str, str]:
    if _PURL.fullmatch(identity):
        return {"purl": identity}
    return {"cpe": identity} if _CPE.fullmatch(identity) else {}


def _vulnerability(verdicts: Sequence[Verdict], tree: _Tree) -> dict[str, Any]:
    placed = [(tree.product(each), each) for each in verdicts]
    first = verdicts[0]
    issuers = sorted({name(voice.held) for each in verdicts for voice in each.consensus.voices})
    reasons = sorted({reason(each.consensus) for each in verdicts if each.consensus.conflict})
    own = first.subject.vulnerability
    wire: dict[str, Any] = {"cve": own} if _CVE.fullmatch(own) else {}
    wire |= {
        "notes": [
            {"category": "general", "title": "Consensus", "text": f"Weighed: {'; '.join(issuers)}."},
            *({"category": "general", "title": "Conflict", "text": text} for text in reasons),
        ],
        "product_status": {
            word: sorted(found)
            for status, word in _STATUSES.items()
            if (found := {product for product, each in placed if each.status is status})
        },
    }
    others = first.aliases if "cve" in wire else (own, *first.aliases)
    if others:
        wire["ids"] = [{"system_name": each.partition("-")[0] or each, "text": each} for each in others]
    return wire | _told_of_products(placed)


def _told_of_products(placed: Sequence[tuple[str, Verdict]]) -> dict[str, Any]:
    """Why products are not affected, and what to do about the others; products with the same words together."""
    wire: dict[str, Any] = {}
    silent = [(product, each) for product, each in placed if each.status is Status.NOT_AFFECTED]
    flags = _alike((each.justification, product) for product, each in silent)
    impacts = _alike(
        (each.impact or ("" if each.justification else NO_REASON), product) for product, each in silent
    )
    actions = _alike(
        (each.words.action or (NO_ACTION if each.status is Status.AFFECTED else ""), product)
        for product, each in placed
    )
    if flags:
        wire["flags"] = [{"label": label, "product_ids": products} for label, products in flags]
    if impacts:
        wire["threats"] = [
            {"category": "impact", "details": text, "product_ids": products} for text, products in impacts
        ]
    if actions:
        wire["remediations"] = [
            {
                "category": "none_available" if text == NO_ACTION else "mitigation",
                "details": text,
                "product_ids": products,
            }
            for text, products in actions
        ]
    return wire


def _alike(told: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Products by what is said of them; without those of whom nothing is."""
    found: dict[str, set[str]] = {}
    for text, product in told:
        if text:
            found.setdefault(text, set()).add(product)
    return [(text, sorted(found[text])) for text in sorted(found)]
