"""Reading a document of texts field by field, with everything that is wrong told by its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from stellaops.core import timestamps


class Problems:
    """What is wrong with a document, in the order in which it is met."""

    def __init__(self, document: str) -> None:
        self.found: list[str] = []
        self._document = document

    def add(self, place: str, what: str) -> None:
        """Note one."""
        where = ": ".join(part for part in (self._document, place) if part)
        self.found.append(f"{where}: {what}" if where else what)

    def repeated(self, place: str, ids: Sequence[str]) -> None:
        """Note every id that stands more than once."""
        for name, count in sorted(Counter(ids).items()):
            if count > 1 and name:
                self.add(place, f"the id {name!r} stands {count} times")


class Fields:
    """A mapping of the document, with the names that it may have."""

    def __init__(self, value: Any, place: str, problems: Problems, known: Sequence[str]) -> None:
        self.value: dict[str, Any] = value if isinstance(value, dict) else {}
        self._place = place
        self._problems = problems
        if not isinstance(value, dict):
            problems.add(place, "a mapping is needed")
        for name in self.value:
            if name not in known:
                self.wrong(name, f"is none of {', '.join(known)}")

    def wrong(self, name: str, what: str) -> None:
        """Note a problem with a field."""
        self._problems.add(self._at(name), what)

    def exactly(self, name: str, wanted: str) -> None:
        """A field that has one value only."""
        if self.value.get(name) != wanted:
            self.wrong(name, f"must be {wanted!r}")

    def text(self, name: str, form: re.Pattern[str] | None = None, words: str = "") -> str:
        """A text that must be there."""
        found = self.value.get(name)
        if not isinstance(found, str) or not found.strip():
            self.wrong(name, "a text is needed")
            return ""
        if form is not None and not form.fullmatch(found):
            self.wrong(name, f"{found[:80]!r} is not {words}")
        return found

    def optional(self, name: str) -> str:
        """A text that may be left out."""
        found = self.value.get(name)
        if found is not None and not isinstance(found, str):
            self.wrong(name, "a text is needed")
        return found if isinstance(found, str) else ""

    def one_of(self, name: str, words: Sequence[str]) -> str:
        """One of some words, in capitals whatever was written."""
        found = self.value.get(name)
        if not isinstance(found, str) or found.upper() not in words:
            self.wrong(name, f"{found!r} is none of {', '.join(word.lower() for word in words)}")
            return ""
        return found.upper()

    def number(self, name: str, most: int) -> int:
        """A whole number from 0."""
        found = self.value.get(name)
        if not isinstance(found, str) or not re.fullmatch("[0-9]{1,9}", found) or int(found) > most:
            self.wrong(name, f"{found!r} is no whole number from 0 to {most}")
            return 0
        return int(found)

    def instant(self, name: str) -> str | None:
        """A date or an instant that may be left out."""
        found = self.value.get(name)
        if found is None:
            return None
        if not isinstance(found, str) or timestamps.parse(found) is None:
            self.wrong(name, f"{found!r} is no date such as 2027-01-31")
            return None
        return found.strip()

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, sorted, each once; empty where it is left out."""
        found = self.value.get(name)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(each, str) and each.strip() for each in found):
            self.wrong(name, "a list of texts is needed")
            return ()
        return tuple(sorted({each.strip() for each in found}))

    def fields(self, name: str, known: Sequence[str]) -> Fields:
        """A mapping that must be there."""
        return Fields(self.value.get(name), self._at(name), self._problems, known)

    def each(self, name: str, known: Sequence[str]) -> Iterator[Fields]:
        """The mappings of a list that may be left out."""
        found = self.value.get(name)
        if found is None:
            return
        if not isinstance(found, list):
            self.wrong(name, "a list is needed")
            return
        for number, each in enumerate(found):
            yield Fields(each, f"{self._at(name)}[{number}]", self._problems, known)

    def _at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name
