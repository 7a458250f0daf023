"""Advisories and VEX of the local stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.sql.quarantine import QuarantineEntryNotFound
from stellaops.advisories.aliases import identify
from stellaops.authority.audit import Noting
from stellaops.bootstrap import Local, now
from stellaops.center import changes, wire
from stellaops.center.interface import ConsensusWanted, ImportWanted, Progress, PullWanted, silent
from stellaops.center.noting import local_audit
from stellaops.center.wire import Wire
from stellaops.core.counting import counted
from stellaops.core.errors import InvalidInput, NotFound
from stellaops.exports.demand_whole import demand_whole
from stellaops.findings.policies import find_snapshot
from stellaops.findings.verdicts import weights_of
from stellaops.ingest import manage_sources
from stellaops.ingest.explain_consensus import explain_consensus
from stellaops.ingest.feeds import Side, feeds_of, side_of
from stellaops.ingest.import_documents import ImportRequest, UnknownForm, import_documents
from stellaops.ingest.layouts.interface import BadDefinition
from stellaops.ingest.mirror_databases import Untaken, untaken
from stellaops.ingest.model import Quarantined, StoredRecord, owner_of
from stellaops.ingest.ports import Inputs
from stellaops.ingest.pull import PullOptions, pull_sources
from stellaops.ingest.pull_model import Definition, PullState
from stellaops.ingest.retry_quarantine import SourceNotFound, retry_quarantine
from stellaops.vex.weights import Weights, parse

PRODUCTS = {Side.ADVISORIES: "concelier", Side.VEX: "excititor"}
"""The commands by the side of the evidence that they work on."""


class RecordNotFound(NotFound):
    """No current document has this id, alias or key."""

    code = "ERR_CONCELIER_NOT_FOUND"
    hint = "Check the spelling; `stella concelier status` shows what is imported."


class StatementNotFound(NotFound):
    """No document says anything about this vulnerability, or about it and the product."""

    code = "ERR_EXCITITOR_NOT_FOUND"
    hint = "Check the spelling; `stella excititor status` shows what is imported."


class LocalIngest:
    """One side of the evidence in the local stores, as one tenant sees it.

    Args:
        noting: keeps the audit log; as the work of whoever runs this process where None.
    """

    def __init__(self, local: Local, tenant: str, side: Side, noting: Noting | None = None) -> None:
        self._local = local
        self._tenant = tenant
        self._side = side
        self._noting = noting or local_audit(local, tenant).noting

    def import_paths(self, wanted: ImportWanted, paths: Sequence[Path], progress: Progress = silent) -> Wire:
        """See the interface."""
        return self.import_inputs(wanted, FileInputs(paths), progress)

    def import_inputs(self, wanted: ImportWanted, inputs: Inputs, progress: Progress = silent) -> Wire:
        """Import files from wherever they lie.

        Raises:
            UnknownForm: no feed of this side has the name that is given.
        """
        if wanted.feed is not None and wanted.feed not in feeds_of(self._side):
            raise UnknownForm(
                f"feed {wanted.feed[:80]!r} is none of {', '.join(sorted(feeds_of(self._side)))}"
            )
        request = ImportRequest(
            wanted.source, wanted.feed, wanted.database, wanted.prune, wanted.openpgp_keys, side=self._side
        )
        with self._noting(f"{PRODUCTS[self._side]}.imported", f"source/{wanted.source}") as told:
            report = import_documents(
                request,
                inputs,
                sources=self._local.sources,
                store=self._local.imports,
                now=now,
                progress=lambda read: progress(f"{counted(read, 'file')} read"),
                openpgp=self._local.openpgp,
            )
            return changes.imported(told, wire.import_report(report))

    def pull(self, wanted: PullWanted, progress: Progress = silent) -> list[Wire]:
        """See the interface.

        Raises:
            InvalidInput: nothing is named, or too much, or a source of the other side.
        """
        definitions = self._chosen(wanted)
        tools = self._local.pull_tools(wanted.parallel)
        options = PullOptions(wanted.full, wanted.at_once)
        with self._noting(
            f"{PRODUCTS[self._side]}.pulled", _named(each.name for each in definitions)
        ) as told:
            reports = pull_sources(definitions, tools, options, at_once=tools.parallel, progress=progress)
            told.none = not reports
        return [wire.pull_report(report) for report in reports]

    def _chosen(self, wanted: PullWanted) -> list[Definition]:
        if bool(wanted.names) + wanted.every + wanted.due != 1:
            raise InvalidInput(
                "name sources, or give --all or --due",
                hint=f"See `stella {PRODUCTS[self._side]} pull --help`.",
            )
        store = self._local.pulls
        if wanted.names:
            named = [manage_sources.find_definition(name, store) for name in dict.fromkeys(wanted.names)]
            self._refuse_others(named)
            return named
        enabled = [
            each for each in manage_sources.all_definitions(store) if each.enabled and self._holds(each)
        ]
        if wanted.every:
            return enabled
        states, moment = store.states(), now()
        at = {
            each.name: manage_sources.due_at(each, states.get(each.name, PullState()), moment)
            for each in enabled
        }
        return [each for each in enabled if (due := at[each.name]) is not None and due <= moment]

    def _refuse_others(self, definitions: Sequence[Definition]) -> None:
        others = [each.name for each in definitions if not self._holds(each)]
        if others:
            product = next(name for side, name in PRODUCTS.items() if side is not self._side)
            raise InvalidInput(
                f"{', '.join(others)}: no source of {self._side}", hint=f"See `stella {product} pull --help`."
            )

    def _holds(self, definition: Definition) -> bool:
        return side_of(definition.feed) is self._side

    def refresh(self, progress: Progress = silent) -> Wire:
        """See the interface. Nothing is worked out from advisories before they are asked for."""
        del progress
        return {"examined": 0, "changed": 0}

    def status(self) -> Wire:
        """See the interface."""
        sequence, lines = self._local.sources.status(self._tenant)
        found = [wire.source_status(line) for line in lines if side_of(line.feed) is self._side]
        return {"sequence": sequence, "sources": found}

    def _found(self, identifier: str) -> Sequence[StoredRecord]:
        found = self._local.records.find(identifier, self._tenant)
        if not found:
            raise RecordNotFound(f"no document has {identifier[:200]!r} as id, alias or key")
        return found

    def documents(self, identifier: str) -> list[Wire]:
        """See the interface."""
        return [wire.advisory_record(record) for record in self._found(identifier)]

    def raw_documents(self, identifier: str) -> bytes:
        """See the interface."""
        records = self._local.records
        return b"".join(records.raw(each.source, each.key) or b"" for each in self._found(identifier))

    def quarantined(self, source: str | None = None) -> list[Wire]:
        """See the interface."""
        found = self._local.quarantine.list(source)
        ours = {
            name: self._visible(name) and self._is_ours(name) for name in {entry.source for entry in found}
        }
        return [wire.quarantined(entry) for entry in found if ours[entry.source]]

    def _is_ours(self, source: str) -> bool:
        """Whether a source is of this side; one of which nothing was ever read may be of either.

        What is neither advisories nor VEX, such as bills of materials, stands with the advisories.
        """
        known = self._local.sources.find(source)
        side = None if known is None else side_of(known.feed)
        return side is None or side is self._side or (side not in PRODUCTS and self._side is Side.ADVISORIES)

    def quarantined_entry(self, entry: int) -> Wire:
        """See the interface."""
        return wire.quarantined(self._entry(entry)[0])

    def quarantined_bytes(self, entry: int) -> bytes:
        """See the interface."""
        return self._entry(entry)[1]

    def _entry(self, entry: int) -> tuple[Quarantined, bytes]:
        found, content = self._local.quarantine.raw(entry)
        if not (self._visible(found.source) and self._is_ours(found.source)):
            raise QuarantineEntryNotFound(f"there is no open quarantine entry {entry}")
        return found, content

    def retry(self, source: str) -> Wire:
        """See the interface.

        Raises:
            SourceNotFound: there is none of this name, or it is another tenant's.
        """
        if not self._visible(source):
            raise SourceNotFound(f"there is no source {source[:200]!r}")
        local = self._local
        with self._noting(f"{PRODUCTS[self._side]}.quarantine.retried", _named([source])) as told:
            report = retry_quarantine(
                source, quarantine=local.quarantine, sources=local.sources, store=local.imports, now=now
            )
            return changes.imported(told, wire.import_report(report))

    def _visible(self, source: str) -> bool:
        return owner_of(source) in ("", self._tenant)


def _named(sources: Iterable[str]) -> str:
    """Sources as the target of a change."""
    return f"source/{', '.join(sources)}"[:500]


class LocalConcelier(LocalIngest):
    """Advisories in the local stores."""

    def __init__(self, local: Local, tenant: str, noting: Noting | None = None) -> None:
        super().__init__(local, tenant, Side.ADVISORIES, noting)

    def aliases(self, identifier: str) -> Wire:
        """See the interface.

        Raises:
            RecordNotFound: nobody says anything about it.
        """
        records = self._local.records
        found = identify(identifier, lambda names: records.statements(names, self._tenant))
        if not found.steps:
            raise RecordNotFound(f"no document says anything about {identifier[:200]!r}")
        statements = [
            {
                "source": step.statement.source,
                "key": step.statement.key,
                "subject": step.statement.link.subject,
                "relation": step.statement.link.relation.value,
                "object": step.statement.link.object,
                "followed": step.followed,
                "reason": step.reason,
            }
            for step in found.steps
        ]
        names, covers = list(found.names), list(found.covers)
        return {"id": identifier, "names": names, "covers": covers, "statements": statements}

    def sources(self, *, enabled: bool = False) -> list[Wire]:
        """See the interface."""
        states, moment, left = self._local.pulls.states(), now(), self._untaken()
        return [
            wire.definition_line(each, states.get(each.name, PullState()), moment, left)
            for each in manage_sources.all_definitions(self._local.pulls)
            if each.enabled or not enabled
        ]

    def source(self, name: str) -> Wire:
        """See the interface."""
        definition = manage_sources.find_definition(name, self._local.pulls)
        return wire.definition_whole(definition, self._local.pulls.state(name), now(), self._untaken())

    def _untaken(self) -> Sequence[Untaken]:
        """What mirrors offer and no source takes."""
        pulls = self._local.pulls
        return untaken(pulls.definitions(), pulls.databases())

    def define(self, name: str, definition: Mapping[str, Any], *, replace: bool = False) -> Wire:
        """See the interface.

        Raises:
            BadDefinition: a field of another form.
        """
        try:
            read = msgspec.convert({**definition, "name": name}, Definition)
        except msgspec.ValidationError as error:
            raise BadDefinition(f"source {name[:80]!r}: {error}") from None
        with self._noting("source.defined", _named([name])):
            manage_sources.add_definition(read, self._local.pulls, may_replace=replace)
        return self.source(name)

    def switch(self, names: Sequence[str], *, enabled: bool) -> list[Wire]:
        """See the interface."""
        store = self._local.pulls
        for name in names:
            manage_sources.find_definition(name, store)
        with self._noting("source.switched", _named(names)) as told:
            told.details["enabled"] = enabled
            changed = [manage_sources.switch_definition(name, store, enabled=enabled) for name in names]
        return [wire.definition_line(each, store.state(each.name), now()) for each in changed]

    def forget(self, name: str) -> Wire:
        """See the interface."""
        with self._noting("source.forgotten", _named([name])):
            manage_sources.remove_definition(name, self._local.pulls)
        return {"source": name, "removed": True}


class LocalExcititor(LocalIngest):
    """VEX in the local stores."""

    def __init__(self, local: Local, tenant: str, noting: Noting | None = None) -> None:
        super().__init__(local, tenant, Side.VEX, noting)

    def refresh(self, progress: Progress = silent) -> Wire:
        """See the interface: brings the consensus up to date with what was imported."""
        done = self._local.consensus.refresh(
            Weights(), lambda examined: progress(f"{examined:,} products examined")
        )
        return {"examined": done.examined, "changed": done.changed}

    def _found(self, identifier: str) -> Sequence[StoredRecord]:
        feeds = {line.source: line.feed for line in self._local.sources.status(self._tenant)[1]}
        found = [
            each
            for each in self._local.records.find(identifier, self._tenant)
            if side_of(feeds[each.source]) is Side.VEX
        ]
        if not found:
            raise StatementNotFound(f"no VEX document has the key {identifier[:200]!r}")
        return found

    def documents(self, identifier: str) -> list[Wire]:
        """See the interface."""
        return [wire.vex_record(record) for record in self._found(identifier)]

    def consensus(self, wanted: ConsensusWanted) -> Wire:
        """See the interface.

        Raises:
            StatementNotFound: nobody says anything about it.
        """
        policy = find_snapshot(self._tenant, wanted.policy_snapshot, self._local.policies)
        told = parse(wanted.weights) if wanted.weights is not None else Weights()
        weights = weights_of(policy, told)
        store = self._local.consensus
        found = explain_consensus(
            wanted.vulnerability,
            store,
            tenant=self._tenant,
            weights=weights,
            product=wanted.product,
            sequence=wanted.sequence,
        )
        if wanted.sequence is not None:
            demand_whole(wanted.sequence, self._local.evidence)
        if not found.states:
            about = f" and {wanted.product}" if wanted.product else ""
            raise StatementNotFound(f"no statement is about {wanted.vulnerability[:200]}{about[:300]}")
        places = {
            (held.revision, held.words)
            for _, state in found.states
            for held in wire.held_by(state)
            if held.words is not None
        }
        return wire.explanation(found, store.words(places)) | {
            "weights": weights.digest,
            "policySnapshot": policy.digest,
            "sequence": wanted.sequence,
        }
