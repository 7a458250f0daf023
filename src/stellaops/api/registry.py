"""Every operation of the API, module by module."""

from __future__ import annotations

from stellaops.api import (
    artifacts,
    authority,
    authority_keys,
    comparing,
    concelier,
    downloads,
    events,
    evidence,
    excititor,
    freshness,
    health,
    installation,
    introspection,
    mirrors,
    notify,
    policy,
    profiles,
    retention,
    runs,
    schedules,
    targets,
    token,
    upkeep,
)
from stellaops.api.operation import Operation

MODULES = (
    profiles,
    schedules,
    runs,
    events,
    artifacts,
    downloads,
    freshness,
    comparing,
    installation,
    targets,
    retention,
    upkeep,
    mirrors,
    concelier,
    excititor,
    policy,
    evidence,
    notify,
    authority,
    authority_keys,
    token,
    introspection,
    health,
)
"""Modules with `OPERATIONS`, in the order of the OpenAPI document."""


def operations() -> tuple[Operation, ...]:
    """All operations."""
    return tuple(operation for module in MODULES for operation in module.OPERATIONS)
