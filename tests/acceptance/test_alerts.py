"""Real Prometheus and Alertmanager on a running product: what goes wrong fires, reaches who is to be told, and ends."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import now
from stellaops.exports.profile import Target
from tests.support import api, faulty_server, gateways, registry, tools
from tests.support.alerting import Watch, watching
from tests.support.faulty_server import Faulty
from tests.support.workers import Service, service, wait_for
from tests.unit.cli.running import Answer, call
from tools.monitoring.rules import alerts
from tools.monitoring.settings import Bounds, Monitoring, Scrape

# A day is forty seconds here, and so on; the rules are made by the same code.
BOUNDS = Bounds(
    failure_window=40, verify_window=40, ready_for=2, retention_age=60, retention_for=1, slo_full=1, slo_delta=1,
    slo_push=1, slo_window=40, storage_for=1, mirror_lag=10, mirror_for=1, down_for=4,
)  # fmt: skip
_SCANNER = """#!/bin/sh
# Stock Trivy, slowly; or one that finds nothing.
if [ "$1" != --version ]; then
  if [ "$(cat {place}/trivy.does)" = nothing ]; then echo '{{}}'; exit 0; fi
  sleep 2
fi
exec {trivy} "$@"
"""
_PATIENCE = 150.0


@dataclass
class Plant:
    """A service, a mirror host and a registry, with what can go wrong with them."""

    place: Path
    service: Service
    far: Faulty

    def stella(self, words: str, code: int = 0) -> Answer:
        """A command on the service's data directory."""
        answer = call("--data-dir", str(self.place / "service" / "data"), *shlex.split(words))
        assert answer.code == code, answer
        return answer

    def scraper(self) -> str:
        """A client that may read metrics; its secret lies in a file."""
        command = "authority client create prometheus --for-tenant * --scope export:read --secret-file"
        self.stella(f"{command} {self.place / 'scraper.secret'}")
        return "prometheus"

    def ended(self, *profiles: str) -> list[str | None]:
        """Runs of profiles, by workers; the codes that they ended with."""
        runs = [self.service.submit(each) for each in profiles]
        return [self.service.ended(each, 120).error_code for each in runs]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    with ExitStack() as ends:
        hub = ends.enter_context(registry.serving(tmp_path / "registry"))
        far = ends.enter_context(faulty_server.before(hub.url))
        center = ends.enter_context(service(tmp_path / "service"))
        center.more = {
            "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
            "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
            "STELLA_CHORES_RETENTION_AT": "off",
            "STELLA_CHORES_VERIFY_AT": "off",
            "STELLA_NOTIFY_ATTEMPTS": "1",
            "STELLA_API_METRICS_FROM": "192.0.2.0/24",  # this machine is not among them: Prometheus logs in
            "TARGETS__FAR__DRIVER": "oci",
            "TARGETS__FAR__REPOSITORY": f"{far.url.removeprefix('http://')}/far/{{tenant}}",
            "TARGETS__FAR__PLAINHTTP": "true",
            "TARGETS__GONE__DRIVER": "oci",
            "TARGETS__GONE__REPOSITORY": f"127.0.0.1:{api.free_port()}/gone/{{tenant}}",
            "TARGETS__GONE__PLAINHTTP": "true",
        }
        for name, value in center.variables.items():
            monkeypatch.setenv(name, value)
        program = tmp_path / "service" / "trivy"
        program.write_text(_SCANNER.format(place=program.parent, trivy=tools.require("trivy")))
        center.trivy("slow")
        center.fill(10)
        for name, target in (("pushed", "far"), ("lost", "gone")):
            center.profile(name, distribution=[Target("oci", target)])
        center.profile("nobodys", selectors={"sources": ["nobody"]})
        center.profile("scanned", kind="trivy", variant="db", next_update="12h")
        for tenant in ("sealed", "small"):
            center.local.tenants.add(Tenant(tenant, created_at=now()))
        yield Plant(tmp_path, center, far)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[gateways.GatewayProcess]:
    """A mirror host that was never synced, and of whose sides one has no directory."""
    setup = gateways.Setup(tmp_path / "tree", tmp_path / "gateway", {
        "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": "",
        "CONCELIER__MIRROR__DOMAINS__1__ID": "",
    })  # fmt: skip
    (tmp_path / "tree" / "concelier").mkdir(parents=True)
    setup.place.mkdir()
    gateways.write_users(setup.place / "mirror-primary.htpasswd", {"edge": gateways.PASSWORD})
    with gateways.serving(setup) as found:
        yield found


