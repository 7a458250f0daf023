"""The Export Center's playbooks on real processes: a failed run, a closed tenant, lost workers; two tenants apart."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from stellaops.authority.audit import AuditFilter
from stellaops.exports.run import RunStatus
from tests.support import api
from tests.support.workers import Service, service, wait_for
from tests.unit.cli.running import PROCESS, Answer, call

SCOPES = (
    "export:profile:manage export:run export:read export:download concelier.ingest concelier.mirror.read "
    "excititor.ingest excititor.mirror.read policy:manage evidence:write"
)


@dataclass
class Client:
    """The command line of somebody who has nothing but an address and a secret."""

    home: Path
    url: str
    context: str

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLA_")}
        return kept | {"XDG_CONFIG_HOME": str(self.home / "config"), "XDG_DATA_HOME": str(self.home / "share"),
                       "STELLA_CONTEXT": self.context}  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROCESS, *words], env=self.variables, cwd=self.home, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, *words: str) -> Answer:
        """The command in this process, where it is over when this returns; the server's are real ones."""
        with patch.dict(os.environ, self.variables, clear=True), chdir(self.home):
            return call(*words)

    def __call__(self, *words: str) -> Any:
        answer = self.ask(*words)
        assert answer.code == 0, answer
        return answer.value

    def refused(self, code: int, error: str, *words: str) -> Answer:
        answer = self.ask(*words)
        assert (answer.code, f"error {error}: " in answer.err) == (code, True), answer
        return answer


@dataclass
class Center:
    """A whole service in real processes."""

    service: Service
    ends: ExitStack
    process: api.ApiProcess
    home: Path

    def operator(self) -> Client:
        secret = self.home / "admin.secret"
        if not secret.exists():
            done = self.here("authority", "bootstrap", "--secret-file", str(secret))
            assert done.returncode == 0, done.stderr
        return self.client("admin", secret, "admin")

    def here(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on the server's machine."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLA_")}
        return subprocess.run(
            [*PROCESS, *words], env=kept | self.service.variables, capture_output=True, text=True, check=False
        )

    def client(self, name: str, secret: Path, context: str, tenant: str | None = None) -> Client:
        """Somebody who logs in with a client's secret."""
        found = Client(self.home, self.process.url, "local")
        more = ("--for-tenant", tenant) if tenant else ()
        found(
            "config",
            "context",
            "add",
            context,
            found.url,
            "--client",
            name,
            "--secret-file",
            str(secret),
            *more,
        )
        return Client(self.home, self.process.url, context)

    def tenant(self, name: str) -> Client:
        """A new tenant with a client of its own."""
        operator, secret = self.operator(), self.home / f"{name}.secret"
        operator("authority", "tenant", "create", name)
        operator("authority", "client", "create", f"ci-{name}", "--scope", SCOPES, "--for-tenant", name,
                 "--secret-file", str(secret))  # fmt: skip
        return self.client(f"ci-{name}", secret, name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Center]]:
    """`start(part, …)` starts `stella serve PART` on a new data directory with some evidence."""
    with ExitStack() as ends:

        def begin(part: str = "all", *options: str, port: int | None = None) -> Center:
            found = ends.enter_context(service(tmp_path / "server"))
            found.fill(30)
            process = ends.enter_context(api.serving(found, part, *options, port=port))
            (tmp_path / "home").mkdir()
            return Center(found, ends, process, tmp_path / "home")

        yield begin


def profile(name: str, **spec: Any) -> str:
    return yaml.safe_dump(
        {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": name},
         "spec": {"kind": "json", "variant": "raw"} | spec}
    )  # fmt: skip


def write(place: Path, text: str) -> str:
    place.write_text(text, encoding="utf-8")
    return str(place)


