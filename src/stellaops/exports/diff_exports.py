"""What changed between two exports: records by source and key, database entries by bucket, package and id."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stellaops.bundles import files_manifest, layout, manifest, provenance
from stellaops.bundles.content import Content
from stellaops.core.errors import InvalidInput
from stellaops.exports.diff_rows import (
    Change,
    artefact_entries,
    database_entries,
    differences,
    index_entries,
)
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.locate import locate

_FOLLOW_DATABASES = (layout.TRIVY_SENTINELS, layout.TRIVY_JAVA_SENTINELS)
_NOT_COMPARED = (layout.RAW, layout.UPSTREAM, layout.NORMALIZED)


class NotComparable(InvalidInput):
    """Two bundles that hold different kinds of content, or no bundle at all."""

    code = "ERR_EXPORT_NOT_COMPARABLE"
    hint = "Compare two runs or bundle roots of one kind."


WORDS = ("added", "changed", "withdrawn", "removed")
_MOST_LISTED = 10_000
_MOST_PACKAGES = 1_000


@dataclass
class Counts:
    """How many entries of one content differ, in all and by what they are about."""

    total: Counter[str] = field(default_factory=Counter)
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    packages: dict[str, Counter[str]] = field(default_factory=dict)
    severities: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        """Count one more."""
        self.total[change.change] += 1
        if change.source is None:
            return
        self.sources.setdefault(change.source, Counter())[change.change] += 1
        self.severities.setdefault(change.severity or "UNKNOWN", Counter())[change.change] += 1
        for package in change.packages:
            self.packages.setdefault(package, Counter())[change.change] += 1

    def to_wire(self) -> dict[str, Any]:
        """The counts as scripts read them; of the packages those that differ most."""
        most = sorted(self.packages.items(), key=lambda item: (-item[1].total(), item[0]))[:_MOST_PACKAGES]
        return {
            **_words(self.total),
            "sources": {name: _words(counts) for name, counts in sorted(self.sources.items())},
            "severities": {name: _words(counts) for name, counts in sorted(self.severities.items())},
            "packages": {name: _words(counts) for name, counts in most},
            "packagesOmitted": len(self.packages) - len(most),
        }


def _words(counts: Counter[str]) -> dict[str, int]:
    return {word: counts[word] for word in WORDS}


@dataclass
class Difference:
    """All differences between two exports: counted by content, and the first of them one by one."""

    old: str
    new: str
    changes: list[Change] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    omitted: int = 0

    def add(self, change: Change) -> None:
        """Take one more in."""
        self.counts.setdefault(change.content, Counts()).add(change)
        if len(self.changes) < _MOST_LISTED:
            self.changes.append(change)
        else:
            self.omitted += 1

    def to_wire(self) -> dict[str, Any]:
        """The difference as scripts read it."""
        total: Counter[str] = Counter()
        for counts in self.counts.values():
            total += counts.total
        return {
            "old": self.old,
            "new": self.new,
            **_words(total),
            "contents": {content: counts.to_wire() for content, counts in self.counts.items()},
            "changes": [
                {
                    "content": c.content, "change": c.change, "what": c.what, "source": c.source,
                    "packages": list(c.packages), "severity": c.severity,
                }
                for c in self.changes
            ],
            "omitted": self.omitted,
        }  # fmt: skip


def diff_exports(old: Path, new: Path) -> Difference:
    """Compare two bundle roots of one kind; both should be verified before.

    Raises:
        NotComparable: see there.
    """
    with _opened(old) as one, _opened(new) as other:
        return _difference(one, other)


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """A bundle root; of an archive, what is compared of it: all but the documents, which their index stands for."""
    with closing(locate(path)) as found, tempfile.TemporaryDirectory(prefix="stella-diff-") as scratch:
        if not isinstance(found.tree, ArchiveTree):
            yield found.tree.root
            return
        root = Path(scratch)
        (root / layout.MANIFEST).write_bytes(found.tree.read(layout.MANIFEST, manifest.LARGEST))
        entries = files_manifest.parse(found.tree.read(layout.FILES, files_manifest.LARGEST))
        if entries.base is not None:
            raise NotComparable(f"{path} is a delta: compare the states that it leads from and to")

        def keep(name: str, chunks: Iterator[bytes]) -> None:
            if not name.startswith(_NOT_COMPARED):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                with (root / name).open("xb") as out:
                    out.writelines(chunks)

        sizes = {entry.path: entry.bytes for entry in entries.files}
        found.tree.pass_over(sizes, {layout.PROVENANCE: provenance.LARGEST}, keep)
        yield root


def _difference(old: Path, new: Path) -> Difference:
    before, after = _manifest(old), _manifest(new)
    paths = {content.path for content in before.contents} | {content.path for content in after.contents}
    if (before.profile.kind, before.profile.variant) != (after.profile.kind, after.profile.variant):
        kinds = [f"{each.profile.kind}:{each.profile.variant}" for each in (before, after)]
        raise NotComparable(f"the exports are of different kinds: {kinds[0]} and {kinds[1]}")
    found = Difference(before.export_id, after.export_id)
    for path in sorted(paths):
        first, second = before.content(path), after.content(path)
        if first is not None and second is not None and first.content_digest == second.content_digest:
            continue
        for change in _changes(path, first, second, (old, new)):
            found.add(change)
    return found


def _changes(
    path: str, first: Content | None, second: Content | None, roots: tuple[Path, Path]
) -> Iterator[Change]:
    if first is None or second is None:
        yield Change(path, "added" if first is None else "removed", path)
    elif layout.is_row_set(path) and not layout.is_sharded(path):
        yield from differences(path, *(index_entries(root, path) for root in roots))
    elif path == layout.TRIVY_DB:
        yield from differences(path, *(database_entries(root) for root in roots))
    elif path == layout.TRIVY_JAVA_DB:
        yield from differences(path, *(artefact_entries(root) for root in roots))
    elif not layout.is_row_set(path) and path not in _FOLLOW_DATABASES:
        yield Change(path, "changed", path)


def _manifest(root: Path) -> manifest.ExportManifest:
    try:
        return manifest.parse((root / layout.MANIFEST).read_bytes())
    except OSError as error:
        raise NotComparable(f"{root} is no bundle root: {error.strerror}") from error
