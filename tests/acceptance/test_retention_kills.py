"""`stella export retention run`, killed with SIGKILL while it removes: what stays is whole, the next pass goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.adapters.sql.retention_schema import evidence_removal
from stellaops.adapters.sql.schema import revision
from stellaops.exports.retention.rules import holds_bundle
from stellaops.ingest.doctor import Verdict, check_rows
from tests.unit.cli.running import PROCESS
from tests.unit.exports.retaining import TENANT, Keeper, document

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
RUNS = 12


def begun(keeper: Keeper) -> subprocess.Popen[bytes]:
    variables = {
        "STELLA_CONFIG": str(keeper.directory / "none.yaml"),
        "STELLA_DATA_DIR": str(keeper.directory / "data"),
        "EXPORTCENTER__RETENTION__JSON__MODE": "count",
        "EXPORTCENTER__RETENTION__JSON__VALUE": "1",
    }
    command = (*PROCESS, "export", "retention", "run", "--every-tenant")
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE)


def done(keeper: Keeper) -> int:
    """How much of a pass has happened: records that were changed, and revisions that are gone."""
    runs = keeper.local.runs.list(TENANT)
    changed = sum(run.expired is not None for run in runs) + sum(run.removed_at is not None for run in runs)
    with reading(keeper.local.evidence_engine) as connection:
        gone = connection.execute(select(func.count()).select_from(evidence_removal)).scalar_one()
        left = connection.execute(select(func.count()).select_from(revision)).scalar_one()
    return changed + gone + (10_000 - left)


def killed_at(keeper: Keeper, more: int) -> bool:
    """Kill a pass when so much of it has happened; False where it ended before that."""
    before = done(keeper)
    process = begun(keeper)
    while process.poll() is None:
        if done(keeper) >= before + more:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("more", [3, 14])
def test_a_pass_that_is_killed_leaves_what_stays_whole(tmp_path: Path, more: int) -> None:
    keeper = Keeper(tmp_path)
    keeper.take(*(document(number) for number in range(1, 40)))
    runs = []
    for day in range(RUNS):
        keeper.day = day
        keeper.take(*(document(number, summary=f"Of day {day}") for number in range(1, 20)))
        runs.append(keeper.make())
    keeper.local.retention_tools.evidence.mark(LONG_AGO)
    newest = runs[-1]
    kills = 0
    while killed_at(keeper, more) and kills < 100:
        kills += 1
        assert keeper.is_there(newest)
        assert all(keeper.is_there(run) for run in keeper.local.runs.list(TENANT) if holds_bundle(run))
        assert keeper.snapshot(newest) == newest.snapshot
        assert check_rows(SqlInspection(keeper.local.evidence_engine))[0].verdict is Verdict.OK
    assert kills > 0, "it was killed in the middle of it"
    assert keeper.kept() == [newest.id]
    assert keeper.local.evidence.floor() == newest.sequence
    assert keeper.snapshot(newest) == newest.snapshot
    assert all(
        finding.verdict is Verdict.OK for finding in check_rows(SqlInspection(keeper.local.evidence_engine))
    )
