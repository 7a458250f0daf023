"""Create, list and change tenants of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from stellaops.authority.actors import Actor
from stellaops.authority.ports import Tenants
from stellaops.authority.tenants import Tenant, TenantNotFound, demand_limit, demand_name, demand_storage


def create_tenant(
    store: Tenants,
    actor: Actor,
    name: str,
    *,
    now: datetime,
    max_active_runs: int | None = None,
    max_queued_runs: int | None = None,
    max_storage: int | None = None,
) -> Tenant:
    """Make a tenant; limits that are not given are the usual ones.

    Raises:
        OperatorOnly, BadTenantName, BadTenantLimit, TenantExists: see there.
    """
    actor.demand_operator("create tenants")
    fresh = Tenant(demand_name(name), created_at=now)
    tenant = _limited(fresh, max_active_runs, max_queued_runs, max_storage)
    store.add(tenant)
    return tenant


def list_tenants(store: Tenants, actor: Actor) -> Sequence[Tenant]:
    """The tenants that the actor may act for."""
    return [tenant for tenant in store.list() if actor.holds(tenant.id)]


def find_tenant(store: Tenants, actor: Actor, name: str) -> Tenant:
    """A tenant by name.

    Raises:
        TenantNotFound: there is none, or the actor may not act for it.
    """
    tenant = store.get(name) if actor.holds(name) else None
    if tenant is None:
        raise TenantNotFound(f"there is no tenant {name[:80]!r}")
    return tenant


def set_limits(
    store: Tenants,
    actor: Actor,
    name: str,
    *,
    max_active_runs: int | None,
    max_queued_runs: int | None,
    max_storage: int | None = None,
) -> tuple[Tenant, Tenant]:
    """Change how much a tenant may run and keep; None leaves a limit as it is.

    Args:
        max_storage: in bytes; `tenants.UNLIMITED` for no bound.

    Returns:
        the tenant before and after.

    Raises:
        TenantNotFound, OperatorOnly, BadTenantLimit: see there.
    """
    before = find_tenant(store, actor, name)
    actor.demand_operator("change limits")
    after = _limited(before, max_active_runs, max_queued_runs, max_storage)
    store.change(after)
    return before, after


def _limited(
    tenant: Tenant, max_active_runs: int | None, max_queued_runs: int | None, max_storage: int | None
) -> Tenant:
    if max_active_runs is not None:
        tenant = replace(tenant, max_active_runs=demand_limit("max_active_runs", max_active_runs))
    if max_queued_runs is not None:
        tenant = replace(tenant, max_queued_runs=demand_limit("max_queued_runs", max_queued_runs))
    if max_storage is not None:
        tenant = replace(tenant, max_storage=demand_storage(max_storage))
    return tenant
