"""Verification of a bundle, from nothing but its files and the keys that the receiver trusts.

A bundle lies there as a bundle root, as a mirror archive, or as the tree that deltas were applied to (`kit.locate`).
The numbered steps below are the documentation's. A step that cannot rely on what an earlier one established is skipped,
so nothing is parsed that is not signed by a trusted key. Of a bundle root nothing is unpacked whose bytes are not those
that were signed; an archive is read once, so its files are unpacked, within bounds, while they are hashed. Hostile
files end in a failed check, never in an exception.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from stellaops.bundles import files_manifest, layout, manifest, provenance, rendering
from stellaops.bundles.encryption.age import Identity
from stellaops.bundles.files_manifest import FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.trivy import inspect, java_db
from stellaops.core import digests, timestamps
from stellaops.core.digests import Digest
from stellaops.core.errors import MissingPrerequisite, StellaError
from stellaops.kit import contents, delta, freshness, outer, signatures
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.contents import Examined, Examiner, UnpackedDatabase
from stellaops.kit.delta import DeltaExaminer
from stellaops.kit.locate import Found, Lying, locate
from stellaops.kit.opening import Opening, opening_of
from stellaops.kit.report import Check, Report, Status
from stellaops.kit.tree import Listing, Tree, shown
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_T = TypeVar("_T")

_MOST_PROBLEMS_SHOWN = 5


def verify_bundle(
    path: Path,
    trusted: Sequence[bytes],
    *,
    revoked: Collection[str] = (),
    remarks: Mapping[str, str] = MappingProxyType({}),
    scratch: Path | None = None,
    max_age: timedelta | None = None,
    at: datetime | None = None,
    identities: Sequence[Identity] = (),
) -> Report:
    """Check a bundle by every rule that a bundle has.

    Args:
        path: a bundle root, a mirror archive or the directory that holds one, or an applied tree.
        trusted: public keys in PEM that the receiver trusts; never taken from the bundle.
        revoked: key ids that verify nothing, even where they are among the trusted.
        remarks: what the report should say of a key beside its id, such as since when it is retired or revoked.
        scratch: a directory with room for an unpacked database; the system's temporary one where None.
        max_age: how old what a mirror says of its sources may be; any age where None.
        at: as of when its age is judged.
        identities: private keys that open an encrypted bundle; without one it is verified as far as it can be.

    Returns:
        A report; its verdict is `failed` where any check failed.

    Raises:
        UnusableKey: a trusted key is no P-256 key in PEM.
        NoScratchRoom: see there. Nothing in the bundle raises.
    """
    keys = tuple(ecdsa_p256.load_public_key(pem) for pem in trusted)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="stella-verify-") as directory,
        closing(locate(path)) as found,
    ):
        run = _Run(found, keys, frozenset(revoked), remarks, Path(directory), max_age, at, identities)
        try:
            checks = _checks(run)
        finally:
            if run.examiner is not None:
                run.examiner.close()
    failed = any(check.status == "failed" for check in checks)
    known = run.manifest
    return Report(
        verdict="failed" if failed else "ok",
        export_id=known.export_id if known else None,
        rerun_hash=known.rerun_hash if known else None,
        checks=checks,
    )


class NoScratchRoom(MissingPrerequisite):
    """No room to unpack a database for its check."""

    code = "ERR_VERIFY_NO_ROOM"
    hint = "Free room in the temporary directory, or name another one with TMPDIR, then verify again."


class _Refused(Exception):
    """A check's problems; never leaves this module."""

    def __init__(self, problems: Iterable[str]) -> None:
        found = list(problems)
        text = "; ".join(found[:_MOST_PROBLEMS_SHOWN])
        super().__init__(
            f"{text}; and {len(found) - _MOST_PROBLEMS_SHOWN} more"
            if len(found) > _MOST_PROBLEMS_SHOWN
            else text
        )


class _NotApplicable(Exception):
    """Why a check has nothing to look at in this bundle."""


class _Doubtful(Exception):
    """What the receiver should know, though it is no reason to refuse the bundle."""