def test_playbook_7_1_a_failed_run_is_replayed_or_corrected_in_a_clone_watched_and_pruned(
    start: Callable[..., Center],
) -> None:
    center = start()
    acme = center.tenant("acme")
    mistyped = write(center.home / "p.yaml", profile("nightly", selectors={"sources": ["mistyped"]}))
    acme("export", "profile", "create", mistyped)
    failed = acme.refused(
        2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "nightly", "--wait"
    ).value
    assert (failed["status"], failed["errorCode"]) == ("failed", "empty")

    # 1. identify the run and its cause; 2. the configuration was wrong: clone the profile and correct the clone
    shown = acme("export", "run", "show", failed["runId"])
    assert (shown["errorCode"], shown["selectors"]) == ("empty", {"sources": ["mistyped"]})
    acme.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "replay", failed["runId"], "--wait")
    acme("export", "profile", "clone", "nightly", "nightly-2")
    corrected = write(center.home / "p2.yaml", profile("nightly-2", selectors={"sources": ["ghsa"]}))
    acme("export", "profile", "update", corrected, "--reason", "the source was mistyped")
    history = acme("export", "profile", "history", "nightly-2")
    assert [(each["revision"], each["createdBy"]) for each in history] == [
        ("r1", "ci-acme"),
        ("r2", "ci-acme"),
    ]
    assert history[1]["reason"] == "the source was mistyped"

    # 3. resubmit, by the clone, or empty on purpose; 4. watch
    pending = acme("export", "run", "replay", failed["runId"], "--profile", "nightly-2")
    assert pending["replayOf"] == failed["runId"]
    good = acme("export", "run", "watch", pending["runId"])
    assert (good["status"], good["profile"], good["profileRevision"]) == ("succeeded", "nightly-2", "r2")
    empty = acme("export", "run", "replay", failed["runId"], "--allow-empty", "--wait")
    assert empty["status"] == "succeeded"
    assert empty["exportId"] != good["exportId"]

    # 5. prune what the failed run left; the good one is downloaded and verified without the server
    acme("export", "run", "delete", failed["runId"])
    acme.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "run", "show", failed["runId"])
    key = center.here("authority", "key", "export-public", "--tenant", "acme").stdout
    acme("export", "download", good["runId"], "--to", "bundle")
    alone = Client(center.home, "", "local")
    report = alone("export", "verify", "bundle", "--key", write(center.home / "acme.pub", key))
    assert (report["verdict"], report["exportId"]) == ("ok", good["exportId"])
    assert acme("export", "verify", good["runId"])["verdict"] == "ok"
    (center.home / "bundle" / "export.json").write_bytes(b"{}")
    assert alone.ask("export", "verify", "bundle", "--key", "acme.pub").code == 6
    actions = [each["action"] for each in _audit(center, "acme")]
    assert {"profile.created", "profile.changed", "run.submitted", "run.deleted"} <= set(actions)


def _audit(center: Center, tenant: str) -> list[dict[str, Any]]:
    found = center.service.local.audit.list([tenant], AuditFilter(), limit=100)
    return [each.to_wire() for each in found]


@pytest.mark.slow
def test_playbook_7_3_a_tenant_is_closed_while_keys_are_away_and_catches_up_before_others_afterwards(
    start: Callable[..., Center],
) -> None:
    center = start()
    acme, other, operator = center.tenant("acme"), center.tenant("other"), center.operator()
    submit = ("export", "run", "submit", "--profile", "json:raw")

    # 1. no more submissions of the tenant; others go on
    operator(
        "authority", "tenant", "set", "acme", "--max-active-runs", "0", "--reason", "key service is down"
    )
    acme.refused(10, "ERR_EXPORT_QUOTA", *submit)
    assert other(*submit, "--wait")["status"] == "succeeded"
    assert acme("export", "run", "list") == []

    # 3. afterwards: what was missed goes before what waits already
    operator("authority", "tenant", "set", "acme", "--max-active-runs", "1")
    operator("export", "queue", "pause")
    waiting = other(*submit, "--priority", "bulk")
    bulk = []
    for number in (1, 2):
        only = f"sources=ghsa,ids=GHSA-000{number}-ghsa-bbbb"
        bulk.append(acme(*submit, "--priority", "bulk", "--selectors", only))
    late = acme(*submit, "--selectors", "sources=ghsa", "--priority", "catch-up")
    assert (late["status"], late["priority"]) == ("pending", "catch-up")
    assert operator("export", "queue", "status") == {
        "paused": True,
        "ready": {"acme": 3, "other": 1},
        "running": {},
    }
    assert acme("export", "queue", "status")["ready"] == {"acme": 3}
    acme.refused(3, "ERR_OPERATOR_ONLY", "export", "queue", "resume")
    operator("export", "queue", "resume")
    caught_up = acme("export", "run", "watch", late["runId"])
    after = [acme("export", "run", "watch", each["runId"]) for each in bulk]
    last = other("export", "run", "watch", waiting["runId"])
    assert {caught_up["status"], last["status"], *(each["status"] for each in after)} == {"succeeded"}
    assert all(caught_up["startedAt"] < each["startedAt"] for each in after)


