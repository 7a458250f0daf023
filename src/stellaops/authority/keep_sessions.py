"""Begin, find, renew and end sessions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from stellaops.authority.issue_tokens import BadCredentials, BadGrant, Issued, Issuer
from stellaops.authority.sessions import (
    RENEWING,
    SessionContent,
    SessionLimits,
    SessionRecord,
    Sessions,
    id_of,
    new_handle,
    opened,
    resealed,
    sealed,
)
from stellaops.core.errors import StellaError

_EARLIEST = timedelta(minutes=5)
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that goes on.

    Attributes:
        handle: what the browser has.
    """

    handle: str = field(repr=False)
    record: SessionRecord
    content: SessionContent


class SessionKeeper:
    """Keeps sessions in a store that every process of an installation shares.

    Tokens are minted anew for as long as a session is used: no secret of a client is kept for that.

    Args:
        issuer: gives the tokens of clients.
        limits: how long sessions go on.
        now: the clock.
    """

    def __init__(
        self, sessions: Sessions, issuer: Issuer, limits: SessionLimits, now: Callable[[], datetime]
    ) -> None:
        self._sessions, self._issuer, self.limits, self._now = sessions, issuer, limits, now

    def begin(self, client: str, content: SessionContent) -> Opened:
        """A session for a login that was just proved; those that are over are forgotten."""
        now = self._now()
        self._sessions.prune(now - self.limits.longest, now - self.limits.idle)
        handle = new_handle()
        record = SessionRecord(id_of(handle), client, now, now, sealed(handle, content))
        self._sessions.add(record)
        return Opened(handle, record, content)

    def find(self, handle: str, *, used: bool = True) -> Opened | None:
        """A session that is not over; its token may be.

        Args:
            used: whether this is a use by somebody, which keeps it from being idle.
        """
        now, record = self._now(), self._sessions.get(id_of(handle))
        if record is None:
            return None
        content = opened(handle, record)
        if content is None or record.is_over(self.limits, now):
            self._sessions.remove(record.id)
            return None
        if used and record.wants_note(self.limits, now):
            with suppress(StellaError):  # a full disk keeps nobody from looking: the session ends sooner
                self._sessions.note_use(record.id, now)
        return Opened(handle, record, content)

    def holds(self, found: Opened) -> bool:
        """Whether the token is still good."""
        return self._now().timestamp() < found.content.expires_at

    def wants_renewal(self, found: Opened) -> bool:
        """Whether the token is near its end or past it: in the last third of its life, at most five minutes."""
        content = found.content
        early = min(_EARLIEST.total_seconds(), (content.expires_at - content.issued_at) / 3)
        return self._now().timestamp() >= content.expires_at - early

    def claim(self, found: Opened) -> bool:
        """Be the one that renews it: a provider may take a refresh token that is sent twice for a stolen one."""
        now, until = self._now(), found.record.renewing_until
        if until is not None and now < until:
            return False  # without a write: many may wait
        return self._sessions.claim(found.record, now, now + RENEWING)

    def renew(self, found: Opened, *, client: str | None = None, refresh: str | None = None) -> Opened | None:
        """The session with another token; None, and over, where nothing gives one any more.

        Args:
            client: as whom the visitor acts from here on; as before where None.
            refresh: the provider's next refresh token; as before where None.
        """
        record, content = found.record, found.content
        acting = client or record.client
        try:
            issued = self._issuer.renewed(
                acting, record.began_at, tenant=content.granted or None, by_secret=not content.provider
            )
        except (BadCredentials, BadGrant):
            self._sessions.remove(record.id)
            return None
        return self._written(found, acting, issued, refresh)

    def _written(self, found: Opened, client: str, issued: Issued, refresh: str | None) -> Opened | None:
        """The token kept, beside what else was changed meanwhile; None where the session was ended."""
        current: Opened | None = found
        for _ in range(_ATTEMPTS):
            if current is None:
                break
            content = with_token(current.content, issued, refresh)
            record = replace(
                resealed(found.handle, current.record, content), client=client, renewing_until=None
            )
            if self._sessions.change(record, renewed=True):
                return Opened(found.handle, replace(record, version=record.version + 1), content)
            current = self.find(found.handle, used=False)
        return current

    def choose_tenant(self, handle: str, tenant: str) -> None:
        """Let the pages be about another tenant."""
        for _ in range(_ATTEMPTS):
            found = self.find(handle)
            if found is None:
                return
            content = msgspec.structs.replace(found.content, tenant=tenant)
            if self._sessions.change(resealed(handle, found.record, content), renewed=False):
                return

    def end(self, handle: str) -> None:
        """End a session, in every process."""
        self._sessions.remove(id_of(handle))


def with_token(content: SessionContent, issued: Issued, refresh: str | None = None) -> SessionContent:
    """The content with a token that was just given."""
    return msgspec.structs.replace(
        content,
        token=issued.token,
        issued_at=int(issued.claims.issued_at.timestamp()),
        expires_at=int(issued.claims.expires_at.timestamp()),
        refresh=refresh or content.refresh,
    )
