"""What publishers lay beside their documents, checked before a document is believed: hashes, signatures, listings.

`x.json.sha256` and `x.json.sha512` must be those of `x.json`; `x.json.asc` must be a signature of it by one of the
publisher's keys, where there is a key. In an archive a hash may come before its document or after it, so a first pass
collects them: they are small, some 300 bytes a document. Signatures are collected only where there is a key to check
them by, some kilobyte a document.

`deletions.csv` names documents that the publisher has deleted. One of them that still lies there, in a copy that keeps
everything, counts as absent, unless `changes.csv` or the document itself says that it was changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from stellaops.core import digests
from stellaops.core.errors import InvalidInput
from stellaops.csaf import provider
from stellaops.csaf.provider import HASHES
from stellaops.ingest.feeds import AnyFeed
from stellaops.ingest.model import Checks
from stellaops.ingest.ports import Inputs, Member, OpenPgp

CHECKED_FEEDS = frozenset(("csaf", "csaf-vex"))
"""Feeds whose publishers lay hashes and signatures beside each document."""

_SIGNATURE = ".asc"
_LARGEST_SIGNATURE = 64 << 10
_LARGEST_KEY = 1 << 20
_MOST_KEYS = 200
_KEY_BLOCK = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_KEY_NAMES = (_SIGNATURE, ".gpg", ".pgp", ".key", ".pub", ".txt")
_METADATA = "provider-metadata.json"
_DELETIONS = "deletions.csv"


class _Tracking(msgspec.Struct):
    current_release_date: str = ""


class _Document(msgspec.Struct):
    tracking: _Tracking


class _Dated(msgspec.Struct):
    document: _Document


_DATED = msgspec.json.Decoder(_Dated)


class Announced(msgspec.Struct, frozen=True):
    """Keys that a publisher's metadata names: their files, and the upper-case fingerprints that count."""

    keys: tuple[bytes, ...] = ()
    fingerprints: tuple[str, ...] = ()


NOTHING = Announced()


@dataclass(slots=True)
class _Found:
    """What the first pass has found.

    Attributes:
        hashes: (place of the document, algorithm) to the stated hash; empty where the file states none.
        signatures: place of the document to its signature, where there is a key.
        signed: places of the documents that have one.
        deleted: paths of documents that were deleted, each with when that was.
        taken_back: those of them that have not come back since.
    """

    hashes: dict[tuple[str, str], str] = field(default_factory=dict)
    signatures: dict[str, bytes] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    keys: list[bytes] = field(default_factory=list)
    named: set[tuple[str, str]] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    deleted: dict[str, str] = field(default_factory=dict)
    taken_back: frozenset[str] = frozenset()


class NoSignatures(InvalidInput):
    """Keys are given for a form whose publishers sign no documents one by one."""

    code = "ERR_IMPORT_NO_SIGNATURES"
    hint = "Leave out --openpgp-key; whole archives can be checked with gpg before the import."


def checked(
    feed: AnyFeed,
    inputs: Inputs,
    keys: Sequence[bytes],
    openpgp: OpenPgp | None,
    announced: Announced = NOTHING,
) -> CheckedInputs | None:
    """The inputs with what lies beside their documents checked; None for feeds that have nothing there.

    Raises:
        NoSignatures: see there.
    """
    if feed.name in CHECKED_FEEDS:
        return CheckedInputs(inputs, feed, keys=keys, openpgp=openpgp, announced=announced)
    if keys:
        raise NoSignatures(
            f"no signatures lie beside {feed.name.upper()} documents, so a key can check nothing"
        )
    return None


def tells_of_deletions(feed: AnyFeed, inputs: Inputs) -> bool:
    """Whether there is something to do for an import although it may bring no document."""
    if feed.name not in CHECKED_FEEDS:
        return False
    return any(_is_called(_DELETIONS, each) and provider.dated(each.content) for each in inputs.members())


