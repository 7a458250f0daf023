"""A CSAF provider: found by its metadata, listed by ROLIE feeds or by `changes.csv` and `index.txt`.

The URL of a definition is one of

* the provider's `provider-metadata.json`, or a site (`https://example.com/`) whose metadata is sought as CSAF says: at
  the well-known place, then in `security.txt`, then at `csaf.data.security.<domain>` where that host is allowed;
* a ROLIE feed, a `changes.csv` or an `index.txt` itself.

ROLIE feeds are preferred where a provider has both. Documents are fetched whose stated instant is not the one last
seen, and those stated newer than the cursor less an overlap: upstream clocks jump, and one instant can cover two
changes. Hash files are compared by the pull, signatures by an import that is given the publisher's key.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from urllib.parse import unquote, urljoin, urlsplit

from stellaops.core import timestamps
from stellaops.csaf import provider, tlp
from stellaops.csaf.provider import HASHES, BadIndex, Entry, Listing, ProviderMetadata
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
from stellaops.ingest.pull_model import Definition

_OVERLAP = "1d"
_MOST_PAGES = 10_000
_LISTINGS: dict[str, Callable[[bytes, str], Listing]] = {
    "changes.csv": provider.changes,
    "index.txt": provider.index,
}
_NO_HASH = "none"

Step = Generator[Ask, Answer, list[Entry]]


class CsafProvider(PlainLayout):
    """A CSAF provider."""

    name = "csaf-provider"
    options = {  # noqa: RUF012 - a constant of the class
        "tlp": "the narrowest audience whose feeds are pulled: CLEAR (the default), GREEN, AMBER, AMBER+STRICT, RED",
        "hash": "the hash file beside documents that are listed without one: sha512, sha256 or none (the default)",
        "prefixes": "how the file names of the wanted documents begin; all when left out",
        "overlap": f"how far before the newest instant seen documents are asked for again (default {_OVERLAP})",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        duration(str(definition.options.get("overlap", _OVERLAP)))
        if str(definition.options.get("tlp", "CLEAR")).upper() not in tlp.LABELS:
            raise BadDefinition(
                f"source {definition.name!r}: option 'tlp' is none of {', '.join(tlp.LABELS)}"
            )
        if definition.options.get("hash", _NO_HASH) not in (*HASHES, _NO_HASH):
            raise BadDefinition(
                f"source {definition.name!r}: option 'hash' is none of {', '.join(HASHES)}, {_NO_HASH}"
            )

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        definition = situation.definition
        name = urlsplit(definition.url).path.rpartition("/")[2]
        clock = _Clock()
        if name in _LISTINGS:
            entries = yield from clock.watch(_listing(definition.url, _LISTINGS[name]))
        elif name.endswith(".json"):
            entries = yield from clock.watch(_named(definition))
        else:
            entries = yield from clock.watch(_discovered(definition))
        found = {
            path: entry
            for path, entry in _placed(definition, entries)
            if self.keeps(definition, path) and not provider.is_index(path)
        }
        if not found:
            raise ListingUnusable(f"{definition.url} lists no document of source {definition.name!r}")
        return _plan(situation, found, clock.newest)


class _Clock:
    """Remembers when the listings were fetched: an instant after that is no instant to go by."""

    def __init__(self) -> None:
        self.newest = timestamps.EPOCH

    def watch(self, step: Step) -> Step:
        """Pass everything on, and look at the answers."""
        ask = next(step, None)
        while ask is not None:
            answer = yield ask
            self.newest = max(self.newest, answer.fetched_at)
            try:
                ask = step.send(answer)
            except StopIteration as end:
                found: list[Entry] = end.value
                return found
        return []


def _plan(situation: Situation, found: dict[str, Entry], fetched_at: datetime) -> Plan:
    definition = situation.definition
    full = situation.full or not situation.known
    cursor = timestamps.parse(situation.cursor)
    since = None if cursor is None else cursor - duration(str(definition.options.get("overlap", _OVERLAP)))
    wants = []
    for path, entry in sorted(found.items()):
        instant = timestamps.parse(entry.updated)
        known = situation.known.get(path)
        recent = since is not None and instant is not None and since <= instant <= fetched_at
        if full or recent or known is None or not entry.updated or known.mark != entry.updated:
            beside = _beside(definition, entry)
            wants.append(Want(entry.url, path, mark=entry.updated, beside=beside))
    stated = (timestamps.parse(entry.updated) for entry in found.values())
    newest = max(
        (instant for instant in stated if instant is not None and instant <= fetched_at), default=None
    )
    best = max((instant for instant in (cursor, newest) if instant is not None), default=timestamps.EPOCH)
    gone = sum(path not in found for path in situation.known)
    return Plan(
        tuple(wants), full=full, complete=full, cursor=timestamps.render(best), listed=len(found), gone=gone
    )


def _beside(definition: Definition, entry: Entry) -> dict[str, str]:
    """The strongest hash file that the listing states; else the one that the definition names."""
    chosen = definition.options.get("hash", _NO_HASH)
    wanted = HASHES if entry.stated and entry.hashes else (chosen,)
    return next(
        ({algorithm: entry.hashes[algorithm]} for algorithm in wanted if algorithm in entry.hashes), {}
    )


def _placed(definition: Definition, entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    """Entries with their paths below the import root: those of their addresses, the newest where one comes twice."""
    home = urlsplit(definition.url).netloc
    for entry in sorted(entries, key=lambda entry: timestamps.parse(entry.updated) or timestamps.EPOCH):
        address = urlsplit(entry.url)
        path = unquote(address.path).lstrip("/")
        names = path.split("/")
        if (
            address.scheme not in ("http", "https")
            or not path
            or {"", ".", ".."} & set(names)
            or "\\" in path
        ):
            continue
        yield (path if address.netloc == home else f"{address.netloc}/{path}"), entry


def _named(definition: Definition) -> Step:
    """The documents of a metadata file or of a ROLIE feed, told by the content."""
    answer = yield Ask(definition.url)
    if b'"distributions"' not in answer.content and b'"publisher"' not in answer.content:
        return (yield from _pages(answer))
    return (yield from _announced(definition, _read(provider.metadata, answer)))


def _discovered(definition: Definition) -> Step:
    """The documents of a site, whose metadata is sought in the order that the standard gives."""
    answer = yield Ask(urljoin(definition.url, provider.WELL_KNOWN), optional=True)
    if not answer.missing:
        return (yield from _announced(definition, _read(provider.metadata, answer)))
    for place in provider.SECURITY_TXT:
        answer = yield Ask(urljoin(definition.url, place), optional=True)
        for url in () if answer.missing else provider.announced(answer.content)[:1]:
            found = yield Ask(url)
            return (yield from _announced(definition, _read(provider.metadata, found)))
    domain = urlsplit(definition.url).hostname or ""
    last = provider.dns_name(domain)
    if urlsplit(last).hostname in definition.hosts:
        found = yield Ask(last)
        return (yield from _announced(definition, _read(provider.metadata, found)))
    raise ListingUnusable(
        f"{definition.url} has no CSAF provider metadata, neither at {provider.WELL_KNOWN} nor by security.txt",
        hint=f"Give the address of the provider-metadata.json, or allow the host csaf.data.security.{domain}.",
    )


def _announced(definition: Definition, metadata: ProviderMetadata) -> Step:
    """The documents of a provider: by its feeds for the audience, else by its folders."""
    audience = tlp.LABELS[: tlp.LABELS.index(str(definition.options.get("tlp", "CLEAR")).upper()) + 1]
    feeds = [feed.url for feed in metadata.feeds if feed.tlp in audience]
    found: list[Entry] = []
    for url in feeds:
        answer = yield Ask(url)
        found.extend((yield from _pages(answer)))
    for directory in () if feeds else metadata.directories:
        answer = yield Ask(f"{directory}changes.csv", optional=True)
        if answer.missing:
            found.extend((yield from _listing(f"{directory}index.txt", provider.index)))
        else:
            found.extend(_entries(answer, provider.changes))
    if not feeds and not metadata.directories:
        told = ", ".join(sorted({feed.tlp for feed in metadata.feeds})) or "none"
        raise ListingUnusable(
            f"{definition.url} announces no listing for {audience[-1]}; feeds there are for: {told}"
        )
    return found


def _pages(answer: Answer) -> Step:
    """The entries of a ROLIE feed, over all its pages."""
    found: list[Entry] = []
    seen = {answer.url}
    while True:
        try:
            listing = provider.rolie(answer.content, answer.url)
        except BadIndex as error:
            raise ListingUnusable(f"{answer.url} is {error}") from error
        found.extend(listing.entries)
        if not listing.next_page or listing.next_page in seen or len(seen) >= _MOST_PAGES:
            return found
        seen.add(listing.next_page)
        answer = yield Ask(listing.next_page)


def _listing(url: str, read: Callable[[bytes, str], Listing]) -> Step:
    answer = yield Ask(url)
    return _entries(answer, read)


def _entries(answer: Answer, read: Callable[[bytes, str], Listing]) -> list[Entry]:
    try:
        listing = read(answer.content, answer.url)
    except BadIndex as error:
        raise ListingUnusable(f"{answer.url} is {error}") from error
    last = answer.content.rstrip().rpartition(b"\n")[2].decode("utf-8", "replace").replace('"', "")
    path, _, updated = last.partition(",")
    whole = answer.content.endswith(b"\n") or timestamps.parse(updated) is not None
    if not listing.entries or not (whole or (read is provider.index and path.endswith(".json"))):
        raise ListingUnusable(f"{answer.url} lists nothing, or is cut off")
    return list(listing.entries)


def _read(parse: Callable[[bytes], ProviderMetadata], answer: Answer) -> ProviderMetadata:
    try:
        return parse(answer.content)
    except BadIndex as error:
        raise ListingUnusable(f"{answer.url} is {error}") from error
