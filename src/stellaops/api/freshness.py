"""Routes of freshness statements: the one about a run's export, and a new one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.responses import Response

from stellaops.api.artifacts import DOWNLOAD
from stellaops.api.forms import Form
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.runs import RUN, find
from stellaops.bundles.freshness import FILE, SIGNATURE
from stellaops.center import freshness
from stellaops.exports import issue_freshness
from stellaops.exports.errors import RunNotFound
from stellaops.exports.issue_freshness import NoStatement, Signed

_PATH = "/api/export/runs/{id}/freshness"


class StatementForm(Form, frozen=True):
    """Both files as texts, byte for byte: `freshness.json` and `freshness.json.sig`."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    statement: str
    signature: str


def show(call: Call) -> Response:
    """The statement that is to lie beside the archive."""
    run = find(call)
    return answer(_form(issue_freshness.stated(run, call.local.statements)))


def renew(call: Call) -> Response:
    """Say anew that the export is the newest of its profile."""
    return answer(_form(freshness.renew(call.local, find(call), call.noting)))


def _form(signed: Signed) -> StatementForm:
    files = signed.files
    return StatementForm(signed.version, files[FILE].decode(), files[SIGNATURE].decode())


OPERATIONS = (
    Operation(
        "getFreshness", "GET", _PATH, "The freshness statement about a mirror's newest export", show, DOWNLOAD,
        answers={200: Answer("As it was signed", StatementForm)}, errors=(RunNotFound, NoStatement), downloads=True,
    ),
    Operation(
        "renewFreshness", "POST", _PATH, "Issue the next freshness statement", renew, RUN, mutating=True,
        answers={200: Answer("The new one", StatementForm)}, errors=(RunNotFound, NoStatement),
        action="freshness.renewed",
    ),
)  # fmt: skip
