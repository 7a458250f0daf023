"""The newcomer's walk: the page alone leads from nothing to tenants, a mirror behind TLS, a delta, an alert."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support import runbook, tools
from tests.support.api import free_port
from tests.support.runbook import ROOT, Command, Shell

EXPECTED = (
    ("for source in ghsa", r"^ghsa \d+$"),
    ("as acme export run submit --profile trivy:db", r"^succeeded\t"),
    ("as acme export run list |", r"\Atrivy:db\n\Z"),
    ("stella export verify trivy-db", r"^ok$"),
    ("jq -r '[.Results", r"^CVE-"),
    ("stella --context local mirror init", r"\Aprimary\n\Z"),
    ('reach -u "edge:$(cat edge.password)" "$MIRROR/concelier/exports/index.json"', r"^primary$"),
    ("stella mirror check", r"^passed$"),
    ("as site-b export run submit --profile mirror:delta", r"^succeeded\t1$"),
    ("mirror verify site", r"^ok$"),
    ("jq -r '.body | fromjson", r"^run.failed$"),
)
"""What begins a command, and what it has to have said."""


def without_network(shell: Shell) -> None:
    """From now on `mirror` runs where there is no network at all."""
    words = shlex.join(tools.require_no_network())
    outcome = shell.run(Command("", 0, f'mirror() {{ {words} "$(type -P mirror)" "$@"; }}', 0))
    assert outcome.code == 0


@pytest.mark.slow
def test_the_page_alone_leads_a_newcomer_from_nothing_to_an_alert(tmp_path: Path) -> None:
    page = runbook.read("newcomer.md")
    programs = {name: tools.require(name) for name in ("trivy", "jq", "curl", "openssl")}
    programs["cosign"] = tools.require("cosign3")
    variables = {
        "CHECKOUT": str(ROOT),
        **{name: str(free_port()) for name in ("PORT", "MIRROR_PORT", "ALERT_PORT")},
    }
    with runbook.shell(tmp_path, programs, variables) as shell:
        outcomes = runbook.follow(page, shell, {"On the other side": without_network})
    assert len(outcomes) == len(page.executed())
    nothing = [
        each.command.text for each in outcomes if "jq -r" in each.command.text and each.out == "null\n"
    ]
    assert nothing == [], "a path that the answer does not have"
    for begins, pattern in EXPECTED:
        found = [each for each in outcomes if each.command.text.startswith(begins)]
        assert found, begins
        for each in found:
            assert re.search(pattern, each.out, re.MULTILINE), f"{begins}: {each.out!r}"
