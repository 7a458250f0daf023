"""Pull sources: plan from listings, fetch what changed into the spool, import it, remember how far that was.

A pull that dies goes on: files that were whole stay in the spool; once all are there, the next pull begins with their
import, which goes on too. The cursor and what is known of the files move in one transaction after the import, so a
pull that died in between is only done again. A failure touches nothing that is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count, islice

from msgspec import structs

from stellaops.core import timestamps
from stellaops.core.counting import counted
from stellaops.core.errors import DependencyFailed, InvalidInput, MissingPrerequisite, StellaError
from stellaops.ingest.editions import total
from stellaops.ingest.feeds import side_of
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.layouts.interface import Answer, Layout, ListingUnusable, Plan, Situation, Want
from stellaops.ingest.layouts.registry import layout_of
from stellaops.ingest.mirror_databases import untaken
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import ImportStore, OpenPgp, Sources
from stellaops.ingest.pull_backoff import ATTEMPTS, CIRCUIT_FAILURES, LONGEST_WAIT, duration, pause_after
from stellaops.ingest.pull_errors import DownloadDamaged, FetchFailed, FileMissing
from stellaops.ingest.pull_model import Definition, FailedFile, Known, Outcome, PullReport, PullState
from stellaops.ingest.pull_ports import Fetched, Missing, Pending, PullStore, Spool, Spools, Unchanged

_FAILURES_IN_A_ROW = 10
"""Failed files after which a pull gives up on the rest: the server is down, not the file."""

_WINDOW = 4
"""Files in hand for each download at once."""


@dataclass(frozen=True)
class PullTools:
    """What pulls work with.

    Attributes:
        parallel: downloads at once of one source.
        importing: imports of one process take turns; they are bound by its processor, not by waiting.
        openpgp: what signatures beside documents are checked with; None leaves them unverified.
        keys_of: the keys that an operator trusts for a source, read anew at each pull.
    """

    store: PullStore
    spools: Spools
    sources: Sources
    imports: ImportStore
    now: Callable[[], datetime]
    chance: Callable[[], float]
    parallel: int = 4
    importing: threading.Lock = field(default_factory=threading.Lock)
    openpgp: OpenPgp | None = None
    keys_of: Callable[[Definition], tuple[bytes, ...]] = lambda definition: ()


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull.

    Attributes:
        full: fetch everything again.
        at_once: also a source that rests after failures.
    """

    full: bool = False
    at_once: bool = False


def pull_sources(
    definitions: Sequence[Definition],
    tools: PullTools,
    options: PullOptions,
    *,
    at_once: int,
    progress: Callable[[str], None] = lambda text: None,
) -> list[PullReport]:
    """Pull several sources side by side; one that fails stops no other.

    Args:
        at_once: sources at once.

    Returns:
        A report for each, in the order given.
    """
    with ThreadPoolExecutor(max(1, min(at_once, len(definitions))), "pull") as workers:
        running = [workers.submit(pull_source, each, tools, options, progress) for each in definitions]
        return [future.result() for future in running]


def pull_source(
    definition: Definition,
    tools: PullTools,
    options: PullOptions,
    progress: Callable[[str], None] = lambda text: None,
) -> PullReport:
    """Pull one source. What goes wrong stands in the report."""
    state = tools.store.state(definition.name)
    if not options.at_once and state.next_attempt_at is not None and tools.now() < state.next_attempt_at:
        return _waiting(definition, state, tools)
    pull = _Pull(definition, tools, options, state, progress)
    try:
        return pull.run()
    except StellaError as error:
        return pull.failed(error)


def _waiting(definition: Definition, state: PullState, tools: PullTools) -> PullReport:
    return PullReport(
        definition.name, definition.feed, definition.database, "waiting",
        next_attempt_at=state.next_attempt_at, error_code=state.error_code, error_text=state.error,
        sequence=tools.store.sequence(),
    )  # fmt: skip


