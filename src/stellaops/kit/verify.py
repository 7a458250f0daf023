"""Verification of a bundle, from nothing but its files and the keys that the receiver trusts.

A bundle lies there as a bundle root, as a mirror archive, or as the tree that deltas were applied to (`kit.locate`).
The numbered steps below are the documentation's; `kit.checks` has what each does. A step that cannot rely on what an
earlier one established is skipped, so nothing is parsed that no trusted key has signed. Of a bundle root nothing is
unpacked whose bytes are not those that were signed; an archive is read once, so its files are unpacked, within bounds,
while they are hashed. Hostile files end in a failed check, never in an exception.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from stellaops.bundles.encryption.envelope import Opener
from stellaops.core.errors import MissingPrerequisite, StellaError
from stellaops.kit.checks import databases, files, rows, statements
from stellaops.kit.checks.inspection import Doubtful, Inspection, NotApplicable, Refused
from stellaops.kit.locate import Lying, locate
from stellaops.kit.report import Check, Report, Status
from stellaops.kit.row_workers import RowWorkerLost
from stellaops.signing import ecdsa_p256


def verify_bundle(
    path: Path,
    trusted: Sequence[bytes],
    *,
    revoked: Collection[str] = (),
    remarks: Mapping[str, str] = MappingProxyType({}),
    scratch: Path | None = None,
    max_age: timedelta | None = None,
    at: datetime | None = None,
    identities: Sequence[Opener] = (),
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
        NoScratchRoom, RowWorkerLost: see there. Nothing in the bundle raises.
    """
    keys = tuple(ecdsa_p256.load_public_key(pem) for pem in trusted)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="stella-verify-") as directory,
        closing(locate(path)) as found,
    ):
        run = Inspection(found, keys, frozenset(revoked), remarks, Path(directory), max_age, at, identities)
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


@dataclass(frozen=True, slots=True)
class Step:
    """A numbered check, and the earlier ones that it relies on."""

    id: str
    name: str
    check: Callable[[Inspection], str]
    needs: tuple[str, ...]


_ALL_BYTES = ("files-manifest", "files", "tree")
STEPS: tuple[Step, ...] = (
    Step("V01", "signer", statements.signer, ()),
    Step("V02", "manifest", statements.manifest_form, ("signer",)),
    Step("V03", "export-id", statements.export_id, ("manifest",)),
    Step("V04", "rerun-hash", statements.rerun_hash, ("manifest",)),
    Step("V05", "files-manifest", statements.files_manifest_form, ("manifest",)),
    Step("V06", "tree", files.tree, ("files-manifest",)),
    Step("V07", "files", files.file_digests, ("files-manifest",)),
    Step("V08", "signatures", statements.all_signatures, ("files-manifest",)),
    Step("V09", "provenance", statements.provenance_statement, ("files-manifest",)),
    Step("V10", "documents", statements.documents, ("manifest",)),
    Step("V11", "content", rows.content, _ALL_BYTES),
    Step("V12", "records", rows.records, ("content",)),
    Step("V13", "snapshot", rows.snapshot, ("content",)),
    Step("V14", "trivy-metadata", databases.trivy_metadata, ("content",)),
    Step("V15", "trivy-database", databases.trivy_database, ("content",)),
    Step("V16", "trivy-sentinels", databases.trivy_sentinels, ("trivy-database",)),
    Step("V17", "java-metadata", databases.java_metadata, ("content",)),
    Step("V18", "java-database", databases.java_database, ("content",)),
    Step("V19", "java-sentinels", databases.java_sentinels, ("java-database",)),
    Step("V20", "policy", rows.policy, ("content",)),
    Step("V21", "indexes", rows.indexes, ("content",)),
    Step("V22", "outer-digest", files.outer_digest, ("tree",)),
    Step("V23", "freshness", statements.freshness_statement, ("manifest",)),
    Step("V24", "delta", rows.delta_rows, ("content",)),
    Step("V25", "encryption", files.encryption, ("files-manifest",)),
)
"""The checks in their order: what each is called, and which earlier ones it relies on."""

_IN_APPLIED: Mapping[str, tuple[Callable[[Inspection], str], tuple[str, ...]]] = {
    "files-manifest": (files.not_in_applied, ()),
    "tree": (files.applied_tree, ("manifest",)),
    "files": (files.not_in_applied, ()),
    "signatures": (statements.applied_signatures, ("tree",)),
    "provenance": (files.not_in_applied, ()),
    "encryption": (files.not_in_applied, ()),
    "content": (rows.content, ("tree",)),
}
"""The steps that an applied tree needs in another way."""


def _steps(lying: Lying) -> Iterator[Step]:
    for step in STEPS:
        other = _IN_APPLIED.get(step.name) if lying is Lying.APPLIED else None
        yield step if other is None else Step(step.id, step.name, *other)


def _checks(run: Inspection) -> tuple[Check, ...]:
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


def _outcome(step: Step, run: Inspection) -> tuple[Status, str]:
    try:
        return "ok", step.check(run)
    except NotApplicable as reason:
        return "skipped", str(reason)
    except Doubtful as reason:
        return "warning", str(reason)
    except RowWorkerLost:
        raise
    except (Refused, StellaError) as error:
        return "failed", str(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise NoScratchRoom(f"the temporary directory cannot be written: {error.strerror}") from error
        return "failed", f"a file cannot be read or unpacked: {error.strerror}"
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes provoke must end as a failed check
        return "failed", f"the check itself stopped: {type(error).__name__}: {ascii(str(error))[:200]}"
