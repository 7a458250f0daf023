"""`/api/authority`: clients, tenants, keys of access tokens, and the tenant's signing keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page, PageQuery, cursor_of, place_of
from stellaops.authority.actors import Actor, GrantsTooMuch, OperatorOnly
from stellaops.authority.audit import Change
from stellaops.authority.clients import (
    BadClient,
    ClientChanged,
    ClientExists,
    ClientNotFound,
    ClientRevoked,
    TwoSecretsValid,
)
from stellaops.authority.manage_clients import LONGEST_OVERLAP, OVERLAP, Wanted
from stellaops.authority.tenants import (
    UNLIMITED,
    BadTenantLimit,
    BadTenantName,
    TenantExists,
    TenantNotFound,
)
from stellaops.authority.tokens import TokenKeyNotFound
from stellaops.center.authority import LocalAuthority

SCOPE = "authority:manage"
_TAG = "authority"
Name = Annotated[str, msgspec.Meta(max_length=200)]
Names = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=100)]], msgspec.Meta(max_length=100)
]
Count = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))]


class _Asking(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of what comes in."""


class _Form(msgspec.Struct, frozen=True, rename="camel"):
    """Of what goes out."""


class NewClient(_Asking, frozen=True):
    """A client to make: its tenants are the caller's where none are named, its id is made up where it has none."""

    scopes: Names
    client_id: Name = ""
    name: Name | None = None
    tenants: Names | None = None


class ClientChange(_Asking, frozen=True):
    """What changes of a client; what is left out stays."""

    name: Name | None = None
    scopes: Names | None = None
    tenants: Names | None = None


class Rotation(_Asking, frozen=True):
    """For how many seconds the earlier secret still opens; with 0 it ends at once, and the client's tokens too."""

    overlap_seconds: Seconds = int(OVERLAP.total_seconds())


class Because(_Asking, frozen=True):
    """Why, in one line."""

    reason: Name = ""


class NewTenant(_Asking, frozen=True):
    """A tenant to make."""

    tenant: Name
    max_active_runs: Count | None = None
    max_queued_runs: Count | None = None
    max_storage_bytes: Size | None = None


class TenantChange(_Asking, frozen=True):
    """Limits that change; what is left out stays. With null for `maxStorageBytes` there is no bound of storage."""

    max_active_runs: Count | None = None
    max_queued_runs: Count | None = None
    max_storage_bytes: Size | msgspec.UnsetType | None = msgspec.UNSET
    reason: Name = ""


class SecretForm(_Form, frozen=True):
    """When a secret was made, ends, and last opened. The secret itself is kept nowhere."""

    number: int
    created_at: str
    expires_at: str | None
    used_at: str | None


class ClientForm(_Form, frozen=True):
    """A client; `clientSecret` is told once, when it is made."""

    client_id: str
    name: str
    tenants: list[str]
    scopes: list[str]
    created_at: str
    secrets: list[SecretForm]
    revoked_at: str | None
    revocation_reason: str | None
    client_secret: str | msgspec.UnsetType = msgspec.UNSET


class TenantForm(_Form, frozen=True):
    """A tenant, how much it may run, and how many bytes its bundles may take."""

    tenant: str
    max_active_runs: int
    max_queued_runs: int
    max_storage_bytes: int | None
    created_at: str | None


class TokenKeyForm(_Form, frozen=True):
    """A key of access tokens: `active`, `retired` (verifies), `over` or `revoked`."""

    key_id: str
    state: str
    created_at: str
    signs_until: str
    revoked_at: str | None


def _authority(call: Call) -> LocalAuthority:
    """The authority as the caller may use it; its changes go into the frame's audit record."""

    def tell(change: Change) -> None:
        call.change.take(change)
        call.local.access.forget()

    return LocalAuthority(call.local, Actor.of(call.principal), tell)


def _page(call: Call, wires: list[dict[str, Any]], name: str) -> Response:
    """A page of a list that is ordered by a text."""
    query: PageQuery = call.query
    if query.cursor is not None:
        (after,) = place_of(query.cursor, form=tuple[str])
        wires = [wire for wire in wires if wire[name] > after]
    page = wires[: query.limit]
    return answer(Page(page, cursor_of(page[-1][name]) if len(wires) > len(page) else None))


