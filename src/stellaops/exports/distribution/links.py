"""Links to files of bundles that open without a token until they end: signed by a key of this installation. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable
from urllib.parse import quote, urlencode

from stellaops.core import durations
from stellaops.core.errors import InvalidInput, NotAuthenticated
from stellaops.exports.run import Archive

LONGEST = timedelta(days=7)
"""No link lives longer; nor does one to a bucket, by the rules of S3."""
SHORTEST = timedelta(seconds=10)


class LinkInvalid(NotAuthenticated):
    """A signed link is over, was changed, or its key is gone."""

    code = "ERR_DOWNLOAD_LINK_INVALID"
    hint = "Ask whoever gave you the link for another one."


class BadLinkLife(InvalidInput):
    """A link is to live for too short or too long."""

    code = "ERR_DOWNLOAD_LINK_LIFE"
    hint = "Ask for 10 seconds to 7 days; for longer there are download tokens, `stella export token create`."


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key that signs links: 256 random bits, and a name that is no secret."""

    id: str
    secret: bytes = field(repr=False)


class LinkKeys(Protocol):
    """Keys of links, the same for all processes of an installation."""

    def signing(self, now: datetime) -> LinkKey:
        """The one that signs at present; made where there is none."""
        ...

    def get(self, key_id: str) -> LinkKey | None:
        """One that signs or has signed; None for one that is gone."""
        ...


@runtime_checkable
class LinkingStore(Protocol):
    """A store of artefacts that gives links of its own."""

    def link(self, archive: Archive, path: str, seconds: int) -> str:
        """A URL by which whoever has it gets one file, where there is one, for so long."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link opens: a file of a run's bundle, until an instant."""

    tenant: str
    run: str
    path: str
    expires_at: datetime


def demand_life(life: timedelta) -> timedelta:
    """A link's life, if it can have it.

    Raises:
        BadLinkLife: see there.
    """
    if not SHORTEST <= life <= LONGEST:
        raise BadLinkLife(f"a link cannot live for {durations.render(life)}")
    return life


def address(claim: Claim, key: LinkKey) -> str:
    """The path and query of a link, to be put after the server's address."""
    query = {
        "tenant": claim.tenant,
        "expires": str(_seconds(claim)),
        "key": key.id,
        "signature": _signature(claim, key),
    }
    path = f"/api/export/runs/{quote(claim.run, safe='')}/artifacts/{quote(claim.path, safe='/')}"
    return f"{path}?{urlencode(query)}"


def checked(
    told: Mapping[str, str], run: str, path: str, keys: Callable[[str], LinkKey | None], now: datetime
) -> Claim:
    """What a link opens, after its signature was verified.

    Args:
        told: `tenant expires key signature` of its query.

    Raises:
        LinkInvalid: see there.
    """
    expires = told.get("expires", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 11):
        raise LinkInvalid("the link has no end")
    claim = Claim(told.get("tenant", ""), run, path, datetime.fromtimestamp(int(expires), UTC))
    key = keys(told.get("key", ""))
    if key is None:
        raise LinkInvalid("the key of the link is not known any more")
    given = told.get("signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(_signature(claim, key).encode(), given):
        raise LinkInvalid("the link was not signed like this")
    if now >= claim.expires_at:
        raise LinkInvalid("the link is over")
    return claim


def _signature(claim: Claim, key: LinkKey) -> str:
    parts = ("stella-link-1", claim.tenant, claim.run, claim.path, str(_seconds(claim)))
    # With lengths before them no two claims give the same text.
    text = "".join(f"{len(part.encode())}:{part}" for part in parts)
    made = hmac.new(key.secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def _seconds(claim: Claim) -> int:
    return int(claim.expires_at.timestamp())
