"""All examinations in order; what cannot be looked at is a finding too, so that one broken part hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stellaops.bootstrap import Local
from stellaops.center.doctor import (
    clocks,
    credentials,
    files,
    keys,
    mirrors,
    notifications,
    queue,
    stores,
    upkeep,
)
from stellaops.core.errors import StellaError
from stellaops.ingest import doctor as evidence
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.ingest.mirror_databases import untaken


@dataclass(frozen=True, slots=True)
class Wanted:
    """How closely to look.

    Attributes:
        tenant: whose sources are looked at, beside shared ones.
        sample: about how many documents to read; all when None.
        max_age: sources that were read longer ago are pointed out.
        moment: when the examination is made.
    """

    tenant: str
    sample: int | None
    max_age: timedelta
    moment: datetime


def examine(local: Local, wanted: Wanted) -> Iterator[Finding]:
    """Every finding about an installation.

    Where a store is absent, what lies in it is left out: a mirror host has none, and asking makes none.
    """
    yield from _guarded("settings", lambda: files.check_settings(local.settings))
    absent = frozenset(each.name for each in local.stores.chosen(()) if stores.is_absent(each))
    yield from _guarded("stores", lambda: stores.check_stores(local.stores, serves=mirrors.is_host()))
    parts = [*_of_machine(local, wanted)]
    if "evidence" not in absent:
        parts += _of_evidence(local, wanted)
    if "service" not in absent:
        parts += _of_service(local, wanted)
    parts.append(("mirror host", lambda: mirrors.check_host(wanted.moment, local.settings)))
    for name, look in parts:
        yield from _guarded(name, look)


_Part = tuple[str, Callable[[], Iterable[Finding]]]


def _of_machine(local: Local, wanted: Wanted) -> list[_Part]:
    return [
        ("disk", lambda: files.check_disks(local.data_dir)),
        ("clock", lambda: [clocks.check_file_system(local.data_dir)]),
    ]


def _of_evidence(local: Local, wanted: Wanted) -> list[_Part]:
    def sources() -> Iterator[Finding]:
        _, found = local.sources.status(wanted.tenant)
        yield evidence.check_ages(found, now=wanted.moment, limit=wanted.max_age)
        yield evidence.check_quarantine(found)
        yield evidence.check_mirrors(untaken(local.pulls.definitions(), local.pulls.databases()))

    return [
        ("structure", lambda: [evidence.check_structure(local.inspection)]),
        ("digests", lambda: [evidence.check_digests(local.inspection, wanted.sample)]),
        ("rows", lambda: evidence.check_rows(local.inspection)),
        ("feed ages", sources),
    ]


def _of_service(local: Local, wanted: Wanted) -> list[_Part]:
    moment = wanted.moment
    return [
        ("database clock", lambda: clocks.check_database(local)),
        ("keys", lambda: [keys.check_keys(local)]),
        ("credentials", lambda: credentials.check_clients(local, moment)),
        ("queue", lambda: [queue.check_queue(local)]),
        ("targets", lambda: [upkeep.check_targets(local.target_checks.all(None), moment)]),
        ("chores", lambda: [upkeep.check_chores(local.chores.all(), moment)]),
        ("mirrors", lambda: [mirrors.check_published(local, moment)]),
        ("notifications", lambda: [notifications.check_notifications(local, moment)]),
    ]


def _guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except StellaError as error:
        yield Finding(name, Verdict.FAILED, "; ".join((error.what, *error.details)), error.advice)