def provoke(plant: Plant) -> None:
    """What can go wrong in a service."""
    plant.far.misbehave = lambda seen: time.sleep(0.4)
    secret = plant.place / "secret"
    secret.write_text("a long passphrase that is nowhere else")
    secret.chmod(0o600)
    plant.stella(
        "notify channel create away --kind webhook --set url=http://127.0.0.1:9/ --set secretRef=hook"
    )
    plant.stella("notify rule create failures --channel away --event run.failed")
    plant.stella(f"--tenant sealed authority key create --passphrase-file {secret}")
    plant.stella("--tenant sealed export run submit --profile json:raw", 10)
    plant.stella("--tenant small export run submit --profile json:raw")
    size = plant.stella("--tenant small export quotas --format json").value["storedBytes"]
    plant.stella(f"authority tenant set small --max-storage {size + 1}")
    assert set(plant.ended("nobodys", "nobodys", "nobodys", "nobodys")) == {"empty"}
    assert plant.ended("mirror:delta", "trivy:db", "pushed", "lost") == ["base_missing", None, None, None]
    plant.service.trivy("nothing")
    assert plant.ended("scanned") == ["verify"]
    plant.stella("export queue pause")
    for _ in range(11):
        plant.service.submit("json:raw")


def heal(plant: Plant, mirror: gateways.GatewayProcess) -> None:
    """Set right what does not end by itself when its window is over."""
    plant.stella("export queue resume")
    plant.stella("authority tenant set small --max-storage none")
    plant.stella("export retention run --every-tenant")
    plant.stella("mirror init primary --open")
    plant.stella(f"mirror publish --to {plant.place / 'tree'}")
    root = {"Excititor": {"Artifacts": {"Filesystem": {"Root": str(plant.place / "tree" / "excititor")}}}}
    (mirror.place / "config.yaml").write_text(yaml.safe_dump(root))


def missing(watch: Watch, names: set[str], status: str) -> set[str]:
    return {name for name in names if not watch.told(name, status)}


def until_told(watch: Watch, names: set[str], status: str) -> None:
    def lacking() -> str:
        told = [(each.name, each.status) for each in watch.notices]
        return f"not {status}: {missing(watch, names, status)}\n{told}\n{watch.log()}"

    wait_for(lambda: not missing(watch, names, status), _PATIENCE, lacking)


@pytest.mark.slow
def test_each_alert_fires_when_its_trouble_comes_reaches_its_receiver_and_ends_with_it(
    plant: Plant, mirror: gateways.GatewayProcess
) -> None:
    routes = {each.name: each.route for each in alerts(BOUNDS)}
    names = set(routes) - {"StellaOpsDown"}
    with api.serving(plant.service, "all") as center:
        login = {"client": plant.scraper(), "secretFile": str(plant.place / "scraper.secret")}
        scrapes = (
            Scrape("stellaops-api", (center.url.removeprefix("http://"),), login=login),
            Scrape("stellaops-mirror-gateway", (mirror.url.removeprefix("http://"),)),
        )
        wanted = Monitoring(BOUNDS, scrapes=scrapes, pace=2, group_wait=0.5, group_interval=1, repeat=3600)
        with watching(plant.place / "watch", wanted) as watch:
            wait_for(lambda: watch.ask("exporter_jobs_ready") != [], 30, watch.log)
            wait_for(lambda: watch.ask("mirror_export_root_configured") != [], 30, watch.log)
            provoke(plant)
            until_told(watch, names, "firing")
            assert {each.labels["aspect"] for each in watch.told("ExportCenterRunSlow", "firing")} == {"full"}
            heal(plant, mirror)
            until_told(watch, names, "resolved")

            mirror.process.send_signal(signal.SIGSTOP)
            until_told(watch, {"StellaOpsDown"}, "firing")
            mirror.process.send_signal(signal.SIGCONT)
            until_told(watch, {"StellaOpsDown"}, "resolved")
    assert {each.name: each.receiver for each in watch.notices} == routes
    assert all("<no value>" not in each.summary and "{{" not in each.summary for each in watch.notices)
