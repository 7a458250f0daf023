"""Traces: one from the request to the worker's steps, in real processes, as a real collector gets them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from stellaops.adapters.settings.load import InvalidSettings, traces_wanted
from stellaops.authority.actors import OPERATOR
from stellaops.authority.audit import AuditFilter
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.bootstrap import now
from tests.support import api
from tests.support.otlp import Collector, SpanSeen, collecting
from tests.support.workers import Service, service, wait_for

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Traced:
    """A service whose processes tell a collector what they do."""

    service: Service
    process: api.ApiProcess
    collector: Collector
    token: str

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> urllib3.BaseHTTPResponse:
        told = {"authorization": f"Bearer {self.token}", **headers}
        return urllib3.request(method, self.process.url + path, json=body, headers=told, timeout=30)

    def run(self, body: dict[str, object], **headers: str) -> tuple[str, str]:
        """Submit a run and wait for its end; its id, and the trace id that the answer named."""
        answer = self.ask("POST", "/api/export/runs", body, **headers)
        assert answer.status == 202, answer.data
        path = f"/api/export/runs/{answer.json()['runId']}"
        wait_for(lambda: self.ask("GET", path).json()["status"] in ("succeeded", "failed"), 60)
        return answer.json()["runId"], answer.headers["x-trace-id"]

    def spans(self, trace_id: str, name: str = "run.attempt") -> dict[str, SpanSeen]:
        """The spans of a trace by name, once the named one, which ends last, has come."""
        wait_for(lambda: any(each.name == name for each in self.collector.trace(trace_id)), 20)
        return {each.name: each for each in self.collector.trace(trace_id)}

    def log(self) -> list[dict[str, object]]:
        lines = (line for line in self.process.log.read_text().splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with collecting() as collector, service(tmp_path_factory.mktemp("traced")) as center:
        center.fill(20)
        center.more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with api.serving(center, "all") as process:
            tools = ClientTools(center.local.clients, center.local.tenants)
            wanted = Wanted(tenants=("default",), scopes=("export:run", "export:read"))
            made = create_client(tools, OPERATOR, wanted, now=now())
            token = center.local.issuer.issue(made.client.id, [made.secret or ""]).token
            yield Traced(center, process, collector, token)


def test_a_trace_goes_from_the_callers_request_through_the_queue_to_every_step_of_the_worker(
    traced: Traced,
) -> None:
    run_id, trace_id = traced.run({"profile": "json:raw"}, traceparent=CALLER)
    assert trace_id == "4bf92f3577b34da6a3ce929d0e0e4736", "the caller's trace goes on"
    spans = traced.spans(trace_id)
    request, attempt = spans["submitRun"], spans["run.attempt"]
    assert (request.parent, request.kind, request.service) == ("00f067aa0ba902b7", "server", "stellaops-api")
    assert request.attributes["http.response.status_code"] == 202
    assert (attempt.parent, attempt.kind, attempt.service) == (request.id, "consumer", "stellaops-worker")
    assert attempt.attributes["stella.run.id"] == run_id
    assert (attempt.attributes["stella.status"], attempt.failed) == ("succeeded", False)
    steps = [each for each in traced.collector.trace(trace_id) if each.name.startswith("step.")]
    assert {each.parent for each in steps} == {attempt.id}
    assert " ".join(each.name.removeprefix("step.") for each in steps) == (
        "plan collect build sign pack verify smoke store gate publish distribute finish"
    )
    assert all(attempt.began <= each.began <= each.ended <= attempt.ended for each in steps)
    told = [each for each in traced.log() if each.get("runId") == run_id]
    assert {each["traceId"] for each in told} == {trace_id}, "logs of both processes name the trace"
    assert {"run.submitted", "run.started", "run.succeeded"} <= {each["event"] for each in told}


def test_a_request_without_a_trace_begins_one_and_a_failed_run_is_marked_with_its_code(
    traced: Traced,
) -> None:
    _, trace_id = traced.run({"profile": "json:raw", "selectors": {"sources": ["nobody"]}})
    spans = traced.spans(trace_id)
    assert spans["submitRun"].parent == ""
    attempt = spans["run.attempt"]
    assert (attempt.failed, attempt.attributes["error.type"]) == (True, "empty")
    assert spans["step.collect"].failed
    assert "step.build" not in spans


def test_the_log_of_a_worker_tells_of_a_mirror_bundle_and_the_audit_log_has_it_with_the_trace(
    traced: Traced,
) -> None:
    run_id, trace_id = traced.run({"profile": "mirror:full"})
    wait_for(lambda: any(each.get("event") == "mirror.bundle.created" for each in traced.log()), 20)
    (told,) = [each for each in traced.log() if each.get("event") == "mirror.bundle.created"]
    assert (told["runId"], told["traceId"]) == (run_id, trace_id)
    (record,) = traced.service.local.audit.list(None, AuditFilter(action="mirror.bundle.created"))
    assert (record.change.target, record.trace_id, record.tenant) == (f"run/{run_id}", trace_id, "default")


def test_what_machines_ask_every_few_seconds_is_in_no_trace(traced: Traced) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert traced.ask("GET", path).status == 200
    found = traced.ask("GET", "/api/export/runs", traceparent=CALLER.replace("4bf9", "4bfa"))
    assert traced.spans(found.headers["x-trace-id"], "listRuns")
    assert {each.attributes.get("stella.operation") for each in traced.collector.spans} & {
        "getHealth", "getReadiness", "getMetrics",
    } == set()  # fmt: skip


PROGRAM = """
import sys
from stellaops.adapters.telemetry import tracing
import stellaops.worker.child, stellaops.api.app, stellaops.worker.process, stellaops.gateway.server
tracing.configure("stellaops-api")
with tracing.span("x", parent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") as span:
    assert span.traceparent == ""
tracing.Steps("", "step.")("plan")
assert tracing.trace_of(tracing.traceparent("ab" * 16)) == "ab" * 16
tracing.end()
loaded = sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")
                or name.startswith("opentelemetry.exporter"))
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}],
)
def test_where_there_are_no_traces_nothing_of_the_library_is_loaded(variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


AWAY = """
import time
from stellaops.adapters.telemetry import tracing
tracing.configure("stellaops-api")
assert tracing.is_on()
with tracing.span("x"):
    pass
tracing.end()
"""


def test_a_collector_that_is_away_holds_no_process_up(tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{api.free_port()}"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", AWAY], env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)
def test_traces_are_made_where_the_standards_variables_ask_for_them(
    variables: dict[str, str], wanted: bool
) -> None:
    assert traces_wanted(variables) is wanted


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp or none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf is needed"),
    ],
)
def test_what_is_asked_for_and_not_there_is_told(variables: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        traces_wanted(variables)
