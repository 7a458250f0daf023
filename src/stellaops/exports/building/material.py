"""What every builder works from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from stellaops.exports.building.vex_verdicts import VexRows
from stellaops.exports.ports import JavaRows, RowSource, Selection, TrivyRows
from stellaops.exports.profile import Profile
from stellaops.findings import find
from stellaops.policy.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Material:
    """What a builder works from.

    Attributes:
        policy: the snapshot that is applied; the empty one where none is.
    """

    profile: Profile
    selection: Selection
    generated_at: datetime
    rows: RowSource
    trivy: TrivyRows
    java: JavaRows
    vex: VexRows
    findings: Callable[[Selection], find.Tools]
    policy: Snapshot
