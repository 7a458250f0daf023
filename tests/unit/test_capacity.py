"""The model of capacity: fed by what was measured, told as the page tells it, and right about what must hold."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.tools import ROOT
from tools import capacity
from tools.capacity import Demand, Figure

PAGE = (ROOT / "docs" / "operate" / "capacity.md").read_text(encoding="utf-8")
FIGURES = {name: value for name, value in vars(capacity).items() if isinstance(value, Figure)}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_each_figure_stands_in_the_page_of_performance(name: str) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert " ".join(FIGURES[name].measured.split()) in " ".join(page.split())


def test_the_page_shows_what_the_model_says() -> None:
    assert capacity.table(capacity.SHOWN) in PAGE
    assert capacity.table(capacity.SMALLER) in PAGE


def test_an_archive_of_a_million_documents_is_as_large_as_measured() -> None:
    found = capacity.capacity(Demand(receivers=0, deltas_per_day=0, changed=0, trivy_per_day=0))
    assert found.least_stored == pytest.approx(684e6 + 1e6 * capacity.BYTES_OF_TRIVY.value, rel=0.01)


def test_what_grows_with_tenants_and_what_does_not() -> None:
    one, hundred = (capacity.capacity(Demand(tenants=number)) for number in (1, 100))
    assert hundred.evidence == one.evidence
    assert hundred.staging == one.staging
    for name in ("runs_a_day", "least_stored", "stored", "egress_a_day"):
        assert getattr(hundred, name) == pytest.approx(100 * getattr(one, name))


def test_slots_are_enough_for_the_work_and_one_full_run_at_least() -> None:
    small = capacity.capacity(Demand(documents=1000))
    assert small.slots == 3
    much = Demand(tenants=1000, busy=0.5)
    found = capacity.capacity(much)
    assert found.workers * capacity.SLOTS_OF_WORKER >= found.slots
    assert capacity.capacity(replace(much, busy=1.0)).slots == pytest.approx(found.slots / 2)


def test_the_last_deltas_stay_whatever_retention_says() -> None:
    short = capacity.capacity(Demand(kept_days=0, kept_trivy=1))
    assert short.stored == pytest.approx(short.least_stored)


def test_a_demand_can_be_told_on_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "tools/capacity.py", "--tenants", "40", "--documents", "300000", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    expected = capacity.capacity(Demand(tenants=40, documents=300_000))
    assert (found["tenants"], found["workers"], found["stored"]) == (40, expected.workers, expected.stored)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--documents", "-5"), "--documents: a number from 1 to 1e+12 is needed, not -5"),
        (("--busy", "0", "--changed", "2"), "--changed: a number from 0 to 1"),
        (("--window", "0"), "--window: a number from 0.1 to 24"),
        (("--busy", "nan"), "--busy: a number from"),
        (("--receivers", "-1"), "--receivers: a number from 0"),
    ],
)
def test_a_demand_that_cannot_be_is_refused(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["capacity.py", *words])
    with pytest.raises(SystemExit) as ended:
        capacity.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
