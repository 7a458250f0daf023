"""What mirror hosts that sync go by, beside the signed list: archives of documents, and the list of domains."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from stellaops.mirrors import domain_list, forms
from stellaops.mirrors.checks.ports import KEPT
from stellaops.mirrors.checks.visit import Visit
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.forms import Entry, TreeList
from stellaops.mirrors.osv_bucket import archive_of

_FEW = 3
"""Archives that are opened where not every one is."""


def judge_archives(visit: Visit, base: str, tree: TreeList) -> None:
    """Judge whether archives hold the documents that the signed list has beside them.

    Args:
        base: path of the export.
    """
    listed = {entry.path: entry for entry in tree.files}
    packed: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in tree.files:
        archive = archive_of(entry.path)
        if archive is not None:
            packed[archive].append(entry)
    if not packed:
        visit.notes.skip(f"{base} has no bucket", "archives")
    for archive in sorted(set(packed) - set(listed)):
        visit.notes.demand("archives", False, f"{base} lists documents, and no {archive}")
    found = [listed[archive] for archive in packed if archive in listed]
    small = sorted((each for each in found if each.bytes <= KEPT), key=lambda each: (each.bytes, each.path))
    for entry in small if visit.every else small[:_FEW]:
        _judge_archive(visit, f"{base}/{quote(entry.path)}", entry, packed[entry.path])


def _judge_archive(visit: Visit, path: str, archive: Entry, entries: Sequence[Entry]) -> None:
    seen = visit.get(path)
    if not visit.same("archives", path, seen, f"sha256:{archive.sha256}", archive.bytes):
        return
    wrong = _wrong(seen.body, {entry.path.rpartition("/")[2]: entry for entry in entries})
    finding = f"{path} lacks {len(wrong)} documents as they were signed, such as {wrong[:1]}"
    visit.notes.demand("archives", not wrong, finding)


def _wrong(data: bytes, entries: Mapping[str, Entry]) -> Sequence[str]:
    """Names of documents that an archive does not hold as they were signed."""
    left = dict(entries)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                entry = left.get(member.filename)
                if entry is None or member.file_size != entry.bytes:
                    continue
                if hashlib.sha256(archive.read(member)).hexdigest() == entry.sha256:
                    del left[member.filename]
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError):
        pass  # what was not read by then is missing
    return sorted(left)


def judge_domains(visit: Visit, side: Side, base: str, tree: TreeList) -> None:
    """Judge the list of domains of a side.

    Args:
        base: path of the export.
    """
    name = f"{forms.place(visit.domain)}/{domain_list.FILE}"
    path, demand = f"{base}/{name}", visit.notes.demand
    entry = next((each for each in tree.files if each.path == name), None)
    if not demand("domain-list", entry, f"{base} does not list {name}") or entry is None:
        return
    seen = visit.get(path)
    if not visit.same("domain-list", path, seen, f"sha256:{entry.sha256}", entry.bytes):
        return
    try:
        told = domain_list.parse(seen.body, side, tree.export_id)
    except BadTree as error:
        demand("domain-list", False, f"{path}: {error.what}")
        return
    demand("domain-list", told.has(visit.domain), f"{path} does not say that {visit.domain} is in force")
    gone = told.in_force & told.given_up
    demand("domain-list", not gone, f"{path} says of {len(gone)} domains that they are in force and given up")
