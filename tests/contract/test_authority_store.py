"""Tenants, clients, keys of access tokens and the audit log, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql.audit import SqlAudit
from stellaops.adapters.sql.authority import SqlClients, SqlTenants, SqlTokenKeys
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.tokens.jws import JwsReader
from stellaops.adapters.tokens.signing import FileTokenSigner
from stellaops.authority import manage_clients
from stellaops.authority.actors import OPERATOR
from stellaops.authority.audit import AuditFilter, AuditRecord, Change
from stellaops.authority.check_tokens import Access
from stellaops.authority.clients import Client, ClientChanged, ClientExists, ClientSecret
from stellaops.authority.issue_tokens import BadCredentials, Issuer
from stellaops.authority.manage_clients import ClientTools, Wanted
from stellaops.authority.tenants import Tenant, TenantExists
from stellaops.authority.tokens import BadToken, TokenKey, TokenSettings
from stellaops.core.digests import sha256
from stellaops.exports.ports import RunLimits
from tests.contract.stores import NOON, Place
from tests.unit.authority.stores import Clock

HOUR = timedelta(hours=1)


@pytest.fixture
def engine(place: Place) -> Engine:
    return place.engine(SERVICE)


def client(client_id: str = "ci", **changes: object) -> Client:
    made = Client(
        client_id, "änd\x00ers", ("acme", "other"), ("export:read",), NOON,
        (ClientSecret(1, "$a", NOON, NOON + HOUR), ClientSecret(2, "$b", NOON)),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_default_tenant_is_always_there_and_first(engine: Engine) -> None:
    store = SqlTenants(engine)
    for name in ("b", "a"):
        store.add(Tenant(name, created_at=NOON))
    assert [tenant.id for tenant in store.list()] == ["default", "a", "b"]
    assert store.get("default") == Tenant("default")
    assert store.get("nobody") is None


def test_limits_are_those_that_were_set_and_else_the_usual_ones(engine: Engine) -> None:
    store = SqlTenants(engine)
    store.add(Tenant("acme", 5, 6, NOON))
    store.change(Tenant("default", 0, 7))
    assert store.limits("acme") == RunLimits(5, 6)
    assert store.limits("default") == RunLimits(0, 7)
    assert store.limits("nobody") == RunLimits(2, 100)


@pytest.mark.parametrize("name", ["acme", "default"])
def test_a_tenant_is_made_once(engine: Engine, name: str) -> None:
    store = SqlTenants(engine)
    store.add(Tenant("acme", created_at=NOON))
    with pytest.raises(TenantExists):
        store.add(Tenant(name, 9, created_at=NOON))
    assert store.limits(name) == RunLimits(2, 100)


def test_a_client_comes_back_as_it_was_stored(engine: Engine) -> None:
    store = SqlClients(engine)
    stored = store.add(client())
    assert stored == client(version=1)
    assert store.get("ci") == stored
    assert store.get("nobody") is None
    changed = store.change(replace(stored, revoked_at=NOON, revocation_reason="gone", tokens_from=NOON))
    assert store.list() == [changed]
    assert (changed.version, changed.revoked_at, changed.revocation_reason) == (2, NOON, "gone")


def test_the_id_of_a_client_is_taken_for_ever(engine: Engine) -> None:
    store = SqlClients(engine)
    store.change(replace(store.add(client()), revoked_at=NOON))
    with pytest.raises(ClientExists):
        store.add(client(name="another"))


def test_of_two_changes_of_one_record_the_second_is_refused(engine: Engine) -> None:
    store = SqlClients(engine)
    stored = store.add(client())
    store.change(replace(stored, name="first"))
    with pytest.raises(ClientChanged):
        store.change(replace(stored, name="second"))
    assert [each.name for each in store.list()] == ["first"]


def test_the_last_use_of_a_secret_is_noted_beside_the_record(engine: Engine) -> None:
    store = SqlClients(engine)
    stored = store.add(client())
    for at in (NOON, NOON + HOUR):
        store.note_use("ci", 2, at)
    found = store.get("ci")
    assert found is not None
    assert [each.used_at for each in found.secrets] == [None, NOON + HOUR]
    assert found.version == stored.version


def key(name: str, created_at: datetime = NOON, life: timedelta = timedelta(days=30)) -> TokenKey:
    return TokenKey(name, b"-- a key --", created_at, created_at + life)


def test_keys_that_verify_are_told_and_others_not(engine: Engine) -> None:
    store = SqlTokenKeys(engine)
    for name in ("active", "retired", "revoked", "over"):
        store.add(key(name))
    store.end(["over"], NOON + HOUR, revoke=False)
    store.end(["retired"], NOON + 2 * HOUR, revoke=False)
    store.end(["revoked"], NOON + 2 * HOUR, revoke=True)
    now = NOON + 2 * HOUR + timedelta(minutes=5)
    assert set(store.state(now).keys) == {"active", "retired"}
    assert {each.id for each in store.list() if each.signs(now)} == {"active"}
    assert set(store.state(NOON + 3 * HOUR).keys) == {"active"}


def test_the_end_of_a_key_is_never_put_off(engine: Engine) -> None:
    store = SqlTokenKeys(engine)
    store.add(key("k"))
    store.end(["k"], NOON + HOUR, revoke=True)
    store.end(["k"], NOON + 2 * HOUR, revoke=True)
    (found,) = store.list()
    assert (found.signs_until, found.revoked_at) == (NOON + HOUR, NOON + HOUR)


def test_keys_that_are_long_over_go_when_another_comes(engine: Engine) -> None:
    store = SqlTokenKeys(engine)
    store.add(key("old", life=HOUR))
    store.add(key("new", NOON + timedelta(days=3)))
    assert [each.id for each in store.list()] == ["new"]


def test_cut_offs_are_told_while_tokens_from_before_may_live(engine: Engine) -> None:
    clients, keys = SqlClients(engine), SqlTokenKeys(engine)
    clients.add(client("untouched"))
    clients.change(replace(clients.add(client("changed")), tokens_from=NOON))
    clients.change(replace(clients.add(client("revoked")), revoked_at=NOON, tokens_from=NOON))
    clients.change(replace(clients.add(client("long-ago")), revoked_at=NOON - 3 * HOUR))
    state = keys.state(NOON + timedelta(minutes=20))
    assert state.cutoffs == {"changed": NOON, "revoked": datetime.max.replace(tzinfo=UTC)}
    SqlTenants(engine).add(Tenant("acme", created_at=NOON))
    assert keys.state(NOON).tenants == ("default", "acme")


def record(number: int, tenant: str = "acme", **changes: object) -> AuditRecord:
    change = Change(
        f"run.{number}", f"run/{number}", None, sha256(b"x"), "be\x00cause", {"bytes": number, "list": ["a"]}
    )
    made = AuditRecord(NOON + timedelta(minutes=number), tenant, "ci", "192.0.2.1", change, "trace", "ERR_X")
    return replace(made, **changes)  # type: ignore[arg-type]


def test_audit_records_come_back_as_they_were_added_newest_first(engine: Engine) -> None:
    log = SqlAudit(engine)
    added = [log.add(record(number)) for number in range(3)]
    assert log.list(["acme"]) == added[::-1]
    assert replace(added[0], id="") == record(0)


def test_a_tenant_sees_its_own_audit_records_alone(engine: Engine) -> None:
    log = SqlAudit(engine)
    for number, tenant in enumerate(("acme", "other", "")):
        log.add(record(number, tenant))
    assert [each.tenant for each in log.list(["acme"])] == ["acme"]
    assert log.list([]) == []
    assert [each.tenant for each in log.list(None)] == ["", "other", "acme"]


def test_pages_of_the_audit_log_meet_without_gap_or_overlap(engine: Engine) -> None:
    log = SqlAudit(engine)
    # Some of the same microsecond: the order is whole all the same.
    for number in range(7):
        log.add(record(number // 3))
    every = [each.id for each in log.list(None)]
    paged: list[str] = []
    while page := log.list(None, before=paged[-1] if paged else None, limit=2):
        paged += [each.id for each in page]
    assert (len(every), paged) == (7, every)


def test_the_audit_log_is_searched(engine: Engine) -> None:
    log = SqlAudit(engine)
    for number, action in enumerate(("client.created", "client_created", "client.rotated", "run.submitted")):
        log.add(record(number, actor=f"actor-{number % 2}", change=Change(action, f"thing/{number}")))

    def found(**which: object) -> list[str]:
        return [each.change.action for each in log.list(None, AuditFilter(**which))]  # type: ignore[arg-type]

    assert found(action="client.") == ["client.rotated", "client.created"]
    assert found(action="run.submitted") == ["run.submitted"]
    assert found(actor="actor-0") == ["client.rotated", "client.created"]
    assert found(target="thing/1") == ["client_created"]
    assert found(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=3)) == [
        "client.rotated", "client_created",
    ]  # fmt: skip


class Process:
    """One process of the service on a store: its own connections, its own directory, its own caches."""

    def __init__(self, place: Place, directory: Path, clock: Clock) -> None:
        engine = place.engine(SERVICE)
        self.tools = ClientTools(SqlClients(engine), SqlTenants(engine))
        self.keys, settings = SqlTokenKeys(engine), TokenSettings()
        signer = FileTokenSigner(directory, self.keys, settings, lambda: None)
        self.issuer = Issuer(self.tools.clients, self.tools.tenants, signer, settings, clock.now)
        self.access = Access(self.keys, JwsReader(), settings, clock.now, clock.monotonic)


def test_machines_with_one_store_take_each_others_tokens_and_see_revocations_within_seconds(
    place: Place, tmp_path: Path
) -> None:
    clock = Clock()
    one, two = (Process(place, tmp_path / name, clock) for name in ("one", "two"))
    made = manage_clients.create_client(
        one.tools, OPERATOR, Wanted("ci", None, ("default",), ("export:read",)), now=clock.at
    )
    secret = made.secret or ""
    tokens = [process.issuer.issue("ci", [secret]).token for process in (one, two)]
    for process in (one, two):
        assert [process.access.principal(token).client for token in tokens] == ["ci", "ci"]
    assert len(one.keys.list()) == 2
    manage_clients.revoke_client(two.tools, OPERATOR, "ci", now=clock.at)
    clock.move(timedelta(seconds=2.1))
    for process in (one, two):
        for token in tokens:
            with pytest.raises(BadToken, match="revoked"):
                process.access.principal(token)
        with pytest.raises(BadCredentials):
            process.issuer.issue("ci", [secret])


def test_processes_that_begin_at_once_on_one_directory_make_one_key(place: Place, tmp_path: Path) -> None:
    clock = Clock()
    processes = [Process(place, tmp_path / "keys", clock) for _ in range(4)]
    made = manage_clients.create_client(
        processes[0].tools, OPERATOR, Wanted("ci", None, ("default",), ("export:read",)), now=clock.at
    )
    with ThreadPoolExecutor(4) as pool:
        issued = list(pool.map(lambda process: process.issuer.issue("ci", [made.secret or ""]), processes))
    assert len(processes[0].keys.list()) == 1
    assert len(list((tmp_path / "keys").glob("*.pem"))) == 1
    assert all(processes[0].access.principal(each.token).client == "ci" for each in issued)
