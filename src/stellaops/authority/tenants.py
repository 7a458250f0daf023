"""Tenants: whose profiles, runs, keys and private evidence are kept apart, and how much each may run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stellaops.core import timestamps
from stellaops.core.errors import AlreadyExists, InvalidInput, NotFound

DEFAULT_TENANT = "default"
"""The tenant that every installation has."""
MAX_ACTIVE_RUNS = 2
"""How many runs of a tenant may be running, unless it was said otherwise."""
MAX_QUEUED_RUNS = 100
"""How many may wait."""
_LARGEST_LIMIT = 100_000
_LARGEST_STORAGE = 1 << 60
UNLIMITED = -1
"""As a wish for `max_storage`: no bound."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class BadTenantName(InvalidInput):
    """A tenant name that cannot be a directory's name."""

    code = "ERR_TENANT_NAME"
    hint = "Use 1 to 63 of a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit."


class BadTenantLimit(InvalidInput):
    """A limit of a tenant is no number that can be."""

    code = "ERR_TENANT_LIMIT"
    hint = (
        f"Give a whole number from 0 to {_LARGEST_LIMIT}; 0 active runs refuses submissions."
        " Storage is a size such as 50GiB, or none."
    )


class TenantNotFound(NotFound):
    """There is no such tenant."""

    code = "ERR_TENANT_NOT_FOUND"
    hint = "List the tenants with `stella authority tenant list`, or create one with `… tenant create`."


class TenantExists(AlreadyExists):
    """There is a tenant of this name."""

    code = "ERR_TENANT_EXISTS"
    hint = "Choose another name, or change the tenant with `stella authority tenant set`."


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the service.

    Attributes:
        id: as `demand_name` allows it.
        max_active_runs: how many runs may be running; 0 refuses submissions, and lets queued ones wait.
        max_queued_runs: how many more may wait.
        max_storage: bytes that its kept bundles may take; None for no bound.
        created_at: None for the default tenant while nobody has changed it.
    """

    id: str
    max_active_runs: int = MAX_ACTIVE_RUNS
    max_queued_runs: int = MAX_QUEUED_RUNS
    created_at: datetime | None = None
    max_storage: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """The tenant as scripts read it."""
        return {
            "tenant": self.id,
            "maxActiveRuns": self.max_active_runs,
            "maxQueuedRuns": self.max_queued_runs,
            "maxStorageBytes": self.max_storage,
            "createdAt": timestamps.render(self.created_at) if self.created_at else None,
        }


def demand_name(name: str) -> str:
    """The name, if a tenant may have it.

    Raises:
        BadTenantName: see there.
    """
    if not _NAME.fullmatch(name):
        raise BadTenantName(f"{name[:80]!r} cannot be a tenant's name")
    return name


def demand_limit(name: str, value: int) -> int:
    """The value, if it can be a limit.

    Raises:
        BadTenantLimit: see there.
    """
    if not 0 <= value <= _LARGEST_LIMIT:
        raise BadTenantLimit(f"{name}: {value} is not from 0 to {_LARGEST_LIMIT}")
    return value


def demand_storage(value: int) -> int | None:
    """The bound of storage that is wished for; None for `UNLIMITED`.

    Raises:
        BadTenantLimit: see there.
    """
    if value == UNLIMITED:
        return None
    if not 0 <= value <= _LARGEST_STORAGE:
        raise BadTenantLimit(f"max_storage: {value} bytes is not from 0 to {_LARGEST_STORAGE}")
    return value
