"""What Excititor's side holds of a domain: the consensus in the formats that its readers take, and a VEX repository."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO, Protocol

import msgspec

from stellaops.bundles.vex import consensus_rows, repository
from stellaops.bundles.vex.openvex import Author
from stellaops.bundles.vex.verdict import Verdict
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.exports import export_vex
from stellaops.exports.building.vex_verdicts import Question, verdicts
from stellaops.exports.plan_run import Tools
from stellaops.exports.ports import Selection
from stellaops.mirrors import forms
from stellaops.mirrors.build_advisories import state_of
from stellaops.mirrors.domain import Domain, VexExport
from stellaops.mirrors.forms import DomainState, Export
from stellaops.mirrors.signed_files import measure
from stellaops.mirrors.tree import InForce, Tree
from stellaops.vex import consensus
from stellaops.vex.products import identify, package_of
from stellaops.vex.weights import Weights

_FORM = 1
_ROWS = ("json", "jsonl")
"""Formats that hold the states of the consensus as they are, for what statements name; others widen them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be built for a domain, told before anything is."""

    domain: Domain
    selection: Selection
    state: DomainState


@dataclass(frozen=True, slots=True)
class Part:
    """What was built for a domain, but for what bears the export id."""

    plan: Plan
    exports: tuple[Export, ...]
    remarks: tuple[str, ...] = ()


def plan(domain: Domain, sequence: int, key_id: str, tools: Tools) -> Plan:
    """Cut the snapshot of a domain: of VEX, and of the advisories that say which names are the same."""
    selection = Selection(domain.tenant, sequence, domain.selectors("excititor"))
    statements = tools.evidence.snapshot(replace(selection, records=("vex",)))
    decides = {
        "form": _FORM,
        "exports": [msgspec.to_builtins(each) for each in domain.vex_exports],
        "repository": domain.has_repository,
        "names": tools.evidence.snapshot(replace(selection, records=("advisories",))).digest,
        "consensus": consensus.VERSION,
        "projections": {name: tools.projection_versions[name] for name in ("alias", "vex")},
    }
    return Plan(domain, selection, state_of(domain, selection, statements, key_id, decides))


def build(made: Plan, tree: Tree, tools: Tools) -> Part:
    """Write everything of a domain that does not bear the export id. What no verdict can be said in is left out."""
    whole = [each for each in made.domain.vex_exports if _is_whole(each)]
    narrowed = [each for each in made.domain.vex_exports if each not in whole]
    rows = [each for each in whole if each.format in _ROWS]
    documents = [each for each in whole if each.format not in _ROWS]
    done = _write(made, rows, tree, tools, widened=False)
    done += _write(made, documents, tree, tools, widened=True, with_repository=made.domain.has_repository)
    for each in narrowed:
        done += _write(made, [each], tree, tools, widened=each.format not in _ROWS)
    exports = tuple(sorted((each for each in done if each is not None), key=lambda each: each.key))
    missing = {each.key for each in made.domain.vex_exports} - {each.key for each in exports}
    remarks = [f"{made.domain.id}: export {key} holds no verdict and is left out" for key in sorted(missing)]
    return Part(made, exports, tuple(remarks))


def _is_whole(export: VexExport) -> bool:
    return export.limit is None and export.vuln_id is None and export.product_key is None


def _write(
    made: Plan,
    exports: list[VexExport],
    tree: Tree,
    tools: Tools,
    *,
    widened: bool,
    with_repository: bool = False,
) -> list[Export | None]:
    """Write exports that are made of the same verdicts, in one pass over them."""
    if not exports and not with_repository:
        return []
    folder = f"{forms.place(made.domain.id)}/exports"
    with ExitStack() as stack:
        tally, lines = _Tally(), _Lines()
        outs = [_Out(each, tree, folder, stack, lines) for each in exports]
        archive = _Repository(made.domain.id, tree, stack) if with_repository else None
        one = exports[0] if len(exports) == 1 and not with_repository else None
        for some in _selected(made, tools, one, widened=widened):
            tally.add(some)
            for out in outs:
                out.add(some)
            if archive is not None:
                archive.writer.add(some)
        for out in outs:
            out.finish()
        if archive is not None:
            archive.finish()
    return [out.export(tally) for out in outs]


def _selected(made: Plan, tools: Tools, only: VexExport | None, *, widened: bool) -> Iterator[list[Verdict]]:
    """The verdicts on each vulnerability; of one export, what its filters, its order and its limit leave."""
    package = None
    if only is not None and only.product_key is not None:
        package = package_of(identify(only.product_key))
    question = Question(Weights(), widened, package, only.vuln_id if only is not None else None)
    found = verdicts(tools.vex, made.selection, question)
    if only is None or only.limit is None:
        yield from found
        return
    order = _ORDERS[only.sort]
    first = heapq.nsmallest(only.limit, (each for some in found for each in some), key=order)
    together: dict[str, list[Verdict]] = {}
    for verdict in first:
        together.setdefault(verdict.subject.vulnerability, []).append(verdict)
    for name in sorted(together):
        yield sorted(together[name], key=lambda verdict: verdict.subject)


def _newest(verdict: Verdict) -> tuple[Any, ...]:
    return (-verdict.instant.timestamp(), consensus_rows.key(verdict.subject))


_ORDERS: Mapping[str, Callable[[Verdict], Any]] = {
    "vulnId": lambda verdict: consensus_rows.key(verdict.subject),
    "productKey": lambda verdict: (verdict.subject.product, consensus_rows.key(verdict.subject)),
    "newest": _newest,
}


class _Writer(Protocol):
    def add(self, verdicts: list[Verdict]) -> None: ...
    def finish(self) -> object: ...


class _Lines:
    """Rows of the verdicts on one vulnerability, made once for all exports that are written of them."""

    def __init__(self) -> None:
        self._of: list[Verdict] | None = None
        self._texts: list[bytes] = []

    def texts(self, verdicts: list[Verdict]) -> list[bytes]:
        """A row for each verdict, in the order of their keys."""
        if self._of is not verdicts:
            ordered = sorted(verdicts, key=lambda each: consensus_rows.key(each.subject))
            self._of, self._texts = verdicts, [consensus_rows.line(each).text for each in ordered]
        return self._texts


class _Tally:
    """What exports of the same verdicts have in common: how many there are, their states, who said them and when."""

    def __init__(self) -> None:
        self._revision = hashlib.sha256()
        self._providers: set[str] = set()
        self.newest = timestamps.EPOCH
        self.verdicts = 0

    def add(self, verdicts: list[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        for verdict in verdicts:
            self.verdicts += 1
            self.newest = max(self.newest, verdict.instant)
            self._providers.update(voice.held.source for voice in verdict.consensus.voices)
            told = [consensus_rows.key(verdict.subject), verdict.consensus.revision]
            self._revision.update(canonical_json.encode(told) + b"\n")

    @property
    def revision(self) -> Digest:
        """Digest of the states."""
        return digests.of_hash(self._revision)

    @property
    def providers(self) -> tuple[str, ...]:
        """Sources of what was weighed, sorted."""
        return tuple(sorted(self._providers))


class _Rows:
    """The states of the consensus, as an object with a list or a line each."""

    def __init__(self, out: BinaryIO, made: _Lines, *, lines: bool) -> None:
        self._out, self._made, self._lines = out, made, lines
        self.statements = 0

    def add(self, verdicts: list[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        for text in self._made.texts(verdicts):
            if self._lines:
                self._out.write(text + b"\n")
            else:
                self._out.write((b",\n" if self.statements else b'{"consensus":[\n') + text)
            self.statements += 1

    def finish(self) -> None:
        """End the file."""
        if not self._lines and self.statements:
            self._out.write(b"\n]}\n")


class _Out:
    """One export as it grows."""

    def __init__(self, export: VexExport, tree: Tree, folder: str, stack: ExitStack, lines: _Lines) -> None:
        self._asked, self._tree = export, tree
        self._name = f"{export.key}.{forms.EXTENSIONS[export.format]}"
        self._path = f"{folder}/{self._name}"
        self._file = stack.enter_context(tree.create(self._path))
        self._writer = self._opened(stack, lines)

    def _opened(self, stack: ExitStack, lines: _Lines) -> _Rows | export_vex.Writer:
        if self._asked.format in _ROWS:
            return _Rows(self._file, lines, lines=self._asked.format == "jsonl")
        scratch = stack.enter_context(self._tree.spool())
        return export_vex.open_writer(self._asked.format, self._file, scratch, Author())

    def add(self, verdicts: list[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        self._writer.add(verdicts)

    def finish(self) -> None:
        """End the file; nothing is left of one without a statement."""
        if self._writer.statements:
            self._writer.finish()

    def export(self, tally: _Tally) -> Export | None:
        """What there is in the index, once the file is closed."""
        file = self._tree.root / self._path
        if not self._writer.statements:
            file.unlink()
            return None
        return Export(
            self._asked.key, self._asked.format, self._name, measure(file), tally.newest, tally.revision,
            tally.providers, tally.verdicts,
        )  # fmt: skip


class _Repository:
    """The archive of a VEX repository as it grows."""

    def __init__(self, domain: str, tree: Tree, stack: ExitStack) -> None:
        self._file = stack.enter_context(tree.create(f"vex/{domain}/{repository.ARCHIVE}"))
        scratch = stack.enter_context(tree.spool())
        self.writer = repository.Writer(self._file, scratch, Author())

    def finish(self) -> None:
        """End the archive; one without a statement has an index of no packages."""
        self.writer.finish()


class _Known(msgspec.Struct, rename="camel"):
    """What of an index in force is asked."""

    state_digest: str
    exports: list[_KnownExport]


class _KnownExport(msgspec.Struct, rename="camel"):
    export_key: str
    format: str
    created_at: datetime
    consensus_revision: Digest
    source_providers: tuple[str, ...]
    verdicts: int
    file: str


def unchanged(made: Plan, tree: InForce) -> tuple[Export, ...] | None:
    """The exports in force, where the tree in force holds this very state of the domain."""
    folder = forms.place(made.domain.id)
    file = tree.before(f"{folder}/{forms.INDEX}")
    if file is None:
        return None
    try:
        known = msgspec.json.decode(file.read_bytes(), type=_Known)
    except (OSError, msgspec.DecodeError):
        return None
    if known.state_digest != made.state.digest:
        return None
    found = []
    for each in known.exports:
        held = tree.before(f"{folder}/{each.file}")
        if held is None:
            return None
        found.append(
            Export(
                each.export_key,
                each.format,
                held.name,
                measure(held),
                each.created_at,
                each.consensus_revision,
                each.source_providers,
                each.verdicts,
            )
        )
    return tuple(found)


def take_over(made: Plan, tree: Tree, exports: tuple[Export, ...]) -> Part:
    """The same from the tree in force, which holds this state."""
    folder = forms.place(made.domain.id)
    tree.take_over(f"{folder}/exports")
    tree.take_over(f"vex/{made.domain.id}")
    return Part(made, exports)
