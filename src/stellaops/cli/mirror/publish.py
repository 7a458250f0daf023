"""`stella mirror publish` and `stella mirror status`."""

from __future__ import annotations

from typing import Any

import click

from stellaops.bootstrap import now
from stellaops.center.local_mirrors import LocalMirrors
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core import timestamps
from stellaops.mirrors.publish import Outcome, Published
from stellaops.mirrors.status import Standing, standings


@click.command(cls=StellaCommand)
@click.option(
    "--to",
    "place",
    metavar="DIR|s3://…",
    help="The root of the trees; `mirrors` in the data directory if left out.",
)
@pass_app
def publish(app: App, place: str | None) -> None:
    r"""Publish the domains: one snapshot, a signed tree for each side, then the switch of what readers follow.

    \b
      stella mirror publish
      stella mirror publish --to /srv/mirror
      stella mirror publish --to s3://mirror-stellaops

    The same evidence gives the same tree under the same export id; then only the freshness statements are renewed, so
    run it at least once in a cadence. Readers see the tree before or the tree after, whatever happens; a tree that is
    not the newest any more stays for a day. Into a bucket the tree is copied from the directory
    where it is made first.
    """
    mirrors = LocalMirrors(app.local, app.tenant)
    with app.out.progress("publishing") as steps:
        outcome = mirrors.publish(place, steps.show)
    _print(app, outcome)


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
@click.option("--to", "place", metavar="DIR|s3://…", help="As of `stella mirror publish`.")
@pass_app
def status(app: App, place: str | None) -> None:
    """Show what is in force of each domain, how far behind the evidence it is, and until when it counts as fresh."""
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
        "freshnessVersion": None if statement is None else statement.version,
        "expires": None if statement is None else timestamps.render(statement.expires),
    }
