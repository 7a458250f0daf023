"""`stella mirror sync`: a mirror host's copy of a published tree."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_source
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.cli.mirror.repeating import every_option, in_turns, parse_duration
from stellaops.cli.trust import trusted_keys
from stellaops.core import timestamps
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.sync import Synced, SyncTools, Trusted, Wish
from stellaops.mirrors.sync import sync as sync_all


@click.command(cls=StellaCommand)
@click.argument("source")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that you trust."
)
@click.option("--domain", "domains", multiple=True, metavar="ID", help="Only this one; all if left out.")
@click.option(
    "--drop",
    "drops",
    multiple=True,
    metavar="ID",
    help="A domain that this directory has, and that the next tree may come without.",
)
@click.option(
    "--in-turn",
    is_flag=True,
    help="Other syncs bring other domains, by other logins; readers follow the tree when all have come.",
)
@click.option("--side", "sides", multiple=True, type=click.Choice(SIDES), help="Only this one.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with `user:password` for a mirror over HTTP, a registry or an rsync daemon; or with a token.",
)
@click.option(
    "--credentials-kind", type=click.Choice(("basic", "bearer")), default="basic", show_default=True,
    help="What the file holds.",
)  # fmt: skip
@click.option("--allow-stale", is_flag=True, help="Take what is too old, too.")
@click.option(
    "--check-held", is_flag=True, help="Hash what is held; fetch again what is not as it was signed."
)
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at a time.")
@click.option(
    "--keep",
    callback=parse_duration,
    default="24h",
    show_default=True,
    metavar="D",
    help="How long a tree stays that is not followed any more.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@every_option
@pass_app
def sync(app: App, /, *, source: str, directory: Path, every: timedelta | None, **options: Any) -> None:
    r"""Bring a published mirror into a directory, which back ends serve.

    \b
      stella mirror sync s3://mirror-stellaops /opt/stellaops/mirror-data --key mirror-key.pub
      stella mirror sync https://mirror.example.org DIR --domain primary --credentials login --key mirror-key.pub
      stella mirror sync oci://registry.example.org/stella/mirror DIR --key mirror-key.pub
      stella mirror sync rsync://share.example.org/mirror DIR --key mirror-key.pub
      stella mirror sync /mnt/share DIR --key mirror-key.pub --every 5m

    SOURCE is a bucket, a mirror over HTTP, a repository of a registry, a share that rsync reaches (also HOST:PATH), or
    a directory. It goes by the signed list of each domain's files, never by sizes or times: files that are held are
    linked, others are fetched and checked by their digests. Then `latest` is switched. Interrupted, it leaves the tree
    in force and goes on where it was when it is run again; run it every five minutes. Domains add up under an export
    id; another tree that lacks a domain which DIR has is refused, unless its publisher has said, signed, that it was
    given up, or --drop names it. With --in-turn what comes waits until syncs with other logins have brought the others.
    A tree whose freshness statement has expired, or is older than the one that is held, is refused with exit code 6. Of
    a whole root only one process works at a time.
    """
    if every is None:
        _print(app, _synced(app, source, directory, options), dry_run=options["dry_run"])
    else:
        in_turns(
            app,
            every,
            "mirror.synced",
            lambda: _told(_synced(app, source, directory, options), dry_run=options["dry_run"]),
        )


def _synced(app: App, source: str, directory: Path, options: Mapping[str, Any]) -> tuple[Synced, ...]:
    """One sync, with keys and credentials as they are by then."""
    login = options["credentials"]
    told = None if login is None else Authentication(options["credentials_kind"], str(login))
    wish = Wish(
        options["sides"] or SIDES,
        options["domains"],
        options["allow_stale"],
        options["check_held"],
        options["dry_run"],
        options["parallel"],
        options["keep"],
        options["drops"],
        options["in_turn"],
    )
    with app.out.progress("syncing") as steps:
        trusted = Trusted.of(*trusted_keys(app, options["keys"]))
        opened = open_source(source, app.settings, app.home.web_settings, now, told)
        tools = SyncTools(opened, MirrorDirectory(directory), trusted, now, time.sleep, steps.show)
        return sync_all(wish, tools)


def _told(done: Sequence[Synced], *, dry_run: bool) -> dict[str, Any]:
    return {"domains": [_wire(each, dry_run=dry_run) for each in done]}


def _print(app: App, done: Sequence[Synced], *, dry_run: bool) -> None:
    app.out.rows(
        [_wire(each, dry_run=dry_run) for each in done],
        ("side", "domain", "export", "changed", "files", "bytes", "lag (s)", "age (s)"),
        [
            (
                each.side,
                each.domain,
                each.export_id,
                _change(each),
                each.files,
                each.bytes,
                each.lag(now()),
                each.age(now()),
            )
            for each in done
        ],
    )


def _change(each: Synced) -> bool | str:
    if each.given_up:
        return "given up"
    return f"waits for {', '.join(each.waits_for)}" if each.waits_for else each.changed


def _wire(each: Synced, *, dry_run: bool) -> dict[str, Any]:
    statement = each.statement
    return {
        "side": each.side,
        "domain": each.domain,
        "exportId": each.export_id,
        "changed": each.changed,
        "files": each.files,
        "bytes": each.bytes,
        "lagSeconds": each.lag(now()),
        "bundleAgeSeconds": each.age(now()),
        "syncedAt": None if each.synced_at is None else timestamps.render(each.synced_at),
        "freshnessVersion": None if statement is None else statement.version,
        "expires": None if statement is None else timestamps.render(statement.expires),
        "waitsFor": list(each.waits_for),
        "givenUp": each.given_up,
        "dryRun": dry_run,
    }
