"""A CSAF provider: found by its metadata, listed by ROLIE feeds or by `changes.csv` and `index.txt`.

The URL of a definition is one of

* the provider's `provider-metadata.json`, or a site (`https://example.com/`) whose metadata is sought as CSAF says: at
  the well-known place, then in `security.txt`, then at `csaf.data.security.<domain>` where that host is allowed;
* a ROLIE feed, a `changes.csv` or an `index.txt` itself.

ROLIE feeds are preferred where a provider has both. Documents are fetched whose stated instant is not the one last
seen, and those stated newer than the cursor less an overlap: upstream clocks jump, and one instant can cover two
changes. What `deletions.csv` beside a listing names, and nothing says to be changed since, is let go of.

Hash files are compared by the pull. Signatures are fetched where there is a key, one that the operator trusts or those
that the provider's metadata names, and checked by the import.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from urllib.parse import unquote, urljoin, urlsplit

from stellaops.core import timestamps
from stellaops.csaf import provider, tlp
from stellaops.csaf.provider import HASHES, BadIndex, Entry, Listing, ProviderMetadata
from stellaops.ingest.companions import NOTHING, Announced
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
_MOST_KEYS = 20
_LISTINGS: dict[str, Callable[[bytes, str], Listing]] = {
    "changes.csv": provider.changes,
    "index.txt": provider.index,
}
_NO_HASH = "none"
_SIGNATURES = ("check", "none")
_SIGNATURE = ".asc"

Step = Generator[Ask, Answer, None]


class CsafProvider(PlainLayout):
    """A CSAF provider."""

    name = "csaf-provider"
    options = {  # noqa: RUF012 - a constant of the class
        "tlp": "the narrowest audience whose feeds are pulled: CLEAR (the default), GREEN, AMBER, AMBER+STRICT, RED",
        "hash": "the hash file beside documents that are listed without one: sha512, sha256 or none (the default)",
        "signatures": "check (the default) or none: whether to fetch signatures for which there is a key",
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
        if definition.options.get("signatures", _SIGNATURES[0]) not in _SIGNATURES:
            raise BadDefinition(
                f"source {definition.name!r}: option 'signatures' is none of {', '.join(_SIGNATURES)}"
            )
        if definition.options.get("hash", _NO_HASH) not in (*HASHES, _NO_HASH):
            raise BadDefinition(
                f"source {definition.name!r}: option 'hash' is none of {', '.join(HASHES)}, {_NO_HASH}"
            )

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        definition = situation.definition
        search = _Search(definition)
        yield from search.look()
        found = {
            path: entry
            for path, entry in _placed(definition, search.entries)
            if self.keeps(definition, path) and not provider.is_index(path)
        }
        if not found:
            raise ListingUnusable(f"{definition.url} lists no document of source {definition.name!r}")
        return _plan(situation, found, search)


def _plan(situation: Situation, listed: dict[str, Entry], search: _Search) -> Plan:
    definition = situation.definition
    fetched_at = search.newest
    full = situation.full or not situation.known
    dead = search.dead()
    found = {path: entry for path, entry in listed.items() if path not in dead}
    wants: list[Want] = []
    for path in _wanted(situation, found, fetched_at, full=full):
        wants.extend(_wants(definition, path, found[path], signed=search.signed, whole=full))
    stated = (timestamps.parse(entry.updated) for entry in found.values())
    newest = max(
        (instant for instant in stated if instant is not None and instant <= fetched_at), default=None
    )
    cursor = timestamps.parse(situation.cursor)
    best = max((instant for instant in (cursor, newest) if instant is not None), default=timestamps.EPOCH)
    return Plan(
        tuple(wants),
        full=full,
        complete=full,
        cursor=timestamps.render(best),
        listed=len(found),
        gone=sum(path not in found and path not in dead and not _is_beside(path) for path in situation.known),
        taken_back=tuple(sorted(dead)) if full or search.told_anew else (),
        keys=search.keys,
    )


def _wanted(
    situation: Situation, found: dict[str, Entry], fetched_at: datetime, *, full: bool
) -> Iterator[str]:
    """The documents to fetch, in the order of their paths."""
    definition = situation.definition
    cursor = timestamps.parse(situation.cursor)
    since = None if cursor is None else cursor - duration(str(definition.options.get("overlap", _OVERLAP)))
    for path, entry in sorted(found.items()):
        instant = timestamps.parse(entry.updated)
        known = situation.known.get(path)
        recent = since is not None and instant is not None and since <= instant <= fetched_at
        if full or recent or known is None or not entry.updated or known.mark != entry.updated:
            yield path


def _wants(definition: Definition, path: str, entry: Entry, *, signed: bool, whole: bool) -> Iterator[Want]:
    """A document, and its signature where one is of use."""
    # Where all is looked at again, a signature that was put right is for a document that is the same.
    yield Want(entry.url, path, mark=entry.updated, beside=_beside(definition, entry), whole=signed and whole)
    signature = entry.signature or ("" if entry.stated else f"{entry.url}{_SIGNATURE}")
    if signed and signature:
        # Without validators: a document that is sent again is checked by a signature that is there.
        yield Want(signature, f"{path}{_SIGNATURE}", mark=entry.updated, optional=True, whole=True)


def _is_beside(path: str) -> bool:
    return path.endswith(_SIGNATURE)


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


class _Search:
    """What a provider lists, gathered listing by listing.

    Attributes:
        entries: the documents.
        newest: when the last listing was fetched: an instant after that is no instant to go by.
        keys: what the provider's metadata says its signatures are made by.
        told_anew: whether a list of deletions is another than that of the last pull.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self.entries: list[Entry] = []
        self.newest = timestamps.EPOCH
        self.keys = NOTHING
        self.told_anew = False
        self._deleted: dict[str, str] = {}

    @property
    def signed(self) -> bool:
        """Whether signatures are of use."""
        wished = self._definition.options.get("signatures", _SIGNATURES[0]) == _SIGNATURES[0]
        return wished and bool(self._definition.openpgp_keys or self.keys.keys)

    def look(self) -> Step:
        """Ask for everything."""
        url = self._definition.url
        name = urlsplit(url).path.rpartition("/")[2]
        if name in _LISTINGS:
            yield from self._listing(url, _LISTINGS[name])
            yield from self._deletions(url)
        elif name.endswith(".json"):
            yield from self._named()
        else:
            yield from self._discovered()

    def dead(self) -> frozenset[str]:
        """The places of documents that were deleted and did not come back."""
        changed: dict[str, list[str]] = {}
        for entry in self.entries:
            if entry.url in self._deleted:
                changed.setdefault(entry.url, []).append(entry.updated)
        deleted = (
            Entry(url)
            for url, instant in self._deleted.items()
            if provider.is_deleted(instant, *changed.get(url, ()))
        )
        return frozenset(path for path, _ in _placed(self._definition, deleted))

    def _ask(self, url: str, *, optional: bool = False) -> Generator[Ask, Answer, Answer]:
        answer = yield Ask(url, optional=optional)
        self.newest = max(self.newest, answer.fetched_at)
        return answer

    def _named(self) -> Step:
        """The documents of a metadata file or of a ROLIE feed, told by the content."""
        answer = yield from self._ask(self._definition.url)
        if b'"distributions"' not in answer.content and b'"publisher"' not in answer.content:
            yield from self._pages(answer)
        else:
            yield from self._announced(answer)

    def _discovered(self) -> Step:
        """The documents of a site, whose metadata is sought in the order that the standard gives."""
        site = self._definition.url
        answer = yield from self._ask(urljoin(site, provider.WELL_KNOWN), optional=True)
        if not answer.missing:
            yield from self._announced(answer)
            return
        for place in provider.SECURITY_TXT:
            answer = yield from self._ask(urljoin(site, place), optional=True)
            for url in () if answer.missing else provider.announced(answer.content)[:1]:
                yield from self._announced((yield from self._ask(url)))
                return
        domain = urlsplit(site).hostname or ""
        last = provider.dns_name(domain)
        if urlsplit(last).hostname not in self._definition.hosts:
            raise ListingUnusable(
                f"{site} has no CSAF provider metadata, neither at {provider.WELL_KNOWN} nor by security.txt",
                hint=f"Give the address of the provider-metadata.json, or allow the host csaf.data.security.{domain}.",
            )
        yield from self._announced((yield from self._ask(last)))

    def _announced(self, answer: Answer) -> Step:
        """The documents of a provider: by its feeds for the audience, else by its folders."""
        metadata = _read(provider.metadata, answer)
        audience = tlp.LABELS[
            : tlp.LABELS.index(str(self._definition.options.get("tlp", "CLEAR")).upper()) + 1
        ]
        feeds = [feed.url for feed in metadata.feeds if feed.tlp in audience]
        for url in feeds:
            yield from self._pages((yield from self._ask(url)))
        for directory in () if feeds else metadata.directories:
            yield from self._folder(directory)
        if not feeds and not metadata.directories:
            told = ", ".join(sorted({feed.tlp for feed in metadata.feeds})) or "none"
            raise ListingUnusable(
                f"{self._definition.url} announces no listing for {audience[-1]}; feeds there are for: {told}"
            )
        yield from self._public_keys(metadata)

    def _public_keys(self, metadata: ProviderMetadata) -> Step:
        """The keys that lie where the source may be fetched from; without them signatures stay unverified."""
        hosts = {urlsplit(self._definition.url).netloc, *self._definition.hosts}
        found: list[bytes] = []
        named = [key for key in metadata.keys if key.fingerprint][:_MOST_KEYS]
        for key in named:
            if urlsplit(key.url).netloc in hosts or urlsplit(key.url).hostname in hosts:
                answer = yield from self._ask(key.url, optional=True)
                found.extend([] if answer.missing else [answer.content])
        self.keys = Announced(tuple(found), tuple(key.fingerprint for key in named))

    def _folder(self, directory: str) -> Step:
        answer = yield from self._ask(f"{directory}changes.csv", optional=True)
        if answer.missing:
            yield from self._listing(f"{directory}index.txt", provider.index)
        else:
            self.entries.extend(_entries(answer, provider.changes))
        yield from self._deletions(directory)

    def _deletions(self, listing: str) -> Step:
        """What was deleted of a listing, where the provider says that: Red Hat does."""
        answer = yield from self._ask(urljoin(listing, "deletions.csv"), optional=True)
        if not answer.missing:
            self._deleted |= provider.deletions(answer.content, answer.url)
            self.told_anew = self.told_anew or not answer.unchanged

    def _pages(self, answer: Answer) -> Step:
        """The entries of a ROLIE feed, over all its pages."""
        seen = {answer.url}
        while True:
            try:
                listing = provider.rolie(answer.content, answer.url)
            except BadIndex as error:
                raise ListingUnusable(f"{answer.url} is {error}") from error
            self.entries.extend(listing.entries)
            if not listing.next_page or listing.next_page in seen or len(seen) >= _MOST_PAGES:
                return
            seen.add(listing.next_page)
            answer = yield from self._ask(listing.next_page)

    def _listing(self, url: str, read: Callable[[bytes, str], Listing]) -> Step:
        answer = yield from self._ask(url)
        self.entries.extend(_entries(answer, read))


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
