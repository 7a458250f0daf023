"""Check access tokens: each request, in every process, with what the store said a moment ago."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from stellaops.authority.access import Principal
from stellaops.authority.ports import TokenKeys, TokenReader
from stellaops.authority.tokens import (
    LARGEST,
    BadToken,
    Claims,
    TokenKey,
    TokenSettings,
    TokenState,
    read_claims,
)

FRESH = 2.0
"""Seconds for which what the store said is taken as it was: revocations take effect within them."""
_BURST = 10.0  # looks at the store for unknown keys: so many at once, then so many a second
_RATE = 5.0


class Access:
    """Tells who asks.

    A check looks at the store at most once in `FRESH` seconds; and for a key that is not known yet, as one that
    another machine has just made, at once, but not more often than a few times a second.

    Args:
        keys: the store.
        reader: reads and verifies tokens.
        settings: what they must say.
        now: the clock.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        keys: TokenKeys,
        reader: TokenReader,
        settings: TokenSettings,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._keys, self._reader, self._settings = keys, reader, settings
        self._now, self._monotonic = now, monotonic
        self._lock = threading.Lock()
        self._state: TokenState | None = None
        self._read_at = 0.0
        self._looks, self._looked_at = _BURST, monotonic()

    def principal(self, token: str) -> Principal:
        """Who sends a token.

        Blocks for one short look at the store at most every two seconds.

        Raises:
            BadToken: it does not hold.
            DependencyFailed: the store does not answer: nobody is let in unchecked.
        """
        claims = self.claims(token)
        return claims.principal(self._current().tenants)

    def claims(self, token: str) -> Claims:
        """What a token says, if it holds; as `principal`."""
        if len(token) > LARGEST:
            raise BadToken(f"the access token has more than {LARGEST} bytes")
        key_id = self._reader.key_id(token)
        state = self._current()
        if key_id not in state.keys and self._may_look():
            state = self._refreshed(state)
        now = self._now()
        key = _verifying(state, key_id, now)
        claims = read_claims(self._reader.claims(token, key), self._settings, now)
        cutoff = state.cutoffs.get(claims.client)
        if cutoff is not None and claims.issued_at < cutoff:
            raise BadToken(
                f"client {claims.client} has been revoked or changed since the access token was issued"
            )
        return claims

    def verifying_keys(self) -> Sequence[TokenKey]:
        """The keys that verify, for those who check tokens themselves; as fresh as checks are."""
        now = self._now()
        return [key for _, key in sorted(self._current().keys.items()) if key.verifies(now)]

    def forget(self) -> None:
        """Look at the store at the next check: this process has changed it."""
        with self._lock:
            self._state = None

    def _current(self) -> TokenState:
        state = self._state
        if state is None or self._monotonic() - self._read_at > FRESH:
            return self._refreshed(state)
        return state

    def _refreshed(self, seen: TokenState | None) -> TokenState:
        """What the store says, unless another thread has looked since `seen`."""
        with self._lock:
            if self._state is not None and self._state is not seen:
                return self._state
            began = self._monotonic()
            self._state = state = self._keys.state(self._now())
            self._read_at = began
            return state

    def _may_look(self) -> bool:
        with self._lock:
            now = self._monotonic()
            self._looks = min(_BURST, self._looks + (now - self._looked_at) * _RATE)
            self._looked_at = now
            if self._looks < 1:
                return False
            self._looks -= 1
            return True


def _verifying(state: TokenState, key_id: str, now: datetime) -> TokenKey:
    key = state.keys.get(key_id)
    if key is None or not key.verifies(now):
        raise BadToken("the access token is signed by a key that this installation does not trust (any more)")
    return key
