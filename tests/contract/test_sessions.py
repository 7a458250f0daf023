"""Sessions of the console, as two processes on one store keep them, on each database."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from starlette.requests import Request

from stellaops.adapters.sql.authority import SqlClients, SqlTenants, SqlTokenKeys
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.errors import StoreFull
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.sql.session_schema import session_t
from stellaops.adapters.sql.sessions import SqlSessions
from stellaops.adapters.tokens.jws import JwsReader
from stellaops.adapters.tokens.signing import FileTokenSigner
from stellaops.authority.actors import OPERATOR
from stellaops.authority.check_tokens import Access
from stellaops.authority.issue_tokens import Issuer
from stellaops.authority.keep_sessions import Opened, SessionKeeper
from stellaops.authority.manage_clients import (
    ClientTools,
    Wanted,
    change_client,
    create_client,
    revoke_client,
    rotate_secret,
)
from stellaops.authority.sessions import SessionContent, SessionLimits, SessionRecord, id_of, sealed
from stellaops.authority.tokens import TokenSettings
from stellaops.console import keeping
from stellaops.console.keeping import Again, Keeping, ProviderAway, content_of
from stellaops.console.session import COOKIE, Session
from tests.contract.stores import Place
from tests.unit.authority.stores import Clock

MINUTE = timedelta(minutes=1)
LIMITS = SessionLimits(30 * MINUTE, 120 * MINUTE)


class Process:
    """One process of the service."""

    def __init__(self, place: Place, keys: Path, clock: Clock) -> None:
        self.engine = place.engine(SERVICE)
        self.tools = ClientTools(SqlClients(self.engine), SqlTenants(self.engine))
        token_keys, settings = SqlTokenKeys(self.engine), TokenSettings()
        signer = FileTokenSigner(keys, token_keys, settings, lambda: None)
        self.issuer = Issuer(self.tools.clients, self.tools.tenants, signer, settings, clock.now)
        self.access = Access(token_keys, JwsReader(), settings, clock.now, clock.monotonic)
        self.keeper = SessionKeeper(SqlSessions(self.engine), self.issuer, LIMITS, clock.now)


@dataclass
class House:
    """Two processes on one store, and a client."""

    clock: Clock
    one: Process
    two: Process
    secret: str

    def logged_in(self, **more: str) -> Opened:
        issued = self.one.issuer.issue("ci", [self.secret], tenant=more.get("granted"))
        return self.one.keeper.begin("ci", content_of(issued.token, "ci", **more))

    def used_for(self, found: Opened, minutes: int, step: int = 10) -> Opened | None:
        """The session after somebody has looked at a page each few minutes."""
        current: Opened | None = found
        for _ in range(0, minutes, step):
            self.clock.move(step * MINUTE)
            current = self.two.keeper.find(found.handle)
            if current is not None and self.two.keeper.wants_renewal(current):
                assert self.two.keeper.claim(current)
                current = self.two.keeper.renew(current)
            if current is None:
                return None
        return current

    @property
    def rows(self) -> int:
        with reading(self.one.engine) as connection:
            return int(connection.execute(select(func.count()).select_from(session_t)).scalar_one())


@pytest.fixture
def house(place: Place, tmp_path: Path) -> House:
    clock = Clock()
    one, two = (Process(place, tmp_path / "keys", clock) for _ in range(2))
    wanted = Wanted("ci", None, ("default",), ("export:read", "export:run"))
    made = create_client(one.tools, OPERATOR, wanted, now=clock.at)
    clock.move(MINUTE)
    return House(clock, one, two, made.secret or "")


def test_a_session_that_is_used_outlives_its_tokens_up_to_its_longest(house: House) -> None:
    found = house.logged_in()
    current = house.used_for(found, 110)
    assert current is not None
    assert current.content.token != found.content.token
    assert house.one.access.principal(current.content.token).client == "ci"
    assert house.used_for(found, 10) is None, "two hours are the longest"
    assert house.rows == 0


def test_a_session_that_nobody_uses_ends(house: House) -> None:
    found = house.logged_in()
    house.clock.move(29 * MINUTE)
    assert house.two.keeper.find(found.handle, used=False) is not None, "what a page asks by itself is no use"
    house.clock.move(MINUTE)
    assert house.two.keeper.find(found.handle) is None
    assert house.one.keeper.find(found.handle) is None


def test_a_session_that_is_used_every_few_seconds_goes_on_under_the_shortest_limit(house: House) -> None:
    house.one.keeper.limits = SessionLimits(MINUTE, 60 * MINUTE)
    found = house.logged_in()
    for _ in range(20):
        house.clock.move(timedelta(seconds=10))
        assert house.one.keeper.find(found.handle) is not None
    house.clock.move(MINUTE)
    assert house.one.keeper.find(found.handle) is None


def test_a_session_that_was_ended_is_over_in_every_process_at_once(house: House) -> None:
    found = house.logged_in()
    assert house.two.keeper.find(found.handle) is not None
    house.one.keeper.end(found.handle)
    assert house.two.keeper.find(found.handle) is None
    assert house.two.keeper.renew(found) is None, "not even by who was about to renew it"
    assert house.rows == 0


def test_the_store_opens_no_session_and_shows_no_token(house: House) -> None:
    found = house.logged_in(refresh="a-refresh-token", provider="oidc", subject="7")
    with reading(house.one.engine) as connection:
        row = connection.execute(select(session_t)).one()
    kept = repr(tuple(row)).encode() + bytes(row.sealed)
    for secret in (found.handle, found.content.token, "a-refresh-token", house.secret):
        assert secret.encode() not in kept
        assert secret not in repr(found)
    assert house.two.keeper.find(row.id) is None


def test_a_row_that_was_changed_or_moved_under_another_handle_is_no_session(house: House) -> None:
    found, other = house.logged_in(), house.logged_in()
    store = SqlSessions(house.one.engine)
    store.change(replace(found.record, sealed=found.record.sealed[:-1] + b"\0"), renewed=False)
    assert house.two.keeper.find(found.handle) is None
    store.change(replace(other.record, sealed=sealed(found.handle, found.content)), renewed=False)
    assert house.two.keeper.find(other.handle) is None


def test_of_many_that_renew_at_once_one_does_it(house: House) -> None:
    found = house.logged_in()
    house.clock.move(12 * MINUTE)
    keepers = [house.one.keeper, house.two.keeper] * 4
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda keeper: keeper.claim(found), keepers))
    assert claimed.count(True) == 1
    renewed = house.one.keeper.renew(found)
    assert renewed is not None
    assert not house.two.keeper.claim(found), "it was renewed meanwhile"
    assert house.two.keeper.claim(renewed), "and can be the next time"


def test_who_died_while_renewing_holds_nobody_up_for_long(house: House) -> None:
    found = house.logged_in()
    assert house.one.keeper.claim(found)
    assert not house.two.keeper.claim(found)
    house.clock.move(timedelta(seconds=31))
    assert house.two.keeper.claim(found)


def test_a_tenant_that_is_chosen_while_it_is_renewed_stays_and_so_does_the_claim(house: House) -> None:
    found = house.logged_in()
    assert house.one.keeper.claim(found)
    house.two.keeper.choose_tenant(found.handle, "other")
    current = house.two.keeper.find(found.handle)
    assert current is not None
    assert not house.two.keeper.claim(current)
    renewed = house.one.keeper.renew(found, refresh="next")
    assert renewed is not None
    assert (renewed.content.tenant, renewed.content.refresh) == ("other", "next")


def test_what_ends_a_clients_tokens_ends_its_sessions(house: House) -> None:
    narrowed = house.logged_in()
    change_client(house.one.tools, OPERATOR, "ci", Wanted(scopes=("export:read",)), now=house.clock.at)
    assert house.two.keeper.renew(narrowed) is None
    house.clock.move(MINUTE)
    again = house.logged_in()
    renewed = house.two.keeper.renew(again)
    assert renewed is not None
    assert house.two.access.principal(renewed.content.token).scopes == {"export:read"}
    revoke_client(house.one.tools, OPERATOR, "ci", now=house.clock.at)
    assert house.two.keeper.renew(again) is None
    assert house.rows == 0


def test_a_session_by_a_secret_ends_with_the_secret_and_one_by_a_provider_does_not(house: House) -> None:
    by_secret, by_provider = house.logged_in(), house.logged_in(provider="oidc", refresh="r")
    rotate_secret(house.one.tools, OPERATOR, "ci", now=house.clock.at + MINUTE, overlap=15 * MINUTE)
    house.clock.move(10 * MINUTE)
    first = house.two.keeper.renew(by_secret)
    assert first is not None
    house.clock.move(10 * MINUTE)
    assert house.two.keeper.renew(first) is None
    assert house.two.keeper.renew(by_provider) is not None


def test_a_login_for_one_tenant_stays_one_for_it(house: House) -> None:
    change_client(house.one.tools, OPERATOR, "ci", Wanted(tenants=("*",)), now=house.clock.at)
    house.clock.move(MINUTE)
    renewed = house.two.keeper.renew(house.logged_in(granted="default"))
    assert renewed is not None
    assert not house.two.access.principal(renewed.content.token).operator


def test_a_login_forgets_the_sessions_that_are_over(house: House) -> None:
    idle = house.logged_in()
    house.clock.move(31 * MINUTE)
    kept = house.logged_in()
    assert house.rows == 1
    assert house.one.keeper.find(kept.handle) is not None
    assert SqlSessions(house.one.engine).get(id_of(idle.handle)) is None


class Slow:
    """A provider that takes its time."""

    def __init__(self) -> None:
        self.asked = 0

    async def again(self, content: SessionContent) -> Again:
        self.asked += 1
        await asyncio.sleep(30)
        return Again(None, "next")


def _asked(keeping: Keeping, found: Opened) -> Session | None:
    headers = [(b"cookie", f"{COOKIE}={found.handle}".encode())]
    return asyncio.run(keeping.session(Request({"type": "http", "headers": headers})))


def test_a_provider_that_is_slower_than_a_claim_lasts_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_ANSWER", 0.05)
    monkeypatch.setattr(keeping, "_PAUSE", 0.0)
    slow = Slow()
    one = Keeping(house.one.keeper, {"oidc": slow})
    found = house.logged_in(provider="oidc", refresh="r", subject="7")
    house.clock.move(12 * MINUTE)
    session = _asked(one, found)
    assert session is not None, "the token still holds"
    assert session.token == found.content.token
    house.clock.move(10 * MINUTE)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(ProviderAway):
            _asked(one, found)
    assert time.monotonic() - began < 20
    assert slow.asked == 2, "who waits does not ask too while the claim holds"


def test_who_waits_for_a_renewal_that_nobody_makes_makes_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_PAUSE", 0.01)
    found = house.logged_in()
    house.clock.move(20 * MINUTE)
    claim = house.one.keeper.claim

    def beaten(current: Opened) -> bool:
        """The tenant is changed between the look at the session and the claim."""
        monkeypatch.setattr(house.one.keeper, "claim", claim)
        house.two.keeper.choose_tenant(found.handle, "other")
        return claim(current)

    monkeypatch.setattr(house.one.keeper, "claim", beaten)
    session = _asked(Keeping(house.one.keeper, {}), found)
    assert session is not None
    assert session.tenant == "other"
    assert session.token != found.content.token


class Full(SqlSessions):
    """A store that takes nothing more."""

    def note_use(self, session_id: str, at: datetime) -> None:
        raise StoreFull("no room")

    def claim(self, record: SessionRecord, now: datetime, until: datetime) -> bool:
        raise StoreFull("no room")


def test_a_full_disk_keeps_nobody_from_looking_while_the_token_holds(house: House) -> None:
    full = SessionKeeper(Full(house.one.engine), house.one.issuer, LIMITS, house.clock.now)
    found = house.logged_in()
    for _ in range(14):
        session = _asked(Keeping(full, {}), found)
        assert session is not None
        assert session.token == found.content.token
        house.clock.move(MINUTE)
    house.clock.move(MINUTE)
    with pytest.raises(StoreFull):
        _asked(Keeping(full, {}), found)
