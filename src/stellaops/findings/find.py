"""Find what the bills of materials of a tenant are vulnerable to.

Components are matched with advisories; ids of one vulnerability become one finding; the consensus of VEX statements
and the rules of a policy snapshot say what of it needs action. The same evidence gives the same findings, in the same
order, whatever the order in which it came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from stellaops.advisories.aliases import Statement, identify
from stellaops.advisories.severity import Severity
from stellaops.core.errors import NotFound
from stellaops.findings.finding import Finding, Verdict
from stellaops.findings.ports import Advisories, Parts, Sboms, Statements, StoredSbom
from stellaops.findings.private import PrivateRows
from stellaops.findings.verdicts import Verdicts, by_vulnerability, weights_of
from stellaops.matching.lookup import lookups
from stellaops.matching.match import Row, Rule, match
from stellaops.policy.evaluate import Rules
from stellaops.policy.snapshot import EMPTY, Snapshot
from stellaops.sboms.component import Component, above
from stellaops.vex.names import is_settled
from stellaops.vex.products import product
from stellaops.vex.weights import Weights


class SbomNotFound(NotFound):
    """The tenant has no bill of materials of this subject, key or path."""

    code = "ERR_FINDINGS_SBOM_NOT_FOUND"
    hint = "See `stella evidence sbom list`."


@dataclass(frozen=True, slots=True)
class Request:
    """What to look for.

    Attributes:
        sbom: subject, key or path of the only bill of materials that is meant.
        sequence: the state of the evidence; the present one for None.
        weights: how much issuers of VEX count, before the policy has its say.
    """

    tenant: str
    sbom: str | None = None
    sequence: int | None = None
    snapshot: Snapshot = EMPTY
    weights: Weights = field(default_factory=Weights)


class Tools(Struct, frozen=True):
    """What findings are worked out with."""

    sboms: Sboms
    advisories: Advisories
    statements: Statements


class _Candidate(Struct, frozen=True):
    """A component and an id that matched, before names and verdicts."""

    sbom: StoredSbom
    parts: Parts
    number: int
    vulnerability: str
    rules: tuple[Rule, ...]

    @property
    def component(self) -> Component:
        """The component."""
        return self.parts.components[self.number]

    @property
    def products(self) -> frozenset[str]:
        """What the component is a part of: the subject, and the components above it."""
        inside = above(self.parts.parents, self.number)
        return frozenset((self.sbom.subject, *(self.parts.components[each].purl for each in inside))) - {""}


def find(request: Request, tools: Tools) -> list[Finding]:
    """All findings of the bills of materials that are meant, in the order of `Finding.order`.

    Raises:
        SbomNotFound: one is named, and there is none.
    """
    stored = tools.sboms.sboms(request.tenant, request.sbom, request.sequence)
    if request.sbom is not None and not stored:
        raise SbomNotFound(f"tenant {request.tenant} has no bill of materials {request.sbom[:200]!r}")
    return match_sboms([(one, tools.sboms.parts(one)) for one in stored], request, tools)


def match_sboms(listed: Sequence[tuple[StoredSbom, Parts]], request: Request, tools: Tools) -> list[Finding]:
    """The same for bills of materials that are at hand."""
    rules = Rules(request.snapshot)
    private = PrivateRows(rules.private)
    candidates = _candidates(listed, rules, private, request, tools)
    names = _Names({one.vulnerability for one in candidates}, request, tools.statements)
    packages = {
        product(name).package for one in candidates for name in (one.component.purl, *one.products) if name
    }
    statements = tools.statements.statements(
        names.all, request.tenant, sequence=request.sequence, packages=packages
    )
    weights = weights_of(request.snapshot, request.weights)
    verdicts = Verdicts(by_vulnerability(statements, names.canonical), weights)
    stated = tools.advisories.severities(
        {one.vulnerability for one in candidates}, request.tenant, request.sequence
    )
    severities = _Severities({**stated, **_both(stated, private.severities)})
    findings = [
        _finding(group, names, severities, verdicts, rules)
        for group in _together(candidates, names.canonical)
    ]
    return sorted(findings, key=lambda finding: finding.order)


def _both(
    stated: Mapping[str, Mapping[str, int]], private: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    return {name: {**private[name], **stated.get(name, {})} for name in private}


def _candidates(
    listed: Sequence[tuple[StoredSbom, Parts]],
    rules: Rules,
    private: PrivateRows,
    request: Request,
    tools: Tools,
) -> list[_Candidate]:
    places = [
        (sbom, parts, number, lookups(component, sbom.platform))
        for sbom, parts in listed
        for number, component in enumerate(parts.components)
    ]
    wanted = {place for *_, some in places for place in some}
    rows = _allowed(tools.advisories.rows(wanted, request.tenant, request.sequence), rules)
    for place, more in private.within(wanted).items():
        rows[place] = [*rows.get(place, ()), *more]
    found = [
        _Candidate(sbom, parts, number, one.vulnerability, one.rules)
        for sbom, parts, number, some in places
        for one in match(some, rows)
    ]
    void = tools.advisories.rejected({one.vulnerability for one in found}, request.tenant, request.sequence)
    return [one for one in found if one.vulnerability not in void]


def _allowed(
    rows: Mapping[tuple[str, str], Sequence[Row]], rules: Rules
) -> dict[tuple[str, str], Sequence[Row]]:
    return {place: [row for row in some if rules.allows(row.source)] for place, some in rows.items()}


class _Names:
    """What the ids that matched stand for."""

    def __init__(self, matched: Collection[str], request: Request, statements: Statements) -> None:
        self._request = request
        self._links: dict[str, list[Statement]] = {}
        self._statements = statements
        self._fetch(matched)
        self.of: dict[str, tuple[str, ...]] = {}
        self.canonical: dict[str, str] = {}
        for one in sorted(matched):
            names = identify(one, self._stated).names
            stands = one if is_settled(one) else _best(names, matched)
            self.of[stands] = tuple(sorted({*self.of.get(stands, ()), *names}))
            for name in (one, *names):
                self.canonical.setdefault(name, stands)
            self.canonical[one] = stands

    @property
    def all(self) -> frozenset[str]:
        """Every name of every vulnerability."""
        return frozenset(name for names in self.of.values() for name in names)

    def _stated(self, names: Collection[str]) -> Iterator[Statement]:
        self._fetch(names)
        for name in names:
            yield from self._links[name]

    def _fetch(self, names: Collection[str]) -> None:
        missing = {name for name in names if name not in self._links}
        if not missing:
            return
        for name in missing:
            self._links[name] = []
        for told in self._statements.links(missing, self._request.tenant, self._request.sequence):
            for name in {told.link.subject, told.link.object} & missing:
                self._links[name].append(told)


def _best(names: Collection[str], matched: Collection[str]) -> str:
    """The CVE where there is one, else the first of the ids that matched."""
    return min(names, key=lambda name: (not is_settled(name), name not in matched, name))


class _Severities:
    """How severe a vulnerability is by the documents: those that made the finding come first."""

    def __init__(self, stated: Mapping[str, Mapping[str, int]]) -> None:
        self._stated = stated

    def of(self, vulnerabilities: Iterable[str], rules: Iterable[Rule]) -> Severity:
        """The distribution's word; else the highest of the documents that match; else the first that says any."""
        own = max((rule.severity for rule in rules), default=0)
        if own:
            return Severity(own)
        told = [self._stated.get(name, {}) for name in sorted(vulnerabilities)]
        documents = {f"{rule.source}\t{rule.key}" for rule in rules}
        matching = max((each.get(document, 0) for each in told for document in documents), default=0)
        if matching:
            return Severity(matching)
        return Severity(next((word for each in told for word in each.values() if word), 0))


