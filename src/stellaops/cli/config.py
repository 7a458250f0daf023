"""`stella config`: settings, where they come from and whether they are sound; saved servers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.checking import demand_sound
from stellaops.adapters.settings.retention import retention_grace, retention_rules
from stellaops.adapters.settings.targets import describe_targets
from stellaops.adapters.sql.address import parse_address
from stellaops.cli.contexts import context
from stellaops.cli.deployment import validate_command
from stellaops.cli.frame import App, StellaGroup, pass_app


@click.group(cls=StellaGroup)
def config() -> None:
    """Settings and where they come from."""


config.add_command(context)
config.add_command(validate_command)


@config.command("show")
@pass_app
def config_show(app: App) -> None:
    """Print every setting with its value and origin."""
    told = {name: (variable, meaning) for name, variable, meaning in settings.describe()}
    keys = {name.split(".", 2)[2]: meaning for name, _, meaning in describe_targets()}
    every = app.settings.every()
    wire = {
        "file": str(settings.settings_file()),
        "settings": {name: {"value": value, "origin": origin} for name, value, origin in every},
    }
    rows = [
        (name, value, origin, *told.get(name, ("", keys.get(name.split(".", 2)[-1], ""))))
        for name, value, origin in every
    ]
    app.out.rows(wire, ("setting", "value", "origin", "variable", "meaning"), rows)


@config.command("check")
@pass_app
def config_check(app: App) -> None:
    """Check the settings file and the environment; every problem is listed.

    Names, forms of values, and files that are named; also those of mirror hosts. Whether servers answer is for
    `stella doctor`.
    """
    told = app.settings
    demand_sound(told, *_readers(told))
    file = settings.settings_file()
    given = [name for name, _, origin in told.every() if origin != "default"]
    wire = {"verdict": "ok", "file": str(file), "fileRead": file.is_file(), "given": given}
    app.out.value(
        wire,
        [
            ("verdict", "ok"),
            ("file", f"{file}{'' if file.is_file() else ' (there is none)'}"),
            ("given", ", ".join(given) or "nothing: every setting has its default"),
        ],
    )


def _readers(told: settings.Settings) -> list[Callable[[], object]]:
    """What reads settings that belong together, as the parts that use them do."""
    stores = [value for name in ("evidence", "service") if (value := told.get(f"store.{name}"))]
    return [
        partial(retention_rules, told),
        partial(retention_grace, told),
        settings.load_mirror_host,
        *(partial(parse_address, each) for each in stores),
    ]