def list_clients(call: Call) -> Response:
    """The clients that the caller manages."""
    return _page(call, _authority(call).clients(), "clientId")


def show_client(call: Call) -> Response:
    """One client."""
    return answer(_authority(call).client(call.path["id"]))


def create_client(call: Call) -> Response:
    """Make a client."""
    body: NewClient = call.body
    tenants = tuple(body.tenants) if body.tenants is not None else (call.tenant,)
    # Made of the seed, so that a request that comes again after a crash does not make a second client.
    client_id = body.client_id or (f"client-{call.seed[:12]}" if call.seed else "")
    made = _authority(call).create_client(Wanted(client_id, body.name, tenants, tuple(body.scopes)))
    return answer(made, 201, _secret_headers() | {"location": f"/api/authority/clients/{made['clientId']}"})


def change_client(call: Call) -> Response:
    """Change a client."""
    body: ClientChange = call.body
    tenants, scopes = (None if each is None else tuple(each) for each in (body.tenants, body.scopes))
    return answer(_authority(call).change_client(call.path["id"], Wanted("", body.name, tenants, scopes)))


def rotate_client(call: Call) -> Response:
    """Give a client another secret."""
    overlap = timedelta(seconds=call.body.overlap_seconds)
    return answer(_authority(call).rotate_client(call.path["id"], overlap=overlap), headers=_secret_headers())


def revoke_client(call: Call) -> Response:
    """Revoke a client."""
    return answer(_authority(call).revoke_client(call.path["id"], call.body.reason))


def list_tenants(call: Call) -> Response:
    """The caller's tenants."""
    wires = sorted(_authority(call).tenants(), key=lambda wire: str(wire["tenant"]))
    return _page(call, wires, "tenant")


def show_tenant(call: Call) -> Response:
    """One tenant."""
    return answer(_authority(call).tenant(call.path["tenant"]))


def create_tenant(call: Call) -> Response:
    """Make a tenant."""
    body: NewTenant = call.body
    made = _authority(call).create_tenant(
        body.tenant, body.max_active_runs, body.max_queued_runs, body.max_storage_bytes
    )
    return answer(made, 201, {"location": f"/api/authority/tenants/{made['tenant']}"})


def change_tenant(call: Call) -> Response:
    """Change a tenant's limits."""
    body: TenantChange = call.body
    told = body.max_storage_bytes
    storage = None if told is msgspec.UNSET else UNLIMITED if told is None else told
    return answer(
        _authority(call).set_limits(
            call.path["tenant"], max_active_runs=body.max_active_runs, max_queued_runs=body.max_queued_runs,
            max_storage=storage, reason=body.reason,
        )
    )  # fmt: skip


def list_token_keys(call: Call) -> Response:
    """Keys of access tokens."""
    return answer(Page(_authority(call).token_keys()))


def rotate_token_keys(call: Call) -> Response:
    """Let every machine make another one."""
    return answer(Page(_authority(call).rotate_token_keys()))


def revoke_token_key(call: Call) -> Response:
    """Revoke one."""
    return answer(_authority(call).revoke_token_key(call.path["key"], call.body.reason))


def _secret_headers() -> dict[str, str]:
    return {"cache-control": "no-store"}


_GRANTING = (GrantsTooMuch, BadClient, TenantNotFound)

