"""What changed between two exports: records by source and key, database entries by bucket, package and id."""

from __future__ import annotations

import mmap
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stellaops.bundles import layout, manifest, rows
from stellaops.bundles.packed import expansion_limit, lines, unzstd
from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.inspect import DATABASE
from stellaops.core.errors import InvalidInput


class NotComparable(InvalidInput):
    """Two bundles that hold different kinds of content, or no bundle at all."""

    code = "ERR_EXPORT_NOT_COMPARABLE"
    hint = "Compare two runs or bundle roots of one kind."


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `change` is added, removed or changed."""

    content: str
    change: str
    what: str


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences between two exports."""

    old: str
    new: str
    changes: tuple[Change, ...]

    def to_wire(self) -> dict[str, Any]:
        """The difference as scripts read it."""
        return {
            "old": self.old,
            "new": self.new,
            "changes": [{"content": c.content, "change": c.change, "what": c.what} for c in self.changes],
        }


def diff_exports(old: Path, new: Path) -> Difference:
    """Compare two bundle roots of one kind; both should be verified before.

    Raises:
        NotComparable: see there.
    """
    before, after = _manifest(old), _manifest(new)
    paths = {content.path for content in before.contents} | {content.path for content in after.contents}
    if (before.profile.kind, before.profile.variant) != (after.profile.kind, after.profile.variant):
        raise NotComparable(f"{old} and {new} are exports of different kinds")
    changes: list[Change] = []
    for path in sorted(paths):
        first, second = before.content(path), after.content(path)
        if first is not None and second is not None and first.content_digest == second.content_digest:
            continue
        if layout.is_row_set(path) and not layout.is_sharded(path):
            changes += _merge(path, _index(old, path), _index(new, path))
        elif path == layout.TRIVY_DB:
            changes += _merge(path, _entries(old), _entries(new))
        elif path == layout.TRIVY_JAVA_DB:
            changes += _merge(path, _artefacts(old), _artefacts(new))
    return Difference(before.export_id, after.export_id, tuple(changes))


def _manifest(root: Path) -> manifest.ExportManifest:
    try:
        return manifest.parse((root / layout.MANIFEST).read_bytes())
    except OSError as error:
        raise NotComparable(f"{root} is no bundle root: {error.strerror}") from error


def _index(root: Path, name: str) -> Iterator[tuple[tuple[str, ...], object]]:
    file = root / layout.index_file(name)
    with file.open("rb") as packed:
        chunks = iter(lambda: packed.read(1 << 20), b"")
        for line in lines(unzstd(chunks, expansion_limit(file.stat().st_size))):
            row = rows.parse_index(line)
            yield (row.source, row.key), row.digest


def _entries(root: Path) -> Iterator[tuple[tuple[str, ...], object]]:
    with (
        tarfile.open(root / layout.TRIVY_DB, "r:gz") as archive,
        tempfile.TemporaryFile() as scratch,
    ):
        content = archive.extractfile(DATABASE)
        while content is not None and (chunk := content.read(1 << 20)):
            scratch.write(chunk)
        scratch.flush()
        with mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for bucket_name, bucket in BoltReader(data).buckets():
                if bucket_name in (b"data-source", b"vulnerability"):
                    for key, value in bucket.items():
                        yield (_text(bucket_name), _text(key)), bytes(value)
                    continue
                for package_name, package in bucket.buckets():
                    for key, value in package.items():
                        yield (_text(bucket_name), _text(package_name), _text(key)), bytes(value)


def _artefacts(root: Path) -> Iterator[tuple[tuple[str, ...], object]]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        tarfile.open(root / layout.TRIVY_JAVA_DB, "r:gz") as archive,
    ):
        archive.extract(java_db.DATABASE, scratch, filter="data")
        with closing(java_db.open_database(Path(scratch) / java_db.DATABASE)) as connection:
            for group, artifact, version, archive_type, sha1 in java_db.rows_of(connection):
                yield (group, artifact, version, archive_type, sha1.hex()), True


def _merge(
    content: str,
    old: Iterator[tuple[tuple[str, ...], object]],
    new: Iterator[tuple[tuple[str, ...], object]],
) -> Iterator[Change]:
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None  # noqa: S101 - one of the two is there
            yield Change(content, "removed", " ".join(left[0]))
            left = next(old, None)
        elif left is None or right[0] < left[0]:
            yield Change(content, "added", " ".join(right[0]))
            right = next(new, None)
        else:
            if left[1] != right[1]:
                yield Change(content, "changed", " ".join(left[0]))
            left, right = next(old, None), next(new, None)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
