"""Who is let in: passwords and access tokens, remembered for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import pytest

from stellaops.adapters.files import htpasswd
from stellaops.adapters.files.htpasswd import Credential
from stellaops.adapters.settings.mirrors import Domain
from stellaops.authority.access import Principal
from stellaops.authority.tokens import BadToken
from stellaops.core.errors import DependencyFailed
from stellaops.gateway.doorman import Answer, Caller, Doorman, Refusal
from tests.support.gateways import basic

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DOMAINS = {"primary": Domain("primary", "P", "acme"), "community": Domain("community", "C")}
READ = frozenset(("concelier.mirror.read",))
PRINCIPALS = {
    "good": Principal("ci", ("acme",), READ),
    "foreign": Principal("ci", ("other",), READ),
    "unscoped": Principal("ci", ("acme",), frozenset(("excititor.mirror.read",))),
    "operator": Principal("root", ("x",), READ, operator=True),
}
HASH = bcrypt.hashpw(b"correct-horse", bcrypt.gensalt(4))


class Tokens:
    """Knows some tokens."""

    asked = 0

    def principal(self, token: str) -> tuple[Principal, datetime]:
        self.asked += 1
        if token.startswith("away"):
            raise DependencyFailed("away")
        if token not in PRINCIPALS:
            raise BadToken("no")
        return PRINCIPALS[token], NOW + timedelta(seconds=20)


def _users(**more: datetime) -> dict[str, dict[str, Credential]]:
    found = {"edge": Credential("edge", HASH)}
    found |= {name: Credential(name, HASH, expires=at) for name, at in more.items()}
    return {"primary": found}


def _check(
    doorman: Doorman,
    header: str,
    domain: str = "primary",
    side: str = "concelier",
    address: str = "192.0.2.1",
) -> Answer:
    return asyncio.run(doorman.check(domain, side, header.encode(), address))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Passwords that bcrypt has looked at."""
    seen: list[bytes] = []
    holds = htpasswd.holds

    def counted(password: bytes, credential: Credential | None) -> bool:
        seen.append(password)
        return holds(password, credential)

    monkeypatch.setattr(htpasswd, "holds", counted)
    return seen


def _doorman(now: Callable[[], datetime] = lambda: NOW, **more: datetime) -> Doorman:
    return Doorman(DOMAINS, _users(**more), Tokens(), now)


def test_a_password_is_checked_once_and_remembered(checks: list[bytes]) -> None:
    doorman = _doorman()
    assert [_check(doorman, basic("edge")) for _ in range(3)] == [Caller("edge")] * 3
    assert len(checks) == 1
    assert doorman.known("primary", "concelier", basic("edge").encode()) == Caller("edge")
    assert doorman.known("community", "concelier", basic("edge").encode()) is None


def test_many_who_come_at_once_with_one_password_cause_one_check(checks: list[bytes]) -> None:
    doorman = _doorman()

    async def all_of_them() -> list[Answer]:
        header = basic("edge").encode()
        asks: list[Coroutine[Any, Any, Answer]] = [
            doorman.check("primary", "concelier", header, "a") for _ in range(50)
        ]
        return await asyncio.gather(*asks)

    assert set(asyncio.run(all_of_them())) == {Caller("edge")}
    assert len(checks) == 1


