"""Tables of notifications: channels, rules, what happened, what is to be told, what was noticed."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

notify_channel_t = Table(
    "notify_channel",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("id", TEXT, nullable=False),
    Column("record", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
)

notify_rule_t = Table(
    "notify_rule",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("id", TEXT, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("record", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
)

notify_outbox_t = Table(
    "notify_outbox",
    SERVICE,
    # An event's id; they sort by time.
    Column("id", TEXT, primary_key=True),
    Column("at", BIG, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

notify_delivery_t = Table(
    "notify_delivery",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("channel", TEXT, nullable=False),
    Column("rule", TEXT, nullable=False),
    # Every type of its event, each between blanks.
    Column("types", TEXT, nullable=False),
    Column("next_at", BIG, nullable=False),
    # Until then it is in a process's hands; 0 where it is in nobody's.
    Column("leased_until", BIG, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", BIG),
    Column("record", LargeBinary, nullable=False),
)
notify_delivery_indexes = (
    Index("notify_delivery_by_tenant", notify_delivery_t.c.tenant, notify_delivery_t.c.id),
    Index("notify_delivery_by_time", notify_delivery_t.c.status, notify_delivery_t.c.next_at),
)

notify_throttle_t = Table(
    "notify_throttle",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("rule", TEXT, nullable=False),
    # Type and topic of the events.
    Column("about", TEXT, nullable=False),
    # Nothing more is told before.
    Column("until", BIG, nullable=False),
    Column("held_back", BIG, nullable=False),
    PrimaryKeyConstraint("tenant", "rule", "about"),
)

notify_condition_t = Table(
    "notify_condition",
    SERVICE,
    # What is noticed by looking, as `key.expiring|default|token/…`.
    Column("name", TEXT, primary_key=True),
    # How bad it is; told again when it gets worse.
    Column("level", Integer, nullable=False),
    Column("since", BIG, nullable=False),
)

notify_turn_t = Table(
    "notify_turn",
    SERVICE,
    Column("name", TEXT, primary_key=True),
    Column("holder", TEXT, nullable=False),
    Column("until", BIG, nullable=False),
)
