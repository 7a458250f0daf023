"""When a document says it was last changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.advisories.advisory import Advisory, stated_instant
from stellaops.core import timestamps
from stellaops.ingest.import_documents import microseconds

FETCHED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def instant(text: str) -> str | None:
    found = timestamps.parse(text)
    return None if found is None else timestamps.render(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-10-02T22:26:51.46103Z", "2023-10-02T22:26:51.46103Z"),
        ("2023-10-02T22:26:51.461030Z", "2023-10-02T22:26:51.46103Z"),
        ("2023-10-02T22:26:51.461Z", "2023-10-02T22:26:51.461Z"),
        ("2023-10-02T22:26:51.4610Z", "2023-10-02T22:26:51.461Z"),
        ("2023-10-02T22:26:51.461030999Z", "2023-10-02T22:26:51.46103Z"),
        ("2023-10-02T22:26:51,5Z", "2023-10-02T22:26:51.5Z"),
        ("2023-10-02T22:26:51+00:00", "2023-10-02T22:26:51Z"),
        ("2023-10-03T00:26:51+02:00", "2023-10-02T22:26:51Z"),
        ("2023-10-02T14:56:51-0730", "2023-10-02T22:26:51Z"),
        ("2025-10-14T00:00:00", "2025-10-14T00:00:00Z"),
        ("2025-10-14 00:00:00", "2025-10-14T00:00:00Z"),
        ("2025-10-14t00:00:00z", "2025-10-14T00:00:00Z"),
        ("2025-10-14", "2025-10-14T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        (" 2025-10-14T01:02Z ", "2025-10-14T01:02:00Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
    ],
)
def test_every_form_that_feeds_send_is_one_instant(text: str, expected: str) -> None:
    assert instant(text) == expected


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-02-30", "2025-13-01",
     "2025-01-01T25:00:00Z", "2025-01-01T00:00:00+99:99", "", "yesterday", "20250101", "2025-1-1",
     "2025-01-01T00:00:00Z and more", "2025-01-01T00:00:00.Z"],
)  # fmt: skip
def test_what_states_no_instant_is_none(text: str) -> None:
    assert timestamps.parse(text) is None


@given(
    st.text(max_size=40)
    | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", fullmatch=True)
)
def test_any_text_is_an_instant_or_none(text: str) -> None:
    found = timestamps.parse(text)
    if found is not None:
        assert timestamps.parse(timestamps.render(found)) == found


@given(st.datetimes(min_value=datetime(2, 1, 2)))  # noqa: DTZ001 - drawn as naive
def test_microseconds_are_exact(naive: datetime) -> None:
    exact = naive.replace(tzinfo=UTC)
    assert timestamps.EPOCH + timedelta(microseconds=microseconds(exact)) == exact


@pytest.mark.parametrize(
    ("modified", "published", "expected"),
    [
        ("2024-05-01T00:00:00Z", "2024-04-01T00:00:00Z", "2024-05-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "2024-04-01T00:00:00Z", "2024-04-01T00:00:00Z"),
        ("2027-07-09T00:00:00Z", "2024-04-01T00:00:00Z", "2024-04-01T00:00:00Z"),
        ("2027-07-09T00:00:00Z", "2028-04-01T00:00:00Z", None),
        ("2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        (None, "2024-04-01", "2024-04-01T00:00:00Z"),
        ("2024-05-01T00:00:00Z", None, "2024-05-01T00:00:00Z"),
        ("nonsense", "", None),
        (None, None, None),
        ("2026-03-01T12:00:00Z", None, "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00.000001Z", None, None),
    ],
)
def test_modified_counts_else_published_and_never_the_future(
    modified: str | None, published: str | None, expected: str | None
) -> None:
    found = stated_instant(Advisory("X", modified=modified, published=published), FETCHED)
    assert (None if found is None else timestamps.render(found)) == expected
