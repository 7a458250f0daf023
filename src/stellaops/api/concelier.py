"""`/api/concelier`: advisories, and the sources of all evidence."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from stellaops.api import imports
from stellaops.api.forms import Form
from stellaops.api.frame.answers import answer
from stellaops.api.imports import DocumentsQuery, Text
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.center.landings import landings
from stellaops.center.local_ingest import LocalConcelier, RecordNotFound
from stellaops.core.egress import BadUrl, SchemeRefused
from stellaops.core.errors import InvalidInput
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import BadSourceName, is_source_name
from stellaops.ingest.layouts.interface import BadDefinition
from stellaops.ingest.manage_sources import DefinitionExists, DefinitionNotFound

_READ = "concelier.mirror.read"
_INGEST = "concelier.ingest"
_TAG = "concelier"


class Landing(Form, frozen=True):
    """Where documents land; each is named by source and key, with a slash between."""

    profile: str
    kind: str
    run_id: str
    sequence: int
    documents: list[str]


class SourcesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which definitions."""

    enabled: bool = False


class SourceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A source's definition. Credentials and keys are files of the server and are defined there.

    `replace` allows to change a definition that exists.
    """

    layout: Text
    url: Text
    feed: str = ""
    database: str = ""
    licence: str = "NOASSERTION"
    attribution: str = ""
    every: str = ""
    options: dict[str, Any] = {}
    hosts: list[Text] = []
    prune: bool = False
    full_every: str = "7d"
    enabled: bool = True
    replace: bool = False


class SwitchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sources; with one unknown name none is switched."""

    sources: list[Text]
    enabled: bool


def _center(call: Call) -> LocalConcelier:
    return LocalConcelier(call.local, call.tenant, call.noting)


def _name(call: Call) -> str:
    name = call.path["name"]
    if not is_source_name(name):
        raise DefinitionNotFound(f"no source {name[:80]!r} is defined")
    return name


def _aliases(call: Call) -> Response:
    return answer(_center(call).aliases(call.query.id))


def _landings(call: Call) -> Response:
    return answer(Page(landings(call.local, call.tenant, call.query.id)))


def _sources(call: Call) -> Response:
    return answer(Page(_center(call).sources(enabled=call.query.enabled)))


def _source(call: Call) -> Response:
    return answer(_center(call).source(_name(call)))


def _define(call: Call) -> Response:
    name = call.path["name"]
    wire: dict[str, Any] = msgspec.structs.asdict(call.body)
    replace = wire.pop("replace")
    return answer(_center(call).define(name, wire, replace=replace))


def _switch(call: Call) -> Response:
    names = tuple(call.body.sources)
    return answer(Page(_center(call).switch(names, enabled=call.body.enabled)))


def _forget(call: Call) -> Response:
    name = _name(call)
    return answer(_center(call).forget(name))


OPERATIONS = (
    *imports.operations(Side.ADVISORIES, _center, _INGEST, _READ),
    Operation(
        "getConcelierAliases", "GET", "/api/concelier/aliases", "Which ids are the same vulnerability, and why",
        _aliases, scope=_READ, query=DocumentsQuery, answers={200: Answer("names and statements", dict[str, Any])},
        errors=(RecordNotFound,), tag=_TAG,
    ),
    Operation(
        "listLandings", "GET", "/api/export/landings",
        "Which documents about an id the newest run of each profile selected", _landings, scope="export:read",
        query=DocumentsQuery, answers={200: Answer("By profile", Page[Landing])}, errors=(RecordNotFound,), tag=_TAG,
    ),
    Operation(
        "listSources", "GET", "/api/concelier/sources", "Every defined source with its last and next pull",
        _sources, scope=_READ, query=SourcesQuery,
        answers={200: Answer("the definitions", Page[dict[str, Any]])}, tag=_TAG,
    ),
    Operation(
        "switchSources", "POST", "/api/concelier/sources", "Have sources pulled by their schedules, or not",
        _switch, scope=_INGEST, body=SwitchBody, answers={200: Answer("the definitions", Page[dict[str, Any]])},
        errors=(DefinitionNotFound,), mutating=True, action="source.switched", tag=_TAG,
    ),
    Operation(
        "getSource", "GET", "/api/concelier/sources/{name}", "A source's whole definition and the state of its pulls",
        _source, scope=_READ, answers={200: Answer("the definition", dict[str, Any])},
        errors=(DefinitionNotFound,), tag=_TAG,
    ),
    Operation(
        "defineSource", "PUT", "/api/concelier/sources/{name}", "Define a source",
        _define, scope=_INGEST, body=SourceBody, answers={200: Answer("the definition", dict[str, Any])},
        errors=(InvalidInput, BadDefinition, BadSourceName, BadUrl, SchemeRefused, DefinitionExists), mutating=True,
        action="source.defined", tag=_TAG,
    ),
    Operation(
        "forgetSource", "DELETE", "/api/concelier/sources/{name}", "Forget a definition; what was imported stays",
        _forget, scope=_INGEST, answers={200: Answer("what was removed", dict[str, Any])},
        errors=(DefinitionNotFound,), mutating=True, action="source.forgotten", tag=_TAG,
    ),
)  # fmt: skip
