"""A tenant's own evidence in the local stores: policy overlays, bills of materials, findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from stellaops.adapters.files.inputs import FileInputs
from stellaops.authority.audit import Noting
from stellaops.bootstrap import Local, now
from stellaops.center import changes, wire
from stellaops.center.interface import FindingsWanted, Progress, silent
from stellaops.center.noting import local_audit
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.core.counting import counted
from stellaops.core.errors import InvalidInput
from stellaops.exports.demand_whole import demand_whole
from stellaops.findings.find import Request, find
from stellaops.findings.finding import digest
from stellaops.findings.policies import find_snapshot, take_snapshot
from stellaops.ingest.apply_policy import apply_policy
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import owned_source
from stellaops.ingest.ports import Inputs
from stellaops.sboms.feed import SbomFeed
from stellaops.vex import weights


class BadInstant(InvalidInput):
    """A text that should be an instant is none."""

    code = "ERR_BAD_INSTANT"
    hint = "Write instants as 2027-01-31T12:00:00Z."


class LocalPolicies:
    """Policies of a tenant in the local stores.

    Args:
        noting: keeps the audit log; as the work of whoever runs this process where None.
    """

    def __init__(self, local: Local, tenant: str, noting: Noting | None = None) -> None:
        self._local = local
        self._tenant = tenant
        self._noting = noting or local_audit(local, tenant).noting

    def apply(self, paths: Sequence[Path], *, prune: bool = False) -> Wire:
        """See the interface."""
        return self.apply_inputs(FileInputs(paths), prune=prune)

    def apply_inputs(self, inputs: Inputs, *, prune: bool = False) -> Wire:
        """Apply overlays from wherever they lie."""
        local = self._local
        with self._noting("policy.applied", f"policy/{self._tenant}") as told:
            report = apply_policy(
                self._tenant, inputs, sources=local.sources, store=local.imports, now=now, prune=prune
            )
            return changes.imported(told, wire.import_report(report))

    def snapshot(self, *, at: str | None = None, keep: bool = True) -> Wire:
        """See the interface.

        Raises:
            BadInstant: see there.
        """
        moment = _instant(at) if at is not None else now()
        with self._noting("policy.snapshot.taken", f"policy/{self._tenant}") as told:
            taken = take_snapshot(self._tenant, self._local.policies, at=moment, keep=keep)
            told.after, told.none = taken.snapshot.digest, not keep
        return {
            "digest": taken.snapshot.digest,
            "at": timestamps.render(moment),
            "kept": keep,
            "rules": [rule.id for rule in taken.snapshot.rules],
            "expired": [rule.id for rule in taken.expired],
        }

    def overview(self) -> Wire:
        """See the interface."""
        policies = self._local.policies
        return {
            "overlays": [
                {
                    "name": overlay.id,
                    "description": overlay.description,
                    "rules": [msgspec.to_builtins(rule) for rule in overlay.rules],
                }
                for overlay in policies.overlays(self._tenant)
            ],
            "snapshots": [
                {
                    "digest": each.digest,
                    "takenAt": timestamps.render(each.taken_at),
                    "sequence": each.sequence,
                }
                for each in policies.snapshots(self._tenant)
            ],
        }

    def show(self, wanted: str) -> Wire:
        """See the interface."""
        found = find_snapshot(self._tenant, wanted, self._local.policies)
        return {"digest": found.digest, **msgspec.to_builtins(found)}

    def raw(self, wanted: str) -> bytes:
        """See the interface."""
        return find_snapshot(self._tenant, wanted, self._local.policies).body


class LocalEvidence:
    """Bills of materials of a tenant in the local stores.

    Args:
        noting: keeps the audit log; as the work of whoever runs this process where None.
    """

    def __init__(self, local: Local, tenant: str, noting: Noting | None = None) -> None:
        self._local = local
        self._tenant = tenant
        self._noting = noting or local_audit(local, tenant).noting

    def import_sboms(
        self, paths: Sequence[Path], *, prune: bool = False, progress: Progress = silent
    ) -> Wire:
        """See the interface."""
        return self.import_inputs(FileInputs(paths), prune=prune, progress=progress)

    def import_inputs(self, inputs: Inputs, *, prune: bool = False, progress: Progress = silent) -> Wire:
        """Import bills of materials from wherever they lie."""
        source = owned_source("sboms", self._tenant)
        with self._noting("evidence.sboms.imported", f"sboms/{self._tenant}") as told:
            report = import_documents(
                ImportRequest(source, SbomFeed.name, prune=prune, side=Side.SBOMS),
                inputs,
                sources=self._local.sources,
                store=self._local.imports,
                now=now,
                progress=lambda read: progress(f"{counted(read, 'file')} read"),
            )
            return changes.imported(told, wire.import_report(report))

    def sboms(self) -> list[Wire]:
        """See the interface."""
        self._local.bring_projections_up_to_date()
        return [wire.sbom(one) for one in self._local.sboms.sboms(self._tenant)]

    def findings(self, wanted: FindingsWanted) -> Wire:
        """See the interface."""
        local = self._local
        local.bring_projections_up_to_date()
        snapshot = find_snapshot(self._tenant, wanted.policy_snapshot, local.policies)
        told = weights.Weights() if wanted.weights is None else weights.parse(wanted.weights)
        found = find(Request(self._tenant, wanted.sbom, wanted.sequence, snapshot, told), local.finding_tools)
        if wanted.sequence is not None:
            demand_whole(wanted.sequence, local.evidence)
        still_open = sum(one.status == "open" for one in found)
        return {
            "policySnapshot": snapshot.digest,
            "digest": digest(found),
            "open": still_open,
            "suppressed": len(found) - still_open,
            "findings": [one.wire() for one in found],
        }


def _instant(text: str) -> datetime:
    found = timestamps.parse(text)
    if found is None:
        raise BadInstant(f"{text[:80]!r} is no instant such as 2027-01-31T12:00:00Z")
    return found
