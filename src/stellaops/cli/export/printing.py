"""Runs, profiles and reports as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stellaops.cli.frame import App
from stellaops.core import timestamps

Wire = Mapping[str, Any]
_FEW = 3
"""Warnings that are shown without being asked for."""


def print_run(app: App, found: Wire) -> None:
    """A run; artefacts by their paths in its bundle."""
    root = found.get("bundle")
    error = f" ({found['errorCode']}: {found['error']})" if found["error"] else ""
    waits = f": {found['waiting']}" if found["status"] == "pending" and found.get("waiting") else ""
    snapshot = found["snapshot"]
    app.out.value(
        found,
        [
            ("run", found["runId"]),
            ("status", found["status"] + (", degraded" if found["degraded"] else "") + error + waits),
            *(("held", reason) for reason in found.get("held") or ()),
            ("profile", f"{found['profile']} {found['profileRevision']}"),
            ("selectors", brief(found["selectors"])),
            ("snapshot", f"{snapshot['sequence'] or '-'} {snapshot['digest'] or ''}".rstrip()),
            ("export", found["exportId"]),
            *((("expired", found["expired"]),) if found.get("expired") else ()),
            *((("shared with", found["sharedFrom"]),) if found.get("sharedFrom") else ()),
            *((("chain", _place(found["chain"])),) if found.get("chain") else ()),
            ("rerun hash", found["rerunHash"]),
            *(("target", _reached(each, gone=_is_gone(found))) for each in found["targets"]),
            *((("bundle", root),) if "bundle" in found else ()),
            ("seconds", " ".join(f"{name} {seconds:.2f}" for name, seconds in found["durations"].items())),
            *_files(found, root),
        ],
    )
    warnings = found["warnings"]
    shown = app.verbose or len(warnings) <= _FEW
    for warning in warnings if shown else ():
        app.out.note(f"warning: {warning}")
    if not shown:
        app.out.note(f"{len(warnings)} warnings: see them with -v, or in `--format json`")


def _is_gone(found: Wire) -> bool:
    """Whether a run had a bundle that is not kept any more."""
    return bool(found.get("expired") or found.get("removedAt"))


def _files(found: Wire, root: str | None) -> list[tuple[str, str]]:
    """What lies in the bundle; of one that is gone, what did."""
    artifacts = found["artifacts"]
    if artifacts and _is_gone(found):
        whole = sum(each["bytes"] for each in artifacts)
        return [("files", f"none any more; there were {len(artifacts)} with {whole:,} bytes")]
    return [(_inside(each["path"], root), f"{each['bytes']:,} bytes") for each in artifacts]


def _reached(target: Wire, *, gone: bool = False) -> str:
    """A target, and what came of bringing the bundle there; what was removed since is not said to be there."""
    if target.get("removedAt"):
        return f"{target['target']}: removed there {second(target['removedAt'])}"
    if gone and target.get("driver") == "http":
        return f"{target['target']}: gone with the bundle"
    known = (target.get("reference"), target.get("error"))
    required = " (required)" if target["required"] else ""
    told = ", ".join(str(each) for each in known if each)
    return f"{target['target']}{required}: {target['status']}{', ' if told else ''}{told}"


def _place(chain: Wire) -> str:
    """Where a mirror's archive stands in its chain."""
    if chain["base"] is None:
        return f"full archive of {chain['of']}"
    return f"delta {chain['number']} of {chain['of']}, on archive {chain['base']['archiveId']}"


def _inside(path: str, root: str | None) -> str:
    return path if root is None else Path(path).relative_to(root).as_posix()


def print_runs(app: App, found: list[dict[str, Any]]) -> None:
    """Runs, a line each."""
    app.out.rows(
        found,
        ("run", "profile", "status", "error", "export", "snapshot", "submitted"),
        [
            (
                each["runId"], each["profile"], each["status"], each["errorCode"], each["exportId"],
                each["snapshot"]["sequence"], second(each["submittedAt"]),
            )
            for each in found
        ],
    )  # fmt: skip


def event_line(event: Wire) -> str:
    """An event of a run in a line."""
    known = ("runId", "type", "at", "number")
    told = [f"{name} {value}" for name, value in event.items() if name not in known and _is_plain(value)]
    kind = str(event["type"]).removeprefix("run.")
    return f"{second(event['at'])}  {kind:<14}  {', '.join(told)}".rstrip()


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and value not in ("", None)


def print_report(app: App, report: Any, root: Path | str) -> None:
    """A verification's report: every check, and one line with the verdict."""
    wire = report if isinstance(report, dict) else report.to_wire()
    if app.out.form != "table":
        app.out.value(wire)
        return
    names = ("id", "name", "status", "detail")
    rows = [[check[name] for name in names] for check in wire["checks"]]
    app.out.rows(wire, ("check", "name", "status", "detail"), rows)
    app.out.line(f"verdict {wire['verdict']}: {root}")


def print_profile(app: App, found: Wire) -> None:
    """A profile as the document that `create` and `update` take."""
    if app.out.form == "table":
        app.out.document(dict(found))
    else:
        app.out.value(found)


def brief(selectors: Wire) -> str:
    """Selectors in a line."""
    return " ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in selectors.items()) or "-"


def second(instant: str) -> str:
    """An instant for people, to whom seconds are enough."""
    found = timestamps.parse(instant)
    return instant if found is None else timestamps.render(found.replace(microsecond=0))
