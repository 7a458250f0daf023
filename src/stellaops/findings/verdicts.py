"""The VEX consensus for components: of all statements about a vulnerability, those that hold for a component."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from stellaops.findings.finding import Verdict
from stellaops.policy.overlay import IssuerWeight
from stellaops.policy.snapshot import Snapshot
from stellaops.vex.consensus import Held, Subject, decide, name, reason
from stellaops.vex.products import applies, identify, package_of
from stellaops.vex.weights import Weights


def weights_of(snapshot: Snapshot, weights: Weights) -> Weights:
    """The weights of issuers with those that a policy sets."""
    told = {rule.issuer: rule.weight for rule in snapshot.rules if isinstance(rule, IssuerWeight)}
    return Weights(weights.roles, {**weights.issuers, **told}, weights.sources) if told else weights


class Verdicts:
    """Statements by the vulnerability that they are about, ready to be asked about many components."""

    def __init__(self, statements: Mapping[str, Sequence[Held]], weights: Weights) -> None:
        self._statements = statements
        self._weights = weights

    def verdict(self, vulnerability: str, purl: str, products: Collection[str]) -> Verdict | None:
        """The verdict for a component; None where no statement holds for it.

        Args:
            products: what the component is a part of: statements about these may name it, or mean all of them.
        """
        held = [one for one in self._statements.get(vulnerability, ()) if holds(one, purl, products)]
        if not held:
            return None
        identity = identify(purl)
        state = decide(Subject(vulnerability, package_of(identity), identity), held, self._weights)
        if state is None:
            return None
        decided = state.decided
        return Verdict(
            status=decided.status,
            justification=decided.justification,
            issuer=name(decided),
            source=decided.source,
            key=decided.key,
            product=decided.product,
            conflict=state.conflict,
            reason=reason(state),
            revision=state.revision,
        )


def holds(held: Held, purl: str, products: Collection[str]) -> bool:
    """Whether a statement is about a component: by itself, as all of the product, or as a named part of it."""
    if _is_of(held.product, purl) and not held.subcomponents:
        return True
    if not any(_is_of(held.product, product) for product in products):
        return False
    return not held.subcomponents or any(_is_of(part, purl) for part in held.subcomponents)


@lru_cache(maxsize=100_000)
def _is_of(stated: str, asked: str) -> bool:
    return bool(asked) and applies(stated, identify(asked))


def by_vulnerability(statements: Iterable[Held], canonical: Mapping[str, str]) -> dict[str, list[Held]]:
    """Statements under the names that stand for their vulnerabilities."""
    found: dict[str, list[Held]] = {}
    for held in statements:
        found.setdefault(canonical.get(held.vulnerability, held.vulnerability), []).append(held)
    return found
