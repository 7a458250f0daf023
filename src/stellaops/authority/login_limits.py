"""How often somebody may try to log in, from one address and as one client; in this process."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict

from stellaops.core.errors import QuotaExceeded

_MOST_PLACES = 10_000


class LoginRateExceeded(QuotaExceeded):
    """Too many logins from an address, or too many wrong ones."""

    code = "ERR_LOGIN_RATE"
    hint = "Wait as long as Retry-After says; keep tokens for as long as they live."

    def __init__(self, limit: int, reset: int) -> None:
        """`limit` logins a minute; the next one may come in `reset` seconds."""
        super().__init__("too many logins from this address")
        self.limit, self.remaining, self.reset = limit, 0, reset


class Bucket:
    """For each place so many at once, and so many a minute after that; in this process.

    Attributes:
        burst: how many at once.
        per_minute: how many come back a minute.
    """

    def __init__(self, burst: int, per_minute: int) -> None:
        self.burst, self.per_minute = burst, per_minute
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def left(self, place: object, now: float) -> float:
        """How many a place has left."""
        left, at = self._left.get(place, (float(self.burst), now))
        return min(float(self.burst), left + (now - at) * self.per_minute / 60)

    def demand(self, place: object, now: float) -> None:
        """Refuse where none is left.

        Raises:
            LoginRateExceeded: see there.
        """
        left = self.left(place, now)
        if left < 1:
            raise LoginRateExceeded(self.per_minute, int((1 - left) * 60 / self.per_minute) + 1)

    def take(self, place: object, now: float) -> None:
        """One is used."""
        with self._lock:
            self._left[place] = (self.left(place, now) - 1, now)
            self._left.move_to_end(place)
            if len(self._left) > _MOST_PLACES:
                self._left.popitem(last=False)


class LoginLimits:
    """How often an address may log in, and how often wrongly.

    A wrong secret costs the pair of address and client most, so that nobody locks a client out from elsewhere.
    """

    def __init__(self) -> None:
        self._all = Bucket(600, 600)
        self._wrong = Bucket(60, 30)
        self._wrong_for = Bucket(10, 6)

    def demand(self, address: str, client_id: str, now: float) -> None:
        """Refuse who has none left.

        Raises:
            LoginRateExceeded: see there.
        """
        place = _place(address)
        self._all.demand(place, now)
        self._wrong.demand(place, now)
        self._wrong_for.demand((place, client_id[:64]), now)
        self._all.take(place, now)

    def wrong(self, address: str, client_id: str, now: float) -> None:
        """A secret was wrong."""
        place = _place(address)
        self._wrong.take(place, now)
        self._wrong_for.take((place, client_id[:64]), now)


def _place(address: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 one, which is what one host has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)
