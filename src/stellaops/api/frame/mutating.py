"""Operations that change something: once for each Idempotency-Key, and each change in the audit log."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from stellaops.adapters.sql.idempotency import LEASE, Begun, Kept, SqlIdempotency
from stellaops.adapters.telemetry.audit_events import say_change
from stellaops.api.frame.errors import (
    IdempotencyConflict,
    IdempotencyInProgress,
    InvalidRequest,
    SecretShown,
)
from stellaops.api.frame.handling import run_handler
from stellaops.api.frame.problems import Problematic, problem
from stellaops.api.operation import Call, Operation
from stellaops.authority import audit
from stellaops.center.noting import leaves_doubt
from stellaops.core.errors import StellaError

_KEPT_HEADERS = ("location", "etag", "retry-after", "content-type", "cache-control")
_LARGEST = 1 << 20  # bytes of an answer that is kept; ours are much smaller


@dataclass(frozen=True, slots=True)
class Mutations:
    """What makes changes repeatable and known.

    Attributes:
        answers: None where nothing is kept.
        record: writes an audit record.
    """

    answers: SqlIdempotency
    record: Callable[[audit.AuditRecord], object]
    now: Callable[[], datetime]

    async def answer(self, operation: Operation, call: Call, body_digest: str) -> Response:
        """Do what is asked, or give the answer that was given before.

        Raises:
            IdempotencyConflict, IdempotencyInProgress, SecretShown: see there.
        """
        told = _key(call)
        if told is None:
            return await self._change(operation, replace(call, seed=_seed(self.now())))
        key = hashlib.sha256("\x00".join((call.tenant, call.principal.client, told)).encode()).hexdigest()
        request = _digest(operation, call, body_digest)
        begun: Begun = await to_thread.run_sync(
            self.answers.begin, key, request, _seed(self.now()), self.now()
        )
        if not begun.ours:
            return _again(operation, begun, request)
        return await self._once(operation, replace(call, seed=begun.seed), key)

    async def _once(self, operation: Operation, call: Call, key: str) -> Response:
        try:
            async with self._renewed(key):
                response = await self._change(operation, call)
        except StellaError as error:
            response = problem(error, call.trace_id)
        except BaseException:
            await to_thread.run_sync(self.answers.release, key)
            raise
        if response.status_code == 429 or response.status_code >= 500:
            await to_thread.run_sync(self.answers.release, key)
        else:
            kept = _kept(operation, response)
            await to_thread.run_sync(self.answers.finish, key, kept, self.now())
        return response

    @asynccontextmanager
    async def _renewed(self, key: str) -> AsyncIterator[None]:
        """Hold the lease on a request for as long as it takes."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE.total_seconds() / 3)
                await to_thread.run_sync(self.answers.renew, key, self.now())

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, StellaError):
                await task

    async def _change(self, operation: Operation, call: Call) -> Response:
        try:
            response = await run_handler(operation, call)
        except StellaError as error:
            if leaves_doubt(error):
                await self._audit(operation, call, error.code)
            raise
        except Exception:
            await self._audit(operation, call, StellaError.code)
            raise
        await self._audit(operation, call, "ok")
        return response

    async def _audit(self, operation: Operation, call: Call, outcome: str) -> None:
        change = call.change
        if operation.audits_itself or (change.none and outcome == "ok"):
            return
        record = audit.AuditRecord(
            at=self.now(),
            tenant=call.tenant,
            actor=call.principal.client,
            origin=call.remote,
            change=change.final(operation.action or operation.id),
            trace_id=call.trace_id,
            outcome=outcome,
        )
        await to_thread.run_sync(partial(self.record, record))
        say_change(record)


def _seed(now: datetime) -> str:
    return f"{int(now.timestamp()):08x}{secrets.token_hex(12)}"


def _key(call: Call) -> str | None:
    told = call.request.headers.getlist("idempotency-key")
    if not told:
        return None
    if len(told) > 1 or not 0 < len(told[0]) <= 255 or not (told[0].isascii() and told[0].isprintable()):
        raise InvalidRequest("Idempotency-Key must be one text of 1 to 255 printable ASCII characters")
    return told[0]


def _digest(operation: Operation, call: Call, body_digest: str) -> str:
    scope = call.request.scope
    parts = (operation.id, scope["path"], scope["query_string"].decode("latin-1"), body_digest)
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _again(operation: Operation, begun: Begun, request: str) -> Response:
    if begun.request != request:
        raise IdempotencyConflict("the Idempotency-Key was used for another request")
    if not begun.kept.status:
        raise IdempotencyInProgress("the first request with this Idempotency-Key is still being worked on")
    if operation.secret and begun.kept.status < 400:
        raise SecretShown("this was done before, and its answer, which holds a secret, was not kept")
    kept = begun.kept
    return Response(kept.body, kept.status, {**kept.headers, "idempotency-replayed": "true"})


def _kept(operation: Operation, response: Response) -> Kept:
    body = b"" if isinstance(response, StreamingResponse) else bytes(response.body)
    if (operation.secret and not isinstance(response, Problematic)) or len(body) > _LARGEST:
        body = b""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Kept(response.status_code, headers, body)
