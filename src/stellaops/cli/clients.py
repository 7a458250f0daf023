"""`stella authority client`, `tenant`, `token-key` and `bootstrap`: who may use the service, and how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.keys import disk
from stellaops.authority.access import SCOPES
from stellaops.authority.client_secrets import WeakSecret
from stellaops.authority.manage_clients import Wanted
from stellaops.authority.tenants import UNLIMITED
from stellaops.center.interface import Authority
from stellaops.cli.durations import Duration
from stellaops.cli.frame import App, StellaCommand, StellaGroup, UsageError, pass_app
from stellaops.core import sizes

_FILE = click.Path(path_type=Path, dir_okay=False)
_SECRET_FILE = click.option(
    "--secret-file", type=_FILE, help="Write the secret to a new file of mode 0600, not to the screen."
)
_SECRET_FROM = click.option(
    "--secret-from", type=_FILE, help="Take the secret from a file that is open to its owner only."
)
_REASON = click.option("--reason", default="", help="One line for the audit log.")
_ACTIVE = click.option(
    "--max-active-runs", type=int, metavar="N", help="Runs at once; 0 refuses submissions."
)
_QUEUED = click.option("--max-queued-runs", type=int, metavar="N", help="Runs that may wait.")


def _size(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    found = UNLIMITED if text == "none" else sizes.parse(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write 50GiB, 1.5TB, a number of bytes, or none")
    return found


_STORAGE = click.option(
    "--max-storage", callback=_size, metavar="SIZE",
    help="What its kept bundles may take, as 50GiB; `none` for no bound.",
)  # fmt: skip


_OVERLAP = Duration("; write 0, 30m, 24h or 7d", zero=True)


def _authority(app: App) -> Authority:
    return app.center.authority


@click.group(cls=StellaGroup)
def client() -> None:
    """Programs and people that log in to the service, each with an id, a secret, tenants and scopes."""


@client.command("create")
@click.argument("client_id", metavar="ID")
@click.option("--name", help="For people.")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE", required=True,
    help="What it may do; again for each, or several apart by spaces; `all` for every scope.",
)  # fmt: skip
@click.option(
    "--for-tenant", "tenants", multiple=True, metavar="NAME",
    help="Whom it acts for, the first by default; `*` for every tenant. Else the tenant of --tenant.",
)  # fmt: skip
@_SECRET_FILE
@_SECRET_FROM
@pass_app
def client_create(
    app: App, *, client_id: str, name: str | None, scopes: tuple[str, ...], tenants: tuple[str, ...],
    secret_file: Path | None, secret_from: Path | None,
) -> None:  # fmt: skip
    """Make a client. Its secret is told this once; what is kept is a hash."""
    given = _given(secret_file, secret_from)
    wanted = Wanted(client_id, name, tenants or (app.tenant,), _scopes(scopes))
    with _place(secret_file) as place:
        _tell(app, _authority(app).create_client(wanted, given), secret_file, place)


@client.command("list")
@pass_app
def client_list(app: App) -> None:
    """List the clients, also revoked ones."""
    wires = _authority(app).clients()
    rows = [
        (
            wire["clientId"], wire["name"], wire["tenants"], " ".join(wire["scopes"]),
            "revoked" if wire["revokedAt"] else "active", _last_use(wire),
        )
        for wire in wires
    ]  # fmt: skip
    app.out.rows(wires, ("client", "name", "tenants", "scopes", "state", "last used"), rows)


@client.command("show")
@click.argument("client_id", metavar="ID")
@pass_app
def client_show(app: App, client_id: str) -> None:
    """Show a client, and when each of its secrets was made, ends and was last used."""
    _show(app, _authority(app).client(client_id))


@client.command("set")
@click.argument("client_id", metavar="ID")
@click.option("--name", help="For people.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="All that it may do from now on.")
@click.option(
    "--for-tenant", "tenants", multiple=True, metavar="NAME", help="All whom it acts for from now on."
)
@pass_app
def client_set(
    app: App, client_id: str, name: str | None, scopes: tuple[str, ...], tenants: tuple[str, ...]
) -> None:
    """Change a client's name, scopes or tenants. Where it loses some, tokens that it has end within seconds."""
    if name is None and not scopes and not tenants:
        raise UsageError("nothing to change: give --name, --scope or --for-tenant")
    wanted = Wanted("", name, tenants or None, _scopes(scopes) if scopes else None)
    _show(app, _authority(app).change_client(client_id, wanted))


