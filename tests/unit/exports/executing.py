"""A data directory as use cases of runs work on it, without the command line; and a queue that notes what it hears."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import structs

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.plan_run import Tools
from stellaops.exports.ports import QueueStatus, RunLimits, Worker
from stellaops.exports.profile import Profile, Spec
from stellaops.exports.run import Run
from stellaops.exports.submit_run import Submission, SubmitTools, submit_run
from stellaops.ingest.import_documents import ImportRequest, import_documents

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = "default"


def document(number: int, **more: Any) -> dict[str, Any]:
    """A small OSV document of PyPI."""
    return {
        "schema_version": "1.7.3",
        "id": f"GHSA-{number:04d}-aaaa-aaaa",
        "modified": "2026-01-02T03:04:05Z",
        "published": "2026-01-01T00:00:00Z",
        "summary": f"Number {number}",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": f"package-{number}"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}],
            }
        ],
        **more,
    }


@dataclass
class Noting:
    """`exports.ports.Queue`: keeps what it is told, and executes nothing."""

    enqueued: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def enqueue(self, run: Run) -> None:
        self.enqueued.append(run.id)

    def cancel(self, run: Run) -> None:
        self.cancelled.append(run.id)

    def limit(self, tenant: str, max_active_runs: int) -> None:
        raise NotImplementedError

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def status(self) -> QueueStatus:
        raise NotImplementedError

    def workers(self) -> list[Worker]:
        raise NotImplementedError


@dataclass
class Service:
    """A local data directory, a clock that ticks with every look, and limits that can be set."""

    directory: Path
    queue: Noting = field(default_factory=Noting)
    limit: RunLimits = field(default_factory=RunLimits)
    variables: Mapping[str, str] = field(default_factory=dict)
    _looks: int = 0
    _ids: int = 0

    def __post_init__(self) -> None:
        variables = {"STELLA_CONFIG": str(self.directory / "none.yaml"), **self.variables}
        self.local = Local(settings.load({"dataDir": str(self.directory / "data")}, variables))

    def now(self) -> datetime:
        self._looks += 1
        return NOON + timedelta(milliseconds=self._looks)

    def limits(self, tenant: str) -> RunLimits:
        del tenant
        return self.limit

    @property
    def tools(self) -> Tools:
        return replace(self.local.export_tools, now=self.now)

    @property
    def submit_tools(self) -> SubmitTools:
        local = self.local
        return SubmitTools(
            local.runs,
            local.profiles,
            local.evidence,
            local.policies,
            self,
            self.queue,
            self._new_id,
            self.now,
            local.storage,
        )

    @property
    def control_tools(self) -> ControlTools:
        return replace(self.local.control_tools, queue=self.queue, now=self.now)

    def _new_id(self) -> str:
        self._ids += 1
        return f"run-{self._ids}"

    def take(self, *documents: Mapping[str, Any], source: str = "ghsa", prune: bool = False) -> None:
        """Import documents."""
        folder = self.directory / f"in-{self._looks}-{source}"
        folder.mkdir(exist_ok=True)
        for each in documents:
            (folder / f"{each['id']}.json").write_text(json.dumps(each), encoding="utf-8")
        import_documents(
            ImportRequest(source, prune=prune),
            FileInputs([folder]),
            sources=self.local.sources,
            store=self.local.imports,
            now=self.now,
        )

    def profile(self, name: str = "mine", *, kind: str = "json:raw", **spec: Any) -> Profile:
        """Store a revision of a profile."""
        head, _, variant = kind.partition(":")
        number = self.local.profiles.next_number(TENANT, name)
        made = Profile(name, TENANT, f"r{number}", structs.replace(Spec(head, variant), **spec))
        self.local.profiles.add(made)
        return made

    def submit(self, profile: str = "json:raw", **more: Any) -> Run:
        """A pending run."""
        return submit_run(Submission(TENANT, profile, **more), self.submit_tools)

    def run(self, run_id: str) -> Run:
        """A run as its record has it."""
        found = self.local.runs.get(TENANT, run_id)
        assert found is not None
        return found

    def told(self, run_id: str) -> list[str]:
        """The types of a run's events."""
        return [event.type.value for event in self.local.runs.events(run_id)]
