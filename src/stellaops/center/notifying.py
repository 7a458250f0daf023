"""Passes over notifications: what is to be noticed, told, tried again and forgotten, on the stores of this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime

from stellaops.adapters.settings.notify import credential_age, expiry_notice
from stellaops.adapters.sql.notify_outbox import prune_throttles
from stellaops.authority import credential_age as aging
from stellaops.authority.tenants import DEFAULT_TENANT
from stellaops.bootstrap import Local
from stellaops.bundles import freshness
from stellaops.core.errors import StellaError
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.forms import freshness_profile
from stellaops.notify.conditions import (
    Condition,
    Ending,
    Tree,
    ending_keys,
    stale_mirrors,
    stale_retention,
)
from stellaops.notify.deliver import attempt, expand_events
from stellaops.notify.delivery import Delivery, Status

_LOG = logging.getLogger("stellaops.notify")
_OFF = "off"
AT_ONCE = 200
"""Deliveries that are looked at in one pass."""


def look(local: Local, now: datetime) -> int:
    """Notice what is late or ends soon, where anybody wants to be told; how much of it is new."""
    if not local.notify_conditions.wanted():
        return 0
    return local.notify_conditions.found(list(conditions(local, now)), now)


def due(local: Local, most: int = AT_ONCE) -> Sequence[Delivery]:
    """Ask the rules about what happened; what is to be tried then, the one that waits longest first."""
    tools = local.notify_tools
    expand_events(tools)
    return tools.deliveries.due(tools.now(), most)


def deliver(local: Local, delivery: Delivery) -> Delivery | None:
    """Try one; what came of it, which is logged. None where another process has it."""
    done = attempt(delivery, local.notify_tools)
    if done is not None:
        _tell(done)
    return done


def send(local: Local) -> list[Delivery]:
    """Ask the rules about what happened, and try what is due, one after the other; what came of each."""
    tried = [deliver(local, each) for each in due(local)]
    return [each for each in tried if each is not None]


def prune(local: Local, now: datetime) -> None:
    """Forget what ended long ago."""
    tools = local.notify_tools
    tools.deliveries.prune(now - tools.keep)
    prune_throttles(local.service_engine, now)


def conditions(local: Local, now: datetime) -> Iterator[Condition]:
    """All that holds now."""
    yield from stale_mirrors(list(_trees(local)), now)
    since = local.notify_conditions.watching_since(now)
    if (local.settings.get("chores.retentionAt") or _OFF).strip().lower() != _OFF:
        last = local.chores.last("retention")
        yield from stale_retention(last.succeeded_at if last else None, since, now)
    endings = [*_clients(local, now), *_tokens(local, now)]
    yield from ending_keys(endings, expiry_notice(local.settings), now)


def _trees(local: Local) -> Iterator[Tree]:
    for domain in local.mirror_domains.every():
        for side in SIDES:
            signed = local.statements.newest(domain.tenant, freshness_profile(side, domain.id))
            if signed is None or not domain.has(side):
                continue
            told = freshness.parse(signed.statement)
            yield Tree(domain.tenant, side, domain.id, domain.cadence, told.issued, told.expires)


def _clients(local: Local, now: datetime) -> Iterator[Ending]:
    clients = local.clients.list()
    for each in aging.ending_credentials(clients, now):
        hint = "Give the client its newer secret: it still uses the one that ends."
        yield _secret(each, hint)
    for each in aging.old_credentials(clients, now, credential_age(local.settings)):
        yield _secret(each, f"Rotate it: `stella authority client rotate {each.client.id}`.")


def _secret(each: aging.Aging, hint: str) -> Ending:
    client, secret = each.client, each.secret
    # Of an operator's client, which acts for all, the installation is told.
    tenant = "" if client.is_operator else client.tenants[0] if client.tenants else DEFAULT_TENANT
    name = f"{client.id}/{secret.number}"
    return Ending(tenant, "client secret", name, secret.expires_at, each.renew_by, hint, client.name)


def _tokens(local: Local, now: datetime) -> Iterator[Ending]:
    store = local.download_tokens
    for tenant in store.tenants():
        for token in store.list(tenant):
            ends = max((each.expires_at for each in token.valid(now)), default=None)
            if ends is not None:
                hint = f"Rotate it: `stella export token rotate {token.id}`, and give its users the new one."
                yield Ending(tenant, "download token", token.id, ends, None, hint, token.name)


def _tell(done: Delivery) -> None:
    outcome = "retried" if done.status is Status.PENDING else done.status.value
    level = {"delivered": logging.INFO, "retried": logging.WARNING}.get(outcome, logging.ERROR)
    extra = {
        "event": f"notify.{outcome}", "deliveryId": done.id, "tenant": done.tenant, "channel": done.channel,
        "rule": done.rule, "notification": done.event.type, "attempt": done.attempts,
        "errorCode": done.error_code or None,
    }  # fmt: skip
    _LOG.log(
        level,
        "notify.%s %s by %s: %s",
        outcome,
        done.id,
        done.channel,
        done.error or done.answer,
        extra=extra,
    )


def patient_look(local: Local, now: datetime) -> None:
    """`look`, where a failure is logged and tried again the next time."""
    try:
        look(local, now)
    except StellaError as error:
        _LOG.warning("what may be late cannot be looked at: %s", error.what)
