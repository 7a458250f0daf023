"""A mirror of another installation: what its publisher signed, and nothing else.

1. The freshness statement of the domain: signed by a key that the definition names, not expired, not older than before.
2. The list of the domain's files, signed by the same keys: a digest for each.
3. Concelier's side: the bucket's archives at first, then the documents whose digest is another than last time.
   Excititor's: the archive of the VEX repository.

A source belongs to one database, and a domain may have several: the manifest names them, and the definition whose
documents it wants. Where ids and ecosystems tell a document's database, that decides; the documents of the others are
what is left. A definition that would mix databases is refused with those that would not.

Every file is fetched under the export id that the statement names, so that a publication in between changes nothing,
and the pull compares each with its signed digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator, Iterable
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote

import msgspec

from stellaops.advisories import databases
from stellaops.bundles import freshness, layout
from stellaops.bundles.freshness import BadFreshness, Freshness
from stellaops.core import timestamps
from stellaops.core.errors import NotTrusted, StellaError
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
from stellaops.ingest.mirror_databases import UNWANTED
from stellaops.ingest.pull_model import Definition, Known
from stellaops.signing import cosign_blob, ecdsa_p256, sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_SIDES = ("concelier", "excititor")
_ROUNDS = 3
_SIGNATURE_BYTES = 8 << 10
_ARCHIVE = "all.zip"
_VEX_ARCHIVE = "vex-repository.tar.gz"
_WITHOUT_DOCUMENTS = frozenset(("kev", "epss", "maven-index"))
"""Databases that mirrors have, and whose records are no advisories that a bucket of OSV could hold."""
_MANY, _SHARE = 200, 5
"""Archives are fetched rather than documents one by one from so many changes on, when they are so large a part."""


class MirrorNotTrusted(NotTrusted):
    """A mirror's statement or list is signed by no key that the source's definition names, or is an older one."""

    code = "ERR_PULL_MIRROR_UNTRUSTED"
    hint = "See that option publicKey has the publisher's present key; if it has, do not use this mirror."


class _Entry(msgspec.Struct, frozen=True):
    path: str
    sha256: str
    bytes: int


class _Tree(msgspec.Struct, frozen=True, rename="camel"):
    side: str
    domain: str
    export_id: str
    files: tuple[_Entry, ...]


class _Source(msgspec.Struct, frozen=True):
    name: str
    database: str
    documents: int = 0


class _Manifest(msgspec.Struct, frozen=True):
    sources: tuple[_Source, ...]


class Mirror(PlainLayout):
    """A domain of a mirror that serves what `stella mirror publish` writes."""

    name = "mirror"
    options = {  # noqa: RUF012 - a constant of the class
        "domain": "the mirror's domain",
        "publicKey": "the publisher's public key in PEM; several where it was rotated",
        "side": "concelier (the default), for advisories, or excititor, for VEX",
        "prefixes": "how the names of the wanted documents begin; all when left out",
        UNWANTED: "the mirror's databases that nobody here wants: nothing points them out",
        "others": "the mirror's databases that other sources take; for one whose documents no ids tell",
    }

    def keeps(self, definition: Definition, path: str) -> bool:
        """See the interface: by the database of the definition, and by `prefixes`."""
        return super().keeps(definition, path) and _is_of(definition, path)

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        options = definition.options
        if not options.get("domain") or not options.get("publicKey"):
            raise BadDefinition(f"source {definition.name!r}: options 'domain' and 'publicKey' are needed")
        if options.get("side", _SIDES[0]) not in _SIDES:
            raise BadDefinition(f"source {definition.name!r}: option 'side' is none of {', '.join(_SIDES)}")
        if _texts(definition, "others") and databases.is_told_by_names(definition.database or "ghsa"):
            raise BadDefinition(
                f"source {definition.name!r}: option 'others' is for a database that its documents' ids do not tell"
            )
        try:
            _keys(definition)
        except StellaError as error:
            raise BadDefinition(f"source {definition.name!r}: option 'publicKey': {error.what}") from error

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        reading = _Reading(situation.definition)
        statement = yield from reading.statement()
        _demand_newer(situation, statement)
        tree = yield from reading.tree(statement.export_id)
        base = f"{reading.base}/{statement.export_id}"
        cursor = timestamps.render(statement.issued)
        if reading.side == "excititor":
            return _vex(situation, tree, base, cursor)
        manifest = yield from reading.manifest(tree)
        _demand_one_database(situation.definition, manifest, _bucket(tree))
        plan = self._advisories(situation, tree, base, cursor)
        return msgspec.structs.replace(plan, databases=tuple(sorted(_databases(manifest))))

    def _advisories(self, situation: Situation, tree: _Tree, base: str, cursor: str) -> Plan:
        folder = f"osv/{tree.domain}/"
        listed = {
            entry.path.removeprefix(folder): entry for entry in tree.files if entry.path.startswith(folder)
        }
        documents = {
            path: entry for path, entry in _bucket(tree).items() if self.keeps(situation.definition, path)
        }
        if not documents:
            raise ListingUnusable(
                f"domain {tree.domain} of {base} has no bucket, or none of the wanted documents"
            )
        changed = [path for path, entry in documents.items() if _mark(situation, path) != entry.sha256]
        many = len(changed) >= _MANY and len(changed) * _SHARE > len(documents)
        full = situation.full or many or not situation.cursor
        folders = {path.partition("/")[0] for path in documents}
        archives = [f"{each}/{_ARCHIVE}" for each in sorted(folders) if f"{each}/{_ARCHIVE}" in listed]
        chosen = archives if full else changed
        return Plan(
            tuple(_want(base, folder, path, listed[path]) for path in chosen),
            full=full,
            complete=full,
            cursor=cursor,
            listed=len(documents),
            files={path: Known(mark=entry.sha256) for path, entry in documents.items()} if full else {},
            gone=0 if full else sum(path not in listed for path in situation.known),
        )


def _bucket(tree: _Tree) -> dict[str, _Entry]:
    """The documents of the domain's bucket, by `<ECO>/<ID>.json`."""
    folder = f"osv/{tree.domain}/"
    found = (
        (entry.path.removeprefix(folder), entry) for entry in tree.files if entry.path.startswith(folder)
    )
    return {path: entry for path, entry in found if path.count("/") == 1 and path.endswith(".json")}


