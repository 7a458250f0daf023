"""Give out links to the files of a run's bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stellaops.core import timestamps
from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.distribution.links import Claim, LinkingStore, LinkKeys, address, demand_life
from stellaops.exports.errors import ArtefactMissing
from stellaops.exports.manage_runs import archive_of
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.run import Run


class PublicUrlMissing(MissingPrerequisite):
    """Links would lead to this installation's API, and its address is not known here."""

    code = "ERR_DOWNLOAD_PUBLIC_URL"
    hint = "Set `api.publicUrl` to the address by which receivers reach the API, or ask the server: `--server URL`."


@dataclass(frozen=True, slots=True)
class LinkTools:
    """What links are made with.

    Attributes:
        server: address of the API, as receivers reach it; None where it is not known.
    """

    artefacts: ArtefactStore
    keys: LinkKeys
    server: str | None
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Link:
    """A link to one file. Whoever has it gets the file; `sha256` is None for what a signature alone vouches for."""

    path: str
    bytes: int
    sha256: str | None
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Links:
    """Links to files of a run's bundle, until an instant."""

    run: str
    expires_at: datetime
    links: tuple[Link, ...]

    def to_wire(self) -> dict[str, Any]:
        """The links as scripts read them."""
        return {
            "runId": self.run,
            "expiresAt": timestamps.render(self.expires_at),
            "links": [
                {"path": each.path, "bytes": each.bytes, "sha256": each.sha256, "url": each.url}
                for each in self.links
            ],
        }


def make_links(run: Run, path: str | None, life: timedelta, tools: LinkTools) -> Links:
    """Links to one file of a run's bundle, or to all.

    A store of objects gives links of its own; else they lead to the API and are signed by a key of this installation.

    Raises:
        BadLinkLife, RunState, BundleGone, ArtefactMissing, PublicUrlMissing: see there.
    """
    now = tools.now().replace(microsecond=0)
    expires_at = now + demand_life(life)
    archive = archive_of(run, tools.artefacts)
    known = {each.path: each.sha256 for each in run.artifacts}
    files = [file for file in tools.artefacts.files(archive) if path in (None, file.path)]
    if not files:
        raise ArtefactMissing(f"the bundle of run {run.id} has no file {str(path)[:200]!r}")
    if isinstance(tools.artefacts, LinkingStore):
        store, seconds = tools.artefacts, int(life.total_seconds())
        urls = [store.link(archive, file.path, seconds) for file in files]
    else:
        if tools.server is None:
            raise PublicUrlMissing("the address of the API is not set")
        key, server = tools.keys.signing(now), tools.server.rstrip("/")
        urls = [server + address(Claim(run.tenant, run.id, file.path, expires_at), key) for file in files]
    made = (
        Link(file.path, file.bytes, known.get(file.path), url) for file, url in zip(files, urls, strict=True)
    )
    return Links(run.id, expires_at, tuple(made))
