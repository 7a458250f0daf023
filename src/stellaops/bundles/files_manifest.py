"""`files.json`: the files of one archive, byte for byte, and the tools that packed them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from stellaops.bundles import layout
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

LARGEST = 64 * 1024 * 1024
"""Bytes that a files manifest may have."""


class BadFilesManifest(InvalidInput):
    """A files manifest that is not what `build` writes."""

    code = "ERR_FILES_MANIFEST_INVALID"
    hint = "Fetch the bundle again; if it stays, it was made by another version of the product."


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: `bytes` and `digest` are of the file as it lies there, `codec` is `none`, `zstd` or `gzip`."""

    path: str
    digest: Digest
    bytes: int
    codec: str


@dataclass(frozen=True, slots=True)
class Base:
    """The archive that a delta builds on."""

    export_id: str
    archive_id: str


@dataclass(frozen=True, slots=True)
class FilesManifest:
    """A files manifest and its exact bytes."""

    kind: str
    export_id: str
    files: tuple[FileEntry, ...]
    toolchain: Mapping[str, Any]
    base: Base | None
    data: bytes

    @property
    def archive_id(self) -> str:
        """The id of this archive by its bytes."""
        return digests.content_id(self.data)

    def entries(self) -> dict[str, FileEntry]:
        """The files by path."""
        return {entry.path: entry for entry in self.files}


def build(
    kind: str,
    export_id: str,
    files: Iterable[FileEntry],
    toolchain: Mapping[str, Any],
    base: Base | None = None,
) -> FilesManifest:
    """Write a files manifest; the files may come in any order.

    Args:
        kind: `kind:variant` of the profile.
        export_id: the id of the state that the archive carries.
        files: every file but `files.json`, `provenance.json` and those under `signatures/`.
        toolchain: libraries, versions and parameters, as canonical JSON can carry them.
        base: of a delta, what it builds on.

    Raises:
        BadFilesManifest: a path is there twice, is not portable, or must not be listed.
    """
    wire: dict[str, Any] = {
        "kind": kind,
        "exportId": export_id,
        "files": [
            {"path": file.path, "digest": file.digest, "bytes": file.bytes, "codec": file.codec}
            for file in sorted(files, key=lambda file: file.path)
        ],
        "toolchain": dict(toolchain),
    }
    if base is not None:
        wire["base"] = {"exportId": base.export_id, "archiveId": base.archive_id}
    try:
        return parse(canonical_json.encode(wire))
    except canonical_json.NotCanonical as error:
        raise BadFilesManifest(f"the files manifest cannot be written: {error}") from error


def parse(data: bytes) -> FilesManifest:
    """Read a files manifest that must be in canonical form with nothing unknown in it.

    Raises:
        BadFilesManifest: anything else.
    """
    try:
        wire = msgspec.convert(canonical_json.decode(data), _FilesManifest, strict=True)
    except (canonical_json.NotCanonical, msgspec.ValidationError, RecursionError) as error:
        raise BadFilesManifest(f"files.json: {error}") from error
    problems = _problems(wire)
    if problems:
        raise BadFilesManifest(f"files.json: {problems[0]}", details=problems)
    base = wire.base
    return FilesManifest(
        kind=wire.kind,
        export_id=wire.export_id,
        files=tuple(FileEntry(file.path, Digest(file.digest), file.bytes, file.codec) for file in wire.files),
        toolchain=wire.toolchain,
        base=None if base is msgspec.UNSET else Base(base.export_id, base.archive_id),
        data=data,
    )


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _File(_Strict, frozen=True):
    path: str
    digest: str
    bytes: int
    codec: str


class _Base(_Strict, frozen=True):
    export_id: str
    archive_id: str


class _FilesManifest(_Strict, frozen=True):
    kind: str
    export_id: str
    files: list[_File]
    toolchain: dict[str, Any]
    base: _Base | msgspec.UnsetType = msgspec.UNSET


def _problems(wire: _FilesManifest) -> list[str]:
    paths = [file.path for file in wire.files]
    found = [problem for file in wire.files if (problem := _file_problem(file))]
    ids = (
        [wire.export_id]
        if wire.base is msgspec.UNSET
        else [wire.export_id, wire.base.export_id, wire.base.archive_id]
    )
    if not all(layout.is_content_id(text) for text in ids):
        found.append("an export id or archive id is none")
    if any(first >= second for first, second in pairwise(paths)):
        found.append("its files are not sorted, or one is there twice")
    if len({path.lower() for path in paths}) != len(paths):
        found.append("two of its files differ in case alone")
    if set(paths) & {parent for path in paths for parent in _parents(path)}:
        found.append("one of its files is a directory of another")
    return found


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _file_problem(file: _File) -> str | None:
    if not layout.is_portable(file.path):
        return f"{file.path[:200]!r} is no portable path"
    if file.path in (layout.FILES, layout.PROVENANCE) or file.path.lower().startswith(layout.SIGNATURES):
        return f"{file.path!r} must not be listed"
    if file.bytes < 0 or file.codec != layout.codec(file.path):
        return f"{file.path!r} has a size or codec that it cannot have"
    try:
        digests.parse(file.digest)
    except ValueError as error:
        return str(error)
    return None