@client.command("rotate")
@click.argument("client_id", metavar="ID")
@click.option(
    "--overlap", type=_OVERLAP, default="24h", metavar="TIME", show_default=True,
    help="How long the earlier secret still opens; 0 ends it, and all tokens, at once.",
)  # fmt: skip
@_SECRET_FILE
@_SECRET_FROM
@pass_app
def client_rotate(
    app: App, client_id: str, overlap: timedelta, secret_file: Path | None, secret_from: Path | None
) -> None:
    """Give a client another secret. `client show` tells whether the earlier one is still used."""
    given = _given(secret_file, secret_from)
    with _place(secret_file) as place:
        _tell(
            app, _authority(app).rotate_client(client_id, overlap=overlap, secret=given), secret_file, place
        )


@client.command("revoke")
@click.argument("client_id", metavar="ID")
@_REASON
@pass_app
def client_revoke(app: App, client_id: str, reason: str) -> None:
    """Revoke a client for ever: its secrets at once, its tokens within seconds in every process."""
    _show(app, _authority(app).revoke_client(client_id, reason))


@click.command("bootstrap", cls=StellaCommand)
@click.option("--client-id", default="admin", show_default=True, metavar="ID", help="Its id.")
@_SECRET_FILE
@_SECRET_FROM
@pass_app
def bootstrap(app: App, client_id: str, secret_file: Path | None, secret_from: Path | None) -> None:
    r"""Make the first operator: a client with every scope for every tenant.

    Where there is one already, nothing is made; with the same --secret-from as the first time that is no error.

    \b
      stella authority bootstrap --secret-file admin.secret
    """
    given = _given(secret_file, secret_from)
    with _place(secret_file) as place:
        _tell(app, _authority(app).bootstrap(client_id, given), secret_file, place)


@click.group(cls=StellaGroup)
def tenant() -> None:
    """Tenants of the service, each with its own profiles, runs, keys and limits."""


@tenant.command("create")
@click.argument("name")
@_ACTIVE
@_QUEUED
@_STORAGE
@pass_app
def tenant_create(
    app: App, name: str, max_active_runs: int | None, max_queued_runs: int | None, max_storage: int | None
) -> None:
    """Make a tenant."""
    storage = None if max_storage == UNLIMITED else max_storage
    app.out.value(_authority(app).create_tenant(name, max_active_runs, max_queued_runs, storage))


@tenant.command("list")
@pass_app
def tenant_list(app: App) -> None:
    """List the tenants with their limits."""
    wires = _authority(app).tenants()
    rows = [
        (
            wire["tenant"],
            wire["maxActiveRuns"],
            wire["maxQueuedRuns"],
            _shown_size(wire.get("maxStorageBytes")),
            wire["createdAt"],
        )
        for wire in wires
    ]
    app.out.rows(wires, ("tenant", "active runs", "queued runs", "storage", "created"), rows)


def _shown_size(size: int | None) -> str:
    return "-" if size is None else sizes.render(size)


