"""`stella authority login` and `logout`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec import structs

from stellaops.cli.frame import App, StellaCommand, UsageError, pass_app
from stellaops.client import meant
from stellaops.client.opening import Login, address, connect
from stellaops.client.tokens import secret_of, write_secret


@click.command(cls=StellaCommand)
@click.option("--client", metavar="ID", help="The client that logs in; that of the saved server if left out.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of mode 0600 with its secret; asked for on the terminal if left out.",
)
@click.option("--remember", is_flag=True, help="Keep a secret that was asked for, in a file of mode 0600.")
@click.option(
    "--save-as",
    metavar="NAME",
    help="Save the server under this name, not its host's, and ask it from now on.",
)
@pass_app
def login(
    app: App, client: str | None, secret_file: Path | None, remember: bool, save_as: str | None
) -> None:
    r"""Log in to a server as a client, and keep the token.

    \b
      stella authority login --server https://stella.example.org --client ci --secret-file ci.secret --save-as prod
      stella authority login --context prod

    A token lives for minutes and is renewed by itself where the secret can be read from a file; a secret that was only
    typed is needed again then. The secret is never taken from the command line. Without --save-as the server is saved
    under the name of its host, so that `--server URL` finds the login; it is not asked from now on.
    """
    if app.server is None:
        raise UsageError("name the server with --server URL or --context NAME")
    context = app.server.context
    chosen = client or app.settings.get("client") or context.client
    if chosen is None:
        raise UsageError("--client ID is needed: the server is not saved with one")
    known = secret_file or _known(app, context.secret_file)
    secret = secret_of(known) if known else _asked(chosen)
    web, cache = app.home.web_settings, meant.cache()
    server = address(context.server, web)
    cache.forget(server, chosen)
    connect(context, Login(client=chosen, secret=lambda: secret), web, cache).tokens.token()
    name = save_as or app.server.name or meant.host_name(server, meant.contexts().all())
    kept = known
    if known is None and remember:
        kept = meant.secret_file(name)
        write_secret(kept, secret)
    file = str(kept.absolute()) if kept else None
    tenant = app.settings.values["tenant"]
    whom = tenant.value if tenant.origin != "default" else context.tenant
    saved = structs.replace(context, server=server, tenant=whom, client=chosen, secret_file=file)
    meant.contexts().save(name, saved, use=save_as is not None)
    app.out.value({"server": server, "client": chosen, "context": name})


@click.command(cls=StellaCommand)
@pass_app
def logout(app: App) -> None:
    """Forget the token of a server; a secret in a file stays where it is, and the next command logs in by it."""
    if app.server is None:
        raise UsageError("name the server with --server URL or --context NAME")
    context = app.server.context
    client = app.settings.get("client") or context.client
    if client is None:
        raise UsageError("the server is not saved with a client")
    meant.cache().forget(context.server.rstrip("/"), client)
    kept = _known(app, context.secret_file)
    file = str(kept) if kept is not None and kept.exists() else None
    app.out.value({"server": context.server, "client": client, "loggedIn": False, "secretFile": file})
    if file is not None:
        app.out.note(
            f"the next command logs in again by the secret in {file}; `stella config context remove` forgets the server"
        )


def _asked(client: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("--secret-file FILE is needed where there is no terminal to ask on")
    return str(click.prompt(f"secret of {client}", hide_input=True, err=True))


def _known(app: App, saved: str | None) -> Path | None:
    file = app.settings.get("clientSecretFile") or saved
    return Path(file) if file else None
