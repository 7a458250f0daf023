"""What providers lay around their documents, as values: metadata, ROLIE feeds, `changes.csv`, `index.txt`, hash files.

Nothing is fetched here: bytes in, entries out, with addresses that a pull can ask for. Forms are read as real providers
write them: listings that are not sorted, paths counted from the repository's root instead of the listing's folder,
`ref` for `rel`, hash files without a file name or a newline.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec
from msgspec import Struct

from stellaops.core import timestamps
from stellaops.csaf import tlp
from stellaops.csaf.values import obj, objects, text, texts

WELL_KNOWN = "/.well-known/csaf/provider-metadata.json"
SECURITY_TXT = ("/.well-known/security.txt", "/security.txt")
HASHES = ("sha512", "sha256")
"""The algorithms of hash files, the stronger first; also their suffixes."""

_HEX = {"sha256": 64, "sha512": 128}
_CSAF_FIELD = re.compile(r"^\s*csaf\s*:\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_INDEX_NAMES = frozenset(
    ("provider-metadata.json", "aggregator.json", "service.json", "index.txt", "changes.csv", "deletions.csv")
)
_FEED_NAME = re.compile(r"(?:^|[-_])feed-tlp-[a-z_+-]+\.json$|^category[\w-]*\.json$", re.IGNORECASE)


class BadIndex(ValueError):
    """Bytes that are not the index that they were taken for."""


class Entry(Struct, frozen=True):
    """One document in a listing.

    Attributes:
        url: where it lies.
        updated: when it was last changed, as the listing says; empty where it does not.
        hashes: algorithm to the address of its hash file.
        signature: the address of its OpenPGP signature.
        stated: whether the listing names hashes and signature; else these are the conventional places, which may be
            empty.
    """

    url: str
    updated: str = ""
    hashes: dict[str, str] = {}
    signature: str = ""
    stated: bool = False


class Listing(Struct, frozen=True):
    """The documents of a listing, each once, in its order.

    Attributes:
        refused: lines or entries that name no place below a web server's root.
        next_page: where the listing goes on; empty at its end.
    """

    entries: tuple[Entry, ...]
    refused: tuple[str, ...] = ()
    next_page: str = ""


class FeedAddress(Struct, frozen=True):
    """A ROLIE feed that a provider announces."""

    url: str
    tlp: str


class PublicKey(Struct, frozen=True):
    """An OpenPGP key that a provider announces, with its fingerprint in upper case."""

    url: str
    fingerprint: str


class ProviderMetadata(Struct, frozen=True):
    """`provider-metadata.json`.

    Attributes:
        role: `csaf_publisher`, `csaf_provider` or `csaf_trusted_provider`.
        directories: addresses of folders with `index.txt` and `changes.csv`, each ending with a slash.
        services: addresses of ROLIE service documents.
    """

    canonical_url: str
    role: str
    publisher: str
    namespace: str
    last_updated: str
    feeds: tuple[FeedAddress, ...] = ()
    directories: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    keys: tuple[PublicKey, ...] = ()


def is_index(path: str) -> bool:
    """Whether a file's name says that it is one of these, and no document."""
    name = path.rpartition("/")[2].lower()
    return name in _INDEX_NAMES or bool(_FEED_NAME.search(name))


def metadata(content: bytes) -> ProviderMetadata:
    """Read `provider-metadata.json`.

    Raises:
        BadIndex: no JSON object with a publisher or distributions.
    """
    told = _json(content, "provider-metadata.json")
    if not (obj(told, "publisher") or "distributions" in told):
        raise BadIndex("no provider metadata: neither publisher nor distributions")
    feeds: dict[str, FeedAddress] = {}
    directories: dict[str, None] = {}
    services: dict[str, None] = {}
    for distribution in objects(told, "distributions"):
        directory = text(distribution, "directory_url") or text(distribution, "directory", "url")
        if directory:
            directories[directory if directory.endswith("/") else f"{directory}/"] = None
        for feed in objects(distribution, "rolie", "feeds"):
            if text(feed, "url"):
                feeds[text(feed, "url")] = FeedAddress(text(feed, "url"), tlp.label(text(feed, "tlp_label")))
        services.update(dict.fromkeys(texts(distribution, "rolie", "services")))
    return ProviderMetadata(
        canonical_url=text(told, "canonical_url"),
        role=text(told, "role"),
        publisher=text(told, "publisher", "name"),
        namespace=text(told, "publisher", "namespace"),
        last_updated=text(told, "last_updated"),
        feeds=tuple(feeds.values()),
        directories=tuple(directories),
        services=tuple(services),
        keys=tuple(_keys(told)),
    )


