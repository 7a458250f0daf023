"""Channels and rules as they are looked up, stored and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stellaops.core.errors import QuotaExceeded
from stellaops.notify.channel import Channel, demand_sound
from stellaops.notify.deliver import NotifyTools
from stellaops.notify.errors import ChannelNotFound, ChannelUsed, InvalidChannel, RuleNotFound
from stellaops.notify.rule import Rule

MOST = 200
"""Channels of one tenant, and rules."""


class TooMany(QuotaExceeded):
    """A tenant has as many channels or rules as it may have."""

    code = "ERR_NOTIFY_TOO_MANY"
    hint = "Delete those that are not needed any more."


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    kind: str
    settings: dict[str, Any]
    name: str | None = None
    enabled: bool = True


def read_channel(tenant: str, document: Mapping[str, Any]) -> Channel:
    """The channel of a document; whether it can be is not looked at.

    Raises:
        InvalidChannel: see there.
    """
    try:
        found = msgspec.convert(dict(document), _Document)
    except msgspec.ValidationError as error:
        raise InvalidChannel(f"the channel: {error}") from None
    return Channel(tenant, found.id, found.kind, found.settings, found.name or "", found.enabled)


def find_channel(tenant: str, channel: str, tools: NotifyTools) -> Channel:
    """A channel by id.

    Raises:
        ChannelNotFound: see there.
    """
    found = tools.channels.get(tenant, channel)
    if found is None:
        raise ChannelNotFound(f"tenant {tenant} has no channel {channel[:80]!r}")
    return found


def put_channel(channel: Channel, tools: NotifyTools, *, new: bool) -> Channel:
    """Store a channel that can be.

    Raises:
        InvalidChannel, ChannelExists, TooMany: see there.
    """
    providers = tools.providers
    demand_sound(channel, {kind: providers.of(kind).problems for kind in providers.kinds()})
    if new and len(tools.channels.list(channel.tenant)) >= MOST:
        raise TooMany(f"tenant {channel.tenant} has {MOST} channels")
    tools.channels.put(channel, new=new)
    return channel


def delete_channel(tenant: str, channel: str, tools: NotifyTools) -> Channel:
    """Forget a channel that no rule sends to.

    Raises:
        ChannelNotFound, ChannelUsed: see there.
    """
    found = find_channel(tenant, channel, tools)
    users = [rule.id for rule in tools.rules.list(tenant) if rule.channel == channel]
    if users:
        raise ChannelUsed(f"rules send to channel {channel}: {', '.join(users)}")
    tools.channels.delete(tenant, channel)
    return found


def find_rule(tenant: str, rule: str, tools: NotifyTools) -> Rule:
    """A rule by id.

    Raises:
        RuleNotFound: see there.
    """
    found = tools.rules.get(tenant, rule)
    if found is None:
        raise RuleNotFound(f"tenant {tenant} has no rule {rule[:80]!r}")
    return found


def put_rule(tenant: str, rule: Rule, tools: NotifyTools, *, new: bool) -> Rule:
    """Store a rule whose channel there is.

    Raises:
        ChannelNotFound, RuleExists, TooMany: see there.
    """
    find_channel(tenant, rule.channel, tools)
    if new and len(tools.rules.list(tenant)) >= MOST:
        raise TooMany(f"tenant {tenant} has {MOST} rules")
    tools.rules.put(tenant, rule, new=new)
    return rule


def delete_rule(tenant: str, rule: str, tools: NotifyTools) -> Rule:
    """Forget a rule; what it has made already is sent.

    Raises:
        RuleNotFound: see there.
    """
    found = find_rule(tenant, rule, tools)
    tools.rules.delete(tenant, rule)
    return found
