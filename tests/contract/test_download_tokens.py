"""Download tokens: their rules, on each database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stellaops.adapters.sql.download_tokens import SqlDownloadTokens
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.authority.download_tokens import (
    PREFIX,
    BadDownloadToken,
    DownloadTokenChanged,
    DownloadTokenInvalid,
    DownloadTokenNotFound,
    DownloadTokenRevoked,
    Wanted,
    create_token,
    find_token,
    opened_by,
    revoke_token,
    rotate_token,
)
from tests.contract.stores import NOON, Place

DAY = timedelta(days=1)


@pytest.fixture
def tokens(place: Place) -> SqlDownloadTokens:
    return SqlDownloadTokens(place.engine(SERVICE))


def made(tokens: SqlDownloadTokens, **wanted: object) -> tuple[str, str]:
    shown = create_token(tokens, "acme", Wanted(**wanted), by="ci", now=NOON)  # type: ignore[arg-type]
    assert shown.text is not None
    return shown.token.id, shown.text


def test_a_token_opens_downloads_of_its_tenant_and_of_nobody_else(tokens: SqlDownloadTokens) -> None:
    _, text = made(tokens)
    principal = opened_by(tokens, text, now=NOON)
    assert principal.tenants == ("acme",)
    assert principal.scopes == {"export:download", "export:read"}
    assert not principal.operator
    assert principal.confined is not None
    assert principal.confined.admits("any-run", "any-profile")


def test_a_token_for_profiles_and_runs_admits_those_alone(tokens: SqlDownloadTokens) -> None:
    _, text = made(tokens, profiles=("trivy:db",), runs=("run-1",))
    confined = opened_by(tokens, text, now=NOON).confined
    assert confined is not None
    assert confined.admits("run-7", "trivy:db")
    assert confined.admits("run-1", "json:raw")
    assert not confined.admits("run-2", "json:raw")


def test_what_is_kept_is_no_secret(tokens: SqlDownloadTokens, place: Place) -> None:
    token_id, text = made(tokens)
    secret = text.removeprefix(f"{PREFIX}{token_id}.")
    assert len(secret) == 43
    stored = tokens.get(token_id)
    assert stored is not None
    assert secret not in repr(stored)
    with place.engine(SERVICE).connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM download_token").all()
    assert len(rows) == 1
    assert secret.encode() not in b"".join(
        bytes(part) for part in rows[0] if isinstance(part, bytes | memoryview)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace(".", ""),
        lambda text: f"{PREFIX}{'0' * 12}.{text.rpartition('.')[2]}",
        lambda text: text + "\n",
        lambda text: "",
        lambda text: "é" * 43,
    ],
)
def test_a_text_that_is_no_token_opens_nothing(change: object, tokens: SqlDownloadTokens) -> None:
    _, text = made(tokens)
    with pytest.raises(DownloadTokenInvalid, match="not known"):
        opened_by(tokens, change(text), now=NOON)  # type: ignore[operator]


def test_a_token_ends_when_its_time_is_over(tokens: SqlDownloadTokens) -> None:
    _, text = made(tokens, life=DAY)
    opened_by(tokens, text, now=NOON + DAY - timedelta(microseconds=1))
    with pytest.raises(DownloadTokenInvalid, match="over"):
        opened_by(tokens, text, now=NOON + DAY)


def test_both_secrets_open_in_the_overlap_of_a_rotation_and_then_the_later_one(
    tokens: SqlDownloadTokens,
) -> None:
    token_id, first = made(tokens, life=30 * DAY)
    later = NOON + 10 * DAY
    second = rotate_token(tokens, "acme", token_id, overlap=DAY, now=later).text or ""
    assert first != second
    for text in (first, second):
        opened_by(tokens, text, now=later + DAY / 2)
    with pytest.raises(DownloadTokenInvalid):
        opened_by(tokens, first, now=later + DAY)
    opened_by(tokens, second, now=later + 29 * DAY)
    with pytest.raises(DownloadTokenInvalid):
        opened_by(tokens, second, now=later + 30 * DAY)


def test_a_rotation_without_overlap_ends_the_earlier_secret_at_once(tokens: SqlDownloadTokens) -> None:
    token_id, first = made(tokens)
    second = rotate_token(tokens, "acme", token_id, overlap=timedelta(), now=NOON).text or ""
    with pytest.raises(DownloadTokenInvalid):
        opened_by(tokens, first, now=NOON)
    opened_by(tokens, second, now=NOON)


def test_a_rotation_never_makes_an_earlier_secret_live_longer(tokens: SqlDownloadTokens) -> None:
    token_id, first = made(tokens, life=DAY)
    rotate_token(tokens, "acme", token_id, overlap=20 * DAY, now=NOON + DAY / 2)
    with pytest.raises(DownloadTokenInvalid):
        opened_by(tokens, first, now=NOON + DAY)


def test_a_revoked_token_opens_nothing_and_stays_revoked(tokens: SqlDownloadTokens) -> None:
    token_id, text = made(tokens)
    before, after = revoke_token(tokens, "acme", token_id, reason="lost", now=NOON)
    assert (before.revoked_at, after.revoked_at, after.revocation_reason) == (None, NOON, "lost")
    with pytest.raises(DownloadTokenInvalid, match="revoked"):
        opened_by(tokens, text, now=NOON)
    with pytest.raises(DownloadTokenRevoked):
        rotate_token(tokens, "acme", token_id, now=NOON)
    assert revoke_token(tokens, "acme", token_id, reason="again", now=NOON + DAY)[1] == tokens.get(token_id)
    assert find_token(tokens, "acme", token_id).revocation_reason == "lost"


def test_when_a_secret_was_used_is_known_to_the_minute(tokens: SqlDownloadTokens) -> None:
    token_id, text = made(tokens)
    for seconds in (0, 30, 59, 61):
        opened_by(tokens, text, now=NOON + timedelta(seconds=seconds))
    found = tokens.get(token_id)
    assert found is not None
    assert found.secrets[0].used_at == NOON + timedelta(seconds=61)
    opened_by(tokens, text, now=NOON + timedelta(seconds=90))
    assert tokens.get(token_id) == found


def test_another_tenants_token_is_not_there(tokens: SqlDownloadTokens) -> None:
    token_id, _ = made(tokens)
    calls: tuple[Callable[[], object], ...] = (
        lambda: find_token(tokens, "other", token_id),
        lambda: rotate_token(tokens, "other", token_id, now=NOON),
        lambda: revoke_token(tokens, "other", token_id, now=NOON),
    )
    for call in calls:
        with pytest.raises(DownloadTokenNotFound):
            call()
    assert tokens.list("other") == []
    assert [each.id for each in tokens.list("acme")] == [token_id]


def test_of_two_changes_at_once_one_is_refused(tokens: SqlDownloadTokens) -> None:
    token_id, _ = made(tokens)
    stale = find_token(tokens, "acme", token_id)
    tokens.change(replace(stale, name="one"))
    with pytest.raises(DownloadTokenChanged):
        tokens.change(replace(stale, name="two"))


def test_the_same_request_again_makes_no_second_token_and_shows_no_second_secret(
    tokens: SqlDownloadTokens,
) -> None:
    wanted = Wanted(id="0" * 12)
    first = create_token(tokens, "acme", wanted, by="ci", now=NOON)
    again = create_token(tokens, "acme", wanted, by="ci", now=NOON)
    assert again.text is None
    assert again.token == first.token
    opened_by(tokens, first.text or "", now=NOON)


def test_what_a_token_cannot_be_is_told_whole(tokens: SqlDownloadTokens) -> None:
    wanted = Wanted(name="x\ny", profiles=("a b", ""), runs=("r",) * 101, life=366 * DAY)
    with pytest.raises(BadDownloadToken) as refused:
        create_token(tokens, "acme", wanted, by="ci", now=NOON)
    assert len(refused.value.details) == 5
    with pytest.raises(BadDownloadToken):
        rotate_token(tokens, "acme", made(tokens)[0], overlap=31 * DAY, now=NOON)
