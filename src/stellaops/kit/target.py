"""A directory that deltas are applied to, changed in one step or not at all.

    DIR/current                 link to the generation in force
    DIR/generations/<exportId>/ trees; the one before is kept for those who still read it
    DIR/state.json              the last archive applied, and what may follow it
    DIR/appliedExportIds.log    a line for each archive: export id, archive id, kind
    DIR/freshness.json, .sig    the statement about the export in force, where one came with it
    DIR/.apply/                 work under way: a lock, trees that grow, the note of a switch

A switch is noted before it is made and the note removed after it, so that a process that dies in between leaves one
that the next takes to its end. Without a note, whatever lies in the working place is nothing and is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stellaops.bundles import freshness, layout
from stellaops.bundles.freshness import Freshness
from stellaops.bundles.manifest import ExportManifest, Profile
from stellaops.core.errors import DependencyFailed, MissingPrerequisite, NotTrusted
from stellaops.kit import disk, locate
from stellaops.kit.tree import Tree, UntrustedFile

CURRENT, STATE = locate.CURRENT, locate.STATE
GENERATIONS = "generations"
LOG = "appliedExportIds.log"
_WORK = ".apply"
_NOTE = "switch"
_SWITCH, _UNSTATED = b"switch\n", b"unstated\n"
"""What the note says: the second where the statement that lies there is not about what is put in force."""
_STATEMENT = (freshness.FILE, freshness.SIGNATURE)
_LARGEST = 1 << 20


class TargetBusy(DependencyFailed):
    """Another process is applying to the directory."""

    code = "ERR_MIRROR_TARGET_BUSY"
    hint = "Wait for the other process to end, then run the command again."


class TargetUnusable(MissingPrerequisite):
    """A directory that cannot be written, or is none of those that bundles are applied to."""

    code = "ERR_MIRROR_TARGET"
    hint = "Free room or give write permission, or name another directory; nothing of it was changed."


class TargetDamaged(NotTrusted):
    """A directory whose own notes do not fit what lies in it."""

    code = "ERR_MIRROR_TARGET_DAMAGED"
    hint = "Restore it with `stella mirror restore FULL --into DIR`."


class State(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What was applied last, and what the directory is pinned to.

    Attributes:
        restoring: ids of the archives that a restore still has to apply; empty where none is under way.
        freshness_version: of the newest freshness statement that was accepted; 0 for none.
    """

    archive_id: str
    export_id: str
    tenant: str
    profile: dict[str, str]
    restoring: tuple[str, ...] = ()
    freshness_version: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """The tree in force."""

    state: State
    tree: Tree


def pinned(profile: Profile) -> dict[str, str]:
    """A profile as the state keeps it."""
    return {"kind": profile.kind, "variant": profile.variant, "name": profile.name}


