"""Freshness statements: signed, in force, renewed."""

from __future__ import annotations

from stellaops.bundles import freshness
from stellaops.bundles.freshness import CADENCES, BadFreshness
from stellaops.mirrors import forms
from stellaops.mirrors.checks.ports import Question
from stellaops.mirrors.checks.visit import Visit
from stellaops.mirrors.domain import Side
from stellaops.mirrors.signed_files import SIG


def judge_freshness(visit: Visit, side: Side, export: str) -> None:
    """Judge the statement of a side.

    Args:
        export: that the index names.
    """
    path = f"/{side}/exports/{forms.FRESHNESS}/{visit.domain}.json"
    file = visit.whole(path)
    if not visit.notes.demand(
        "freshness-signed", file.seen.status == 200, f"{path} answers {file.seen.status}"
    ):
        return
    visit.signed("freshness-signed", path, file, (SIG,))
    try:
        told = freshness.parse(file.seen.body)
    except BadFreshness as error:
        visit.notes.demand("freshness-signed", False, f"{path}: {error.what}")
        return
    demand, profile = visit.notes.demand, forms.freshness_profile(side, visit.domain)
    demand("freshness-signed", told.profile == profile, f"{path} is about {told.profile[:100]}")
    demand("freshness-holds", told.expires > visit.now, f"{path} expired at {told.expires}")
    if told.export_id != export:  # caches keep the index for a minute
        place = f"/{side}/exports/{told.export_id}/{forms.place(visit.domain)}/{forms.TREE}"
        served = visit.ask(Question(place, method="HEAD")).status
        demand(
            "freshness-holds", served == 200, f"{path} states {told.export_id}, and {place} answers {served}"
        )
    else:
        demand("freshness-holds", True, "")
    age, third = visit.now - told.issued, (told.expires - told.issued) / CADENCES
    demand("freshness-recent", age <= third, f"{path} is {age} old, and was to be renewed after {third}")
