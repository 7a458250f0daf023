"""What publishers lay beside their documents, checked before a document is believed: hashes, signatures, listings.

`x.json.sha256` and `x.json.sha512` must be those of `x.json`; `x.json.asc` must be a signature of it by one of the
publisher's keys, where there is a key. In an archive a hash may come before its document or after it, so a first pass
collects them: they are small, some 300 bytes a document. Signatures are collected only where there is a key to check
them by, some kilobyte a document.
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


@dataclass(slots=True)
class _Found:
    """What the first pass has found.

    Attributes:
        hashes: (place of the document, algorithm) to the stated hash; empty where the file states none.
        signatures: place of the document to its signature, where there is a key.
        signed: places of the documents that have one.
    """

    hashes: dict[tuple[str, str], str] = field(default_factory=dict)
    signatures: dict[str, bytes] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    keys: list[bytes] = field(default_factory=list)
    named: set[tuple[str, str]] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)


class NoSignatures(InvalidInput):
    """Keys are given for a form whose publishers sign no documents one by one."""

    code = "ERR_IMPORT_NO_SIGNATURES"
    hint = "Leave out --openpgp-key; whole archives can be checked with gpg before the import."


def checked(
    feed: AnyFeed, inputs: Inputs, keys: Sequence[bytes], openpgp: OpenPgp | None
) -> CheckedInputs | None:
    """The inputs with what lies beside their documents checked; None for feeds that have nothing there.

    Raises:
        NoSignatures: see there.
    """
    if feed.name in CHECKED_FEEDS:
        return CheckedInputs(inputs, feed, keys=keys, openpgp=openpgp)
    if keys:
        raise NoSignatures(
            f"no signatures lie beside {feed.name.upper()} documents, so a key can check nothing"
        )
    return None


class CheckedInputs:
    """Inputs in which a document that fails a check has that as its problem.

    Args:
        keys: OpenPGP keys that are trusted: then every document must have a signature of one of them. Without any,
            the keys that the publisher's own metadata names are used where they are among the inputs.
        openpgp: checks signatures; None where nothing here can.
    """

    def __init__(
        self, inputs: Inputs, feed: AnyFeed, *, keys: Sequence[bytes] = (), openpgp: OpenPgp | None = None
    ) -> None:
        self._inputs = inputs
        self._feed = feed
        self._keys = tuple(keys)
        self._openpgp = openpgp
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
        found = self._found = self._found or self._collect()
        for member in self._inputs.members(skip):
            if member.problem or not self._feed.may_hold_documents(member.path):
                yield member
                continue
            problem = self._hash_problem(member, found) or self._signature_problem(member, found)
            yield structs.replace(member, problem=problem, checked=self._told(member, found))

    def _told(self, member: Member, found: _Found) -> str:
        """What the provenance of a sound document says of the checks."""
        place = _place(member)
        good = [algorithm for algorithm in HASHES if (place, algorithm) in found.hashes]
        if not good and place not in found.signed:
            return ""
        signature = "absent" if place not in found.signed else "verified" if self._keyring else "unverified"
        return msgspec.json.encode({"hashes": good, "signature": signature}).decode()

    def _collect(self) -> _Found:
        found = _Found()
        for member in self._inputs.members():
            if not member.problem:
                self._note(member, found, signatures=self._keyring is not None)
        if self._keyring is None and self._openpgp is not None and found.fingerprints and found.keys:
            self._keyring = self._openpgp.keyring(found.keys, frozenset(found.fingerprints))
            if self._keyring is not None:
                for member in self._inputs.members():
                    _note_signature(member, found)
        if self._keyring is None:
            self.checks.signatures_unverified = len(found.signed)
        self.checks.listed_but_absent = sum(not _is_there(*named, found.documents) for named in found.named)
        found.documents.clear()
        return found

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
        elif path.endswith(_KEY_NAMES) and _is_key(member.content) and len(found.keys) < _MOST_KEYS:
            found.keys.append(member.content)
        elif path.endswith(_SIGNATURE):
            found.signed.add(_place(member)[: -len(_SIGNATURE)])
            if signatures:
                _note_signature(member, found)

    def _hash_problem(self, member: Member, found: _Found) -> str:
        held = False
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


def _place(member: Member) -> str:
    """What is the same for a file and those beside it but for their suffixes."""
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
