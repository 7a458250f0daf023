"""Archives that cross the air gap: verified, applied, restored, decrypted, cut to the size of media and joined."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.files.replacing import replacing
from stellaops.bootstrap import now
from stellaops.bundles.freshness import parse
from stellaops.center.freshness import renew
from stellaops.center.noting import local_audit
from stellaops.cli.durations import Duration
from stellaops.cli.export import BundleMissing, print_report
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.cli.identities import IDENTITY, openers
from stellaops.cli.mirror.telling import applying
from stellaops.cli.output import say
from stellaops.cli.trust import key_remarks, trusted_keys
from stellaops.core import timestamps
from stellaops.exports import issue_freshness
from stellaops.kit import chunks
from stellaops.kit.apply import Applied, Trust, apply_delta
from stellaops.kit.apply import restore as restore_chain
from stellaops.kit.chain import verify_path
from stellaops.kit.decrypt import decrypt as decrypt_bundle


class Instant(click.ParamType[datetime]):
    """An instant in RFC 3339."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """See `core.timestamps.parse`."""
        found = value if isinstance(value, datetime) else timestamps.parse(str(value))
        return found or self.fail(f"{value!r} is no instant such as 2026-01-31T12:00:00Z", param, ctx)


_ALLOW_STALE = click.option(
    "--allow-stale", is_flag=True, help="Take what its freshness statement calls too old, too."
)
_INTO = click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What is brought to the new state; readers use DIR/current.",
)
_KEY = click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that you trust."
)


@click.command(cls=StellaCommand)
@click.argument("path", type=click.Path(path_type=Path))
@_KEY
@click.option(
    "--max-age",
    type=Duration(),
    metavar="D",
    help="Fail where the freshness statement is older than this, such as 24h or 7d, or is missing.",
)
@click.option(
    "--at", type=Instant(), metavar="TIME", help="Judge its age as of this instant instead of the present."
)
@IDENTITY
@click.pass_context
@pass_app
def verify(
    app: App,
    context: click.Context,
    *,
    path: Path,
    keys: tuple[Path, ...],
    max_age: timedelta | None,
    at: datetime | None,
    identities: tuple[str, ...],
) -> None:
    r"""Verify a mirror bundle by every rule, without a network and without unpacking it.

    \b
      mirror verify mirror-20260131-full.tar.zst --key export-center.pub
      mirror verify DIR --key export-center.pub --max-age 24h

    PATH is an archive, the directory that holds one, an unpacked archive, or what deltas were applied to; a directory
    with a full archive and deltas is verified as the chain that they must be. An archive is read once; signatures are
    checked before anything in it is believed. Trust comes only from --key or from the keys of the data directory, never
    from the bundle. An encrypted bundle is verified as far as digests of what is encrypted go, and with --identity to
    the end. Exits 6 when the bundle is not as its signer made it.
    """
    if not path.exists():
        raise BundleMissing(f"{path} does not exist")
    trusted, revoked = trusted_keys(app, keys)
    with app.out.progress("verifying"):
        report = verify_path(
            path,
            trusted,
            revoked=revoked,
            remarks=key_remarks(app),
            max_age=max_age,
            at=at or now(),
            identities=openers(app, identities),
        )
    print_report(app, report, path)
    if report.verdict != "ok":
        context.exit(6)


@click.command(cls=StellaCommand)
@click.argument("delta", type=click.Path(path_type=Path))
@_INTO
@_KEY
@IDENTITY
@_ALLOW_STALE
@pass_app
def apply(app: App, /, *, delta: Path, into: Path, **trusting: Any) -> None:
    r"""Apply a delta to a directory that has its base in force.

    \b
      mirror apply mirror-20260201-delta-1.tar.zst --into /srv/mirror --key export-center.pub

    Readers of DIR/current see the state before or the state after, never anything between. A delta that does not follow
    what was applied last, or is not as it was signed, is refused with exit code 6, and nothing changes. After a crash
    the next command goes on.
    """
    with app.out.progress("applying") as steps, applying(app, into) as told:
        done = apply_delta(_existing(delta), into, _trust(app, **trusting), steps.show)
        told(done)
    _print_applied(app, done, into)


@click.command(cls=StellaCommand)
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@_INTO
@_KEY
@IDENTITY
@_ALLOW_STALE
@pass_app
def restore(app: App, /, *, archives: tuple[Path, ...], into: Path, **trusting: Any) -> None:
    r"""Bring a directory to the state of a full archive and the deltas after it.

    \b
      mirror restore mirror-20260131-full.tar.zst mirror-20260201-delta-1.tar.zst --into /srv/mirror

    The archives are given in their order and checked before anything changes. A restore that was interrupted goes on
    where it was when it is asked for again.
    """
    with app.out.progress("restoring") as steps, applying(app, into) as told:
        done = restore_chain(
            [_existing(each) for each in archives], into, _trust(app, **trusting), steps.show
        )
        told(done)
    _print_applied(app, done, into)


@click.command(cls=StellaCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A directory that does not exist yet, or an empty one.",
)
@_KEY
@IDENTITY
@pass_app
def decrypt(app: App, /, *, path: Path, target: Path, **trusting: Any) -> None:
    r"""Decrypt a bundle into a directory of its contents.

    \b
      mirror decrypt mirror-20260131-full.tar.zst --to plain --identity key.txt --key export-center.pub

    What comes out verifies by itself, as an applied tree does. Nothing is written of a bundle that does not.
    """
    with app.out.progress("decrypting") as steps:
        head = decrypt_bundle(_existing(path), target, _trust(app, **trusting), steps.show)
    app.out.value(
        {
            "exportId": head.manifest.export_id,
            "archiveId": head.archive_id,
            "path": str(target.absolute()),
        }
    )


@click.command(cls=StellaCommand)
@click.option("--profile", default="mirror:full", metavar="NAME", help="The full profile of the mirror.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where both files are put, such as beside the archive; they are only issued if left out.",
)
@pass_app
def freshness(app: App, profile: str, target: Path | None) -> None:
    r"""Say anew that the newest export of a mirror still is the newest, without a new export.

    \b
      mirror freshness --to /srv/outgoing

    Receivers refuse an export whose statement has expired, or one older than what they know. Each run issues a
    statement; where exports come seldom, renew it between them, at least once in a cadence (the profile's nextUpdate).
    """
    local = app.local
    run = issue_freshness.newest_of(app.tenant, profile, local.runs)
    signed = renew(local, run, local_audit(local, app.tenant).noting)
    made = parse(signed.statement)
    if target is not None:
        for name, data in signed.files.items():
            with replacing(target / name) as out:
                out.write(data)
    app.out.value(
        {
            "exportId": made.export_id,
            "profile": made.profile,
            "version": made.version,
            "issued": timestamps.render(made.issued),
            "expires": timestamps.render(made.expires),
        }
    )


@click.command(cls=StellaCommand)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the chunks are put.",
)
@click.option("--chunk-size", required=True, metavar="SIZE", help="Of the medium, such as 650M or 4G.")
@pass_app
def split(app: App, *, files: tuple[Path, ...], target: Path, chunk_size: str) -> None:
    r"""Cut files to the size of a medium, with a table of contents.

    \b
      mirror split mirror-20260131-full.tar.zst* --to media --chunk-size 4G
    """
    made = chunks.split(files, target, chunks.parse_size(chunk_size))
    app.out.rows(
        [{"file": each.name, "bytes": each.bytes, "chunks": len(each.chunks)} for each in made.files],
        ("file", "bytes", "chunks"),
        [(each.name, each.bytes, len(each.chunks)) for each in made.files],
    )


@click.command(cls=StellaCommand)
@click.argument("places", nargs=-1, required=True, metavar="DIR…", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the files are put.",
)
@pass_app
def join(app: App, *, places: tuple[Path, ...], target: Path) -> None:
    """Put together what was cut to the size of a medium; every digest is checked."""
    joined = chunks.join(places, target)
    app.out.value({"files": [str(path) for path in joined]})


def _existing(path: Path) -> Path:
    if not path.exists():
        raise BundleMissing(f"{path} does not exist")
    return path


def _trust(
    app: App, keys: tuple[Path, ...], identities: tuple[str, ...], *, allow_stale: bool = False
) -> Trust:
    trusted, revoked = trusted_keys(app, keys)
    return Trust(trusted, revoked, openers(app, identities), now(), allow_stale)


def _print_applied(app: App, done: Applied, into: Path) -> None:
    for warning in done.warnings:
        say(f"warning: {warning}")
    app.out.value(
        done.to_wire(),
        [
            ("export", done.export_id),
            ("archive", done.archive_id),
            ("applied", len(done.applied)),
            ("changed", "yes" if done.changed else "no: the state is the same"),
            ("in force", into / "current"),
        ],
    )
