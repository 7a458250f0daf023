"""Tenants, clients and public keys of access tokens, in the service store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, and_, delete, insert, select, update

from stellaops.adapters.sql.authority_schema import client_t, secret_use_t, tenant_t, token_key_t
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.authority.clients import Client, ClientChanged, ClientExists, ClientSecret
from stellaops.authority.tenants import DEFAULT_TENANT, Tenant, TenantExists
from stellaops.authority.tokens import TokenKey, TokenState
from stellaops.core.timestamps import EPOCH
from stellaops.exports.ports import RunLimits
from stellaops.ingest.import_documents import microseconds

_MATTERS = timedelta(hours=1)  # longer than any token, with clocks that differ
_NEVER = datetime.max.replace(tzinfo=UTC)


class SqlTenants:
    """`authority.ports.Tenants`, and `exports.ports.Limits`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, tenant: Tenant) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            known = connection.execute(select(tenant_t.c.id).where(tenant_t.c.id == tenant.id)).first()
            if known is not None or tenant.id == DEFAULT_TENANT:
                raise TenantExists(f"there is a tenant {tenant.id}")
            connection.execute(insert(tenant_t).values(_tenant_values(tenant)))

    def get(self, name: str) -> Tenant | None:
        """See the port."""
        with reading(self._engine) as connection:
            row = connection.execute(select(tenant_t).where(tenant_t.c.id == name)).first()
        if row is not None:
            return _tenant(row)
        return Tenant(DEFAULT_TENANT) if name == DEFAULT_TENANT else None

    def list(self) -> Sequence[Tenant]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(tenant_t)).all()
        tenants = {DEFAULT_TENANT: Tenant(DEFAULT_TENANT)} | {row.id: _tenant(row) for row in rows}
        return sorted(tenants.values(), key=lambda tenant: (tenant.id != DEFAULT_TENANT, tenant.id))

    @retried
    def change(self, tenant: Tenant) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            values = _tenant_values(tenant)
            changed = connection.execute(update(tenant_t).where(tenant_t.c.id == tenant.id).values(values))
            if changed.rowcount == 0:
                connection.execute(insert(tenant_t).values(values))

    def limits(self, tenant: str) -> RunLimits:
        """See the port."""
        found = self.get(tenant) or Tenant(tenant)
        return RunLimits(found.max_active_runs, found.max_queued_runs, found.max_storage)


class _Secret(msgspec.Struct):
    number: int
    hash: str
    created_at: datetime
    expires_at: datetime | None = None


class _Client(msgspec.Struct):
    """The parts of a client that nothing is looked up by."""

    name: str
    tenants: list[str]
    scopes: list[str]
    created_at: datetime
    secrets: list[_Secret]
    tokens_from: datetime | None = None
    revoked_at: datetime | None = None
    revocation_reason: str = ""


