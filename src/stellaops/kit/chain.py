"""Verification of a full archive with the deltas after it, and of whatever else lies at a path.

Each archive is verified by itself. Then the chain: each delta builds on the archive before it, and amending the rows of
the full archive by what each delta states gives the digests that its `export.json` states. Nothing is unpacked: of each
row its place and the digest of its line are kept, in a scratch directory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from stellaops.bundles import layout, packed, provenance, rendering
from stellaops.bundles.content import Content
from stellaops.bundles.digest_list import AmendedList, DigestList, DigestListWriter, Place, line_of
from stellaops.bundles.encryption.envelope import Opener
from stellaops.bundles.mirror import delta as form
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput, NotTrusted, StellaError
from stellaops.kit import delta
from stellaops.kit.apply import Trust, chain
from stellaops.kit.archive import ArchiveTree, Take
from stellaops.kit.head import Head
from stellaops.kit.merge import place_of
from stellaops.kit.opening import opening_of
from stellaops.kit.report import Check, Report
from stellaops.kit.verify import verify_bundle

_NAME = "chain"


class BrokenChain(NotTrusted):
    """Archives each of which is sound, but which do not lead from one to the next."""

    code = "ERR_MIRROR_CHAIN"
    hint = "Fetch the archive that is missing, or a newer full one."


def verify_path(
    path: Path,
    trusted: Sequence[bytes],
    *,
    revoked: Collection[str] = (),
    remarks: Mapping[str, str] = MappingProxyType({}),
    max_age: timedelta | None = None,
    at: datetime | None = None,
    scratch: Path | None = None,
    identities: Sequence[Opener] = (),
) -> Report:
    """Verify what lies at a path: as `verify_bundle`, and a directory with several mirror archives as a chain.

    Raises:
        UnusableKey, NoScratchRoom: see `verify_bundle`.
    """
    archives = _archives(path)
    if len(archives) < 2:
        return verify_bundle(
            path,
            trusted,
            revoked=revoked,
            remarks=remarks,
            max_age=max_age,
            at=at,
            scratch=scratch,
            identities=identities,
        )
    trust, heads = Trust(trusted, revoked, identities), list[tuple[Path, Head]]()
    for each in archives:
        try:
            heads.append((each, delta.read_head(each, trust.keys, revoked)))
        except (InvalidInput, NotTrusted) as error:
            return Report("failed", None, None, (Check("V01", "signer", "failed", f"{each.name}: {error}"),))
    ordered = _in_order(heads)
    newest = ordered[-1][0]
    reports = [
        verify_bundle(
            each,
            trusted,
            revoked=revoked,
            remarks=remarks,
            max_age=max_age if each == newest else None,
            at=at,
            scratch=scratch,
            identities=identities,
        )
        for each, _ in ordered
    ]
    return _summed_up(ordered, reports, scratch, identities)


def _summed_up(
    ordered: Sequence[tuple[Path, Head]],
    reports: Sequence[Report],
    scratch: Path | None,
    identities: Sequence[Opener],
) -> Report:
    """One report of all archives, and of the chain where each of them is sound."""
    names = [each.name for each, _ in ordered]
    checks = [_together(names, found) for found in zip(*(report.checks for report in reports), strict=True)]
    number = f"V{len(checks) + 1:02}"
    if any(report.verdict != "ok" for report in reports):
        checks.append(Check(number, _NAME, "skipped", "an archive of it failed"))
    else:
        checks.append(_chain_check(number, ordered, scratch, identities))
    failed = any(check.status == "failed" for check in checks)
    last = reports[-1]
    return Report("failed" if failed else "ok", last.export_id, last.rerun_hash, tuple(checks))


def _archives(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if layout.is_archive(each.name))


def _in_order(heads: list[tuple[Path, Head]]) -> list[tuple[Path, Head]]:
    """Archives as each builds on the one before; what cannot be placed comes last, where the check finds it."""
    left = list(heads)
    found = [each for each in left if each[1].files.base is None][:1]
    while found:
        following = [
            each
            for each in left
            if each[1].files.base is not None and each[1].files.base.archive_id == found[-1][1].archive_id
        ]
        if not following or following[0] in found:
            break
        found.append(following[0])
    return found + [each for each in left if each not in found]


def _together(names: Sequence[str], found: Sequence[Check]) -> Check:
    """One check of all archives: the worst of them, and of the last one where all are alike."""
    for status in ("failed", "warning"):
        for name, check in zip(names, found, strict=True):
            if check.status == status:
                return Check(check.id, check.name, check.status, f"{name}: {check.detail}")
    told = [check for check in found if check.status == "ok"] or list(found)
    return told[-1]


def _chain_check(
    number: str, ordered: Sequence[tuple[Path, Head]], scratch: Path | None, identities: Sequence[Opener]
) -> Check:
    try:
        chain(ordered)
        if not all(_readable(path, head, identities) for path, head in ordered):
            told = "the archives follow each other; what is encrypted in them was not followed"
            return Check(number, _NAME, "warning", told)
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="stella-chain-") as directory,
            ExitStack() as stack,
        ):
            lists = _Lists(Path(directory), stack, identities)
            for path, head in ordered:
                lists.follow(path, head)
    except StellaError as error:
        return Check(number, _NAME, "failed", str(error))
    return Check(
        number, _NAME, "ok", f"{len(ordered) - 1} deltas lead from the full archive to the last export"
    )


class _Lists:
    """The digest lists of the row sets of a state, followed from archive to archive."""

    def __init__(self, scratch: Path, stack: ExitStack, identities: Sequence[Opener]) -> None:
        self._scratch = scratch
        self._stack = stack
        self._identities = identities
        self._lists: dict[str, DigestList] = {}
        self._whole: dict[str, Content] = {}
        self._count = 0

    def follow(self, path: Path, head: Head) -> None:
        """Take the next archive.

        Raises:
            BrokenChain: it does not lead to the digests that it states.
        """
        given = set(head.files.entries())
        pending = _Changes() if head.files.base is not None else None
        fresh: dict[str, _Growing] = {}

        def take(name: str, chunks: Iterator[bytes]) -> None:
            if pending is not None:
                pending.take(name, chunks, head.files.entries()[name].bytes)
                return
            content = next((c.path for c in head.manifest.contents if layout.files_of(c.path, (name,))), "")
            if layout.is_row_set(content):
                if content not in fresh:
                    fresh[content] = _Growing(self._new())
                for line in packed.lines(packed.unzstd(chunks, 1 << 62)):
                    fresh[content].list.add(line_of(place_of(line), digests.sha256(line)))

        _pass(path, head, take, self._identities)
        for content in head.manifest.contents:
            if not layout.is_row_set(content.path):
                self._follow_whole(content, given)
            elif pending is None:
                self._keep(content, fresh.get(content.path))
            else:
                self._amend(content, pending)

    def _follow_whole(self, content: Content, given: set[str]) -> None:
        held = self._whole.get(content.path)
        if content.path not in given and (held is None or held.content_digest != content.content_digest):
            raise BrokenChain(f"{content.path} is another than before, and the delta does not carry it")
        self._whole[content.path] = content

    def _keep(self, content: Content, growing: _Growing | None) -> None:
        if growing is not None:
            file = self._stack.enter_context(growing.closed().open("rb"))
            self._lists[content.path] = DigestList(file, content.content_digest)

    def _amend(self, content: Content, changes: _Changes) -> None:
        place = self._new()
        with place.open("wb") as out:
            amended = AmendedList(self._lists.get(content.path), out)
            for where, digest in changes.of(content.path):
                before = amended.set(where, digest)
                if digest is None and before is None:
                    raise BrokenChain(f"{content.path}: {where!r:.300} is removed, but is not there")
            found, _ = amended.finish()
        if found != content.content_digest:
            raise BrokenChain(f"{content.path} becomes {found}, export.json states {content.content_digest}")
        self._lists[content.path] = DigestList(self._stack.enter_context(place.open("rb")), Digest(found))

    def _new(self) -> Path:
        self._count += 1
        return self._scratch / f"{self._count}.list"


class _Growing:
    """A list that is being written to a file."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._out = place.open("wb")
        self.list = DigestListWriter(self._out)

    def closed(self) -> Path:
        """The file, whole."""
        self.list.close()
        self._out.close()
        return self._place


