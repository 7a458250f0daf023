"""Routes that open downloads to those who are no clients: download tokens, and signed links to files of a bundle."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page, PageQuery, cursor_of, place_of
from stellaops.authority.download_tokens import (
    LONGEST_LIFE,
    LONGEST_OVERLAP,
    OVERLAP,
    SCOPE,
    BadDownloadToken,
    DownloadTokenChanged,
    DownloadTokenNotFound,
    DownloadTokenRevoked,
    Wanted,
)
from stellaops.center.downloads import LocalDownloads
from stellaops.exports.distribution.links import LONGEST, SHORTEST, BadLinkLife
from stellaops.exports.distribution.make_links import PublicUrlMissing
from stellaops.exports.errors import ArtefactMissing, BundleGone, RunNotFound

MANAGE = "authority:manage"
_TOKENS = "/api/export/download-tokens"
_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Names = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=100)
]
_Life = Annotated[int, msgspec.Meta(ge=60, le=int(LONGEST_LIFE.total_seconds()))]
_Overlap = Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))]
_LinkLife = Annotated[int, msgspec.Meta(ge=int(SHORTEST.total_seconds()), le=int(LONGEST.total_seconds()))]


class _Asking(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of what comes in."""


class _Form(msgspec.Struct, frozen=True, rename="camel"):
    """Of what goes out."""


class NewDownloadToken(_Asking, frozen=True):
    """A token to make: for bundles of some profiles or runs, or of all; for 90 days where nothing is said."""

    name: _Text = ""
    profiles: _Names = []
    runs: _Names = []
    expires_seconds: _Life = int(timedelta(days=90).total_seconds())


class DownloadTokenRotation(_Asking, frozen=True):
    """For how many seconds the earlier secret still opens."""

    overlap_seconds: _Overlap = int(OVERLAP.total_seconds())


class DownloadTokenRevocation(_Asking, frozen=True):
    """Why, in one line."""

    reason: _Text = ""


class LinksWanted(_Asking, frozen=True):
    """To which file, all of the bundle where none is named, and for how many seconds."""

    path: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    expires_seconds: _LinkLife = 3600


class DownloadSecretForm(_Form, frozen=True):
    """When a secret of a token was made, ends, and last opened."""

    number: int
    created_at: str
    expires_at: str
    used_at: str | None


class DownloadTokenForm(_Form, frozen=True):
    """A download token, `active`, `expired` or `revoked`; `downloadToken` is told once, when it is made."""

    token_id: str
    tenant: str
    name: str
    state: str
    profiles: list[str]
    runs: list[str]
    created_at: str
    created_by: str
    expires_at: str
    secrets: list[DownloadSecretForm]
    revoked_at: str | None
    revocation_reason: str | None
    download_token: str | msgspec.UnsetType = msgspec.UNSET


class LinkForm(_Form, frozen=True):
    """A link that opens without a token."""

    path: str
    bytes: int
    sha256: str | None
    url: str


class LinksForm(_Form, frozen=True):
    """Links to files of a bundle."""

    run_id: str
    expires_at: str
    links: list[LinkForm]


def _downloads(call: Call) -> LocalDownloads:
    tell = call.change.take
    return LocalDownloads(call.local, call.tenant, call.principal.client, tell, str(call.request.base_url))


def list_tokens(call: Call) -> Response:
    """The tenant's tokens."""
    query: PageQuery = call.query
    wires = sorted(_downloads(call).tokens(), key=lambda wire: str(wire["tokenId"]))
    if query.cursor is not None:
        (after,) = place_of(query.cursor, form=tuple[str])
        wires = [wire for wire in wires if wire["tokenId"] > after]
    page = wires[: query.limit]
    return answer(Page(page, cursor_of(page[-1]["tokenId"]) if len(wires) > len(page) else None))


def show_token(call: Call) -> Response:
    """One token."""
    return answer(_downloads(call).token(call.path["token"]))


def create_token(call: Call) -> Response:
    """Make a token."""
    body: NewDownloadToken = call.body
    wanted = Wanted(
        body.name, tuple(body.profiles), tuple(body.runs), timedelta(seconds=body.expires_seconds),
        # Made of the seed, so that a request that comes again after a crash does not make a second token.
        call.seed[8:20],
    )  # fmt: skip
    made = _downloads(call).create_token(wanted)
    return answer(made, 201, _NO_STORE | {"location": f"{_TOKENS}/{made['tokenId']}"})


def rotate_token(call: Call) -> Response:
    """Give a token another secret."""
    overlap = timedelta(seconds=call.body.overlap_seconds)
    return answer(_downloads(call).rotate_token(call.path["token"], overlap=overlap), headers=_NO_STORE)


def revoke_token(call: Call) -> Response:
    """Revoke a token."""
    return answer(_downloads(call).revoke_token(call.path["token"], call.body.reason))


def create_links(call: Call) -> Response:
    """Give out links."""
    body: LinksWanted = call.body
    made = _downloads(call).links(call.path["id"], body.path, life=timedelta(seconds=body.expires_seconds))
    return answer(made, headers=_NO_STORE)


_NO_STORE = {"cache-control": "no-store"}
_ONE: dict[int, Any] = {200: Answer("the token", DownloadTokenForm)}
_CHANGING = (DownloadTokenNotFound, DownloadTokenChanged, BadDownloadToken)

OPERATIONS = (
    Operation(
        "listDownloadTokens", "GET", _TOKENS, "Tokens that open downloads and nothing else", list_tokens, MANAGE,
        query=PageQuery, answers={200: Answer("the tokens", Page[DownloadTokenForm])},
    ),
    Operation(
        "createDownloadToken", "POST", _TOKENS, "Make a download token, which is told this once", create_token, MANAGE,
        body=NewDownloadToken, required=False, mutating=True, action="download_token.created", secret=True,
        answers={201: Answer("the token", DownloadTokenForm, headers={"location": "of the token"})},
        errors=(BadDownloadToken,),
    ),
    Operation(
        "getDownloadToken", "GET", f"{_TOKENS}/{{token}}", "A download token", show_token, MANAGE, answers=_ONE,
        errors=(DownloadTokenNotFound,),
    ),
    Operation(
        "rotateDownloadToken", "POST", f"{_TOKENS}/{{token}}/rotate",
        "Give a download token another secret, which is told this once; the earlier one opens for an overlap",
        rotate_token, MANAGE, body=DownloadTokenRotation, required=False, mutating=True,
        action="download_token.rotated", secret=True, answers=_ONE, errors=(*_CHANGING, DownloadTokenRevoked),
    ),
    Operation(
        "revokeDownloadToken", "POST", f"{_TOKENS}/{{token}}/revoke", "Revoke a download token for ever",
        revoke_token, MANAGE, body=DownloadTokenRevocation, required=False, mutating=True,
        action="download_token.revoked", answers=_ONE, errors=_CHANGING,
    ),
    Operation(
        "createLinks", "POST", "/api/export/runs/{id}/links",
        "Links to files of a bundle, which open without a token until they end", create_links, SCOPE,
        body=LinksWanted, required=False, mutating=True, action="link.created", secret=True,
        answers={200: Answer("the links", LinksForm)},
        errors=(RunNotFound, BundleGone, ArtefactMissing, BadLinkLife, PublicUrlMissing),
    ),
)  # fmt: skip
