"""What tells people."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property

from stellaops.adapters.notify.context import NotifyContext
from stellaops.adapters.notify.registry import KnownProviders
from stellaops.adapters.settings.notify import mail_of, rate_limit, secrets_of
from stellaops.adapters.sql.allowances import SqlAllowances
from stellaops.adapters.sql.notify_channels import SqlChannels, SqlRules
from stellaops.adapters.sql.notify_conditions import SqlConditions
from stellaops.adapters.sql.notify_deliveries import SqlDeliveries
from stellaops.adapters.sql.notify_outbox import SqlOutbox
from stellaops.bootstrap import clock
from stellaops.bootstrap.base import Base
from stellaops.notify.deliver import NotifyTools
from stellaops.notify.rate_limits import DELIVERY_HISTORY, TEST_SEND, RateLimit


class Notify(Base):
    """What tells people."""

    @cached_property
    def notify_outbox(self) -> SqlOutbox:
        """What happened and was not told yet."""
        return SqlOutbox(self.service_engine)

    @cached_property
    def notify_deliveries(self) -> SqlDeliveries:
        """What is to be told, and what came of it."""
        return SqlDeliveries(self.service_engine)

    @cached_property
    def notify_conditions(self) -> SqlConditions:
        """What was noticed by looking."""
        return SqlConditions(self.service_engine)

    @cached_property
    def notify_providers(self) -> KnownProviders:
        """What sends through each kind of channels."""
        settings = self.settings
        return KnownProviders(
            NotifyContext(secrets_of(settings), mail_of(settings), self.web_settings, clock.now)
        )

    @cached_property
    def notify_limits(self) -> Mapping[str, RateLimit]:
        """What a client may ask of notifications, by the policy's name."""
        return {
            name: RateLimit(
                rate_limit(self.settings, name), SqlAllowances(self.service_engine, f"notify.{name}")
            )
            for name in (TEST_SEND, DELIVERY_HISTORY)
        }

    @property
    def notify_tools(self) -> NotifyTools:
        """What notifications work with."""
        settings, engine = self.settings, self.service_engine
        return NotifyTools(
            SqlChannels(engine), SqlRules(engine), self.notify_outbox, self.notify_deliveries, self.notify_providers,
            attempts=settings.number("notify.attempts"),
            keep=timedelta(days=settings.number("notify.keepDays")),
            now=clock.now,
            chance=clock.chance,
            token=lambda: secrets.token_hex(6),
        )  # fmt: skip
