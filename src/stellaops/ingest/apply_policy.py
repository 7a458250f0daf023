"""Apply policy overlays: check all of them, then keep them as the tenant's evidence, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport, owned_source
from stellaops.ingest.ports import ImportStore, Inputs, Sources
from stellaops.policy.feed import PolicyFeed
from stellaops.policy.overlay import BadOverlay, Overlay, lint
from stellaops.policy.snapshot import duplicates

_FEED = PolicyFeed()


class Checked(Struct, frozen=True):
    """What is in some files, and everything that is wrong with them."""

    overlays: tuple[Overlay, ...]
    problems: tuple[str, ...]


def check(inputs: Inputs) -> Checked:
    """Read all overlays of some files: YAML and JSON, where every file must be one."""
    overlays: dict[str, tuple[str, Overlay]] = {}
    problems: list[str] = []
    for member in inputs.members():
        if member.problem:
            problems.append(f"{member.path}: {member.problem}")
        elif _FEED.may_hold_documents(member.path):
            overlay, wrong = lint(member.content, member.path)
            problems += wrong
            if overlay is not None and overlay.id in overlays:
                problems.append(
                    f"{member.path}: the name {overlay.id!r} is that of {overlays[overlay.id][0]} too"
                )
            elif overlay is not None:
                overlays[overlay.id] = member.path, overlay
    found = tuple(overlay for _, overlay in overlays.values())
    if not found and not problems:
        problems.append("no YAML or JSON file in the input")
    return Checked(found, (*problems, *duplicates(found)))


def apply_policy(
    tenant: str,
    inputs: Inputs,
    *,
    sources: Sources,
    store: ImportStore,
    now: Callable[[], datetime],
    prune: bool = False,
) -> ImportReport:
    """Make overlays the tenant's; each replaces the one of its name.

    Args:
        prune: the input is all that the tenant has: overlays that it lacks are gone.

    Raises:
        BadOverlay: with everything that is wrong; then nothing is applied.
    """
    checked = check(inputs)
    if checked.problems:
        raise BadOverlay(f"nothing is applied: {checked.problems[0]}", details=checked.problems)
    request = ImportRequest(owned_source(_FEED.name, tenant), _FEED.name, prune=prune, side=Side.POLICY)
    return import_documents(request, inputs, sources=sources, store=store, now=now)
