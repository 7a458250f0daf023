"""The runbook of the Export Center, command by command; and what every runbook page has to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stellaops.adapters.settings import load as settings
from stellaops.exports.errors import ERROR_CODES
from tests.support import api, openbao, runbook, tools
from tests.support.openbao import OpenBao
from tests.support.runbook import ROOT, Command, Outcome, Page, Shell
from tests.support.workers import Service, service
from tests.unit.cli.running import Stella

PAGES = [*sorted(path.name for path in (ROOT / "docs" / "operate").glob("runbook-*.md")), "newcomer.md"]
CENTER = "runbook-export-center.md"
UNEXECUTED = "What is not executed"
_COMPOSE = "deploy/compose"


# What every page has to be


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Page:
    return runbook.read(request.param)


def test_each_command_of_a_page_is_executed_or_judged(page: Page) -> None:
    known = {"sh", "sh not-executed", "yaml", "ini", "json", "text", "toml"}
    assert {block.info for block in page.blocks} <= known
    assert len(page.executed()) > len(page.judged())
    for command in page.judged():
        runbook.judge(command)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("docker compose -f deploy/compose/docker-compose.yaml logs worker", "_IMAGE is missing"),
        (
            f"docker compose --env-file {_COMPOSE}/env/mirror.env -f {_COMPOSE}/docker-compose.mirror.yaml logs worker",
            "have no service 'worker'",
        ),
        ("journalctl -u 'stella-worker@*'", "leaves out stella-all.service"),
        ("journalctl -u 'mirror-*'", "no unit is called"),
    ],
)  # fmt: skip
def test_a_line_that_no_host_would_take_is_found(line: str, said: str) -> None:
    with pytest.raises(runbook.Unknown, match=re.escape(said)):
        runbook.judge(Command("", 1, line, 0))


def test_a_page_says_itself_what_is_not_executed(page: Page) -> None:
    told = page.text.partition(f"## {UNEXECUTED}\n")[2]
    assert runbook.table_of_unexecuted(page) in told


def test_commands_in_the_text_of_a_page_exist(page: Page) -> None:
    named = list(page.inline())
    assert named
    for line, code in named:
        try:
            runbook.judge_words(code.split())
        except runbook.Unknown as error:
            pytest.fail(f"{page.path.name}:{line}: {error}")


def test_links_of_a_page_lead_to_pages_and_headings_that_are_there(page: Page) -> None:
    for link in page.links():
        name, _, heading = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), link
        if heading:
            text = page.text if target == page.path else target.read_text(encoding="utf-8")
            assert heading in {_anchor(title) for title in Page(target, text).sections}, link


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")


def test_settings_that_a_page_shows_are_taken(page: Page, tmp_path: Path) -> None:
    for block in page.shown("yaml"):
        document = yaml.safe_load(block.text)
        if isinstance(document, dict) and "ExportCenter" in document:
            file = tmp_path / "config.yaml"
            file.write_text(block.text, encoding="utf-8")
            settings.load({}, {"STELLA_CONFIG": str(file)})


# The Export Center's


def test_each_alert_of_the_export_center_leads_somewhere() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    told = runbook.read(CENTER).text.partition("| alert | go to |")[2].partition("## ")[0]
    assert set(re.findall(r"`(\w+)`", told)) >= {alert for alert in alerts if not alert.startswith("Mirror")}


def test_each_reason_of_a_failed_run_has_an_answer() -> None:
    told = runbook.read(CENTER).text.partition("## 6. Failure response")[2].partition("### ")[0]
    assert {*ERROR_CODES.values(), "adapter", "internal"} <= set(re.findall(r"`([a-z_]+)`", told))
    assert set(ERROR_CODES) - set(re.findall(r"`(ERR_\w+)`", told)) == {"ERR_EXPORT_POLICY_NOT_APPLIED"}


@dataclass
class Surroundings:
    """A service in real processes, whose tenant signs by a vault, and an operator's shell."""

    service: Service
    bao: OpenBao
    shell: Shell


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    place = tmp_path_factory.mktemp("center")
    with ExitStack() as ends:
        bao = ends.enter_context(openbao.serving(place / "bao"))
        bao.make("acme")
        center = ends.enter_context(service(place / "server"))
        center.more = bao.settings | {
            "STELLA_KEY_SERVICES_ATTEMPTS": "2",
            "STELLA_TRIVY": str(tools.require("trivy")),
        }
        secret = place / "admin.secret"
        with pytest.MonkeyPatch.context() as environment:
            for name, value in center.variables.items():
                environment.setenv(name, value)
            stella = Stella(place / "server" / "data")
            for source in ("ghsa", "pypa"):
                stella(
                    "concelier", "import", str(ROOT / "examples" / "advisories" / source), "--source", source
                )
            stella("authority", "tenant", "create", "acme")
            stella("authority", "key", "create", "--tenant", "acme", "--uri", "hashivault://acme")
            stella("authority", "bootstrap", "--secret-file", str(secret))
            for profile in ("trivy:db", "mirror:full"):
                stella.of_tenant("acme").submit(profile)
        process = ends.enter_context(api.serving(center, "all"))
        programs = {name: tools.require(name) for name in ("trivy", "jq", "curl")}
        told = center.variables | {
            "STELLA_SERVER": process.url, "STELLA_CLIENT": "admin", "STELLA_CLIENT_SECRET_FILE": str(secret),
            "TENANT": "acme", "CHECKOUT": str(ROOT),
        }  # fmt: skip
        programs["cosign"] = tools.require("cosign3")
        yield Surroundings(center, bao, ends.enter_context(runbook.shell(place / "operator", programs, told)))