def _is_of(definition: Definition, path: str) -> bool:
    """Whether a document is of the definition's database, by its place `<ECO>/<ID>.json`.

    All are where no database is named, where `prefixes` pick them, or where it is the only one.
    """
    others = _texts(definition, "others")
    if _texts(definition, "prefixes") or not (others or databases.is_told_by_names(definition.database)):
        return True
    told = _told(path)
    return told not in others if others else told == definition.database


def _told(path: str) -> str:
    """The database that the place of a document tells."""
    return databases.tell_by_name(path.rpartition("/")[2].removesuffix(".json"), path.partition("/")[0])


def _databases(manifest: _Manifest) -> set[str]:
    """Those that sources may take."""
    return {each.database for each in manifest.sources if each.documents} - _WITHOUT_DOCUMENTS


def _demand_one_database(definition: Definition, manifest: _Manifest, paths: Iterable[str]) -> None:
    """Refuse to bring documents of several databases into one source, or to leave out some that belong to it.

    Args:
        paths: `<ECO>/<ID>.json` of every document.

    Raises:
        BadDefinition: see there; its hint names the sources to define.
    """
    there = _databases(manifest)
    wanted, by_names = definition.database, {name for name in there if databases.is_told_by_names(name)}
    left = there - by_names
    if wanted not in there and (wanted or len(there) > 1):
        raise _refused(definition, there, f"is of {wanted!r}" if wanted else "names none of them")
    if len(there) <= 1 or _texts(definition, "prefixes"):
        return
    if wanted in left and len(left) > 1:
        told = f"is of {wanted!r}, and nothing tells the documents of {', '.join(sorted(left))} apart but `prefixes`"
        raise _refused(definition, there, told)
    if wanted in left and not by_names.issubset(_texts(definition, "others")):
        raise _refused(definition, there, "does not name in `others` those that it leaves out")
    nobodys = [] if left else [path for path in paths if _told(path) not in there]
    if nobodys:
        told = (
            f"would leave {len(nobodys)} documents to no source, such as {nobodys[0][:200]}: name `prefixes`"
        )
        raise _refused(definition, there, told)


def _refused(definition: Definition, there: Collection[str], why: str) -> BadDefinition:
    by_names = sorted(name for name in there if databases.is_told_by_names(name))
    options = {
        name: "" if name in by_names else "".join(f" --option others={each}" for each in by_names)
        for name in sorted(there)
    }
    commands = "; ".join(
        f"`stella concelier sources add {definition.name}-{name} … --database {name}{option}`"
        for name, option in options.items()
    )
    return BadDefinition(
        f"source {definition.name!r} {why}; the mirror has documents of {', '.join(options)}",
        hint=f"Define a source for each database that you want: {commands}.",
    )


def _texts(definition: Definition, option: str) -> tuple[str, ...]:
    told = definition.options.get(option, ())
    return (told,) if isinstance(told, str) else tuple(told)


def _vex(situation: Situation, tree: _Tree, base: str, cursor: str) -> Plan:
    folder = f"vex/{tree.domain}/"
    found = next((entry for entry in tree.files if entry.path == f"{folder}{_VEX_ARCHIVE}"), None)
    if found is None:
        raise ListingUnusable(f"domain {tree.domain} of {base} has no VEX repository")
    if not situation.full and _mark(situation, _VEX_ARCHIVE) == found.sha256:
        return Plan((), cursor=cursor, listed=1)
    return Plan(
        (_want(base, folder, _VEX_ARCHIVE, found),), full=True, complete=True, cursor=cursor, listed=1
    )


def _want(base: str, folder: str, path: str, entry: _Entry) -> Want:
    url = f"{base}/{quote(folder + path)}"
    return Want(url, path, mark=entry.sha256, size=entry.bytes, hashes={"sha256": entry.sha256})


