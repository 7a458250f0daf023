"""A run's bundle out of a server: each file checked, begun ones gone on with, and put in place when all are there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from urllib3 import BaseHTTPResponse

from stellaops.adapters.files.whole_file import write_file
from stellaops.adapters.files.workspace import TargetExists
from stellaops.bundles import layout
from stellaops.client.connection import Connection, path_of
from stellaops.client.errors import DownloadCorrupt, ServerAnswerUnusable, ServerUnreachable
from stellaops.core.errors import MissingPrerequisite
from stellaops.kit.disk import disk_errors, put_in_place

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
_PIECE = 1 << 20
_SILENCE = 60.0
_DIGEST = re.compile(r'(?:W/)?"(?:sha256:)?([0-9a-f]{64})"')
_NAME = re.compile(r"[a-z2-7]{26}")


class NothingToDownload(MissingPrerequisite):
    """The run has no bundle: it has not ended well, or its bundle is not kept any more."""

    code = "ERR_EXPORT_BUNDLE_GONE"
    hint = "Replay the run with `stella export run replay`: the same snapshot gives the same export."


def download(
    connection: Connection, run: Mapping[str, Any], target: Path, progress: Callable[[str], None]
) -> None:
    """Copy a bundle root to a directory; all or nothing. What was begun before is gone on with.

    Raises:
        NothingToDownload, TargetExists, DownloadCorrupt, NoRoom: see there.
        ServerUnreachable: the server stayed away; what came is kept beside the target for the next attempt.
    """
    files = _files(run)
    with disk_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise TargetExists(f"{target} exists and is not empty")
        growing = target.parent / f".{target.name}.download-{run['archiveId']}"
        growing.mkdir(parents=True, exist_ok=True)
        total = sum(size or 0 for _, size in files.values())
        done = 0
        for path, (digest, size) in files.items():
            base = path_of("", "api", "export", "runs", run["runId"], "artifacts", *path.split("/"))
            _fetch(connection, base, growing / path, digest, partial(_show, progress, done, total))
            done += size or 0
        _demand_nothing_else(growing, files)
        _place(growing, target)


def download_tar(
    connection: Connection, run: Mapping[str, Any], target: Path, progress: Callable[[str], None]
) -> None:
    """Copy a bundle into one new tar file; every file in it is checked before the tar file is there.

    Raises:
        NothingToDownload, TargetExists, DownloadCorrupt, NoRoom, ServerUnreachable: see there.
    """
    files = _files(run)
    total = sum(size or 0 for _, size in files.values())
    url = path_of("", "api", "export", "runs", run["runId"], "bundle.tar")
    with connection.open("GET", url, {"accept-encoding": "identity"}, read=_SILENCE) as response:
        pieces = connection.pieces(response, _PIECE)
        check = partial(_demand_whole, f"{run['runId']}/", files)
        write_file(target, pieces, partial(_show, progress, 0, total), check)


def _demand_whole(root: str, files: Mapping[str, tuple[str | None, int | None]], file: Path) -> None:
    """Refuse a tar file that lacks a file, has another than it should, or would write outside its directory.

    Raises:
        DownloadCorrupt: see there.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                path = member.name.removeprefix(root)
                if member.type != tarfile.REGTYPE or path == member.name or not layout.is_portable(path):
                    raise DownloadCorrupt(f"{file.name}: {member.name[:200]!r} is no file of a bundle")
                found[path] = _digest_in(tar, member)
    except (tarfile.TarError, EOFError) as error:
        raise DownloadCorrupt(f"{file.name}: {error}") from None
    for path, (wanted, _) in files.items():
        if path not in found or wanted not in (None, found[path]):
            raise DownloadCorrupt(f"{file.name}: {path} is missing, or its digest is not {wanted}")


def _digest_in(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content, hasher = tar.extractfile(member), hashlib.sha256()
    while content is not None and (piece := content.read(_PIECE)):
        hasher.update(piece)
    return hasher.hexdigest()


def _files(run: Mapping[str, Any]) -> dict[str, tuple[str | None, int | None]]:
    """Path, digest and size of every file of a bundle root; signatures may be renewed and have neither."""
    if run.get("status") != "succeeded" or not _NAME.fullmatch(str(run.get("archiveId"))):
        raise NothingToDownload(f"run {run.get('runId')} ({run.get('status')}) has no bundle")
    found: dict[str, tuple[str | None, int | None]] = {}
    for each in run["artifacts"]:
        found[each["path"]] = (each["sha256"].removeprefix("sha256:"), each["bytes"])
    for path in run["signatures"]:
        found[path] = (None, None)
    strange = [path for path in found if not layout.is_portable(path)]
    if strange or not found:
        raise ServerAnswerUnusable(f"run {run['runId']}: {strange[:1] or 'no files'}")
    return found


def _fetch(
    connection: Connection, url: str, file: Path, digest: str | None, progress: Callable[[int], None]
) -> None:
    if file.exists() and digest is not None and _digest(file) == digest:
        progress(file.stat().st_size)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    if digest is None:
        part.unlink(missing_ok=True)
    pauses, again = list(_PAUSES), True
    while True:
        try:
            told = _go_on(connection, url, part, progress)
        except ServerUnreachable:
            if not pauses:
                raise
            connection.pause(pauses.pop(0))
            continue
        wanted = digest or told
        if wanted is None or _digest(part) == wanted:
            part.replace(file)
            return
        part.unlink(missing_ok=True)
        if not again:
            raise DownloadCorrupt(f"{file.name}: its digest is not {wanted}")
        again = False


def _go_on(connection: Connection, url: str, part: Path, progress: Callable[[int], None]) -> str | None:
    """Fetch what is lacking of a file; the digest that the server states of all of it."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"range": f"bytes={have}-"} if have else {}
    with connection.open("GET", url, {"accept-encoding": "identity", **headers}, read=_SILENCE) as response:
        told = _DIGEST.fullmatch(response.headers.get("etag", ""))
        if (
            response.status == 416
        ):  # nothing is lacking, or what is there is longer than the file: the digest tells
            return told[1] if told else None
        mode = "ab" if response.status == 206 and _begins_at(response, have) else "wb"
        got = have if mode == "ab" else 0
        with part.open(mode) as out:
            for piece in connection.pieces(response, _PIECE):
                out.write(piece)
                got += len(piece)
                progress(got)
        return told[1] if told else None


def _begins_at(response: BaseHTTPResponse, place: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {place}-")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _demand_nothing_else(root: Path, files: Mapping[str, object]) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path.relative_to(root).as_posix() not in files:
            path.unlink()


def _place(growing: Path, target: Path) -> None:
    for path in (growing, *growing.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if target.exists():
        target.rmdir()
    put_in_place(growing, target)
    shutil.rmtree(growing, ignore_errors=True)


def _show(progress: Callable[[str], None], before: int, total: int, got: int) -> None:
    done = (before + got) / 1e6
    progress(f"{done:,.1f} of {total / 1e6:,.1f} MB" if total else f"{done:,.1f} MB")
