"""`stella export link` and `stella export token`: downloads for those who are no clients of the service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.keys import disk
from stellaops.authority.download_tokens import Wanted
from stellaops.center.wire import Wire
from stellaops.cli.durations import Duration
from stellaops.cli.export.printing import second
from stellaops.cli.frame import App, StellaCommand, StellaGroup, pass_app

_FILE = click.Path(path_type=Path, dir_okay=False)
_SECRET_FILE = click.option(
    "--secret-file", type=_FILE, help="Write the token to a new file of mode 0600, not to the screen."
)


_LIFE = Duration("; write 30s, 30m, 24h or 7d", seconds=True, zero=True)


@click.command(cls=StellaCommand)
@click.argument("run_id", metavar="RUN")
@click.argument("path", required=False)
@click.option(
    "--expires", type=_LIFE, default="1h", show_default=True, metavar="TIME", help="From 10s up to 7d."
)
@pass_app
def link(app: App, run_id: str, path: str | None, expires: timedelta) -> None:
    r"""Give out a link to the file PATH of a run's bundle, or one to each file, that opens without a token.

    \b
      stella export link latest:trivy:db trivy/db.bundle --expires 24h

    Whoever has a link has the file until the link ends; nothing takes it back before. Bundles in an object store get
    links of that store.
    """
    found = app.center.downloads.links(run_id, path, life=expires)
    rows = [(each["path"], each["bytes"], each["url"]) for each in found["links"]]
    app.out.rows(found, ("path", "bytes", "url"), rows)
    app.out.note(f"open until {second(found['expiresAt'])}")


@click.group(cls=StellaGroup)
def token() -> None:
    """Tokens that open downloads of the tenant, or of some profiles or runs, and nothing else."""


@token.command("create")
@click.option("--name", default="", help="For people.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help="Only bundles of this profile; again for more.",
)
@click.option(
    "--run", "runs", multiple=True, metavar="RUN", help="Only the bundle of this run; again for more."
)
@click.option("--expires", type=_LIFE, default="90d", show_default=True, metavar="TIME", help="Up to 365d.")
@_SECRET_FILE
@pass_app
def token_create(
    app: App, *, name: str, profiles: tuple[str, ...], runs: tuple[str, ...], expires: timedelta,
    secret_file: Path | None,
) -> None:  # fmt: skip
    r"""Make a token. It is told this once; what is kept is a digest.

    \b
      stella export token create --profile trivy:db --expires 30d --secret-file trivy.token
      curl -H "Authorization: Bearer $(cat trivy.token)" \
        https://stella.example.org/api/export/runs/latest:trivy:db/artifacts/trivy/db.bundle -o db.bundle
    """
    wanted = Wanted(name, profiles, runs, expires)
    _told(app, secret_file, lambda: app.center.downloads.create_token(wanted))


@token.command("list")
@pass_app
def token_list(app: App) -> None:
    """List the tokens, also those that are over."""
    found = app.center.downloads.tokens()
    rows = [
        (
            each["tokenId"], each["name"], each["state"], each["profiles"], each["runs"],
            second(each["expiresAt"]), max((s["usedAt"] for s in each["secrets"] if s["usedAt"]), default=None),
        )
        for each in found
    ]  # fmt: skip
    app.out.rows(found, ("token", "name", "state", "profiles", "runs", "expires", "last used"), rows)


@token.command("rotate")
@click.argument("token_id", metavar="ID")
@click.option(
    "--overlap", type=_LIFE, default="24h", show_default=True, metavar="TIME",
    help="How long the secret so far still opens beside the one that is made; 0 ends it at once.",
)  # fmt: skip
@_SECRET_FILE
@pass_app
def token_rotate(app: App, token_id: str, overlap: timedelta, secret_file: Path | None) -> None:
    """Give a token another secret, for as long again. `token list` tells whether it is used.

    The earlier secret ends with the overlap that is chosen here. Another rotation is no way to close it sooner: it
    makes one more secret, and its overlap is that of the secret given out last.
    """
    _told(app, secret_file, lambda: app.center.downloads.rotate_token(token_id, overlap=overlap))


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@click.option("--reason", default="", help="One line for the audit log.")
@pass_app
def token_revoke(app: App, token_id: str, reason: str) -> None:
    """Revoke a token for ever; within seconds it opens nothing on any server."""
    found = app.center.downloads.revoke_token(token_id, reason)
    app.out.value(found, _table(found))


def _told(app: App, secret_file: Path | None, make: Any) -> None:
    """Show a token that was made; its secret goes to its file where there is one, which is reserved before."""
    if secret_file is None:
        found = make()
        app.out.value(found, _table(found))
        app.out.note("the token is shown this once; keep it where only its user can read it")
        return
    with disk.reserved(secret_file) as fill:
        found = make()
        fill(found.pop("downloadToken").encode("ascii") + b"\n")
    found["secretFile"] = str(secret_file)
    app.out.value(found, _table(found))


def _table(found: Wire) -> list[tuple[str, Any]]:
    """A token as people read it: a line for each secret."""
    pairs = [(name, value) for name, value in found.items() if name != "secrets"]
    return [
        *pairs,
        *((f"secret {each['number']}", _secret(each, found["state"])) for each in found["secrets"]),
    ]


def _secret(wire: Wire, state: str) -> str:
    used = f", last used {second(wire['usedAt'])}" if wire["usedAt"] else ""
    told = "opens nothing" if state == "revoked" else f"opens until {second(wire['expiresAt'])}"
    return told + used