class _Changes:
    """What a delta does to row sets: a digest for each place, None for a row that it removes."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[Place, str | None]] = {}

    def take(self, name: str, chunks: Iterator[bytes], size: int) -> None:
        """A file of the delta."""
        content = form.content_of(name)
        if content is None:
            return
        changes = self._changes.setdefault(content, {})
        if name == form.removed_file(content):
            changes.update((removal.place, None) for removal in delta.removals(content, chunks, size))
            return
        for place, line in delta.upserts(content, chunks, size):
            if place in changes:
                raise BrokenChain(f"{content}: {place!r:.300} is removed and new at once")
            changes[place] = digests.sha256(line)

    def of(self, content: str) -> list[tuple[Place, str | None]]:
        """Those of a row set, in order."""
        return sorted(self._changes.get(content, {}).items(), key=lambda item: item[0])


def _readable(path: Path, head: Head, identities: Sequence[Opener]) -> bool:
    with closing(ArchiveTree(path)) as tree:
        return opening_of(tree, head.key, head.manifest.export_id, identities).is_readable


def _pass(path: Path, head: Head, take: Take, identities: Sequence[Opener]) -> None:
    tree = ArchiveTree(path)
    opening = opening_of(tree, head.key, head.manifest.export_id, identities)
    try:
        small = {layout.PROVENANCE: provenance.LARGEST, layout.MANIFEST_YAML: 0, layout.README: 0}
        small[layout.MANIFEST_YAML] = len(rendering.manifest_yaml(head.manifest))
        small[layout.README] = len(rendering.readme(head.manifest))
        tree.pass_over({entry.path: entry.bytes for entry in head.files.files}, small, opening.taking(take))
    except InvalidInput as error:
        raise BrokenChain(f"{path.name}: {error}") from error
    finally:
        tree.close()
