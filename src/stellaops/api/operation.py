"""Operations of the API: what one route takes, gives and demands. Routing and the OpenAPI document are made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from stellaops.authority.access import Principal
from stellaops.authority.audit import Draft
from stellaops.bootstrap import Local
from stellaops.core.errors import StellaError

ANYONE = Principal("", (), frozenset())
"""Who asks where no token was given: the caller of a public operation."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that was written to a temporary file, which goes with the request.

    Attributes:
        sha256: of the body, in hex.
        media: its media type as the caller says.
    """

    path: Path
    bytes: int
    sha256: str
    media: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, after authentication, tenant, scope and form were checked.

    Attributes:
        tenant: whom the caller acts for; empty in a public operation.
        path: the parameters of the path, by name.
        query: an instance of the operation's `query`.
        body: an instance of the operation's `body`; bytes where it is raw, an `Upload` where it is one; None where it
            has none.
        trace_id: names the request in logs and errors.
        remote: the caller's address.
        seed: 32 hex digits, the same whenever a request comes again with its Idempotency-Key, even when the first
            attempt died halfway: what is named after it is made once. The first 8 are the seconds of the clock.
        change: what the audit log will say; the handler, or the center for it, fills it in.
    """

    request: Request
    local: Local
    principal: Principal
    tenant: str
    path: Mapping[str, str]
    query: Any
    body: Any
    trace_id: str
    remote: str = ""
    seed: str = ""
    change: Draft = field(default_factory=Draft)

    @contextmanager
    def noting(self, action: str, target: str = "") -> Iterator[Draft]:
        """`audit.Noting` for the center: what it says within, the frame writes, by the operation's own action."""
        del action
        self.change.target = target
        yield self.change


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation may give.

    Attributes:
        form: a type that msgspec has a JSON schema of; None for no body, or for bytes of the media type.
    """

    meaning: str
    form: Any = None
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters in the query."""


Handler = Callable[[Call], Response | Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    A plain handler runs in a thread; an `async` one in the loop, and must not block. What it raises becomes a problem
    document (RFC 9457) with the status of its category.

    Attributes:
        id: unique, lower camel case; the verb first: `listRuns`.
        path: with parameters in braces, `{path:path}` for the rest.
        scope: what the token must have; None for everyone who has a token; for nobody in particular see `public`.
        public: needs no token.
        body: the structure of a JSON body, which is then required; None for none.
        query: the structure of the query's parameters; texts, numbers, booleans, optional ones with None.
        answers: by status, the good ones; those of `errors` and of the framework are added.
        errors: what the handler may raise beside that.
        mutating: takes an Idempotency-Key and is written to the audit log.
        raw: the media type of a body that the handler gets as bytes, within the limit of all bodies.
        upload: media types of a body of any size that the handler gets as an `Upload`.
        required: whether a JSON body must be there; without one the handler gets the structure's defaults.
        action: what the audit log calls it; the id when empty.
        audits_itself: the use case writes the audit log; the frame does not.
        secret: the answer holds a secret: it is shown once and never kept to be given again.
        downloads: download tokens open it too, each for its own bundles.
        links: signed links open it too, each for its own file.
    """

    id: str
    method: str
    path: str
    summary: str
    handler: Handler
    scope: str | None = None
    public: bool = False
    body: Any = None
    query: type[msgspec.Struct] = NoQuery
    answers: Mapping[int, Answer] = field(default_factory=dict)
    errors: tuple[type[StellaError], ...] = ()
    mutating: bool = False
    tag: str = "export"
    raw: str | None = None
    upload: tuple[str, ...] = ()
    required: bool = True
    action: str = ""
    audits_itself: bool = False
    secret: bool = False
    downloads: bool = False
    links: bool = False
