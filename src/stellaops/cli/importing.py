"""`stella concelier import`: one source from the command line, or many from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.files.inputs import InputMissing
from stellaops.advisories.databases import DATABASES, GENERIC
from stellaops.center.interface import ImportWanted, Ingest
from stellaops.center.wire import Wire
from stellaops.cli.frame import App, StellaCommand, UsageError, pass_app
from stellaops.core.errors import StellaError
from stellaops.ingest import source_list
from stellaops.ingest.feeds import Side, feeds_of, side_of


def import_options(side: Side) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The arguments and options that imports of every side have in common, with the feeds of this one."""
    options = (
        click.argument("paths", nargs=-1, type=click.Path(path_type=Path)),
        click.option("--source", metavar="NAME", help="Name under which the documents are kept."),
        click.option(
            "--sources",
            "listed",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="A YAML file that lists imports, instead of PATH and the options above and below.",
        ),
        click.option(
            "--feed",
            type=click.Choice(sorted(feeds_of(side))),
            help="Form of the documents; told from them when left out.",
        ),
        click.option(
            "--prune",
            is_flag=True,
            help="The input is complete: what the source had and it lacks has vanished.",
        ),
        click.option(
            "--openpgp-key",
            "openpgp_keys",
            multiple=True,
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A public key of the publisher: then every document needs a good signature beside it. Repeatable.",
        ),
    )
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


@click.command("import", cls=StellaCommand)
@import_options(Side.ADVISORIES)
@click.option(
    "--database",
    type=click.Choice(sorted(database.name for database in DATABASES)),
    help="The database they belong to; told from their ids when left out.",
)
@pass_app
def import_(app: App, /, **given: Any) -> None:
    r"""Import files, folders, zip or tar archives (any compression).

    \b
      stella concelier import pypa.zip --source pypa
      stella concelier import ./advisories --source ghsa --prune
      stella concelier import --sources sources.yaml

    An import that was interrupted goes on where it was when the same command runs again. Records that cannot be read
    go to quarantine and stop nothing. A file of --sources holds

    \b
      sources:
        - source: pypa
          paths: [pypa.zip]        # as seen from the file
        - source: ghsa
          paths: [./advisories]
          prune: true              # also: feed, database, openpgpKeys

    where one source that fails stops no other.
    """
    import_given(app, app.center.concelier, Side.ADVISORIES, **given)


def import_given(
    app: App,
    into: Ingest,
    side: Side,
    *,
    paths: tuple[Path, ...],
    source: str | None,
    listed: Path | None,
    openpgp_keys: tuple[Path, ...],
    **wanted: Any,
) -> None:
    """Import into one source, or what a file lists.

    Args:
        wanted: further fields of `ImportWanted`.

    Raises:
        UsageError: it is neither the one nor the other, or both.
    """
    if listed is not None:
        if paths or source or openpgp_keys or any(wanted.values()):
            raise UsageError("--sources stands for PATH, --source and all other options")
        import_listed(app, listed, into, side)
        return
    if not paths or source is None:
        raise UsageError("PATH and --source NAME are needed, or --sources FILE")
    keys = tuple(file.read_bytes() for file in openpgp_keys)
    asked = ImportWanted(source, openpgp_keys=keys, **wanted)
    print_report(app, import_one(app, into, asked, paths))


def import_one(app: App, into: Ingest, wanted: ImportWanted, paths: Sequence[Path]) -> Wire:
    """Import some paths with a progress bar."""
    with app.out.progress(f"importing into {wanted.source}") as steps:
        return into.import_paths(wanted, paths, steps.show)


_COLUMNS = ("source", "feed", "read", "added", "changed", "unchanged", "withdrawn", "vanished", "quarantined")


def import_listed(app: App, listed: Path, into: Ingest, side: Side) -> None:
    """Import what a file lists and show what each import did.

    Raises:
        StellaError: the first failure, after all others were tried.
    """
    wires: list[dict[str, Any]] = []
    failures: list[tuple[str, StellaError]] = []
    for one in source_list.parse(listed.read_bytes(), side):
        asked = one.request
        try:
            paths = [listed.parent / path for path in one.paths]
            keys = tuple(_key(listed.parent / path) for path in one.openpgp_keys)
            wanted = ImportWanted(asked.source, asked.feed, asked.database, asked.prune, keys)
            wires.append(import_one(app, into, wanted, paths))
        except StellaError as error:
            failures.append((asked.source, error))
            told = {"code": error.code, "what": error.what, "hint": error.advice}
            wires.append({"source": asked.source, "error": told})
    app.out.rows(wires, _COLUMNS, [[wire.get(name, "") for name in _COLUMNS] for wire in wires])
    if failures:
        raise _first(failures)


def _key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputMissing(f"the OpenPGP key {path} cannot be read: {error.strerror}") from error


def _first(failures: Sequence[tuple[str, StellaError]]) -> StellaError:
    """The first failure, which decides the exit code, with all of them named."""
    _, error = failures[0]
    error.details = tuple(f"source {name}: {failed.code}: {failed.what}" for name, failed in failures)
    return error


def print_report(app: App, wire: Wire) -> None:
    """Show what an import did, and what to look at."""
    told = [
        (name, value)
        for name, value in wire.items()
        if value not in (0, False) and not isinstance(value, dict)
    ]
    app.out.value(wire, told)
    if wire["database"] == GENERIC.name:
        app.out.note(
            "the ids are of no single known database: kept as database osv, which is trusted for no distribution;"
            " import each database as a source of its own, or give --database"
        )
    if wire["quarantined"]:
        product = "excititor" if side_of(wire["feed"]) is Side.VEX else "concelier"
        app.out.note(f"see `stella {product} quarantine list --source {wire['source']}`")
    if any(wire.get("checks", {}).values()):
        _print_checks(app, wire["checks"])


def _print_checks(app: App, checks: dict[str, int]) -> None:
    """What was checked beside the documents, and what could not be."""
    if any(value for name, value in checks.items() if name not in ("unsigned", "listedButAbsent")):
        _print_checked(app, checks)
    if checks["unsigned"]:
        app.out.note(f"{checks['unsigned']:,} documents have no signature")
    if checks["listedButAbsent"]:
        app.out.note(f"listings name {checks['listedButAbsent']:,} documents that are not in the input")


def _print_checked(app: App, checks: dict[str, int]) -> None:
    app.out.note(
        f"beside documents: {checks['hashesGood']:,} hashes good, {checks['hashesWrong']:,} wrong; "
        f"{checks['signaturesGood']:,} signatures good, {checks['signaturesWrong']:,} wrong, "
        f"{checks['signaturesUnverified']:,} not verified for want of a key (--openpgp-key)"
    )
