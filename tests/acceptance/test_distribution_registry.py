"""From an import to a scan: the command line brings a database to a registry, and stock Trivy gets it from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.oci import registry as clients
from tests.support import registry as registries
from tests.support.registry import Registry
from tests.support.tools import require
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import Finding, findings

LOCK = {"lockfileVersion": 3, "name": "shop", "packages": {"node_modules/left": {"version": "1.0.0"}}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    require("trivy")
    folder = tmp_path_factory.mktemp("registry")
    with registries.serving(folder, tls=True, users={"pusher": "the-word"}) as found:
        yield found


@dataclass
class Shop:
    """An installation whose profile `nightly` is brought to a registry, and somebody who scans with what is there."""

    stella: Stella
    folder: Path
    registry: Registry
    fed: int = 0

    def feed(self) -> str:
        """One vulnerability more; its id."""
        self.fed += 1
        found = f"CVE-2026-{self.fed:04d}"
        affected = package("npm", "left", *until("2.0.0"))
        self.stella.take(
            self.folder / "feed", "demo", osv(f"GHSA-2222-2222-222{self.fed + 1}", affected, aliases=[found])
        )
        return found

    def submit(self) -> Any:
        """Run the profile, whatever comes of it."""
        self.stella.ask("export", "run", "submit", "--profile", "nightly")
        (found,) = self.stella("export", "run", "list", "--latest")
        return self.stella("export", "run", "show", found["runId"])

    def scanned(self, cache: str) -> set[str]:
        """What stock Trivy finds with what the registry has as version 2."""
        environment = {
            "SSL_CERT_FILE": str(self.registry.ca_file),
            "TRIVY_USERNAME": "pusher",
            "TRIVY_PASSWORD": "the-word",
            "HOME": str(self.folder),
        }
        (self.folder / "shop").mkdir(exist_ok=True)
        (self.folder / "shop" / "package-lock.json").write_text(json.dumps(LOCK), encoding="utf-8")
        done = registries.run(
            "trivy", "fs", "--db-repository", f"{self.registry.host}/{self.folder.name}/default/nightly:2",
            "--cache-dir", self.folder / cache, "--skip-version-check", "--disable-telemetry", "--scanners", "vuln",
            "--skip-java-db-update", "--quiet", "--format", "json", self.folder / "shop", environment=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = findings(json.loads(done.stdout))
        assert {Finding("left", "1.0.0", each.id) for each in found} == found
        return {each.id for each in found}


@pytest.fixture
def shop(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, value in {
        "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "TARGETS__OCI__REPOSITORY": f"{registry.host}/{tmp_path.name}/{{tenant}}",
        "TARGETS__OCI__DOCKERCONFIGFILE": str(registry.logins(tmp_path / "docker.json")),
        "TARGETS__OCI__CAFILE": str(registry.ca_file),
    }.items():
        monkeypatch.setenv(name, value)
    # Pauses between tries are not waited.
    monkeypatch.setattr("stellaops.bootstrap.clock.sleep", lambda _: None)
    monkeypatch.setattr(clients, "_WAITS", (0.0, 0.0))
    made = Shop(Stella(tmp_path / "data"), tmp_path, registry)
    document = {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": "nightly"},
        "spec": {"kind": "trivy", "variant": "db", "smoke": "off", "distribution": ["http", "oci"]},
    }
    (tmp_path / "nightly.json").write_text(json.dumps(document), encoding="utf-8")
    made.stella("export", "profile", "create", str(tmp_path / "nightly.json"))
    return made


def oci(run: Any) -> Any:
    """What a run says of the target."""
    (found,) = (each for each in run["targets"] if each["target"] == "oci")
    return found


def test_a_registry_that_is_away_leaves_users_with_the_database_before_until_it_is_brought(
    shop: Shop, registry: Registry
) -> None:
    first = shop.feed()
    run = shop.submit()
    assert (run["status"], run["degraded"], oci(run)["status"]) == ("succeeded", False, "succeeded")
    assert shop.scanned("one") == {first}

    registry.kill()
    second = shop.feed()
    run = shop.submit()
    registry.start()
    assert (run["status"], run["degraded"]) == ("succeeded", True)
    assert (oci(run)["status"], oci(run)["errorCode"]) == ("failed", "ERR_EXPORT_DISTRIBUTION")
    assert shop.scanned("two") == {first}

    again = shop.stella("export", "distribute", run["runId"], "--target", "oci")
    assert (again["degraded"], oci(again)["status"], oci(again)["latest"]) == (False, "succeeded", True)
    assert shop.scanned("three") == {first, second}

    assert [each["status"] for each in shop.stella("export", "target", "verify", "oci")] == ["ok"]
    assert shop.stella("export", "target", "test", "oci")["status"] == "ok"


def test_a_login_that_has_ended_is_told_and_the_next_one_is_found_in_the_file(
    shop: Shop, registry: Registry
) -> None:
    shop.feed()
    registry.know({"pusher": "another-word"})
    try:
        run = shop.submit()
        assert (run["degraded"], oci(run)["errorCode"]) == (True, "ERR_OCI_REFUSED")
        assert "the-word" not in json.dumps(run)
        assert "401" in oci(run)["error"]
        registry.logins(shop.folder / "docker.json")
        assert oci(shop.stella("export", "distribute", run["runId"]))["status"] == "succeeded"
    finally:
        registry.know({"pusher": "the-word"})