EXPECTED = (
    ("for profile in $(stella export run list", r"^trivy:db ok$"),
    ("stella export target test http", r"ok"),
    ("stella export run watch \"$RUN\" --tenant \"$TENANT\" | jq -r '[.status, .attempt]", r"^succeeded\t[12]$"),
    ("stella export verify candidate", r"^ok$"),
    ("mirror verify media/delta", r"^ok$"),
    ("until stella export run show", r"paused"),
    ("stella export queue status | jq -r .paused", r"^true$"),
    ("stella export run show \"$RUN\" --tenant \"$TENANT\" | jq '{status", r'"errorCode": "empty"'),
    ("stella export run watch \"$AGAIN\"", r"^succeeded$"),
    ("curl -sfN", r"event: run.succeeded"),
    ("mirror verify site-b", r"^ok$"),
    ("stella authority key test --tenant \"$TENANT\" | jq", r"^ok$"),
    ("stella export run submit --profile json:raw --tenant \"$TENANT\" --priority", r"^succeeded\tcatch-up$"),
    ("stella trivy smoke", r"^ok$"),
    ('"$CHECKOUT/deploy/tools/verify-bundle.sh"', r"^ok "),
    ("mirror verify mirror-*-full", r"^ok$"),
    ("stella export diff", r'"added": 15'),
    ("stella export profile history nightly-2", r"CHG-1234"),
    ("curl -sf -H \"Authorization", r"^(profile\.changed|run\.submitted)\tadmin"),
)  # fmt: skip
"""What begins a command, and what it has to have said."""


def told_as_expected(outcomes: list[Outcome]) -> None:
    for begins, pattern in EXPECTED:
        found = [each for each in outcomes if each.command.text.startswith(begins)]
        assert found, begins
        for each in found:
            assert re.search(pattern, each.out, re.MULTILINE), f"{begins}: {each.out!r}"


@pytest.mark.slow
def test_the_runbook_of_the_export_center_does_what_it_says(surroundings: Surroundings) -> None:
    page, shell = runbook.read(CENTER), surroundings.shell
    outcomes = runbook.follow(
        page,
        shell,
        before={
            "7.3 A key service is away": lambda _: surroundings.bao.seal(),
            "7.3 Afterwards": lambda _: surroundings.bao.unseal(),
        },
    )
    assert len(outcomes) == len(page.executed())
    told_as_expected(list(outcomes))
