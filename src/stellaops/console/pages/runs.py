"""Runs: the list, one run with what happens to it, what can be done with it, and what differs between two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stellaops.console.inside import Refused
from stellaops.console.pages.page import Page, form
from stellaops.console.rendering import instant, size
from stellaops.console.visit import Absent, Listed, Visit, listed
from stellaops.exports.step_clock import VISIBLE

_LONGEST = 32_000  # characters
_LOOK = 5.0  # seconds between looks at whether the session of a stream goes on
_ENDED = frozenset({"succeeded", "failed", "cancelled", "expired"})
_STATES = ("pending", "running", "held", "succeeded", "failed", "cancelled", "expired")


async def runs(visit: Visit) -> Response:
    """Runs, newest first."""
    query = visit.query
    found = await visit.get(
        "/api/export/runs", limit=50, profile=query.get("profile"), status=query.get("status"),
        cursor=query.get("cursor"),
    )  # fmt: skip
    profiles = await visit.get("/api/export/profiles")
    names = sorted(each["metadata"]["name"] for each in profiles["items"])
    return await visit.page(
        "runs.html", runs=found["items"], next=found["next"], profiles=names, states=_STATES, query=query
    )


async def submit(visit: Visit) -> Response:
    """Ask for a run."""
    selectors = _selectors(visit.form.get("selectors", ""))
    wanted = {
        "profile": visit.form.get("profile", ""),
        "priority": visit.form.get("priority") or "normal",
        "allowEmpty": "allowEmpty" in visit.form,
        "selectors": selectors,
    }
    made = await visit.change("POST", "/api/export/runs", wanted)
    return visit.go(f"/runs/{made['runId']}")


def _selectors(text: str) -> Any:
    """Selectors as JSON.

    Raises:
        Refused: they are none.
    """
    if not text.strip():
        return {}
    if len(text) > _LONGEST:
        raise _unreadable(f"the selectors are longer than {_LONGEST} characters")
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"the selectors are no JSON: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable("the selectors are no JSON object")
    return found


def _unreadable(what: str) -> Refused:
    hint = 'Write them as {"ecosystems": ["PyPI"]}.'
    return Refused(400, {"detail": what, "code": "ERR_EXPORT_INVALID_SELECTOR", "hint": hint})


async def run(visit: Visit) -> Response:
    """One run."""
    found = await visit.get(f"/api/export/runs/{visit.part('id')}")
    has_bundle, provenance, files = _has_bundle(found), None, Listed()
    if has_bundle:
        path = f"/api/export/runs/{found['runId']}"
        told, provenance = await visit.all(f"{path}/artifacts", f"{path}/provenance")
        files = listed(told)
    earlier = await visit.get("/api/export/runs", profile=found["profile"], status="succeeded", limit=20)
    return await visit.page(
        "run.html",
        run=found,
        ended=found["status"] in _ENDED,
        files=files,
        has_bundle=has_bundle,
        signed=[each for each in files if _is_signature(each["path"])],
        archives=[each["path"] for each in files if each["path"].endswith(".tar.zst")],
        earlier=[each for each in earlier["items"] if each["runId"] != found["runId"]],
        columns=flow_of(found, provenance),
        steps=_steps_of(found),
    )


def _steps_of(found: Mapping[str, Any]) -> Sequence[str]:
    """All that there may be while a run goes on, those that it took afterwards."""
    taken = [step for step in VISIBLE if step in found["durations"]]
    return taken if found["status"] in _ENDED and taken else VISIBLE


def _is_signature(path: str) -> bool:
    return path.startswith("signatures/") or path.endswith((".sig", ".sigstore.json", ".jws"))


def _has_bundle(found: Mapping[str, Any]) -> bool:
    return found["status"] in ("succeeded", "failed") and bool(found["artifacts"]) and not found["removedAt"]


def flow_of(found: Mapping[str, Any], provenance: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """Where a bundle came from and where it went: sources → snapshot → artefacts → targets."""
    snapshot = found["snapshot"]
    planned = snapshot["sequence"] is not None
    cut = (
        f"sequence {snapshot['sequence']}" if planned else "not cut yet",
        str(snapshot["digest"] or "")[:23],
    )
    inner = [each for each in found["artifacts"] if "/" in each["path"]]
    content = sorted(inner or found["artifacts"], key=lambda each: -int(each["bytes"]))
    shown = (*content, *(_manifests(found) if inner else ()))
    artefacts = [(each["path"], size(each["bytes"])) for each in shown]
    targets = [(str(each.get("target")), str(each.get("status"))) for each in found["targets"]]
    hidden = isinstance(provenance, Absent) and provenance.kind == "hidden"
    unnamed = ("evidence", "you may not see which" if hidden else "named in the bundle itself")
    sources = _sources(provenance) or [unnamed]
    columns = [("Sources", _few(sources)), ("Snapshot", [cut]), ("Artefacts", _few(artefacts))]
    return [*columns, ("Targets", _few(targets))] if targets else columns


def _manifests(found: Mapping[str, Any]) -> list[Any]:
    return [each for each in found["artifacts"] if each["path"] in ("export.json", "files.json")]


def _few(boxes: Sequence[tuple[str, str]], most: int = 6) -> list[tuple[str, str]]:
    if len(boxes) <= most:
        return list(boxes)
    return [*boxes[: most - 1], (f"{len(boxes) - most + 1} more", "")]


def _sources(provenance: Any) -> list[tuple[str, str]]:
    """Names of sources and the time of their newest document, as the provenance says."""
    if not isinstance(provenance, dict):
        return []
    told = provenance["predicate"]["buildDefinition"].get("resolvedDependencies") or ()
    return [
        (
            each["name"].removeprefix("source/"),
            f"newest {instant(each.get('annotations', {}).get('updatedAt'))[:16]}",
        )
        for each in told
        if each.get("name", "").startswith("source/")
    ]


async def cancel(visit: Visit) -> Response:
    """End a run."""
    return await _done(visit, "cancel", {"reason": visit.form.get("reason", "")})


async def approve(visit: Visit) -> Response:
    """Let a held run go on."""
    return await _done(visit, "approve", {"reason": visit.form.get("reason", "")})


async def distribute(visit: Visit) -> Response:
    """Bring what is missing to its targets."""
    return await _done(visit, "distribute", {})


async def pin(visit: Visit) -> Response:
    """Let a bundle stay."""
    return await _done(visit, "pin", {"reason": visit.form.get("reason", "")})


async def _done(visit: Visit, what: str, body: Mapping[str, Any]) -> Response:
    run_id = visit.part("id")
    await visit.change("POST", f"/api/export/runs/{run_id}/{what}", body)
    return visit.go(f"/runs/{run_id}")


async def replay(visit: Visit) -> Response:
    """Ask for the same again."""
    wanted = {"latest": "latest" in visit.form, "allowEmpty": "allowEmpty" in visit.form}
    made = await visit.change("POST", f"/api/export/runs/{visit.part('id')}/replay", wanted)
    return visit.go(f"/runs/{made['runId']}")


async def verify(visit: Visit) -> Response:
    """Verify a bundle, and show what was found."""
    run_id = visit.part("id")
    report = (await visit.ask(f"/api/export/runs/{run_id}/verify", "POST")).json()
    return await visit.page(
        "verification.html", run=await visit.get(f"/api/export/runs/{run_id}"), report=report
    )


async def diff(visit: Visit) -> Response:
    """What changed between two runs."""
    query = visit.query
    old, new = query.get("old", ""), query.get("new", "")
    found = await visit.get("/api/export/diff", old=old, new=new) if old and new else None
    profile = (await visit.get(f"/api/export/runs/{new}"))["profile"] if new else None
    newest = await visit.get("/api/export/runs", profile=profile, limit=50)
    ids = {each["runId"] for each in newest["items"]}
    more = [await visit.get(f"/api/export/runs/{each}") for each in (old, new) if each and each not in ids]
    runs = [each for each in (*more, *newest["items"]) if each["status"] in ("succeeded", "held")]
    return await visit.page("diff.html", old=old, new=new, found=found, runs=runs)


class _PassedOn(Response):
    """What the API answers, as it comes."""

    def __init__(self, visit: Visit, path: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._visit, self._path, self._told = visit, path, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        visit = self._visit
        await visit.inside.pass_on(visit.asker, self._path, send, receive, headers=self._told)


class _WhileItGoesOn(_PassedOn):
    """The same for what takes long: cut when the session ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        passing = asyncio.create_task(super().__call__(scope, receive, send))
        over = asyncio.create_task(self._over())
        try:
            await asyncio.wait((passing, over), return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
                return
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            passing.cancel()
            over.cancel()

    async def _over(self) -> None:
        """Waits until the session has ended."""
        while self._visit.goes_on is None or await self._visit.goes_on():
            await asyncio.sleep(_LOOK)


async def download(visit: Visit) -> Response:
    """A file of a bundle."""
    return _PassedOn(
        visit,
        f"/api/export/runs/{visit.part('id')}/artifacts/{visit.part('path')}",
        _of(visit, "range", "if-range"),
    )


async def bundle(visit: Visit) -> Response:
    """Every file of a bundle in one."""
    return _PassedOn(visit, f"/api/export/runs/{visit.part('id')}/bundle.tar", {})


async def events(visit: Visit) -> Response:
    """The events of a run, as they come."""
    headers = _of(visit, "last-event-id") | {"accept": "text/event-stream"}
    return _WhileItGoesOn(visit, f"/api/export/runs/{visit.part('id')}/events", headers)


def _of(visit: Visit, *names: str) -> dict[str, str]:
    told = visit.request.headers
    return {name: told[name] for name in names if name in told}


PAGES = (
    Page("/runs", runs),
    form("/runs", submit),
    Page("/runs/{id}", run),
    Page("/runs/{id}/events", events, by_itself=True),
    Page("/runs/{id}/bundle.tar", bundle),
    Page("/runs/{id}/files/{path:path}", download),
    form("/runs/{id}/cancel", cancel),
    form("/runs/{id}/approve", approve),
    form("/runs/{id}/replay", replay),
    form("/runs/{id}/distribute", distribute),
    form("/runs/{id}/pin", pin),
    form("/runs/{id}/verify", verify),
    Page("/diff", diff),
)
