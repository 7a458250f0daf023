"""Create, list, change, rotate and revoke clients."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stellaops.authority import client_secrets
from stellaops.authority.access import SCOPES
from stellaops.authority.actors import OPERATOR, Actor
from stellaops.authority.clients import (
    ALL_TENANTS,
    BadClient,
    Client,
    ClientExists,
    ClientNotFound,
    ClientRevoked,
    ClientSecret,
    TwoSecretsValid,
    demand_reason,
    demand_sound,
)
from stellaops.authority.ports import Clients, Tenants
from stellaops.authority.tenants import TenantNotFound
from stellaops.core import timestamps

OVERLAP = timedelta(hours=24)
"""How long the earlier secret still opens after a rotation, unless it is said otherwise."""
LONGEST_OVERLAP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ClientTools:
    """The stores that managing clients works on."""

    clients: Clients
    tenants: Tenants


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client as it is asked for; None leaves a thing as it is.

    Attributes:
        id: made up where it is empty.
    """

    id: str = ""
    name: str | None = None
    tenants: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class WithSecret:
    """A client, and the secret that is told this once; None where the caller had it already."""

    client: Client
    secret: str | None = field(repr=False)


def create_client(
    tools: ClientTools, actor: Actor, wanted: Wanted, *, now: datetime, secret: str | None = None
) -> WithSecret:
    """Make a client.

    Args:
        secret: one that was made elsewhere; else it is made here.

    Raises:
        BadClient, GrantsTooMuch, TenantNotFound, ClientExists, WeakSecret: see there.
    """
    client_id = wanted.id or f"client-{secrets.token_hex(6)}"
    scopes = tuple(sorted(set(wanted.scopes or ())))
    client = demand_sound(
        Client(client_id, wanted.name or client_id, wanted.tenants or (), scopes, created_at=now)
    )
    actor.demand_grant(client.tenants, client.scopes)
    _demand_tenants(tools, client.tenants)
    told, given = _secret(secret)
    first = ClientSecret(1, client_secrets.hashed(given), now)
    return WithSecret(tools.clients.add(replace(client, secrets=(first,))), told)


def list_clients(tools: ClientTools, actor: Actor) -> Sequence[Client]:
    """The clients that the actor manages: those that act for no tenant beyond its own."""
    return [client for client in tools.clients.list() if _manages(actor, client)]


def find_client(tools: ClientTools, actor: Actor, client_id: str) -> Client:
    """A client by id.

    Raises:
        ClientNotFound: there is none, or it is not the actor's to manage.
    """
    client = tools.clients.get(client_id)
    if client is None or not _manages(actor, client):
        raise ClientNotFound(f"there is no client {client_id[:80]!r}")
    return client


def change_client(
    tools: ClientTools, actor: Actor, client_id: str, wanted: Wanted, *, now: datetime
) -> tuple[Client, Client]:
    """Change a client's name, tenants or scopes. Where it loses some, its tokens end.

    Returns:
        the client before and after.

    Raises:
        ClientNotFound, ClientRevoked, ClientChanged, BadClient, GrantsTooMuch, TenantNotFound: see there.
    """
    before = _live(find_client(tools, actor, client_id))
    after = demand_sound(
        replace(
            before,
            name=before.name if wanted.name is None else wanted.name,
            tenants=before.tenants if wanted.tenants is None else wanted.tenants,
            scopes=before.scopes if wanted.scopes is None else tuple(sorted(set(wanted.scopes))),
        )
    )
    actor.demand_grant(after.tenants, (*before.scopes, *after.scopes))
    _demand_tenants(tools, after.tenants)
    if not (set(before.tenants) <= set(after.tenants) and set(before.scopes) <= set(after.scopes)):
        after = replace(after, tokens_from=now)
    return before, tools.clients.change(after)


