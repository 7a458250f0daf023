"""Where documents land: in which profiles' newest exports they were selected."""

from __future__ import annotations

from collections.abc import Iterator

from stellaops.bootstrap import Local
from stellaops.center.local_ingest import LocalConcelier
from stellaops.center.wire import Wire
from stellaops.core.errors import StellaError
from stellaops.exports import manage_profiles, selectors
from stellaops.exports.ports import RunFilter, Selection
from stellaops.exports.profile import Profile
from stellaops.exports.run import Run, RunStatus


def landings(local: Local, tenant: str, identifier: str) -> list[Wire]:
    """Of each profile that has a successful run, which of the documents about an id its newest run selected.

    Raises:
        RecordNotFound: nothing is about the id.
    """
    documents = LocalConcelier(local, tenant).documents(identifier)
    keys = [(str(each["source"]), str(each["key"])) for each in documents]
    return [
        {
            "profile": profile.name,
            "kind": profile.kind,
            "runId": run.id,
            "sequence": run.sequence,
            "documents": [f"{source}/{key}" for source, key in _chosen(local, profile, run, keys)],
        }
        for profile, run in _newest(local, tenant)
    ]


def _newest(local: Local, tenant: str) -> Iterator[tuple[Profile, Run]]:
    for profile in manage_profiles.list_profiles(tenant, local.profiles):
        for run in local.runs.list(tenant, RunFilter(profile.name, RunStatus.SUCCEEDED.value), limit=1):
            yield profile, run


def _chosen(local: Local, profile: Profile, run: Run, keys: list[tuple[str, str]]) -> list[tuple[str, str]]:
    try:
        wanted = selectors.parse(run.selectors)
    except StellaError:  # selectors that an earlier release knew
        return []
    selection = Selection(run.tenant, run.sequence or 0, wanted, profile.included)
    return local.evidence.chosen(selection, keys)