class Target:
    """A directory, held by this process alone; made by `opened`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._work = root / _WORK

    def current(self) -> Generation | None:
        """The generation in force; None where nothing was applied yet.

        Raises:
            TargetDamaged: the notes do not fit what lies there.
        """
        state = _read_state(self.root)
        link = self.root / CURRENT
        if state is None:
            if link.is_symlink() or link.exists():
                raise TargetDamaged(f"{self.root} has {CURRENT} but no {STATE}")
            return None
        wanted = f"{GENERATIONS}/{state.export_id}"
        if not link.is_symlink() or str(link.readlink()) != wanted or not link.is_dir():
            raise TargetDamaged(f"{link} is not the link to {wanted} that {STATE} speaks of")
        return Generation(state, Tree(self.root / wanted))

    @contextmanager
    def growing(self) -> Iterator[Path]:
        """An empty place on the target's disk, removed at the end."""
        place = self._work / f"growing-{os.getpid()}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def known_version(self, manifest: ExportManifest) -> int:
        """Of the newest freshness statement that was accepted for the tenant and profile of an export; 0 for none.

        A target that is damaged forgets nothing of it: the statement that lies there tells too.
        """
        profile, there = manifest.profile, self._stated()
        stated = there is not None and (there.tenant, there.profile) == (manifest.tenant, profile.name)
        version = there.version if there is not None and stated else 0
        with suppress(TargetDamaged):
            state = _read_state(self.root)
            if state is not None and (state.tenant, state.profile) == (manifest.tenant, pinned(profile)):
                version = max(version, state.freshness_version)
        return version

    def switch(
        self,
        manifest: ExportManifest,
        tree: Path | None,
        state: State,
        kind: str,
        statement: Mapping[str, bytes] | None = None,
    ) -> None:
        """Put a finished tree in force: readers of `current` see the one before or this one.

        Args:
            manifest: of the tree.
            tree: in a place of `growing`; None where the tree in force stays.
            state: what is to be known of it.
            kind: of the archive, for the log.
            statement: the freshness statement about it and its signature, by their names; None where there is none,
                and one that lies there already is kept if it is about the same export.

        Raises:
            OSError: the disk cannot take it; what was in force stays.
        """
        generation = self.root / GENERATIONS / manifest.export_id
        if tree is not None:
            disk.sync_tree(tree)
            generation.parent.mkdir(exist_ok=True)
            if generation.exists():  # the same state, applied before: perhaps it is in force
                disk.exchange(tree, generation)
            else:
                tree.rename(generation)
            disk.sync(generation.parent)
        there = self._stated()
        unstated = not statement and (there is None or there.export_id != state.export_id)
        self._make_ready(state, f"{state.export_id} {state.archive_id} {kind}\n".encode(), statement or {})
        _write(self._work / _NOTE, _SWITCH + _UNSTATED if unstated else _SWITCH)
        self.finish_switch()

    def _stated(self) -> Freshness | None:
        """The statement that lies there, which was checked when it came; None for whatever is none."""
        try:
            return freshness.parse(Tree(self.root).read(freshness.FILE, freshness.LARGEST))
        except (freshness.BadFreshness, UntrustedFile):
            return None

    def _make_ready(self, state: State, line: bytes, statement: Mapping[str, bytes]) -> None:
        """Write all that a switch needs room for, so that nothing but renaming is left after it was noted."""
        link = self._work / CURRENT
        for left in (link, *(self._work / name for name in _STATEMENT)):  # of a switch that was never noted
            left.unlink(missing_ok=True)
        link.symlink_to(f"{GENERATIONS}/{state.export_id}")
        _write(self._work / STATE, _encoded(state))
        log = self.root / LOG
        _write(self._work / LOG, (log.read_bytes() if log.exists() else b"") + line)
        for name, data in statement.items():
            _write(self._work / name, data)

    def finish_switch(self) -> None:
        """Take a switch that was noted to its end."""
        note = self._work / _NOTE
        if not note.exists():
            return
        for name in (CURRENT, STATE, LOG, *_STATEMENT):
            with suppress(FileNotFoundError):  # done before this process died, or there is none
                (self._work / name).rename(self.root / name)
        if _UNSTATED in note.read_bytes():
            for name in _STATEMENT:
                (self.root / name).unlink(missing_ok=True)
        disk.sync(self.root)
        note.unlink()
        disk.sync(self._work)

    def sweep(self, keep: int = 2) -> None:
        """Remove what dead processes left, and all but the newest generations."""
        for left in self._work.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        try:
            state = _read_state(self.root)
        except TargetDamaged:  # a restore mends it, and until then nobody knows what is in force
            return
        in_force = None if state is None else state.export_id
        others = sorted(
            (path for path in _generations(self.root) if path.name != in_force),
            key=lambda path: path.stat().st_mtime_ns,
            reverse=True,
        )
        for path in others[keep - 1 :]:
            _bury(path, self._work)


@contextmanager
def opened(root: Path) -> Iterator[Target]:
    """The directory, made when absent; a switch that a dead process has noted is taken to its end first.

    Raises:
        TargetBusy, TargetUnusable, TargetDamaged: see there.
    """
    with disk_errors(root):
        ours = (root / _WORK).is_dir() or (root / STATE).is_file()
        if root.exists() and not ours and (not root.is_dir() or any(root.iterdir())):
            raise TargetUnusable(f"{root} is not empty, and no bundle was ever applied to it")
        (root / _WORK).mkdir(parents=True, exist_ok=True)
        lock = os.open(root / _WORK / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TargetBusy(f"another process is applying to {root}") from error
            target = Target(root)
            target.finish_switch()
            target.sweep()
            yield target
        finally:
            os.close(lock)


def disk_errors(where: Path) -> AbstractContextManager[None]:
    """A disk that is full or cannot be written as an error that says so."""
    return disk.disk_errors(where, TargetUnusable)


def _encoded(state: State) -> bytes:
    return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"


def _read_state(root: Path) -> State | None:
    if not (root / STATE).exists():
        return None
    try:
        state = msgspec.json.decode(Tree(root).read(STATE, _LARGEST), type=State)
    except (msgspec.MsgspecError, UntrustedFile) as error:
        raise TargetDamaged(f"{root / STATE}: {error}") from error
    if not layout.is_content_id(state.export_id) or not layout.is_content_id(state.archive_id):
        raise TargetDamaged(f"{root / STATE} names no export and archive")
    return state


def _generations(root: Path) -> list[Path]:
    folder = root / GENERATIONS
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _bury(path: Path, work: Path) -> None:
    """Remove a tree in a way that a kill in the middle leaves nothing that looks like one."""
    grave = work / f"gone-{path.name}-{os.getpid()}"
    shutil.rmtree(grave, ignore_errors=True)
    path.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    """A small file in one step."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(path)
    disk.sync(path.parent)
