"""Who manages clients and tenants, and what they may give away: never more than they have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stellaops.authority.access import SCOPES, Principal
from stellaops.authority.clients import ALL_TENANTS
from stellaops.core.errors import NotPermitted


class OperatorOnly(NotPermitted):
    """Only an operator, who acts for every tenant, may do this."""

    code = "ERR_OPERATOR_ONLY"
    hint = "Ask an operator: a client that was created for every tenant (`--for-tenant '*'`)."


class GrantsTooMuch(NotPermitted):
    """A client would get, or has, more than the one who manages it."""

    code = "ERR_GRANT_EXCEEDS"
    hint = "Give no scope and no tenant that your own client does not have."


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who manages.

    Attributes:
        operator: acts for every tenant, and for the installation.
    """

    tenants: frozenset[str]
    scopes: frozenset[str]
    operator: bool = False

    @classmethod
    def of(cls, principal: Principal) -> Actor:
        """The one whom an access token names."""
        return cls(frozenset(principal.tenants), principal.scopes, principal.operator)

    def holds(self, tenant: str) -> bool:
        """Whether a tenant is the actor's to act for."""
        return self.operator or (tenant != ALL_TENANTS and tenant in self.tenants)

    def demand_operator(self, what: str) -> None:
        """Refuse all but operators.

        Raises:
            OperatorOnly: see there.
        """
        if not self.operator:
            raise OperatorOnly(f"only an operator may {what}")

    def demand_grant(self, tenants: Iterable[str], scopes: Iterable[str]) -> None:
        """Refuse what the actor does not have itself.

        Raises:
            GrantsTooMuch: see there.
        """
        foreign = [f"tenant {tenant[:80]!r}" for tenant in tenants if not self.holds(tenant)]
        missing = [f"scope {scope[:80]!r}" for scope in scopes if scope not in self.scopes]
        if foreign or missing:
            raise GrantsTooMuch(f"not yours to give: {', '.join([*foreign, *missing])}")


OPERATOR = Actor(frozenset(), frozenset(SCOPES), operator=True)
"""Whoever works on the data directory itself."""
