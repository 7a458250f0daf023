"""Notifications of a server: what the routes of `/api/notify` give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stellaops.center.interface import DeliveriesWanted
from stellaops.center.wire import Wire
from stellaops.client.connection import Connection, items, mapping, path_of
from stellaops.client.errors import NotOverServer

_CHANNELS, _RULES, _DELIVERIES = (f"/api/notify/{name}" for name in ("channels", "rules", "deliveries"))


class RemoteNotify:
    """`center.interface.Notify` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def channels(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_CHANNELS))

    def channel(self, channel_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_CHANNELS, channel_id)))

    def create_channel(self, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", _CHANNELS, dict(document)))

    def change_channel(self, channel_id: str, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("PUT", path_of(_CHANNELS, channel_id), _without_id(document)))

    def delete_channel(self, channel_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("DELETE", path_of(_CHANNELS, channel_id)))

    def test_channel(
        self, channel_id: str, *, text: str = "", preview: bool = False, trace_id: str = ""
    ) -> Wire:
        """See the interface; the server names the request."""
        del trace_id
        body = {"text": text, "preview": preview}
        return mapping(self._connection.change("POST", path_of(_CHANNELS, channel_id, "test"), body))

    def rules(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_RULES))

    def rule(self, rule_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_RULES, rule_id)))

    def create_rule(self, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", _RULES, dict(document)))

    def change_rule(self, rule_id: str, document: Mapping[str, Any]) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("PUT", path_of(_RULES, rule_id), _without_id(document)))

    def delete_rule(self, rule_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("DELETE", path_of(_RULES, rule_id)))

    def deliveries(self, wanted: DeliveriesWanted) -> list[Wire]:
        """See the interface."""
        query = {
            "status": wanted.status, "channel": wanted.channel, "rule": wanted.rule, "event": wanted.event,
        }  # fmt: skip
        return list(self._connection.pages(_DELIVERIES, query, wanted.limit))

    def delivery(self, delivery_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_DELIVERIES, delivery_id)))

    def retry(self, delivery_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", path_of(_DELIVERIES, delivery_id, "retry")))

    def events(self) -> list[Wire]:
        """See the interface."""
        return items(self._connection.get("/api/notify/events"))

    def send_due(self) -> list[Wire]:
        """See the interface.

        Raises:
            NotOverServer: a server's workers do that all the time.
        """
        raise NotOverServer("the workers of a server send by themselves")


def _without_id(document: Mapping[str, Any]) -> Wire:
    return {name: value for name, value in document.items() if name != "id"}
