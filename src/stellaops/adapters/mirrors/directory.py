"""Trees of a mirror below one directory, as back ends serve them.

<root>/<side>/<exportId>/…                    never changes; it appears by one rename
<root>/<side>/latest -> <exportId>            a symbolic link, replaced in one step
<root>/<side>/freshness/<domain>.json[.sig]   each replaced in one step
<root>/<side>/.waiting/<domain>.json[.sig]    the statement of what is not followed until other domains come too
<root>/<side>/.synced/<domain>.json           when it was synced last; none where trees are published
<root>/<side>/.staging/…                      what grows, and what is being removed
<root>/.lock                                  held by the one process that works on the root
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from stellaops.adapters.files.replacing import replacing
from stellaops.adapters.files.workspace import GRAVE, FileStaging, held_place
from stellaops.adapters.files.zip_stream import entries
from stellaops.bundles import layout
from stellaops.exports.ports import Staging
from stellaops.kit.disk import disk_errors, put_in_place, sync
from stellaops.mirrors import forms, sync_state
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import SyncRuns
from stellaops.mirrors.ports import Publication
from stellaops.mirrors.signed_files import SIG

_STAGING, _GATHERED, _RETIRED, _WAITING = ".staging", ".gathered", ".retired", ".waiting"


class MirrorDirectory:
    """`mirrors.ports.DirectoryRoot` and `mirrors.sync_ports.Destination`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def place(self) -> str:
        """See the port."""
        return str(self.root)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See the port."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SyncRuns(f"another process works on the mirror in {self.root}") from error
            yield
        finally:
            os.close(lock)

    @contextmanager
    def stage(self, side: Side) -> Iterator[Staging]:
        """See the port; the caller holds the turn."""
        staging = self.root / side / _STAGING
        with disk_errors(self.root), held_place(staging, f"tree-{os.getpid()}") as place:
            (place / "root").mkdir()
            (place / "scratch").mkdir()
            yield FileStaging(place)

    def has(self, side: Side, export_id: str) -> bool:
        """See the port."""
        return self.tree(side, export_id) is not None

    def tree(self, side: Side, export_id: str) -> Path | None:
        """See the port."""
        found = self.root / side / export_id
        return found if layout.is_content_id(export_id) and found.is_dir() else None

    def keep(self, side: Side, export_id: str, staging: Staging) -> None:
        """See the port."""
        with disk_errors(self.root):
            _settle(staging.root)
            staging.root.rename(self.root / side / export_id)
            sync(self.root / side)

    @contextmanager
    def gather(self, side: Side, export_id: str) -> Iterator[Staging]:
        """See `mirrors.sync_ports.Destination`; the caller holds the turn."""
        with disk_errors(self.root):
            gathered = self.root / side / _GATHERED
            for other in gathered.iterdir() if gathered.is_dir() else ():
                if other.name != export_id:
                    shutil.rmtree(other, ignore_errors=True)
            place = gathered / export_id
            for name in ("root", "scratch"):
                (place / name).mkdir(parents=True, exist_ok=True)
            yield FileStaging(place)
            shutil.rmtree(place, ignore_errors=True)

    def replace(self, side: Side, export_id: str, staging: Staging) -> None:
        """See `mirrors.sync_ports.Destination`."""
        with disk_errors(self.root):
            _settle(staging.root)
            put_in_place(staging.root, self.root / side / export_id)
            sync(self.root / side)

    def domains(self, side: Side, export_id: str) -> Collection[str]:
        """See `mirrors.sync_ports.Destination`."""
        folder = self.root / side / export_id / "mirror"
        return {each.name for each in folder.iterdir()} if folder.is_dir() else set()

    def freshness(self, side: Side, domain: str) -> bytes | None:
        """See `mirrors.sync_ports.Destination`."""
        try:
            return (self.root / side / forms.FRESHNESS / f"{domain}.json").read_bytes()
        except OSError:
            return None

    def retire(self, side: Side, export_id: str, now: datetime) -> None:
        """See `mirrors.sync_ports.Destination`: the first time counts, until it is followed again."""
        mark = self.root / side / _RETIRED / export_id
        with disk_errors(self.root):
            if not mark.exists():
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
                os.utime(mark, (now.timestamp(), now.timestamp()))

    def retired(self, side: Side, before: datetime) -> Collection[str]:
        """See `mirrors.sync_ports.Destination`."""
        folder = self.root / side / _RETIRED
        marks = list(folder.iterdir()) if folder.is_dir() else []
        return [each.name for each in marks if each.stat().st_mtime < before.timestamp()]

    def file(self, side: Side, export_id: str, path: str) -> Path:
        """See `mirrors.sync_ports.Destination`."""
        return self.root / side / export_id / path

    def members(self, archive: Path, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        """See `mirrors.sync_ports.Members`."""
        with suppress(ValueError, OSError):  # `BadZip`, and an empty file
            for entry in entries(archive, limit=most, wanted=names.__contains__):
                if not entry.problem:
                    yield entry.name, entry.content

    def latest(self, side: Side) -> str | None:
        """See the port."""
        try:
            named = (self.root / side / forms.LATEST).readlink().name
        except OSError:
            return None
        return named if layout.is_content_id(named) else None

    def point(self, publication: Publication) -> None:
        """See the port. Who publishes here is not behind anybody: what syncs have noted is no longer so."""
        shutil.rmtree(self.root / publication.side / sync_state.FOLDER, ignore_errors=True)
        self.switch(publication.side, publication.export_id)

    def switch(self, side: Side, export_id: str) -> None:
        """Let readers follow an id, in one step."""
        folder = self.root / side
        if self.latest(side) == export_id:
            return
        with disk_errors(self.root):
            fresh = folder / f".{forms.LATEST}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(export_id)
            fresh.rename(folder / forms.LATEST)
            sync(folder)
            (folder / _RETIRED / export_id).unlink(missing_ok=True)

    def put_freshness(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """See the port."""
        self._put_statement(self.root / side / forms.FRESHNESS, domain, files)

    @staticmethod
    def _put_statement(folder: Path, domain: str, files: Mapping[str, bytes]) -> None:
        for suffix, data in files.items():
            with replacing(folder / f"{domain}.json{suffix}") as out:
                out.write(data)

    def drop_freshness(self, side: Side, kept: Sequence[str]) -> None:
        """See the port."""
        _keep_alone(self.root / side / forms.FRESHNESS, kept)

    def put_waiting(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """See `mirrors.sync_ports.Destination`."""
        self._put_statement(self.root / side / _WAITING, domain, files)

    def waiting(self, side: Side, domain: str) -> Mapping[str, bytes]:
        """See `mirrors.sync_ports.Destination`."""
        file = self.root / side / _WAITING / f"{domain}.json"
        try:
            return {suffix: file.with_name(file.name + suffix).read_bytes() for suffix in ("", SIG)}
        except OSError:
            return {}

    def drop_waiting(self, side: Side, kept: Sequence[str]) -> None:
        """See `mirrors.sync_ports.Destination`."""
        _keep_alone(self.root / side / _WAITING, kept)

    def note_synced(self, side: Side, domain: str, state: bytes) -> None:
        """See `mirrors.sync_ports.Destination`."""
        with replacing(self._note(side, domain)) as out:
            out.write(state)

    def synced(self, side: Side, domain: str) -> bytes | None:
        """See `mirrors.sync_ports.Destination`."""
        try:
            return self._note(side, domain).read_bytes()
        except OSError:
            return None

    def noted(self, side: Side) -> Collection[str]:
        """See `mirrors.sync_ports.Destination`."""
        folder = self.root / side / sync_state.FOLDER
        return {file.name.removesuffix(sync_state.SUFFIX) for file in folder.glob(f"*{sync_state.SUFFIX}")}

    def drop_synced(self, side: Side, kept: Sequence[str]) -> None:
        """See `mirrors.sync_ports.Destination`."""
        _keep_alone(self.root / side / sync_state.FOLDER, kept)

    def _note(self, side: Side, domain: str) -> Path:
        return self.root / side / sync_state.FOLDER / f"{domain}{sync_state.SUFFIX}"

    def ids(self, side: Side) -> Sequence[str]:
        """Export ids of the trees that are there, sorted."""
        folder = self.root / side
        names = (each.name for each in folder.iterdir()) if folder.is_dir() else iter(())
        return sorted(name for name in names if self.tree(side, name) is not None)

    def remove(self, side: Side, export_id: str) -> None:
        """See the port; a kill in the middle leaves nothing that looks like a tree."""
        tree = self.tree(side, export_id)
        (self.root / side / _RETIRED / export_id).unlink(missing_ok=True)
        if tree is None:
            return
        with disk_errors(self.root):
            grave = self.root / side / _STAGING / f"{GRAVE}{export_id}-{os.getpid()}"
            grave.parent.mkdir(parents=True, exist_ok=True)
            tree.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)


def _keep_alone(folder: Path, kept: Sequence[str]) -> None:
    """Remove the files of a folder that are not some domains'."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.partition(".")[0] not in kept:
            file.unlink(missing_ok=True)


def _settle(tree: Path) -> None:
    """Give a tree the modes of what is served, and bring it to the disk: all at once, not file by file."""
    for place, _, names in os.walk(tree):
        Path(place).chmod(0o755)
        for name in names:
            file = os.path.join(place, name)  # noqa: PTH118 - of hundreds of thousands of files
            if os.stat(file).st_mode & 0o777 != 0o644:  # noqa: PTH116 - the same
                os.chmod(file, 0o644)  # noqa: PTH101 - the same
    descriptor = os.open(tree, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None or syncfs(descriptor) != 0:
            os.sync()
    finally:
        with suppress(OSError):
            os.close(descriptor)
