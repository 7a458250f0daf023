"""A file that names several imports, so that one command does them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

import msgspec

from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.core.errors import InvalidInput
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, is_source_name


class BadSourceList(InvalidInput):
    """A file of imports that cannot be understood."""

    code = "ERR_IMPORT_SOURCES_FILE"
    hint = (
        "Write `sources:` with a list of `source`, `paths` and, where wanted, `feed`, `database` and `prune`."
    )


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    paths: list[str]
    feed: str | None = None
    database: str | None = None
    prune: bool = False
    openpgp_keys: list[str] = msgspec.field(default_factory=list, name="openpgpKeys")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    sources: list[_Entry]


@dataclass(frozen=True, slots=True)
class ListedImport:
    """One import of the list; relative paths are meant from the file's folder."""

    request: ImportRequest
    paths: tuple[PurePath, ...]
    openpgp_keys: tuple[PurePath, ...] = ()


def parse(content: bytes, side: Side = Side.ADVISORIES) -> tuple[ListedImport, ...]:
    """The imports that a YAML or JSON file lists, in its order.

    Args:
        side: what documents are taken as, where no feed says it.

    Raises:
        BadSourceList: with everything that is wrong.
    """
    try:
        listed = msgspec.convert(from_yaml(content).parsed, _File, strict=False)
    except (Malformed, msgspec.ValidationError) as error:
        raise BadSourceList(str(error)) from error
    problems = list(_problems(listed.sources))
    if problems:
        raise BadSourceList(problems[0], details=problems)
    return tuple(
        ListedImport(
            ImportRequest(entry.source, entry.feed, entry.database, entry.prune, side=side),
            tuple(PurePath(path) for path in entry.paths),
            tuple(PurePath(path) for path in entry.openpgp_keys),
        )
        for entry in listed.sources
    )


def _problems(entries: list[_Entry]) -> list[str]:
    found = [] if entries else ["the list of sources is empty"]
    names = [entry.source for entry in entries]
    for number, entry in enumerate(entries, 1):
        if not is_source_name(entry.source):
            found.append(f"entry {number}: {entry.source[:80]!r} cannot be a source's name")
        if names.index(entry.source) != number - 1:
            found.append(
                f"entry {number}: source {entry.source!r} stands there twice; give it all its paths in one entry"
            )
        if not entry.paths or not all(entry.paths):
            found.append(f"entry {number}: source {entry.source!r} has no paths")
    return found
