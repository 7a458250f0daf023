from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stellaops.authority import client_secrets, manage_clients, manage_tenants
from stellaops.authority.access import SCOPES, Principal
from stellaops.authority.actors import OPERATOR, Actor, GrantsTooMuch, OperatorOnly
from stellaops.authority.clients import (
    BadClient,
    ClientExists,
    ClientNotFound,
    ClientRevoked,
    TwoSecretsValid,
)
from stellaops.authority.manage_clients import ClientTools, Wanted
from stellaops.authority.tenants import BadTenantLimit, BadTenantName, TenantExists, TenantNotFound
from tests.unit.authority.stores import NOW, tools

HOUR = timedelta(hours=1)
ADMIN = Actor.of(
    Principal("acme-admin", ("acme",), frozenset({"authority:manage", "export:read", "export:run"}))
)


@pytest.fixture
def stores() -> ClientTools:
    return tools("acme", "other")


def made(stores: ClientTools, actor: Actor = OPERATOR, **wanted: Any) -> str:
    """Create a client; answers its secret."""
    values = {"id": "ci", "tenants": ("acme",), "scopes": ("export:read",)} | wanted
    secret = manage_clients.create_client(stores, actor, Wanted(**values), now=NOW).secret
    assert secret is not None
    return secret


def opens(stores: ClientTools, secret: str, now: Any = NOW, client_id: str = "ci") -> bool:
    client = stores.clients.get(client_id)
    assert client is not None
    return client_secrets.matching(secret, [each.hash for each in client.valid_secrets(now)]) is not None


# ---- what a client may be


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"id": "A b"}, "cannot be a client's id"),
        ({"id": "../x"}, "cannot be a client's id"),
        ({"name": "two\nlines"}, "the name must be one line"),
        ({"name": "x" * 201}, "the name must be one line"),
        ({"scopes": ()}, "at least one scope"),
        ({"scopes": ("export:read", "root")}, "'root' is not a scope"),
        ({"tenants": ()}, "at least one tenant"),
        ({"tenants": ("acme", "acme")}, "named twice"),
        ({"tenants": ("acme", "*")}, "alone"),
        ({"tenants": ("../acme",)}, "cannot be a tenant's name"),
    ],
)
def test_a_client_that_cannot_be_is_refused_with_what_is_wrong(
    stores: ClientTools, wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadClient, match=said):
        made(stores, **wanted)
    assert stores.clients.list() == []


def test_a_client_of_a_tenant_that_is_not_there_is_refused(stores: ClientTools) -> None:
    with pytest.raises(TenantNotFound):
        made(stores, tenants=("acme", "nobody"))


def test_an_id_is_made_up_where_none_is_given(stores: ClientTools) -> None:
    for _ in range(2):
        made(stores, id="")
    first, second = stores.clients.list()
    assert first.id != second.id


def test_neither_a_secret_nor_its_hash_shows_in_a_repr_or_on_the_wire(stores: ClientTools) -> None:
    wanted = Wanted("ci", None, ("acme",), ("export:read",))
    done = manage_clients.create_client(stores, OPERATOR, wanted, now=NOW)
    hash_ = done.client.secrets[0].hash
    assert done.secret is not None
    for shown in (repr(done), str(done.client.to_wire()), repr(stores.clients.get("ci"))):
        assert done.secret not in shown
        assert hash_ not in shown


# ---- rotation and revocation


def test_two_secrets_open_for_the_overlap_and_then_the_later_one(stores: ClientTools) -> None:
    first = made(stores)
    second = manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=HOUR).secret
    assert second is not None
    just_before, then = NOW + HOUR - timedelta(microseconds=1), NOW + HOUR
    assert [opens(stores, each, just_before) for each in (first, second)] == [True, True]
    assert [opens(stores, each, then) for each in (first, second)] == [False, True]


def test_a_third_secret_waits_until_the_first_one_is_over(stores: ClientTools) -> None:
    made(stores)
    manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=HOUR)
    with pytest.raises(TwoSecretsValid, match="2026-03-01T13:00:00"):
        manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=HOUR)
    manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW + HOUR, overlap=HOUR)
    client = stores.clients.get("ci")
    assert client is not None
    assert [each.number for each in client.secrets] == [2, 3]


def test_a_rotation_without_overlap_ends_every_earlier_secret_and_token(stores: ClientTools) -> None:
    first = made(stores)
    second = manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=HOUR).secret
    done = manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=timedelta())
    assert second is not None
    assert done.secret is not None
    assert [opens(stores, each) for each in (first, second, done.secret)] == [False, False, True]
    assert done.client.tokens_from == NOW


@pytest.mark.parametrize("overlap", [timedelta(days=31), timedelta(seconds=-1)])
def test_an_overlap_without_measure_is_refused(stores: ClientTools, overlap: timedelta) -> None:
    made(stores)
    with pytest.raises(BadClient, match="overlap"):
        manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW, overlap=overlap)


def test_a_revoked_client_stays_revoked_as_it_first_was(stores: ClientTools) -> None:
    secret = made(stores)
    manage_clients.revoke_client(stores, OPERATOR, "ci", now=NOW, reason="leaked")
    _, again = manage_clients.revoke_client(stores, OPERATOR, "ci", now=NOW + HOUR, reason="other")
    assert (again.revoked_at, again.revocation_reason) == (NOW, "leaked")
    assert not opens(stores, secret)
    with pytest.raises(ClientRevoked):
        manage_clients.rotate_secret(stores, OPERATOR, "ci", now=NOW)
    with pytest.raises(ClientRevoked):
        manage_clients.change_client(stores, OPERATOR, "ci", Wanted(name="new"), now=NOW)


