"""Notifications of a tenant in the local stores: channels, rules, tests, deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from stellaops.authority.actors import OperatorOnly
from stellaops.authority.audit import Change, digest_of
from stellaops.bootstrap import Local
from stellaops.center import notifying
from stellaops.center.interface import DeliveriesWanted
from stellaops.center.noting import Tell, local_audit
from stellaops.center.wire import Wire
from stellaops.notify import manage
from stellaops.notify.channel import Channel
from stellaops.notify.deliver import Trial, send_again, try_channel
from stellaops.notify.delivery import Delivery, Status
from stellaops.notify.errors import DeliveryNotFound
from stellaops.notify.event import MEANINGS
from stellaops.notify.ports import DeliveryFilter
from stellaops.notify.rule import Rule, read


class LocalNotify:
    """`center.interface.Notify` on the local stores.

    Args:
        operator: whether whoever asks may be told of every tenant.
        tell: keeps the audit log; None where the caller does.
    """

    def __init__(self, local: Local, tenant: str, *, operator: bool = True, tell: Tell | None = None) -> None:
        self._local, self._tenant, self._operator = local, tenant, operator
        self._tools = local.notify_tools
        self._tell = tell

    @classmethod
    def at_home(cls, local: Local, tenant: str) -> LocalNotify:
        """For whoever works on the data directory itself."""
        return cls(local, tenant, tell=local_audit(local, tenant))

    # Channels

    def channels(self) -> list[Wire]:
        """See the interface."""
        return [each.to_wire() for each in self._tools.channels.list(self._tenant)]

    def channel(self, channel_id: str) -> Wire:
        """See the interface."""
        return manage.find_channel(self._tenant, channel_id, self._tools).to_wire()

    def create_channel(self, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        made = manage.put_channel(self._channel(document), self._tools, new=True).to_wire()
        self._changed("notify.channel.created", f"notify-channel/{made['id']}", None, made)
        return made

    def change_channel(self, channel_id: str, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        before = self.channel(channel_id)
        wanted = self._channel({**document, "id": channel_id})
        after = manage.put_channel(wanted, self._tools, new=False).to_wire()
        if after != before:
            self._changed("notify.channel.changed", f"notify-channel/{channel_id}", before, after)
        return after

    def delete_channel(self, channel_id: str) -> Wire:
        """See the interface."""
        gone = manage.delete_channel(self._tenant, channel_id, self._tools).to_wire()
        self._changed("notify.channel.deleted", f"notify-channel/{channel_id}", gone, None)
        return gone

    def test_channel(
        self, channel_id: str, *, text: str = "", preview: bool = False, trace_id: str = ""
    ) -> Wire:
        """See the interface."""
        trace = trace_id or secrets.token_hex(16)
        trial = try_channel(
            self._tenant, channel_id, self._tools, trace_id=trace, text=text, send=not preview
        )
        if self._tell is not None and trial.delivery is not None:
            details = {"status": trial.delivery.to_wire()["status"]}
            self._tell(Change("notify.channel.tested", f"notify-channel/{channel_id}", details=details))
        return _trial(trial, trace)

    # Rules

    def rules(self) -> list[Wire]:
        """See the interface."""
        return [each.to_wire() for each in self._tools.rules.list(self._tenant)]

    def rule(self, rule_id: str) -> Wire:
        """See the interface."""
        return manage.find_rule(self._tenant, rule_id, self._tools).to_wire()

    def create_rule(self, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        made = manage.put_rule(self._tenant, self._rule(document), self._tools, new=True).to_wire()
        self._changed("notify.rule.created", f"notify-rule/{made['id']}", None, made)
        return made

    def change_rule(self, rule_id: str, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        before = self.rule(rule_id)
        wanted = self._rule({**document, "id": rule_id})
        after = manage.put_rule(self._tenant, wanted, self._tools, new=False).to_wire()
        if after != before:
            self._changed("notify.rule.changed", f"notify-rule/{rule_id}", before, after)
        return after

    def delete_rule(self, rule_id: str) -> Wire:
        """See the interface."""
        gone = manage.delete_rule(self._tenant, rule_id, self._tools).to_wire()
        self._changed("notify.rule.deleted", f"notify-rule/{rule_id}", gone, None)
        return gone

    # Deliveries

    def deliveries(self, wanted: DeliveriesWanted) -> list[Wire]:
        """See the interface."""
        return [each.to_wire() for each in self.page(wanted, limit=wanted.limit)]

    def page(self, wanted: DeliveriesWanted, *, before: str | None = None, limit: int) -> Sequence[Delivery]:
        """Deliveries, newest first, after the one with the id `before`."""
        status = None if wanted.status is None else Status(wanted.status)
        which = DeliveryFilter(status, wanted.channel, wanted.rule, wanted.event)
        return self._tools.deliveries.list(self._tenant, which, before=before, limit=limit)

    def delivery(self, delivery_id: str) -> Wire:
        """See the interface."""
        found = self._tools.deliveries.get(self._tenant, delivery_id)
        if found is None:
            raise DeliveryNotFound(f"tenant {self._tenant} has no delivery {delivery_id[:80]!r}")
        return found.to_wire()

    def retry(self, delivery_id: str) -> Wire:
        """See the interface."""
        again = send_again(self._tenant, delivery_id, self._tools).to_wire()
        self._changed("notify.delivery.retried", f"notify-delivery/{delivery_id}", None, None)
        return again

    def events(self) -> list[Wire]:
        """See the interface."""
        return [{"type": kind.value, "meaning": meaning} for kind, meaning in MEANINGS.items()]

    def send_due(self) -> list[Wire]:
        """Look at what is late, ask the rules, and try what is due: what a worker does all the time."""
        notifying.look(self._local, self._tools.now())
        done = notifying.send(self._local)
        notifying.prune(self._local, self._tools.now())
        return [each.to_wire() for each in done]

    def _channel(self, document: Mapping[str, Any]) -> Channel:
        return manage.read_channel(self._tenant, document)

    def _rule(self, document: Mapping[str, Any]) -> Rule:
        rule = read(document)
        if rule.every_tenant and not self._operator:
            raise OperatorOnly("only an operator is told of every tenant: everyTenant")
        return rule

    def _changed(self, action: str, target: str, before: Wire | None, after: Wire | None) -> None:
        if self._tell is not None:
            self._tell(Change(action, target, digest_of(before), digest_of(after)))


def _trial(trial: Trial, trace_id: str) -> Wire:
    delivery = None if trial.delivery is None else trial.delivery.to_wire()
    return {"preview": trial.rendered.to_wire(trace_id), "delivery": delivery}
