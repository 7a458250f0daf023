"""`stella export`: profiles, runs, bundles."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import click
import yaml

from stellaops.bootstrap import new_run_id, now
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.trust import key_remarks, trusted_keys
from stellaops.core import timestamps
from stellaops.core.errors import NotFound
from stellaops.exports import manage_profiles, manage_runs
from stellaops.exports.diff_exports import diff_exports
from stellaops.exports.errors import InvalidProfile
from stellaops.exports.profile import Profile, read
from stellaops.exports.run import Run
from stellaops.exports.run_export import RunRequest, plan_export, run_export
from stellaops.exports.selectors import parse_pairs
from stellaops.kit.report import Report
from stellaops.kit.verify import verify_bundle


class BundleMissing(NotFound):
    """A path that is no directory."""

    code = "ERR_EXPORT_BUNDLE_MISSING"
    hint = "Give the directory that holds export.json, or the id of a run."


_SELECTORS = click.option(
    "--selectors",
    multiple=True,
    metavar="K=V,…",
    help="Narrow the profile's selection, such as ecosystems=PyPI,npm,severityAtLeast=high.",
)
_SNAPSHOT = click.option("--snapshot", type=int, metavar="N", help="Cut this sequence instead of the newest.")
_PROFILE = click.option(
    "--profile", required=True, metavar="NAME", help="The recipe; see `stella export profile list`."
)


@click.group(cls=StellaGroup)
def export() -> None:
    """Cut the evidence into signed, reproducible bundles."""


@export.group(cls=StellaGroup)
def profile() -> None:
    """Recipes of exports: built-in ones, and your own."""


@profile.command("list")
@pass_app
def profile_list(app: App) -> None:
    """List the profiles of the tenant."""
    found = manage_profiles.list_profiles(app.tenant, app.local.profiles)
    app.out.rows(
        [profile.to_wire() for profile in found],
        ("name", "kind", "revision", "selectors"),
        [(profile.name, profile.kind, profile.revision, _brief(profile.spec.selectors)) for profile in found],
    )


@profile.command("show")
@click.argument("name")
@pass_app
def profile_show(app: App, name: str) -> None:
    """Show a profile as the document that `create` and `update` take."""
    found = manage_profiles.find_profile(app.tenant, name, app.local.profiles)
    _print_profile(app, found)


@profile.command("create")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@pass_app
def profile_create(app: App, file: Any) -> None:
    """Store a profile from a YAML or JSON file (- for standard input)."""
    _print_profile(
        app,
        manage_profiles.create_profile(
            app.tenant, read(_load(file)), app.local.profiles, now=now(), by=_user()
        ),
    )


@profile.command("update")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--reason", required=True, help="Why it changes; kept in the history.")
@pass_app
def profile_update(app: App, file: Any, reason: str) -> None:
    """Store the next revision of a profile."""
    document = read(_load(file))
    _print_profile(
        app,
        manage_profiles.update_profile(
            app.tenant, document, reason, app.local.profiles, now=now(), by=_user()
        ),
    )


@profile.command("clone")
@click.argument("name")
@click.argument("target")
@pass_app
def profile_clone(app: App, name: str, target: str) -> None:
    """Store a copy of a profile under another name."""
    _print_profile(
        app,
        manage_profiles.clone_profile(app.tenant, name, target, app.local.profiles, now=now(), by=_user()),
    )


@profile.command("delete")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@pass_app
def profile_delete(app: App, name: str, dry_run: bool) -> None:
    """Remove a profile; its runs and bundles stay."""
    found = manage_profiles.find_profile(app.tenant, name, app.local.profiles)
    if not dry_run:
        manage_profiles.delete_profile(app.tenant, name, app.local.profiles)
    app.out.value({"profile": found.name, "revision": found.revision, "removed": not dry_run})


@profile.command("history")
@click.argument("name")
@pass_app
def profile_history(app: App, name: str) -> None:
    """Show who changed a profile, when and why."""
    revisions = manage_profiles.profile_history(app.tenant, name, app.local.profiles)
    wire = [
        {
            "revision": each.revision,
            "createdAt": timestamps.render(each.created_at) if each.created_at else None,
            "createdBy": each.created_by or None,
            "reason": each.reason or None,
            "profile": each.to_wire(),
        }
        for each in revisions
    ]
    names = ("revision", "createdAt", "createdBy", "reason")
    app.out.rows(wire, names, [[each[name] for name in names] for each in wire])


@export.group(cls=StellaGroup)
def run() -> None:
    """Run exports and look at what came of them."""


@run.command("submit")
@_PROFILE
@_SELECTORS
@_SNAPSHOT
@click.option("--allow-empty", is_flag=True, help="An export of nothing is meant.")
@click.option(
    "--policy-snapshot",
    metavar="D",
    help="The policy to apply, by digest; the newest that was taken if left out.",
)
@click.option("--wait", is_flag=True, help="Wait for the end; a local run always does.")
@pass_app
def run_submit(
    app: App,
    *,
    profile: str,
    selectors: tuple[str, ...],
    snapshot: int | None,
    allow_empty: bool,
    policy_snapshot: str | None,
    wait: bool,
) -> None:
    r"""Cut a snapshot into a bundle: build, sign, verify, publish.

    \b
      stella export run submit --profile trivy:db
      stella export run submit --profile json:raw --selectors ecosystems=PyPI,severityAtLeast=high

    The first run makes the tenant's signing key. Nothing is published that does not pass its own verification.
    """
    del wait  # a local run is over when the command is
    recipe = manage_profiles.find_profile(app.tenant, profile, app.local.profiles)
    request = RunRequest(
        new_run_id(),
        app.tenant,
        recipe,
        parse_pairs(selectors),
        sequence=snapshot,
        allow_empty=allow_empty,
        policy_snapshot=policy_snapshot,
    )
    found = _execute(app, request)
    _print_run(app, found)
    app.out.note(f"next: stella export verify {found.id} · stella export download {found.id} --to DIR")


@run.command("list")
@click.option("--profile", metavar="NAME", help="Only of this profile.")
@click.option("--status", metavar="STATUS", help="Only in this state.")
@click.option("--latest", is_flag=True, help="Only the newest.")
@pass_app
def run_list(app: App, profile: str | None, status: str | None, latest: bool) -> None:
    """List runs, newest first."""
    found = app.local.runs.list(app.tenant, profile, status)[: 1 if latest else None]
    app.out.rows(
        [each.to_wire() for each in found],
        ("run", "profile", "status", "error", "export", "snapshot", "submitted"),
        [
            (
                each.id, each.profile, each.status.value, each.error_code, each.export_id, each.sequence,
                timestamps.render(each.submitted_at.replace(microsecond=0)),
            )
            for each in found
        ],
    )  # fmt: skip


@run.command("show")
@click.argument("run_id", metavar="RUN")
@pass_app
def run_show(app: App, run_id: str) -> None:
    """Show a run; `latest` and `latest:PROFILE` name the newest successful one."""
    _print_run(app, manage_runs.find_run(app.tenant, run_id, app.local.runs))


@run.command("replay")
@click.argument("run_id", metavar="RUN")
@click.option("--latest", is_flag=True, help="Cut the newest snapshot instead of the run's.")
@pass_app
def run_replay(app: App, run_id: str, latest: bool) -> None:
    """Run again: the same profile, selectors and snapshot give the same export."""
    origin = manage_runs.find_run(app.tenant, run_id, app.local.runs)
    request = manage_runs.replay_of(origin, new_run_id(), app.local.profiles, latest=latest)
    _print_run(app, _execute(app, request))


@run.command("delete")
@click.argument("run_id", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@pass_app
def run_delete(app: App, run_id: str, dry_run: bool) -> None:
    """Remove a run's record, and its bundle where no other run has the same."""
    found = manage_runs.find_run(app.tenant, run_id, app.local.runs)
    removed = (
        [f"run {found.id}"] if dry_run else manage_runs.delete_run(found, app.local.runs, app.local.workspace)
    )
    app.out.value({"runId": found.id, "removed": removed, "dryRun": dry_run})


