"""Finds what a wish asks for in the trees of a mirror host."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stellaops.adapters.files.export_trees import ExportTree, Stored, StoredFiles
from stellaops.adapters.web.back_ends import BackEnd, Kept
from stellaops.bundles.vex import repository
from stellaops.bundles.vex.openvex import Author
from stellaops.gateway.answers import Found, describing, media_of
from stellaops.gateway.negotiation import CODINGS
from stellaops.gateway.routes import Kind, Wish

_FIXED_SECONDS = 60.0  # for which a file under an export's id is not looked at again
_LOOK = 1.0  # the same for files that may be renewed
_PACKED = 1024  # bytes above which a file may be stored in a coding too
_INTERVAL = (
    "1h"  # between two looks of a scanner at the archive: an entity tag that still holds costs nothing
)
_MOST_RENDERED = 256
_MOST_HITS = 10_000
_MOST_LOCATED = 20_000
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_LARGEST_MANIFEST = 4 << 20

Codings = Sequence[str]


class Shelves:
    """The trees, what is remembered of their files, and what is rendered from them. Safe for threads.

    Args:
        trees: by side; one that is missing has nothing.
        back_ends: sides that are asked elsewhere.
    """

    def __init__(
        self,
        trees: Mapping[str, ExportTree],
        files: StoredFiles | None = None,
        back_ends: Mapping[str, BackEnd] | None = None,
    ) -> None:
        self.trees = trees
        self._back_ends = back_ends or {}
        self._files = files or StoredFiles()
        # Codings in which a file is stored too.
        self._variants: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        # Answers that were given before, with their headers; for stable names and for those under an id.
        self._hits: OrderedDict[tuple[str, bool], Found] = OrderedDict()
        self._rendered: OrderedDict[tuple[object, ...], Stored] = OrderedDict()
        self._located: OrderedDict[str, str] = OrderedDict()

    def at_once(self, wish: Wish, codings: Codings) -> Found | None:
        """What is known already, of a plain file; None where the disk has to be asked."""
        if wish.side in self._back_ends:
            return self._kept_at_once(wish, codings)
        tree = self.trees.get(wish.side)
        if tree is None or wish.kind is not Kind.FILE:
            return None
        now = time.monotonic()
        export, recent = (wish.export, True) if wish.export else tree.seen_export(now)
        if export is None or not recent:
            return None
        path = tree.place(export, wish.path)
        variants = self._variants.get(path)
        if variants is None:
            return None
        coding = next((each for each in codings if each in variants), "")
        seconds = _LOOK if _is_renewed(wish.path) else _FIXED_SECONDS
        name = path + CODINGS.get(coding, "")
        stored = self._files.known(name, now, seconds)
        if stored is None:
            return None
        key = name, wish.export is None
        found = self._hits.get(key)
        if found is None or found.stored is not stored:
            found = Found(stored, media_of(wish.path), coding, "HIT", export, self._place_of(wish, export))
            found = replace(found, lines=describing(found))
            self._note(self._hits, key, found, _MOST_HITS)
        return found

    def asked(self, wish: Wish, codings: Codings, path: str, headers: Mapping[str, str]) -> Found | None:
        """What a wish asks for, from the back end of its side.

        Args:
            path: that of the request.
            headers: sent along, such as who asks.

        Raises:
            BackEndAway: see there.
        """
        back_end = self._back_ends[wish.side]
        if wish.kind is Kind.KEY:
            path = f"/concelier/exports/mirror/{wish.domain}/mirror-key.pub"
        kept, cache = back_end.get((wish, ""), path, headers)
        if kept is None:
            return None
        for coding in codings if wish.kind is Kind.FILE and kept.stored.size > _PACKED else ():
            packed, _ = back_end.get((wish, coding), path + CODINGS[coding], headers)
            if packed is not None and packed.export == kept.export:
                return _of_back_end(packed, kept, coding, cache)
        return _of_back_end(kept, kept, "", cache)

    def tag_asked(self, wish: Wish, path: str, headers: Mapping[str, str]) -> str:
        """The entity tag of a file at the back end of a side; empty where it names none.

        Raises:
            BackEndAway: see there.
        """
        return self._back_ends[wish.side].tag(path, headers)

    def has_back_end(self, side: str) -> bool:
        """Whether a side is asked elsewhere."""
        return side in self._back_ends

    def index_asked(
        self, wish: Wish, path: str, headers: Mapping[str, str], readable: Collection[str]
    ) -> Found | None:
        """Concelier's index from its back end, which leaves out what the caller may not read.

        Raises:
            BackEndAway: see there.
        """
        key = wish, tuple(sorted(readable))
        kept, cache = self._back_ends[wish.side].get(key, path, headers)
        return _of_back_end(kept, kept, "", cache) if kept is not None else None

    def vex_manifest(self, wish: Wish, base: str) -> Found:
        """The manifest of a VEX repository, at the address that clients know."""
        url = f"{base}/vex/{wish.domain}/{repository.ARCHIVE}"
        stored = self._render(("vex", url), lambda: repository.manifest(Author(), url, _INTERVAL))
        return Found(stored, "application/json", "", "HIT")

    def _kept_at_once(self, wish: Wish, codings: Codings) -> Found | None:
        back_end = self._back_ends[wish.side]
        kept = back_end.known((wish, ""))
        if kept is None or (codings and wish.kind is Kind.FILE and kept.stored.size > _PACKED):
            return None
        return _of_back_end(kept, kept, "", "HIT")

    def find(self, wish: Wish, codings: Codings, base: str) -> Found | None:
        """What a wish asks for; may read from disk.

        Args:
            base: address under which clients know this host.

        Returns:
            None where there is no such thing.

        Raises:
            LookupError: the side has no export to serve at all.
        """
        tree = self.trees.get(wish.side)
        if tree is None:
            raise LookupError(wish.side)
        if wish.kind is Kind.SIDE_FILE:
            return self._plain(tree.beside(wish.path), wish, codings, "")
        export = wish.export or tree.active_export(time.monotonic())
        if export is None:
            raise LookupError(wish.side)
        match wish.kind:
            case Kind.FILE:
                return self._plain(tree.place(export, wish.path), wish, codings, export)
            case Kind.EXPORT:
                return self._export(tree, wish, codings, export)
            case Kind.VEX_MANIFEST:
                return self._vex_manifest(tree, wish, export, base)
            case Kind.KEY:
                path = f"mirror/{wish.domain}/mirror-key.pub"
                return self._plain(tree.place(export, path), wish, codings, export)
            case _:
                return self._registry(tree, wish, export)

    def index(self, export: str | None, readable: Collection[str]) -> Found | None:
        """Concelier's index with the domains that somebody may read.

        Raises:
            LookupError: there is no export to serve.
        """
        tree = self.trees.get("concelier")
        active = tree.active_export(time.monotonic()) if tree else None
        chosen = export or active
        if tree is None or chosen is None:
            raise LookupError("concelier")
        stored, known = self._read(tree.place(chosen, "index.json"), _FIXED_SECONDS)
        if stored is None:
            return None
        domains = tuple(sorted(readable))
        found = self._render(
            ("index", stored.identity, domains), lambda: _filtered(self._body(stored), frozenset(domains))
        )
        more = [(b"content-location", f"/concelier/exports/{chosen}/index.json".encode())]
        return Found(
            found, "application/json", "", "HIT" if known else "MISS", chosen, [] if export else more
        )

    def rendered(self, wire: object) -> Found:
        """A value of ours as JSON."""
        return Found(_made(_encoded(wire)), "application/json")

    def index_entry(self, domain: str) -> Mapping[str, Any] | None:
        """What Concelier's index says of a domain, unverified; None where it says nothing."""
        tree = self.trees.get("concelier")
        export = tree.active_export(time.monotonic()) if tree else None
        stored = self._read(tree.place(export, "index.json"), _FIXED_SECONDS)[0] if tree and export else None
        for entry in _object(self._body(stored)).get("domains", ()) if stored else ():
            if isinstance(entry, dict) and entry.get("id") == domain:
                return entry
        return None

    def _plain(self, path: str, wish: Wish, codings: Codings, export: str) -> Found | None:
        seconds = _LOOK if not export or _is_renewed(wish.path) else _FIXED_SECONDS
        base, known = self._read(path, seconds)
        if base is None:
            return None
        variants = self._variants.get(path) if known else None
        if variants is None:
            variants = tuple(name for name, ending in CODINGS.items() if os.path.isfile(path + ending))  # noqa: PTH113
            self._note(self._variants, path, variants, _MOST_LOCATED)
            known = False
        coding = next((each for each in codings if each in variants), "")
        stored = base
        if coding:
            chosen, was_known = self._read(path + CODINGS[coding], seconds)
            known = known and was_known
            stored, coding = (chosen, coding) if chosen else (base, "")
        more = self._place_of(wish, export)
        return Found(stored, media_of(wish.path or path), coding, "HIT" if known else "MISS", export, more)

    def _place_of(self, wish: Wish, export: str) -> list[tuple[bytes, bytes]]:
        """The path that never means anything else, where the one asked for is a stable name."""
        if wish.export or not export or wish.kind is not Kind.FILE:
            return []
        return [(b"content-location", f"/{wish.side}/exports/{export}/{_quoted(wish.path)}".encode())]

    def _export(self, tree: ExportTree, wish: Wish, codings: Codings, export: str) -> Found | None:
        """A file of Excititor's, by its key in the index, or by its own name."""
        own = f"mirror/{wish.domain}/exports/{wish.path}"
        stored, _ = self._read(tree.place(export, f"mirror/{wish.domain}/index.json"), _FIXED_SECONDS)
        for entry in _object(self._body(stored)).get("exports", ()) if stored else ():
            if isinstance(entry, dict) and entry.get("exportKey") == wish.path:
                own = f"mirror/{wish.domain}/{entry.get('file') or 'exports/' + wish.path}"
        name = own.rpartition("/")[2]
        if (
            not own.startswith(f"mirror/{wish.domain}/exports/")
            or name != own.split("/", 3)[3]
            or name in ("", "..", ".")
        ):
            return None
        plain = Wish(Kind.FILE, wish.side, wish.domain, own)
        found = self._plain(tree.place(export, own), plain, codings, export)
        if found is not None:
            found.more.append((b"content-disposition", f'attachment; filename="{name}"'.encode()))
        return found

    def _vex_manifest(self, tree: ExportTree, wish: Wish, export: str, base: str) -> Found | None:
        archive, _ = self._read(tree.place(export, f"vex/{wish.domain}/{repository.ARCHIVE}"), _FIXED_SECONDS)
        return self.vex_manifest(wish, base) if archive is not None else None

    # The registry

    def _registry(self, tree: ExportTree, wish: Wish, export: str) -> Found | None:
        layout = f"oci/{wish.domain}/{wish.repository}"
        stored, _ = self._read(tree.place(export, f"{layout}/index.json"), _FIXED_SECONDS)
        if stored is None:
            return None
        entries = [
            each for each in _object(self._body(stored)).get("manifests", ()) if isinstance(each, dict)
        ]
        match wish.kind:
            case Kind.OCI_TAGS:
                name = f"{wish.domain}/{wish.repository}"
                tags = sorted({tag for each in entries if (tag := _tag(each))})
                made = self._render(("tags", stored.identity), lambda: _encoded({"name": name, "tags": tags}))
                return Found(made, "application/json", "", "HIT", export)
            case Kind.OCI_REFERRERS:
                return self._referrers(tree, export, layout, wish.path, entries)
            case Kind.OCI_MANIFEST:
                digest = _digest_of(wish.path, entries)
                found = self._blob(tree, export, layout, digest) if digest else None
                return self._as_manifest(found, digest) if found and digest else None
        found = self._blob(tree, export, layout, wish.path)
        if found is not None:
            found.more.append((b"docker-content-digest", wish.path.encode()))
        return found

    def _blob(self, tree: ExportTree, export: str, layout: str, digest: str) -> Found | None:
        """A blob, of the export that is active or of one before it: clients hold a manifest for a while."""
        name = f"{layout}/blobs/sha256/{digest.removeprefix('sha256:')}"
        known = self._located.get(name)
        for each in dict.fromkeys([*([known] if known else []), export, *([] if known else tree.exports())]):
            stored, was_known = self._read(tree.place(each, name), _FIXED_SECONDS)
            if stored is not None:
                if stored.sha256.hex() != digest.removeprefix("sha256:"):
                    return None  # damaged on this disk: nobody gets it under that name
                self._note(self._located, name, each, _MOST_LOCATED)
                return Found(stored, "application/octet-stream", "", "HIT" if was_known else "MISS", each, [])
        self._located.pop(name, None)
        return None

    def _as_manifest(self, found: Found, digest: str) -> Found | None:
        told = _object(self._body(found.stored)) if found.stored.size <= _LARGEST_MANIFEST else {}
        if told.get("schemaVersion") != 2:
            return None
        default = _INDEX_TYPE if "manifests" in told else _MANIFEST_TYPE
        media = told.get("mediaType")
        more = [(b"docker-content-digest", digest.encode())]
        text = media if isinstance(media, str) and media.isprintable() and media.isascii() else default
        return Found(found.stored, text, "", found.cache, found.export, more)

    def _referrers(
        self, tree: ExportTree, export: str, layout: str, digest: str, entries: Sequence[Mapping[str, Any]]
    ) -> Found:
        manifests = []
        for entry in entries:
            found = self._blob(tree, export, layout, str(entry.get("digest")))
            told = (
                _object(self._body(found.stored)) if found and found.stored.size <= _LARGEST_MANIFEST else {}
            )
            if _object_of(told.get("subject")).get("digest") == digest:
                kind = told.get("artifactType") or _object_of(told.get("config")).get("mediaType")
                manifests.append({**entry, "artifactType": kind, "annotations": told.get("annotations", {})})
        wire = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests}
        return Found(_made(_encoded(wire)), _INDEX_TYPE)

    def _read(self, path: str, seconds: float) -> tuple[Stored | None, bool]:
        now = time.monotonic()
        known = self._files.known(path, now, seconds)
        return (known, True) if known is not None else self._files.read(path, now)

    def _body(self, stored: Stored) -> bytes:
        if stored.body is not None:
            return stored.body
        with open(stored.path, "rb") as file:  # noqa: PTH123 - a text, not a path
            return file.read()

    def _render(self, key: tuple[object, ...], make: Callable[[], bytes]) -> Stored:
        found = self._rendered.get(key)
        if found is None:
            found = _made(make())
            self._note(self._rendered, key, found, _MOST_RENDERED)
        return found

    def _note(self, kept: OrderedDict[Any, Any], key: object, value: object, most: int) -> None:
        kept[key] = value
        while len(kept) > most:
            try:
                kept.popitem(last=False)
            except KeyError:  # another thread was quicker
                return