def _together(
    candidates: Iterable[_Candidate], canonical: Mapping[str, str]
) -> Iterator[tuple[str, list[_Candidate]]]:
    """The candidates of one component that are one vulnerability, with its name."""
    groups: dict[tuple[int, int, str], list[_Candidate]] = {}
    for one in candidates:
        groups.setdefault((one.sbom.revision, one.number, canonical[one.vulnerability]), []).append(one)
    for (_, _, vulnerability), group in groups.items():
        yield vulnerability, group


def _finding(
    group: tuple[str, list[_Candidate]],
    names: _Names,
    severities: _Severities,
    verdicts: Verdicts,
    policy: Rules,
) -> Finding:
    vulnerability, candidates = group
    sbom, component = candidates[0].sbom, candidates[0].component
    rules = tuple(sorted({rule for one in candidates for rule in one.rules}))
    stated = severities.of({one.vulnerability for one in candidates}, rules).name
    verdict = verdicts.verdict(vulnerability, component.purl, candidates[0].products)
    about = _About(names.of[vulnerability], component.purl, sbom.subject)
    outcome = policy.evaluate(about, stated)
    because = _because(verdict, [one.rule for one in outcome.applied if one.effect == "suppressed"])
    return Finding(
        sbom=sbom.subject,
        sbom_key=sbom.key,
        component=component.purl,
        name=component.name,
        version=component.version,
        vulnerability=vulnerability,
        names=about.names,
        severity=outcome.severity,
        stated_severity=stated,
        fixed=tuple(dict.fromkeys(version for rule in rules for version in rule.fixed)),
        status="suppressed" if because else "open",
        because=because,
        rules=rules,
        verdict=verdict,
        applied=outcome.applied,
    )


class _About(Struct, frozen=True):
    names: tuple[str, ...]
    purl: str
    sbom: str


def _because(verdict: Verdict | None, ignored: Sequence[str]) -> tuple[str, ...]:
    told = [f"vex: {verdict.status}"] if verdict is not None and verdict.suppresses else []
    return (*told, *(f"policy: {rule}" for rule in ignored))
