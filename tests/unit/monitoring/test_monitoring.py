"""What Prometheus, Alertmanager and Grafana are given: judged by their own programs, and held against the product."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click
import promql_parser
import pytest
import yaml

from stellaops.cli.main import stella
from stellaops.exports.run import RunStatus
from stellaops.notify.delivery import Status as DeliveryStatus
from tests.support import tools
from tests.support.deploy import DIGEST, copy_compose, edit, resolved
from tests.support.metrics import Told, told_metrics
from tests.support.tools import ROOT
from tools.monitoring.__main__ import HELM, PLACE, SETTINGS, files, main
from tools.monitoring.dashboards import every
from tools.monitoring.routes import alertmanager, prometheus
from tools.monitoring.rules import ROUTES, alerts, duration
from tools.monitoring.settings import Bounds, InvalidMonitoring, Monitoring, read_settings

PAGE = ROOT / "docs" / "operate" / "monitoring.md"
PROMISED = {
    "ExportCenterRunFailureSpike", "ExportCenterVerifyFailure", "ExportCenterWorkerLag", "ExportCenterRetentionStale",
    "ExportCenterRunSlow", "ExportCenterPushSlow", "ExportCenterStorageHigh", "MirrorBundleStale",
    "MirrorExportRootMissing",
}  # fmt: skip
ALERTS = tuple(alerts(Bounds()))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Every metric of the product, by name."""
    return told_metrics(tmp_path_factory.mktemp("metrics"))


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """One of their own programs, in the directory of the files."""
    return subprocess.run(
        [tools.require(program), *words], cwd=PLACE, capture_output=True, text=True, check=False
    )


# ---- the files


def test_the_files_are_what_the_code_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out
    for name in ("rules.yaml", *(f"dashboards/{path.name}" for path in (PLACE / "dashboards").iterdir())):
        assert (HELM / name).read_bytes() == (PLACE / name).read_bytes()


