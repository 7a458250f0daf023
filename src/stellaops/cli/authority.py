"""`stella authority`: signing keys; clients, tenants and keys of access tokens stand in `cli/clients.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.keys import disk
from stellaops.authority import manage_keys
from stellaops.bootstrap import now
from stellaops.center.keys import key as wire_of
from stellaops.center.keys import key_changed
from stellaops.center.noting import local_audit
from stellaops.center.wire import Wire
from stellaops.cli.clients import bootstrap, client, tenant, token_key
from stellaops.cli.frame import App, StellaGroup, UsageError, pass_app
from stellaops.cli.login import login, logout
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import PrivateKey, UnusableKey
from stellaops.signing.key_files import KeyForm

_FILE = click.Path(path_type=Path)
_PASSPHRASE = click.option(
    "--passphrase-file",
    type=_FILE,
    help="Encrypt the private key with the passphrase in this file (mode 0600).",
)
_OPENING = click.option(
    "--passphrase-file",
    type=_FILE,
    help="What the private key is under, where that is another than STELLA_KEY_PASSPHRASE_FILE names.",
)
_NEW = click.option(
    "--new-passphrase-file", type=_FILE, help="What protects the private key that is written (mode 0600)."
)
_NONE = click.option(
    "--no-passphrase", is_flag=True, help="Write the private key without any passphrase, on purpose."
)
_URI = click.option(
    "--uri",
    metavar="URI",
    help="Take the newest key of a key service: hashivault://NAME, awskms:///KEY, pkcs11:…, file:///PATH.",
)
_KEY_ID = click.option("--key-id", metavar="ID", help="Another than the active key.")


@click.group(cls=StellaGroup)
def authority() -> None:
    """Who may use the service, and the keys that sign exports."""


for command in (client, tenant, token_key, bootstrap, login, logout):
    authority.add_command(command)


@authority.group(cls=StellaGroup)
def key() -> None:
    """ECDSA P-256 keys of a tenant; one of them is active."""


@key.command("create")
@_PASSPHRASE
@_URI
@click.option("--no-activate", is_flag=True, help="Let it wait, so that receivers have it before it signs.")
@pass_app
def key_create(app: App, passphrase_file: Path | None, uri: str | None, no_activate: bool) -> None:
    """Make a key, or take one of a key service, and let it sign from now on; earlier keys still verify.

    The private part is kept in the data directory with mode 0600, or encrypted under a passphrase: later runs then
    need it too (STELLA_KEY_PASSPHRASE_FILE). Of a key in a key service nothing is kept here but its URI and its public
    part; it is tried first. A tenant's first key is active at once.
    """
    _demand_one(uri, passphrase_file)
    made = app.center.keys.create(activate=not no_activate, passphrase_file=passphrase_file, uri=uri)
    app.out.value(made)


@key.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--passphrase-file", type=_FILE, help="What FILE is under; it may hold an empty passphrase.")
@click.option(
    "--new-passphrase-file",
    type=_FILE,
    help="What protects it here; else STELLA_KEY_PASSPHRASE_FILE, else FILE's own.",
)
@click.option("--activate", is_flag=True, help="Let it sign from now on.")
@pass_app
def key_import(
    app: App, file: Path, passphrase_file: Path | None, new_passphrase_file: Path | None, activate: bool
) -> None:
    """Take in a private key that was made elsewhere: cosign's key file, or PKCS#8 or SEC 1 in PEM.

    FILE must be open to its owner only. Of a key that is known here, its private part is written again.
    """
    given = _passphrase(passphrase_file)
    taken = _opened(file, given)
    kept = _passphrase(new_passphrase_file or app.settings.get("keyPassphraseFile")) or given or None
    with local_audit(app.local, app.tenant).noting("key.imported") as told:
        record = manage_keys.import_key(app.local.keys, app.tenant, taken, kept, now=now(), activate=activate)
        key_changed(told, None, record)
    app.out.value(wire_of(record))


@key.command("list")
@pass_app
def key_list(app: App) -> None:
    """List the keys of the tenant, the oldest first."""
    wires = app.center.keys.list()
    instants = ("createdAt", "retiredAt", "revokedAt")
    app.out.rows(
        wires,
        ("key", "state", "created", "retired", "revoked", "encrypted", "service"),
        [
            (
                each["keyId"],
                each["state"],
                *(_second(each[name]) for name in instants),
                each["encrypted"],
                each["uri"],
            )
            for each in wires
        ],
    )


@key.command("activate")
@click.argument("key_id")
@pass_app
def key_activate(app: App, key_id: str) -> None:
    """Let a waiting or retired key sign from now on; the one that did so far still verifies."""
    app.out.value(app.center.keys.activate(key_id))


@key.command("test")
@click.argument("key_id", required=False)
@click.pass_context
@pass_app
def key_test(app: App, context: click.Context, key_id: str | None) -> None:
    """Have the active key, or the one named, sign something, and verify that: whether its key service works.

    Exits 10 where it does not sign.
    """
    found = app.center.keys.test(key_id)
    app.out.value(found)
    if found["status"] != "ok":
        context.exit(10)


@key.command("export-public")
@_KEY_ID
@click.option("--all", "every", is_flag=True, help="All keys that are not revoked, one PEM after the other.")
@click.option(
    "--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="A file, instead of the screen."
)
@pass_app
def key_export_public(app: App, key_id: str | None, every: bool, target: Path | None) -> None:
    r"""Write a public key in PEM, for the receivers of exports; or all of them, which --key takes too.

    \b
      stella authority key export-public --all --format json      # with the time of each, also of revoked ones
    """
    if every and key_id:
        raise UsageError("--all and --key-id exclude each other")
    if every and app.format is not None and target is None:
        listed = app.center.keys.listed()
        instants = ("createdAt", "retiredAt", "revokedAt")
        rows = [
            (each["keyId"], each["state"], *(_second(each[at]) for at in instants)) for each in listed["keys"]
        ]
        app.out.rows(listed, ("key", "state", "created", "retired", "revoked"), rows)
        return
    pem = app.center.keys.public(key_id, every=every)
    if target is None:
        app.out.write(pem)
        return
    try:
        target.write_bytes(pem)
    except OSError as error:
        raise disk.KeyFileNotWritten(f"{target} cannot be written: {error.strerror}") from error
    ids = [public.key_id for public in ecdsa_p256.load_public_keys(pem)]
    app.out.value({"keyIds": ids, "path": str(target)} if every else {"keyId": ids[0], "path": str(target)})


@key.command("export-private")
@_KEY_ID
@click.option(
    "--form", type=click.Choice([form.value for form in KeyForm]), default=KeyForm.COSIGN.value,
    show_default=True, help="cosign's own encrypted key file, or PKCS#8 in PEM.",
)  # fmt: skip
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A new file."
)
@_OPENING
@_NEW
@_NONE
@pass_app
def key_export_private(
    app: App, *, key_id: str | None, form: str, target: Path, passphrase_file: Path | None,
    new_passphrase_file: Path | None, no_passphrase: bool,
) -> None:  # fmt: skip
    """Write a private key to a new file of mode 0600, for cosign, for a backup or for another store.

    A file that exists is never written over. Cosign's form is always under a passphrase.
    """
    new = manage_keys.chosen_passphrase(_passphrase(new_passphrase_file), unprotected=no_passphrase)
    store = app.local.key_store(passphrase_file)
    record, data = manage_keys.export_private(store, app.tenant, key_id, KeyForm(form), new)
    disk.write_new(target, data, mode=0o600)
    app.out.value({"keyId": record.key_id, "form": form, "encrypted": new is not None, "path": str(target)})


@key.command("passwd")
@click.argument("key_id", required=False)
@_OPENING
@_NEW
@_NONE
@pass_app
def key_passwd(
    app: App,
    key_id: str | None,
    passphrase_file: Path | None,
    new_passphrase_file: Path | None,
    no_passphrase: bool,
) -> None:
    """Put the private keys of the tenant, or the one named, under another passphrase.

    Nothing is written before every key is opened. Interrupted, the same command goes on. Runs need the new passphrase
    from then on (STELLA_KEY_PASSPHRASE_FILE).
    """
    store = app.local.key_store(passphrase_file)
    new = _passphrase(new_passphrase_file)
    changed = manage_keys.change_passphrase(store, app.tenant, key_id, new, unprotected=no_passphrase)
    app.out.rows(
        [wire_of(record) for record in changed],
        ("key", "encrypted"),
        [(record.key_id, wire_of(record)["encrypted"]) for record in changed],
    )


@key.command("rotate")
@_PASSPHRASE
@_URI
@click.option("--no-passphrase", is_flag=True, help="Leave the new key without a passphrase, on purpose.")
@click.option("--keep-signatures", is_flag=True, help="Leave kept exports as the earlier key signed them.")
@click.pass_context
@pass_app
def key_rotate(
    app: App,
    context: click.Context,
    *,
    passphrase_file: Path | None,
    uri: str | None,
    no_passphrase: bool,
    keep_signatures: bool,
) -> None:
    """Make a new key, let it sign from now on, and sign kept exports again with it.

    The keys before it still verify what they signed, such as exports that are out. Where the active key is under a
    passphrase, the new one is too, unless told otherwise. A key of a key service is rotated there first; its URI, the
    same or another, is named here.
    """
    _demand_one(uri, passphrase_file, no_passphrase=no_passphrase)
    if no_passphrase and passphrase_file:
        raise UsageError("--passphrase-file and --no-passphrase exclude each other")
    with app.out.progress("signing kept exports") as steps:
        wire = app.center.keys.rotate(
            passphrase_file=passphrase_file,
            uri=uri,
            unprotected=no_passphrase,
            keep_signatures=keep_signatures,
            progress=steps.show,
        )
    app.out.value(wire, _rotated(wire))
    _leave_with(context, wire["resigned"])


def _rotated(wire: Wire) -> list[tuple[str, Any]]:
    """A rotation as people read it: how many exports were signed again, and each that was not."""
    done = wire["resigned"]
    lines = [(name, value) for name, value in wire.items() if name != "resigned"]
    lines.append(("signed again", f"{sum(not each['problem'] for each in done)} of {len(done)} kept exports"))
    return [*lines, *((f"{each['exportId']}", each["problem"]) for each in done if each["problem"])]


@key.command("resign")
@click.option("--passphrase-file", type=_FILE, help="What the active key is under.")
@click.pass_context
@pass_app
def key_resign(app: App, context: click.Context, passphrase_file: Path | None) -> None:
    """Sign kept exports again with the active key, after `activate`, or when the key that signed them is revoked.

    Their content is held against the records of their runs. An export that is not what its run made keeps its
    signatures; the command then exits 6.
    """
    with app.out.progress("signing kept exports") as steps:
        done = app.center.keys.resign(passphrase_file=passphrase_file, progress=steps.show)
    names = ("exportId", "archiveId", "problem")
    app.out.rows(done, ("export", "archive", "problem"), [[each[name] for name in names] for each in done])
    _leave_with(context, done)


@key.command("revoke")
@click.argument("key_id")
@click.option("--reason", default="", help="One line that verification and `key list` show.")
@pass_app
def key_revoke(app: App, key_id: str, reason: str) -> None:
    """Revoke a key: it signs and verifies nothing any more. A first revocation stands, with its time and reason."""
    app.out.value(app.center.keys.revoke(key_id, reason))


def _demand_one(uri: str | None, passphrase_file: Path | None, *, no_passphrase: bool = False) -> None:
    if uri and (passphrase_file or no_passphrase):
        raise UsageError("--uri says that a key service protects the key; no passphrase does")


def _leave_with(context: click.Context, done: Sequence[Wire]) -> None:
    if any(each["problem"] for each in done):
        context.exit(6)


def _passphrase(file: Path | str | None) -> bytes | None:
    return disk.passphrase_file(Path(file))() if file else None


def _opened(file: Path, passphrase: bytes | None) -> PrivateKey:
    try:
        return key_files.read(disk.read_named(file), passphrase)
    except UnusableKey as error:
        raise UnusableKey(f"{file}: {error.what}", hint=error.advice) from None


def _second(instant: str | None) -> str | None:
    """An instant for people, to whom seconds are enough."""
    return f"{instant.partition('.')[0]}Z" if instant and "." in instant else instant
