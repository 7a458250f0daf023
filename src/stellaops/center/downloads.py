"""Download tokens and links of the local stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from stellaops.authority import download_tokens
from stellaops.authority.audit import Change, digest_of
from stellaops.authority.download_tokens import OVERLAP, DownloadToken, Shown, Wanted
from stellaops.bootstrap import Local, now
from stellaops.center.wire import Wire
from stellaops.exports.distribution.make_links import LinkTools, make_links
from stellaops.exports.manage_runs import find_run

Tell = Callable[[Change], None]


class LocalDownloads:
    """`center.interface.Downloads` on the local stores.

    Args:
        by: who asks, for records.
        tell: keeps the audit log.
        server: address of the API where the settings name none.
    """

    def __init__(self, local: Local, tenant: str, by: str, tell: Tell, server: str | None = None) -> None:
        self._local, self._tenant, self._by, self._tell = local, tenant, by, tell
        self._server = local.settings.get("api.publicUrl") or server

    def tokens(self) -> list[Wire]:
        """See the interface."""
        return [each.to_wire(now()) for each in self._local.download_tokens.list(self._tenant)]

    def token(self, token_id: str) -> Wire:
        """One of them.

        Raises:
            DownloadTokenNotFound: see there.
        """
        return download_tokens.find_token(self._local.download_tokens, self._tenant, token_id).to_wire(now())

    def create_token(self, wanted: Wanted) -> Wire:
        """See the interface."""
        store = self._local.download_tokens
        made = download_tokens.create_token(store, self._tenant, wanted, by=self._by, now=now())
        return self._shown("download_token.created", None, made)

    def rotate_token(self, token_id: str, *, overlap: timedelta = OVERLAP) -> Wire:
        """See the interface."""
        store = self._local.download_tokens
        before = download_tokens.find_token(store, self._tenant, token_id)
        made = download_tokens.rotate_token(store, self._tenant, token_id, overlap=overlap, now=now())
        return self._shown("download_token.rotated", before, made)

    def revoke_token(self, token_id: str, reason: str = "") -> Wire:
        """See the interface."""
        store = self._local.download_tokens
        before, after = download_tokens.revoke_token(store, self._tenant, token_id, reason=reason, now=now())
        self._changed("download_token.revoked", before, after, reason)
        return after.to_wire(now())

    def links(self, run_id: str, path: str | None = None, *, life: timedelta) -> Wire:
        """See the interface."""
        local = self._local
        run = find_run(self._tenant, run_id, local.runs)
        made = make_links(run, path, life, LinkTools(local.artefacts, local.link_keys, self._server, now))
        details = {"path": path, "links": len(made.links), "seconds": int(life.total_seconds())}
        self._tell(Change("link.created", f"run/{run.id}", details=details))
        return made.to_wire()

    def _shown(self, action: str, before: DownloadToken | None, made: Shown) -> Wire:
        self._changed(action, before, made.token)
        told = made.token.to_wire(now())
        return told if made.text is None else {**told, "downloadToken": made.text}

    def _changed(
        self, action: str, before: DownloadToken | None, after: DownloadToken, reason: str = ""
    ) -> None:
        old = None if before is None else digest_of(before.to_wire(now()))
        self._tell(Change(action, f"download-token/{after.id}", old, digest_of(after.to_wire(now())), reason))
