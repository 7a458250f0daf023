"""The page about notifications tells of everything that there is."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click

from stellaops.adapters.notify import incoming
from stellaops.adapters.notify.providers import email, slack, teams, webhook
from stellaops.adapters.notify.registry import openers
from stellaops.adapters.settings import fields, load
from stellaops.notify.conditions import RETENTION_LATE
from stellaops.notify.delivery import PAUSES
from stellaops.notify.event import EventType
from stellaops.notify.rule import Rule
from tests.support.tools import ROOT

PAGE = (ROOT / "docs" / "operate" / "notifications.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """What stands in the first column below a heading, as code."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([\w.]+)` \|", part, flags=re.MULTILINE)


def test_every_event_kind_and_field_is_there() -> None:
    assert first_cells("Events") == [each.value for each in EventType]
    kinds = [name for name in first_cells("Channels and their secrets") if "." not in name]
    assert sorted(kinds) == sorted(openers())
    fields = {name for name in Rule.__struct_fields__ if name not in ("id", "name", "enabled")}
    told = {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name) for name in first_cells("Rules")}
    assert told == fields
    for kind, form in (
        (email.KIND, email._Settings), (slack.KIND, incoming._Settings), (teams.KIND, incoming._Settings),
        (webhook.KIND, webhook._Settings),
    ):  # fmt: skip
        for field in form.__struct_encode_fields__:
            assert re.search(rf"^\| `{kind}` \|.*`{field}`", PAGE, flags=re.MULTILINE), field


def test_every_setting_and_its_usual_value_is_there() -> None:
    for name, _, _ in load.describe():
        if name.startswith("notify."):
            assert f"`{name}`" in PAGE or name in PAGE, name
    for name in ("notify.attempts", "notify.keepDays", "authority.credentialDays"):
        assert f"`{name}` ({fields.DEFAULTS[name]}" in PAGE, name
    assert fields.DEFAULTS["notify.expiryNotice"] == "14d"
    assert timedelta(hours=26) == RETENTION_LATE
    assert "10 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h" in PAGE
    assert [each.total_seconds() for each in PAUSES][:7] == [10, 30, 120, 600, 1800, 3600, 10800]


def test_every_command_of_the_page_exists() -> None:
    from stellaops.cli.main import stella  # noqa: PLC0415 - loads all commands

    commands = set(re.findall(r"`stella ([a-z]+(?: [a-z]+)?(?: [a-z]+)?)", PAGE))
    for words in commands:
        found: click.Command = stella
        for word in words.split():
            if not isinstance(found, click.Group):
                break
            known = found.get_command(click.Context(found), word)
            assert known is not None, words
            found = known
    assert Path(ROOT / "docs" / "operate" / "monitoring.md").is_file()
