"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from stellaops.core.errors import NotPermitted

SCOPES: dict[str, str] = {
    "export:profile:manage": "create, change, clone and delete profiles",
    "export:run": "submit, cancel, replay, approve, distribute and delete runs; operators: pause and resume the queue",
    "export:read": "see profiles, runs, events, plans, differences, queue, workers, keys, audit",
    "export:download": "download artefacts, manifests and provenance",
    "concelier.ingest": "import and pull advisories, manage their sources and quarantine",
    "concelier.mirror.read": "read advisories and Concelier's mirrors",
    "excititor.ingest": "import and pull VEX, manage its sources and quarantine",
    "excititor.mirror.read": "read VEX, its consensus and Excititor's mirrors",
    "policy:manage": "apply policy overlays and take snapshots",
    "evidence:write": "import bills of materials",
    "notify:read": "see channels, rules and deliveries",
    "notify:manage": "change channels and rules, send tests",
    "authority:manage": "manage clients, tenants, quotas and keys",
}
"""Every scope, and what it allows."""


class ScopeMissing(NotPermitted):
    """The caller is known, and lacks a scope."""

    code = "ERR_SCOPE_MISSING"
    hint = "Have the scope that the message names given to the client, then ask for a new token."


class ForeignTenant(NotPermitted):
    """The caller may not act for a tenant."""

    code = "ERR_FOREIGN_TENANT"
    hint = "Name one of the token's tenants, by --tenant or X-Stella-Tenant."


@dataclass(frozen=True, slots=True)
class Confined:
    """The bundles that someone may see who may see no others.

    Attributes:
        profiles, runs: theirs; those of every run where both are empty.
        path: of the one file; every file of the bundle where None.
    """

    profiles: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    path: str | None = None

    def admits(self, run: str, profile: str, path: str | None = None) -> bool:
        """Whether a run's bundle, or one file of it, is among them."""
        every = not self.profiles and not self.runs
        inside = self.path is None or path is None or path == self.path
        return inside and (every or run in self.runs or profile in self.profiles)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as a valid access token says.

    Attributes:
        client: the client's id.
        tenants: whom the client may act for, the first by default.
        operator: whether these are all tenants, and the installation's own settings are the client's to change.
        confined: the only bundles that may be seen, and downloading them all that may be done; None for clients.
    """

    client: str
    tenants: tuple[str, ...]
    scopes: frozenset[str]
    operator: bool = False
    confined: Confined | None = None

    def demand(self, scope: str) -> None:
        """Refuse where the scope is missing.

        Raises:
            ScopeMissing: see there.
        """
        if scope not in self.scopes:
            raise ScopeMissing(f"client {self.client} lacks the scope {scope}")

    def tenant(self, wanted: str | None) -> str:
        """The tenant that is meant: the one that is named, else the first.

        Raises:
            ForeignTenant: the token does not hold for it.
        """
        if wanted is None and self.tenants:
            return self.tenants[0]
        if wanted not in self.tenants:
            raise ForeignTenant(f"client {self.client} may not act for tenant {str(wanted)[:80]!r}")
        return wanted