@export.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A directory that does not exist yet, or an empty one.",
)
@pass_app
def download(app: App, run_id: str, target: Path) -> None:
    """Copy a run's bundle to DIR, which is then the bundle root."""
    found = manage_runs.find_run(app.tenant, run_id, app.local.runs)
    manage_runs.download(found, target, app.local.workspace)
    app.out.value({"runId": found.id, "exportId": found.export_id, "path": str(target.absolute())})


@export.command()
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
    """
    root = _root(app, what)
    trusted, revoked = trusted_keys(app, keys)
    with app.out.progress("verifying"):
        report = verify_bundle(root, trusted, revoked=revoked, remarks=key_remarks(app))
    _print_report(app, report, root)
    if report.verdict != "ok":
        context.exit(6)


@export.command()
@_PROFILE
@_SELECTORS
@_SNAPSHOT
@pass_app
def plan(app: App, profile: str, selectors: tuple[str, ...], snapshot: int | None) -> None:
    """Say what a run would select, without building it."""
    recipe = manage_profiles.find_profile(app.tenant, profile, app.local.profiles)
    request = RunRequest("plan", app.tenant, recipe, parse_pairs(selectors), sequence=snapshot)
    planned = plan_export(request, app.local.export_tools)
    app.out.value(
        {
            "profile": recipe.name,
            "kind": recipe.kind,
            "selectors": planned.selection.selectors.canonical(),
            "snapshot": {"sequence": planned.selection.sequence, "digest": planned.snapshot.digest},
            "generatedAt": timestamps.render(planned.generated_at),
            "records": planned.snapshot.records,
            "sources": [source.name for source in planned.snapshot.sources],
        }
    )


@export.command()
@click.argument("old")
@click.argument("new")
@pass_app
def diff(app: App, old: str, new: str) -> None:
    """Say what changed between two exports (runs or bundle roots): records and database entries."""
    found = diff_exports(_root(app, old), _root(app, new))
    wire = found.to_wire()
    app.out.rows(wire, ("content", "change", "what"), [(c.content, c.change, c.what) for c in found.changes])
    app.out.line(f"{len(found.changes)} changes")


def _root(app: App, what: str) -> Path:
    if Path(what).is_dir():
        return Path(what)
    if "/" in what or Path(what).exists():
        raise BundleMissing(f"{what} is no bundle root")
    return manage_runs.bundle_of(manage_runs.find_run(app.tenant, what, app.local.runs), app.local.workspace)


def _execute(app: App, request: RunRequest) -> Run:
    manage_runs.close_interrupted(app.tenant, app.local.runs, app.local.workspace)
    with app.out.progress(f"exporting {request.profile.name}") as steps:
        return run_export(request, app.local.export_tools, steps.show)


def _print_run(app: App, found: Run) -> None:
    wire = found.to_wire()
    root = (
        app.local.workspace.bundle(found.export_id or "", found.archive_id or "") if found.export_id else None
    )
    if root is not None:
        for artifact in wire["artifacts"]:
            artifact["path"] = str(root / artifact["path"])
    app.out.value(
        wire,
        [
            ("run", found.id),
            ("status", found.status.value + (f" ({found.error_code}: {found.error})" if found.error else "")),
            ("profile", f"{found.profile} {found.profile_revision}"),
            ("selectors", _brief(found.selectors)),
            ("snapshot", f"{found.sequence} {found.snapshot or ''}"),
            ("export", found.export_id),
            ("rerun hash", found.rerun_hash),
            ("bundle", root),
            ("seconds", " ".join(f"{name} {seconds:.2f}" for name, seconds in found.durations.items())),
            *((artifact.path, f"{artifact.bytes:,} bytes") for artifact in found.artifacts),
        ],
    )
    for warning in found.warnings if app.verbose else ():
        app.out.note(f"warning: {warning}")
    if found.warnings and not app.verbose:
        app.out.note(f"{len(found.warnings)} warnings: see them with -v, or in `--format json`")


def _print_report(app: App, report: Report, root: Path) -> None:
    if app.out.form != "table":
        app.out.value(report.to_wire())
        return
    app.out.rows(
        report.to_wire(),
        ("check", "name", "status", "detail"),
        [(check.id, check.name, check.status, check.detail) for check in report.checks],
    )
    app.out.line(f"verdict {report.verdict}: {root}")


def _print_profile(app: App, found: Profile) -> None:
    if app.out.form == "table":
        click.echo(yaml.safe_dump(found.to_wire(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        app.out.value(found.to_wire())


class _Loader(yaml.SafeLoader):
    """YAML without instants: `since: 2024-10-01T00:00:00Z` stays the text that it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _load(file: Any) -> object:
    try:
        return yaml.load(file, Loader=_Loader)  # noqa: S506 - a safe loader with fewer types
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidProfile(f"{file.name}: {error}") from error


def _brief(selectors: dict[str, Any]) -> str:
    return " ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in selectors.items()) or "-"


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:
        return "unknown"
