"""Secrets of clients that are to be exchanged: too old, or about to end while they are still used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stellaops.authority.clients import Client, ClientSecret


@dataclass(frozen=True, slots=True)
class Aging:
    """A secret of a client.

    Attributes:
        renew_by: when it gets too old; None where it is about to end.
    """

    client: Client
    secret: ClientSecret
    renew_by: datetime | None


def old_credentials(clients: Iterable[Client], now: datetime, most: timedelta | None) -> Iterator[Aging]:
    """Newest secrets of clients that are older than they should get.

    Args:
        most: how old they may get; None for any age.
    """
    for client in clients:
        for secret in client.valid_secrets(now):
            if most is not None and secret.expires_at is None and now - secret.created_at >= most:
                yield Aging(client, secret, secret.created_at + most)


def ending_credentials(clients: Iterable[Client], now: datetime) -> Iterator[Aging]:
    """Secrets of an overlap that somebody still used after the newer one was made: with them the client ends too."""
    for client in clients:
        valid = client.valid_secrets(now)
        newest = max((each.created_at for each in valid if each.expires_at is None), default=None)
        for secret in valid:
            used = secret.used_at is not None and newest is not None and secret.used_at >= newest
            if secret.expires_at is not None and used:
                yield Aging(client, secret, None)
