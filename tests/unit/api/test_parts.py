"""Parts of the frame that need no service: routes, depth, rates, ranges, cursors, merge patches, log lines."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from stellaops.adapters.telemetry import logs
from stellaops.api.frame import limits
from stellaops.api.frame.answers import matches
from stellaops.api.frame.errors import InvalidRequest, RequestRateExceeded
from stellaops.api.frame.limits import Rates, check_depth
from stellaops.api.frame.problems import status_of
from stellaops.api.frame.routing import Routes
from stellaops.api.operation import Call, Operation
from stellaops.api.paging import cursor_of, place_of
from stellaops.api.profiles import _merged
from stellaops.api.ranges import RangeNotSatisfiable, wanted_range
from stellaops.core.allowances import Allowance, Lent, OwnLeases
from stellaops.core.errors import DependencyFailed, InvalidInput, NotAuthenticated, NotFound, StellaError
from stellaops.exports.errors import BundleGone, RunQuotaExceeded
from stellaops.kit.disk import NoRoom


def _answer(call: Call) -> Response:
    return Response()


def _routes(*paths: str) -> Routes:
    return Routes([Operation(path, "GET", path, "", _answer) for path in paths])


@pytest.mark.parametrize(
    ("path", "found", "values"),
    [
        ("/runs", "/runs", {}),
        ("/runs/r1", "/runs/{id}", {"id": "r1"}),
        ("/runs/latest:json:raw", "/runs/{id}", {"id": "latest:json:raw"}),
        ("/runs/new", "/runs/new", {}),
        ("/runs/new/events", "/runs/{id}/events", {"id": "new"}),
        ("/runs/r1/files/a", "/runs/{id}/files/{path:path}", {"id": "r1", "path": "a"}),
        ("/runs/r1/files/a/b//c", "/runs/{id}/files/{path:path}", {"id": "r1", "path": "a/b//c"}),
        ("/runs/r1/files", "/runs/{id}/files", {"id": "r1"}),
        ("/runs/", None, {}),
        ("/runs/r1/files/", None, {}),
        ("/runs/r1/nothing", None, {}),
        ("/", None, {}),
        ("", None, {}),
        ("//runs", None, {}),
    ],
)
def test_a_path_leads_to_the_nearest_route(path: str, found: str | None, values: dict[str, str]) -> None:
    routes = _routes(
        "/runs",
        "/runs/new",
        "/runs/{id}",
        "/runs/{id}/events",
        "/runs/{id}/files",
        "/runs/{id}/files/{path:path}",
    )
    got = routes.find(path)
    assert (got.operations["GET"].id if got else None) == found
    assert (got.path if got else {}) == values


def test_a_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="two operations"):
        _routes("/a", "/a")
    twice = [Operation(name, "GET", "/a", "", _answer) for name in ("one", "two")]
    with pytest.raises(ValueError, match="stands twice"):
        Routes(twice)
    with pytest.raises(ValueError, match="the parameter is called"):
        _routes("/a/{id}", "/a/{name}/b")


_nested: st.SearchStrategy[object] = st.recursive(
    st.none() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(_nested)
def test_depth_is_what_a_parser_finds(value: object) -> None:
    def depth(found: object) -> int:
        inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    data, true = json.dumps(value, ensure_ascii=False).encode(), depth(value)
    check_depth(data, true)
    if true:
        with pytest.raises(InvalidRequest):
            check_depth(data, true - 1)


async def _six_and_no_more(rates: Rates) -> RequestRateExceeded:
    for _ in range(6):
        await rates.take("one")
    with pytest.raises(RequestRateExceeded) as raised:
        await rates.take("one")
    await rates.take("two")
    return raised.value


def test_requests_are_counted_for_each_caller_and_a_refusal_says_when_to_come_again() -> None:
    found = asyncio.run(_six_and_no_more(Rates(60, OwnLeases(lambda: 0.0))))
    assert (found.limit, found.remaining, found.reset) == (60, 0, 1)


class Stuck(OwnLeases):
    """Leases in a store that somebody has locked."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.free, self.asked = threading.Event(), 0

    def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
        self.asked += 1
        self.free.wait(30)
        return super().lend(wanted, allowance)


def test_requests_do_not_wait_for_a_store_that_somebody_has_locked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "_PATIENCE", 0.05)
    stuck = Stuck()
    rates = Rates(60, stuck)
    began = time.monotonic()
    try:
        found = asyncio.run(_six_and_no_more(rates))
    finally:
        stuck.free.set()
    assert time.monotonic() - began < 10
    assert (found.limit, stuck.asked) == (60, 1), "it is not asked again for a while"
    assert "not shared" in caplog.text


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40))
def test_a_range_is_within_the_file(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    try:
        found = wanted_range(_request({"range": f"bytes={first}-{last}"}), size, '"x"')
    except RangeNotSatisfiable:
        assert first >= size
        return
    if last < first:
        assert found is None
    else:
        assert found is not None
        assert content[slice(*found)] == content[first : last + 1] != b""


def _request(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw})


@given(st.lists(st.text(max_size=10) | st.integers(0, 2**60), min_size=1, max_size=3))
def test_a_cursor_is_the_place_it_was_made_of(place: list[str | int]) -> None:
    cursor = cursor_of(*place)
    assert place_of(cursor, form=list[str | int]) == place
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=40))
def test_any_other_text_is_no_cursor(text: str) -> None:
    try:
        place = place_of(text, form=tuple[int, str])
    except InvalidRequest:
        return
    assert cursor_of(*place).rstrip("=") == text.rstrip("=") or place  # the same place spelt in another way


def test_merge_patches_are_those_of_the_standard() -> None:
    cases = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]  # the examples of RFC 7396, appendix A, whose documents are objects
    for whole, patch, wanted in cases:
        assert _merged(whole, patch) == wanted


def test_entity_tags_are_compared_weakly() -> None:
    assert matches('"a"', 'W/"a"')
    assert matches('"a"', '"b" , "a"')
    assert matches('"a"', "*")
    assert not matches('"a"', '"b"')
    assert not matches('"a"', None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StellaError("…"), 500),
        (InvalidInput("…"), 400),
        (NotAuthenticated("…"), 401),
        (NotFound("…"), 404),
        (BundleGone("…"), 410),
        (NoRoom("…"), 507),
        (RunQuotaExceeded("…", limit=2), 429),
        (DependencyFailed("…"), 503),
    ],
)
def test_the_category_of_an_error_decides_its_status(error: StellaError, status: int) -> None:
    assert status_of(error) == status_of(type(error)) == status


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    kept, level, out = root.handlers[:], root.level, io.StringIO()
    logs.configure("info", out)
    yield out
    root.handlers[:], root.level = kept, level


def test_a_log_is_one_line_of_json_whatever_is_in_it(lines: io.StringIO) -> None:
    log = logging.getLogger("stellaops.test")
    log.info(
        "two\nlines", extra={"event": "run.submitted", "runId": "run-1", "tenant": "", "errorCode": None}
    )
    log.debug("too quiet")
    try:
        int("why")
    except ValueError:
        log.exception("broken", extra={"place": object})
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info", "logger": "stellaops.test", "message": "two\nlines", "event": "run.submitted",
        "runId": "run-1",
    }  # fmt: skip
    assert second["level"] == "error"
    assert "ValueError: invalid literal" in second["trace"]