class CheckedInputs:
    """Inputs in which a document that fails a check has that as its problem, and a deleted one says so.

    Args:
        keys: OpenPGP keys that are trusted: then every document must have a signature of one of them. Without any,
            the keys that the publisher's own metadata names are used where they are among the inputs.
        announced: keys that the publisher's metadata names, where a pull has read it.
        openpgp: checks signatures; None where nothing here can.
    """

    def __init__(
        self,
        inputs: Inputs,
        feed: AnyFeed,
        *,
        keys: Sequence[bytes] = (),
        openpgp: OpenPgp | None = None,
        announced: Announced = NOTHING,
    ) -> None:
        self._inputs = inputs
        self._feed = feed
        self._keys = tuple(keys)
        self._openpgp = openpgp
        self._announced = announced
        self._keyring = openpgp.keyring(self._keys) if openpgp and keys else None
        self._found: _Found | None = None
        self.checks = Checks()

    def fingerprint(self) -> str:
        """See the port. Other keys are another import."""
        whole = self._inputs.fingerprint()
        if not self._keys:
            return whole
        told = "\n".join((whole, *(digests.sha256(key) for key in self._keys)))
        return digests.of_hash(hashlib.sha256(told.encode()))

    def members(self, skip: int = 0) -> Iterator[Member]:
        """See the port."""
        found = self._look()
        for member in self._inputs.members(skip):
            if member.path in found.taken_back:
                yield structs.replace(member, content=b"", taken_back=True)
                continue
            if member.problem or not self._feed.may_hold_documents(member.path):
                yield member
                continue
            problem = self._hash_problem(member, found) or self._signature_problem(member, found)
            yield structs.replace(member, problem=problem, checked=self._told(member, found))

    @property
    def taken_back(self) -> frozenset[str]:
        """Where documents lay that the publisher says to be deleted."""
        return self._look().taken_back

    def _look(self) -> _Found:
        if self._found is None:
            self._found = self._collect()
        return self._found

    def _told(self, member: Member, found: _Found) -> str:
        """What the provenance of a sound document says of the checks."""
        place = _place(member)
        good = [
            algorithm
            for algorithm in HASHES
            if algorithm in member.hashes or (place, algorithm) in found.hashes
        ]
        if not good and place not in found.signed:
            return ""
        signature = "absent" if place not in found.signed else "verified" if self._keyring else "unverified"
        return msgspec.json.encode({"hashes": good, "signature": signature}).decode()

    def _collect(self) -> _Found:
        found = _Found(fingerprints=set(self._announced.fingerprints), keys=list(self._announced.keys))
        for member in self._inputs.members():
            if not member.problem:
                self._note(member, found, signatures=self._keyring is not None)
        if found.deleted:
            found.taken_back = self._deleted_for_good(found)
        if self._keyring is None and self._openpgp is not None and found.fingerprints and found.keys:
            self._keyring = self._openpgp.keyring(found.keys, frozenset(found.fingerprints))
            if self._keyring is not None:
                for member in self._inputs.members():
                    _note_signature(member, found)
        if self._keyring is None:
            self.checks.signatures_unverified = len(found.signed)
        self.checks.listed_but_absent = sum(
            not _is_there(*named, found.documents) and provider.placed(*named) not in found.taken_back
            for named in found.named
        )
        found.documents.clear()
        return found

    def _deleted_for_good(self, found: _Found) -> frozenset[str]:
        """Of the documents that were deleted those that nothing says to have come back."""
        back: set[str] = set()
        for member in self._inputs.members():
            if member.problem:
                continue
            if _is_called("changes.csv", member):
                changed = provider.deleted_in(member.content, member.path.rpartition("/")[0])
                listed = found.deleted.keys() & changed.keys()
                back.update(
                    path for path in listed if not provider.is_deleted(found.deleted[path], changed[path])
                )
            elif member.path in found.deleted:
                changed_at = _changed_at(member.content)
                if changed_at and not provider.is_deleted(found.deleted[member.path], changed_at):
                    back.add(member.path)
        return frozenset(found.deleted.keys() - back)

    def _note(self, member: Member, found: _Found, *, signatures: bool) -> None:
        path = member.path.lower()
        name = path.rpartition("/")[2]
        if self._feed.may_hold_documents(member.path):
            found.documents.add(member.path)
        elif path.endswith(tuple(f".{algorithm}" for algorithm in HASHES)):
            algorithm = path.rpartition(".")[2]
            place = _place(member)[: -len(algorithm) - 1]
            found.hashes[place, algorithm] = provider.stated_hash(member.content, algorithm) or ""
        elif name == _METADATA:
            found.fingerprints.update(_announced(member.content))
        elif name in ("index.txt", "changes.csv"):
            found.named.update((named, member.path.rpartition("/")[0]) for named in _named(member))
        elif name == _DELETIONS:
            found.deleted |= provider.deleted_in(member.content, member.path.rpartition("/")[0])
        elif path.endswith(_KEY_NAMES) and _is_key(member.content) and len(found.keys) < _MOST_KEYS:
            found.keys.append(member.content)
        elif path.endswith(_SIGNATURE):
            found.signed.add(_place(member)[: -len(_SIGNATURE)])
            if signatures:
                _note_signature(member, found)

    def _hash_problem(self, member: Member, found: _Found) -> str:
        held = bool(member.hashes)
        for algorithm in HASHES:
            stated = found.hashes.get((_place(member), algorithm))
            if stated is None:
                continue
            actual = hashlib.new(algorithm, member.content).hexdigest()
            if stated != actual:
                self.checks.hashes_wrong += 1
                beside = f"{member.path}.{algorithm}"
                told = f"{beside} states {stated[:16]}…" if stated else f"{beside} states no hash"
                return f"checksum: {told}, the document has {actual[:16]}…"
            held = True
        self.checks.hashes_good += held
        return ""

    def _signature_problem(self, member: Member, found: _Found) -> str:
        if self._keyring is None:
            return ""
        signature = found.signatures.get(_place(member))
        if signature is None:
            self.checks.unsigned += 1
            return f"signature: there is no {member.path}{_SIGNATURE}" if self._keys else ""
        trouble = self._keyring.trouble(member.content, signature)
        if trouble:
            self.checks.signatures_wrong += 1
            return f"signature: {trouble}"
        self.checks.signatures_good += 1
        return ""


