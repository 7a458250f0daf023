"""Definitions of sources: the product's table, and what operators add to it or change in it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePath
from urllib.parse import urlsplit

from msgspec import structs

from stellaops.advisories import databases
from stellaops.core.egress import target_of
from stellaops.core.errors import AlreadyExists, NotFound
from stellaops.ingest import pull_backoff
from stellaops.ingest.companions import CHECKED_FEEDS
from stellaops.ingest.feeds import FEEDS
from stellaops.ingest.import_documents import BadSourceName, is_source_name
from stellaops.ingest.layouts.interface import BadDefinition
from stellaops.ingest.layouts.registry import LAYOUTS
from stellaops.ingest.pull_model import Definition, PullState
from stellaops.ingest.pull_ports import PullStore
from stellaops.ingest.source_definitions import DEFINITIONS

KINDS_OF_CREDENTIALS = ("basic", "bearer", "header", "s3")


class DefinitionNotFound(NotFound):
    """No source of this name is defined."""

    code = "ERR_SOURCE_NOT_DEFINED"
    hint = "See `stella concelier sources list`, or define one with `stella concelier sources add`."


class DefinitionExists(AlreadyExists):
    """A source of this name is defined."""

    code = "ERR_SOURCE_DEFINED"
    hint = "Choose another name, or change the definition with --replace."


def all_definitions(store: PullStore) -> list[Definition]:
    """Every definition by name; a stored one stands for the product's own of the same name."""
    found = {each.name: each for each in DEFINITIONS}
    found |= {each.name: each for each in store.definitions()}
    return sorted(found.values(), key=lambda each: each.name)


def find_definition(name: str, store: PullStore) -> Definition:
    """The definition of a name.

    Raises:
        DefinitionNotFound: see there.
    """
    for each in all_definitions(store):
        if each.name == name:
            return each
    raise DefinitionNotFound(f"no source {name!r} is defined")


def add_definition(definition: Definition, store: PullStore, *, may_replace: bool = False) -> None:
    """Store a definition.

    Raises:
        DefinitionExists, BadDefinition, BadSourceName: see there.
    """
    check_definition(definition)
    if not may_replace and any(each.name == definition.name for each in all_definitions(store)):
        raise DefinitionExists(f"source {definition.name!r} is defined")
    store.save(definition)


def switch_definition(name: str, store: PullStore, *, enabled: bool) -> Definition:
    """Say whether a source is pulled by `--all` and by its schedule.

    Raises:
        DefinitionNotFound: see there.
    """
    changed = structs.replace(find_definition(name, store), enabled=enabled)
    store.save(changed)
    return changed


def remove_definition(name: str, store: PullStore) -> None:
    """Forget what an operator stored; the product's own definition of the name is in force again.

    Raises:
        DefinitionNotFound: nothing is stored under the name.
    """
    if not store.remove(name):
        raise DefinitionNotFound(f"no definition of source {name!r} is stored")


def check_definition(definition: Definition) -> None:
    """Refuse a definition that cannot work, with everything that is wrong with it.

    Raises:
        BadDefinition, BadSourceName: see there.
        BadUrl, SchemeRefused, BadSchedule: see there.
    """
    if not is_source_name(definition.name):
        raise BadSourceName(f"{definition.name[:80]!r} cannot be a source's name")
    layout = LAYOUTS.get(definition.layout)
    problems = list(_problems(definition))
    if layout is None:
        problems.append(f"layout {definition.layout!r} is none of {', '.join(sorted(LAYOUTS))}")
    if problems or layout is None:
        raise BadDefinition(f"source {definition.name!r}: {'; '.join(problems)}", details=problems)
    target_of(definition.url)
    pull_backoff.duration(definition.full_every)
    pull_backoff.next_due(definition.every, None, _ANY_TIME)
    if " " not in definition.every.strip() and definition.every:
        pull_backoff.duration(definition.every)
    layout.check(definition)


def due_at(definition: Definition, state: PullState, now: datetime) -> datetime | None:
    """When a source is pulled next by its schedule; None for one that is off or has none."""
    if not definition.enabled:
        return None
    due = pull_backoff.next_due(definition.every, state.started_at, now)
    if due is None or state.next_attempt_at is None:
        return due
    # After a failure the rest counts, not the cadence.
    return state.next_attempt_at


def _problems(definition: Definition) -> Iterable[str]:
    if definition.feed and definition.feed not in FEEDS:
        yield f"feed {definition.feed!r} is none of {', '.join(sorted(FEEDS))}"
    if definition.database and databases.get(definition.database) is None:
        yield f"database {definition.database!r} is not in the table of databases"
    if urlsplit(definition.url).fragment:
        yield "the URL has a fragment, which is never sent"
    for file in definition.openpgp_keys:
        if not PurePath(file).is_absolute():
            yield f"the file of an OpenPGP key needs an absolute path, not {file!r}"
    if definition.openpgp_keys and definition.feed not in CHECKED_FEEDS:
        yield f"OpenPGP keys need a feed whose documents are signed: {', '.join(sorted(CHECKED_FEEDS))}"
    credentials = definition.authentication
    if credentials is not None:
        if credentials.kind not in KINDS_OF_CREDENTIALS:
            yield f"credentials of kind {credentials.kind!r} are none of {', '.join(KINDS_OF_CREDENTIALS)}"
        if not PurePath(credentials.file).is_absolute():
            yield f"the file of the credentials needs an absolute path, not {credentials.file!r}"


_ANY_TIME = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
