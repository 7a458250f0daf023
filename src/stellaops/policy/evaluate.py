"""What the rules of a snapshot say of a finding."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from stellaops.advisories.severity import Severity
from stellaops.policy.overlay import AllowedSources, IgnoreRule, Match, PrivateAdvisory, SeverityOverride
from stellaops.policy.snapshot import Snapshot
from stellaops.sboms.purl import Purl
from stellaops.sboms.purl import parse as parse_purl


class Subject(Protocol):
    """A finding, as far as rules look at it."""

    @property
    def names(self) -> Collection[str]:
        """All names of the vulnerability."""
        ...

    @property
    def purl(self) -> str:
        """The component."""
        ...

    @property
    def sbom(self) -> str:
        """What the bill of materials is about."""
        ...


class Applied(Struct, frozen=True):
    """One rule that had a say.

    Attributes:
        effect: `suppressed`, or `severity` with the word it became.
    """

    rule: str
    effect: str
    reason: str


class Outcome(Struct, frozen=True):
    """What the rules make of a finding.

    Attributes:
        severity: the word that counts.
        suppressed: whether an ignore rule puts it aside.
        applied: the rules that had a say, in the order of their ids.
    """

    severity: str
    suppressed: bool
    applied: tuple[Applied, ...] = ()


class Rules:
    """A snapshot, made ready to be asked about many findings."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._overrides = [rule for rule in snapshot.rules if isinstance(rule, SeverityOverride)]
        self._ignored = [rule for rule in snapshot.rules if isinstance(rule, IgnoreRule)]
        self.private = tuple(rule for rule in snapshot.rules if isinstance(rule, PrivateAdvisory))
        lists = [rule for rule in snapshot.rules if isinstance(rule, AllowedSources)]
        self._allowed = frozenset(name for rule in lists for name in rule.sources) if lists else None

    def allows(self, source: str) -> bool:
        """Whether advisories of a source count."""
        return self._allowed is None or source in self._allowed

    def evaluate(self, subject: Subject, severity: str) -> Outcome:
        """What the rules make of a finding; of several severity overrides the most severe counts."""
        overrides = [rule for rule in self._overrides if matches(rule.match, subject)]
        ignored = [rule for rule in self._ignored if matches(rule.match, subject)]
        if overrides:
            severity = max((rule.severity for rule in overrides), key=lambda word: Severity[word])
        applied = [Applied(rule.id, f"severity {rule.severity}", rule.reason) for rule in overrides]
        applied += [Applied(rule.id, "suppressed", rule.reason) for rule in ignored]
        return Outcome(severity, bool(ignored), tuple(sorted(applied, key=lambda one: one.rule)))


def matches(match: Match, subject: Subject) -> bool:
    """Whether a rule is about a finding."""
    return (
        (not match.vulnerabilities or any(name in match.vulnerabilities for name in subject.names))
        and (not match.packages or any(_is_of(package, subject.purl) for package in match.packages))
        and (not match.sboms or subject.sbom in match.sboms)
    )


def _is_of(wanted: str, purl: str) -> bool:
    """Whether a component is the package that a rule names: what the rule leaves open holds for all."""
    rule, installed = parse_purl(wanted), parse_purl(purl)
    if rule is None or installed is None or _comparable(rule) != _comparable(installed):
        return False
    return rule.version in ("", installed.version) and set(rule.qualifiers) <= set(installed.qualifiers)


def _comparable(purl: Purl) -> str:
    return purl.package.lower().replace("_", "-") if purl.kind == "pypi" else purl.package
