"""`stella mirror publish` and `stella mirror status`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.bootstrap import now
from stellaops.center.local_mirrors import LocalMirrors
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.cli.mirror.repeating import every_option, in_turns
from stellaops.core import timestamps
from stellaops.mirrors.publish import Outcome, Published
from stellaops.mirrors.status import Hosted, Standing, hosted, standings


@click.command(cls=StellaCommand)
@click.option(
    "--to",
    "place",
    metavar="DIR|s3://…|oci://…",
    help="The root of the trees; `mirrors` in the data directory if left out.",
)
@every_option
@pass_app
def publish(app: App, place: str | None, every: timedelta | None) -> None:
    r"""Publish the domains: one snapshot, a signed tree for each side, then the switch of what readers follow.

    \b
      stella mirror publish
      stella mirror publish --to /srv/mirror --every 15m
      stella mirror publish --to s3://mirror-stellaops
      stella mirror publish --to oci://registry.example.org/stella/mirror

    The same evidence gives the same tree under the same export id; then only the freshness statements are renewed, so
    run it at least once in a cadence. Readers see the tree before or the tree after, whatever happens; a tree that is
    not the newest any more stays for a day. Into a bucket or a registry the tree is
    copied from the directory where it is made first.
    """
    mirrors = LocalMirrors(app.local, app.tenant)
    if every is None:
        with app.out.progress("publishing") as steps:
            done = mirrors.publish(place, steps.show)
        _print(app, done)
    else:
        in_turns(app, every, "mirror.published", lambda: _told(mirrors.publish(place, lambda _: None)))


def _told(outcome: Outcome) -> dict[str, Any]:
    """What the log says of a publication."""
    return {
        "sequence": outcome.sequence,
        "domains": [_published(each) for each in outcome.published],
        "remarks": list(outcome.remarks),
    }


def _print(app: App, outcome: Outcome) -> None:
    for remark in outcome.remarks:
        app.out.note(remark)
    app.out.rows(
        [_published(each) for each in outcome.published],
        ("side", "domain", "export", "changed", "bytes"),
        [(each.side, each.domain, each.export_id, each.changed, each.bytes) for each in outcome.published],
    )


def _published(each: Published) -> dict[str, Any]:
    return {
        "side": each.side,
        "domain": each.domain,
        "exportId": each.export_id,
        "changed": each.changed,
        "bytes": each.bytes,
        "lagSeconds": 0,
        "freshnessVersion": None if each.freshness is None else each.freshness.version,
        "expires": None if each.freshness is None else timestamps.render(each.freshness.expires),
    }


@click.command(cls=StellaCommand)
@click.option("--to", "place", metavar="DIR|s3://…|oci://…", help="As of `stella mirror publish`.")
@pass_app
def status(app: App, place: str | None) -> None:
    """Show what is in force of each domain, how far behind the evidence it is, and until when it counts as fresh.

    Of a directory that `stella mirror sync` fills: when it was synced last, and how old what it holds is.
    """
    synced = [] if place is None else list(hosted(MirrorDirectory(Path(place))))
    if synced:
        _print_hosted(app, synced)
        return
    local = app.local
    root, copies = local.mirror_places(place)
    found = list(standings(app.tenant, copies[0] if copies else root, local.publish_tools))
    app.out.rows(
        [_standing(each) for each in found],
        ("side", "domain", "export", "behind", "lag (s)", "expires"),
        [
            (
                each.side,
                each.domain.id,
                each.publication and each.publication.export_id,
                each.behind,
                each.lag(now()),
                each.statement and timestamps.render(each.statement.expires),
            )
            for each in found
        ],
    )


def _print_hosted(app: App, found: Sequence[Hosted]) -> None:
    app.out.rows(
        [_hosted(each) for each in found],
        ("side", "domain", "export", "lag (s)", "age (s)", "expires"),
        [
            (
                each.side,
                each.domain,
                each.export_id,
                each.lag(now()),
                each.age(now()),
                each.statement and timestamps.render(each.statement.expires),
            )
            for each in found
        ],
    )


def _hosted(each: Hosted) -> dict[str, Any]:
    statement = each.statement
    return {
        "side": each.side,
        "domain": each.domain,
        "exportId": each.export_id,
        "syncedAt": timestamps.render(each.synced_at),
        "lagSeconds": each.lag(now()),
        "bundleAgeSeconds": each.age(now()),
        "freshnessVersion": None if statement is None else statement.version,
        "expires": None if statement is None else timestamps.render(statement.expires),
    }


def _standing(each: Standing) -> dict[str, Any]:
    publication, statement = each.publication, each.statement
    return {
        "side": each.side,
        "domain": each.domain.id,
        "exportId": None if publication is None else publication.export_id,
        "sequence": None if publication is None else publication.sequence,
        "publishedAt": None if publication is None else timestamps.render(publication.published_at),
        "inForce": each.pointed,
        "behind": each.behind,
        "lagSeconds": each.lag(now()),
        "bundleAgeSeconds": each.lag(now()),
        "freshnessVersion": None if statement is None else statement.version,
        "expires": None if statement is None else timestamps.render(statement.expires),
    }
