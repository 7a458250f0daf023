"""Reading hand-written documents without a schema: whatever stands there, out come texts, lists and ids or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from stellaops.advisories.advisory import Affected, Package, Reference, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_yaml
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.documents.interface import Slice
from stellaops.advisories.severity import Severity, of_tenths

_SUFFIXES = (".yml", ".yaml")
_MAX_ID = 256
# From here on canonical JSON writes a number with an exponent, below as an integer.
_EXPONENT = 1e21
_NUMBER = re.compile(r"\d{1,2}(\.\d{1,2})?", re.ASCII)


class YamlFiles(DocumentFiles):
    """What feeds of one YAML file a document, or a few, have in common.

    A file lists itself, but names no date by which two of its editions could be put in order.
    """

    def may_hold_documents(self, path: str) -> bool:
        """YAML files that are not hidden."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(_SUFFIXES) and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file; its name is the name of an advisory that has no other."""
        return (Slice(0, content, stem(path)),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """YAML, all scalars as texts."""
        return from_yaml(raw)


def text(value: Any) -> str | None:
    """A text without blanks around it, or a number as it is written; None for what is empty or neither."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT:
        return str(int(Decimal(repr(value))))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def texts(value: Any) -> list[str]:
    """The texts of a list, each once, or the one text that stands in its place."""
    items = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(found for item in items if (found := text(item)) is not None))


def mapping(value: Any) -> dict[str, Any]:
    """A mapping as it is, empty for anything else."""
    return value if isinstance(value, dict) else {}


def stem(path: str) -> str:
    """A file's name without its folder and its last suffix."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def named(prefix: str, values: Any) -> list[str]:
    """Ids with the prefix that some documents leave out: `2013-1756` is `CVE-2013-1756`."""
    found = []
    for value in texts(values):
        bare = value[len(prefix) :] if value[: len(prefix)].upper() == prefix.upper() else value
        found.append(prefix + bare)
    return list(dict.fromkeys(found))


def identifier(*candidates: str | None) -> str:
    """The first candidate that there is, where it can be an id.

    Raises:
        Malformed: it is too long or not printable, or there is none.
    """
    chosen = next((candidate for candidate in candidates if candidate), "")
    if not 0 < len(chosen) <= _MAX_ID or chosen != chosen.strip() or not chosen.isprintable():
        raise Malformed(
            "no-id", f"the name {chosen[:80]!r} is empty, too long, not printable or has blanks around it"
        )
    return chosen


def required(document: dict[str, Any], *names: str) -> None:
    """Refuse a document without what gives it a meaning.

    Raises:
        Malformed: a field is absent or empty.
    """
    for name in names:
        if not document.get(name):
            raise Malformed("schema", f"the field `{name}` is missing or empty")


def required_text(document: dict[str, Any], name: str) -> str:
    """A field's text.

    Raises:
        Malformed: there is none.
    """
    found = text(document.get(name))
    if found is None:
        raise Malformed("schema", f"the field `{name}` has no text")
    return found


def constraints(document: dict[str, Any], name: str) -> list[str]:
    """A field that lists version constraints, or nothing.

    Raises:
        Malformed: something else stands there: left out, it could turn the statement round.
    """
    value = document.get(name)
    listed = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, str | int | float) for item in listed) or isinstance(
        value, bool
    ):
        raise Malformed("schema", f"the field `{name}` is no list of version constraints")
    return texts(value)


def references(*links: Iterable[str]) -> list[Reference]:
    """Links, each once."""
    urls = dict.fromkeys(link for group in links for link in group)
    return [Reference("WEB", url) for url in urls]


def word_of_score(*scores: Any) -> str | None:
    """The severity that the first stated CVSS score means, where a document gives the number without its vector."""
    for value in scores:
        found = text(value)
        if found is not None and _NUMBER.fullmatch(found):
            severity = of_tenths(round(float(found) * 10))
            return severity.name if severity is not Severity.UNKNOWN else None
    return None


def requirements(
    package: Package,
    *,
    vulnerable: list[str] | None = None,
    patched: list[str] | None = None,
    unaffected: list[str] | None = None,
) -> Affected:
    """An affected package whose versions are told by constraints in the syntax of its ecosystem."""
    told = Specific(vulnerable=vulnerable, patched=patched, unaffected=unaffected)
    return Affected(package, ecosystem_specific=told)