def _of_back_end(kept: Kept, described: Kept, coding: str, cache: str) -> Found:
    """An answer of a back end as one of ours; what it is stands with its form without coding."""
    told = described.headers
    names = ("content-disposition", "content-location", "docker-content-digest")
    more = [(name.encode(), told[name].encode("latin-1")) for name in names if name in told]
    media = told.get("content-type", "application/octet-stream")
    return Found(kept.stored, media, coding, cache, described.export, more)


def _is_renewed(path: str) -> bool:
    """Whether a file under an export's id may be signed anew."""
    return path.endswith((".sig", ".jws", ".sigstore.json", ".pub"))


def _quoted(path: str) -> str:
    return path.replace(" ", "%20")


def _made(body: bytes) -> Stored:
    return Stored("", len(body), hashlib.sha256(body).digest(), body, ())


def _encoded(wire: object) -> bytes:
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode()


def _filtered(data: bytes, readable: frozenset[str]) -> bytes:
    """An index with only these domains; as it is where these are all."""
    told = _object(data)
    domains = [each for each in told.get("domains", ()) if isinstance(each, dict)]
    kept = [each for each in domains if each.get("id") in readable]
    return data if len(kept) == len(domains) else _encoded({**told, "domains": kept})


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _object_of(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def _object_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tag(entry: Mapping[str, Any]) -> str | None:
    tag = _object_of(entry.get("annotations")).get("org.opencontainers.image.ref.name")
    return tag if isinstance(tag, str) else None


def _digest_of(name: str, entries: Sequence[Mapping[str, Any]]) -> str | None:
    """The digest of a tag; a digest is its own."""
    if name.startswith("sha256:"):
        return name
    found = next((each.get("digest") for each in entries if _tag(each) == name), None)
    return found if isinstance(found, str) and len(found) == 71 else None
