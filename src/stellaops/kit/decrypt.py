"""An encrypted bundle as a tree of its contents, which verifies by itself and is used as any applied tree is.

`files.json` and the provenance tell of what was encrypted, so they stay behind; `export.json` and the signatures over
it tell of what was in it, and hold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from stellaops.bundles import layout, provenance, rendering
from stellaops.core.errors import AlreadyExists, InvalidInput
from stellaops.kit import contents, delta, signatures
from stellaops.kit.apply import Trust
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.delta import is_delta, lay_out
from stellaops.kit.disk import disk_errors, made, sync, sync_tree
from stellaops.kit.head import Head, signed_head
from stellaops.kit.locate import Lying, locate
from stellaops.kit.opening import Opening, opening_of
from stellaops.kit.report import BundleRefused
from stellaops.kit.tree import Tree
from stellaops.kit.verify import verify_bundle

Progress = Callable[[str], None]


class NotEncrypted(InvalidInput):
    """A bundle whose contents anyone can read."""

    code = "ERR_BUNDLE_NOT_ENCRYPTED"
    hint = "Use it as it is: verify, apply and restore take it."


class TargetThere(AlreadyExists):
    """The directory to write to is there and is not empty."""

    code = "ERR_TARGET_EXISTS"
    hint = "Name a directory that does not exist, or an empty one."


def decrypt(path: Path, to: Path, trust: Trust, progress: Progress = lambda step: None) -> Head:
    """Decrypt a bundle into a directory, all or nothing.

    Args:
        path: an archive, the directory that holds one, or a bundle root.
        to: a directory that does not exist yet, or an empty one.

    Returns:
        What the bundle says of itself.

    Raises:
        NotEncrypted, TargetThere, NoIdentity, DiskUnusable: see there.
        NotTrusted: a signature, a digest or a ciphertext does not hold; nothing is written.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise TargetThere(f"{to} exists and is not empty")
    with (
        disk_errors(to),
        made(to.absolute().parent),
        tempfile.TemporaryDirectory(dir=to.absolute().parent, prefix=f".{to.name}.partial-") as directory,
    ):
        tree = Path(directory) / "tree"
        tree.mkdir()
        progress("decrypting")
        head = _lay_out(path, tree, trust)
        progress("verifying")
        if not is_delta(head.files):
            _demand_sound(tree, trust, Path(directory))
        sync_tree(tree)
        if to.exists():
            to.rmdir()
        tree.rename(to)
        sync(to.absolute().parent)
    return head


def _lay_out(path: Path, into: Path, trust: Trust) -> Head:
    with closing(locate(path)) as found:
        if found.lying is Lying.APPLIED:
            raise NotEncrypted(f"{path} is a tree of contents; nothing in it is encrypted")
        tree = found.tree
        head = signed_head(tree, trust.keys, trust.revoked)
        opening = opening_of(tree, head.key, head.manifest.export_id, trust.identities)
        if opening.envelope is None and opening.trouble is None:
            raise NotEncrypted(f"{path} is not encrypted")
        opening.demand_readable()
        explained = delta.unexplained if is_delta(head.files) else contents.unexplained
        if isinstance(tree, ArchiveTree):
            return lay_out(
                tree.path, into, trust.keys, trust.revoked, explained=explained, identities=trust.identities
            )
        _refuse(explained(head.manifest, head.files))
        _copy(tree, into, head, opening)
        return head


def _copy(tree: Tree, into: Path, head: Head, opening: Opening) -> None:
    """The contents of a bundle root; each file is measured before it is believed."""
    statement = tree.read(layout.PROVENANCE, provenance.LARGEST)
    _refuse(list(signatures.statement_problems(tree, head.key, statement)))
    if statement != provenance.build(head.manifest, head.files, opening.environment):
        raise BundleRefused("provenance.json is not what export.json and files.json give")
    for entry in head.files.files:
        if tree.measure(entry.path, entry.bytes) != (entry.digest, entry.bytes):
            raise BundleRefused(f"{entry.path} is not the file that was signed")
        if layout.is_clear(entry.path):
            continue
        file = into / entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as out:
            out.writelines(opening.plain(entry.path, tree.chunks(entry.path)))
    documents = {
        layout.MANIFEST: head.manifest.data,
        layout.MANIFEST_YAML: rendering.manifest_yaml(head.manifest),
        layout.README: rendering.readme(head.manifest),
    }
    own = {*layout.signature_paths(layout.MANIFEST), layout.JWS_PATHS[layout.MANIFEST]}
    for name in sorted(own & tree.listing().files):
        documents[name] = tree.read(name, layout.LONGEST_LINE)
    for name, data in documents.items():
        file = into / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise BundleRefused(problems[0], details=problems)


def _demand_sound(tree: Path, trust: Trust, scratch: Path) -> None:
    verify_bundle(tree, trust.pems, revoked=trust.revoked, scratch=scratch).require()
