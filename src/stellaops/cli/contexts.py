"""`stella config context`: saved servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from msgspec import structs

from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.client import meant
from stellaops.client.contexts import Context
from stellaops.client.opening import address


@click.group(cls=StellaGroup)
def context() -> None:
    """Saved servers: address, tenant and login by name."""


@context.command("add")
@click.argument("name")
@click.argument("url")
@click.option(
    "--for-tenant", metavar="NAME", help="Whom to act for; the first tenant of the token if left out."
)
@click.option("--client", metavar="ID", help="The client that logs in.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of mode 0600 with its secret; read whenever a token has to be got.",
)
@click.option("--use", is_flag=True, help="Ask it from now on, where nothing else is said.")
@pass_app
def context_add(
    app: App,
    *,
    name: str,
    url: str,
    for_tenant: str | None,
    client: str | None,
    secret_file: Path | None,
    use: bool,
) -> None:
    r"""Save a server, in place of another of the same name.

    \b
      stella config context add prod https://stella.example.org --client ci --secret-file ci.secret --use
    """
    file = str(secret_file.absolute()) if secret_file else None
    made = Context(address(url, app.home.web_settings), for_tenant, client, file)
    meant.contexts().save(name, made, use=use)
    app.out.value(_wire(name, made, current=meant.contexts().current == name))


@context.command("use")
@click.argument("name")
@pass_app
def context_use(app: App, name: str) -> None:
    """Ask a saved server from now on, where nothing else is said; `local` for the data directory."""
    meant.contexts().use(name)
    app.out.value({"current": name})


@context.command("list")
@pass_app
def context_list(app: App) -> None:
    """List the saved servers."""
    saved = meant.contexts()
    current = saved.current
    wires = [_wire(name, each, current=name == current) for name, each in sorted(saved.all().items())]
    names = ("current", "context", "server", "tenant", "client", "secretFile")
    app.out.rows(wires, names, [[wire[name] for name in names] for wire in wires])


@context.command("remove")
@click.argument("name")
@pass_app
def context_remove(app: App, name: str) -> None:
    """Forget a saved server, with its token and, where it is kept here, its secret."""
    saved = meant.contexts()
    found = saved.get(name)
    saved.remove(name)
    if found.client is not None:
        meant.cache().forget(found.server, found.client)
    if found.secret_file == str(meant.secret_file(name)):
        meant.secret_file(name).unlink(missing_ok=True)
    app.out.value({"context": name, "removed": True})


def _wire(name: str, found: Context, *, current: bool) -> dict[str, Any]:
    told = structs.asdict(found)
    told["secretFile"] = told.pop("secret_file")
    return {"current": current, "context": name, **told}
