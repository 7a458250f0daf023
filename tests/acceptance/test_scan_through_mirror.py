"""Stock Trivy takes its database and its VEX from the gateway, with credentials, and finds what is to be found."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_scan_with_vex import HUB, counted
from tests.support.gateways import PASSWORD, GatewayProcess, Setup, serving, write_users
from tests.support.gateways import until as seen_until
from tests.support.shared import require_shared
from tests.unit.cli.running import Stella, osv, package, until

TARGETS = "data/scan-targets"
QUIET = ("--skip-version-check", "--disable-telemetry", "--no-progress", "--quiet")


@contextmanager
def mirrored(stella: Stella, place: Path) -> Iterator[GatewayProcess]:
    """Everything that a data directory holds, published for two audiences and served to them."""
    for domain in ("primary", "community"):
        stella("mirror", "init", domain)
    stella("mirror", "publish", "--to", str(place / "mirror"))
    write_users(place / "mirror-primary.htpasswd", {"scanner": PASSWORD})
    write_users(place / "mirror-community.htpasswd", {"other": PASSWORD})
    with serving(Setup(place / "mirror", place)) as gateway:
        yield gateway


def trivy_with(
    trivy: Path, gateway: GatewayProcess, home: Path, *arguments: str, user: str = "scanner"
) -> subprocess.CompletedProcess[str]:
    """A run of Trivy that knows the gateway and nothing else; its cache is in `home`."""
    config = home / ".trivy" / "vex" / "repository.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    repository = {"name": "ours", "url": f"{gateway.url}/vex/primary", "username": user, "password": PASSWORD}
    config.write_text(json.dumps({"repositories": [{**repository, "enabled": True}]}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVY_")}
    told = {"HOME": str(home), "XDG_DATA_HOME": str(home), "TRIVY_USERNAME": user, "TRIVY_PASSWORD": PASSWORD}
    return subprocess.run(
        [str(trivy), *arguments, "--cache-dir", str(home / "cache"), *QUIET],
        env=kept | told, capture_output=True, text=True, check=False,
    )  # fmt: skip


def database(gateway: GatewayProcess, domain: str = "primary") -> tuple[str, str]:
    """Where Trivy finds its database."""
    return "--db-repository", f"{gateway.url.removeprefix('http://')}/{domain}/trivy-db"


def scanned(trivy: Path, gateway: GatewayProcess, home: Path, target: Path, *more: str) -> dict[str, Any]:
    """A report; whatever it needs comes from the gateway."""
    done = trivy_with(
        trivy, gateway, home, "fs", *database(gateway), "--skip-java-db-update", "--scanners", "vuln", "--format",
        "json", "--show-suppressed", *more, str(target),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def _document(statements: Mapping[str, str], product: str) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex", "author": "Acme",
        "timestamp": "2026-01-01T00:00:00Z", "version": 1,
        "statements": [
            {
                "vulnerability": {"name": name}, "products": [{"@id": product}], "status": status,
                "justification": "vulnerable_code_not_in_execute_path",
            }
            for name, status in statements.items()
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def small(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    place = tmp_path_factory.mktemp("small")
    stella = Stella(place / "data")
    advisories = {
        "one.json": osv(
            "GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("2.0.0")), aliases=["CVE-2026-1000"]
        ),
        "two.json": osv(
            "GHSA-bbbb-bbbb-bbbb", package("npm", "left", *until("3.0.0")), aliases=["CVE-2026-2000"]
        ),
    }
    for folder, files in (
        ("osv", advisories),
        ("vex", {"a.json": _document({"CVE-2026-2000": "not_affected"}, "pkg:npm/left@1.0.0")}),
    ):
        (place / folder).mkdir()
        for name, wire in files.items():
            (place / folder / name).write_text(json.dumps(wire))
    stella("concelier", "import", str(place / "osv"), "--source", "ghsa")
    stella("excititor", "import", str(place / "vex"), "--source", "acme")
    with mirrored(stella, place) as gateway:
        yield gateway


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    packages = {"": {"name": "app", "version": "1.0.0"}, "node_modules/left": {"version": "1.0.0"}}
    file = tmp_path / "app" / "package-lock.json"
    file.parent.mkdir()
    file.write_text(
        json.dumps({"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": packages})
    )
    return file.parent


def test_a_database_comes_with_the_domains_credentials(
    small: GatewayProcess, trivy: Path, tmp_path: Path, lock_file: Path
) -> None:
    assert counted(scanned(trivy, small, tmp_path, lock_file)) == (2, 0)
    wanted = {"path": "/v2/primary/trivy-db/manifests/2", "status": 200, "credential": "scanner"}
    seen_until(lambda: any(wanted.items() <= each.items() for each in small.accesses()))


def test_vex_comes_with_the_domains_credentials(
    small: GatewayProcess, trivy: Path, tmp_path: Path, lock_file: Path
) -> None:
    assert counted(scanned(trivy, small, tmp_path, lock_file, "--vex", "repo")) == (1, 1)


def test_other_credentials_bring_nothing(small: GatewayProcess, trivy: Path, tmp_path: Path) -> None:
    for user, domain in (("other", "primary"), ("scanner", "community"), ("nobody", "primary")):
        arguments = ("image", "--download-db-only", *database(small, domain))
        done = trivy_with(trivy, small, tmp_path / user, *arguments, user=user)
        assert done.returncode == 1, (user, domain)
        assert "UNAUTHORIZED" in done.stderr, done.stderr[-2000:]


@pytest.mark.slow
def test_real_targets_are_scanned_right_through_the_mirror(trivy: Path, tmp_path: Path) -> None:
    stella = Stella(tmp_path / "data")
    for source in ("govuln-osv", "pypa-osv", "ghsa-sample"):
        stella("concelier", "import", str(require_shared(f"data/advisories/{source}")), "--source", source)
    with tarfile.open(require_shared(f"{HUB}/data.tar.xz")) as archive:
        wanted = [each for each in archive if "golang/github.com/longhorn/" in each.name]
        archive.extractall(tmp_path / "hub", wanted, filter="data")
    stella("excititor", "import", str(tmp_path / "hub"), "--source", "rancher")
    longhorn = require_shared(f"{TARGETS}/longhorn-manager-v1.9.1")
    warehouse = tmp_path / "warehouse" / "requirements.txt"
    warehouse.parent.mkdir()
    warehouse.write_bytes(require_shared(f"{TARGETS}/warehouse-2021/requirements/main.txt").read_bytes())
    with mirrored(stella, tmp_path) as gateway:
        assert counted(scanned(trivy, gateway, tmp_path, longhorn)) == (37, 0)
        assert counted(scanned(trivy, gateway, tmp_path, longhorn, "--vex", "repo")) == (13, 24)
        assert counted(scanned(trivy, gateway, tmp_path, warehouse.parent)) == (77, 0)
