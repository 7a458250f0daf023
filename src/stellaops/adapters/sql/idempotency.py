"""Answers to requests with an Idempotency-Key, kept for a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.idempotency_schema import kept_answer
from stellaops.ingest.import_documents import microseconds

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given.

    Attributes:
        status: 0 while it is not there yet.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Begun:
    """What is known of a request.

    Attributes:
        seed: hex digits that stay with the key.
        request: the digest of the request that came first.
        ours: whether the caller is to do the work.
        kept: the answer, where there is one.
    """

    seed: str
    request: str
    ours: bool
    kept: Kept = Kept()


class SqlIdempotency:
    """Requests by key; each is worked on by one process at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def begin(self, key: str, request: str, seed: str, now: datetime) -> Begun:
        """Take a request on, or see what became of it.

        Args:
            key: a digest of tenant, client and key.
            request: a digest of all that the request asks for.
        """
        instant = microseconds(now)
        with writing(self._engine) as connection:
            row = connection.execute(select(kept_answer).where(kept_answer.c.id == key)).first()
            if row is not None and row.expires_at <= instant:
                connection.execute(delete(kept_answer).where(kept_answer.c.id == key))
                row = None
            if row is None:
                _add(connection, key, request, seed, now)
                return Begun(seed, request, ours=True)
            if row.status or row.request != request:
                headers = msgspec.json.decode(row.headers, type=dict[str, str])
                return Begun(row.seed, row.request, ours=False, kept=Kept(row.status, headers, row.body))
            # Its process died, if the lease is over; whoever moves it on has it.
            taken = connection.execute(
                update(kept_answer)
                .where(kept_answer.c.id == key, kept_answer.c.leased_until <= instant)
                .values(leased_until=microseconds(now + LEASE))
            )
            return Begun(row.seed, row.request, ours=taken.rowcount == 1)

    @retried
    def renew(self, key: str, now: datetime) -> None:
        """Go on working on a request."""
        values = {"leased_until": microseconds(now + LEASE)}
        with writing(self._engine) as connection:
            connection.execute(update(kept_answer).where(kept_answer.c.id == key).values(values))

    @retried
    def finish(self, key: str, kept: Kept, now: datetime) -> None:
        """Keep the answer; those that are over go."""
        values = {
            "status": kept.status,
            "headers": msgspec.json.encode(dict(kept.headers)),
            "body": kept.body,
            "expires_at": microseconds(now + KEPT),
        }
        with writing(self._engine) as connection:
            connection.execute(update(kept_answer).where(kept_answer.c.id == key).values(values))
            connection.execute(delete(kept_answer).where(kept_answer.c.expires_at <= microseconds(now)))

    @retried
    def release(self, key: str) -> None:
        """Forget a request that changed nothing and is worth another attempt."""
        with writing(self._engine) as connection:
            connection.execute(delete(kept_answer).where(kept_answer.c.id == key, kept_answer.c.status == 0))

    def count(self) -> int:
        """How many answers are kept or awaited."""
        with reading(self._engine) as connection:
            return len(connection.execute(select(kept_answer.c.id)).all())


def _add(connection: Connection, key: str, request: str, seed: str, now: datetime) -> None:
    connection.execute(
        insert(kept_answer).values(
            id=key, request=request, seed=seed, status=0, headers=b"{}", body=b"",
            leased_until=microseconds(now + LEASE), expires_at=microseconds(now + KEPT),
        )
    )  # fmt: skip
