"""`stella db`: the stores themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stellaops.adapters.sql.administration import copied, stores_at
from stellaops.cli.frame import App, StellaGroup, pass_app

_WHICH = click.option(
    "--store",
    "names",
    type=click.Choice(["evidence", "service"]),
    multiple=True,
    help="Only this store; else both.",
)


@click.group(cls=StellaGroup)
def db() -> None:
    """Look at the stores, bring them up to date, copy them to another database.

    They are two SQLite files in the data directory, unless `store.evidence` and `store.service` name PostgreSQL.
    """


@db.command()
@_WHICH
@pass_app
def status(app: App, *, names: tuple[str, ...]) -> None:
    """Show where the stores lie, their schemas and sizes, and what is pending. Nothing is changed."""
    found = [store.status() for store in app.local.stores.chosen(names)]
    wire = {
        "stores": [
            {
                "store": each.store,
                "kind": each.kind,
                "address": each.address,
                "schema": each.schema,
                "oldestRelease": each.oldest,
                "releaseSchema": each.release_schema,
                "pending": list(each.pending),
                "bytes": each.bytes,
                "rows": each.rows,
                "projections": [
                    {"name": name, "version": version, "complete": done}
                    for name, version, done in each.projections
                ],
            }
            for each in found
        ]
    }
    columns = ("store", "kind", "schema", "of", "pending", "MB", "derived rows", "address")
    rows = [
        (
            each.store,
            each.kind,
            each.schema,
            each.release_schema,
            list(each.pending),
            round(each.bytes / 1e6),
            [
                f"{name} v{version}{'' if done else ' (to be made)'}"
                for name, version, done in each.projections
            ],
            each.address,
        )
        for each in found
    ]
    app.out.rows(wire, columns, rows)


@db.command()
@_WHICH
@click.option(
    "--rows", is_flag=True, help="Make derived rows of this release too, which else the next export does."
)
@click.option("--dry-run", is_flag=True, help="Only say what is pending.")
@pass_app
def migrate(app: App, *, names: tuple[str, ...], rows: bool, dry_run: bool) -> None:
    """Bring the stores to this release's schema, or make them.

    Each store in one transaction: interrupted, nothing has happened. SQLite files are brought up to date by any
    command; PostgreSQL only by this one. Releases that `oldestRelease` of `stella db status` allows go on working.
    """
    wire: list[dict[str, Any]] = []
    for store in app.local.stores.chosen(names):
        done = store.pending() if dry_run else store.migrate()
        wire.append({"store": store.name, "pending" if dry_run else "done": list(done)})
        if rows and not dry_run and store.name == "evidence":
            with app.out.progress("making derived rows"):
                store.make_rows()
    app.out.rows(wire, ("store", "pending" if dry_run else "done"), [tuple(each.values()) for each in wire])


@db.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@_WHICH
@click.option(
    "--source-password-file",
    type=click.Path(path_type=Path),
    help="Password of the role in SRC; else libpq's.",
)
@click.option(
    "--target-password-file",
    type=click.Path(path_type=Path),
    help="Password of the role in DST; else libpq's.",
)
@pass_app
def copy(
    app: App,
    *,
    source: str,
    target: str,
    names: tuple[str, ...],
    source_password_file: Path | None,
    target_password_file: Path | None,
) -> None:
    r"""Copy both stores from SRC to DST: data directories or PostgreSQL databases.

    \b
      stella db copy /srv/stella postgresql://stella@db.example/stella
      stella db copy postgresql://stella@db.example/stella /srv/restored

    DST must be empty. Interrupted, the same command goes on. At the end counts and digests of all tables are
    compared; until then nobody can work on DST. End imports and exports on SRC before. A store that SRC does not
    have is left out. Keys and bundles are files in the data directory and are not copied.
    """
    here, there = stores_at(source, source_password_file), stores_at(target, target_password_file)
    with app.out.progress("copying") as steps:
        done = list(copied(here, there, names, lambda table, rows: steps.show(f"{table}: {rows:,} rows")))
    wire = [
        {
            "store": each.store,
            "tables": [
                {"name": name, "rows": rows, "digest": each.digests[name]} for name, rows in each.rows.items()
            ],
        }
        for each in done
    ]
    cells = [
        (each.store, name, rows, each.digests[name]) for each in done for name, rows in each.rows.items()
    ]
    app.out.rows(wire, ("store", "table", "rows", "digest"), cells)