@pytest.mark.parametrize(
    ("wanted", "cut"),
    [
        (Wanted(name="other name"), False),
        (Wanted(scopes=("export:read", "export:run")), False),
        (Wanted(tenants=("acme", "other")), False),
        (Wanted(scopes=("export:run",)), True),
        (Wanted(tenants=("other",)), True),
    ],
)
def test_tokens_end_where_a_client_loses_something(stores: ClientTools, wanted: Wanted, cut: bool) -> None:
    made(stores)
    _, after = manage_clients.change_client(stores, OPERATOR, "ci", wanted, now=NOW)
    assert (after.tokens_from == NOW) is cut


# ---- what an administrator of one tenant may do


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ("export:read", "policy:manage")},
        {"tenants": ("other",)},
        {"tenants": ("acme", "other")},
        {"tenants": ("*",)},
    ],
)
def test_nobody_gives_more_than_they_have(stores: ClientTools, wanted: dict[str, Any]) -> None:
    with pytest.raises(GrantsTooMuch):
        made(stores, ADMIN, **wanted)
    made(stores, ADMIN)
    change = Wanted(tenants=wanted.get("tenants"), scopes=wanted.get("scopes"))
    with pytest.raises(GrantsTooMuch):
        manage_clients.change_client(stores, ADMIN, "ci", change, now=NOW)


def test_nobody_gets_the_secret_of_a_client_that_may_do_more(stores: ClientTools) -> None:
    made(stores, scopes=("policy:manage",))
    with pytest.raises(GrantsTooMuch):
        manage_clients.rotate_secret(stores, ADMIN, "ci", now=NOW)
    with pytest.raises(GrantsTooMuch):
        manage_clients.change_client(stores, ADMIN, "ci", Wanted(scopes=("export:read",)), now=NOW)


@pytest.mark.parametrize("tenants", [("other",), ("acme", "other"), ("*",)])
def test_clients_of_other_tenants_are_not_there_for_an_administrator_of_one(
    stores: ClientTools, tenants: tuple[str, ...]
) -> None:
    made(stores, tenants=tenants)
    assert manage_clients.list_clients(stores, ADMIN) == []
    for attempt in (
        lambda: manage_clients.find_client(stores, ADMIN, "ci"),
        lambda: manage_clients.rotate_secret(stores, ADMIN, "ci", now=NOW),
        lambda: manage_clients.revoke_client(stores, ADMIN, "ci", now=NOW),
        lambda: manage_clients.change_client(stores, ADMIN, "ci", Wanted(name="x"), now=NOW),
    ):
        with pytest.raises(ClientNotFound):
            attempt()


def test_a_principal_that_calls_a_tenant_star_is_no_operator() -> None:
    odd = Actor.of(Principal("x", ("*",), frozenset(SCOPES)))
    assert not odd.operator
    assert not odd.holds("*")


# ---- the first operator


def test_the_first_operator_is_made_once(stores: ClientTools) -> None:
    done, new = manage_clients.bootstrap(stores, "admin", now=NOW)
    assert (new, done.client.tenants, set(done.client.scopes)) == (True, ("*",), set(SCOPES))
    for client_id in ("admin", "another"):
        with pytest.raises(ClientExists, match="an operator already: admin"):
            manage_clients.bootstrap(stores, client_id, now=NOW)


def test_with_a_secret_that_was_given_doing_it_again_changes_nothing(stores: ClientTools) -> None:
    secret = client_secrets.generate()
    done, new = manage_clients.bootstrap(stores, "admin", now=NOW, secret=secret)
    assert (new, done.secret) == (True, None)
    again, new = manage_clients.bootstrap(stores, "admin", now=NOW + HOUR, secret=secret)
    assert (new, again.client) == (False, done.client)
    with pytest.raises(ClientExists):
        manage_clients.bootstrap(stores, "admin", now=NOW, secret=client_secrets.generate())


def test_where_every_operator_is_revoked_another_first_one_can_be_made(stores: ClientTools) -> None:
    manage_clients.bootstrap(stores, "admin", now=NOW)
    manage_clients.revoke_client(stores, OPERATOR, "admin", now=NOW)
    _, new = manage_clients.bootstrap(stores, "admin-2", now=NOW)
    assert new


# ---- tenants


def test_only_operators_make_tenants_and_change_their_limits(stores: ClientTools) -> None:
    with pytest.raises(OperatorOnly):
        manage_tenants.create_tenant(stores.tenants, ADMIN, "mine", now=NOW)
    with pytest.raises(OperatorOnly):
        manage_tenants.set_limits(stores.tenants, ADMIN, "acme", max_active_runs=99, max_queued_runs=None)
    assert [each.id for each in manage_tenants.list_tenants(stores.tenants, ADMIN)] == ["acme"]
    with pytest.raises(TenantNotFound):
        manage_tenants.find_tenant(stores.tenants, ADMIN, "other")


def test_limits_that_are_not_given_stay(stores: ClientTools) -> None:
    before, after = manage_tenants.set_limits(
        stores.tenants, OPERATOR, "acme", max_active_runs=0, max_queued_runs=None
    )
    assert (before.max_active_runs, after.max_active_runs, after.max_queued_runs) == (2, 0, 100)


def test_tenants_that_cannot_be_are_refused(stores: ClientTools) -> None:
    store = stores.tenants
    with pytest.raises(TenantExists):
        manage_tenants.create_tenant(store, OPERATOR, "acme", now=NOW)
    for name in ("", "A", "a/b", "..", "*", "x" * 64):
        with pytest.raises(BadTenantName):
            manage_tenants.create_tenant(store, OPERATOR, name, now=NOW)
    for limit in (-1, 100_001):
        with pytest.raises(BadTenantLimit):
            manage_tenants.create_tenant(store, OPERATOR, "new", now=NOW, max_active_runs=limit)