def _keys(told: dict[str, Any]) -> Iterator[PublicKey]:
    for name in ("public_openpgp_keys", "pgp_keys"):
        for key in objects(told, name):
            if text(key, "url"):
                fingerprint = re.sub(r"[^0-9A-Fa-f]", "", text(key, "fingerprint")).upper()
                yield PublicKey(text(key, "url"), fingerprint)


def announced(content: bytes) -> tuple[str, ...]:
    """The addresses of provider metadata in a `security.txt`: its `CSAF:` fields, https only, in its order."""
    found = _CSAF_FIELD.findall(content.decode("utf-8", "replace"))
    return tuple(dict.fromkeys(url for url in found if url.lower().startswith("https://")))


def dns_name(domain: str) -> str:
    """The address to ask last, when neither the well-known place nor `security.txt` helps."""
    return f"https://csaf.data.security.{domain}"


def service(content: bytes) -> tuple[str, ...]:
    """The feeds that a ROLIE service document names.

    Raises:
        BadIndex: no ROLIE service document.
    """
    told = _json(content, "service document")
    if "service" not in told:
        raise BadIndex("no ROLIE service document: there is no `service`")
    found = (
        text(collection, "href")
        for workspace in objects(told, "service", "workspace")
        for collection in objects(workspace, "collection")
    )
    return tuple(dict.fromkeys(url for url in found if url))


def aggregated(content: bytes) -> tuple[str, ...]:
    """The provider metadata that an `aggregator.json` names: of its mirrors where it has them, else the originals.

    Raises:
        BadIndex: no aggregator document.
    """
    told = _json(content, "aggregator.json")
    if not ("csaf_providers" in told or "csaf_publishers" in told):
        raise BadIndex("no aggregator document: neither csaf_providers nor csaf_publishers")
    found: dict[str, None] = {}
    for name in ("csaf_providers", "csaf_publishers"):
        for provider in objects(told, name):
            mirrors = texts(provider, "mirrors")
            found.update(dict.fromkeys(mirrors or (text(provider, "metadata", "url"),)))
    return tuple(url for url in found if url)


def rolie(content: bytes, url: str) -> Listing:
    """The entries of a ROLIE feed.

    Args:
        url: where the feed came from, for links that are not absolute.

    Raises:
        BadIndex: no ROLIE feed.
    """
    told = _json(content, "ROLIE feed")
    if "feed" not in told:
        raise BadIndex("no ROLIE feed: there is no `feed`")
    entries: dict[str, Entry] = {}
    refused: list[str] = []
    for told_entry in objects(told, "feed", "entry"):
        links = list(_links(told_entry))
        own = text(told_entry, "content", "src") or next((href for rel, href in links if rel == "self"), "")
        if not own:
            refused.append(text(told_entry, "id") or "an entry without content and link")
            continue
        hashes = {
            algorithm: urljoin(url, href)
            for rel, href in links for algorithm in HASHES
            if rel == "hash" and urlsplit(href).path.lower().endswith(f".{algorithm}")
        }  # fmt: skip
        signature = next((urljoin(url, href) for rel, href in links if rel == "signature"), "")
        place = urljoin(url, own)
        entries[place] = Entry(place, text(told_entry, "updated"), hashes, signature, stated=True)
    following = next((href for rel, href in _links(obj(told, "feed")) if rel == "next"), "")
    return Listing(tuple(entries.values()), tuple(refused), urljoin(url, following) if following else "")


def _links(value: Any) -> Iterator[tuple[str, str]]:
    """Relation and address of links; some feeds call the relation `ref`."""
    for link in objects(value, "link"):
        if text(link, "href"):
            yield (text(link, "rel") or text(link, "ref")).lower(), text(link, "href")


