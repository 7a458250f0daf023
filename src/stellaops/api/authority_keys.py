"""`/api/authority/keys`: the keys with which a tenant's exports are signed. Private keys never leave by the API."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from stellaops.api.authority import SCOPE, Because
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.authority import manage_keys, published_keys
from stellaops.authority.keys import (
    BadReason,
    KeyKnown,
    KeyNotFound,
    KeyRecord,
    KeyRevoked,
    KeyUnavailable,
    PassphraseNeeded,
)
from stellaops.authority.tenants import BadTenantName
from stellaops.bootstrap import now
from stellaops.center.keys import encrypted, key_changed, known_key, tried
from stellaops.core import timestamps
from stellaops.exports.errors import SigningFailed
from stellaops.exports.resign_exports import Resigned, ResignTools, resign_exports
from stellaops.signing.interface import (
    KeyServiceDown,
    KeyServiceMissing,
    KeyServiceRefused,
    KeyServiceWrong,
)
from stellaops.signing.key_uri import BadKeyUri, KeyUriRefused

_TAG = "authority"
_PATH = "/api/authority/keys"
_PEM = "application/x-pem-file"
_OF_SERVICES = (
    BadKeyUri, KeyKnown, KeyRevoked, KeyServiceDown, KeyServiceMissing, KeyServiceRefused, KeyServiceWrong,
    KeyUriRefused,
)  # fmt: skip


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make; with `activate: false` it waits, so that receivers have it before it signs.

    With `uri` it is the newest one that a key service has under that name.
    """

    activate: bool = True
    uri: str | None = None


