"""Gathering a tree: what is held is linked, the rest fetched, the index written; then the tree gets its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from stellaops.bundles import precompressed
from stellaops.core.errors import StellaError
from stellaops.exports.ports import Staging
from stellaops.mirrors import forms
from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.fetching import Fetching
from stellaops.mirrors.forms import Entry
from stellaops.mirrors.signed_files import SIG, SIGSTORE, measure
from stellaops.mirrors.sync_work import Claim, Part, Wish, Work
from stellaops.signing import ecdsa_p256

_LIST = ("", SIG, SIGSTORE)
"""What follows the name of a list of files in the names of itself and its signatures."""


def is_sound(file: Path | None, entry: Entry, wish: Wish) -> bool:
    """Whether a file that is held can be linked."""
    try:
        if file is None or file.stat().st_size != entry.bytes:
            return False
        return not wish.check_held or measure(file).sha256 == entry.sha256
    except OSError:
        return False


def _staying(brought: Sequence[Part], work: Work) -> list[Part]:
    """The other domains that the tree of this id has already.

    Their lists were checked when they came; whoever brings other domains need not have the keys that signed these.

    Raises:
        BadTree: one of them is damaged here.
    """
    brought_now = {each.claim.domain for each in brought}
    here = work.tools.destination.domains(work.side, work.export_id)
    return [_held(domain, work) for domain in sorted(set(here) - brought_now)]


def _held(domain: str, work: Work) -> Part:
    def file(path: str) -> Path:
        return work.tools.destination.file(work.side, work.export_id, path)

    folder, rough = forms.place(domain), replace(work.wish, check_held=False)
    try:
        own = {name: file(name).read_bytes() for name in (f"{folder}/{forms.TREE}{each}" for each in _LIST)}
        tree = forms.parse_tree(own[f"{folder}/{forms.TREE}"])
        key = ecdsa_p256.load_public_key(file(f"{folder}/{forms.KEY}").read_bytes())
    except (OSError, StellaError) as error:
        raise _damaged(domain, work) from error
    held = {each.sha256: file(each.path) for each in tree.files}
    if not all(is_sound(held[each.sha256], each, rough) for each in tree.files):
        raise _damaged(domain, work)
    return Part(Claim(domain, work.export_id), tree, own, key, held)


def _damaged(domain: str, work: Work) -> BadTree:
    return BadTree(
        f"{domain} of {work.side} {work.export_id} is damaged here",
        hint="Sync this domain together with the others: what it lacks is fetched again.",
    )


def bring(brought: Sequence[Part], work: Work) -> None:
    """Gather the tree, with what its id has of other domains, and give it its name."""
    parts = [*brought, *_staying(brought, work)]
    with work.tools.destination.gather(work.side, work.export_id) as staging:
        root = staging.root
        for part in parts:
            wanted = {entry.path for entry in part.missing}
            for entry in part.tree.files:
                if entry.path not in wanted:
                    _link(part.held[entry.sha256], f"{root}/{entry.path}")
            if part.missing:
                work.tools.told(f"fetching {part.claim.domain}: {len(part.fetched)} files")
                _fetching(staging, work).bring(part.tree, part.missing)
            for path, data in part.own.items():
                _write(root / path, data)
            _pack(root / forms.place(part.claim.domain) / forms.TREE)
        _remove_unlisted(root, parts)
        if work.side == "concelier":
            _write(root / forms.INDEX, _index(work.export_id, parts, root))
            _pack(root / forms.INDEX)
        work.tools.destination.replace(work.side, work.export_id, staging)


def _fetching(staging: Staging, work: Work) -> Fetching:
    there, wish = work.tools.destination, work.wish
    return Fetching(
        work.tools.source,
        work.side,
        work.export_id,
        staging.root,
        staging.scratch,
        there.members,
        wish.at_once,
    )


def _link(source: Path, target: str) -> None:
    """Link a file over what is there: nearly always there is nothing, and its folder is there."""
    try:
        os.link(source, target)
    except OSError:
        place = Path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            os.link(source, place)
        except OSError:  # as many links as the file system takes, or another file system
            place.write_bytes(source.read_bytes())


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(data)


def _pack(file: Path) -> None:
    for suffix in precompressed.SUFFIXES:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    precompressed.pack_beside(file)


def _remove_unlisted(root: Path, parts: Sequence[Part]) -> None:
    """What an earlier attempt left that no list names."""
    listed = {entry.path for part in parts for entry in part.tree.files}
    listed |= {
        path + suffix for part in parts for path in part.own for suffix in ("", *precompressed.SUFFIXES)
    }
    for place, _, names in os.walk(root):
        folder = os.path.relpath(place, root)
        for name in names:
            if (name if folder == os.curdir else f"{folder}/{name}") not in listed:
                Path(place, name).unlink()


def _index(export_id: str, parts: Sequence[Part], root: Path) -> bytes:
    """The index of the domains that the tree has, from their manifests."""
    described = []
    for part in sorted(parts, key=lambda part: part.claim.domain):
        folder = root / forms.place(part.claim.domain)
        try:
            told = msgspec.json.decode((folder / forms.MANIFEST).read_bytes(), type=forms.Manifest)
            manifest, bundle = measure(folder / forms.MANIFEST), measure(folder / forms.BUNDLE)
        except (OSError, msgspec.DecodeError) as error:
            raise BadTree(f"the manifest of {part.claim.domain} cannot be read: {error}") from error
        described.append(forms.Listed(told, part.key.key_id, manifest, bundle))
    return forms.index(export_id, described)
