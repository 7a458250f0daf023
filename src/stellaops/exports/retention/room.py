"""Room for bundles: what a tenant's kept ones take, what a run is going to take, and whether there is that much.

What a run takes is told beforehand from the run before it of the same profile, by how many records each selects, or
from the number of records alone where there is none. How much room its building takes at the same time is a multiple
of that, measured by kind (docs/operate/storage.md).
"""

from __future__ import annotations

from stellaops.core import sizes
from stellaops.exports.plan_run import Plan, Tools
from stellaops.exports.ports import RunFilter, Staging
from stellaops.exports.profile import DELTA, Profile
from stellaops.exports.retention.storage import exceeded, used
from stellaops.exports.run import Run, RunStatus

_LEAST = 1 << 20
_BYTES_OF_A_RECORD = {"json": 1024, "mirror": 1024, "trivy": 768}
"""Of a bundle, with a quarter or more to spare over what was measured."""
_STAGED = {"json": 1.25, "mirror": 2.5, "trivy": 14.0}
"""Bytes in the staging place at the most for each byte of the bundle: the parts, what is packed of them, what
verification and the smoke scan unpack."""
_STAGED_WITH_TRIVY = 6.0
"""Of a bundle of rows or a mirror with databases for Trivy in it."""
_ENCRYPTED = 0.25
"""More of it where files lie there once clear and once encrypted."""
_SHARE_OF_A_DELTA = 0.05
"""Of what a full archive would take, where no delta went before."""
_MOST_GROWTH = 10.0


def demand_room(staging: Staging, run: Run, made: Plan, tools: Tools) -> None:
    """Refuse what will not fit before anything of it is built, and keep the room for it.

    Raises:
        RunQuotaExceeded: the tenant's storage.
        NoStagingRoom, StagingTaken: the disk that it would be built on.
    """
    size = estimate(run, made, _before(run, made, tools))
    most = tools.limits.limits(run.tenant).max_storage
    if most is not None:
        taken = used(tools.storage, run.tenant)
        if taken + size > most:
            what = f"run {run.id} of tenant {run.tenant} would take about {sizes.render(size)}"
            raise exceeded(what, taken, most)
    staging.reserve(staged(made.request.profile, size, encrypted=made.encryption.enabled))


def demand_kept(run: Run, tools: Tools) -> None:
    """Refuse a finished bundle that is larger than what its tenant may still keep; it is not stored then.

    Raises:
        RunQuotaExceeded: see there.
    """
    most = tools.limits.limits(run.tenant).max_storage
    if most is None or (run.archive is not None and tools.artefacts.exists(run.archive)):
        return
    taken = used(tools.storage, run.tenant)
    if taken + run.bytes > most:
        what = f"the bundle of run {run.id} of tenant {run.tenant} has {sizes.render(run.bytes)}"
        raise exceeded(what, taken, most)


def estimate(run: Run, made: Plan, before: Run | None) -> int:
    """How many bytes a bundle will have, about.

    Args:
        before: the newest run of the same profile and kind that succeeded, a delta for a delta.
    """
    records = made.snapshot.records
    if before is not None and before.bytes:
        known = sum(before.counts.values())
        growth = min(_MOST_GROWTH, records / known) if known and records else 1.0
        # Of a delta it says how much changed last time, whatever is selected.
        return max(_LEAST, int(before.bytes * (1.0 if made.delta is not None else growth)))
    kind = run.kind.partition(":")[0]
    each = _BYTES_OF_A_RECORD[kind]
    if kind != "trivy" and made.request.profile.has_trivy:
        each += _BYTES_OF_A_RECORD["trivy"]
    return max(_LEAST, int(records * each * (1.0 if made.delta is None else _SHARE_OF_A_DELTA)))


def staged(profile: Profile, size: int, *, encrypted: bool = False) -> int:
    """How many bytes the building of a bundle of a size takes at the most, about."""
    more = int(size * _ENCRYPTED) if encrypted else 0
    return staged_kind(profile.kind, size, trivy=profile.has_trivy) + more


def staged_kind(kind: str, size: int, *, trivy: bool) -> int:
    """The same by `kind:variant`; of verifying a bundle that was fetched it is the most too.

    Args:
        trivy: whether databases for Trivy are in it.
    """
    family = kind.partition(":")[0]
    factor = _STAGED[family]
    return int(size * (max(factor, _STAGED_WITH_TRIVY) if trivy and family != "trivy" else factor))


def _before(run: Run, made: Plan, tools: Tools) -> Run | None:
    """The newest run that tells how large this one will be."""
    which = RunFilter(run.profile, RunStatus.SUCCEEDED.value)
    own = (each for each in tools.runs.list(run.tenant, which, limit=20) if each.kind == run.kind)
    if run.kind == DELTA:
        # Full archives that are made in deltas' place tell nothing of deltas, nor these of them.
        own = (each for each in own if _is_delta(each) == (made.delta is not None))
    return next(own, None)


def _is_delta(run: Run) -> bool:
    return run.chain is not None and run.chain.number > 0