def changes(content: bytes, url: str) -> Listing:
    """The entries of a `changes.csv`, quoted or not, the newest first whatever the order in the file.

    Args:
        url: where the file came from.
    """
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    found: list[tuple[str, str]] = []
    try:
        found = [
            (row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in rows if row and row[0].strip()
        ]
    except csv.Error as error:
        raise BadIndex(f"no CSV file: {error}") from error
    found.sort(key=lambda row: timestamps.parse(row[1]) or timestamps.EPOCH, reverse=True)
    return _listing(found, url)


def deletions(content: bytes, url: str) -> dict[str, str]:
    """What a `deletions.csv` says to be deleted: addresses, each with the newest stated instant; empty without one.

    Red Hat lays this list beside its `changes.csv`, which keeps naming what was deleted.

    Args:
        url: where the file came from.
    """
    placed_at = ((_place(path, url), instant) for path, instant in dated(content))
    return _newest((place, instant) for place, instant in placed_at if place is not None)


def deleted_in(content: bytes, folder: str) -> dict[str, str]:
    """The same as paths from the root that `folder`, in which the list lies, is counted from."""
    placed_at = ((placed(path, folder), instant) for path, instant in dated(content))
    return _newest((place, instant) for place, instant in placed_at if place is not None)


def is_deleted(deleted_at: str, *changed_at: str) -> bool:
    """Whether a document that was deleted at an instant still is, by the instants at which it was changed.

    A deletion without an instant is for good.
    """
    deleted = timestamps.parse(deleted_at)
    changes = (timestamps.parse(text) for text in changed_at)
    return deleted is None or not any(change is not None and deleted < change for change in changes)


def dated(content: bytes) -> list[tuple[str, str]]:
    """The paths of JSON files in a list such as `changes.csv`, with the instants that stand beside them.

    A line with anything but an instant there is left out, and one without where others have one: the list is cut off.
    """
    try:
        rows = [
            (row[0].strip(), row[1].strip() if len(row) > 1 else "")
            for row in csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
            if row and row[0].strip().lower().endswith(".json")
        ]
    except csv.Error:
        return []
    sound = [(path, instant) for path, instant in rows if timestamps.parse(instant) is not None]
    return sound or [row for row in rows if not row[1]]


def _newest(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for place, instant in found:
        if place not in newest or is_deleted(instant, newest[place]):
            newest[place] = instant
    return newest


def index(content: bytes, url: str) -> Listing:
    """The entries of an `index.txt`.

    Args:
        url: where the file came from.
    """
    lines = (line.strip() for line in content.decode("utf-8-sig", "replace").splitlines())
    return _listing([(line, "") for line in lines if line and not line.startswith("#")], url)


def _listing(found: Iterable[tuple[str, str]], url: str) -> Listing:
    entries: dict[str, Entry] = {}
    refused: list[str] = []
    for path, updated in found:
        if not path.lower().endswith(".json"):
            if not path.lower().endswith((".sha256", ".sha512", ".asc")) and (entries or not updated):
                refused.append(path[:200])
            continue
        place = _place(path, url)
        if place is None:
            refused.append(path[:200])
        elif place not in entries:
            hashes = {algorithm: f"{place}.{algorithm}" for algorithm in HASHES}
            entries[place] = Entry(place, updated, hashes, f"{place}.asc")
    return Listing(tuple(entries.values()), tuple(refused))


def _place(path: str, url: str) -> str | None:
    base = urlsplit(url)
    folder = unquote(base.path).rpartition("/")[0]
    inside = placed(path, folder)
    return None if inside is None else urljoin(url, quote(f"/{inside.lstrip('/')}"))


def placed(path: str, folder: str) -> str | None:
    """Where a path in a listing leads: relative to the listing's folder, or counted from further up.

    A path that repeats two or more of the folder's last names (`csaf_files/OT/white/2017/x.json` in the listing of
    `…/csaf_files/OT/white`) was counted from above them; one name alone may well be a subfolder of the same name.

    Returns:
        The path from the root that `folder` is counted from; None where it is absolute or leads out.
    """
    names = path.removeprefix("./").split("/")
    if (
        path.startswith("/")
        or "\\" in path
        or "://" in path
        or not all(names)
        or not {".", ".."}.isdisjoint(names)
    ):
        return None
    above = [name for name in folder.split("/") if name]
    for length in range(min(len(above), len(names) - 1), 1, -1):
        if above[-length:] == names[:length]:
            above = above[:-length]
            break
    return "/".join((*above, *names))


def stated_hash(content: bytes, algorithm: str) -> str | None:
    """The hexadecimal hash in a hash file, in lower case; None where there is none of that length.

    The form is that of `sha256sum`: the hash, blanks, a file's name; providers leave out the name, or the newline.
    """
    words: Sequence[bytes] = content[:4096].split()
    word = words[0].decode("ascii", "replace").lower().removeprefix("\\") if words else ""
    return word if re.fullmatch(rf"[0-9a-f]{{{_HEX[algorithm]}}}", word) else None


def _json(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadIndex(f"no {what}: {error}") from error
    if not isinstance(value, dict):
        raise BadIndex(f"no {what}: not a JSON object")
    return value