def _refuse_any(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise _Refused(found)


@dataclass(slots=True)
class _Run:
    """What the steps have established so far."""

    found: Found
    trusted: tuple[PublicKey, ...]
    revoked: frozenset[str]
    remarks: Mapping[str, str]
    scratch: Path
    max_age: timedelta | None
    at: datetime | None
    identities: Sequence[Identity] = ()
    raw: bytes = b""
    key: PublicKey | None = None
    manifest: ExportManifest | None = None
    files: FilesManifest | None = None
    opening: Opening | None = None
    examiner: Examiner | DeltaExaminer | None = None
    examined: Examined | None = None
    jws: bool = False

    @property
    def tree(self) -> Tree | ArchiveTree:
        """Where its files are read."""
        return self.found.tree


def _established(value: _T | None) -> _T:
    """What an earlier step set; `_Step.needs` sees to it that it ran and succeeded."""
    if value is None:
        raise RuntimeError("a step ran without what it needs")
    return value


def _signer(run: _Run) -> str:
    run.raw = run.tree.read(layout.MANIFEST, manifest.LARGEST)
    key = signatures.signer_of(run.tree, run.raw, run.trusted)
    remark = run.remarks.get(key.key_id, "")
    said = f"export.json is signed by key {key.key_id}"
    if key.key_id in run.revoked:
        raise _Refused([f"{said}, which verifies nothing: {remark or 'revoked'}"])
    run.key = key
    return f"{said} ({remark})" if remark else said


def _manifest(run: _Run) -> str:
    run.manifest = manifest.parse(run.raw)
    return f"tenant {run.manifest.tenant!a}, {len(run.manifest.contents)} contents"


def _export_id(run: _Run) -> str:
    stated, true = _established(run.manifest).export_id, _established(run.manifest).true_export_id()
    _refuse_any([f"it states {stated}, its content gives {true}"] if stated != true else [])
    return stated


def _rerun_hash(run: _Run) -> str:
    stated, true = _established(run.manifest).rerun_hash, _established(run.manifest).true_rerun_hash()
    _refuse_any([f"it states {stated}, its contents give {true}"] if stated != true else [])
    return stated


def _files_manifest(run: _Run) -> str:
    raw = run.tree.read(layout.FILES, files_manifest.LARGEST)
    plain, _ = layout.signature_paths(layout.FILES)
    signature = run.tree.read(plain, cosign_blob.LARGEST)
    try:
        cosign_blob.verify(signature, hashlib.sha256(raw).digest(), _established(run.key))
    except BadSignature as error:
        raise _Refused([f"{plain}: {error}"]) from error
    files = files_manifest.parse(raw)
    explained = delta.unexplained if delta.is_delta(files) else contents.unexplained
    _refuse_any(explained(_established(run.manifest), files))
    run.files = files
    known = _established(run.manifest)
    run.opening = opening_of(run.tree, _established(run.key), known.export_id, run.identities)
    return f"archive {files.archive_id}, {len(files.files)} files"


def _tree(run: _Run) -> str:
    if isinstance(run.tree, ArchiveTree):
        return _archive(run, run.tree)
    paths = [layout.FILES, layout.PROVENANCE, *(entry.path for entry in _established(run.files).files)]
    expected = {*paths, *layout.expected_signatures(paths)}
    listing = run.tree.listing()
    in_jws = set(layout.JWS_PATHS.values())
    run.jws = bool(in_jws & (listing.files | listing.others))
    if run.jws:
        expected |= in_jws
    _refuse_any(_stray(listing, expected))
    return f"{len(expected)} files, nothing else"


def _stray(listing: Listing, expected: set[str]) -> list[str]:
    """What there is too much or too little of."""
    allowed = {
        "/".join(parts[:end])
        for path in expected
        for parts in [path.split("/")]
        for end in range(1, len(parts))
    }
    problems = [f"{shown(path)} is no regular file" for path in sorted(listing.others)]
    problems += [f"{shown(path)} is missing" for path in sorted(expected - listing.files - listing.others)]
    extra = listing.files - expected | listing.directories - allowed
    return problems + [f"{shown(path)} is explained by nothing" for path in sorted(extra)]


def _archive(run: _Run, tree: ArchiveTree) -> str:
    """The only pass over an archive: names, order and sizes are demanded, contents examined as they go by."""
    known, files = _established(run.manifest), _established(run.files)
    sizes = {entry.path: entry.bytes for entry in files.files}
    paths = {layout.FILES, layout.PROVENANCE, *sizes}
    signed = layout.expected_signatures(paths)
    head = {path for path in tree.listing().files if path.startswith(layout.SIGNATURES)}
    in_jws = set(layout.JWS_PATHS.values())
    run.jws = bool(in_jws & head)
    wanted = {*signed, *(in_jws if run.jws else ())}
    _refuse_any(_stray(Listing(frozenset(head), frozenset(), frozenset()), wanted))
    small = {path: len(data) + 1 for path, data in _rendered(known).items()}
    inside = {path: size for path, size in sizes.items() if path not in (layout.MANIFEST, *layout.RENDERED)}
    run.examiner = _examiner(run, inside)
    take = _established(run.opening).taking(run.examiner.take)
    tree.pass_over(sizes, small | {layout.PROVENANCE: provenance.LARGEST}, take)
    _refuse_any(f"{shown(name)} is explained by nothing" for name in sorted(run.found.stray))
    return f"{len(paths) + len(head)} files in their order, one frame, nothing else"


def _file_digests(run: _Run) -> str:
    problems = []
    for entry in _established(run.files).files:
        try:
            digest, size = run.tree.measure(entry.path, entry.bytes)
        except StellaError as error:
            problems.append(str(error))
            continue
        if (digest, size) != (entry.digest, entry.bytes):
            problems.append(f"{entry.path} is not the file that was signed")
    _refuse_any(problems)
    return f"{sum(entry.bytes for entry in _established(run.files).files)} bytes"


def _signatures(run: _Run) -> str:
    files = _established(run.files)
    signed: dict[str, Digest] = {entry.path: entry.digest for entry in files.files}
    signed[layout.MANIFEST] = digests.sha256(run.raw)
    signed[layout.FILES] = digests.sha256(files.data)
    problems = signatures.problems(run.tree, _established(run.key), signed)
    if run.jws:
        manifests = {layout.MANIFEST: run.raw, layout.FILES: files.data}
        problems += signatures.jws_problems(run.tree, _established(run.key), manifests)
    _refuse_any(problems)
    made = f"{sum(layout.signed_stem(path) is not None for path in signed)} files in 2 forms"
    return f"{made}, both manifests as JWS" if run.jws else made


def _provenance(run: _Run) -> str:
    statement = run.tree.read(layout.PROVENANCE, provenance.LARGEST)
    problems = list(signatures.statement_problems(run.tree, _established(run.key), statement))
    environment = _established(run.opening).environment
    if statement != provenance.build(_established(run.manifest), _established(run.files), environment):
        problems.append("provenance.json is not what export.json and files.json give")
    _refuse_any(problems)
    return "signed, and what export.json and files.json give"


def _documents(run: _Run) -> str:
    _refuse_any(
        f"{path} is not what export.json gives"
        for path, data in _rendered(_established(run.manifest)).items()
        if run.tree.read(path, len(data) + 1) != data
    )
    return "manifest.yaml and README.md are what export.json gives"


def _rendered(known: ExportManifest) -> dict[str, bytes]:
    return {
        layout.MANIFEST_YAML: rendering.manifest_yaml(known),
        layout.README: rendering.readme(known),
    }


def _content(run: _Run) -> str:
    known = _established(run.manifest)
    if run.opening is not None and not run.opening.is_readable:
        raise _NotApplicable("the contents are encrypted, and no private key that opens them was given")
    examined = _examined(run)
    _refuse_any(examined.problems)
    run.examined = examined
    return f"{len(known.contents)} content digests"


def _examiner(run: _Run, inside: Mapping[str, int]) -> Examiner | DeltaExaminer:
    """What looks into the content files: of a delta those that it carries."""
    known = _established(run.manifest)
    if run.files is not None and delta.is_delta(run.files):
        return DeltaExaminer(known, inside, run.scratch)
    return Examiner(known, inside, run.scratch)


def _examined(run: _Run) -> Examined:
    tree = run.tree
    if isinstance(tree, ArchiveTree):
        return _finished(run.examiner)
    if run.files is not None:
        sizes = {entry.path: entry.bytes for entry in run.files.files}
    else:
        sizes = {
            path: tree.size(path) for path in tree.listing().files if not path.startswith(layout.SIGNATURES)
        }
    inside = {path: size for path, size in sizes.items() if path not in _OWN}
    run.examiner = examiner = _examiner(run, inside)
    take = examiner.take if run.opening is None else run.opening.taking(examiner.take)
    for path in sorted(sizes):
        if path not in _OWN:
            take(path, tree.chunks(path))
    return examiner.finish()


def _finished(examiner: Examiner | DeltaExaminer | None) -> Examined:
    if examiner is None:
        raise RuntimeError("a step ran without what it needs")
    return examiner.finish()


def _records(run: _Run) -> str:
    counted = _established(run.examined).records
    _refuse_any(
        f"{content.path} has {counted[content.path]} records, export.json states {content.records}"
        for content in _established(run.manifest).contents
        if content.path in counted and counted[content.path] != content.records
    )
    return f"{sum(counted.values())} records in {len(counted)} contents"


def _snapshot(run: _Run) -> str:
    stated = _established(run.manifest).snapshot
    found = _established(run.examined).snapshots
    if not found:
        raise _NotApplicable("the bundle holds no rows of the evidence")
    _refuse_any(
        f"the rows of {path} give {digest}, export.json states {stated}"
        for path, digest in found.items()
        if digest != stated
    )
    return f"given by the rows of {' and '.join(found)}"


def _indexes(run: _Run) -> str:
    examined = _established(run.examined)
    if not examined.indexed:
        raise _NotApplicable("the bundle holds no documents beside an index")
    _refuse_any(examined.index_problems)
    return f"name the rows of {', '.join(examined.indexed)}"


def _outer(run: _Run) -> str:
    if not isinstance(run.tree, ArchiveTree):
        raise _NotApplicable("it is no archive")
    beside = outer.read(run.tree.path)
    if beside is None:
        if run.found.alone:
            raise _Doubtful(f"no {run.tree.path.name}{layout.ARCHIVE_DIGEST} lies beside it")
        raise _Refused([f"{run.tree.path.name}{layout.ARCHIVE_DIGEST} is missing"])
    _refuse_any(beside.problems(run.tree.path.name, _established(run.tree.digest), _established(run.key)))
    return f"{_established(run.tree.digest)} is signed beside the archive"


def _delta(run: _Run) -> str:
    """The lines were examined with the contents; here is said what they do, and to what."""
    if run.files is None or run.files.base is None:
        raise _NotApplicable("it is no delta")
    found = _established(run.examiner)
    assert isinstance(found, DeltaExaminer)  # noqa: S101 - the base says so
    return (
        f"{sum(found.upserts.values())} rows set and {sum(found.removals.values())} removed,"
        f" {found.tombstones} of them with a tombstone; it builds on archive {run.files.base.archive_id}"
    )


def _encryption(run: _Run) -> str:
    opening = _established(run.opening)
    if opening.trouble is not None:
        raise _Refused([opening.trouble.what])
    if opening.envelope is None:
        raise _NotApplicable("it is not encrypted")
    what = f"{opening.envelope.mode} for {len(opening.envelope.recipients)} recipients"
    if not opening.is_readable:
        raise _Doubtful(f"{what}: verified as far as what is encrypted goes; --identity looks inside")
    return f"{what}, opened"


def _freshness(run: _Run) -> str:
    if _established(run.manifest).profile.kind != "mirror":
        raise _NotApplicable("only mirrors state when their sources were checked")
    known = _established(run.manifest)
    keys = [key for key in run.trusted if key.key_id not in run.revoked]
    statement = freshness.find(freshness.beside(run.found), keys)
    if statement is None or statement.export_id != known.export_id:
        about = "about this export" if statement else "beside it"
        reason = f"there is no freshness statement {about}, so nothing tells how old it is"
        raise _Refused([reason]) if run.max_age is not None else _Doubtful(reason)
    if run.at is not None:
        demands = freshness.Demands(run.at, run.max_age)
        _refuse_any(freshness.problems(statement, known.export_id, known.tenant, demands))
    until = timestamps.render(statement.expires)
    return f"version {statement.version}, issued {timestamps.render(statement.issued)}, holds until {until}"


_NO_FILES = "an applied tree has no files.json and no provenance.json"


def _not_in_applied(run: _Run) -> str:
    del run
    raise _NotApplicable(_NO_FILES)


def _applied_tree(run: _Run) -> str:
    assert isinstance(run.tree, Tree)  # noqa: S101 - the form says so
    known, listing = _established(run.manifest), run.tree.listing()
    signed = {path for path in listing.files if path.startswith(layout.SIGNATURES)}
    inside = {path for path in listing.files - signed if path not in _OWN}
    may = {layout.JWS_PATHS[layout.MANIFEST], *layout.expected_signatures(inside)} & signed
    expected = {*_OWN, *inside, *layout.signature_paths(layout.MANIFEST), *may}
    _refuse_any(contents.unexplained_files(known, inside) + _stray(listing, expected))
    return f"{len(expected)} files, nothing else"


def _applied_signatures(run: _Run) -> str:
    """Those over a database may be of another key than those over the manifest, since it may have come before."""
    assert isinstance(run.tree, Tree)  # noqa: S101 - the form says so
    files = run.tree.listing().files
    problems = signatures.problems(
        run.tree, _established(run.key), {layout.MANIFEST: digests.sha256(run.raw)}
    )
    made = 1
    if layout.JWS_PATHS[layout.MANIFEST] in files:
        problems += signatures.jws_problems(run.tree, _established(run.key), {layout.MANIFEST: run.raw})
    for path in sorted(files):
        if layout.signed_stem(path) is None or path == layout.MANIFEST:
            continue
        if not set(layout.signature_paths(path)) & files:
            continue
        digest, _ = run.tree.measure(path, 1 << 62)
        found = [
            signatures.problems(run.tree, key, {path: digest})
            for key in run.trusted
            if key.key_id not in run.revoked
        ]
        made += 1
        if all(found):
            problems += found[0]
    _refuse_any(problems)
    return f"{made} files in 2 forms"


def _policy(run: _Run) -> str:
    stated, found = _established(run.manifest).policy_snapshot, _established(run.examined).policy
    if found is None:
        return f"{stated} was applied" if stated else "no policy was applied"
    _refuse_any([f"the snapshot in it is {found}, export.json states {stated}"] if stated != found else [])
    return f"{found} is what export.json names"


def _trivy_metadata(run: _Run) -> str:
    known = _established(run.manifest)
    _refuse_any(inspect.metadata_problems(_database(run).metadata, known.generated_at))
    return "schema 2, times as they must be"


def _trivy_database(run: _Run) -> str:
    with _mapped(_database(run)) as data:
        survey = inspect.survey(data)
    problems = list(survey.problems)
    stated = _established(run.manifest).content(layout.TRIVY_DB)
    if stated is not None and survey.advisories != stated.records:
        problems.append(f"it has {survey.advisories} advisories, export.json states {stated.records}")
    _refuse_any(problems)
    return f"{survey.advisories} advisories, {survey.vulnerabilities} vulnerabilities, {len(survey.buckets)} buckets"


def _trivy_sentinels(run: _Run) -> str:
    sentinels = _established(run.examined).sentinels
    stated = _established(run.manifest).content(layout.TRIVY_DB)
    if not sentinels and stated is not None and stated.records:
        raise _Refused(["the database has advisories, but there is no sentinel to look for"])
    with _mapped(_database(run)) as data:
        _refuse_any(inspect.sentinel_problems(data, sentinels))
    return f"{len(sentinels)} sentinels found"


def _database(run: _Run) -> UnpackedDatabase:
    database = _established(run.examined).trivy
    if database is None:
        raise _NotApplicable("the bundle holds no Trivy database")
    return database


def _java_metadata(run: _Run) -> str:
    known = _established(run.manifest)
    metadata = _java(run).metadata
    _refuse_any(inspect.metadata_problems(metadata, known.generated_at, java_db.SCHEMA_VERSION))
    return "schema 1, times as they must be"


def _java_database(run: _Run) -> str:
    _refuse_any(java_db.database_problems(_java(run).path))
    return f"{_established(run.examined).records[layout.TRIVY_JAVA_DB]} artefacts, pages and indices sound"


def _java_sentinels(run: _Run) -> str:
    sentinels = _established(run.examined).java_sentinels
    with closing(java_db.open_database(_java(run).path)) as connection:
        _refuse_any(java_db.sentinel_problems(connection, sentinels))
    return f"{len(sentinels)} sentinels found"


def _java(run: _Run) -> UnpackedDatabase:
    database = _established(run.examined).java
    if database is None:
        raise _NotApplicable("the bundle holds no Java database")
    return database


@contextmanager
def _mapped(database: UnpackedDatabase) -> Iterator[mmap.mmap]:
    with database.path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise _Refused(["trivy.db is empty"]) from error
        with data:
            yield data


@dataclass(frozen=True, slots=True)
class _Step:
    id: str
    name: str
    check: Callable[[_Run], str]
    needs: tuple[str, ...]


_ALL_BYTES = ("files-manifest", "files", "tree")
_OWN = frozenset([layout.MANIFEST, *layout.RENDERED])
"""Files of a tree that are no contents."""

STEPS: tuple[_Step, ...] = (
    _Step("V01", "signer", _signer, ()),
    _Step("V02", "manifest", _manifest, ("signer",)),
    _Step("V03", "export-id", _export_id, ("manifest",)),
    _Step("V04", "rerun-hash", _rerun_hash, ("manifest",)),
    _Step("V05", "files-manifest", _files_manifest, ("manifest",)),
    _Step("V06", "tree", _tree, ("files-manifest",)),
    _Step("V07", "files", _file_digests, ("files-manifest",)),
    _Step("V08", "signatures", _signatures, ("files-manifest",)),
    _Step("V09", "provenance", _provenance, ("files-manifest",)),
    _Step("V10", "documents", _documents, ("manifest",)),
    _Step("V11", "content", _content, _ALL_BYTES),
    _Step("V12", "records", _records, ("content",)),
    _Step("V13", "snapshot", _snapshot, ("content",)),
    _Step("V14", "trivy-metadata", _trivy_metadata, ("content",)),
    _Step("V15", "trivy-database", _trivy_database, ("content",)),
    _Step("V16", "trivy-sentinels", _trivy_sentinels, ("trivy-database",)),
    _Step("V17", "java-metadata", _java_metadata, ("content",)),
    _Step("V18", "java-database", _java_database, ("content",)),
    _Step("V19", "java-sentinels", _java_sentinels, ("java-database",)),
    _Step("V20", "policy", _policy, ("content",)),
    _Step("V21", "indexes", _indexes, ("content",)),
    _Step("V22", "outer-digest", _outer, ("tree",)),
    _Step("V23", "freshness", _freshness, ("manifest",)),
    _Step("V24", "delta", _delta, ("content",)),
    _Step("V25", "encryption", _encryption, ("files-manifest",)),
)
"""The checks in their order: what each is called, and which earlier ones it relies on."""

_IN_APPLIED: Mapping[str, tuple[Callable[[_Run], str], tuple[str, ...]]] = {
    "files-manifest": (_not_in_applied, ()),
    "tree": (_applied_tree, ("manifest",)),
    "files": (_not_in_applied, ()),
    "signatures": (_applied_signatures, ("tree",)),
    "provenance": (_not_in_applied, ()),
    "encryption": (_not_in_applied, ()),
    "content": (_content, ("tree",)),
}
"""The steps that an applied tree needs in another way."""


def _steps(lying: Lying) -> Iterator[_Step]:
    for step in STEPS:
        other = _IN_APPLIED.get(step.name) if lying is Lying.APPLIED else None
        yield step if other is None else _Step(step.id, step.name, *other)


def _checks(run: _Run) -> tuple[Check, ...]:
    done: dict[str, Check] = {}
    for step in _steps(run.found.lying):
        lacking = next((done[name] for name in step.needs if done[name].status != "ok"), None)
        if lacking is None:
            status, detail = _outcome(step, run)
        else:
            status = "skipped"
            detail = lacking.detail if lacking.status == "skipped" else f"{lacking.name} failed"
        done[step.name] = Check(step.id, step.name, status, detail)
    return tuple(done.values())


def _outcome(step: _Step, run: _Run) -> tuple[Status, str]:
    try:
        return "ok", step.check(run)
    except _NotApplicable as reason:
        return "skipped", str(reason)
    except _Doubtful as reason:
        return "warning", str(reason)
    except (_Refused, StellaError) as error:
        return "failed", str(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise NoScratchRoom(f"the temporary directory cannot be written: {error.strerror}") from error
        return "failed", f"a file cannot be read or unpacked: {error.strerror}"
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes provoke must end as a failed check
        return "failed", f"the check itself stopped: {type(error).__name__}: {ascii(str(error))[:200]}"