def _is_called(name: str, member: Member) -> bool:
    return not member.problem and member.path.rpartition("/")[2].lower() == name


def _changed_at(content: bytes) -> str:
    """When a document says that it was changed last; empty where it does not."""
    try:
        return _DATED.decode(content.removeprefix(b"\xef\xbb\xbf")).document.tracking.current_release_date
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _place(member: Member) -> str:
    """What is the same for a file and those beside it but for their suffixes."""
    if member.container_url.startswith(("http://", "https://")) and member.container_digest is None:
        return member.path  # what belongs to a document may be served from elsewhere
    if member.container_digest is None:
        return member.container_url
    return f"{member.container_url}!{member.path}"


def _note_signature(member: Member, found: _Found) -> None:
    path = member.path.lower()
    if not member.problem and path.endswith(_SIGNATURE) and not _is_key(member.content):
        found.signatures[_place(member)[: -len(_SIGNATURE)]] = member.content[:_LARGEST_SIGNATURE]


def _is_key(content: bytes) -> bool:
    return len(content) <= _LARGEST_KEY and _KEY_BLOCK in content[:4096]


def _announced(content: bytes) -> Iterator[str]:
    try:
        yield from (key.fingerprint for key in provider.metadata(content).keys if key.fingerprint)
    except provider.BadIndex:
        return


def _named(member: Member) -> Iterator[str]:
    """The paths that a listing names, as they stand there."""
    for line in member.content.decode("utf-8-sig", "replace").splitlines():
        path = line.partition(",")[0].strip().strip('"')
        if path.lower().endswith(".json"):
            yield path


def _is_there(path: str, folder: str, documents: set[str]) -> bool:
    """Whether a listed document is among the inputs, from whichever folder its path is counted."""
    inside = provider.placed(path, folder)
    if inside in documents or path in documents:
        return True
    names = path.split("/")
    rests = ("/".join(names[skipped:]) for skipped in range(len(names)))
    return any((f"{folder}/{rest}" if folder else rest) in documents for rest in rests)