class SqlClients:
    """`authority.ports.Clients`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, client: Client) -> Client:
        """See the port."""
        with writing(self._engine) as connection:
            if (
                connection.execute(select(client_t.c.id).where(client_t.c.id == client.id)).first()
                is not None
            ):
                raise ClientExists(f"there is a client {client.id}")
            values = _client_values(client) | {"id": client.id, "version": 1}
            connection.execute(insert(client_t).values(values))
            return _read(connection, client.id)[0]

    def get(self, client_id: str) -> Client | None:
        """See the port."""
        with reading(self._engine) as connection:
            found = _read(connection, client_id)
        return found[0] if found else None

    def list(self) -> Sequence[Client]:
        """See the port."""
        with reading(self._engine) as connection:
            return _read(connection)

    def change(self, client: Client) -> Client:
        """See the port."""
        unchanged = and_(client_t.c.id == client.id, client_t.c.version == client.version)
        values = _client_values(client) | {"version": client.version + 1}
        with writing(self._engine) as connection:
            if connection.execute(update(client_t).where(unchanged).values(values)).rowcount == 0:
                raise ClientChanged(f"client {client.id} was changed by someone else meanwhile")
            return _read(connection, client.id)[0]

    @retried
    def note_use(self, client_id: str, secret: int, at: datetime) -> None:
        """See the port."""
        mine = and_(secret_use_t.c.client == client_id, secret_use_t.c.secret == secret)
        used_at = microseconds(at)
        with writing(self._engine, durable=False) as connection:
            if connection.execute(update(secret_use_t).where(mine).values(used_at=used_at)).rowcount == 0:
                values = {"client": client_id, "secret": secret, "used_at": used_at}
                connection.execute(insert(secret_use_t).values(values))


class SqlTokenKeys:
    """`authority.ports.TokenKeys`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, key: TokenKey) -> None:
        """See the port."""
        over = microseconds(key.created_at - timedelta(days=1))
        with writing(self._engine) as connection:
            connection.execute(delete(token_key_t).where(token_key_t.c.signs_until < over))
            connection.execute(
                insert(token_key_t).values(
                    id=key.id,
                    public_key=key.public_key_pem,
                    created_at=microseconds(key.created_at),
                    signs_until=microseconds(key.signs_until),
                    revoked_at=None,
                )
            )

    def list(self) -> Sequence[TokenKey]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(token_key_t).order_by(token_key_t.c.created_at, token_key_t.c.id)
            ).all()
        return [_token_key(row) for row in rows]

    @retried
    def end(self, key_ids: Sequence[str], at: datetime, *, revoke: bool) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            for key_id in key_ids:
                this = token_key_t.c.id == key_id
                sooner = and_(this, token_key_t.c.signs_until > microseconds(at))
                connection.execute(update(token_key_t).where(sooner).values(signs_until=microseconds(at)))
                if revoke:
                    first = and_(this, token_key_t.c.revoked_at.is_(None))
                    connection.execute(update(token_key_t).where(first).values(revoked_at=microseconds(at)))

    def state(self, now: datetime) -> TokenState:
        """See the port."""
        matters = client_t.c.cut_at > microseconds(now - _MATTERS)
        with reading(self._engine) as connection:
            keys = [_token_key(row) for row in connection.execute(select(token_key_t)).all()]
            cut = connection.execute(
                select(client_t.c.id, client_t.c.cut_at, client_t.c.revoked).where(matters)
            ).all()
            names = set(connection.execute(select(tenant_t.c.id)).scalars()) - {DEFAULT_TENANT}
        cutoffs = {
            row.id: _NEVER if row.revoked else EPOCH + timedelta(microseconds=row.cut_at) for row in cut
        }
        return TokenState(
            {key.id: key for key in keys if key.verifies(now)}, cutoffs, (DEFAULT_TENANT, *sorted(names))
        )


def _tenant_values(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "max_active_runs": tenant.max_active_runs,
        "max_queued_runs": tenant.max_queued_runs,
        "max_storage": tenant.max_storage,
        "created_at": microseconds(tenant.created_at) if tenant.created_at else None,
    }


def _tenant(row: Any) -> Tenant:
    created_at = instant(row.created_at)
    return Tenant(row.id, row.max_active_runs, row.max_queued_runs, created_at, row.max_storage)


def _record(client: Client) -> _Client:
    return _Client(
        client.name,
        list(client.tenants),
        list(client.scopes),
        client.created_at,
        [_Secret(each.number, each.hash, each.created_at, each.expires_at) for each in client.secrets],
        client.tokens_from,
        client.revoked_at,
        client.revocation_reason,
    )


def _client_values(client: Client) -> dict[str, Any]:
    cut_at = client.revoked_at or client.tokens_from
    return {
        "record": msgspec.json.encode(_record(client)),
        "cut_at": microseconds(cut_at) if cut_at else None,
        "revoked": client.revoked_at is not None,
    }


def _read(connection: Connection, client_id: str | None = None) -> Sequence[Client]:
    clients, uses = select(client_t), select(secret_use_t)
    if client_id is not None:
        clients = clients.where(client_t.c.id == client_id)
        uses = uses.where(secret_use_t.c.client == client_id)
    used = {(row.client, row.secret): instant(row.used_at) for row in connection.execute(uses).all()}
    return [_client(row, used) for row in connection.execute(clients.order_by(client_t.c.id)).all()]


def _client(row: Any, used: Mapping[tuple[str, int], datetime | None]) -> Client:
    record = msgspec.json.decode(row.record, type=_Client)
    return Client(
        row.id,
        record.name,
        tuple(record.tenants),
        tuple(record.scopes),
        record.created_at,
        tuple(
            ClientSecret(
                each.number, each.hash, each.created_at, each.expires_at, used.get((row.id, each.number))
            )
            for each in record.secrets
        ),
        record.tokens_from,
        record.revoked_at,
        record.revocation_reason,
        row.version,
    )


def _token_key(row: Any) -> TokenKey:
    return TokenKey(
        row.id,
        bytes(row.public_key),
        instant(row.created_at) or EPOCH,
        instant(row.signs_until) or EPOCH,
        instant(row.revoked_at),
    )
