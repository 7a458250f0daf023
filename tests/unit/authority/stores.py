"""Stores of the authority in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from stellaops.authority.clients import Client, ClientChanged, ClientExists
from stellaops.authority.manage_clients import ClientTools
from stellaops.authority.tenants import DEFAULT_TENANT, Tenant, TenantExists
from stellaops.authority.tokens import TokenKey, TokenState

NOW = datetime(2026, 3, 1, 12, 0, 0, 400_000, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    at: datetime = NOW
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def move(self, by: timedelta) -> None:
        self.at += by
        self.seconds += by.total_seconds()


@dataclass
class MemoryTenants:
    kept: dict[str, Tenant] = field(default_factory=lambda: {DEFAULT_TENANT: Tenant(DEFAULT_TENANT)})

    def add(self, tenant: Tenant) -> None:
        if tenant.id in self.kept:
            raise TenantExists(tenant.id)
        self.kept[tenant.id] = tenant

    def get(self, name: str) -> Tenant | None:
        return self.kept.get(name)

    def list(self) -> Sequence[Tenant]:
        return list(self.kept.values())

    def change(self, tenant: Tenant) -> None:
        self.kept[tenant.id] = tenant


@dataclass
class MemoryClients:
    kept: dict[str, Client] = field(default_factory=dict)

    def add(self, client: Client) -> Client:
        if client.id in self.kept:
            raise ClientExists(client.id)
        self.kept[client.id] = replace(client, version=1)
        return self.kept[client.id]

    def get(self, client_id: str) -> Client | None:
        return self.kept.get(client_id)

    def list(self) -> Sequence[Client]:
        return list(self.kept.values())

    def change(self, client: Client) -> Client:
        if self.kept[client.id].version != client.version:
            raise ClientChanged(client.id)
        self.kept[client.id] = replace(client, version=client.version + 1)
        return self.kept[client.id]

    def note_use(self, client_id: str, secret: int, at: datetime) -> None:
        found = self.kept[client_id]
        secrets = tuple(replace(s, used_at=at) if s.number == secret else s for s in found.secrets)
        self.kept[client_id] = replace(found, secrets=secrets)


@dataclass
class MemoryTokenKeys:
    """Keys, and the cut-offs of the clients beside them; `looks` counts how often anybody asked."""

    clients: MemoryClients
    tenants: MemoryTenants
    kept: dict[str, TokenKey] = field(default_factory=dict)
    looks: int = 0

    def add(self, key: TokenKey) -> None:
        self.kept[key.id] = key

    def list(self) -> Sequence[TokenKey]:
        return list(self.kept.values())

    def end(self, key_ids: Sequence[str], at: datetime, *, revoke: bool) -> None:
        for name in key_ids:
            self.kept[name] = replace(self.kept[name], signs_until=at, revoked_at=at if revoke else None)

    def state(self, now: datetime) -> TokenState:
        self.looks += 1
        cutoffs = {
            client.id: datetime.max.replace(tzinfo=UTC) if client.revoked_at else client.tokens_from
            for client in self.clients.list()
        }
        return TokenState(
            {name: key for name, key in self.kept.items() if key.verifies(now)},
            {name: at for name, at in cutoffs.items() if at is not None},
            tuple(self.tenants.kept),
        )


def tools(*tenants: str) -> ClientTools:
    """Empty stores with some tenants."""
    made = MemoryTenants()
    for name in tenants:
        made.add(Tenant(name, created_at=NOW))
    return ClientTools(MemoryClients(), made)
