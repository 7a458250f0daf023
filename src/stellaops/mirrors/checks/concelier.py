"""Advisories: index, manifest, bundle, their signatures, and the signed list of all files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from stellaops.mirrors import forms
from stellaops.mirrors.checks.hosts import judge_archives, judge_domains
from stellaops.mirrors.checks.ports import Question, Seen
from stellaops.mirrors.checks.visit import Visit
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.forms import Entry
from stellaops.mirrors.signed_files import JWS, SIG, SIGSTORE

INDEX = "/concelier/exports/index.json"
_SAMPLE = 24
"""Files of a tree that are fetched where not every one is."""
_LARGEST_LIST = 256 << 20


class Described(Struct, rename="camel"):
    """A file as an index describes it; `path` is below the folder of the export ids."""

    path: str
    digest: str
    size_bytes: int


class _Signature(Struct):
    path: str


class Listed(Struct, rename="camel"):
    """A domain in the index."""

    id: str
    export_id: str
    manifest: Described
    bundle: Described
    signatures: list[_Signature]


class Index(Struct, rename="camel"):
    """`index.json` of Concelier's side."""

    schema_version: int
    generated_at: str
    domains: list[Listed]


class _Bundle(Struct, rename="camel"):
    digest: str
    size_bytes: int


class _Manifest(Struct, rename="camel"):
    schema_version: int
    domain_id: str
    export_id: str
    generated_at: str
    advisories: int
    sources: list[msgspec.Raw]
    bundle: _Bundle


def judge_concelier(visit: Visit, listed: Listed) -> None:
    """Judge what the index says of a domain, and what it names."""
    base = f"{listed.export_id}/{forms.place(visit.domain)}/"
    for path in (listed.manifest.path, listed.bundle.path, *(each.path for each in listed.signatures)):
        visit.notes.demand(
            "index-paths", path.startswith(base), f"{INDEX} names {path[:200]} outside of {base}"
        )
    manifest = _manifest(visit, listed)
    _bundle(visit, listed, manifest)
    _stable(visit, listed)


def _manifest(visit: Visit, listed: Listed) -> _Manifest | None:
    path = f"/concelier/exports/{listed.manifest.path}"
    file = visit.whole(path)
    visit.same("manifest", path, file.seen, listed.manifest.digest, listed.manifest.size_bytes)
    visit.signed("signatures", path, file)
    visit.signed("jws", path, file, (JWS,))
    told = visit.decoded("manifest", path, file.seen, _Manifest)
    if told is not None:
        agrees = (told.domain_id, told.export_id) == (visit.domain, listed.export_id)
        visit.notes.demand("manifest", agrees, f"{path} is of {told.domain_id} of {told.export_id}")
        agrees = (told.bundle.digest, told.bundle.size_bytes) == (
            listed.bundle.digest,
            listed.bundle.size_bytes,
        )
        visit.notes.demand("manifest", agrees, f"{path} describes another bundle than the index")
    return told


def _bundle(visit: Visit, listed: Listed, manifest: _Manifest | None) -> None:
    path = f"/concelier/exports/{listed.bundle.path}"
    file = visit.whole(path)
    visit.same("bundle", path, file.seen, listed.bundle.digest, listed.bundle.size_bytes)
    visit.signed("signatures", path, file)
    visit.signed("jws", path, file, (JWS,))
    head = f'"exportId":"{listed.export_id}"'.encode()
    begins = head in file.seen.body[:200].replace(b" ", b"")
    visit.notes.demand("bundle", begins, f"{path} does not begin with the export id {listed.export_id}")
    if manifest is not None:
        visit.same("bundle", path, file.seen, manifest.bundle.digest, manifest.bundle.size_bytes)


def _stable(visit: Visit, listed: Listed) -> None:
    for name, about in ((forms.MANIFEST, listed.manifest), (forms.BUNDLE, listed.bundle)):
        path = f"/concelier/exports/mirror/{visit.domain}/{name}"
        seen = visit.ask(Question(path, keep=0))
        if visit.is_of_another("stable-names", path, seen, listed.export_id):
            continue
        visit.same("stable-names", path, seen, about.digest, about.size_bytes)
        place = seen.header("content-location")
        right = place == f"/concelier/exports/{about.path}"
        visit.notes.demand("stable-names", right, f"{path}: Content-Location is {place[:200] or 'missing'}")
        export = seen.header("x-stella-export-id")
        visit.notes.demand(
            "stable-names",
            export == listed.export_id,
            f"{path}: X-Stella-Export-Id is {export[:80] or 'missing'}",
        )


def judge_key(visit: Visit, served: Seen, key_id: str | None, path: str) -> None:
    """Judge the key that the mirror gives out.

    Args:
        key_id: None where it is no key.
    """
    if not visit.notes.demand("key", served.status == 200, f"{path} answers {served.status}"):
        return
    known = key_id is not None and key_id in visit.keys
    visit.notes.demand(
        "key", known, f"{path} gives a key that is none of the trusted ones: {key_id or 'no key'}"
    )


def judge_tree(visit: Visit, side: Side, export: str) -> None:
    """Judge the signed list of a side, and the files that it names."""
    base = f"/{side}/exports/{export}"
    path = f"{base}/{forms.place(visit.domain)}/{forms.TREE}"
    file = visit.whole(path, _LARGEST_LIST)
    if not visit.notes.demand("tree-list", file.seen.status == 200, f"{path} answers {file.seen.status}"):
        return
    visit.signed("tree-list", path, file, (SIG, SIGSTORE))
    try:
        told = forms.parse_tree(file.seen.body)
    except BadTree as error:
        visit.notes.demand("tree-list", False, f"{path}: {error.what}")
        return
    agrees = (told.side, told.domain, told.export_id) == (side, visit.domain, export)
    visit.notes.demand("tree-list", agrees, f"{path} is of {told.domain} of {told.side} {told.export_id}")
    for entry in told.files if visit.every else _few(told.files):
        place = f"{base}/{entry.path}"
        visit.same("tree-files", place, _fetched(visit, place), f"sha256:{entry.sha256}", entry.bytes)
    judge_domains(visit, side, base, told)
    if side == "concelier":
        judge_archives(visit, base, told)


def _fetched(visit: Visit, path: str) -> Seen:
    return visit.ask(Question(path.replace(" ", "%20"), keep=0))


def _few(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Some of them, evenly spread."""
    step = max(1, -(-len(entries) // _SAMPLE))
    return entries[::step]
