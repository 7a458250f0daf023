"""The text lists in the Debian security tracker's repository: `CVE/list`, `DSA/list`, `DLA/list`, `DTSA/list`.

An entry is a line that names an advisory or a CVE, and indented lines that say what it means for source packages:

    [29 Mar 2023] DSA-5380-1 xorg-server - security update
            {CVE-2023-1393}
            [bullseye] - xorg-server 2:1.20.11-1+deb11u6
    CVE-2023-1393 (A flaw was found in X.Org Server Overlay Window. …)
            {DSA-5380-1 DLA-3372-1}
            - xorg-server 2:21.1.7-2 (bug #1033701)

Its canonical form is `{"header": "…", "lines": ["…"]}`: the first line, and the others without their indentation.
A line without a release speaks of unstable. It counts for every release that has no line of its own, but weakly:
the lists do not say which version a release has, so another document about that release knows better.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from stellaops.advisories import debian
from stellaops.advisories.advisory import Advisory, Affected
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.core import timestamps

_KINDS = "DSA|DLA|DTSA|ELA"
_ADVISORY = re.compile(
    rf"\[([^]]{{1,40}})\]\s+((?:{_KINDS})-\d{{1,6}}(?:-\d{{1,4}})?)(?:\s+(.*))?$", re.ASCII
)
_CVE = re.compile(r"(CVE-\d{4}-(?:\d{4,19}|XXXX))(?:\s+(.*))?$", re.ASCII)
_START = re.compile(rb"^(?:\[[^]\r\n]{1,40}\][ \t]+)?(CVE|" + _KINDS.encode() + rb")-\d", re.MULTILINE)
_ENTRY = re.compile(rb"^[^\s][^\n]*(?:\n(?:[ \t][^\n]*|\r?)$)*", re.MULTILINE)
_PACKAGE = re.compile(
    r"(?:\[([a-z]+)\]\s+)?-\s+([A-Za-z0-9][A-Za-z0-9.+-]{0,100})"
    r"(?:\s+(<[a-z-]+>|[^\s(<]\S{0,200}))?(?:\s+\((.*)\))?$",
    re.ASCII,
)
_REFERENCES = re.compile(r"\{([^}]*)\}$")
_BUG = re.compile(r"bug #(\d{1,9})", re.ASCII)
_SINGLE_DAY = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2})[a-z]* (\d{4})$", re.ASCII)
_AMERICAN_DAY = re.compile(r"([A-Z][a-z]{2})[a-z]* (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})$", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOTHING_SAID = frozenset(("not-affected", "undetermined", "itp"))


class DebianListsFeed:
    """The `debian-dsa` feed."""

    name = "debian-dsa"
    publishes_listings = True

    def recognises(self, path: str, content: bytes) -> bool:
        """A file named as a list, with an entry whose first line names an advisory or a CVE."""
        return self.may_hold_documents(path) and _START.search(content) is not None

    def listing(self, path: str, content: bytes) -> Listing | None:
        """A list is complete for the kind of its entries, told from all of them."""
        kinds = (
            {found.decode() for found in _START.findall(content)} if self.recognises(path, content) else set()
        )
        return Listing("", f"{kinds.pop()}-") if len(kinds) == 1 else None

    def may_hold_documents(self, path: str) -> bool:
        """Files named `list`, also with something before it (`DSA-list`) or `.txt` after it.

        Beside them lie files of the same form which say what is planned, not what is.
        """
        base = path.rpartition("/")[2].lower().removesuffix(".txt")
        return base.endswith("list") and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """One entry each: a line that is not indented, and the indented lines below it."""
        for found in _ENTRY.finditer(content):
            yield Slice(found.start(), found[0].rstrip())

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """The lines of the entry, without indentation."""
        try:
            first, *rest = raw.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("not-utf-8", str(error)) from error
        lines = [line.strip() for line in rest if line.strip()]
        return from_json(msgspec.json.encode({"header": first.strip(), "lines": lines}))

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """An entry that says something of a package; None for others, such as CVEs of what Debian does not have."""
        try:
            entry = msgspec.convert(parsed, _Entry)
        except msgspec.ValidationError as error:
            raise Malformed("schema", str(error)) from error
        found = _ADVISORY.match(entry.header)
        if found:
            return _advisory(entry, day=found[1], identifier=found[2], title=found[3] or "")
        found = _CVE.match(entry.header)
        if found:
            return _vulnerability(entry, identifier=found[1], description=found[2] or "")
        raise Malformed("no-id", f"{entry.header[:80]!r} names no advisory and no CVE")


class _Entry(Struct, frozen=True):
    header: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line about a package; `release` is empty for unstable, `version` for a package without a fix."""

    release: str
    package: str
    version: str
    word: str
    notes: tuple[str, ...]

    @property
    def says_nothing(self) -> bool:
        return (
            self.version == "0"
            or self.word in _NOTHING_SAID
            or (self.word == "removed" and bool(self.release))
        )


