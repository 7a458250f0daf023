"""Checks of export trees on the disk of a mirror host: statement, list and files of each domain, by trusted keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stellaops.adapters.files.export_trees import ExportTree
from stellaops.adapters.settings.mirrors import Side
from stellaops.bundles import freshness
from stellaops.core.errors import StellaError
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.mirrors import forms
from stellaops.mirrors.signed_files import SIG, SIGSTORE, measure, verify_bytes
from stellaops.mirrors.sync import Trusted
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_SYNC = "Run `stella mirror sync … --check-held`; it fetches again what is not as it was signed."
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Judges:
    """By what trees are judged.

    Attributes:
        trusted: keys that are believed; signatures are not judged where None.
        quick: only sizes, not digests.
        may_be_absent: trees are published by what is to be started.
    """

    trusted: Trusted | None
    now: datetime
    quick: bool = False
    may_be_absent: bool = False


def check_tree(service: str, side: Side, judges: Judges) -> Iterator[Finding]:
    """One side's tree that a service has, domain by domain."""
    root, name = side.root, f"{service}: tree of {side.name}"
    if root is None:
        return
    export_id = ExportTree(root, side.active).active_export(0.0) if root.is_dir() else None
    if export_id is None:
        text = f"{root} holds no export that can be served" if root.is_dir() else f"{root} is not there"
        hint = "Sync, or publish, before readers come."
        later = judges.may_be_absent and root.is_dir()
        yield Finding(name, Verdict.WARNING if later else Verdict.FAILED, text, hint)
        return
    if judges.trusted is None:
        hint = "Name the publisher's public key: --key mirror-key.pub."
        yield Finding(name, Verdict.WARNING, f"no key is trusted, so nothing of {root} is judged", hint)
    folder = root / export_id / "mirror"
    there = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    for domain in side.domains or there:
        if domain not in there:
            text = f"{root / export_id} has no domain {domain}"
            hint = "Sync it, or take it out of the settings: names are those of the publisher."
            yield Finding(f"{name}, {domain}", Verdict.FAILED, text, hint)
        elif judges.trusted is not None:
            tree = _Tree(side.name, domain, root, root / export_id, judges.trusted)
            yield _judged(f"{name}, {domain}", tree, judges)


@dataclass(frozen=True, slots=True)
class _Tree:
    """One domain of a side's export: `place` is the export's directory below `root`."""

    side: str
    domain: str
    root: Path
    place: Path
    trusted: Trusted


def _judged(name: str, tree: _Tree, judges: Judges) -> Finding:
    try:
        told, files = _statement(tree), _listed(tree)
    except (StellaError, OSError) as error:
        what = error.what if isinstance(error, StellaError) else str(error)
        return Finding(name, Verdict.FAILED, f"{tree.place}: {what}", _SYNC)
    wrong = [each.path for each in files if not _is_sound(tree.place / each.path, each, quick=judges.quick)]
    if wrong:
        text = f"{len(wrong)} of {len(files)} files of {tree.place} are not as they were signed: "
        return Finding(name, Verdict.FAILED, text + ", ".join(wrong[:_SHOWN]), _SYNC)
    if told.export_id != tree.place.name:
        text = f"{tree.place.name} is served, and {told.export_id} is the newest"
        hint = "Take ACTIVEEXPORTID out of the settings, or leave it so knowingly."
        return Finding(name, Verdict.WARNING, text, hint)
    if told.expires < judges.now:
        text = f"{tree.place.name}: its freshness statement expired at {told.expires:%Y-%m-%d %H:%M}"
        return Finding(name, Verdict.WARNING, text, "Publish at the source, and sync.")
    text = f"{tree.place.name}: {len(files)} files, signed, fresh until {told.expires:%Y-%m-%d %H:%M}"
    return Finding(name, Verdict.OK, text)


def _statement(tree: _Tree) -> freshness.Freshness:
    place = tree.root / forms.FRESHNESS / f"{tree.domain}.json"
    data, signature = place.read_bytes(), place.with_name(place.name + SIG).read_bytes()
    digest = hashlib.sha256(data).digest()
    _by_any(tree.trusted, place, lambda key: cosign_blob.verify(signature, digest, key))
    found = freshness.parse(data)
    if found.profile != f"mirror/{tree.side}/{tree.domain}":
        raise BadSignature(f"{place} is about {found.profile[:100]!r}")
    return found


def _listed(tree: _Tree) -> tuple[forms.Entry, ...]:
    place = tree.place / forms.place(tree.domain) / forms.TREE
    data, *proofs = (place.with_name(place.name + suffix).read_bytes() for suffix in ("", SIG, SIGSTORE))
    _by_any(tree.trusted, place, lambda key: verify_bytes(data, proofs[0], proofs[1], key))
    found = forms.parse_tree(data)
    if (found.side, found.domain, found.export_id) != (tree.side, tree.domain, tree.place.name):
        raise BadSignature(f"{place} is of {found.domain} of {found.side} of {found.export_id}")
    return tuple(found.files)


def _by_any(trusted: Trusted, place: Path, check: Callable[[PublicKey], None]) -> None:
    for key in trusted.keys.values():
        with suppress(BadSignature):
            check(key)
            return
    raise BadSignature(f"no trusted key has signed {place}")


def _is_sound(file: Path, entry: forms.Entry, *, quick: bool) -> bool:
    try:
        if file.stat().st_size != entry.bytes:
            return False
        return quick or measure(file).sha256 == entry.sha256
    except OSError:
        return False
