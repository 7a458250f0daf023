"""Download tokens and links of a server."""

from __future__ import annotations

from datetime import timedelta

from stellaops.authority.download_tokens import OVERLAP, Wanted
from stellaops.center.wire import Wire
from stellaops.client.connection import Connection, mapping, path_of

_TOKENS = "/api/export/download-tokens"


class RemoteDownloads:
    """`center.interface.Downloads` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tokens(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_TOKENS))

    def create_token(self, wanted: Wanted) -> Wire:
        """See the interface."""
        body = {
            "name": wanted.name,
            "profiles": list(wanted.profiles),
            "runs": list(wanted.runs),
            "expiresSeconds": int(wanted.life.total_seconds()),
        }
        return mapping(self._connection.change("POST", _TOKENS, body))

    def rotate_token(self, token_id: str, *, overlap: timedelta = OVERLAP) -> Wire:
        """See the interface."""
        body = {"overlapSeconds": int(overlap.total_seconds())}
        return mapping(self._connection.change("POST", path_of(_TOKENS, token_id, "rotate"), body))

    def revoke_token(self, token_id: str, reason: str = "") -> Wire:
        """See the interface."""
        path = path_of(_TOKENS, token_id, "revoke")
        return mapping(self._connection.change("POST", path, {"reason": reason}))

    def links(self, run_id: str, path: str | None = None, *, life: timedelta) -> Wire:
        """See the interface."""
        body: Wire = {"expiresSeconds": int(life.total_seconds())}
        if path is not None:
            body["path"] = path
        return mapping(self._connection.change("POST", path_of("/api/export/runs", run_id, "links"), body))