def _advisory(entry: _Entry, *, day: str, identifier: str, title: str) -> Advisory | None:
    lines = _package_lines(entry)
    if not lines:
        return None
    cves = [name for name in _references(entry) if name.startswith("CVE-")]
    return Advisory(
        id=identifier,
        upstream=cves or None,
        published=_date(day),
        summary=title or None,
        affected=_affected(lines),
    )


def _vulnerability(entry: _Entry, *, identifier: str, description: str) -> Advisory | None:
    lines = _package_lines(entry)
    if not lines or "REJECTED" in entry.lines:
        return None
    title = _bare(description)
    if not identifier.endswith("XXXX"):
        return Advisory(id=identifier, summary=title or None, affected=_affected(lines))
    name = _temporary_name(title, lines)
    part = Advisory(id=name, summary=title or None, affected=_affected(lines))
    return Advisory(id=f"{identifier}/{name}", parts=[part])


def _bare(description: str) -> str:
    """Upstream's words stand in parentheses, Debian's own in brackets."""
    for opening, closing in ("()", "[]"):
        if description.startswith(opening):
            return description[1:].removesuffix(closing)
    return description


def _temporary_name(description: str, lines: Sequence[_Line]) -> str:
    """The tracker's own name of what has no CVE yet, by which scanners know it."""
    bugs = (_BUG.search(note) for line in lines for note in line.notes)
    number = next((int(bug[1]) for bug in bugs if bug), 0)
    digest = hashlib.md5(description.encode(), usedforsecurity=False).hexdigest()
    return f"TEMP-{number:07d}-{digest[:6].upper()}"


def _package_lines(entry: _Entry) -> list[_Line]:
    lines = []
    for text in entry.lines:
        found = _PACKAGE.match(text)
        if found:
            told = found[3] or "<unfixed>"
            word = told[1:-1] if told[0] == "<" else ""
            notes = tuple(note.strip() for note in (found[4] or "").split(";"))
            lines.append(_Line(found[1] or "", found[2], "" if word else told, word, notes))
    return lines


def _references(entry: _Entry) -> Iterator[str]:
    for text in entry.lines:
        found = _REFERENCES.match(text)
        if found:
            yield from found[1].split()


def _affected(lines: Sequence[_Line]) -> list[Affected]:
    of_releases = [line for line in lines if line.release in debian.RELEASES]
    unstable = {line.package: line for line in lines if not line.release}
    told = {(line.release, line.package) for line in of_releases}
    found = [_of_release(line, unstable.get(line.package)) for line in of_releases if not line.says_nothing]
    for package, line in unstable.items():
        if not line.says_nothing:
            found += [
                debian.statement(
                    name, package, line.version or None, urgency=debian.urgency(line.notes), weak=True
                )
                for name in debian.GENERAL
                if (name, package) not in told
            ]
    return found


def _of_release(line: _Line, unstable: _Line | None) -> Affected:
    """A release's own line. That there is no fix gives way to an advisory that brings one: such lines stay behind."""
    return debian.statement(
        line.release,
        line.package,
        line.version or None,
        status=debian.STATUSES.get(line.word, debian.AFFECTED),
        urgency=debian.urgency(line.notes) or (debian.urgency(unstable.notes) if unstable else None),
        weak=not line.version,
    )


def _date(text: str) -> str | None:
    """`29 Mar 2023` or `August 26th, 2005` as an instant."""
    found = _SINGLE_DAY.match(text)
    day, month, year = (found[1], found[2], found[3]) if found else ("", "", "")
    if not found and (found := _AMERICAN_DAY.match(text)):
        day, month, year = found[2], found[1], found[3]
    if month not in _MONTHS:
        return None
    try:
        instant = datetime(int(year), _MONTHS.index(month) + 1, int(day), tzinfo=UTC)
    except ValueError:
        return None
    return timestamps.render(instant)
