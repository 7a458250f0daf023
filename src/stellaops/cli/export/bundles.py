"""`stella export download`, `verify`, `plan`, `diff`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from stellaops.bundles import layout
from stellaops.center.interface import Submission
from stellaops.cli.export.options import POLICY_SNAPSHOT, PROFILE, SELECTORS, SNAPSHOT
from stellaops.cli.export.printing import print_report
from stellaops.cli.frame import App, StellaCommand, UsageError, pass_app
from stellaops.cli.trust import key_remarks, trusted_keys
from stellaops.core.errors import NotFound
from stellaops.exports.diff_exports import WORDS, diff_exports
from stellaops.exports.selectors import parse_pairs
from stellaops.kit.verify import verify_bundle


class BundleMissing(NotFound):
    """A path that is no directory."""

    code = "ERR_EXPORT_BUNDLE_MISSING"
    hint = "Give the directory that holds export.json, a mirror archive, or the id of a run."


@click.command(cls=StellaCommand)
@click.argument("run_id", metavar="RUN")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A directory that does not exist yet, or an empty one.",
)
@click.option(
    "--tar",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead, one tar file that does not exist yet.",
)
@pass_app
def download(app: App, run_id: str, target: Path | None, file: Path | None) -> None:
    """Copy a run's bundle to DIR, which is then the bundle root, or into the tar FILE.

    From a server every file is checked by its digest. Interrupted, the same command goes on with a DIR; DIR or FILE is
    there when all is. In FILE everything lies in a directory of the run's name.
    """
    with app.out.progress(f"downloading {run_id}") as steps:
        if file is not None and target is None:
            done = app.center.exports.download_tar(run_id, file, steps.show)
        elif target is not None and file is None:
            done = app.center.exports.download(run_id, target, steps.show)
        else:
            raise UsageError("give --to DIR or --tar FILE")
    app.out.value(done)


@click.command(cls=StellaCommand)
@click.argument("what", metavar="RUN|PATH")
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that you trust."
)
@click.pass_context
@pass_app
def verify(app: App, context: click.Context, what: str, keys: tuple[Path, ...]) -> None:
    """Verify a bundle by every rule: signatures, digests, content, provenance, the database itself.

    Needs no network and, for a PATH, no database. Trust comes only from --key or from the keys of the data directory,
    never from the bundle. Exits 6 when the bundle is not as its signer made it.

    A run of a server is verified there, by the keys of its tenant; with --key it is downloaded and verified here.
    """
    if app.server is not None and not keys and not _is_path(what):
        with app.out.progress("the server is verifying"):
            report = app.center.exports.verify(what)
        print_report(app, report, what)
    else:
        opened = _root(app, what)  # what is not there is told before what cannot be trusted
        trusted, revoked = trusted_keys(app, keys)
        with opened as root, app.out.progress("verifying"):
            report = verify_bundle(root, trusted, revoked=revoked, remarks=key_remarks(app)).to_wire()
        print_report(app, report, root)
    if report["verdict"] != "ok":
        context.exit(6)


@click.command(cls=StellaCommand)
@PROFILE
@SELECTORS
@SNAPSHOT
@POLICY_SNAPSHOT
@pass_app
def plan(
    app: App, profile: str, selectors: tuple[str, ...], snapshot: int | None, policy_snapshot: str | None
) -> None:
    """Say what a run would select, and which policy it would apply, without building it."""
    submission = Submission(profile, parse_pairs(selectors), snapshot, policy_snapshot=policy_snapshot)
    app.out.value(app.center.exports.plan(submission))


@click.command(cls=StellaCommand)
@click.argument("old")
@click.argument("new")
@pass_app
def diff(app: App, old: str, new: str) -> None:
    """Say what changed between two exports (runs or bundle roots): records and database entries."""
    if _is_path(old) or _is_path(new):
        with _root(app, old) as before, _root(app, new) as after:
            found = diff_exports(before, after).to_wire()
    else:
        found = app.center.exports.diff(old, new)
    names = ("content", "change", "what")
    app.out.rows(found, names, [[each[name] for name in names] for each in found["changes"]])
    more = f"; {found['omitted']} more are not listed" if found["omitted"] else ""
    app.out.line(", ".join(f"{found[word]} {word}" for word in WORDS) + more)


def _is_path(what: str) -> bool:
    return "/" in what or Path(what).exists()


def _root(app: App, what: str) -> AbstractContextManager[Path]:
    """The bundle root of a run, or at a path, or a mirror archive, to read; a held run's too."""
    if Path(what).is_dir() or (Path(what).is_file() and layout.is_archive(Path(what).name)):
        return nullcontext(Path(what))
    if _is_path(what):
        raise BundleMissing(f"{what} is no bundle root")
    return app.center.exports.opened(what)
