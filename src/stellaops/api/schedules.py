"""The route of schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from starlette.responses import Response

from stellaops.api.forms import Form
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.bootstrap import now
from stellaops.center.schedules import schedules_of

_NEXT = "when workers run it next; null for a date that never comes"


class ScheduleForm(Form, frozen=True):
    """A profile that is run by itself."""

    profile: str
    schedule: str
    next_run_at: Annotated[datetime | None, msgspec.Meta(description=_NEXT)]


def schedules(call: Call) -> Response:
    """Every profile with a schedule."""
    return answer(Page(schedules_of(call.local, call.tenant, now())))


OPERATIONS = (
    Operation(
        "listSchedules", "GET", "/api/export/schedules", "Profiles that are run by themselves, and when next",
        schedules, "export:read", answers={200: Answer("The next one first", Page[ScheduleForm])},
    ),
)  # fmt: skip
