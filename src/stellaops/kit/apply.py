"""Applying a delta to a directory, and restoring one from a full bundle and the deltas after it.

Everything is checked before anything is changed: the signer, that the archive may follow what was applied last, every
digest, and at the end the tree that came out, by all rules that `verify` has for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from stellaops.bundles import layout
from stellaops.bundles.encryption.envelope import Opener
from stellaops.bundles.manifest import ExportManifest
from stellaops.core.errors import InvalidInput, NotTrusted
from stellaops.core.timestamps import EPOCH
from stellaops.kit import contents, target
from stellaops.kit.delta import is_delta, lay_out, read_head
from stellaops.kit.freshness import Demands, Stale, demand_fresh, files_of
from stellaops.kit.head import Head
from stellaops.kit.merge import Sides, link_or_copy, merge
from stellaops.kit.target import Generation, State, Target, disk_errors, opened, pinned
from stellaops.kit.tree import Tree
from stellaops.kit.verify import verify_bundle
from stellaops.signing import ecdsa_p256


class ApplyRefused(NotTrusted):
    """An archive that may not be applied: wrong base, order, tenant or profile, or not what was signed."""

    code = "ERR_MIRROR_DELTA_APPLY"
    hint = "The target is as it was. Apply the archives in their order, or restore from a full one."


@dataclass(frozen=True, slots=True)
class Trust:
    """What a receiver believes, and has to read with.

    Attributes:
        pems: public keys in PEM that are trusted.
        revoked: ids of keys that verify nothing.
        identities: private keys, and keys of key services, to decrypt with.
        at: as of when freshness statements are judged; they are not where None.
        allow_stale: whether an older or expired export is taken too.
    """

    pems: Sequence[bytes]
    revoked: Collection[str] = ()
    identities: Sequence[Opener] = ()
    at: datetime | None = None
    allow_stale: bool = False

    @property
    def keys(self) -> tuple[ecdsa_p256.PublicKey, ...]:
        """The keys."""
        return tuple(ecdsa_p256.load_public_key(pem) for pem in self.pems)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it.

    Attributes:
        changed: whether another state is in force than before.
        applied: ids of the archives that were applied, in order.
        bytes: of these archives.
        warnings: what the receiver should know of them, a sentence each.
    """

    export_id: str
    archive_id: str
    changed: bool
    applied: tuple[str, ...]
    bytes: int
    manifest: ExportManifest
    warnings: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, object]:
        """What came of it, as scripts read it: a directory has no domain and does not lag behind anything."""
        return {
            "domain": None,
            "exportId": self.export_id,
            "archiveId": self.archive_id,
            "changed": self.changed,
            "bytes": self.bytes,
            "applied": list(self.applied),
            "lagSeconds": None,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class _Age:
    """What is known of the age of what is to be put in force.

    Attributes:
        version: of the newest statement that was accepted, with what comes in; 0 for none.
        statement: the files of the one about it; empty where none came with it.
    """

    version: int
    statement: Mapping[str, bytes] = field(default_factory=dict)

    def warnings(self, path: Path) -> tuple[str, ...]:
        """What to say where no statement came with an archive."""
        if self.statement:
            return ()
        known = f"; version {self.version} of its profile is known here" if self.version else ""
        return (
            f"no freshness statement about {path.name} lies beside it: nothing tells whether it is the newest{known}",
        )


Progress = Callable[[str], None]


def apply_delta(path: Path, into: Path, trust: Trust, progress: Progress = lambda step: None) -> Applied:
    """Apply one delta to a directory that has its base in force.

    Raises:
        ApplyRefused: it may not, or does not give what it states; the target is as it was.
        TargetBusy, TargetUnusable: see there.
    """
    with _refusing(), disk_errors(into):
        head = read_head(path, trust.keys, trust.revoked)
        if not is_delta(head.files):
            raise ApplyRefused(
                f"{path.name} is no delta", hint=f"Use `stella mirror restore {path.name} --into DIR`."
            )
        if not (into / target.STATE).exists():
            raise ApplyRefused(
                f"nothing was applied to {into} yet, and {path.name} builds on archive {_base(head)}",
                hint="Restore a full archive first: `stella mirror restore FULL --into DIR`.",
            )
        with opened(into) as place:
            before = place.current()
            _demand_base(head, before, path.name)
            age = _demand_fresh(path, head, place, trust)
            done = _apply(path, head, place, trust, progress, restoring=None, age=age)
    return replace(done, warnings=age.warnings(path))


def restore(
    paths: Sequence[Path], into: Path, trust: Trust, progress: Progress = lambda step: None
) -> Applied:
    """Bring a directory to the state that a full archive and the deltas after it lead to.

    A restore of the same archives that was interrupted goes on where it was.

    Raises:
        ApplyRefused: they are no chain, or one does not give what it states; the target has what it had, or the
            archives before that one.
        TargetBusy, TargetUnusable: see there.
    """
    with _refusing(), disk_errors(into):
        heads = chain([(path, read_head(path, trust.keys, trust.revoked)) for path in paths])
        with opened(into) as place:
            begin, before = _resume(place, heads, into)
            age = _demand_fresh(*heads[-1], place, trust)
            for number in range(begin, len(heads)):
                later = tuple(head.archive_id for _, head in heads[number + 1 :])
                stated = _Age(age.version) if later else age
                _apply(*heads[number], place, trust, progress, restoring=later, age=stated)
    path, last = heads[-1]
    return Applied(
        last.manifest.export_id,
        last.archive_id,
        before != last.manifest.export_id,
        tuple(head.archive_id for _, head in heads[begin:]),
        sum(path.stat().st_size for path, _ in heads[begin:]),
        last.manifest,
        age.warnings(path),
    )


def chain(heads: Sequence[tuple[Path, Head]]) -> Sequence[tuple[Path, Head]]:
    """The same archives, when they are a full one and deltas each of which builds on the one before.

    Raises:
        ApplyRefused: they are not.
    """
    if not heads:
        raise ApplyRefused("no archive was named")
    first_path, first = heads[0]
    if is_delta(first.files):
        raise ApplyRefused(f"{first_path.name} is a delta; a full archive must come first")
    for (path, head), (before_path, before) in zip(heads[1:], heads, strict=False):
        if head.files.base is None:
            raise ApplyRefused(f"{path.name} is no delta; only the first archive is a full one")
        if (head.files.base.archive_id, head.files.base.export_id) != (
            before.archive_id,
            before.manifest.export_id,
        ):
            raise ApplyRefused(
                f"{path.name} builds on archive {_base(head)}, not on {before_path.name} ({before.archive_id})"
            )
        _demand_same(path.name, head.manifest, before.manifest.tenant, pinned(before.manifest.profile))
    return heads


def _resume(place: Target, heads: Sequence[tuple[Path, Head]], into: Path) -> tuple[int, str | None]:
    """With which archive to begin, and what is in force."""
    try:
        before = place.current()
    except target.TargetDamaged:
        return 0, None  # that is what a restore is for
    if before is None:
        return 0, None
    first = heads[0][1].manifest
    _demand_same(heads[0][0].name, first, before.state.tenant, before.state.profile, str(into))
    ids = [head.archive_id for _, head in heads]
    if before.state.restoring and before.state.archive_id in ids:
        done = ids.index(before.state.archive_id) + 1
        if tuple(ids[done:]) == before.state.restoring:
            return done, before.state.export_id
    return 0, before.state.export_id


def _demand_base(head: Head, before: Generation | None, name: str) -> None:
    if before is None:
        raise ApplyRefused(f"{name} builds on archive {_base(head)}, and nothing was applied yet")
    state = before.state
    _demand_same(name, head.manifest, state.tenant, state.profile)
    if head.archive_id == state.archive_id:
        raise ApplyRefused(f"{name} is what was applied last", hint="Nothing is to be done.")
    base = head.files.base
    if base is None or (base.archive_id, base.export_id) != (state.archive_id, state.export_id):
        raise ApplyRefused(
            f"{name} builds on archive {_base(head)}, the target is at {state.archive_id}",
            hint="Apply the archives in their order, or restore from a full one; the target is as it was.",
        )


def _demand_fresh(path: Path, head: Head, place: Target, trust: Trust) -> _Age:
    """What is known once an archive is in force, unless its statement says that it is too old.

    What was known before never goes down: not by an archive without a statement, nor by one that is taken though stale.
    """
    known = place.known_version(head.manifest)
    keys = tuple(key for key in trust.keys if key.key_id not in trust.revoked)
    demands = Demands(trust.at or EPOCH, least_version=known)
    about = (head.manifest.export_id, head.manifest.tenant)
    if trust.allow_stale:
        demands = Demands(EPOCH)
    statement = demand_fresh(path.parent, about, (keys, trust.revoked), demands)
    if statement is None:
        return _Age(known)
    return _Age(max(known, statement.version), files_of(path.parent, statement))


def _demand_same(
    name: str, manifest: ExportManifest, tenant: str, profile: dict[str, str], where: str = "the target"
) -> None:
    if manifest.tenant != tenant:
        raise ApplyRefused(f"{name} is of tenant {manifest.tenant}, {where} of tenant {tenant}")
    if pinned(manifest.profile) != profile:
        raise ApplyRefused(
            f"{name} is of profile {manifest.profile.name}, {where} of profile {profile.get('name')}"
        )


def _base(head: Head) -> str:
    return head.files.base.archive_id if head.files.base else "of none"


def _apply(
    path: Path,
    head: Head,
    place: Target,
    trust: Trust,
    progress: Progress,
    *,
    restoring: tuple[str, ...] | None,
    age: _Age,
) -> Applied:
    """Apply an archive that may follow what is in force."""
    before = place.current() if is_delta(head.files) else None
    manifest = head.manifest
    state = _state_after(head, before, restoring, age.version)
    with place.growing() as growing:
        tree = growing / "tree"
        tree.mkdir()
        progress("unpacking")
        if before is None:
            seen = lay_out(
                path,
                tree,
                trust.keys,
                trust.revoked,
                explained=contents.unexplained,
                identities=trust.identities,
            )
        else:
            staged = growing / "delta"
            staged.mkdir()
            seen = lay_out(path, staged, trust.keys, trust.revoked, identities=trust.identities)
            progress("merging")
            _grow(manifest, Sides(before.tree, Tree(staged), tree))
        if seen.archive_id != head.archive_id:
            raise ApplyRefused(f"{path.name} was changed while it was read")
        progress("verifying")
        _demand_sound(tree, trust, growing)
        same = before is not None and before.state.export_id == manifest.export_id
        progress("switching")
        place.switch(manifest, None if same else tree, state, head.files.kind, age.statement)
    return Applied(
        manifest.export_id, head.archive_id, not same, (head.archive_id,), path.stat().st_size, manifest
    )


def _state_after(
    head: Head, before: Generation | None, restoring: tuple[str, ...] | None, version: int
) -> State:
    manifest = head.manifest
    left = restoring or ()
    if restoring is None and before is not None:
        following = before.state.restoring
        left = following[1:] if following[:1] == (head.archive_id,) else ()
    return State(
        head.archive_id, manifest.export_id, manifest.tenant, pinned(manifest.profile), left, version
    )


def _grow(manifest: ExportManifest, sides: Sides) -> None:
    """Make the tree of the target out of the base's and the delta's."""
    delta_root, base = sides.delta.root, sides.base
    assert base is not None  # noqa: S101 - a delta has one
    heads = [layout.MANIFEST, *layout.RENDERED]
    for name in (
        *heads,
        *(path for path in sides.delta.listing().files if path.startswith(layout.SIGNATURES)),
    ):
        _move(delta_root / name, sides.target / name)
    for content in manifest.contents:
        path = content.path
        if layout.is_row_set(path):
            merge(path, sides)
        elif (delta_root / path).exists():
            _move(delta_root / path, sides.target / path)
        else:
            for name in (path, *_signatures_over(path, base)):
                _link(base, name, sides.target)


def _signatures_over(path: str, base: Tree) -> list[str]:
    """The signatures that the base has over one of its files."""
    if layout.signed_stem(path) is None:
        return []
    return [name for name in layout.signature_paths(path) if (base.root / name).exists()]


def _move(source: Path, target_file: Path) -> None:
    target_file.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target_file)


def _link(base: Tree, name: str, into: Path) -> None:
    base.open(name).close()  # a regular file, and there
    target_file = into / name
    target_file.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(base.root / name, target_file)


def _demand_sound(tree: Path, trust: Trust, scratch: Path) -> None:
    report = verify_bundle(tree, trust.pems, revoked=trust.revoked, scratch=scratch)
    if report.verdict != "ok":
        failed = [f"{check.id} {check.name}: {check.detail}" for check in report.failed()]
        raise ApplyRefused(f"what came out does not verify: {failed[0]}", details=failed)


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever is wrong with an archive is a refusal to apply it."""
    try:
        yield
    except (ApplyRefused, Stale):
        raise
    except (NotTrusted, InvalidInput) as error:
        raise ApplyRefused(error.what, hint=error.advice, details=error.details) from error