def _mark(situation: Situation, path: str) -> str:
    known = situation.known.get(path)
    return known.mark if known else ""


def _keys(definition: Definition) -> list[PublicKey]:
    told = definition.options.get("publicKey", [])
    texts = [told] if isinstance(told, str) else list(told)
    return [key for text in texts for key in ecdsa_p256.load_public_keys(text.encode())]


def _demand_newer(situation: Situation, statement: Freshness) -> None:
    """Refuse what an earlier pull was already past: somebody offers an old copy.

    Raises:
        MirrorNotTrusted: see there.
    """
    before: datetime | None = timestamps.parse(situation.cursor)
    if before is not None and statement.issued < before:
        raise MirrorNotTrusted(
            f"{situation.definition.url} offers what was the newest at {statement.issued}, and {before} was seen"
        )


class _Reading:
    """One look at a mirror."""

    def __init__(self, definition: Definition) -> None:
        options = definition.options
        self.side, self.domain = str(options.get("side", _SIDES[0])), str(options["domain"])
        self.base = f"{definition.url.rstrip('/')}/{self.side}/exports"
        self._keys = _keys(definition)

    def statement(self) -> Generator[Ask, Answer, Freshness]:
        """The freshness statement; asked for again where it was renewed between it and its signature.

        Raises:
            MirrorNotTrusted: no signature holds, or it has expired.
        """
        url = f"{self.base}/freshness/{quote(self.domain, safe='')}.json"
        for _ in range(_ROUNDS):
            answer = yield Ask(url, limit=freshness.LARGEST)
            signature = yield Ask(f"{url}.sig", limit=_SIGNATURE_BYTES)
            with suppress(MirrorNotTrusted):
                self._demand_signed(answer, signature)
                return self._read(answer)
        raise MirrorNotTrusted(f"{url} has no signature by a key of the source's definition")

    def _read(self, answer: Answer) -> Freshness:
        try:
            statement = freshness.parse(answer.content)
        except BadFreshness as error:
            raise ListingUnusable(f"{answer.url}: {error.what}") from error
        if statement.profile != f"mirror/{self.side}/{self.domain}":
            raise ListingUnusable(f"{answer.url} is about {statement.profile[:100]!r}")
        if statement.expires < answer.fetched_at:
            raise ListingUnusable(f"{answer.url} expired at {statement.expires}: nothing was published since")
        if not layout.is_content_id(statement.export_id):
            raise ListingUnusable(f"{answer.url} names the export {statement.export_id[:80]!r}")
        return statement

    def tree(self, export_id: str) -> Generator[Ask, Answer, _Tree]:
        """The list of the domain's files.

        Raises:
            MirrorNotTrusted, ListingUnusable: it is signed by nobody known, or is of something else.
        """
        url = f"{self.base}/{export_id}/mirror/{quote(self.domain, safe='')}/tree.json"
        answer = yield Ask(url)
        signature = yield Ask(f"{url}.sig", limit=_SIGNATURE_BYTES)
        bundle = yield Ask(f"{url}.sigstore.json", limit=_SIGNATURE_BYTES)
        self._demand_signed(answer, signature, bundle)
        try:
            tree = msgspec.json.decode(answer.content, type=_Tree)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ListingUnusable(f"{answer.url}: {error}") from error
        if (tree.side, tree.domain, tree.export_id) != (self.side, self.domain, export_id):
            raise ListingUnusable(f"{answer.url} is of {tree.domain[:80]!r} of {tree.side[:20]!r}")
        if not all(_is_plain(entry.path) for entry in tree.files):
            raise ListingUnusable(f"{answer.url} lists a path that leads elsewhere")
        return tree

    def manifest(self, tree: _Tree) -> Generator[Ask, Answer, _Manifest]:
        """What the domain holds, as the signed list has it.

        Raises:
            ListingUnusable: it is not what was signed.
        """
        path = f"mirror/{self.domain}/manifest.json"
        entry = next((each for each in tree.files if each.path == path), None)
        if entry is None:
            raise ListingUnusable(f"domain {tree.domain} of {self.base} has no manifest")
        answer = yield Ask(f"{self.base}/{tree.export_id}/{quote(path)}")
        if hashlib.sha256(answer.content).hexdigest() != entry.sha256:
            raise ListingUnusable(f"{answer.url} is not what its publisher signed")
        try:
            return msgspec.json.decode(answer.content, type=_Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ListingUnusable(f"{answer.url}: {error}") from error

    def _demand_signed(self, answer: Answer, signature: Answer, bundle: Answer | None = None) -> None:
        digest = hashlib.sha256(answer.content).digest()
        for key in self._keys:
            with suppress(BadSignature):
                cosign_blob.verify(signature.content, digest, key)
                if bundle is not None:
                    sigstore_bundle.verify_blob(bundle.content, digest, key)
                return
        raise MirrorNotTrusted(f"{answer.url} is signed by no key of the source's definition")


def _is_plain(path: str) -> bool:
    return path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))