def test_a_file_that_was_changed_by_hand_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings", str(SETTINGS), "--to", str(tmp_path)]) == 0
    (tmp_path / "rules.yaml").write_text("groups: []\n")
    capsys.readouterr()
    assert main(["--settings", str(SETTINGS), "--to", str(tmp_path), "--check"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path}/rules.yaml is not what the code says")


def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    for words in (("check", "rules", "rules.yaml"), ("check", "config", "prometheus.yaml")):
        done = run("promtool", *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_ends_in_the_unit_tests_of_the_rules() -> None:
    files = sorted(PLACE.glob("*.test.yaml"))
    done = run("promtool", "test", "rules", *(path.name for path in files))
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(path.read_text("utf-8") for path in files)
    fired = set(re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"(?:,aspect="(\w+)")?', text))
    assert fired >= {(each.name, each.aspect) for each in ALERTS}


def test_amtool_takes_the_routes_and_each_alert_reaches_the_receiver_that_it_names() -> None:
    done = run("amtool", "check-config", "alertmanager.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    for alert in ALERTS:
        labels = (f"alertname={alert.name}", f"route={alert.route}", f"severity={alert.severity}")
        test = ("config", "routes", "test", "--config.file=alertmanager.yaml")
        done = run("amtool", *test, f"--verify.receivers={alert.route}", *labels)
        assert (done.returncode, done.stdout.strip()) == (0, alert.route), done.stderr
    done = run("amtool", *test, "--verify.receivers=Export.Center.Failures", "alertname=SomethingElse")
    assert done.returncode == 0, done.stdout
    assert run("amtool", *test, "--verify.receivers=Mirrors", "alertname=SomethingElse").returncode == 1


# ---- what the alerts say


def test_every_alert_that_operators_were_promised_is_there_with_its_two_routes() -> None:
    assert {each.name for each in ALERTS} >= PROMISED
    assert {each.route for each in ALERTS} == set(ROUTES)
    by_name = {each.name: each.route for each in ALERTS}
    assert by_name["ExportCenterRunFailureSpike"] == "Export.Center.Failures"
    assert by_name["ExportCenterVerifyFailure"] == "Export.Center.Verify"


def test_every_command_that_an_alert_names_is_one() -> None:
    named = [words.split() for each in ALERTS for words in re.findall(r"`stella ([^`]+)`", each.action)]
    assert len(named) > len(ALERTS)
    for words in named:
        command: click.Command = stella
        rest = list(words)
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, words
            command = found
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words


def test_every_alert_has_its_place_on_the_page_that_it_points_to() -> None:
    heads = {line.strip("# `\n").lower() for line in PAGE.read_text("utf-8").splitlines() if line[:1] == "#"}
    for wire in (each.to_wire() for each in ALERTS):
        page, _, anchor = wire["annotations"]["runbook"].partition("#")
        assert ROOT / page == PAGE
        assert anchor in heads


@pytest.mark.parametrize(
    ("seconds", "text"), [(900, "15m"), (86400, "1d"), (5400, "90m"), (0.5, "500ms"), (45, "45s")]
)
def test_durations_are_written_in_the_largest_unit_without_a_rest(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# ---- expressions


def selectors(expression: Any, *, carrying: bool = False) -> Iterator[Any]:
    """The selectors of series in an expression.

    Args:
        carrying: without those whose labels do not come out: what stands after `and` or `unless` only chooses.
    """
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    chooses = carrying and str(getattr(expression, "op", "")).lower().endswith(("and", "unless"))
    for name in ("lhs", "expr", "vector_selector", "param", *(() if chooses else ("rhs",))):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from selectors(inner, carrying=carrying)
    for inner in getattr(expression, "args", None) or ():
        yield from selectors(inner, carrying=carrying)


def grouped(expression: Any) -> Iterator[tuple[frozenset[str], Any]]:
    """Labels that an expression groups by, each with what is grouped."""
    modifier = getattr(expression, "modifier", None)
    if isinstance(expression, promql_parser.AggregateExpr) and modifier is not None:
        yield frozenset(modifier.labels), expression
    for name in ("lhs", "rhs", "expr"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from grouped(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from grouped(inner)


def judge(text: str, told: dict[str, Told]) -> None:
    """Every name and label that an expression uses is one that the product tells."""
    known = {name: labels for each in told.values() for name, labels in each.series.items()}
    parsed = promql_parser.parse(text)
    found = list(selectors(parsed))
    assert found, text
    for selector in found:
        assert selector.name in known, f"{selector.name} in {text}"
        labels = known[selector.name]
        used = {matcher.name for matcher in selector.matchers.matchers}
        assert labels is None or used <= labels | {"job", "instance"}, text
    for names, inner in grouped(parsed):
        for selector in selectors(inner, carrying=True):
            labels = known[selector.name]
            assert labels is None or names <= labels | {"job", "instance"}, (
                f"{names} of {selector.name} in {text}"
            )


def test_the_judge_of_expressions_finds_what_is_wrong(told: dict[str, Told]) -> None:
    for wrong in (
        "sum(exporter_jobs_reddy)",
        'sum(exporter_jobs_ready{profil="x"})',
        "sum by (driver) (exporter_jobs_ready)",
        "rate(exporter_run_duration_seconds[5m])",
    ):
        with pytest.raises(AssertionError):
            judge(wrong, told)
    with pytest.raises(ValueError, match=r"."):
        judge("sum(", told)


def test_the_page_names_every_metric_with_its_labels_and_no_other(told: dict[str, Told]) -> None:
    _, _, rest = PAGE.read_text("utf-8").partition("<!-- metrics -->")
    rows = [line.split("|")[1:4] for line in rest.partition("<!-- end -->")[0].strip().splitlines()[2:]]
    written = {name.strip(" `"): frozenset(labels.strip(" `").split()) for name, labels, _ in rows}
    ours = {name: each for name, each in told.items() if name not in ("up", "ALERTS")}
    assert set(written) == set(ours)
    assert len(written) == len(rows)
    for name, each in ours.items():
        assert each.labels is None or written[name] == each.labels, name


def test_every_event_that_the_page_names_is_one_that_the_code_writes() -> None:
    _, _, rest = PAGE.read_text("utf-8").partition("<!-- events -->")
    named = re.findall(r"^\| `([a-z_.]+)`", rest.partition("<!-- end -->")[0], re.MULTILINE)
    assert {
        "adapter.trivy.unsupported_schema_version", "mirror.bundle.created", "mirror.delta.applied", "run.submitted",
        "mirror.delta.apply_failed", "mirror.encryption.enabled", "profile.changed", "run.cancelled", "run.approved",
        "key.rotated", "client.rotated",
    } <= set(named)  # fmt: skip
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    made = {f"run.{each.value}" for each in RunStatus} | {f"notify.{each.value}" for each in DeliveryStatus}
    assert [name for name in named if f'"{name}"' not in code and name not in made] == []


def test_the_page_names_every_dashboard() -> None:
    text = PAGE.read_text("utf-8")
    assert [title for title in PANELS if f"| {title} |" not in text] == []


def test_every_expression_of_an_alert_uses_what_the_product_tells(told: dict[str, Told]) -> None:
    for each in ALERTS:
        judge(each.expression, told)


BOARDS = {each.title: each for each in every(Bounds())}


@pytest.mark.parametrize("title", BOARDS)
def test_every_expression_of_a_dashboard_uses_what_the_product_tells(
    title: str, told: dict[str, Told]
) -> None:
    for panel in BOARDS[title].panels:
        for query in panel.queries:
            judge(query.expression, told)
    for variable in BOARDS[title].variables:
        labels = told[variable.metric].labels
        assert labels is not None
        assert variable.name in labels | {"job"}


# ---- dashboards

PANELS = {
    "Export Center / Run Health": {
        "Runs by profile": "exporter_run_duration_seconds_count",
        "Failures by error code": "exporter_run_failures_total",
        "Failures by class": "exporter_run_failures_total",
        "Failures by profile": "exporter_run_failures_total",
        "Bytes of finished bundles": "exporter_run_bytes_total",
        "Alerts": "ALERTS",
        "Queue depth": "exporter_jobs_ready",
        "Worker concurrency": "exporter_worker_concurrency",
        "Chores": "exporter_chore_last_success_timestamp_seconds",
        "Notifications": "notify_deliveries_total",
        "Full runs: 95th percentile": "exporter_run_duration_seconds_bucket",
        "Full runs: within the service level": "exporter_run_duration_seconds_bucket",
        "Delta runs: 95th percentile": "exporter_run_duration_seconds_bucket",
        "Delta runs: within the service level": "exporter_run_duration_seconds_bucket",
        "Documents of advisories": "concelier_documents_total",
        "Statements of VEX": "excititor_statements_total",
    },
    "Export Center / Distribution": {
        "Deliveries: 95th percentile": "exporter_distribution_push_seconds_bucket",
        "Deliveries": "exporter_distribution_push_seconds_count",
        "Deliveries that failed": "exporter_distribution_failures_total",
        "Checks that failed": "exporter_verify_failures_total",
        "Bundles at targets": "exporter_target_sound",
        "Last found sound": "exporter_target_last_sound_timestamp_seconds",
        "Storage by store": "exporter_storage_bytes_total",
        "Storage by profile": "exporter_storage_bytes_total",
        "Kept bundles": "exporter_storage_bundles",
        "Tenants against their bounds": "exporter_storage_quota_bytes",
        "Local staging": "exporter_staging_used_bytes",
        "Disks of local staging": "exporter_staging_free_bytes",
        "Last pass of retention": "exporter_retention_last_success_timestamp_seconds",
        "Bundles that retention removed": "exporter_retention_pruned_total",
    },
    "Mirrors": {
        "Requests by domain": "mirror_requests_total",
        "Requests by status": "mirror_requests_total",
        "Requests by class": "mirror_requests_total",
        "Answered from the cache": "mirror_requests_total",
        "Over the budget": "mirror_quota_rejections_total",
        "Refused credentials, and errors": "mirror_requests_total",
        "Since the last sync": "mirror_sync_lag_seconds",
        "Age of what is served": "mirror_bundle_age_seconds",
        "Directories of exports": "mirror_export_root_configured",
    },
}


@pytest.mark.parametrize("title", BOARDS)
def test_a_dashboard_has_the_panels_that_operators_look_for_and_each_shows_what_it_says(title: str) -> None:
    shown = {}
    for panel in BOARDS[title].panels:
        names = {
            each.name for query in panel.queries for each in selectors(promql_parser.parse(query.expression))
        }
        shown[panel.title] = names
    assert list(shown) == list(PANELS[title])
    assert [name for name, metric in PANELS[title].items() if metric not in shown[name]] == []


@pytest.mark.parametrize("title", BOARDS)
def test_bounds_of_alerts_are_lines_in_the_panels_that_show_them(title: str) -> None:
    limits = {panel.title: panel.limit for panel in BOARDS[title].panels if panel.limit is not None}
    assert (
        limits
        == {
            "Export Center / Run Health": {
                "Failures by profile": 3,
                "Queue depth": 10,
                "Full runs: 95th percentile": 300,
                "Delta runs: 95th percentile": 120,
            },
            "Export Center / Distribution": {
                "Deliveries: 95th percentile": 60,
                "Tenants against their bounds": 0.8,
                "Disks of local staging": 0.8,
                "Last pass of retention": 86400,
            },
            "Mirrors": {"Since the last sync": 900},
        }[title]
    )


@pytest.mark.parametrize("path", sorted((PLACE / "dashboards").glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_take_anywhere(path: Path) -> None:
    board = json.loads(path.read_text("utf-8"))
    assert re.fullmatch(r"stella-[a-z-]{1,33}", board["uid"])
    assert "id" not in board, "a number would be another dashboard elsewhere"
    assert board["title"] in PANELS
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        where = panel["gridPos"]
        assert where["x"] + where["w"] <= 24
        cells = {(x, y) for x in range(where["x"], where["x"] + where["w"])
                 for y in range(where["y"], where["y"] + where["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in {"timeseries", "stat", "table"}
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [each["refId"] for each in panel["targets"]] == list("ABC"[: len(panel["targets"])])
    names = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"])))
    assert used <= names, "every variable is a choice of the dashboard"
    assert names - used == set(), "and every choice is used"


# ---- settings


def write(place: Path, text: str) -> Path:
    file = place / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return file


OWN = """
receivers:
  Export.Center.Failures: [{email: ops@example.org}, {webhook: "https://hooks.example.org/x", secretFile: token}]
  Export.Center.Verify: [{slack: "#verify", secretFile: /run/secrets/slack}]
  Export.Center.Distribution: [{pagerduty: devops-export, secretFile: key}]
  Export.Center.Signing: [{email: keys@example.org}]
  Mirrors: [{email: mirrors@example.org}]
mail: {smarthost: "mail.example.org:587", from: stella@example.org, username: stella, passwordFile: /run/secrets/mail}
alertmanager: alerts.example.org:9093
secrets: /run/secrets/alerts
bounds: {mirrorLag: 1800, failures: 5}
scrapes:
  - {job: stellaops-api, targets: ["stella.example.org"], scheme: https, caFile: /etc/ca.pem,
     login: {client: prometheus, secretFile: /run/secrets/prometheus}}
"""


def test_an_operators_own_settings_are_what_comes_out_and_the_programs_take_it(tmp_path: Path) -> None:
    assert main(["--settings", str(write(tmp_path, OWN)), "--to", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    routes = yaml.safe_load((out / "alertmanager.yaml").read_text())
    failures = next(each for each in routes["receivers"] if each["name"] == "Export.Center.Failures")
    assert failures["email_configs"][0]["to"] == "ops@example.org"
    assert failures["webhook_configs"][0]["http_config"]["authorization"] == {
        "credentials_file": "/run/secrets/alerts/token"
    }
    rules = (out / "rules.yaml").read_text()
    assert "(mirror_sync_lag_seconds) > 1800" in rules
    for program, *words in (
        ("amtool", "check-config", str(out / "alertmanager.yaml")),
        ("promtool", "check", "config", "--syntax-only", str(out / "prometheus.yaml")),
        ("promtool", "check", "rules", str(out / "rules.yaml")),
    ):
        done = run(program, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    (job,) = yaml.safe_load((out / "prometheus.yaml").read_text())["scrape_configs"]
    assert job["oauth2"]["token_url"].startswith("https://stella.example.org/authority/")
    assert job["oauth2"]["tls_config"] == job["tls_config"] == {"ca_file": "/etc/ca.pem"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("receivers: {Mirrors: [{pager: x}]}", "one of slack, pagerduty, email, webhook"),
        ("receivers: {Mirrors: [{email: x, colour: red}]}", "colour: not known"),
        ("bounds: {mirrorLack: 5}", "mirrorLack: not known; there are"),
        ("bounds: {mirrorLag: soon}", "mirrorLag: a number above zero"),
        ("bounds: {mirrorLag: true}", "mirrorLag: a number above zero"),
        ("receiver: {}", "receiver: not known"),
        ("receivers: {}", "Export.Center.Failures, Export.Center.Verify"),
        (OWN.replace("from:", "sender:"), "sender: not known"),
        (OWN.replace(", secretFile: key", ""), "pagerduty: secretFile is needed"),
        (OWN.replace("client: prometheus, ", ""), "client and secretFile are needed"),
        (OWN.partition("\nmail:")[0] + "\nmail: {}", "mail: smarthost, from: needed, since Export.Center.Failures,"),
        (OWN.replace("from: stella@example.org, ", ""), "mail: from: needed"),
        (OWN.replace("example.org:587", "example.org"), "mail: smarthost: HOST:PORT is needed"),
        (OWN.replace("caFile: /etc/ca.pem", "insecureSkipVerify: true"), "login: a secret goes only where"),
        (OWN.replace("caFile: /etc/ca.pem", "insecureSkipVerify: 'no'"), "insecureSkipVerify: true or false"),
        (OWN.replace("scheme: https, ", ""), "is for the scheme https"),
        ("scrapes: [{job: x}]", "targets"),
        ("- a list", "sections are needed"),
        ("{", "settings.yaml"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_told_with_what_is_wrong(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--settings", str(write(tmp_path, text)), "--to", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def shown(name: str) -> str:
    """A block of the page that a remark names."""
    _, _, rest = PAGE.read_text("utf-8").partition(f"<!-- {name} -->\n```yaml\n")
    return rest.partition("```\n<!-- end -->")[0]


def test_prometheus_asks_every_process_where_compose_puts_it_and_is_let_in(tmp_path: Path) -> None:
    place = copy_compose(tmp_path)
    (place / "docker-compose.monitoring.yaml").write_text(shown("compose"))
    edit(place / "env" / "stellaops.env", PROMETHEUS_IMAGE=f"prometheus@{DIGEST}")
    services = resolved(place, "full", "-f", "docker-compose.monitoring.yaml")["services"]
    near = ip_network("172.30.242.0/24")
    jobs = yaml.safe_load((PLACE / "prometheus.yaml").read_text())["scrape_configs"]
    for job in jobs:
        ((target,),) = [each["targets"] for each in job["static_configs"]]
        name, _, port = target.partition(":")
        told = services[name]["environment"]
        assert services[name]["command"][services[name]["command"].index("--port") + 1] == port, target
        assert job["scheme"] == ("https" if told.get("GATEWAY__TLSDIR") else "http"), target
        allowed = told["STELLA_API_METRICS_FROM" if name == "api" else "GATEWAY__METRICSFROM"].split(",")
        assert near in map(ip_network, allowed), target
        assert len(services[name]["networks"]) > 1, "those that it was in before stay"
    asked = {job["static_configs"][0]["targets"][0].partition(":")[0] for job in jobs}
    inside = {name for name, each in services.items() if "metrics" in (each.get("networks") or {})}
    assert inside == asked | {"prometheus"}


def test_prometheus_asks_every_process_where_systemd_puts_it(tmp_path: Path) -> None:
    own = OWN.partition("scrapes:")[0] + shown("systemd")
    assert main(["--settings", str(write(tmp_path, own)), "--to", str(tmp_path / "out")]) == 0
    jobs = yaml.safe_load((tmp_path / "out" / "prometheus.yaml").read_text())["scrape_configs"]
    units = {"stellaops-api": "stella-all"}
    for job in jobs:
        unit = units.get(job["job_name"], job["job_name"].replace("stellaops-mirror-", "stellaops-"))
        unit = unit.replace("stellaops-", "stella-mirror-")
        text = (ROOT / "deploy" / "systemd" / f"{unit}.service").read_text()
        (found,) = re.findall(r"(?:--port |SERVE_PORT=)(\d+)", text)
        assert job["static_configs"] == [{"targets": [f"127.0.0.1:{found}"]}]
    assert jobs[-1]["tls_config"] == {"server_name": "mirror-primary.example.org"}
    done = run("promtool", "check", "config", "--syntax-only", str(tmp_path / "out" / "prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_stands_in_what_is_made_but_only_where_it_lies() -> None:
    wanted = read_settings(SETTINGS)
    text = "".join(files(wanted).values())
    for way in (way for ways in wanted.receivers.values() for way in ways):
        assert way["secretFile"] in text
    assert "api_url:" not in text
    assert "routing_key:" not in text
    with pytest.raises(InvalidMonitoring):
        alertmanager(Monitoring())
    assert prometheus(Monitoring())["scrape_configs"] == []
