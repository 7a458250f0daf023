"""The page about notifications tells of everything that there is."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from stellaops.adapters.notify.providers import email, slack, teams, webhook
from stellaops.adapters.notify.registry import openers
from stellaops.adapters.settings import load
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
    for module in (email, slack, teams, webhook):
        for field in module._Settings.__struct_encode_fields__:
            assert re.search(rf"^\| `{module.KIND}` \|.*`{field}`", PAGE, flags=re.MULTILINE), field


def test_every_setting_and_its_usual_value_is_there() -> None:
    for name, _, _ in load.describe():
        if name.startswith("notify."):
            assert f"`{name}`" in PAGE or name in PAGE, name
    for name in ("notify.attempts", "notify.keepDays", "authority.credentialDays"):
        assert f"`{name}` ({load._DEFAULTS[name]}" in PAGE, name
    assert load._DEFAULTS["notify.expiryNotice"] == "14d"
    assert timedelta(hours=26) == RETENTION_LATE
    assert "10 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h" in PAGE
    assert [each.total_seconds() for each in PAUSES][:7] == [10, 30, 120, 600, 1800, 3600, 10800]


def test_every_command_of_the_page_exists() -> None:
    from stellaops.cli.main import stella  # noqa: PLC0415 - loads all commands

    commands = set(re.findall(r"`stella ([a-z]+(?: [a-z]+)?(?: [a-z]+)?)", PAGE))
    for words in commands:
        found = stella
        for word in words.split():
            known = getattr(found, "commands", {})
            if not known:
                break
            assert word in known, words
            found = known[word]
    assert Path(ROOT / "docs" / "operate" / "monitoring.md").is_file()
