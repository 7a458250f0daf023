"""The bucket layout of OSV: `ecosystems.txt`, `<ECO>/all.zip`, `<ECO>/modified_id.csv`, `<ECO>/<ID>.json`.

The first pull, and a full one now and then, takes `all.zip` of each ecosystem; others take single documents. Which,
is told in two ways that complete each other, since upstream clocks jump and documents are published late:

* a document whose stated instant is not the one that was last seen for it, wherever it stands in the listing;
* a document stated newer than the cursor less an overlap, whatever was seen: one listed instant can cover two
  changes. The cursor is the newest instant that a listing stated and that is not in the future of its fetch.

Whether a document really changed is decided by its digest, at the import.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from msgspec import Struct

from stellaops.core import timestamps
from stellaops.ingest.layouts.interface import (
    Answer,
    Ask,
    BadDefinition,
    ListingUnusable,
    PlainLayout,
    Plan,
    Planning,
    Situation,
    Want,
    check_options,
)
from stellaops.ingest.pull_backoff import duration
from stellaops.ingest.pull_model import Definition, Known

_ALL = "*"
_OVERLAP = "1h"
# From so many single documents on, and so large a part of the listing, the archive is cheaper.
_MANY, _SHARE = 1000, 5


class _Listed(Struct):
    """What the listings of one pull say together."""

    files: dict[str, Known] = {}
    newest: datetime | None = None
    unchanged: bool = True
    unlisted: list[str] = []
    fetched_at: datetime | None = None


class OsvBucket(PlainLayout):
    """The OSV bucket."""

    name = "osv-bucket"
    options = {  # noqa: RUF012 - a constant of the class
        "ecosystems": "ecosystem folders; `*` for all that `ecosystems.txt` lists",
        "prefixes": "how the ids of the source's documents begin; all when left out",
        "overlap": f"how far before the newest instant seen documents are asked for again (default {_OVERLAP})",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        duration(str(definition.options.get("overlap", _OVERLAP)))
        names = _ecosystems(definition)
        if not names or any(not name or ".." in name for name in names):
            raise BadDefinition(f"source {definition.name!r}: option 'ecosystems' names no ecosystem")

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        base = situation.definition.url.rstrip("/")
        names = _ecosystems(situation.definition)
        if names == [_ALL]:
            names = _lines((yield Ask(f"{base}/ecosystems.txt")))
        listed = _Listed()
        for name in names:
            answer = yield Ask(f"{base}/{quote(name)}/modified_id.csv", optional=True)
            self._read(situation, name, answer, listed)
        singles = list(_changed(situation, listed, base)) if situation.cursor else []
        changed = sum(1 for want in singles if _mark(situation, want.path) != want.mark)
        many = changed >= _MANY and changed * _SHARE > len(listed.files)
        full = situation.full or many or not situation.cursor
        archives = names if full else listed.unlisted
        wants = [Want(f"{base}/{quote(name)}/all.zip", f"{name}/all.zip") for name in archives]
        return Plan(
            (*wants, *([] if many else singles)),
            full=full,
            complete=full,
            cursor=_cursor(situation.cursor, listed.newest),
            listed=len(listed.files),
            dated_by_archives=full,
            files=listed.files if full else {},
            gone=0
            if full
            else sum(path not in listed.files for path in situation.known if path not in archives),
        )

    def _read(self, situation: Situation, name: str, answer: Answer, listed: _Listed) -> None:
        listed.unchanged &= answer.unchanged
        listed.fetched_at = max(listed.fetched_at or answer.fetched_at, answer.fetched_at)
        if answer.missing:
            listed.unlisted.append(name)
            return
        for path, stated in _entries(name, answer):
            if not self.keeps(situation.definition, path):
                continue
            listed.files[path] = Known(mark=stated)
            instant = timestamps.parse(stated)
            if instant is not None and instant <= answer.fetched_at:
                listed.newest = max(listed.newest or instant, instant)


def _ecosystems(definition: Definition) -> list[str]:
    names = definition.options.get("ecosystems", [])
    return [names] if isinstance(names, str) else list(names)


def _lines(answer: Answer) -> list[str]:
    names = [line.strip() for line in answer.content.decode("utf-8", "replace").splitlines()]
    # A suffix such as `Debian:12` has no folder of its own.
    found = sorted({name.partition(":")[0] for name in names if name})
    if not found or not answer.content.endswith(b"\n"):
        raise ListingUnusable(f"{answer.url} lists nothing, or is cut off")
    return found


def _entries(ecosystem: str, answer: Answer) -> Iterator[tuple[str, str]]:
    """Path and stated instant of each document; `instant,ID` or `instant,ECO/ID` a line."""
    if answer.content and not answer.content.endswith(b"\n"):
        raise ListingUnusable(f"{answer.url} is cut off in the middle of a line")
    seen = 0
    for number, line in enumerate(answer.content.decode("utf-8", "replace").splitlines(), 1):
        stated, comma, name = line.strip().partition(",")
        identifier = name.rpartition("/")[2].strip('" ')
        if not comma or timestamps.parse(stated) is None or not identifier:
            if line.strip() and number > 1:  # a first line may be a header
                raise ListingUnusable(f"{answer.url}: line {number} is no `instant,id`")
            continue
        seen += 1
        yield f"{ecosystem}/{identifier}.json", stated
    if not seen:
        raise ListingUnusable(f"{answer.url} lists nothing")


def _mark(situation: Situation, path: str) -> str:
    known = situation.known.get(path)
    return known.mark if known else ""


def _changed(situation: Situation, listed: _Listed, base: str) -> Iterator[Want]:
    """Documents to fetch one by one.

    In a full pull too: an archive can be older than documents that were fetched by themselves since. Both are read
    in one import then, where the newer content wins.
    """
    overlap = duration(str(situation.definition.options.get("overlap", _OVERLAP)))
    cursor = timestamps.parse(situation.cursor)
    since = None if cursor is None else cursor - overlap
    for path, entry in listed.files.items():
        known = situation.known.get(path)
        instant = timestamps.parse(entry.mark)
        by_itself = known is not None and bool(known.digest)
        recent = (
            since is not None and instant is not None and listed.fetched_at is not None
            and since <= instant <= listed.fetched_at and not (by_itself and listed.unchanged)
        )  # fmt: skip
        wanted = by_itself if situation.full else known is None or known.mark != entry.mark or recent
        if wanted:
            folder, _, name = path.partition("/")
            yield Want(f"{base}/{quote(folder)}/{quote(name)}", path, mark=entry.mark)


def _cursor(before: str, newest: datetime | None) -> str:
    old = timestamps.parse(before)
    best = max((instant for instant in (old, newest) if instant is not None), default=None)
    # A bucket without listings is past its first pull all the same.
    return timestamps.render(best if best is not None else timestamps.EPOCH)