@pytest.mark.slow
def test_weekly_exercise_a_worker_is_scaled_to_zero_and_others_take_over_what_it_had(
    start: Callable[..., Center],
) -> None:
    center = start("api")
    acme, machine = center.tenant("acme"), center.service
    first = machine.worker()
    machine.trivy("hang")
    watching = acme.start("export", "run", "submit", "--profile", "trivy:db", "--wait")
    wait_for(lambda: bool(machine.hung_scanners()), 60, lambda: machine.logs)
    (running,) = acme("export", "run", "list", "--status", "running")
    at_work = [(each["id"], each["runs"]) for each in acme("export", "workers", "list")]
    assert at_work == [(first.id, [running["runId"]])]
    second = machine.worker()
    machine.trivy("none")
    began = time.monotonic()
    first.send(signal.SIGKILL)
    out, err = watching.communicate(timeout=120)
    assert watching.returncode == 0, err
    run = json.loads(out)
    assert (run["runId"], run["status"], run["attempt"]) == (running["runId"], "succeeded", 2)
    assert time.monotonic() - began < 60
    assert second.id in [each["id"] for each in acme("export", "workers", "list")]
    assert machine.hung_scanners() == []


def lasting_port() -> int:
    """A free port that no outgoing connection is given while the server is away."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port


def test_a_watcher_survives_a_restart_of_the_server(start: Callable[..., Center], tmp_path: Path) -> None:
    center = start("api", port=lasting_port())
    acme = center.tenant("acme")
    watching = acme.start("export", "run", "submit", "--profile", "json:raw", "--watch", "--format", "table")
    assert watching.stderr is not None
    first = watching.stderr.readline()
    port = int(center.process.url.rpartition(":")[2])
    assert center.process.stop(signal.SIGKILL) != 0
    time.sleep(1)
    center.ends.enter_context(api.serving(center.service, "api", port=port))
    center.service.worker()
    out, err = watching.communicate(timeout=120)
    assert watching.returncode == 0, err
    assert "succeeded" in out
    told = [line.split()[1] for line in [first, *err.splitlines()] if line.startswith("20")]
    assert (told[0], told[-1]) == ("pending", "succeeded")
    assert told.count("pending") == told.count("started") == told.count("succeeded") == 1


def test_two_tenants_cannot_see_or_touch_what_is_the_others(start: Callable[..., Center]) -> None:
    center = start()
    acme, other = center.tenant("acme"), center.tenant("other")
    run = acme("export", "run", "submit", "--profile", "json:raw", "--wait")
    acme("export", "profile", "clone", "json:raw", "mine")
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "app", "version": "1"}},
        "components": [
            {"type": "library", "name": "ghsa-1", "version": "1.0.0", "purl": "pkg:pypi/ghsa-1@1.0.0"}
        ],
    }
    sbom = write(center.home / "app.cdx.json", json.dumps(bill))
    assert acme("evidence", "sbom", "import", sbom)["added"] == 1
    assert acme("evidence", "findings")["open"] == 1
    broken = write(center.home / "broken.cdx.json", '{"bomFormat": "CycloneDX", "specVersion": "1.5"')
    assert acme("evidence", "sbom", "import", broken, sbom)["quarantined"] == 1
    (entry,) = acme("concelier", "quarantine", "list", "--source", "sboms@acme")
    assert other("concelier", "quarantine", "list", "--source", "sboms@acme") == []
    quarantine = ("concelier", "quarantine")
    other.refused(4, "ERR_QUARANTINE_NOT_FOUND", *quarantine, "show", str(entry["entry"]), "--raw")
    other.refused(4, "ERR_SOURCE_NOT_FOUND", *quarantine, "retry", "--source", "sboms@acme")
    for words in (
        ("run", "show"),
        ("run", "watch"),
        ("run", "cancel"),
        ("run", "replay"),
        ("run", "delete"),
        ("verify",),
    ):
        other.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", *words, run["runId"])
    other.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "download", run["runId"], "--to", "stolen")
    assert not (center.home / "stolen").exists()
    other.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "profile", "show", "mine")
    assert other("export", "run", "list") == []
    assert (other("evidence", "sbom", "list"), other("evidence", "findings")["open"]) == ([], 0)
    other.refused(3, "ERR_FOREIGN_TENANT", "export", "run", "list", "--tenant", "acme")
    other.refused(3, "ERR_SCOPE_MISSING", "authority", "tenant", "list")
    assert acme("export", "run", "show", run["runId"])["status"] == RunStatus.SUCCEEDED


def test_evidence_of_every_kind_goes_in_and_comes_out_over_the_network_as_it_does_here(
    start: Callable[..., Center], tmp_path: Path
) -> None:
    center = start()
    acme, home = center.tenant("acme"), center.home
    here = Client(home, "", "local")
    feed = home / "feed"
    (feed / "deep").mkdir(parents=True)
    for number in range(3):
        document = {"schema_version": "1.6.0", "id": f"PYSEC-2024-{number}", "modified": "2024-05-01T00:00:00Z",
                    "affected": [{"package": {"ecosystem": "PyPI", "name": f"p{number}"}}]}  # fmt: skip
        (feed / "deep" / f"{number}.json").write_text(json.dumps(document))
    (feed / "broken.json").write_text('{"id": ')
    imports = ("concelier", "import", "feed", "--source", "pypa")
    remote, local = acme(*imports), here(*imports)
    assert remote["added"] == 3
    assert {name for name in remote if remote[name] != local[name]} == {"sequence"}
    assert acme(*imports)["unchanged"] == 3
    shown = acme("concelier", "show", "PYSEC-2024-1")[0]
    assert shown["provenance"]["containerUrl"] == "upload:0/deep/1.json"
    assert shown["document"] == here("concelier", "show", "PYSEC-2024-1")[0]["document"]
    raw = acme.ask("concelier", "show", "PYSEC-2024-1", "--raw")
    assert raw.out.encode() == (feed / "deep" / "1.json").read_bytes()
    (entry,) = acme("concelier", "quarantine", "list", "--source", "pypa")
    assert acme.ask("concelier", "quarantine", "show", str(entry["entry"]), "--raw").out == '{"id": '
    assert acme("concelier", "quarantine", "retry", "--source", "pypa")["quarantined"] == 1
    assert {each["source"] for each in acme("concelier", "status")["sources"]} == {"ghsa", "pypa"}
    acme.refused(4, "ERR_CONCELIER_NOT_FOUND", "concelier", "show", "CVE-1999-0001")
    acme.refused(4, "ERR_IMPORT_INPUT_MISSING", "concelier", "import", "nowhere", "--source", "x")
    acme.refused(2, "ERR_IMPORT_UNKNOWN_FORM", "concelier", "import", "feed/broken.json", "--source", "x")

    vex = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/1",
        "author": "Maker",
        "version": 1,
        "timestamp": "2024-05-01T00:00:00Z",
        "statements": [
            {"vulnerability": {"name": "CVE-2024-1"}, "products": [{"@id": "pkg:pypi/p1"}], "status": "fixed"}
        ],
    }
    write(home / "vex.openvex.json", json.dumps(vex))
    assert acme("excititor", "import", "vex.openvex.json", "--source", "maker")["statements"] == 1
    assert acme("excititor", "consensus", "CVE-2024-1")["products"][0]["status"] == "fixed"
    write(home / "weights.yaml", "issuers: {Maker: 7}\n")
    weighed = acme("excititor", "consensus", "CVE-2024-1", "--weights", "weights.yaml")
    assert weighed["products"][0]["statements"][0]["weight"] == 7

    rule = {"id": "i1", "reason": "no", "match": {"vulnerabilities": ["CVE-2024-1"]}}
    overlay = {"apiVersion": "stellaops.io/policy.v1", "kind": "PolicyOverlay", "metadata": {"name": "ours"},
               "spec": {"ignoreRules": [rule]}}  # fmt: skip
    write(home / "ours.yaml", yaml.safe_dump(overlay))
    applied = acme.ask("policy", "apply", "ours.yaml")
    assert applied.code == 0, applied.err
    taken = acme("policy", "snapshot")
    assert acme("policy", "show", taken["digest"])["rules"][0]["id"] == "i1"
    assert [each["digest"] for each in acme("policy", "show")["snapshots"]] == [taken["digest"]]

    acme(
        "concelier",
        "sources",
        "add",
        "kev",
        "--url",
        "https://127.0.0.1:9/kev.json",
        "--disabled",
        "--replace",
    )
    assert acme("concelier", "sources", "show", "kev")["url"] == "https://127.0.0.1:9/kev.json"
    acme.refused(2, "ERR_NOT_OVER_SERVER", "concelier", "sources", "add", "x", "--url", "https://example.org/",
                 "--auth", "bearer", "--auth-file", "/etc/passwd")  # fmt: skip
    acme.refused(3, "ERR_EGRESS_ADDRESS", "concelier", "pull", "kev")
