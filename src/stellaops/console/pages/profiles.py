"""Profiles: what they say, who changed them, and how they are changed."""

from __future__ import annotations

import json
from typing import Any

import yaml
from anyio import to_thread
from starlette.responses import Response

from stellaops.console.inside import Refused
from stellaops.console.pages.page import Page, form
from stellaops.console.visit import Listed, Visit, listed

_LONGEST = 32_000  # characters
_FIRST = """\
apiVersion: stellaops.io/export.v1
kind: ExportProfile
metadata:
  name: nightly
spec:
  kind: trivy
  variant: db
"""


async def profiles(visit: Visit) -> Response:
    """All of them."""
    found = await visit.get("/api/export/profiles")
    (schedules,) = await visit.all("/api/export/schedules")
    coming = {each["profile"]: each["nextRunAt"] for each in listed(schedules)}
    return await visit.page("profiles.html", profiles=found["items"], coming=coming)


async def profile(visit: Visit) -> Response:
    """One, with its revisions and its newest runs."""
    name = visit.part("name")
    found = await visit.get(f"/api/export/profiles/{name}")
    history = await visit.maybe(f"/api/export/profiles/{name}/history")
    runs = await visit.get("/api/export/runs", profile=name, limit=10)
    (schedules,) = await visit.all("/api/export/schedules")
    return await visit.page(
        "profile.html",
        profile=found,
        text=_text(found),
        history=_history(history),
        runs=runs["items"],
        schedule=next((each for each in listed(schedules) if each["profile"] == name), None),
    )


def _history(found: Any) -> Listed:
    """Revisions with what each says, newest first."""
    told = listed(found)
    return Listed(({**each, "text": _text(each["profile"])} for each in reversed(told)), told.absent)


def _text(document: Any) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


async def edit(visit: Visit) -> Response:
    """The form of a change."""
    found = await visit.get(f"/api/export/profiles/{visit.part('name')}")
    shown = {key: value for key, value in found.items() if key != "metadata"}
    labels = found["metadata"].get("labels") or {}
    metadata = {"name": found["metadata"]["name"], **({"labels": labels} if labels else {})}
    document = {
        "apiVersion": shown.pop("apiVersion"),
        "kind": shown.pop("kind"),
        "metadata": metadata,
        **shown,
    }
    revision = found["metadata"].get("revision", "")
    return await visit.page(
        "edit.html", name=visit.part("name"), text=_text(document), refused=None, reason="", revision=revision
    )


async def begin(visit: Visit) -> Response:
    """The form of a profile that there is not yet."""
    return await visit.page("edit.html", name="", text=_FIRST, refused=None, reason="", revision="")


async def store(visit: Visit) -> Response:
    """Make a profile, or its next revision."""
    name, text, reason, revision = (
        visit.form.get(each, "") for each in ("name", "text", "reason", "revision")
    )
    try:
        document = await parsed(text)
        if name:
            await _demand_unchanged(visit, name, revision)
            body = {"changeReason": reason, "profile": document}
            found = await visit.change("PATCH", f"/api/export/profiles/{name}", body)
        else:
            found = await visit.change("POST", "/api/export/profiles", document)
    except Refused as refused:
        if refused.status in (401, 403):
            raise
        return await visit.page(
            "edit.html",
            refused.status,
            name=name,
            text=text,
            refused=refused,
            reason=reason,
            revision=revision,
        )
    return visit.go(f"/profiles/{found['metadata']['name']}")


async def _demand_unchanged(visit: Visit, name: str, revision: str) -> None:
    """Refuse a change of what was not seen.

    Raises:
        Refused: somebody has stored another revision since the form was made.
    """
    found = await visit.get(f"/api/export/profiles/{name}")
    newest = found["metadata"].get("revision", "")
    if newest != revision:
        hint = "Look at the newest revision in another tab, take over what it says, and load this form anew."
        what = f"{name} is at revision {newest} meanwhile, and this form was made from {revision or 'none'}"
        raise Refused(409, {"detail": what, "code": "ERR_CONSOLE_STALE", "hint": hint})


async def parsed(text: str) -> Any:
    """A document as YAML or JSON.

    Raises:
        Refused: it is neither, or larger than any profile.
    """
    if len(text) > _LONGEST:
        raise _unreadable(f"this is longer than {_LONGEST} characters")
    return await to_thread.run_sync(_parsed, text)


def _parsed(text: str) -> Any:
    try:
        found = yaml.load(text, _Plain)  # noqa: S506 - a safe loader
        json.dumps(found, ensure_ascii=False).encode()
    except yaml.YAMLError as error:
        raise _unreadable(f"this is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise _unreadable("this is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise _unreadable(f"this says something that JSON has not: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable("a profile is a mapping: apiVersion, kind, metadata, spec")
    return found


class _Plain(yaml.SafeLoader):
    """YAML without aliases, by which a few lines can stand for gigabytes; what looks like a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        """See PyYAML."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not taken")
        return super().compose_node(parent, index)


def _unreadable(what: str) -> Refused:
    hint = "docs/use/profiles.md describes profiles."
    return Refused(400, {"detail": what, "code": "ERR_EXPORT_INVALID_PROFILE", "hint": hint})


async def check(visit: Visit) -> Response:
    """What is wrong with a profile that is being written, and how much it would select."""
    refused, plan = None, None
    try:
        checked = await visit.ask(
            "/api/export/profile-check", "POST", body=await parsed(visit.form.get("text", ""))
        )
        plan = checked.json()
    except Refused as found:
        if found.status == 401:
            raise
        refused = found
    return await visit.page("check.html", refused=refused, plan=plan)


async def clone(visit: Visit) -> Response:
    """Copy a profile."""
    path = f"/api/export/profiles/{visit.part('name')}/clone"
    found = await visit.change("POST", path, {"name": visit.form.get("target", "").strip()})
    return visit.go(f"/profiles/{found['metadata']['name']}")


async def remove(visit: Visit) -> Response:
    """Remove a profile."""
    await visit.change("DELETE", f"/api/export/profiles/{visit.part('name')}")
    return visit.go("/profiles")


PAGES = (
    Page("/profiles", profiles),
    form("/profiles", store),
    Page("/profiles/new", begin),
    form("/profiles/check", check),
    Page("/profiles/{name}", profile),
    Page("/profiles/{name}/edit", edit),
    form("/profiles/{name}/clone", clone),
    form("/profiles/{name}/remove", remove),
)
