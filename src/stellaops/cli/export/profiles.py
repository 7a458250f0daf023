"""`stella export profile`."""

from __future__ import annotations

from typing import Any

import click
import yaml

from stellaops.cli.export.printing import brief, print_profile
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.exports.errors import InvalidProfile


@click.group(cls=StellaGroup)
def profile() -> None:
    """Recipes of exports: built-in ones, and your own."""


@profile.command("list")
@pass_app
def profile_list(app: App) -> None:
    """List the profiles of the tenant."""
    found = app.center.exports.profiles()
    rows = [
        (
            each["metadata"]["name"],
            _kind(each),
            each["metadata"]["revision"],
            brief(each["spec"].get("selectors", {})),
        )
        for each in found
    ]
    app.out.rows(found, ("name", "kind", "revision", "selectors"), rows)


@profile.command("schedules")
@pass_app
def profile_schedules(app: App) -> None:
    """List the profiles that workers run by themselves, the next one first."""
    found = app.center.exports.schedules()
    rows = [(each["profile"], each["schedule"], each["nextRunAt"] or "never") for each in found]
    app.out.rows(found, ("profile", "schedule", "next run"), rows)


@profile.command("show")
@click.argument("name")
@pass_app
def profile_show(app: App, name: str) -> None:
    """Show a profile as the document that `create` and `update` take."""
    print_profile(app, app.center.exports.profile(name))


@profile.command("create")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@pass_app
def profile_create(app: App, file: Any) -> None:
    """Store a profile from a YAML or JSON file (- for standard input)."""
    print_profile(app, app.center.exports.create_profile(_load(file)))


@profile.command("update")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--reason", required=True, help="Why it changes; kept in the history.")
@pass_app
def profile_update(app: App, file: Any, reason: str) -> None:
    """Store the next revision of a profile."""
    print_profile(app, app.center.exports.update_profile(_load(file), reason))


@profile.command("clone")
@click.argument("name")
@click.argument("target")
@pass_app
def profile_clone(app: App, name: str, target: str) -> None:
    """Store a copy of a profile under another name."""
    print_profile(app, app.center.exports.clone_profile(name, target))


@profile.command("delete")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@pass_app
def profile_delete(app: App, name: str, dry_run: bool) -> None:
    """Remove a profile; its runs and bundles stay."""
    exports = app.center.exports
    found = (exports.profile if dry_run else exports.delete_profile)(name)["metadata"]
    app.out.value({"profile": found["name"], "revision": found["revision"], "removed": not dry_run})


@profile.command("history")
@click.argument("name")
@pass_app
def profile_history(app: App, name: str) -> None:
    """Show who changed a profile, when and why."""
    found = app.center.exports.profile_history(name)
    names = ("revision", "createdAt", "createdBy", "reason")
    app.out.rows(found, names, [[each[name] for name in names] for each in found])


def _kind(document: dict[str, Any]) -> str:
    return f"{document['spec']['kind']}:{document['spec']['variant']}"


class _Loader(yaml.SafeLoader):
    """YAML without instants: `since: 2024-10-01T00:00:00Z` stays the text that it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _load(file: Any) -> object:
    try:
        return yaml.load(file, Loader=_Loader)  # noqa: S506 - a safe loader with fewer types
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidProfile(f"{file.name}: {error}") from error
