"""A policy snapshot as the last stage of the merge of a Trivy database: it changes what buckets hold, and adds none.

What a database cannot say is left to findings and told as a warning: rules for one bill of materials or one version,
and severities of one package, since Trivy keeps the severity of a vulnerability as such.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import msgspec

from stellaops.advisories.advisory import assess
from stellaops.advisories.aliases import identify
from stellaops.advisories.severity import Severity
from stellaops.bundles.trivy.marks import ABOUT
from stellaops.bundles.trivy.projection import project
from stellaops.bundles.trivy.values import Detail, decode_detail
from stellaops.bundles.trivy.vulnerability_db import AdvisoryEntry, DataSource, DetailEntry
from stellaops.exports.building.vex_verdicts import VexRows
from stellaops.exports.ports import Selection
from stellaops.findings.private import DATABASE
from stellaops.matching.lookup import lookups
from stellaops.policy.evaluate import Rules
from stellaops.policy.overlay import IgnoreRule, Match, PrivateAdvisory, SeverityOverride, advisory_of
from stellaops.policy.snapshot import Snapshot
from stellaops.sboms.component import Component
from stellaops.sboms.purl import parse as parse_purl

_JSON = msgspec.json.Encoder(order="sorted")
_ANY_VERSION = "0"
_NOTHING = ("",)
"""Sources of which there is none: an empty choice would mean all of them."""


def allowed(selection: Selection, snapshot: Snapshot, known: Iterable[str]) -> Selection:
    """The selection without the sources that the policy does not allow."""
    rules = Rules(snapshot)
    chosen = selection.selectors.sources or tuple(known)
    left = tuple(name for name in chosen if rules.allows(name))
    if len(left) == len(chosen):
        return selection
    return replace(selection, selectors=replace(selection.selectors, sources=left or _NOTHING))


class DatabaseOverlay:
    """What a snapshot does to the rows of a database.

    Attributes:
        warnings: the rules that a database cannot carry, a sentence each.
    """

    def __init__(
        self, snapshot: Snapshot, names_of: Callable[[str], Iterable[str]], buckets: Mapping[str, DataSource]
    ) -> None:
        self.warnings: list[str] = []
        self._buckets = buckets
        self._ignored: set[str] = set()
        self._ignored_in: dict[tuple[str, str], set[str] | None] = {}
        self._severities: dict[str, Severity] = {}
        self._private: list[AdvisoryEntry] = []
        self._private_details: list[DetailEntry] = []
        for rule in snapshot.rules:
            if isinstance(rule, IgnoreRule):
                self._ignore(rule, names_of)
            elif isinstance(rule, SeverityOverride):
                self._override(rule, names_of)
            elif isinstance(rule, PrivateAdvisory):
                self._add(rule)

    @property
    def data_sources(self) -> dict[str, DataSource]:
        """Of every bucket; a private advisory of an ecosystem that has no bucket yet needs one."""
        made = {entry[0] for entry in self._private} - self._buckets.keys()
        own = DataSource(DATABASE.trivy_id, DATABASE.title, DATABASE.url)
        return {**self._buckets, **dict.fromkeys(made, own)}

    def advisories(self, rows: Iterable[AdvisoryEntry]) -> Iterator[AdvisoryEntry]:
        """The rows with private ones among them and without those that are ignored."""
        place = itemgetter(0, 1, 2)
        for row in heapq.merge(rows, sorted(self._private, key=place), key=place):
            bucket, package, vulnerability, strength, value = row
            if bucket != ABOUT and self._is_ignored(bucket, package, vulnerability):
                continue
            severity = self._severities.get(vulnerability)
            if severity is not None and b'"Severity"' in value:
                entry = msgspec.json.decode(value)
                entry["Severity"] = int(severity)
                yield bucket, package, vulnerability, strength, _JSON.encode(entry)
            else:
                yield row

    def details(self, rows: Iterable[DetailEntry]) -> Iterator[DetailEntry]:
        """The details with overridden severities before all others."""
        name = itemgetter(0)
        merged = heapq.merge(rows, sorted(self._private_details, key=name), key=name)
        for vulnerability, entries in groupby(merged, key=name):
            severity = self._severities.get(vulnerability)
            told = list(entries)
            if severity is not None:
                asked = {source.id for source in self._buckets.values()}
                asked.update(detail.source or source for _, source, detail in told)
                for source in sorted(asked):
                    yield vulnerability, source, Detail(severity=int(severity))
            yield from told

    def _ignore(self, rule: IgnoreRule, names_of: Callable[[str], Iterable[str]]) -> None:
        names = {name for each in rule.match.vulnerabilities for name in names_of(each)}
        if rule.match.sboms:
            self._leave(rule.id, "it is about bills of materials")
        elif not rule.match.packages:
            self._ignored |= names
        else:
            for package in rule.match.packages:
                self._ignore_package(rule, package, names)

    def _ignore_package(self, rule: IgnoreRule, package: str, names: set[str]) -> None:
        purl = parse_purl(package)
        if purl is None or purl.version or purl.qualifiers:
            self._leave(rule.id, f"{package} names one version or build")
            return
        places = lookups(Component(purl=package, name=purl.full_name, version=_ANY_VERSION), None)
        if not places:
            self._leave(rule.id, f"{package} has no package key in it")
        for place in places:
            known = self._ignored_in.get((place.bucket, place.package), set())
            self._ignored_in[place.bucket, place.package] = (
                known | names if known is not None and names else None
            )

    def _is_ignored(self, bucket: str, package: str, vulnerability: str) -> bool:
        if vulnerability in self._ignored:
            return True
        if not self._ignored_in:
            return False
        key = (bucket[: bucket.find("::") + 2], package)
        names = self._ignored_in.get(key, set())
        return names is None or vulnerability in names

    def _override(self, rule: SeverityOverride, names_of: Callable[[str], Iterable[str]]) -> None:
        if rule.match.packages or rule.match.sboms or rule.match == Match():
            self._leave(rule.id, "a severity belongs to a vulnerability as such")
            return
        severity = Severity[rule.severity]
        for each in rule.match.vulnerabilities:
            for name in names_of(each):
                self._severities[name] = max(severity, self._severities.get(name, severity))

    def _add(self, rule: PrivateAdvisory) -> None:
        advisory = advisory_of(rule)
        made = project(advisory, DATABASE, assess(advisory))
        for row in made.advisories:
            bucket = self._bucket(row.bucket)
            self._private.append((bucket, row.package, row.vulnerability, row.strength, row.value))
        self._private_details += [
            (name, DATABASE.trivy_id, decode_detail(told.value))
            for told in made.details
            for name in told.vulnerabilities
        ]

    def _bucket(self, name: str) -> str:
        """The bucket of the ecosystem that Trivy reads last, which is the one that counts."""
        start, mark, _ = name.partition("::")
        held = [each for each in self._buckets if mark and each.startswith(start + mark)]
        return max(held, default=name)

    def _leave(self, rule: str, why: str) -> None:
        self.warnings.append(f"policy rule {rule}: not in the database: {why}")


def names_by_links(rows: VexRows, selection: Selection) -> Callable[[str], Iterable[str]]:
    """All names of a vulnerability, as the documents of a selection link them."""
    return lambda name: identify(name, lambda some: rows.links(selection, some)).names
