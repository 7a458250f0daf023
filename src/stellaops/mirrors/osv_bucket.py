"""The bucket layout of OSV, which scanners and other mirrors read.

    <ECO>/<ID>.json  <ECO>/all.zip  <ECO>/modified_id.csv     per ecosystem, without what follows a colon
    all.zip  ecosystems.txt  modified_id.csv                  of all of them

A document about several ecosystems stands in each of them. Of two documents with one id the one that was modified last
counts, then the one of the bytewise last source. Withdrawn documents stay, marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.zip_writer import ZipWriter, pack
from stellaops.core import timestamps
from stellaops.mirrors.tree import Tree

ALL, ECOSYSTEMS, MODIFIED = "all.zip", "ecosystems.txt", "modified_id.csv"
NO_PACKAGE, GIT = "[EMPTY]", "GIT"
"""Where documents stand that name no package: those about commits, and the rest."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:~-]{0,199}")
_TAKEN = frozenset((ALL, ECOSYSTEMS, MODIFIED, GIT))
"""What no ecosystem can be called: the files beside the folders, and a folder of ours."""
_SUFFIX = ".json"
_DEPTH = 2  # slashes in osv/<domain>/<ECO>


class _Package(Struct):
    ecosystem: str = ""


class _Range(Struct):
    type: str = ""


class _Affected(Struct):
    package: _Package | None = None
    ranges: list[_Range] = []


class _Document(Struct):
    id: str
    modified: str
    affected: list[_Affected] = []


class _Line(Struct):
    document: msgspec.Raw


_LINES = msgspec.json.Decoder(_Line)
_DOCUMENTS = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was written: documents, and how many were left out since their ids are no file names."""

    documents: int
    left_out: int


def write_bucket(tree: Tree, folder: str, lines: Iterable[Line]) -> Bucket:
    """Write a bucket.

    Args:
        folder: of the tree.
        lines: of `data/normalized/advisories`, in their order.
    """
    left_out = 0
    for line in lines:
        body = bytes(_LINES.decode(line.text).document)
        document = _DOCUMENTS.decode(body)
        if not _NAME.fullmatch(document.id):
            left_out += 1
            continue
        for ecosystem in ecosystems(document):
            _put(tree, f"{folder}/{ecosystem}/{document.id}{_SUFFIX}", body, document.modified)
    root = tree.root / folder
    root.mkdir(parents=True, exist_ok=True)
    return Bucket(_close(tree, folder, sorted(each.name for each in root.iterdir())), left_out)


def archive_of(path: str) -> str | None:
    """The archive that holds a file of a tree too, byte for byte; None of what is no single document of a bucket."""
    folder, _, name = path.rpartition("/")
    is_single = path.startswith("osv/") and folder.count("/") == _DEPTH and name.endswith(_SUFFIX)
    return f"{folder}/{ALL}" if is_single else None


def ecosystems(document: _Document) -> Sequence[str]:
    """The folders in which a document stands, sorted."""
    named = {
        each.package.ecosystem.partition(":")[0]
        for each in document.affected
        if each.package is not None and each.package.ecosystem
    }
    found = sorted(name for name in named if _NAME.fullmatch(name) and name not in _TAKEN)
    if found:
        return found
    commits = any(each.type == GIT for one in document.affected for each in one.ranges)
    return (GIT,) if commits else (NO_PACKAGE,)


def _put(tree: Tree, path: str, body: bytes, modified: str) -> None:
    there = tree.root / path
    if there.exists() and _instant(_DOCUMENTS.decode(there.read_bytes()).modified) > _instant(modified):
        return
    tree.put(path, body)


def _instant(text: str) -> datetime:
    return timestamps.parse(text) or timestamps.EPOCH


def _close(tree: Tree, folder: str, names: Sequence[str]) -> int:
    """Write the archives and the listings; how many documents there are."""
    listed: list[tuple[str, str]] = []
    count = 0
    with tree.create(f"{folder}/{ALL}") as out:
        whole = ZipWriter(out)
        for ecosystem in names:
            own: list[tuple[str, str]] = []
            with tree.create(f"{folder}/{ecosystem}/{ALL}") as packed:
                part = ZipWriter(packed)
                for file in _documents(tree.root / folder / ecosystem):
                    body = file.read_bytes()
                    document, member = _DOCUMENTS.decode(body), pack(body)
                    part.add(file.name, member)
                    if ecosystems(document)[0] == ecosystem:
                        whole.add(file.name, member)
                        count += 1
                    own.append((document.modified, document.id))
                part.finish()
            tree.put(f"{folder}/{ecosystem}/{MODIFIED}", _listing(own))
            listed += [(modified, f"{ecosystem}/{name}") for modified, name in own]
        whole.finish()
    tree.put(f"{folder}/{MODIFIED}", _listing(listed))
    tree.put(f"{folder}/{ECOSYSTEMS}", "".join(f"{name}\n" for name in names).encode())
    return count


def _documents(folder: Path) -> Iterator[Path]:
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(_SUFFIX))
    return (folder / name for name in names)


def _listing(entries: list[tuple[str, str]]) -> bytes:
    """Newest first, equal instants by path."""
    by_path = sorted(entries, key=lambda entry: entry[1])
    newest = sorted(by_path, key=lambda entry: _instant(entry[0]), reverse=True)
    return "".join(f"{modified},{path}\n" for modified, path in newest).encode()
