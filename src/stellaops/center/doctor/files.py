"""Settings and the files that they name; room on the disks."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stellaops.adapters.settings.load import Settings
from stellaops.ingest.doctor import Finding, Room, Verdict, check_room

_SECRETS = ("passphrase", "password", "secret", "token", "pin", "key", "dockerconfig")
_LITTLE = 256 << 20
_FEW_NODES = 0.05


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Whether files that settings name are there, and secrets open to nobody else."""
    wrong, open_, named = list[str](), list[str](), 0
    for name, value, _ in settings.every():
        if value and name.lower().endswith("file") and "{" not in value:
            named += 1
            problem, is_open = _look(name, Path(value))
            wrong += [problem] if problem else []
            open_ += [f"{name}: {value}"] if is_open else []
    program = settings.get("trivy")
    if program and not os.access(program, os.X_OK):
        wrong.append(f"trivy: {program} is no program that can be started")
    if wrong:
        hint = "Correct the setting or put the file there; `stella config show` says where each value comes from."
        yield Finding("settings", Verdict.FAILED, "; ".join(wrong), hint)
    elif open_:
        hint = "`chmod 600` each; if somebody may have read it, exchange the secret."
        yield Finding("settings", Verdict.WARNING, f"open to others: {', '.join(open_)}", hint)
    else:
        yield Finding("settings", Verdict.OK, f"all can be used, {named} of them name files that are there")


def _look(name: str, path: Path) -> tuple[str, bool]:
    """What is wrong with a file, and whether it is a secret that others can read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"{name}: {path}: {error.strerror}", False
    if not os.access(path, os.R_OK):
        return f"{name}: {path} cannot be read by this user", False
    last = name.rpartition(".")[2].lower()
    is_secret = any(word in last for word in _SECRETS)
    return "", is_secret and bool(stat.S_IMODE(mode) & 0o007)


def check_disks(data_dir: Path) -> Iterator[Finding]:
    """The data directory's disk and the temporary directory's."""
    if data_dir.is_dir():
        yield check_room(Room(shutil.disk_usage(data_dir).free, _used(data_dir)))
        yield check_nodes("disk entries", data_dir)
    temporary = Path(tempfile.gettempdir())
    free = shutil.disk_usage(temporary).free
    detail = f"{free >> 20} MiB free in {temporary}"
    if free < _LITTLE:
        hint = "Verification and scans unpack databases there: free room, or set TMPDIR to a larger disk."
        yield Finding("temporary room", Verdict.WARNING, detail, hint)
    else:
        yield Finding("temporary room", Verdict.OK, detail)


def check_nodes(name: str, directory: Path) -> Finding:
    """Whether the file system can take many more files; some have no bound."""
    found = os.statvfs(directory)
    if found.f_files and found.f_favail < _FEW_NODES * found.f_files:
        hint = "Remove files, or move the data directory to a disk with more inodes."
        return Finding(name, Verdict.WARNING, f"{found.f_favail} of {found.f_files} inodes are free", hint)
    return Finding(name, Verdict.OK, "there is no lack of inodes")


def _used(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        try:
            found = file.lstat()
        except OSError:  # gone meanwhile
            continue
        total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
