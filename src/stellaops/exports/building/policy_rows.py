"""What `json:policy` adds: the snapshot of the policy, and the findings of the tenant's bills of materials under it.

The findings are of the advisories and statements that the export selects, at its sequence: selectors narrow what they
are measured by as they narrow the documents that travel. So the same selection gives the same evaluations, whatever
else a store holds. Bills of materials are the tenant's; only the bound of the markings narrows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stellaops.bundles.jsonl.shards import Line
from stellaops.core import canonical_json, digests
from stellaops.findings.finding import Finding

SOURCE = "findings"
"""Stands where rows of evidence have their source."""

_CONTROL = re.compile(r"[\x00-\x1f]")


def evaluation_lines(findings: Iterable[Finding]) -> Iterator[Line]:
    """A line for each finding, in the order of their keys."""
    found = {_key(finding): finding for finding in findings}
    for key in sorted(found):
        body = found[key].line
        text = b'{"digest":%b,"finding":%b,"key":%b,"source":%b}' % (
            canonical_json.encode(digests.sha256(body)),
            body,
            canonical_json.encode(key),
            canonical_json.encode(SOURCE),
        )
        yield Line("", SOURCE, key, text)


def _key(finding: Finding) -> str:
    return "\t".join(_CONTROL.sub(" ", part) for part in finding.order)
