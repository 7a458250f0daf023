"""Download tokens in the service store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, and_, insert, select, update

from stellaops.adapters.sql.download_token_schema import download_token_t, download_token_use_t
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.authority.download_tokens import DownloadToken, DownloadTokenChanged, Secret
from stellaops.ingest.import_documents import microseconds


class _Secret(msgspec.Struct):
    number: int
    digest: str
    created_at: datetime
    expires_at: datetime


class _Record(msgspec.Struct):
    """The parts of a token that nothing is looked up by."""

    name: str
    profiles: list[str]
    runs: list[str]
    created_at: datetime
    created_by: str
    secrets: list[_Secret]
    revoked_at: datetime | None = None
    revocation_reason: str = ""


class SqlDownloadTokens:
    """`authority.download_tokens.DownloadTokens`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, token: DownloadToken) -> DownloadToken:
        """See the port."""
        values = {
            "id": token.id, "tenant": token.tenant, "created_at": microseconds(token.created_at), "version": 1,
            "record": _record(token),
        }  # fmt: skip
        with writing(self._engine) as connection:
            known = _read(connection, download_token_t.c.id == token.id)
            if not known:
                connection.execute(insert(download_token_t).values(values))
        return known[0] if known else replace(token, version=1)

    def get(self, token_id: str) -> DownloadToken | None:
        """See the port."""
        with reading(self._engine) as connection:
            found = _read(connection, download_token_t.c.id == token_id)
        return found[0] if found else None

    def list(self, tenant: str) -> Sequence[DownloadToken]:
        """See the port."""
        with reading(self._engine) as connection:
            return _read(connection, download_token_t.c.tenant == tenant)

    def tenants(self) -> Sequence[str]:
        """Whoever has tokens, sorted."""
        tenant = download_token_t.c.tenant
        with reading(self._engine) as connection:
            return connection.execute(select(tenant).distinct().order_by(tenant)).scalars().all()

    @retried
    def change(self, token: DownloadToken) -> DownloadToken:
        """See the port."""
        this = and_(download_token_t.c.id == token.id, download_token_t.c.version == token.version)
        values = {"record": _record(token), "version": token.version + 1}
        with writing(self._engine) as connection:
            if connection.execute(update(download_token_t).where(this).values(values)).rowcount == 0:
                raise DownloadTokenChanged(f"token {token.id} was changed by someone else meanwhile")
        return replace(token, version=token.version + 1)

    @retried
    def note_use(self, token_id: str, secret: int, at: datetime) -> None:
        """See the port."""
        mine = and_(download_token_use_t.c.token == token_id, download_token_use_t.c.secret == secret)
        used_at = microseconds(at)
        with writing(self._engine, durable=False) as connection:
            changed = connection.execute(update(download_token_use_t).where(mine).values(used_at=used_at))
            if changed.rowcount == 0:
                values = {"token": token_id, "secret": secret, "used_at": used_at}
                connection.execute(insert(download_token_use_t).values(values))


def _record(token: DownloadToken) -> bytes:
    return msgspec.json.encode(
        _Record(
            token.name,
            list(token.profiles),
            list(token.runs),
            token.created_at,
            token.created_by,
            [_Secret(each.number, each.digest, each.created_at, each.expires_at) for each in token.secrets],
            token.revoked_at,
            token.revocation_reason,
        )
    )


def _read(connection: Connection, which: ColumnElement[bool]) -> Sequence[DownloadToken]:
    table = download_token_t
    rows = connection.execute(select(table).where(which).order_by(table.c.created_at, table.c.id)).all()
    ids = [row.id for row in rows]
    uses = connection.execute(select(download_token_use_t).where(download_token_use_t.c.token.in_(ids))).all()
    used = {(row.token, row.secret): instant(row.used_at) for row in uses}
    return [_token(row, used) for row in rows]


def _token(row: Any, used: dict[tuple[str, int], datetime | None]) -> DownloadToken:
    record = msgspec.json.decode(row.record, type=_Record)
    secrets = tuple(
        Secret(each.number, each.digest, each.created_at, each.expires_at, used.get((row.id, each.number)))
        for each in record.secrets
    )
    return DownloadToken(
        row.id, row.tenant, record.name, tuple(record.profiles), tuple(record.runs), record.created_at,
        record.created_by, secrets, record.revoked_at, record.revocation_reason, row.version,
    )  # fmt: skip
