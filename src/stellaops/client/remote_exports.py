"""Profiles, runs and bundles of a server: what the routes of `/api/export` give."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stellaops.bundles.freshness import FILE, SIGNATURE
from stellaops.center.interface import Progress, Submission, silent
from stellaops.center.wire import Wire
from stellaops.client import downloads, events
from stellaops.client.connection import WORK, Connection, mapping, path_of
from stellaops.client.remote_authority import RemoteAuthority, RemoteKeys
from stellaops.client.remote_downloads import RemoteDownloads
from stellaops.client.remote_ingest import RemoteConcelier, RemoteEvidence, RemoteExcititor, RemotePolicies
from stellaops.client.remote_notify import RemoteNotify
from stellaops.client.remote_retention import RemoteRetention
from stellaops.client.remote_upkeep import RemoteUpkeep
from stellaops.core.errors import NotFound

_PROFILES = "/api/export/profiles"
_RUNS = "/api/export/runs"
_TARGETS = "/api/export/targets"
_PATIENCE = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)


class RemoteExports:
    """`center.interface.Exports` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def profiles(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_PROFILES))

    def profile(self, name: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_PROFILES, name)))

    def create_profile(self, document: object) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", _PROFILES, document))

    def update_profile(self, document: object, reason: str) -> Wire:
        """See the interface."""
        body = {"changeReason": reason, "profile": document}
        return mapping(self._connection.change("PATCH", path_of(_PROFILES, _name(document)), body))

    def clone_profile(self, name: str, target: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", path_of(_PROFILES, name, "clone"), {"name": target}))

    def delete_profile(self, name: str) -> Wire:
        """See the interface."""
        found = self.profile(name)
        self._connection.change("DELETE", path_of(_PROFILES, name))
        return found

    def profile_history(self, name: str) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(path_of(_PROFILES, name, "history")))

    def schedules(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages("/api/export/schedules"))

    def plan(self, submission: Submission) -> Wire:
        """See the interface."""
        return mapping(self._connection.ask("/api/export/plan", _body(submission)))

    def submit(self, submission: Submission, progress: Progress = silent) -> Wire:
        """See the interface."""
        del progress
        return mapping(self._connection.change("POST", _RUNS, _body(submission)))

    def replay(
        self,
        run_id: str,
        *,
        latest: bool = False,
        profile: str | None = None,
        allow_empty: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """See the interface."""
        del progress
        body: Wire = {"latest": latest, "allowEmpty": allow_empty, "profile": profile}
        asked = {name: value for name, value in body.items() if value not in (None, False)}
        return mapping(self._connection.change("POST", path_of(_RUNS, run_id, "replay"), asked))

    def runs(
        self, profile: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_RUNS, {"profile": profile, "status": status}, limit))

    def run(self, run_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_RUNS, run_id)))

    def follow(self, run_id: str, after: int = 0, progress: Progress = silent) -> Iterator[Wire]:
        """See the interface."""

        def away(seconds: float) -> None:
            progress(f"the server is away since {seconds:.0f} s")

        return events.follow(self._connection, run_id, after, away=away)

    def followed(self, run_id: str) -> Wire:
        """See the interface. Whoever waited for a run also waits for a server that has just gone."""
        patient = replace(self._connection, pauses=_PATIENCE)
        return mapping(patient.get(path_of(_RUNS, run_id)))

    def cancel(self, run_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", path_of(_RUNS, run_id, "cancel"), {}))

    def approve(self, run_id: str, reason: str, progress: Progress = silent) -> Wire:
        """See the interface."""
        del progress
        return mapping(self._connection.change("POST", path_of(_RUNS, run_id, "approve"), {"reason": reason}))

    def delete(self, run_id: str, *, dry_run: bool = False) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("DELETE", path_of(_RUNS, run_id), query={"dryRun": dry_run}))

    def download(self, run_id: str, target: Path, progress: Progress = silent) -> Wire:
        """See the interface."""
        run = self.run(run_id)
        downloads.download(self._connection, run, target, progress)
        if str(run["kind"]).startswith("mirror:"):
            self._lay_freshness_beside(run_id, target)
        return {"runId": run["runId"], "exportId": run["exportId"], "path": str(target.absolute())}

    def download_tar(self, run_id: str, file: Path, progress: Progress = silent) -> Wire:
        """See the interface."""
        run = self.run(run_id)
        downloads.download_tar(self._connection, run, file, progress)
        return {"runId": run["runId"], "exportId": run["exportId"], "path": str(file.absolute())}

    def _lay_freshness_beside(self, run_id: str, target: Path) -> None:
        """The statement about a mirror archive, where the archive is the newest of its profile."""
        with suppress(NotFound):
            told = mapping(self._connection.get(path_of(_RUNS, run_id, "freshness")))
            for name, text in ((FILE, told["statement"]), (SIGNATURE, told["signature"])):
                (target / name).write_text(text, encoding="utf-8")

    @contextmanager
    def opened(self, run_id: str) -> Iterator[Path]:
        """See the interface."""
        with tempfile.TemporaryDirectory(prefix="stella-bundle-") as place:
            root = Path(place) / "bundle"
            self.download(run_id, root)
            yield root

    def verify(self, run_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", path_of(_RUNS, run_id, "verify"), patience=WORK))

    def distribute(self, run_id: str, target: str | None = None, progress: Progress = silent) -> Wire:
        """See the interface."""
        del progress
        body = {} if target is None else {"target": target}
        return mapping(
            self._connection.change("POST", path_of(_RUNS, run_id, "distribute"), body, patience=WORK)
        )

    def targets(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_TARGETS))

    def test_target(self, name: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", path_of(_TARGETS, name, "test"), patience=WORK))

    def diff(self, old: str, new: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get("/api/export/diff", {"old": old, "new": new}))


class RemoteQueue:
    """`center.interface.Queue` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def status(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get("/api/export/queue"))

    def pause(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", "/api/export/queue/pause"))

    def resume(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", "/api/export/queue/resume"))

    def workers(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages("/api/export/workers"))


@dataclass(frozen=True)
class RemoteCenter:
    """`center.interface.Center` of a server."""

    connection: Connection

    @property
    def concelier(self) -> RemoteConcelier:
        """Advisories."""
        return RemoteConcelier(self.connection)

    @property
    def excititor(self) -> RemoteExcititor:
        """VEX."""
        return RemoteExcititor(self.connection)

    @property
    def policies(self) -> RemotePolicies:
        """Overlays."""
        return RemotePolicies(self.connection)

    @property
    def evidence(self) -> RemoteEvidence:
        """Bills of materials."""
        return RemoteEvidence(self.connection)

    @property
    def exports(self) -> RemoteExports:
        """Profiles, runs and bundles."""
        return RemoteExports(self.connection)

    @property
    def upkeep(self) -> RemoteUpkeep:
        """What looks after bundles."""
        return RemoteUpkeep(self.connection)

    @property
    def retention(self) -> RemoteRetention:
        """How long bundles are kept."""
        return RemoteRetention(self.connection)

    @property
    def downloads(self) -> RemoteDownloads:
        """Download tokens and links."""
        return RemoteDownloads(self.connection)

    @property
    def notify(self) -> RemoteNotify:
        """Who is told of what."""
        return RemoteNotify(self.connection)

    @property
    def queue(self) -> RemoteQueue:
        """The queue of runs."""
        return RemoteQueue(self.connection)

    @property
    def authority(self) -> RemoteAuthority:
        """Who may use the service."""
        return RemoteAuthority(self.connection)

    @property
    def keys(self) -> RemoteKeys:
        """Keys that sign exports."""
        return RemoteKeys(self.connection)


def _body(submission: Submission) -> Wire:
    asked: Wire = {
        "profile": submission.profile,
        "selectors": dict(submission.selectors),
        "snapshot": submission.sequence,
        "base": submission.base,
        "priority": submission.priority,
        "allowEmpty": submission.allow_empty,
        "policySnapshot": submission.policy_snapshot,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _name(document: object) -> str:
    """The name in a profile document; what is wrong with the rest the server says."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name else "-"
