"""A tenant's own advisories as rows to match: made like those of imported documents, and kept nowhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from stellaops.advisories.advisory import assess
from stellaops.advisories.databases import Database
from stellaops.bundles.trivy.projection import project
from stellaops.core import canonical_json
from stellaops.core.digests import sha256
from stellaops.matching.lookup import Lookup
from stellaops.matching.match import Row
from stellaops.policy.overlay import PrivateAdvisory, advisory_of

SOURCE = "policy"
"""The source that findings name for these advisories."""

DATABASE = Database(
    "private",
    "Private advisories",
    "https://stellaops.io",
    os_families=("alma", "alpine", "azure", "debian", "echo", "minimos", "chainguard", "opensuse", "photon", "rocky",
                 "suse", "ubuntu", "wolfi"),
)  # fmt: skip


class PrivateRows:
    """The rows of a snapshot's private advisories."""

    def __init__(self, rules: Iterable[PrivateAdvisory]) -> None:
        self._rows: dict[str, list[Row]] = {}
        self.severities: dict[str, dict[str, int]] = {}
        for rule in rules:
            self._add(rule)

    def _add(self, rule: PrivateAdvisory) -> None:
        advisory = advisory_of(rule)
        assessment = assess(advisory)
        digest = sha256(canonical_json.encode(rule.advisory))
        for row in project(advisory, DATABASE, assessment).advisories:
            made = Row(
                row.bucket, row.package, row.vulnerability, row.strength, row.value, SOURCE, rule.id, digest
            )
            self._rows.setdefault(row.package, []).append(made)
            self.severities.setdefault(row.vulnerability, {})[f"{SOURCE}\t{rule.id}"] = int(
                assessment.highest
            )

    def within(self, places: Collection[Lookup]) -> Mapping[tuple[str, str], list[Row]]:
        """The rows of some places, by bucket and package as the places name them."""
        found: dict[tuple[str, str], list[Row]] = {}
        for place in set(places) if self._rows else ():
            for row in self._rows.get(place.package, ()):
                if row.bucket == place.bucket or (place.language and row.bucket.startswith(place.bucket)):
                    found.setdefault((place.bucket, place.package), []).append(row)
        return found
