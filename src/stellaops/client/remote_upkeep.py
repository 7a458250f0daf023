"""What looks after the bundles of a server."""

from __future__ import annotations

from stellaops.center.interface import Progress, silent
from stellaops.center.wire import Wire
from stellaops.client.connection import WORK, Connection, items, mapping

_QUOTAS, _VERIFICATIONS, _CHORES = (f"/api/export/{name}" for name in ("quotas", "verifications", "chores"))


class RemoteUpkeep:
    """`center.interface.Upkeep` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def quotas(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(_QUOTAS))

    def verifications(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_VERIFICATIONS))

    def verify(
        self, target: str | None = None, profile: str | None = None, progress: Progress = silent
    ) -> list[Wire]:
        """See the interface."""
        progress("the server is fetching and verifying")
        body = {"target": target, "profile": profile}
        return items(self._connection.change("POST", _VERIFICATIONS, body, patience=WORK))

    def chores(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_CHORES))
