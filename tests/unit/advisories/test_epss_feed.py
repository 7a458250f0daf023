"""EPSS: one record a day."""

from __future__ import annotations

import json

import pytest

from stellaops.advisories.canonical import Malformed, from_json
from stellaops.advisories.documents.epss import EpssFeed
from stellaops.advisories.documents.interface import Listing
from stellaops.advisories.index import DocumentId, index_row
from stellaops.advisories.severity import Severity
from stellaops.core.digests import sha256
from tests.support.cves import epss

FEED = EpssFeed()
SCORES = {"CVE-2021-44228": ("0.97565", "1.0"), "CVE-1999-0001": ("0.01141", "0.84551")}
DAY = epss("2024-10-09", SCORES)


def test_a_day_is_one_record_with_its_numbers_as_texts() -> None:
    (whole,) = FEED.records("epss.csv", DAY)
    assert whole.raw == DAY
    canonical = FEED.canonical("epss.csv", DAY)
    assert canonical.parsed == {
        "model_version": "v2023.03.01",
        "score_date": "2024-10-09T00:00:00+0000",
        "scores": {name: list(numbers) for name, numbers in SCORES.items()},
    }
    assert from_json(canonical.body).body == canonical.body


def test_the_order_of_the_rows_and_the_ends_of_lines_are_form() -> None:
    body = FEED.canonical("epss.csv", DAY).body
    turned = epss("2024-10-09", dict(reversed(SCORES.items())))
    assert FEED.canonical("epss.csv", turned.replace(b"\n", b"\r\n")).body == body
    assert FEED.canonical("epss.csv", b"\xef\xbb\xbf" + DAY).body == body


def test_the_key_is_the_day_and_the_index_row_names_no_cve() -> None:
    advisory = FEED.read(FEED.canonical("epss.csv", DAY).parsed)
    assert advisory is not None
    row = index_row(advisory, DocumentId("epss", advisory.id, sha256(DAY)), Severity.UNKNOWN)
    told = json.loads(row)
    assert (told["id"], told["published"], told["aliases"]) == ("2024-10-09", "2024-10-09T00:00:00Z", [])


def test_a_day_is_a_complete_listing() -> None:
    assert FEED.listing("epss.csv", DAY) == Listing("2024-10-09T00:00:00+0000")
    assert FEED.listing("epss.csv", b"cve,epss,percentile\n") is None
    assert FEED.listing("other.csv", b"a,b\n") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cve,epss,percentile\nCVE-1999-0001,0.1,0.2\n", "no-id"),
        (b"#model_version:v1,score_date:yesterday!\ncve,epss,percentile\n", "no-id"),
        (b"#model_version:v1,score_date:2024-10-09\ncve,score\n", "schema"),
        (DAY + b"CVE-1999-0001,0.1,0.2\n", "duplicate-key"),
        (DAY + b"CVE-2024-0001,much,0.2\n", "schema"),
        (DAY + b"CVE-2024-0001,01.5,0.2\n", "schema"),
        (DAY + b'CVE-2024-0001,0.1,"0.2"\n', "schema"),
        (DAY + b"\xff\n", "not-utf-8"),
        (b"", "no-id"),
    ],
)
def test_a_day_that_cannot_be_read_is_malformed(content: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        FEED.read(FEED.canonical("epss.csv", content).parsed)
    assert caught.value.reason == reason


def test_other_files_are_not_recognised() -> None:
    assert FEED.recognises("epss_scores-2024-10-09.csv", DAY)
    for path, content in (("a.csv", b"a,b\n"), ("a.csv", b""), ("a.txt", DAY), (".a.csv", DAY)):
        assert not FEED.recognises(path, content)
        assert list(FEED.records(path, content)) == []
