"""OpenVEX 0.2.0 documents of the consensus.

Readers such as Trivy take the newest statement that fits a product, and of equally old ones the first. So a statement
bears the newest instant of all that was weighed for it, and what speaks of a narrower product comes first.

The schema allows either a justification or an impact statement: what was said beside a justification goes to the notes.
It also spells the identifiers of platforms otherwise than the specification, so a CPE stands as `@id` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote

from stellaops.bundles.vex.spool import Spool, write_object
from stellaops.bundles.vex.verdict import NO_ACTION, NO_REASON, Verdict
from stellaops.core import timestamps
from stellaops.vex.consensus import reason
from stellaops.vex.statement import Status

PUBLISHER = "StellaOps Excititor"
NAMESPACE = "https://stellaops.io"
CONTEXT = "https://openvex.dev/ns/v0.2.0"

_CPE23 = re.compile(
    r"cpe:2\.3:[aho\*\-](:(((\?*|\*?)([a-zA-Z0-9\-\._]|(\\[\\\*\?!\"#$$%&'\(\)\+,\/:;<=>@\[\]\^`\{\|}~]))+"
    r"(\?*|\*?))|[\*\-])){5}(:(([a-zA-Z]{2,3}(-([a-zA-Z]{2}|[0-9]{3}))?)|[\*\-]))"
    r"(:(((\?*|\*?)([a-zA-Z0-9\-\._]|(\\[\\\*\?!\"#$$%&'\(\)\+,\/:;<=>@\[\]\^`\{\|}~]))+(\?*|\*?))|[\*\-])){4}"
)
_CPE22 = re.compile(r"cpe:/[aho](:[a-z0-9._\-~%]*){0,6}")


@dataclass(frozen=True, slots=True)
class Author:
    """Who publishes the documents.

    Attributes:
        namespace: an address that stands for the publisher.
    """

    name: str = PUBLISHER
    namespace: str = NAMESPACE


class Writer:
    """One document; the verdicts on a vulnerability are given together, vulnerabilities in any order.

    Attributes:
        left_out: verdicts that the format cannot carry without saying more than was said.
    """

    def __init__(self, out: BinaryIO, scratch: BinaryIO, author: Author) -> None:
        self._out = out
        self._spool = Spool(scratch)
        self._author = author
        self._newest = timestamps.EPOCH
        self.left_out = 0

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        carried = [verdict for verdict in verdicts if can_carry(verdict)]
        self.left_out += len(verdicts) - len(carried)
        for statement in statements(carried):
            self._spool.add(statement)
        self._newest = max((self._newest, *(verdict.instant for verdict in carried)))

    @property
    def statements(self) -> int:
        """How many statements there are."""
        return self._spool.count

    def finish(self) -> None:
        """Write the document; it needs at least one statement."""
        write_object(
            self._out, head(self._author, self._newest, self._spool.digest()) | {"statements": self._spool}
        )


def head(author: Author, newest: Any, digest: str) -> dict[str, Any]:
    """What stands before the statements, which give the document its name."""
    return {
        "@context": CONTEXT,
        "@id": f"urn:stellaops:openvex:{digest}",
        "author": author.name,
        "role": "Aggregator of VEX documents",
        "timestamp": timestamps.render(newest),
        "version": 1,
    }


def can_carry(verdict: Verdict) -> bool:
    """Whether two levels, a product and what is inside it, say what is meant."""
    return not (verdict.subject.platform and verdict.subject.subcomponent)


def statements(verdicts: Iterable[Verdict]) -> Iterator[dict[str, Any]]:
    """The statements about one vulnerability: those alike are one, narrower ones come first."""
    alike: dict[tuple[Any, ...], list[Verdict]] = {}
    for verdict in verdicts:
        told = (
            -verdict.narrowness, verdict.status.value, verdict.justification, timestamps.render(verdict.instant),
            verdict.impact, verdict.words.action, verdict.words.notes, reason(verdict.consensus),
        )  # fmt: skip
        alike.setdefault(told, []).append(verdict)
    for told in sorted(alike):
        yield _statement(alike[told])


def _statement(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    first = verdicts[0]
    names: dict[str, Any] = {"name": first.subject.vulnerability}
    if first.aliases:
        names["aliases"] = list(first.aliases)
    beside = first.impact if first.justification and first.status is Status.NOT_AFFECTED else ""
    wire: dict[str, Any] = {
        "vulnerability": names,
        "timestamp": timestamps.render(first.instant),
        "products": _products(verdicts),
        "status": first.status.value,
        "status_notes": "\n".join(filter(None, (reason(first.consensus), first.words.notes, beside))),
    }
    if first.status is Status.NOT_AFFECTED:
        if first.justification:
            wire["justification"] = first.justification
        else:
            wire["impact_statement"] = first.impact or NO_REASON
    if first.status is Status.AFFECTED or first.words.action:
        wire["action_statement"] = first.words.action or NO_ACTION
    return wire


def _products(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    inside: dict[str, set[str]] = {}
    for verdict in verdicts:
        about = verdict.subject
        parts = inside.setdefault(about.platform or about.product, set())
        parts.update(filter(None, (about.product if about.platform else about.subcomponent,)))
    return [
        component(product) | ({"subcomponents": [component(part) for part in sorted(parts)]} if parts else {})
        for product, parts in sorted(inside.items())
    ]


def component(identity: str) -> dict[str, Any]:
    """A product or a part of it, by its identity."""
    if identity.startswith("pkg:") or _CPE23.fullmatch(identity) or _CPE22.fullmatch(identity):
        return {"@id": identity}
    return {"@id": f"urn:stellaops:product:{quote(identity, safe='')}"}