def test_a_wrong_password_is_remembered_too_for_less_long(
    checks: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    doorman, clock = _doorman(), [100.0]
    monkeypatch.setattr("stellaops.gateway.doorman.time.monotonic", lambda: clock[0])
    for seconds, wrong, right in ((0, 1, 1), (4, 1, 1), (6, 2, 1), (61, 3, 2)):
        clock[0] = 100.0 + seconds
        assert _check(doorman, basic("edge", "wrong")) == Refusal(401, "wrong")
        assert _check(doorman, basic("edge")) == Caller("edge")
        assert (checks.count(b"wrong"), checks.count(b"correct-horse")) == (wrong, right), seconds


def test_another_file_of_users_is_the_end_of_what_was_remembered() -> None:
    doorman = _doorman()
    assert _check(doorman, basic("edge")) == Caller("edge")
    doorman.reload(DOMAINS, {"primary": {}})
    assert _check(doorman, basic("edge")) == Refusal(401, "wrong")


def test_a_credential_ends_when_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [NOW], [100.0]
    monkeypatch.setattr("stellaops.gateway.doorman.time.monotonic", lambda: clock[0])
    doorman = _doorman(lambda: now[0], soon=NOW + timedelta(seconds=10), late=NOW)
    assert _check(doorman, basic("late")) == Refusal(401, "expired")
    assert _check(doorman, basic("soon")) == Caller("soon")
    now[0] += timedelta(seconds=11)
    clock[0] += 11  # less than what good answers hold for else
    assert _check(doorman, basic("soon")) == Refusal(401, "expired")


@pytest.mark.parametrize(
    ("token", "side", "answer"),
    [
        ("good", "concelier", Caller("token:ci")), ("good", "excititor", Refusal(403, "scope")),
        ("unscoped", "concelier", Refusal(403, "scope")), ("unscoped", "", Caller("token:ci")),
        ("foreign", "concelier", Refusal(403, "tenant")), ("operator", "concelier", Caller("token:root")),
        ("forged", "concelier", Refusal(401, "wrong")), ("away", "concelier", Refusal(503, "authority", 5)),
    ],
)  # fmt: skip
def test_access_tokens_open_the_domains_of_their_tenants(token: str, side: str, answer: Answer) -> None:
    assert _check(_doorman(), f"Bearer {token}", side=side) == answer


def test_a_token_is_remembered_until_it_ends_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [NOW], [100.0]
    monkeypatch.setattr("stellaops.gateway.doorman.time.monotonic", lambda: clock[0])
    tokens = Tokens()
    doorman = Doorman(DOMAINS, _users(), tokens, lambda: now[0])
    for seconds, asked in ((0, 1), (19, 1), (21, 2)):
        now[0], clock[0] = NOW + timedelta(seconds=seconds), 100.0 + seconds
        assert _check(doorman, "Bearer good") == Caller("token:ci")
        assert tokens.asked == asked, seconds


def test_passwords_do_not_wait_for_an_authority_that_does_not_answer() -> None:
    held = threading.Event()

    class Hanging(Tokens):
        def principal(self, token: str) -> tuple[Principal, datetime]:
            held.wait(30)
            return super().principal(token)

    async def ask(doorman: Doorman) -> Answer:
        hanging = [
            asyncio.create_task(doorman.check("primary", "concelier", f"Bearer good{n}".encode(), "a"))
            for n in range(5)
        ]
        await asyncio.sleep(0.05)
        try:
            return await asyncio.wait_for(
                doorman.check("primary", "concelier", basic("edge").encode(), "a"), 20
            )
        finally:
            held.set()
            await asyncio.gather(*hanging)

    assert asyncio.run(ask(Doorman(DOMAINS, _users(), Hanging(), lambda: NOW))) == Caller("edge")


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !", "Basic ZWRnZQ==", "Basic /w==", "Digest x", "Bearer", "x" * 50_000, "basic\tx"],
)
def test_other_headers_open_nothing(header: str) -> None:
    assert _check(_doorman(), header) == Refusal(401, "wrong")


def test_who_guesses_is_slowed_down_and_locks_nobody_else_out() -> None:
    doorman = _doorman()
    answers = [_check(doorman, basic("edge", f"guess {n}"), address="192.0.2.9") for n in range(15)]
    assert Refusal(401, "wrong") in answers
    last = answers[-1]
    assert isinstance(last, Refusal)
    assert last.status == 429
    assert last.retry_after > 0
    assert _check(doorman, basic("edge"), address="192.0.2.10") == Caller("edge")