@tenant.command("set")
@click.argument("name")
@_ACTIVE
@_QUEUED
@_STORAGE
@_REASON
@pass_app
def tenant_set(
    app: App,
    *,
    name: str,
    max_active_runs: int | None,
    max_queued_runs: int | None,
    max_storage: int | None,
    reason: str,
) -> None:
    """Change how much a tenant may run and keep.

    With 0 active runs, submissions are refused and what is queued waits. What would take more storage than allowed is
    refused before it is built.
    """
    if max_active_runs is None and max_queued_runs is None and max_storage is None:
        raise UsageError("nothing to change: give --max-active-runs, --max-queued-runs or --max-storage")
    authority = _authority(app)
    wire = authority.set_limits(
        name, max_active_runs=max_active_runs, max_queued_runs=max_queued_runs, max_storage=max_storage,
        reason=reason,
    )  # fmt: skip
    app.out.value(wire)


@click.group("token-key", cls=StellaGroup)
def token_key() -> None:
    """Keys that sign access tokens; each machine makes its own, and another one every 30 days."""


@token_key.command("list")
@pass_app
def token_key_list(app: App) -> None:
    """List their public parts, the oldest first."""
    _token_keys(app, _authority(app).token_keys())


@token_key.command("rotate")
@pass_app
def token_key_rotate(app: App) -> None:
    """Let every machine make another key at its next token. Tokens that are out hold until they expire."""
    _token_keys(app, _authority(app).rotate_token_keys())


@token_key.command("revoke")
@click.argument("key_id")
@_REASON
@pass_app
def token_key_revoke(app: App, key_id: str, reason: str) -> None:
    """Revoke a key that others may have: its tokens end within seconds, and whoever has one logs in again."""
    app.out.value(_authority(app).revoke_token_key(key_id, reason))


def _token_keys(app: App, wires: list[dict[str, Any]]) -> None:
    columns = ("keyId", "state", "createdAt", "signsUntil", "revokedAt")
    rows = [tuple(wire[name] for name in columns) for wire in wires]
    app.out.rows(wires, ("key", "state", "created", "signs until", "revoked"), rows)


@contextmanager
def _place(secret_file: Path | None) -> Iterator[Callable[[bytes], None] | None]:
    """The place for a secret that is about to be made."""
    if secret_file is None:
        yield None
        return
    with disk.reserved(secret_file) as fill:
        yield fill


def _tell(
    app: App, wire: dict[str, Any], secret_file: Path | None, place: Callable[[bytes], None] | None
) -> None:
    """Show a client; its secret goes to its file where there is one."""
    if place is not None and "clientSecret" in wire:
        place(wire.pop("clientSecret").encode("ascii") + b"\n")
        wire["secretFile"] = str(secret_file)
    _show(app, wire)
    if "clientSecret" in wire:
        app.out.note("the secret is shown this once; keep it where only its user can read it")


def _show(app: App, wire: dict[str, Any]) -> None:
    """A client, to people with a line for each secret."""
    pairs = [(name, value) for name, value in wire.items() if name != "secrets"]
    secrets = [(f"secret {each['number']}", _secret(each)) for each in wire["secrets"]]
    app.out.value(wire, [*pairs, *secrets])


def _secret(wire: dict[str, Any]) -> str:
    """When a secret was made, ends and was last used."""
    ends = f", ends {wire['expiresAt']}" if wire["expiresAt"] else ""
    used = f"last used {wire['usedAt']}" if wire["usedAt"] else "never used"
    return f"made {wire['createdAt']}{ends}, {used}"


def _scopes(given: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for text in given for name in text.split())
    return tuple(SCOPES) if "all" in names else names


def _last_use(wire: dict[str, Any]) -> str | None:
    used = [secret["usedAt"] for secret in wire["secrets"] if secret["usedAt"]]
    return max(used, default=None)


def _given(secret_file: Path | None, secret_from: Path | None) -> str | None:
    """The secret in --secret-from."""
    if secret_file and secret_from:
        raise UsageError("--secret-file and --secret-from exclude each other")
    if secret_from is None:
        return None
    data = disk.passphrase_file(secret_from)()
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise WeakSecret(f"{secret_from} holds other than ASCII characters") from None
