"""Say in a run's record which archive it is going to have, so that retention leaves that alone."""

from __future__ import annotations

from dataclasses import replace

from stellaops.exports.errors import BaseMissing, RunChanged
from stellaops.exports.ports import Runs
from stellaops.exports.retention.ports import Turns
from stellaops.exports.retention.rules import holds_bundle
from stellaops.exports.run import Archive, Run, RunStatus


def claim_archive(run: Run, archive: Archive, runs: Runs, turns: Turns) -> Run:
    """The run with an archive that it is about to store or to share.

    Retention decides about the tenant's archives under its turn, by what it reads there. When this returns, a removal
    of the archive that had not seen the claim is over, and none will begin.

    Raises:
        RunChanged: the run is in other hands.
        RetentionBusy: see `Turns.turn`.
    """
    if run.status is not RunStatus.RUNNING:  # put back into the queue: the next attempt claims for itself
        raise RunChanged(f"run {run.id} is {run.status.value}, not running in attempt {run.attempt}")
    before = () if run.archive in (None, archive) else (run.archive,)
    abandoned = tuple(each for each in (*run.abandoned, *before) if each not in (None, archive))
    claimed = runs.change(
        replace(run, export_id=archive.export_id, archive_id=archive.archive_id, abandoned=abandoned)
    )
    with turns.turn(run.tenant):
        return claimed


def demand_base(run: Run, runs: Runs, turns: Turns) -> None:
    """See that what a delta builds on stays: the run's record says already what that is.

    Raises:
        BaseMissing: it went before the record said so.
        RetentionBusy: see `Turns.turn`.
    """
    chain = run.chain
    if chain is None or chain.base_run is None:
        return
    with turns.turn(run.tenant):
        base = runs.get(run.tenant, chain.base_run)
    if base is None or not holds_bundle(base):
        raise BaseMissing(
            f"the bundle of run {chain.base_run}, which run {run.id} builds on, is not kept any more"
        )