@dataclass(slots=True)
class _Harvest:
    """What the fetching of one plan brought."""

    fetched: list[Fetched] = field(default_factory=list)
    unchanged: list[Want] = field(default_factory=list)
    missing: list[Want] = field(default_factory=list)
    failed: list[FailedFile] = field(default_factory=list)
    error: StellaError | None = None

    def documents(self, wants: Sequence[Want]) -> bool:
        """Whether anything but what may as well be absent has come."""
        beside = {want.path for want in wants if want.optional}
        return any(item.path not in beside for item in self.fetched)


class _Pull:
    """One pull of one source."""

    def __init__(
        self,
        definition: Definition,
        tools: PullTools,
        options: PullOptions,
        state: PullState,
        progress: Callable[[str], None],
    ) -> None:
        self._definition = definition
        self._tools = tools
        self._options = options
        self._state = state
        self._progress = progress
        self._reports: list[ImportReport] = []
        self._keys: tuple[bytes, ...] = ()
        self._told = PullReport(definition.name, definition.feed, definition.database, "ok")

    def run(self) -> PullReport:
        """Finish what an interrupted pull has fetched, then pull."""
        layout_of(self._definition.layout).check(self._definition)
        self._keys = self._tools.keys_of(self._definition)
        # A source that failed again and again is only probed.
        attempts = 1 if self._state.failures >= CIRCUIT_FAILURES else ATTEMPTS
        with self._tools.spools.open(self._definition, attempts=attempts) as spool:
            self._tools.store.begin(self._definition.name, self._tools.now())
            try:
                interrupted = spool.pending()
                if interrupted is not None:
                    self._import(spool, interrupted, None)
                    self._state = self._tools.store.state(self._definition.name)
                self._once(spool)
            finally:
                self._told = replace(self._told, attempts=spool.attempts, bytes=spool.bytes)
        return self._report(self._told.state)

    def failed(self, error: StellaError) -> PullReport:
        """Note a failure, unless it says nothing about the source, and report it."""
        self._told = replace(self._told, error=error, error_code=error.code, error_text=error.what)
        if _is_the_sources(error):
            self._rest(error)
            problem = (error.code, error.what)
            self._tools.store.fail(
                self._definition.name, problem, self._told.next_attempt_at or self._tools.now()
            )
        return self._report("failed")

    # ---- planning and fetching

    def _once(self, spool: Spool) -> None:
        known = self._tools.store.known(self._definition.name)
        situation = Situation(self._definition, self._state.cursor, known, full=self._is_full())
        self._progress(f"{self._definition.name}: listing")
        plan = self._plan(situation, spool)
        self._told = replace(self._told, full=plan.full, notes=(*self._told.notes, *self._untaken(plan)))
        harvest = self._fetch(plan.wants, known, spool)
        if harvest.fetched and not harvest.documents(plan.wants):
            harvest.fetched.clear()  # signatures of documents that are the same
        if (
            plan.complete
            and self._definition.prune
            and (harvest.fetched or plan.gone)
            and harvest.unchanged
            and not harvest.failed
        ):
            # What a prune goes by must be read whole, also where the server says that it is the same.
            again = self._fetch(harvest.unchanged, {}, spool)
            harvest = _Harvest(harvest.fetched + again.fetched, [], harvest.missing + again.missing,
                               again.failed, again.error)  # fmt: skip
        self._told = replace(
            self._told,
            fetched=self._told.fetched + len(harvest.fetched),
            not_modified=len(harvest.unchanged),
            missing=len(harvest.missing),
            failed=tuple(harvest.failed),
        )
        if harvest.error is not None and not (harvest.fetched or harvest.unchanged):
            raise harvest.error
        self._require_something(plan, harvest)
        pending = self._pending(plan, harvest, known)
        if pending.files or pending.taken_back:
            spool.keep(pending)
        self._import(spool, pending, harvest.error)

    def _plan(self, situation: Situation, spool: Spool) -> Plan:
        """The layout's plan; listings that are cut off are asked for anew."""
        for attempt in count(1):
            try:
                return _drive(layout_of(self._definition.layout), situation, spool)
            except ListingUnusable:
                if not spool.again(attempt):
                    raise
        raise AssertionError  # the loop has no other end

    def _untaken(self, plan: Plan) -> Iterator[str]:
        """What the place of the source offers and no source takes, in words."""
        store, name = self._tools.store, self._definition.name
        if plan.databases is not None:
            store.note_databases(name, plan.databases)
            found = untaken(store.definitions(), store.databases())
            yield from (f"{each.told}. {each.advice}" for each in found if name in each.sources)

    def _is_full(self) -> bool:
        last = self._state.full_at
        return (
            self._options.full
            or last is None
            or self._tools.now() - last >= duration(self._definition.full_every)
        )

    def _fetch(self, wants: Sequence[Want], known: Mapping[str, Known], spool: Spool) -> _Harvest:
        harvest = _Harvest()
        in_a_row = 0
        for want, result in self._in_parallel(wants, known, spool):
            if isinstance(result, StellaError):
                wish = result.retry_after if isinstance(result, FetchFailed) else None
                harvest.failed.append(FailedFile(want.url, result.code, result.what, wish))
                harvest.error = harvest.error or result
                in_a_row += 1
                if in_a_row >= _FAILURES_IN_A_ROW or (wish or 0) > LONGEST_WAIT:
                    break
                continue
            in_a_row = 0
            match result:
                case Fetched():
                    harvest.fetched.append(result)
                case Unchanged():
                    harvest.unchanged.append(want)
                case Missing() if not want.optional:
                    harvest.missing.append(want)
                case _:
                    pass
            if len(harvest.fetched) % 100 == 1:
                self._progress(f"{self._definition.name}: {len(harvest.fetched):,} of {len(wants):,} files")
        return harvest

    def _in_parallel(
        self, wants: Sequence[Want], known: Mapping[str, Known], spool: Spool
    ) -> Iterator[tuple[Want, Fetched | Unchanged | Missing | StellaError]]:
        def one(want: Want) -> Fetched | Unchanged | Missing | StellaError:
            try:
                return spool.fetch(want, None if want.whole else known.get(want.path))
            except (FetchFailed, InvalidInput, FileMissing) as error:
                return error
            except StellaError as error:
                if isinstance(error, MissingPrerequisite):
                    raise  # a full disk, credentials that are not there: not this file's matter
                return error

        ahead = iter(wants)
        with ThreadPoolExecutor(self._tools.parallel, "fetch") as workers:
            running: dict[Future[Fetched | Unchanged | Missing | StellaError], Want] = {}
            try:
                while True:
                    room = self._tools.parallel * _WINDOW - len(running)
                    running |= {workers.submit(one, want): want for want in islice(ahead, room)}
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                workers.shutdown(wait=False, cancel_futures=True)

    def _require_something(self, plan: Plan, harvest: _Harvest) -> None:
        """A source all of whose files are gone is no source that is up to date."""
        if plan.full and len(harvest.missing) == len(plan.wants) and plan.wants:
            raise FileMissing(f"{plan.wants[0].url}: the server has no such file")

    def _pending(self, plan: Plan, harvest: _Harvest, known: Mapping[str, Known]) -> Pending:
        whole = not (harvest.failed or harvest.missing)
        files = dict(plan.files) if whole else {}
        if not (plan.full and whole):
            # What is deleted and comes back must be fetched, whatever the validators that it had.
            files |= {path: Known() for path in plan.taken_back if path in known}
        files |= {item.path: item.known for item in harvest.fetched}
        for want in harvest.unchanged:
            files[want.path] = structs.replace(known[want.path], mark=want.mark)
        cursor = plan.cursor if not harvest.failed or not plan.full else self._state.cursor
        if plan.dated_by_archives:
            cursor = _not_after(
                cursor, (files[want.path].last_modified for want in plan.wants if want.path in files)
            )
        shrunk = plan.full and self._state.listed > 2 * plan.listed
        if shrunk and self._definition.prune:
            note = f"the listing has {plan.listed} files, the last one had {self._state.listed}: nothing was pruned"
            self._told = replace(self._told, notes=(*self._told.notes, note))
        return Pending(
            tuple(harvest.fetched),
            files,
            cursor,
            full=plan.full and not harvest.failed,
            prune=self._definition.prune and plan.complete and whole and not shrunk,
            replace=plan.full and whole,
            listed=plan.listed,
            taken_back=plan.taken_back,
            keys=plan.keys,
        )

    # ---- importing

    def _import(self, spool: Spool, pending: Pending, problem: StellaError | None) -> None:
        if pending.files or (pending.taken_back and self._tools.sources.find(self._definition.name)):
            self._progress(f"{self._definition.name}: importing")
            try:
                self._reports.append(self._imported(spool, pending))
            except (InvalidInput, DownloadDamaged):
                # What was fetched cannot be imported, now or later: it is fetched again.
                spool.clear(imported=False)
                raise
        listed = pending.listed if pending.full else self._state.listed
        outcome = Outcome(pending.cursor, pending.full, listed, pending.known, pending.replace)
        if problem is not None:
            self._rest(problem)
            self._told = replace(self._told, state="partial", error=problem, error_code=problem.code,
                                 error_text=problem.what)  # fmt: skip
        told = None if problem is None else (problem.code, problem.what)
        self._tools.store.succeed(
            self._definition.name, outcome, self._tools.now(), problem=told,
            next_attempt_at=self._told.next_attempt_at,
        )  # fmt: skip
        spool.clear(imported=problem is None)

    def _imported(self, spool: Spool, pending: Pending) -> ImportReport:
        definition = self._definition
        request = ImportRequest(
            definition.name,
            definition.feed or None,
            definition.database or None,
            pending.prune,
            self._keys,
            side_of(definition.feed),
            pending.keys,
            frozenset(pending.taken_back),
        )
        with self._tools.importing:
            return import_documents(
                request,
                spool.inputs(pending, definition),
                sources=self._tools.sources,
                store=self._tools.imports,
                now=self._tools.now,
                progress=lambda read: self._progress(f"{definition.name}: {counted(read, 'file')} read"),
                openpgp=self._tools.openpgp,
            )

    # ---- reporting

    def _rest(self, error: StellaError) -> None:
        """How long the source is left alone."""
        wish = error.retry_after if isinstance(error, FetchFailed) else None
        pause = pause_after(self._state.failures + 1, wish, self._tools.chance())
        self._told = replace(self._told, next_attempt_at=self._tools.now() + pause)

    def _report(self, state: str) -> PullReport:
        report = total(self._reports) if self._reports else None
        found = self._tools.sources.find(self._definition.name)
        return replace(
            self._told,
            state=state,
            report=report,
            feed=found.feed if found else self._definition.feed,
            database=found.database if found else self._definition.database,
            sequence=self._tools.store.sequence(),
        )


def _drive(layout: Layout, situation: Situation, spool: Spool) -> Plan:
    """Answer a layout's questions until it has its plan."""
    planning = layout.plan(situation)
    answer: Answer | None = None
    while True:
        try:
            ask = next(planning) if answer is None else planning.send(answer)
        except StopIteration as done:
            plan: Plan = done.value
            return plan
        answer = spool.listing(ask)


def _is_the_sources(error: StellaError) -> bool:
    """Whether a failure is the source's: not a lock, a full disk or missing credentials of ours."""
    if isinstance(error, MissingPrerequisite):
        return False
    return not isinstance(error, DependencyFailed) or isinstance(error, FetchFailed | ListingUnusable)


def _not_after(cursor: str, dates: Iterable[str]) -> str:
    """The cursor, or the earliest of some HTTP dates where that is before it."""
    earliest = timestamps.parse(cursor)
    for text in dates:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            continue
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        earliest = date if earliest is None else min(earliest, date)
    return cursor if earliest is None else timestamps.render(earliest)