class RotateKey(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Whether kept exports keep the signatures of the earlier key; the next one's `uri` in its key service."""

    keep_signatures: bool = False
    uri: str | None = None


class PublicQuery(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which key; all that are not revoked where none is named."""

    key_id: str | None = None


class SigningKeyForm(msgspec.Struct, frozen=True, rename="camel"):
    """What may be told of a key: `waiting`, `active`, `retired` or `revoked`.

    `encrypted` is null where the private part is not here; `uri` names it where a key service has it.
    """

    key_id: str
    tenant: str
    state: str
    created_at: str
    retired_at: str | None
    revoked_at: str | None
    revocation_reason: str | None
    encrypted: bool | None
    uri: str | None
    public_key: str


class PublishedKeyForm(msgspec.Struct, frozen=True, rename="camel"):
    """A public key and its time; null `publicKey` of a revoked one."""

    key_id: str
    algorithm: str
    state: str
    public_key: str | None
    created_at: str
    retired_at: str | None
    revoked_at: str | None
    revocation_reason: str | None


class PublishedKeys(msgspec.Struct, frozen=True):
    """All public keys of a tenant, the oldest first."""

    schema: str
    tenant: str
    keys: list[PublishedKeyForm]


class TriedKeyForm(msgspec.Struct, frozen=True, rename="camel"):
    """What a key did when it was to sign: `ok`, or `failed` with the reason in `detail`."""

    key_id: str
    uri: str | None
    status: str
    seconds: float
    detail: str


class ResignedForm(msgspec.Struct, frozen=True, rename="camel"):
    """A kept export that was signed again, or why it was not."""

    export_id: str
    archive_id: str
    problem: str | None


class RotatedForm(SigningKeyForm, frozen=True, rename="camel"):
    """The key that signs from now on, and what it has signed again."""

    resigned: list[ResignedForm]


def list_keys(call: Call) -> Response:
    """The tenant's keys."""
    return answer(Page([_form(each) for each in manage_keys.list_keys(call.local.keys, call.tenant)]))


def public(call: Call) -> Response:
    """Public keys in PEM."""
    key_id, store = call.query.key_id, call.local.keys
    pem = (
        manage_keys.export_public(store, call.tenant, key_id)
        if key_id
        else manage_keys.export_all_public(store, call.tenant)
    )
    return Response(pem, 200, {"cache-control": "private, no-cache"}, _PEM)


def listed(call: Call) -> Response:
    """All public keys with the time of each."""
    return answer(published_keys.wire(call.tenant, manage_keys.list_keys(call.local.keys, call.tenant)))


def published(call: Call) -> Response:
    """The same for everyone, as it lies beside `export-center.pub`."""
    tenant = call.path["tenant"]
    try:
        records = manage_keys.list_keys(call.local.keys, tenant)
    except BadTenantName:
        records = ()
    if not records:
        raise KeyNotFound(f"tenant {tenant[:80]!r} has no keys")
    data = published_keys.encode(tenant, records)
    return Response(data, 200, {"cache-control": "public, max-age=60"}, "application/json")


def create(call: Call) -> Response:
    """Make a key."""
    _demand_protection(call)
    made = _made(call, activate=call.body.activate)
    key_changed(call.change, None, made)
    return answer(_form(made), 201, {"location": f"{_PATH}/{made.key_id}"})


def rotate(call: Call) -> Response:
    """Make a key that signs from now on, and sign kept exports again."""
    _demand_protection(call)
    made = _made(call)
    key_changed(call.change, None, made)
    done = () if call.body.keep_signatures else _resigned(call)
    return answer({**msgspec.to_builtins(_form(made)), "resigned": [_resigned_form(each) for each in done]})


def activate(call: Call) -> Response:
    """Let a key sign from now on."""
    before = _known(call)
    after = manage_keys.activate_key(call.local.keys, call.tenant, call.path["key"], now=now())
    key_changed(call.change, before, after)
    return answer(_form(after))


def test(call: Call) -> Response:
    """Have a key sign something."""
    return answer(tried(call.local.keys, call.tenant, call.path["key"]))


def revoke(call: Call) -> Response:
    """Revoke a key."""
    before = _known(call)
    after = manage_keys.revoke_key(
        call.local.keys, call.tenant, call.path["key"], now=now(), reason=call.body.reason
    )
    key_changed(call.change, before, after, call.body.reason)
    return answer(_form(after))


def resign(call: Call) -> Response:
    """Sign kept exports again."""
    call.change.target = f"keys/{call.tenant}"
    done = [_resigned_form(each) for each in _resigned(call)]
    call.change.details["resigned"] = len(done)
    return answer(Page(done))


def show(call: Call) -> Response:
    """One key."""
    return answer(_form(_known(call)))


def _known(call: Call) -> KeyRecord:
    return known_key(call.local.keys, call.tenant, call.path["key"])


def _made(call: Call, *, activate: bool = True) -> KeyRecord:
    local, uri = call.local, call.body.uri
    if uri is None:
        return manage_keys.create_key(local.keys, call.tenant, now=now(), activate=activate)
    local.key_services.demand_from_afar(call.tenant, [uri])
    return manage_keys.create_key_of_service(
        local.keys, local.key_services, call.tenant, uri, now=now(), activate=activate
    )


def _demand_protection(call: Call) -> None:
    if call.body.uri is None:
        under = call.local.settings.get("keyPassphraseFile") is not None
        manage_keys.demand_no_loss_of_protection(call.local.keys, call.tenant, under_passphrase=under)


def _resigned(call: Call) -> tuple[Resigned, ...]:
    local = call.local
    return resign_exports(
        call.tenant,
        ResignTools(
            local.runs,
            local.workspace,
            local.artefacts,
            local.tenant_keys,
            local.profiles,
            local.bundle_turns,
        ),
    )


def _resigned_form(done: Resigned) -> ResignedForm:
    return ResignedForm(done.export_id, done.archive_id, done.problem)


def _form(record: KeyRecord) -> SigningKeyForm:
    return SigningKeyForm(
        record.key_id,
        record.tenant,
        record.state.value,
        timestamps.render(record.created_at),
        timestamps.render(record.retired_at) if record.retired_at else None,
        timestamps.render(record.revoked_at) if record.revoked_at else None,
        record.revocation_reason or None,
        encrypted(record),
        record.uri,
        record.public_key_pem.decode("ascii"),
    )


_ANSWERS: dict[int, Any] = {200: Answer("the key", SigningKeyForm)}

OPERATIONS = (
    Operation(
        "listSigningKeys", "GET", _PATH, "The keys that sign the tenant's exports", list_keys, scope=SCOPE,
        tag=_TAG, answers={200: Answer("the keys, the oldest first", Page[SigningKeyForm])},
    ),
    Operation(
        "exportPublicKeys", "GET", f"{_PATH}/public", "Public keys in PEM, for receivers of exports", public,
        scope=SCOPE, query=PublicQuery, tag=_TAG, answers={200: Answer("the keys", media=_PEM)},
        errors=(KeyNotFound, KeyUnavailable),
    ),
    Operation(
        "listPublicKeys", "GET", f"{_PATH}/listed", "All public keys with the time of each, also revoked ones",
        listed, scope=SCOPE, tag=_TAG, answers={200: Answer("the keys, the oldest first", PublishedKeys)},
    ),
    Operation(
        "getPublishedKeys", "GET", "/tenants/{tenant}/keys.json",
        "All public keys of a tenant with the time of each, for whoever verifies its exports", published, public=True,
        tag=_TAG, answers={200: Answer("the keys, the oldest first", PublishedKeys)}, errors=(KeyNotFound,),
    ),
    Operation(
        "createSigningKey", "POST", _PATH, "Make a key, which signs from now on unless it is to wait", create,
        scope=SCOPE, body=NewKey, required=False, mutating=True, action="key.created", tag=_TAG,
        answers={201: Answer("the key", SigningKeyForm, headers={"location": "of the key"})},
        errors=(KeyUnavailable, PassphraseNeeded, *_OF_SERVICES),
    ),
    Operation(
        "rotateSigningKey", "POST", f"{_PATH}/rotate",
        "Make a key that signs from now on, and sign kept exports again with it", rotate, scope=SCOPE,
        body=RotateKey, required=False, mutating=True, action="key.rotated", tag=_TAG,
        answers={200: Answer("the key, and what it has signed again", RotatedForm)},
        errors=(KeyUnavailable, PassphraseNeeded, SigningFailed, *_OF_SERVICES),
    ),
    Operation(
        "resignExports", "POST", f"{_PATH}/resign", "Sign kept exports again with the active key", resign,
        scope=SCOPE, mutating=True, action="key.resigned", tag=_TAG,
        answers={200: Answer("what was signed", Page[ResignedForm])}, errors=(SigningFailed, KeyUnavailable),
    ),
    Operation(
        "getSigningKey", "GET", f"{_PATH}/{{key}}", "A key", show, scope=SCOPE, tag=_TAG, answers=_ANSWERS,
        errors=(KeyNotFound,),
    ),
    Operation(
        "activateSigningKey", "POST", f"{_PATH}/{{key}}/activate",
        "Let a key sign from now on; the one so far still verifies", activate, scope=SCOPE, mutating=True,
        action="key.activated", tag=_TAG, answers=_ANSWERS, errors=(KeyNotFound, KeyRevoked, KeyUnavailable),
    ),
    Operation(
        "testSigningKey", "POST", f"{_PATH}/{{key}}/test", "Have a key sign something, and verify that", test,
        scope=SCOPE, tag=_TAG, answers={200: Answer("what came of it", TriedKeyForm)}, errors=(KeyNotFound,),
    ),
    Operation(
        "revokeSigningKey", "POST", f"{_PATH}/{{key}}/revoke", "Revoke a key: it signs and verifies nothing any more",
        revoke, scope=SCOPE, body=Because, required=False, mutating=True, action="key.revoked", tag=_TAG,
        answers=_ANSWERS, errors=(KeyNotFound, KeyUnavailable, BadReason),
    ),
)  # fmt: skip
