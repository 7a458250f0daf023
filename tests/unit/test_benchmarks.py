"""Every benchmark runs on a little input and says what it should; how fast it is, no test asks."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import documents
from tests.support.choosing import all_quick_but
from tests.support.tools import ROOT

_SMALL: dict[str, list[str]] = {
    "api": ["--seconds", "0.3", "--connections", "2", "--watchers", "5", "--bytes", "1000000"],
    "bolt_write": ["--top", "2", "--packages", "3", "--entries", "4"],
    "console": ["--documents", "60", "--records", "30"],
    "deltas": ["--documents", "60", "--share", "10"],
    "distribution_objects": ["--bytes", "3000000"],
    "distribution_oci": ["--bytes", "3000000"],
    "export_phases": ["--generated", "60"],
    "gateway": ["--seconds", "0.3", "--processes", "1", "--bytes", "3000000"],
    "import_osv": ["--documents", "60"],
    "java_db": ["--rows", "500"],
    "matching": ["--documents", "60"],
    "memory": ["--documents", "20"],
    "mirror_bundles": ["--documents", "60"],
    "mirror_sync": ["--files", "60", "--changed", "10"],
    "pull": ["--documents", "60", "--changed", "6"],
    "queue": ["--seconds", "1", "--rate", "5", "--workers", "1", "--tenants", "2"],
    "vex": ["--documents", "4"],
}


def _run(name: str, directory: Path) -> str:
    options = [*_SMALL[name], "--runs", "1", "--format", "json", "--directory", str(directory)]
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(directory.iterdir()) == [], "a benchmark cleans up"
    return done.stdout


def _api(result: dict[str, Any]) -> None:
    assert min(result["reads"][name]["perSecond"] for name in ("bare", "runs", "run", "healthz")) > 0
    assert result["reads"]["runs"]["p50ms"] < 35, (
        "answers wait for the caller's acknowledgement (TCP_NODELAY)"
    )
    assert result["download"]["ours"]["GBs"] > 0
    assert result["submissions"]["perSecond"] > 0
    assert result["watchers"]["lastOfAllMax"] < 10


def _java_db(result: dict[str, Any]) -> None:
    assert result["sameRows"]
    assert min(result[name]["rowsPerSecond"] for name in ("ours", "peer")) > 0


def _bolt_write(result: dict[str, Any]) -> None:
    assert result["ours"]["entriesPerSecond"] > 0
    assert result.get("sameContent", True)


def _import_osv(result: dict[str, Any]) -> None:
    assert set(result["kinds"]) == {"read", "documents", "projections", "peer"}
    assert result["projectionRows"]["rows"] > result["documents"] == 60
    assert result["kinds"]["documents"]["perSecond"] > 0
    assert all(row["bytesEach"] > 1000 for row in result["sources"].values())


def _export_phases(result: dict[str, Any]) -> None:
    assert result["documents"] == 60
    assert result["kinds"]["json:raw"]["peer"]["bytes"] > 0
    for kind in result["kinds"].values():
        assert list(kind["phases"]) == [
            "plan",
            "collect",
            "build",
            "sign",
            "verify",
            "smoke",
            "store",
            "publish",
        ]
        assert kind["phases"]["build"] > 0


def _memory(result: dict[str, Any]) -> None:
    assert [size["documents"] for size in result["sizes"]] == [20, 80]
    assert set(result["ratios"]) == {"import", "again", "json:raw", "trivy:db"}
    assert all(peaks["own"] > 0 for size in result["sizes"] for peaks in size["steps"].values())


def _mirror_bundles(result: dict[str, Any]) -> None:
    assert result["documents"] == 60
    assert result["verify"]["verdicts"] == ["ok"]
    for part in (result["full"], result["verify"]):
        assert part["peer"] > 0
        assert part["memory"] > 0


def _mirror_sync(result: dict[str, Any]) -> None:
    assert (result["files"], result["changed"]) == (60, 10)
    for source in ("bucket", "directory"):
        for step in ("first", "changed", "again"):
            assert min(result[source][step]["seconds"][name] for name in ("ours", "rclone")) > 0


def _pull(result: dict[str, Any]) -> None:
    kinds = result["kinds"]
    assert [kinds[kind]["documents"] for kind in ("import", "first", "changed", "again")] == [60, 60, 6, 0]
    assert kinds["again"]["bytes"] == 0


def _vex(result: dict[str, Any]) -> None:
    assert result["documents"] == 4
    assert result["states"] > 0
    assert set(result["seconds"]) == {"import", "consensus", "changed median", "changed largest"}


def _matching(result: dict[str, Any]) -> None:
    assert result["documents"] == 60
    assert result["sameFindings"]
    assert 0 < result["medianSeconds"] <= result["firstSeconds"] * 10
    assert result["findings"] > 0


def _queue(result: dict[str, Any]) -> None:
    assert result["ours"]["count"] == result["bare"]["count"] == 5
    assert 0 < result["ours"]["median"] <= result["ours"]["max"]


def _deltas(result: dict[str, Any]) -> None:
    assert (result["documents"], result["changed"]) == (60, 6)
    assert 0 < result["delta"]["bytes"] < result["full"]["bytes"]
    assert min(result[name]["seconds"] for name in ("delta", "full", "apply", "restore")) > 0


def _distribution_objects(result: dict[str, Any]) -> None:
    assert result["bytes"] == 3_000_000
    for verb in ("push", "pull"):
        assert {"ours", "rclone"} <= result[verb]["seconds"].keys()
        assert min(result[verb]["seconds"].values()) > 0
        assert 0 < result[verb]["memory"] < 200 << 20


def _distribution_oci(result: dict[str, Any]) -> None:
    assert result["bytes"] == 3_000_000
    for verb in ("push", "pull"):
        assert min(result[verb][name]["seconds"] for name in ("ours", "skopeo")) > 0
        assert result[verb]["memory"] > 0


def _gateway(result: dict[str, Any]) -> None:
    for case in ("small", "not modified", "large"):
        assert min(result["cases"][case][name] for name in ("ours", "nginx", "ratioByCpu")) > 0
    for case in ("small", "not modified"):
        assert min(result["proxied"]["nginx"][case][name] for name in ("ours", "nginx", "ratioByCpu")) > 0


def _console(result: dict[str, Any]) -> None:
    assert result["slowest"] in result["pages"]
    assert {"overview", "run", "advisory", "mirrors"} <= set(result["pages"])
    assert all(0 < each["median"] <= each["max"] for each in result["pages"].values())


_SAYS: dict[str, Callable[[dict[str, Any]], None]] = {
    "api": _api,
    "bolt_write": _bolt_write,
    "console": _console,
    "deltas": _deltas,
    "distribution_objects": _distribution_objects,
    "distribution_oci": _distribution_oci,
    "export_phases": _export_phases,
    "gateway": _gateway,
    "import_osv": _import_osv,
    "java_db": _java_db,
    "matching": _matching,
    "memory": _memory,
    "mirror_bundles": _mirror_bundles,
    "mirror_sync": _mirror_sync,
    "pull": _pull,
    "queue": _queue,
    "vex": _vex,
}


def test_no_benchmark_that_make_bench_runs_is_forgotten_here() -> None:
    runnable = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}

    assert runnable == set(_SMALL) == set(_SAYS)


_LONG = ("api", "distribution_objects", "export_phases", "gateway", "import_osv", "memory", "queue")
"""They start servers or many processes, however little there is to measure."""


@pytest.mark.parametrize("name", all_quick_but(_SMALL, _LONG))
def test_a_benchmark_runs_on_little_input_and_reports_for_programs_and_people(
    name: str, tmp_path: Path
) -> None:
    result: dict[str, Any] = json.loads(_run(name, tmp_path))

    _SAYS[name](result)
    first, *rows = importlib.import_module(f"benchmarks.{name}").table(result).splitlines()
    assert "load average" in first
    assert len(rows) >= 3


def test_generated_documents_are_the_same_every_time_and_all_different() -> None:
    once = list(documents.documents(300))

    assert once == list(documents.documents(300))
    assert once[:100] == list(documents.documents(100))
    assert len({path for path, _ in once}) == 300
    assert 2000 < sum(len(content) for _, content in once) / 300 < 4500
