"""Routes about what runs share: queue, workers, audit, keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from stellaops.api.forms import (
    AuditForm,
    KeyForm,
    QueueForm,
    WorkerForm,
)
from stellaops.api.frame.answers import answer
from stellaops.api.frame.errors import InvalidRequest
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page, PageQuery, cursor_of, place_of
from stellaops.authority import manage_keys
from stellaops.authority.actors import OperatorOnly
from stellaops.authority.audit import AuditFilter
from stellaops.authority.keys import KeyNotFound, KeyRecord
from stellaops.authority.tenants import BadTenantName, demand_name
from stellaops.center.changes import switch_queue
from stellaops.core import timestamps
from stellaops.exports.ports import QueueStatus
from stellaops.exports.run import RunStatus

READ, RUN = "export:read", "export:run"
Text = Annotated[str, msgspec.Meta(max_length=200)]


class AuditQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which records: of an action, or with a dot at its end of all that begin so; of a client; about one thing."""

    action: Text | None = None
    actor: Text | None = None
    target: Text | None = None
    since: Text | None = None
    until: Text | None = None


def queue(call: Call) -> Response:
    """What waits and what runs."""
    return answer(_queue_wire(call, call.local.queue.status()))


def pause(call: Call) -> Response:
    """Start no more runs of anybody."""
    return _switch(call, paused=True)


def resume(call: Call) -> Response:
    """Start runs again."""
    return _switch(call, paused=False)


def _switch(call: Call, *, paused: bool) -> Response:
    if not call.principal.operator:
        raise OperatorOnly(
            f"the queue is that of all tenants, and client {call.principal.client} does not act for all of them"
        )
    switch_queue(call.change, call.local.queue, paused=paused)
    return answer(_queue_wire(call, call.local.queue.status()))


def _queue_wire(call: Call, status: QueueStatus) -> dict[str, Any]:
    def own(numbers: Any) -> dict[str, int]:
        everybody = call.principal.operator
        return {tenant: number for tenant, number in numbers.items() if everybody or tenant == call.tenant}

    return {"paused": status.paused, "ready": own(status.ready), "running": own(status.running)}


def workers(call: Call) -> Response:
    """The workers that are alive, and those whose work is being taken over."""
    found = call.local.queue.workers()
    own = {run.id for run in call.local.runs.unended([RunStatus.RUNNING]) if run.tenant == call.tenant}
    items = [
        {
            "id": each.id,
            "state": each.state,
            "slots": each.slots,
            "seenAt": timestamps.render(each.seen_at),
            "runs": [run for run in each.runs if call.principal.operator or run in own],
        }
        for each in found
    ]
    return answer(Page(items))


def audit(call: Call) -> Response:
    """Who changed what, newest first."""
    query: AuditQuery = call.query
    which = AuditFilter(query.action, query.actor, query.target, _instant(query.since), _instant(query.until))
    before = place_of(query.cursor, form=tuple[str])[0] if query.cursor else None
    found = call.local.audit.list([call.tenant], which, before=before, limit=query.limit + 1)
    shown, more = found[: query.limit], len(found) > query.limit
    return answer(Page([each.to_wire() for each in shown], cursor_of(shown[-1].id) if more else None))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = timestamps.parse(text)
    if found is None:
        raise InvalidRequest(f"query: {text!r} is no instant such as 2027-01-31T12:00:00Z")
    return found


def keys(call: Call) -> Response:
    """The tenant's signing keys."""
    return answer(Page([_key(each) for each in manage_keys.list_keys(call.local.keys, call.tenant)]))


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "keyId": record.key_id,
        "state": record.state.value,
        "createdAt": timestamps.render(record.created_at),
        "retiredAt": timestamps.render(record.retired_at) if record.retired_at else None,
        "revokedAt": timestamps.render(record.revoked_at) if record.revoked_at else None,
        "revocationReason": record.revocation_reason or None,
        "publicKey": record.public_key_pem.decode("ascii"),
    }


def public_keys(call: Call) -> Response:
    """The public keys that verify a tenant's exports, in PEM; a revoked one verifies nothing and is not among them."""
    tenant = call.path["tenant"]
    try:
        demand_name(tenant)
    except BadTenantName:
        raise KeyNotFound(f"tenant {tenant[:80]!r} has no keys") from None
    pem = manage_keys.export_all_public(call.local.keys, tenant)
    return Response(pem, 200, {"cache-control": "public, max-age=60"}, "application/x-pem-file")


_QUEUE = Answer("What waits and what runs", QueueForm)
_EXPORT = "/api/export"
OPERATIONS = (
    Operation(
        "getQueue", "GET", f"{_EXPORT}/queue", "What waits and what runs", queue, READ, answers={200: _QUEUE},
    ),
    Operation(
        "pauseQueue", "POST", f"{_EXPORT}/queue/pause", "Start no more runs until it is resumed", pause, RUN,
        answers={200: _QUEUE}, errors=(OperatorOnly,), mutating=True, action="queue.paused",
    ),
    Operation(
        "resumeQueue", "POST", f"{_EXPORT}/queue/resume", "Start runs again", resume, RUN,
        answers={200: _QUEUE}, errors=(OperatorOnly,), mutating=True, action="queue.resumed",
    ),
    Operation(
        "listWorkers", "GET", f"{_EXPORT}/workers", "The workers", workers, READ,
        answers={200: Answer("Alive, or being taken over", Page[WorkerForm])},
    ),
    Operation(
        "listAudit", "GET", f"{_EXPORT}/audit", "Who changed what, newest first", audit, READ, query=AuditQuery,
        answers={200: Answer("A page of records", Page[AuditForm])},
    ),
    Operation(
        "listKeys", "GET", f"{_EXPORT}/keys", "The tenant's signing keys", keys, READ,
        answers={200: Answer("Their public parts", Page[KeyForm])},
    ),
    Operation(
        "getPublicKeys", "GET", "/tenants/{tenant}/export-center.pub", "The keys that verify a tenant's exports",
        public_keys, public=True,
        answers={200: Answer("In PEM, one after the other", media="application/x-pem-file")}, errors=(KeyNotFound,),
    ),
)  # fmt: skip