OPERATIONS = (
    Operation(
        "listClients", "GET", "/api/authority/clients", "The clients that act for no tenant beyond the token's",
        list_clients, scope=SCOPE, query=PageQuery, tag=_TAG, answers={200: Answer("clients", Page[ClientForm])},
    ),
    Operation(
        "createClient", "POST", "/api/authority/clients", "Make a client; its secret is told this once",
        create_client, scope=SCOPE, body=NewClient, mutating=True, action="client.created", secret=True, tag=_TAG,
        answers={201: Answer("the client with its secret", ClientForm, headers={"location": "of the client"})},
        errors=(ClientExists, *_GRANTING),
    ),
    Operation(
        "getClient", "GET", "/api/authority/clients/{id}", "A client", show_client, scope=SCOPE, tag=_TAG,
        answers={200: Answer("the client", ClientForm)}, errors=(ClientNotFound,),
    ),
    Operation(
        "changeClient", "PATCH", "/api/authority/clients/{id}",
        "Change a client's name, scopes or tenants; where it loses some, its tokens end", change_client,
        scope=SCOPE, body=ClientChange, mutating=True, action="client.changed", tag=_TAG,
        answers={200: Answer("the client", ClientForm)},
        errors=(ClientNotFound, ClientRevoked, ClientChanged, *_GRANTING),
    ),
    Operation(
        "rotateClient", "POST", "/api/authority/clients/{id}/rotate",
        "Give a client another secret, which is told this once; the earlier one opens for an overlap",
        rotate_client, scope=SCOPE, body=Rotation, required=False, mutating=True, action="client.rotated",
        secret=True, tag=_TAG, answers={200: Answer("the client with its secret", ClientForm)},
        errors=(ClientNotFound, ClientRevoked, ClientChanged, TwoSecretsValid, GrantsTooMuch, BadClient),
    ),
    Operation(
        "revokeClient", "POST", "/api/authority/clients/{id}/revoke",
        "Revoke a client for ever: its secrets at once, its tokens within seconds", revoke_client, scope=SCOPE,
        body=Because, required=False, mutating=True, action="client.revoked", tag=_TAG,
        answers={200: Answer("the client", ClientForm)}, errors=(ClientNotFound, ClientChanged, BadClient),
    ),
    Operation(
        "listTenants", "GET", "/api/authority/tenants", "The tenants of the token", list_tenants, scope=SCOPE,
        query=PageQuery, tag=_TAG, answers={200: Answer("tenants", Page[TenantForm])},
    ),
    Operation(
        "createTenant", "POST", "/api/authority/tenants", "Make a tenant (operators)", create_tenant,
        scope=SCOPE, body=NewTenant, mutating=True, action="tenant.created", tag=_TAG,
        answers={201: Answer("the tenant", TenantForm, headers={"location": "of the tenant"})},
        errors=(OperatorOnly, BadTenantName, BadTenantLimit, TenantExists),
    ),
    Operation(
        "getTenant", "GET", "/api/authority/tenants/{tenant}", "A tenant", show_tenant, scope=SCOPE, tag=_TAG,
        answers={200: Answer("the tenant", TenantForm)}, errors=(TenantNotFound,),
    ),
    Operation(
        "changeTenant", "PATCH", "/api/authority/tenants/{tenant}",
        "Change how much a tenant may run and keep (operators)", change_tenant, scope=SCOPE, body=TenantChange,
        mutating=True, action="tenant.changed", tag=_TAG,
        answers={200: Answer("the tenant", TenantForm)}, errors=(TenantNotFound, OperatorOnly, BadTenantLimit),
    ),
    Operation(
        "listTokenKeys", "GET", "/api/authority/token-keys", "Keys of access tokens (operators)",
        list_token_keys, scope=SCOPE, tag=_TAG, answers={200: Answer("the keys", Page[TokenKeyForm])},
        errors=(OperatorOnly,),
    ),
    Operation(
        "rotateTokenKeys", "POST", "/api/authority/token-keys/rotate",
        "Let every machine make another key at its next token (operators)", rotate_token_keys, scope=SCOPE,
        mutating=True, action="token_key.rotated", tag=_TAG, answers={200: Answer("the keys", Page[TokenKeyForm])},
        errors=(OperatorOnly,),
    ),
    Operation(
        "revokeTokenKey", "POST", "/api/authority/token-keys/{key}/revoke",
        "Revoke a key of access tokens: the tokens that it signed end within seconds (operators)",
        revoke_token_key, scope=SCOPE, body=Because, required=False, mutating=True, action="token_key.revoked",
        tag=_TAG, answers={200: Answer("the key", TokenKeyForm)}, errors=(OperatorOnly, TokenKeyNotFound),
    ),
)  # fmt: skip
