"""The CPAN Security Advisory database: one YAML file for each distribution, with its advisories in a list.

A record is one entry of the list, so that the day of the last check, which stands beside it and changes with every
publication, changes no record. Its canonical form is that of the entry. Some files use an id twice; a later record of
the same id is told apart by the versions that it names. The dump `cpan-security-advisory.json` repeats the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import yaml

from stellaops.advisories.advisory import Advisory, Package
from stellaops.advisories.canonical import Canonical, Malformed, from_yaml
from stellaops.advisories.documents import handwritten
from stellaops.advisories.documents.interface import Slice

_DASH = re.compile(r" *-[ ]+")
_BOM = "\ufeff"


class _Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file says around an entry; `repeats` where the id is another's too."""

    distribution: str = ""
    repeats: str = ""


_CONTEXTS = msgspec.json.Decoder(_Context)


class CpansecFeed(handwritten.YamlFiles):
    """The feed of briandfoy/cpan-security-advisory."""

    name = "cpansec"

    def recognises(self, path: str, content: bytes) -> bool:
        """YAML with a distribution and a list of advisories."""
        if not self.may_hold_documents(path) or b"distribution:" not in content:
            return False
        try:
            parsed = from_yaml(content).parsed
        except Malformed:
            return False
        return (
            isinstance(parsed, dict)
            and "distribution" in parsed
            and isinstance(parsed.get("advisories"), list)
        )

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The entries of the list, each from the beginning of its first line to that of the next entry."""
        parsed = from_yaml(content).parsed
        if not isinstance(parsed, dict) or "advisories" not in parsed:
            return ()
        listed = parsed["advisories"]
        if not isinstance(listed, list):
            if listed is None:
                return ()
            raise Malformed("schema", "the field `advisories` is no list")
        distribution = handwritten.required_text(parsed, "distribution")
        return _slices(content, distribution, listed)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """The only entry of the list that the slice is, all scalars as texts."""
        listed = from_yaml(raw)
        if not isinstance(listed.parsed, list) or len(listed.parsed) != 1:
            raise Malformed("schema", "not one entry of a list")
        if listed.verbatim:
            return Canonical(raw, True, listed.parsed[0])
        return Canonical(listed.body[1:-1], False, listed.parsed[0])

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields."""
        if not isinstance(parsed, dict):
            raise Malformed("schema", "an entry is no mapping")
        around = _CONTEXTS.decode(context or "{}")
        plain = handwritten.identifier(handwritten.text(parsed.get("id")))
        own = handwritten.identifier(f"{plain}:{around.repeats}") if around.repeats else plain
        package = Package("CPAN", around.distribution or None)
        affected = handwritten.requirements(
            package,
            vulnerable=handwritten.constraints(parsed, "affected_versions"),
            patched=handwritten.constraints(parsed, "fixed_versions"),
        )
        aliases = [
            *([plain] if own != plain else ()),
            *handwritten.texts(parsed.get("cves")),
            *handwritten.named("GHSA-", parsed.get("github_security_advisory")),
            *handwritten.texts(parsed.get("previous_id")),
        ]
        return Advisory(
            id=own,
            aliases=aliases,
            published=handwritten.text(parsed.get("reported")),
            details=handwritten.text(parsed.get("description")),
            severity=handwritten.text(parsed.get("severity")),
            affected=[affected],
            references=handwritten.references(handwritten.texts(parsed.get("references"))),
        )


def _slices(content: bytes, distribution: str, listed: list[Any]) -> Iterator[Slice]:
    seen: set[str] = set()
    for (offset, raw), entry in zip(_cut(content), listed, strict=True):
        told = handwritten.mapping(entry)
        identifier = handwritten.text(told.get("id")) or ""
        versions = "|".join(handwritten.texts(told.get("affected_versions"))) if identifier in seen else ""
        seen.add(identifier)
        context = msgspec.json.encode(_Context(distribution, re.sub(r"\s+", "", versions)[:100]))
        yield Slice(offset, raw, context.decode())


def _cut(content: bytes) -> list[tuple[int, bytes]]:
    """Offset and bytes of each entry of the list, which must stand one below the other."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    # What the parser counts begins behind a byte order mark.
    skipped = len(_BOM) if text.startswith(_BOM) else 0
    starts, end = _marks(content)
    lines = []
    for start in starts:
        begin = text.rfind("\n", 0, start + skipped) + 1
        if not _DASH.fullmatch(text, begin, start + skipped):
            raise Malformed(
                "schema", "the advisories do not stand one below the other, each on lines of its own"
            )
        lines.append(begin)
    lines.append(len(text) if end is None else text.rfind("\n", 0, end + skipped) + 1)
    offsets = [len(text[:place].encode()) for place in lines]
    return [(low, content[low:high]) for low, high in pairwise(offsets)]


def _marks(content: bytes) -> tuple[list[int], int | None]:
    """Where the entries begin, and the field after them, in characters; None where nothing follows."""
    root = yaml.compose(content, Loader=yaml.CBaseLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    place = max(number for number, (name, _) in enumerate(pairs) if name.value == "advisories")
    listed = pairs[place][1]
    if listed.flow_style and listed.value:
        raise Malformed("schema", "the advisories do not stand one below the other, each on lines of its own")
    following = pairs[place + 1][0].start_mark.index if place + 1 < len(pairs) else None
    return [item.start_mark.index for item in listed.value], following
