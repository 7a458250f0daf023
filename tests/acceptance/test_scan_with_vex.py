"""Stock Trivy on longhorn-manager v1.9.1 with our database and our VEX: 37 findings, of which VEX leaves 13."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.support.shared import require_shared
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import OFFLINE, once, scan

TARGET = "data/scan-targets/longhorn-manager-v1.9.1"
PRODUCT = "pkg:golang/github.com/longhorn/longhorn-manager"
HUB = "data/vex/rancher-vexhub"


def counted(report: dict[str, Any]) -> tuple[int, int]:
    """Findings that are open, and those that VEX suppresses."""
    results = report.get("Results") or ()
    return (
        sum(len(result.get("Vulnerabilities") or ()) for result in results),
        sum(len(result.get("ExperimentalModifiedFindings") or ()) for result in results),
    )


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella("concelier", "import", str(require_shared("data/advisories/govuln-osv")), "--source", "govuln")
    # The hub's documents about one product: what Trivy asks for. The whole hub is the slow test below.
    with tarfile.open(require_shared(f"{HUB}/data.tar.xz")) as archive:
        wanted = [each for each in archive if "golang/github.com/longhorn/" in each.name]
        archive.extractall(place / "hub", wanted, filter="data")
    stella("excititor", "import", str(place / "hub"), "--source", "rancher")
    run = stella.submit("trivy:db")
    bundle = stella.bundle(run) / "trivy" / "db.bundle"
    stella("trivy", "import", str(bundle), "--cache-dir", str(place / "cache"))


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for path in (TARGET, f"{HUB}/data.tar.xz", "data/advisories/govuln-osv/all.zip"):
        require_shared(path)
    return once(tmp_path_factory, "scanned-with-vex", prepare)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server on loopback: its URL, and the requests that it answered."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            asked.append(f"{self.command} {self.path}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def scan_with_repository(trivy: Path, cache: Path, target: Path, home: Path, url: str) -> dict[str, Any]:
    """A scan that fetches a VEX repository; all else is offline."""
    config = home / ".trivy" / "vex" / "repository.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"repositories:\n  - {{name: ours, url: '{url}', enabled: true}}\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVY_")}
    done = subprocess.run(
        [
            str(trivy), "fs", "--cache-dir", str(cache), *OFFLINE, "--scanners", "vuln", "--vex", "repo",
            "--show-suppressed", str(target),
        ],
        env=kept | {"HOME": str(home), "XDG_DATA_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def copied(made: Path, tmp_path: Path) -> Path:
    """A cache of one's own: Trivy keeps what it fetches of repositories in it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "db").symlink_to(made / "cache" / "db")
    return cache


def test_without_vex_there_are_37_findings(made: Path, trivy: Path, no_network: tuple[str, ...]) -> None:
    report = scan(no_network, trivy, made / "cache", require_shared(TARGET), "--show-suppressed")
    assert counted(report) == (37, 0)


@pytest.mark.parametrize("kind", ["openvex", "csaf"])
def test_our_documents_leave_13_of_37_findings(
    kind: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / f"vex.{kind}.json"
    Stella(made / "data")("excititor", "export", "--kind", kind, "--to", str(file))
    more = ("--vex", str(file), "--show-suppressed")
    assert counted(scan(no_network, trivy, made / "cache", require_shared(TARGET), *more)) == (13, 24)


def test_our_repository_leaves_13_of_37_findings_and_a_newer_archive_is_taken(
    made: Path, trivy: Path, tmp_path: Path
) -> None:
    root, target, cache = tmp_path / "srv", require_shared(TARGET), copied(made, tmp_path)
    export = (
        "excititor",
        "export",
        "--kind",
        "vex-repository",
        "--to",
        str(root),
        "--update-interval",
        "1ms",
    )
    with served(root) as (url, asked):
        stella = Stella(made / "data")
        stella(*export, "--base-url", url, "--snapshot", str(_with_one_document_less(stella)))
        earlier = counted(scan_with_repository(trivy, cache, target, tmp_path / "home", url))
        stella(*export, "--base-url", url)
        assert counted(scan_with_repository(trivy, cache, target, tmp_path / "home", url)) == (13, 24)
    assert earlier == (37, 0)
    assert sum(line == "GET /.well-known/vex-repository.json" for line in asked) == 1


def _with_one_document_less(stella: Stella) -> int:
    """The sequence before the product's document came."""
    key = "pkg/golang/github.com/longhorn/longhorn-manager/scan.openvex.json"
    return int(stella("excititor", "show", key)[0]["sequence"]) - 1


def test_our_cyclonedx_about_a_bill_and_our_findings_agree(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    bill = tmp_path / "longhorn.cdx.json"
    listed = (*OFFLINE[:-1], "cyclonedx", "--output", str(bill))
    subprocess.run(
        [
            *no_network,
            str(trivy),
            "fs",
            "--cache-dir",
            str(made / "cache"),
            *listed,
            str(require_shared(TARGET)),
        ],
        check=True,
        capture_output=True,
    )
    stella, file = Stella(made / "data"), tmp_path / "vex.cdx.json"
    words = ("excititor", "export", "--kind", "cyclonedx", "--product", PRODUCT, "--sbom", str(bill))
    stella(*words, "--to", str(file))
    report = scan(no_network, trivy, made / "cache", bill, "--vex", str(file), "--show-suppressed")
    assert counted(report) == (13, 24)
    stella.of_tenant("longhorn")("evidence", "sbom", "import", str(bill))
    run = stella.of_tenant("longhorn").submit("json:policy")
    packed = (stella.bundle(run) / "data" / "policy" / "evaluations.jsonl.zst").read_bytes()
    found = [json.loads(line)["finding"] for line in zstd.decompress(packed).splitlines()]
    listed_open = {
        (each["PkgName"], each["VulnerabilityID"])
        for result in report["Results"]
        for each in result.get("Vulnerabilities") or ()
    }
    assert {
        (each["name"], each["vulnerability"]) for each in found if each["status"] == "open"
    } == listed_open
    assert len(found) == 37


@pytest.mark.slow
def test_the_repository_of_a_whole_hub_leaves_13_of_37_findings(
    made: Path, trivy: Path, tmp_path: Path
) -> None:
    stella, root = Stella(tmp_path / "data"), tmp_path / "srv"
    taken = stella("excititor", "import", str(require_shared(HUB)), "--source", "rancher-vexhub")
    assert taken["statements"] == 296_659
    with served(root) as (url, _):
        report = stella(
            "excititor", "export", "--kind", "vex-repository", "--to", str(root), "--base-url", url
        )
        assert (report["packages"], report["leftOut"]) == (1117, 0)
        cache = copied(made, tmp_path)
        found = scan_with_repository(trivy, cache, require_shared(TARGET), tmp_path / "home", url)
    assert counted(found) == (13, 24)
