"""`stella concelier pull` and `sources` as users meet them: reports, exit codes, egress, several workers at once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.importing import COMMAND, environment, failed, imported, is_sound, state, stella
from tests.acceptance.pulling import add_bucket, concelier, process, pulled, start
from tests.contract.stores import osv
from tests.support import osv_bucket
from tests.support.web import Answer, Upstream, serving

NAMES = {"npm": "GHSA-aaaa-bbbb", "Go": "GO-2024", "PyPI": "PYSEC-2024", "crates.io": "RUSTSEC-2024"}
DOCUMENTS = {
    folder: {f"{name}-{number:04}": osv(f"{name}-{number:04}") for number in range(300)}
    for folder, name in NAMES.items()
}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving(osv_bucket.files(DOCUMENTS)) as server:
        yield server


def test_a_pull_reports_what_an_import_reports_and_what_it_fetched(
    upstream: Upstream, tmp_path: Path
) -> None:
    add_bucket(tmp_path / "pulled", "npm", upstream.url, "npm")
    report = pulled(tmp_path / "pulled", "npm")
    copy = osv_bucket.on_disk(tmp_path / "copy", {"npm": DOCUMENTS["npm"]})
    same = imported(tmp_path / "imported", copy, "--source", "npm")
    assert same.items() <= report.items()
    assert (report["fetched"], report["attempts"], report["error"], report["nextAttemptAt"]) == (
        1,
        2,
        None,
        None,
    )
    assert state(tmp_path / "pulled") == state(tmp_path / "imported")
    (line,) = stella(tmp_path / "pulled", "concelier", "sources", "list", "--enabled").value
    assert (line["source"], line["state"], line["failures"]) == ("npm", "ok", 0)


def test_one_source_that_fails_is_named_and_the_others_are_pulled(upstream: Upstream, tmp_path: Path) -> None:
    for folder in NAMES:
        add_bucket(tmp_path, folder, upstream.url, folder)
    upstream.misbehave = lambda request: (
        Answer(503, {"Retry-After": "3600"}) if request.path.startswith("/Go/") else None
    )
    answer = concelier(tmp_path, "pull", "--all")
    assert answer.code == 10
    assert "ERR_PULL_FAILED" in answer.err
    assert "Go: ERR_PULL_SERVER" in answer.err
    states = {report["source"]: report["state"] for report in answer.value}
    assert states == dict.fromkeys(NAMES, "ok") | {"Go": "failed"}
    upstream.misbehave = lambda request: None
    upstream.forget()
    answer = process(tmp_path, "pull", "Go")  # another process: the rest is in the store
    assert (answer.code, answer.value[0]["state"], upstream.asked()) == (10, "waiting", 0)
    assert answer.value[0]["nextAttemptAt"] is not None
    pulled(tmp_path, "Go", "--now")
    assert concelier(tmp_path, "pull", "--all").code == 0


@pytest.mark.slow
def test_four_workers_at_once_come_to_what_one_comes_to(upstream: Upstream, tmp_path: Path) -> None:
    for data in (tmp_path / "four", tmp_path / "one"):
        for folder in NAMES:
            add_bucket(data, folder, upstream.url, folder)
    running = [start(tmp_path / "four", "pull", folder) for folder in NAMES]
    for each in running:
        with each:
            _, err = each.communicate(timeout=120)
            assert each.returncode == 0, err
    assert concelier(tmp_path / "one", "pull", "--all").code == 0
    four, one = state(tmp_path / "four"), state(tmp_path / "one")
    assert (four[:3], four[3]) == (one[:3], one[3])
    assert is_sound(tmp_path / "four")


def test_without_permission_nothing_inside_is_fetched(upstream: Upstream, tmp_path: Path) -> None:
    add_bucket(tmp_path, "npm", upstream.url, "npm")
    refused = concelier(tmp_path, "pull", "npm", STELLA_EGRESS_ALLOW_PRIVATE="10.0.0.0/8")
    assert (refused.code, refused.value[0]["error"]["code"]) == (3, "ERR_EGRESS_ADDRESS")
    plain = concelier(tmp_path, "pull", "npm", "--now", STELLA_EGRESS_ALLOW_HTTP="other.test")
    assert (plain.code, plain.value[0]["error"]["code"]) == (3, "ERR_EGRESS_SCHEME")
    offline = concelier(tmp_path, "pull", "npm", "--now", STELLA_OFFLINE="true")
    assert (offline.code, offline.value[0]["error"]["code"]) == (5, "ERR_EGRESS_OFFLINE")
    assert upstream.asked() == 0


def test_sources_are_added_switched_and_removed(tmp_path: Path) -> None:
    answer = concelier(
        tmp_path, "sources", "add", "kev", "--url", "https://example.org/kev.json", "--every", "6h"
    )
    assert (answer.code, answer.value["enabled"], answer.value["every"]) == (0, True, "6h")
    failed(
        concelier(tmp_path, "sources", "add", "kev", "--url", "https://example.org/x.json"),
        2,
        "ERR_SOURCE_DEFINED",
    )
    failed(concelier(tmp_path, "pull", "no-such"), 4, "ERR_SOURCE_NOT_DEFINED")
    failed(concelier(tmp_path, "pull"), 2, "ERR_INVALID_INPUT")
    failed(
        concelier(tmp_path, "sources", "add", "x", "--url", "https://u:secret@example.org/"),
        2,
        "ERR_EGRESS_URL",
    )
    (line,) = concelier(tmp_path, "sources", "disable", "kev").value
    assert line["enabled"] is False
    assert concelier(tmp_path, "pull", "--all").value == []
    assert concelier(tmp_path, "sources", "enable", "osv-pypa").value[0]["enabled"]
    listed = {line["source"]: line for line in concelier(tmp_path, "sources", "list").value}
    assert listed["osv-pypa"]["tried"] is False
    assert listed["osv-pypa"]["nextPullAt"] is not None
    assert concelier(tmp_path, "sources", "remove", "kev").code == 0
    failed(concelier(tmp_path, "sources", "show", "kev"), 4, "ERR_SOURCE_NOT_DEFINED")


def test_what_config_show_prints_has_no_credentials_of_a_proxy(tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text(
        "egress:\n  proxy: http://somebody:secret@proxy.test:3128\n  allowPrivate: [10.0.0.0/8, 127.0.0.0/8]\n"
    )
    done = subprocess.run(
        [*COMMAND, "--format", "json", "config", "show"], capture_output=True, text=True, check=True,
        env=environment() | {"STELLA_CONFIG": str(settings)},
    )  # fmt: skip
    shown = json.loads(done.stdout)["settings"]
    assert shown["egress.proxy"]["value"] == "http://***@proxy.test:3128"
    assert shown["egress.allowPrivate"]["value"] == "10.0.0.0/8,127.0.0.0/8"
    assert ":secret" not in done.stdout
