"""Clients of the service: programs and people who log in with an id and a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stellaops.authority.access import SCOPES
from stellaops.authority.tenants import demand_name
from stellaops.core import timestamps
from stellaops.core.errors import AlreadyExists, Conflict, InvalidInput, NotFound

ALL_TENANTS = "*"
"""In place of a client's tenants: every tenant, also those that come later. Such a client is an operator."""
MOST_TENANTS = 100
"""More tenants than a client names, and so than a token does."""
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LONGEST_TEXT = 200


class ClientNotFound(NotFound):
    """There is no such client."""

    code = "ERR_CLIENT_NOT_FOUND"
    hint = "List the clients with `stella authority client list`."


class ClientExists(AlreadyExists):
    """A client's id is taken; that of a revoked one stays so."""

    code = "ERR_CLIENT_EXISTS"
    hint = "Choose another id."


class ClientRevoked(Conflict):
    """A revoked client was to be changed."""

    code = "ERR_CLIENT_REVOKED"
    hint = "Create another client: a revocation is for ever."


class ClientChanged(Conflict):
    """Someone else changed the client at the same moment."""

    code = "ERR_CLIENT_CHANGED"
    hint = "Look at the client, then ask again."


class TwoSecretsValid(Conflict):
    """A client has two valid secrets, and another would cut one of them off."""

    code = "ERR_CLIENT_SECRETS"
    hint = "Wait until the earlier one has ended, or rotate with an overlap of 0, which ends both at once."


class BadClient(InvalidInput):
    """A client's id, name, tenants or scopes cannot be; all that is wrong is listed."""

    code = "ERR_CLIENT_INVALID"
    hint = "Correct what is listed; the scopes stand in docs/operate/authority.md."


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """One secret of a client, as a hash.

    Attributes:
        number: 1, 2, 3 … in the order in which they were made.
        hash: see `authority.client_secrets`.
        expires_at: when it ends; None while it is the newest one.
        used_at: when a token was last given for it, to the minute; None for never.
    """

    number: int
    hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it still opens."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        name: for people.
        tenants: whom it may act for, the first by default; `*` alone for every tenant.
        scopes: what it may do, sorted.
        secrets: the valid ones and the last that ended, the oldest first.
        tokens_from: tokens that were issued before are refused.
        version: grows with every change.
    """

    id: str
    name: str
    tenants: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: datetime
    secrets: tuple[ClientSecret, ...] = ()
    tokens_from: datetime | None = None
    revoked_at: datetime | None = None
    revocation_reason: str = ""
    version: int = 0

    @property
    def is_operator(self) -> bool:
        """Whether it acts for every tenant."""
        return ALL_TENANTS in self.tenants

    def valid_secrets(self, now: datetime) -> tuple[ClientSecret, ...]:
        """The secrets that open; none of a revoked client."""
        return () if self.revoked_at else tuple(each for each in self.secrets if each.is_valid(now))

    def to_wire(self) -> dict[str, Any]:
        """The client as scripts read it; hashes are not for them."""
        return {
            "clientId": self.id,
            "name": self.name,
            "tenants": list(self.tenants),
            "scopes": list(self.scopes),
            "createdAt": timestamps.render(self.created_at),
            "secrets": [
                {
                    "number": each.number,
                    "createdAt": timestamps.render(each.created_at),
                    "expiresAt": _instant(each.expires_at),
                    "usedAt": _instant(each.used_at),
                }
                for each in self.secrets
            ],
            "revokedAt": _instant(self.revoked_at),
            "revocationReason": self.revocation_reason or None,
        }


def demand_sound(client: Client) -> Client:
    """The client, if it can be.

    Raises:
        BadClient: with all that is wrong.
    """
    problems = [
        *(() if _ID.fullmatch(client.id) else (f"{client.id[:80]!r} cannot be a client's id",)),
        *_text("name", client.name),
        *_tenants(client.tenants),
        *(f"{scope[:80]!r} is not a scope" for scope in client.scopes if scope not in SCOPES),
    ]
    if not client.scopes:
        problems.append("at least one scope is needed")
    if problems:
        raise BadClient(f"client {client.id[:80]}: {'; '.join(problems)}", details=problems)
    return client


def demand_reason(reason: str) -> str:
    """The reason, if it is one line that is not too long.

    Raises:
        BadClient: see there.
    """
    if problems := _text("reason", reason):
        raise BadClient("; ".join(problems), details=problems)
    return reason


def _text(name: str, value: str) -> list[str]:
    if len(value) <= _LONGEST_TEXT and (value.isprintable() or not value):
        return []
    return [f"the {name} must be one line of at most {_LONGEST_TEXT} characters"]


def _tenants(tenants: tuple[str, ...]) -> list[str]:
    if not tenants:
        return ["at least one tenant is needed"]
    if ALL_TENANTS in tenants:
        return [] if len(tenants) == 1 else ["* stands for every tenant, and alone"]
    problems = ["a tenant is named twice"] if len(set(tenants)) < len(tenants) else []
    if len(tenants) > MOST_TENANTS:
        problems.append(f"{len(tenants)} tenants are more than {MOST_TENANTS}; * stands for every tenant")
    for tenant in tenants:
        try:
            demand_name(tenant)
        except InvalidInput as error:
            problems.append(error.what)
    return problems


def _instant(value: datetime | None) -> str | None:
    return timestamps.render(value) if value else None
