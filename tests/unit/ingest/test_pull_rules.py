"""The pure rules of pulls: when to try again, when a source is due, what definitions may say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.core.egress import BadUrl, SchemeRefused
from stellaops.core.errors import StellaError
from stellaops.ingest import pull_backoff
from stellaops.ingest.import_documents import BadSourceName
from stellaops.ingest.layouts.interface import Answer, Ask, BadDefinition, ListingUnusable, Situation
from stellaops.ingest.layouts.registry import LAYOUTS
from stellaops.ingest.manage_sources import check_definition, due_at
from stellaops.ingest.pull_backoff import (
    BadSchedule,
    duration,
    next_due,
    pause_after,
    retry_after,
    wait_before,
)
from stellaops.ingest.pull_model import Authentication, Definition, PullState
from stellaops.ingest.source_definitions import DEFINITIONS

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)  # a Sunday


@given(st.integers(1, 40), st.floats(0, 0.999), st.none() | st.floats(0, 1e6))
def test_a_wait_grows_has_an_end_and_is_never_shorter_than_asked_for(
    attempt: int, chance: float, asked: float | None
) -> None:
    wait = wait_before(attempt, asked, chance)
    assert wait >= (asked or 0)
    assert wait <= max(pull_backoff.LONGEST_WAIT, asked or 0)
    assert wait_before(attempt + 1, None, chance) >= wait_before(attempt, None, chance)


@given(st.integers(1, 10_000), st.floats(0, 0.999), st.none() | st.floats(0, 1e12))
def test_a_rest_has_an_end_whatever_a_server_asks_for(
    failures: int, chance: float, asked: float | None
) -> None:
    assert timedelta(seconds=45) <= pause_after(failures, asked, chance) <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("17", 17), ("0", 0), ("1.5", 1.5), ("Sun, 01 Nov 2026 12:01:00 GMT", 60), ("Sun, 01 Nov 2026 11:00:00 GMT", 0),
     ("soon", None), ("", None), ("-5", None), ("129.163µs", None)],
)  # fmt: skip
def test_what_a_server_wishes_is_read_as_seconds_or_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(text, NOON) == seconds


@pytest.mark.parametrize(
    ("every", "due"),
    [
        ("6h", NOON + timedelta(hours=6)),
        ("30m", NOON + timedelta(minutes=30)),
        ("0 * * * *", NOON + timedelta(hours=1)),
        ("*/15 * * * *", NOON + timedelta(minutes=15)),
        ("30 6 * * *", datetime(2026, 11, 2, 6, 30, tzinfo=UTC)),
        ("0 3 * * 1-5", datetime(2026, 11, 2, 3, tzinfo=UTC)),
        ("0 3 * * 7", datetime(2026, 11, 8, 3, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 15 * 3", datetime(2026, 11, 4, tzinfo=UTC)),
    ],
)
def test_a_source_is_due_by_its_cadence(every: str, due: datetime) -> None:
    assert next_due(every, NOON, NOON) == due
    source = Definition("x", "http-file", "https://example.org/x", every=every, enabled=True)
    assert due_at(source, PullState(started_at=NOON), NOON) == due
    assert due_at(msgspec.structs.replace(source, enabled=False), PullState(started_at=NOON), NOON) is None
    assert due_at(source, PullState(started_at=NOON, next_attempt_at=NOON), NOON) == NOON


@pytest.mark.parametrize(
    "every", ["6", "0h", "h", "6 hours", "* * *", "60 * * * *", "* * * * 8", "a b c d e", "0 0 31 2 *"]
)
def test_what_is_no_cadence_is_told(every: str) -> None:
    with pytest.raises(BadSchedule):
        next_due(every, NOON, NOON)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_an_error_of_ours(text: str) -> None:
    try:
        assert duration(text) > timedelta(0)
    except BadSchedule:
        return


# ---- definitions


@pytest.mark.parametrize("definition", DEFINITIONS, ids=[each.name for each in DEFINITIONS])
def test_every_public_source_can_be_planned_and_says_its_terms(definition: Definition) -> None:
    LAYOUTS[definition.layout].check(definition)
    check_definition(msgspec.structs.replace(definition, feed=""))
    assert definition.url.startswith("https://")
    assert definition.licence
    assert definition.attribution
    assert (definition.tried, definition.enabled, definition.built_in) == (False, False, True)
    assert duration(definition.every) >= timedelta(hours=1)


def test_no_public_source_is_defined_twice() -> None:
    assert len({each.name for each in DEFINITIONS}) == len(DEFINITIONS)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"name": "a/b"}, BadSourceName),
        ({"url": "https://u:p@example.org/x"}, BadUrl),
        ({"url": "ftp://example.org/x"}, SchemeRefused),
        ({"url": "https://example.org/x#y"}, BadDefinition),
        ({"layout": "carrier-pigeon"}, BadDefinition),
        ({"feed": "no-such"}, BadDefinition),
        ({"database": "no-such"}, BadDefinition),
        ({"options": {"no-such": "x"}}, BadDefinition),
        ({"options": {"files": [1]}}, BadDefinition),
        ({"options": {"files": ["a/x.json", "a/x.json"]}}, BadDefinition),
        ({"url": "https://example.org/"}, BadDefinition),
        ({"layout": "http-directory"}, BadDefinition),
        ({"layout": "osv-bucket"}, BadDefinition),
        ({"layout": "s3", "url": "https://example.org/"}, BadDefinition),
        ({"every": "often"}, BadSchedule),
        ({"full_every": ""}, BadSchedule),
        ({"authentication": Authentication("basic", "relative")}, BadDefinition),
        ({"authentication": Authentication("smile", "/run/secrets/x")}, BadDefinition),
    ],
)
def test_a_definition_that_cannot_work_is_refused(wrong: dict[str, object], error: type[StellaError]) -> None:
    sound = Definition("x", "http-file", "https://example.org/x.json")
    check_definition(sound)
    with pytest.raises(error):
        check_definition(msgspec.structs.replace(sound, **wrong))


# ---- listings


def plan_of(definition: Definition, content: bytes) -> set[str]:
    planning = LAYOUTS[definition.layout].plan(Situation(definition))
    asked = next(planning)
    assert isinstance(asked, Ask)
    try:
        planning.send(Answer(content, asked.url, unchanged=False, missing=False, fetched_at=NOON))
    except StopIteration as done:
        return {want.url for want in done.value.wants}
    raise ListingUnusable("asked for more")


LISTED = {
    "http-directory": Definition("x", "http-directory", "https://example.org/feed/"),
    "s3": Definition("x", "s3", "https://example.org/bucket/prefix/"),
    "osv-bucket": Definition("x", "osv-bucket", "https://example.org/osv/", options={"ecosystems": ["npm"]}),
}


@pytest.mark.parametrize("layout", sorted(LISTED))
@given(
    content=st.binary(max_size=200)
    | st.sampled_from([b'[{"name": "../x", "type": "file"}]', b"[1]", b'[{"name": 1}]'])
)
def test_any_bytes_are_a_listing_or_an_error_of_ours_and_lead_nowhere_else(
    layout: str, content: bytes
) -> None:
    definition = LISTED[layout]
    try:
        urls = plan_of(definition, content)
    except ListingUnusable:
        return
    assert all(url.startswith(definition.url) and ".." not in url.split("/") for url in urls)


JSON_INDEX = b'[{"name":"a.json","type":"file","mtime":"x","size":1},{"name":"..","type":"directory"}]'
HTML_INDEX = (
    b'<html><a href="?C=N;O=D">Name</a><a href="/">up</a><a href="https://evil.org/feed/x">x</a>'
    b'<a href="a%20b.json">a b</a></html>'
)
BUCKET_PAGE = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>prefix/a%2Bb.json</Key>"
    b"<ETag>&quot;1&quot;</ETag><Size>2</Size></Contents><Contents><Key>other/x.json</Key></Contents>"
    b"</ListBucketResult>"
)


@pytest.mark.parametrize(
    ("layout", "content", "names"),
    [
        ("http-directory", JSON_INDEX, {"a.json"}),
        ("http-directory", HTML_INDEX, {"a%20b.json"}),
        ("s3", BUCKET_PAGE, {"a%2Bb.json"}),
    ],
)
def test_a_listing_leads_to_what_lies_below_it(layout: str, content: bytes, names: set[str]) -> None:
    assert plan_of(LISTED[layout], content) == {LISTED[layout].url + name for name in names}


ENTITY = b'<!DOCTYPE x [<!ENTITY a "b">]>'


@pytest.mark.parametrize(
    ("layout", "content"),
    [
        ("http-directory", b'<html><a href="a.json">a</a>'),
        ("s3", BUCKET_PAGE.replace(b"false", b"true")),
        ("s3", BUCKET_PAGE.removesuffix(b"</ListBucketResult>")),
        ("s3", ENTITY + BUCKET_PAGE.replace(b"/a%2Bb.json", b"/&a;")),
        ("osv-bucket", b"2024-01-01T00:00:00Z,A-1\n2024-01-01T00"),
    ],
)
def test_a_listing_that_is_not_whole_is_no_listing(layout: str, content: bytes) -> None:
    with pytest.raises(ListingUnusable):
        plan_of(LISTED[layout], content)
