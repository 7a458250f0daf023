"""Requests to a server: tokens, tenants, repetitions, and its refusals as the errors that they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from stellaops.api.frame.problems import problem as rendered
from stellaops.api.frame.problems import status_of
from stellaops.client.connection import Connection, path_of
from stellaops.client.errors import ServerAnswerUnusable, ServerUnreachable
from stellaops.client.problems import error_of, error_of_run, known_errors, told
from stellaops.core.errors import InvalidInput, NotAuthenticated, NotFound, QuotaExceeded, StellaError
from stellaops.core.exit_codes import EXIT_CODES, UNEXPECTED, exit_code
from stellaops.exports.errors import ERROR_CODES
from tests.unit.client.serving import Asked, Said, connection, problem, serving
from tools import docs


def in_turn(*answers: Said) -> Iterator[Said]:
    return iter(answers)


def code_of(kind: type[StellaError]) -> int:
    return next((code for category, code, _ in EXIT_CODES if issubclass(kind, category)), UNEXPECTED)


def test_a_request_has_the_token_the_tenant_and_the_query() -> None:
    with serving(lambda asked: Said(body=b'{"a": 1}')) as server:
        asked = connection(server.url, tenant="acme")
        assert asked.get("/x", {"q": "a b&c", "flag": True, "no": None, "off": False}) == {"a": 1}
    (request,) = server.asked
    assert request.path == "/x?q=a+b%26c&flag=true"
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["x-stella-tenant"] == "acme"


def test_a_name_that_someone_chose_cannot_leave_its_place_in_the_path() -> None:
    assert path_of("/api/x", "../../authority?a#b") == "/api/x/..%2F..%2Fauthority%3Fa%23b"
    assert path_of("/api/x", "trivy:db", "clone") == "/api/x/trivy:db/clone"


@pytest.mark.parametrize("status", [502, 503, 504, 429])
def test_a_safe_request_is_repeated_while_the_server_is_away_or_busy(status: int) -> None:
    answers, pauses = in_turn(Said(status), problem(status, "ERR_X"), Said(body=b"[]")), list[float]()
    with serving(lambda asked: next(answers)) as server:
        assert connection(server.url, pauses).get("/x") == []
    assert len(server.asked) == 3
    assert pauses == sorted(pauses)


def test_a_server_that_stays_away_is_told_after_a_few_attempts() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url, pauses = f"http://127.0.0.1:{nobody.getsockname()[1]}", list[float]()
        with pytest.raises(ServerUnreachable, match="refused") as raised:
            connection(url, pauses).get("/x")
    assert exit_code(raised.value) == 10
    assert len(pauses) == 3


def test_a_change_is_sent_again_under_the_same_key_and_only_where_the_server_did_not_judge_it() -> None:
    answers = in_turn(
        Said(502), Said(body=b"{", cut=0), problem(409, "ERR_IDEMPOTENCY_IN_PROGRESS"), Said(202)
    )
    with serving(lambda asked: next(answers)) as server:
        assert connection(server.url).change("POST", "/x", {"a": 1}) == {}
    keys = {each.headers["idempotency-key"] for each in server.asked}
    assert (len(server.asked), len(keys)) == (4, 1)
    assert {each.body for each in server.asked} == {b'{"a":1}'}
    for refusal in (problem(503, "ERR_EXPORT_SIGNING"), problem(429, "ERR_EXPORT_QUOTA")):
        with serving(lambda asked, refusal=refusal: refusal) as server, pytest.raises(StellaError):  # type: ignore[misc]
            connection(server.url).change("POST", "/x")
        assert len(server.asked) == 1


def test_a_server_that_goes_away_in_the_middle_is_waited_for_longer_than_one_that_is_not_there() -> None:
    answers, pauses = in_turn(*[Said(body=b"{}", cut=0)] * 7, Said()), list[float]()
    with serving(lambda asked: next(answers)) as server:
        assert connection(server.url, pauses).change("POST", "/x") == {}
    assert len({each.headers["idempotency-key"] for each in server.asked}) == 1
    assert 20 < sum(pauses) < 120


def test_two_changes_have_two_keys() -> None:
    with serving(lambda asked: Said()) as server:
        for _ in range(2):
            connection(server.url).change("POST", "/x")
    assert len({each.headers["idempotency-key"] for each in server.asked}) == 2


def test_a_token_that_is_over_is_renewed_once() -> None:
    def answer(asked: Asked) -> Said:
        return Said() if asked.headers["authorization"] == "Bearer token-2" else problem(401, "ERR_TOKEN")

    with serving(answer) as server:
        assert connection(server.url).get("/x") == {}
    with serving(lambda asked: problem(401, "ERR_NOT_AUTHENTICATED")) as server:
        with pytest.raises(NotAuthenticated):
            connection(server.url).get("/x")
        assert len(server.asked) == 2


def test_a_token_that_was_renewed_is_kept_for_the_attempts_after_it() -> None:
    answers = in_turn(problem(401, "ERR_TOKEN"), Said(503), Said(503), Said())
    with serving(lambda asked: next(answers)) as server:
        assert connection(server.url).get("/x") == {}
    assert [each.headers["authorization"][-1] for each in server.asked] == ["1", "2", "2", "2"]


def test_a_redirect_is_not_followed_for_the_token_would_go_there() -> None:
    with serving(lambda asked: Said(302, headers={"location": "http://127.0.0.1:1/"})) as server:
        with pytest.raises(ServerAnswerUnusable, match="redirect"):
            connection(server.url).get("/x")
        with pytest.raises(StellaError), connection(server.url).open("GET", "/x", {}):
            pass


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[1]", b'{"items": 3}', b'{"items": [1]}'])
def test_an_answer_of_no_use_is_an_error_of_ours(body: bytes) -> None:
    with serving(lambda asked: Said(body=body)) as server, pytest.raises(ServerAnswerUnusable):
        list(connection(server.url).pages("/x"))


def test_pages_are_read_by_their_cursors_and_not_beyond_the_limit() -> None:
    def answer(asked: Asked) -> Said:
        last = "cursor=abc" in asked.path
        return Said(
            body=b'{"items": [{"n": 3}]}' if last else b'{"items": [{"n": 1}, {"n": 2}], "next": "abc"}'
        )

    with serving(answer) as server:
        asked: Connection = connection(server.url)
        assert [each["n"] for each in asked.pages("/x")] == [1, 2, 3]
        assert [each["n"] for each in asked.pages("/x", limit=1)] == [1]
    assert server.paths() == ["/x", "/x?cursor=abc", "/x?limit=1"]


def test_every_error_of_the_product_comes_back_with_its_exit_code() -> None:
    docs.load_everything()
    known = [each for each in known_errors().items() if each[1].__module__.startswith("stellaops.")]
    assert len(known) > 100
    for code, kind in known:
        status = status_of(kind)
        sent = rendered(told(code, "what", "hint", ("a", "b"), status), "trace")
        found = error_of(sent.status_code, bytes(sent.body), "GET /x")
        assert (found.code, found.what, found.advice, found.details) == (code, "what", "hint", ("a", "b"))
        assert exit_code(found) == code_of(kind), code


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 3), (403, 3), (404, 4), (410, 5), (422, 6), (429, 10), (500, 1), (503, 10), (507, 5)],
)
def test_an_error_of_a_newer_server_goes_by_its_status(status: int, code: int) -> None:
    found = error_of(status, problem(status, "ERR_OF_TOMORROW", hint="Do it.").body, "GET /x")
    assert (exit_code(found), found.code, found.advice) == (code, "ERR_OF_TOMORROW", "Do it.")


def test_an_answer_that_is_no_problem_document_names_its_status() -> None:
    assert "404" in error_of(404, b"<html>not here</html>", "GET /x").what
    assert exit_code(error_of(502, b"", "GET /x")) == 10
    assert not isinstance(error_of(404, b"{}", "GET /x"), NotFound)


@pytest.mark.parametrize(
    ("word", "code", "error"),
    [
        ("empty", 2, "ERR_EXPORT_EMPTY"), ("policy", 2, ""), ("unsupported_schema", 2, "ERR_EXPORT_UNSUPPORTED_SCHEMA"),
        ("base_missing", 5, ""), ("verify", 6, "ERR_EXPORT_VERIFY"), ("quota", 10, "ERR_EXPORT_QUOTA"),
        ("signing", 10, "ERR_EXPORT_SIGNING"), ("distribution", 10, "ERR_EXPORT_DISTRIBUTION"),
        ("timeout", 10, "ERR_EXPORT_TIMEOUT"), ("adapter", 1, "ERR_EXPORT_ADAPTER"), ("internal", 1, "ERR_INTERNAL"),
        ("of tomorrow", 1, "ERR_INTERNAL"),
    ],
)  # fmt: skip
def test_a_failed_run_exits_by_its_word(word: str, code: int, error: str) -> None:
    run = {"runId": "run-1", "status": "failed", "errorCode": word, "error": "so it went"}
    found = error_of_run(run, ERROR_CODES)
    assert found is not None
    assert exit_code(found) == code
    assert found.code == error or not error
    assert "so it went" in found.what


def test_a_held_run_is_worth_retrying_and_a_good_one_no_error() -> None:
    held = error_of_run({"runId": "r", "status": "held", "held": ["too small"]}, ERROR_CODES)
    assert held is not None
    assert (exit_code(held), held.details) == (10, ("too small",))
    assert error_of_run({"runId": "r", "status": "succeeded"}, ERROR_CODES) is None
    assert isinstance(told("ERR_EXPORT_QUOTA", "x"), QuotaExceeded)
    assert isinstance(told("ERR_CONFLICT", "x"), InvalidInput)
