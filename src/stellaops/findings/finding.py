"""A finding: one vulnerability of one component of one bill of materials, and everything that made it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, to_builtins

from stellaops.core import canonical_json
from stellaops.core.digests import Digest, of_lines
from stellaops.matching.match import Rule
from stellaops.policy.evaluate import Applied


class Verdict(Struct, frozen=True, rename="camel", order=True):
    """What the consensus of VEX statements says of a component.

    Attributes:
        status: `affected`, `fixed`, `not_affected` or `under_investigation`.
        issuer: who decides it.
        source, key: the document.
        revision: the digest of the state.
    """

    status: str
    justification: str
    issuer: str
    source: str
    key: str
    product: str
    conflict: bool
    reason: str
    revision: str

    @property
    def suppresses(self) -> bool:
        """Whether the finding needs no action."""
        return self.status in ("not_affected", "fixed")


class Finding(Struct, frozen=True, rename="camel"):
    """One finding.

    Attributes:
        sbom: what the bill of materials is about; `sbom_key` is its key, which tells two about the same apart.
        component: the package URL; `name` and `version` as the document has them.
        vulnerability: the CVE where documents name one, else the id that they use.
        names: all names that documents give to it, sorted.
        severity: the word that counts; `stated_severity` without the policy.
        fixed: versions that documents name as fixes.
        status: `open`, or `suppressed`.
        because: why it is suppressed: `vex`, or the ids of ignore rules; empty where it is open.
        rules: the documents that make it, each with its range.
    """

    sbom: str
    sbom_key: str
    component: str
    name: str
    version: str
    vulnerability: str
    names: tuple[str, ...]
    severity: str
    stated_severity: str
    fixed: tuple[str, ...]
    status: str
    because: tuple[str, ...]
    rules: tuple[Rule, ...]
    verdict: Verdict | None = None
    applied: tuple[Applied, ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """Its place among findings, which is also its identity."""
        return self.sbom, self.sbom_key, self.component, self.name, self.version, self.vulnerability

    def wire(self) -> dict[str, Any]:
        """The form for machines."""
        value: dict[str, Any] = to_builtins(self)
        return value

    @property
    def line(self) -> bytes:
        """Canonical JSON: one line of an export."""
        return canonical_json.encode(self.wire())


def digest(findings: Iterable[Finding]) -> Digest:
    """What identifies a set of findings, in the order that `find` gives."""
    return of_lines(finding.line + b"\n" for finding in findings)
