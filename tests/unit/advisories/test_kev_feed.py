"""The KEV catalogue in both of its forms."""

from __future__ import annotations

import pytest

from stellaops.advisories.advisory import Specific
from stellaops.advisories.canonical import Malformed, from_json
from stellaops.advisories.documents.interface import Listing
from stellaops.advisories.documents.kev import KevFeed
from tests.support.cves import COLUMNS, catalogue, catalogue_csv, known

FEED = KevFeed()
LOG4J = known("CVE-2021-44228")
LATER = known("CVE-2024-4577", "2024-06-12", shortDescription='Two "lines",\nand a comma', cwes=[])


def bodies(path: str, content: bytes) -> list[bytes]:
    cut = list(FEED.records(path, content))
    assert all(content[each.offset : each.offset + len(each.raw)] == each.raw for each in cut)
    return [FEED.canonical(path, each.raw).body for each in cut]


def test_a_row_of_the_csv_is_the_entry_of_the_json() -> None:
    told = bodies("kev.json", catalogue("2024-06-12T17:04:19Z", LOG4J, LATER))
    assert bodies("kev.csv", catalogue_csv(LOG4J, LATER)) == told
    assert bodies("kev.csv", b"\xef\xbb\xbf" + catalogue_csv(LOG4J, LATER).replace(b"\r\n", b"\n")) == told
    assert bodies("kev.csv", catalogue_csv(LOG4J, LATER).rstrip()) == told
    assert from_json(told[0]).body == told[0]


@pytest.mark.parametrize("columns", [COLUMNS[:-1], (*COLUMNS[:8], "notes")])
def test_older_catalogues_lack_columns(columns: tuple[str, ...]) -> None:
    content = catalogue_csv(LOG4J, columns=columns)
    assert FEED.recognises("kev.csv", content)
    (row,) = FEED.records("kev.csv", content)
    entry = FEED.canonical("kev.csv", row.raw).parsed
    assert set(entry) == set(columns)
    assert entry["notes"] == LOG4J["notes"]


def test_the_entry_says_what_is_marked() -> None:
    advisory = FEED.read(LOG4J)
    assert advisory is not None
    assert (advisory.id, advisory.published, advisory.withdrawn) == ("CVE-2021-44228", "2021-12-10", None)
    assert isinstance(advisory.database_specific, Specific)
    assert advisory.database_specific.marks == {
        "kev": {"dateAdded": "2021-12-10", "dueDate": "2021-12-24", "knownRansomwareCampaignUse": "Known"}
    }


def test_a_catalogue_is_a_complete_listing_of_its_release() -> None:
    content = catalogue("2024-06-12T17:04:19.9796Z", LOG4J)
    assert FEED.listing("kev.json", content) == Listing("2024-06-12T17:04:19.9796Z")
    undated = content.replace(b'"dateReleased": "2024-06-12T17:04:19.9796Z"', b'"dateReleased": null')
    assert FEED.listing("kev.json", undated) == Listing("2024-06-12")
    assert FEED.listing("kev.json", catalogue("2024-06-12T17:04:19Z", LOG4J, count=2)) is None


def test_a_csv_is_a_complete_listing_of_its_newest_day_and_comes_before_the_json_of_that_day() -> None:
    of_csv = FEED.listing("kev.csv", catalogue_csv(LOG4J, LATER))
    of_json = FEED.listing("kev.json", catalogue("2024-06-12T17:04:19Z", LOG4J, LATER))
    assert of_csv == Listing("2024-06-12")
    assert of_json is not None
    assert of_csv < of_json
    assert FEED.listing("kev.csv", catalogue_csv()) is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"CVE-2021-44228,Apache", "not-csv"),
        (b'CVE-2021-44228,"Apache', "not-csv"),
        (b"\xff,,,,,,,,,,", "not-utf-8"),
    ],
)
def test_a_row_that_is_none_is_malformed(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        FEED.canonical("kev.csv", raw)
    assert caught.value.reason == reason


def test_a_quotation_mark_that_never_closes_is_malformed() -> None:
    with pytest.raises(Malformed, match="not-csv"):
        list(FEED.records("kev.csv", catalogue_csv(LOG4J) + b'CVE-2021-44228,"Apache\r\nmore\r\n'))


def test_an_entry_without_an_id_or_a_day_is_malformed() -> None:
    with pytest.raises(Malformed, match="no-id"):
        FEED.read(LOG4J | {"cveID": None})
    with pytest.raises(Malformed, match="schema"):
        FEED.read({"cveID": "CVE-2021-44228"})


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.csv", b"a,b\n"),
        ("a.csv", b""),
        ("a.json", b'{"catalogVersion": 1, "vulnerabilities": []}'),
        ("a.json", b'{"catalogVersion": "1"}'),
        ("known_exploited_vulnerabilities_schema.json", b'{"catalogVersion": "1", "vulnerabilities": []}'),
        ("a.txt", catalogue_csv(LOG4J)),
    ],
)
def test_other_files_are_not_recognised(path: str, content: bytes) -> None:
    assert not FEED.recognises(path, content)
    assert FEED.listing(path, content) is None
