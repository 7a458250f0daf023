"""The targets of this installation: the driver `http`, and what the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module

from stellaops.adapters.settings.targets import HTTP, TargetSettings
from stellaops.adapters.sql.target_turns import SqlTurns
from stellaops.adapters.targets.context import OpenTarget, TargetContext
from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.distribution.ports import Target, Turn
from stellaops.exports.errors import TargetNotFound

MODULES: Mapping[str, str] = {"http": "http", "object": "object_store", "oci": "oci"}
"""The module of each driver, in this package."""
_EXTRAS = {"obstore": "s3"}


class DriverLibraryMissing(MissingPrerequisite):
    """A library that a driver of distribution works with is not installed."""

    code = "ERR_EXPORT_TARGET_LIBRARY_MISSING"
    hint = "Install the extra that the message names, as `pip install 'stellaops[s3]'`."


@dataclass(frozen=True)
class SettingsTargets:
    """`exports.distribution.ports.Targets`.

    Attributes:
        context: what a tenant's targets work with.
    """

    targets: Mapping[str, TargetSettings]
    context: Callable[[str], TargetContext]
    turns: SqlTurns

    def names(self, tenant: str) -> Sequence[str]:
        """See the port."""
        named = (name for name, settings in self.targets.items() if settings.is_for(tenant))
        return [HTTP, *sorted(name for name in named if name != HTTP)]

    def target(self, tenant: str, name: str) -> Target:
        """See the port."""
        if name not in self.names(tenant):
            there = ", ".join(self.names(tenant))
            raise TargetNotFound(f"there is no target {name[:80]!r} for tenant {tenant}; there is {there}")
        settings = self.targets.get(name) or TargetSettings(HTTP, HTTP)
        return opener(settings.driver)(name, settings.for_tenant(tenant), self.context(tenant))

    def turn(self, name: str, tenant: str) -> AbstractContextManager[Turn]:
        """See the port."""
        return self.turns.turn(name, tenant)


def opener(driver: str) -> OpenTarget:
    """What opens targets of a driver.

    Raises:
        DriverLibraryMissing: see there.
    """
    try:
        module = import_module(f"stellaops.adapters.targets.{MODULES[driver]}")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        install = f" of the extra {extra}" if extra else ""
        raise DriverLibraryMissing(
            f"the library {error.name}{install} is not installed; the driver {driver} needs it"
        ) from error
    found: OpenTarget = module.open_target
    return found
