"""Another attempt at what is in quarantine, with what this release can read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

from stellaops.core import digests
from stellaops.core.errors import NotFound
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import ImportStore, Member, QuarantineStore, Sources


class SourceNotFound(NotFound):
    """No source of this name."""

    code = "ERR_SOURCE_NOT_FOUND"
    hint = "See `stella concelier status`."


class _QuarantinedInputs:
    """Quarantined records as inputs."""

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    def fingerprint(self) -> str:
        hasher = hashlib.sha256(b"quarantine\n")
        for member in self._members:
            hasher.update(f"{member.path}\t{digests.sha256(member.content)}\n".encode("utf-8", "replace"))
        return digests.of_hash(hasher)

    def members(self, skip: int = 0) -> Iterator[Member]:
        return islice(iter(self._members), skip, None)


def retry_quarantine(
    source: str,
    *,
    quarantine: QuarantineStore,
    sources: Sources,
    store: ImportStore,
    now: Callable[[], datetime],
) -> ImportReport:
    """Import a source's quarantined records again; what is still broken stays.

    Raises:
        SourceNotFound: there is no such source.
    """
    known = sources.find(source)
    if known is None:
        raise SourceNotFound(f"there is no source {source!r}")
    inputs = _QuarantinedInputs(list(quarantine.members(source)))
    request = ImportRequest(source, known.feed, known.database)
    return import_documents(request, inputs, sources=sources, store=store, now=now, retry=True)
