"""`stella authority`: signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from stellaops.authority import manage_keys
from stellaops.authority.keys import KeyRecord, KeyState
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.core import timestamps

_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Encrypt the private key with the passphrase in this file (mode 0600).",
)


@click.group(cls=StellaGroup)
def authority() -> None:
    """Keys that sign exports."""


@authority.group(cls=StellaGroup)
def key() -> None:
    """ECDSA P-256 keys of a tenant; one of them is active."""


@key.command("create")
@_PASSPHRASE
@pass_app
def key_create(app: App, passphrase_file: Path | None) -> None:
    """Make a key and let it sign from now on; earlier keys still verify.

    The private part is kept in the data directory with mode 0600, or encrypted under a passphrase: later runs then
    need it too (STELLA_KEY_PASSPHRASE_FILE).
    """
    store = app.local.key_store(passphrase_file)
    record = manage_keys.create_key(store, app.tenant, now=now())
    wire = _wire(record)
    wire["publicKeyFile"] = str(app.local.keys.public_key_path(app.tenant))
    app.out.value(wire)


@key.command("list")
@pass_app
def key_list(app: App) -> None:
    """List the keys of the tenant."""
    records = manage_keys.list_keys(app.local.keys, app.tenant)
    app.out.rows(
        [_wire(record) for record in records],
        ("key", "state", "created"),
        [
            (record.key_id, record.state.value, timestamps.render(record.created_at.replace(microsecond=0)))
            for record in records
        ],
    )


@key.command("export-public")
@click.option("--key-id", metavar="ID", help="Another than the active key.")
@click.option(
    "--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="A file, instead of the screen."
)
@pass_app
def key_export_public(app: App, key_id: str | None, target: Path | None) -> None:
    """Write a public key in PEM, for the receivers of exports."""
    pem = manage_keys.export_public(app.local.keys, app.tenant, key_id)
    if target is None:
        click.echo(pem.decode("ascii"), nl=False)
        return
    target.write_bytes(pem)
    app.out.value({"keyId": key_id or _active(app), "path": str(target)})


@key.command("rotate")
@_PASSPHRASE
@pass_app
def key_rotate(app: App, passphrase_file: Path | None) -> None:
    """Make a new key and let it sign from now on; the keys before it still verify what they signed."""
    store = app.local.key_store(passphrase_file)
    app.out.value(_wire(manage_keys.create_key(store, app.tenant, now=now())))


@key.command("revoke")
@click.argument("key_id")
@pass_app
def key_revoke(app: App, key_id: str) -> None:
    """Revoke a key: it signs and verifies nothing any more."""
    app.out.value(_wire(manage_keys.revoke_key(app.local.keys, app.tenant, key_id, now=now())))


def _active(app: App) -> str:
    records = manage_keys.list_keys(app.local.keys, app.tenant)
    return next(record.key_id for record in records if record.state is KeyState.ACTIVE)


def _wire(record: KeyRecord) -> dict[str, str]:
    return {
        "keyId": record.key_id,
        "tenant": record.tenant,
        "state": record.state.value,
        "createdAt": timestamps.render(record.created_at),
    }