def rotate_secret(
    tools: ClientTools,
    actor: Actor,
    client_id: str,
    *,
    now: datetime,
    overlap: timedelta = OVERLAP,
    secret: str | None = None,
) -> WithSecret:
    """Give a client another secret. The one so far opens for the overlap; without any, its tokens end too.

    Raises:
        ClientNotFound, ClientRevoked, ClientChanged, GrantsTooMuch, TwoSecretsValid, WeakSecret: see there.
        BadClient: the overlap is too long.
    """
    client = _live(find_client(tools, actor, client_id))
    actor.demand_grant(client.tenants, client.scopes)
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise BadClient(f"the overlap must be from 0 to {LONGEST_OVERLAP.days} days")
    valid = client.valid_secrets(now)
    if len(valid) > 1 and overlap:
        ends = min(each.expires_at for each in valid if each.expires_at)
        raise TwoSecretsValid(
            f"client {client.id} has two valid secrets; the earlier one ends {timestamps.render(ends)}"
        )
    told, given = _secret(secret)
    ended = tuple(replace(each, expires_at=_sooner(each, now + overlap)) for each in client.secrets[-2:])
    number = client.secrets[-1].number + 1 if client.secrets else 1
    made = ClientSecret(number, client_secrets.hashed(given, [each.hash for each in valid]), now)
    kept = tuple(each for each in ended if each.is_valid(now)) or ended[-1:]
    after = replace(client, secrets=(*kept, made), tokens_from=client.tokens_from if overlap else now)
    return WithSecret(tools.clients.change(after), told)


def revoke_client(
    tools: ClientTools, actor: Actor, client_id: str, *, now: datetime, reason: str = ""
) -> tuple[Client, Client]:
    """Revoke a client for ever: its secrets and its tokens. A first revocation stands, with its time and reason.

    Returns:
        the client before and after.

    Raises:
        ClientNotFound, ClientChanged: see there.
        BadClient: the reason is too long or not one line.
    """
    demand_reason(reason)
    before = find_client(tools, actor, client_id)
    if before.revoked_at is not None:
        return before, before
    return before, tools.clients.change(replace(before, revoked_at=now, revocation_reason=reason))


def bootstrap(
    tools: ClientTools, client_id: str, *, now: datetime, secret: str | None = None
) -> tuple[WithSecret, bool]:
    """Make the first operator, who has every scope for every tenant.

    With a secret that was given, doing it again changes nothing: containers do it at every start.

    Returns:
        the client, and whether it was made now.

    Raises:
        ClientExists: there is an operator, and the secret is not given or is none of its own.
        BadClient, WeakSecret: see there.
    """
    operators = [
        client
        for client in tools.clients.list()
        if client.is_operator and "authority:manage" in client.scopes and client.valid_secrets(now)
    ]
    for client in operators:
        if client.id != client_id or secret is None:
            continue
        hashes = [each.hash for each in client.valid_secrets(now)]
        if client_secrets.matching(secret, hashes) is not None:
            return WithSecret(client, None), False
    if operators:
        raise ClientExists(
            f"there is an operator already: {operators[0].id}",
            hint="Log in as that client. If its secret is lost, run `stella authority client rotate` for it here.",
        )
    wanted = Wanted(client_id, "first operator", (ALL_TENANTS,), tuple(SCOPES))
    return create_client(tools, OPERATOR, wanted, now=now, secret=secret), True


def _manages(actor: Actor, client: Client) -> bool:
    return all(actor.holds(tenant) for tenant in client.tenants)


def _live(client: Client) -> Client:
    if client.revoked_at is not None:
        raise ClientRevoked(f"client {client.id} is revoked")
    return client


def _demand_tenants(tools: ClientTools, tenants: Iterable[str]) -> None:
    for tenant in tenants:
        if tenant != ALL_TENANTS and tools.tenants.get(tenant) is None:
            raise TenantNotFound(f"there is no tenant {tenant[:80]!r}")


def _secret(given: str | None) -> tuple[str | None, str]:
    """What is told, and the secret itself."""
    if given is not None:
        return None, client_secrets.demand_strength(given)
    made = client_secrets.generate()
    return made, made


def _sooner(secret: ClientSecret, end: datetime) -> datetime:
    return end if secret.expires_at is None else min(secret.expires_at, end)
