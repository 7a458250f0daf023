"""Every run ends once, with the content of an undisturbed run, within every limit, whatever happens to workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.harness import Disturbed, Plan, Report
from tests.support import postgres
from tests.support.workers import service

SMALL = Plan(runs=6, workers=2, disturbances=2, seed=1, documents=60, seconds=120)
# With as many slots in each as all tenants together can fill, so that a takeover waits for nobody's end.
FULL_SQLITE = Plan(runs=50, workers=2, disturbances=12, seed=4, documents=600, slots=15, seconds=600)
FULL_POSTGRES = Plan(runs=50, workers=4, disturbances=20, seed=3, documents=400, slots=6, seconds=600)


def disturb(
    place: Path, plan: Plan, url: str | None = None, restart: Callable[[], None] | None = None
) -> Report:
    with service(place, url) as stella:
        disturbed = Disturbed(stella, plan, restart)
        report = disturbed.execute(disturbed.prepare())
    (place / "report.txt").write_text(report.line() + "\n" + "\n".join(report.problems))
    print(report.line())  # noqa: T201 - figures for whoever runs it with -s
    assert report.problems == [], report.line()
    assert sum(report.attempts.values()) == plan.runs
    return report


def disturb_on_postgres(place: Path, plan: Plan, down: float) -> Report:
    with postgres.restartable(max_connections="120") as database:
        database.server.run("CREATE DATABASE chaos")
        return disturb(place, plan, database.server.url("chaos"), lambda: database.restart(down))


def test_a_few_runs_survive_on_sqlite(tmp_path: Path) -> None:
    disturb(tmp_path, SMALL)


@pytest.mark.slow
def test_a_few_runs_survive_on_postgresql_with_a_restart(tmp_path: Path) -> None:
    report = disturb_on_postgres(tmp_path, SMALL, 1.0)
    assert report.restarts == 1


@pytest.mark.slow
def test_fifty_runs_of_three_tenants_survive_on_sqlite_with_two_workers(tmp_path: Path) -> None:
    report = disturb(tmp_path, FULL_SQLITE)
    assert report.killed + report.stopped > 3
    assert report.takeovers


@pytest.mark.slow
def test_fifty_runs_of_three_tenants_survive_on_postgresql_with_four_workers(tmp_path: Path) -> None:
    report = disturb_on_postgres(tmp_path, FULL_POSTGRES, 3.0)
    assert report.killed + report.stopped > 3
    assert report.restarts == 1
    assert report.takeovers
