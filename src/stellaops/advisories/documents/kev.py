"""CISA's catalogue of known exploited vulnerabilities, as JSON and as CSV.

The record is an entry of the catalogue. A row of the CSV has as its canonical form the entry that the JSON has for it,
so that both forms of one catalogue give the same records.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.advisories.documents.lenient import is_cve, member, text
from stellaops.advisories.documents.slices import BOM, elements, is_object, members
from stellaops.core import canonical_json, timestamps

_ENTRIES = "vulnerabilities"
_SCHEMA = "_schema.json"
_OLDEST = (
    "cveID", "vendorProject", "product", "vulnerabilityName", "dateAdded", "shortDescription", "requiredAction",
    "dueDate", "notes",
)  # fmt: skip
_LATER = (*_OLDEST[:-1], "knownRansomwareCampaignUse", "notes")
_NEWEST = (*_LATER, "cwes")
# The columns that the catalogue has had, by their number: a row says by its length how it is to be read.
_COLUMNS = {len(columns): columns for columns in (_OLDEST, _LATER, _NEWEST)}
_HEADERS = frozenset(",".join(columns) for columns in _COLUMNS.values())
_MARKS = ("dateAdded", "dueDate", "knownRansomwareCampaignUse")
_JSON = msgspec.json.Decoder(str)


class KevFeed:
    """The feed of the catalogue."""

    name = "kev"
    publishes_listings = True

    def recognises(self, path: str, content: bytes) -> bool:
        """CSV with the catalogue's columns, or JSON with its version and its entries."""
        if not self.may_hold_documents(path):
            return False
        if _is_csv(path):
            return _header(content) in _HEADERS
        try:
            return b'"catalogVersion"' in content and _is_catalogue(members(content))
        except Malformed:
            return False

    def listing(self, path: str, content: bytes) -> Listing | None:
        """The whole catalogue, of the instant of its release; a CSV, which has none, of its newest entry's day.

        None where the catalogue has not as many entries as it says.
        """
        if not self.recognises(path, content):
            return None
        try:
            return _csv_listing(content) if _is_csv(path) else _json_listing(content)
        except Malformed:
            return None

    def may_hold_documents(self, path: str) -> bool:
        """JSON and CSV files, except hidden ones and the catalogue's schema."""
        base = path.rpartition("/")[2].lower()
        return base.endswith((".json", ".csv")) and not base.startswith(".") and not base.endswith(_SCHEMA)

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The entries."""
        if _is_csv(path):
            return _rows(content) if _header(content) in _HEADERS else ()
        if not is_object(content):
            return (Slice(0, content),)
        found = members(content)
        if not _is_catalogue(found):
            return (Slice(0, content),)
        place = found[_ENTRIES]
        return elements(content, place.offset, place.offset + len(place.raw))

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """RFC 8785 of the entry; of a row of the CSV, of an object with the columns' names."""
        return _from_row(raw) if _is_csv(path) else from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """What the catalogue says of a CVE; None for JSON that is no entry."""
        if not isinstance(parsed, dict) or _MARKS[0] not in parsed:
            if isinstance(parsed, dict) and ("cveID" in parsed or "catalogVersion" in parsed):
                raise Malformed("schema", "an entry without the day on which it was added")
            return None
        identifier = text(parsed, "cveID")
        if not is_cve(identifier):
            raise Malformed("no-id", f"the cveID {identifier[:80]!r} is no CVE id")
        cwes = member(parsed, "cwes")
        return Advisory(
            id=identifier,
            published=text(parsed, "dateAdded") or None,
            summary=text(parsed, "vulnerabilityName") or None,
            details=text(parsed, "shortDescription") or None,
            database_specific=Specific(
                cwe_ids=[cwe for cwe in cwes if isinstance(cwe, str)] if isinstance(cwes, list) else None,
                marks={"kev": {name: value for name in _MARKS if (value := text(parsed, name))}},
            ),
        )


def _is_csv(path: str) -> bool:
    return path.lower().endswith(".csv")


def _is_catalogue(found: dict[str, Slice]) -> bool:
    entries = found.get(_ENTRIES)
    version = found.get("catalogVersion")
    return entries is not None and entries.raw[:1] == b"[" and version is not None and version.raw[:1] == b'"'


def _json_listing(content: bytes) -> Listing | None:
    found = members(content)
    place = found[_ENTRIES]
    number = sum(1 for _ in elements(content, place.offset, place.offset + len(place.raw)))
    counted = found.get("count")
    if counted is not None and counted.raw != str(number).encode():
        return None
    released = timestamps.parse(_string(found.get("dateReleased")))
    day = _string(found["catalogVersion"]).replace(".", "-")
    return Listing(timestamps.render(released) if released else day)


def _string(value: Slice | None) -> str:
    try:
        return _JSON.decode(value.raw) if value else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _csv_listing(content: bytes) -> Listing | None:
    days = [text(_from_row(row.raw).parsed, _MARKS[0]) for row in _rows(content)]
    return Listing(max(days)) if days else None


def _header(content: bytes) -> str:
    first = content[:1024].removeprefix(BOM).split(b"\n", 1)[0]
    return first.decode("utf-8", "replace").strip().replace('"', "")


def _rows(content: bytes) -> Iterator[Slice]:
    """The rows below the header; a line break inside quotes ends none."""
    position, begin, quotes, header = 0, 0, 0, True
    for line in content.splitlines(keepends=True):
        position += len(line)
        quotes += line.count(b'"')
        if quotes % 2:
            continue
        raw = content[begin:position].rstrip(b"\r\n")
        if raw.strip() and not header:
            yield Slice(begin, raw)
        begin, quotes, header = position, 0, False
    if begin < len(content):
        raise Malformed("not-csv", "a quotation mark is never closed")


def _from_row(raw: bytes) -> Canonical:
    try:
        rows = list(csv.reader([raw.decode("utf-8")], strict=True))
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    except csv.Error as error:
        raise Malformed("not-csv", str(error)) from error
    values = rows[0] if rows else []
    columns = _COLUMNS.get(len(values))
    if columns is None:
        raise Malformed("not-csv", f"a row of {len(values)} values, not of {sorted(_COLUMNS)}")
    entry: dict[str, Any] = dict(zip(columns, values, strict=True))
    if "cwes" in entry:
        entry["cwes"] = [cwe for each in entry["cwes"].split(",") if (cwe := each.strip())]
    return Canonical(canonical_json.encode(entry), False, entry)
