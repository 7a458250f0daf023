"""`stella trivy`: our databases in stock Trivy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.trust import trusted_keys
from stellaops.exports import use_trivy
from stellaops.kit import trivy_cache

_KEYS = click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that you trust."
)


@click.group(cls=StellaGroup)
def trivy() -> None:
    """Give a signed database to stock Trivy."""


@trivy.command("import")
@click.argument("bundle", metavar="DB.BUNDLE", type=click.Path(path_type=Path))
@click.option("--cache-dir", required=True, type=click.Path(path_type=Path), help="Trivy's cache directory.")
@click.option(
    "--signature", type=click.Path(path_type=Path, exists=True), help="Its .sig, when it stands alone."
)
@_KEYS
@pass_app
def import_(app: App, bundle: Path, cache_dir: Path, signature: Path | None, keys: tuple[Path, ...]) -> None:
    r"""Verify a database, db.bundle or java-db.bundle, and load it into a Trivy cache.

    \b
      stella trivy import export/trivy/db.bundle --cache-dir ~/.cache/trivy --key export-center.pub
      trivy fs --skip-db-update --offline-scan .
      trivy rootfs --skip-db-update --skip-java-db-update --offline-scan .     (with both: jars too)

    The signed export must stand around the file; alone it needs --key and --signature.
    """
    trusted, revoked = trusted_keys(app, keys)
    trivy_cache.demand_trusted(bundle, trusted, revoked, signature)
    database = trivy_cache.load(bundle, cache_dir, downloaded_at=now())
    app.out.value({"cacheDir": str(cache_dir.absolute()), "database": str(database.absolute())})
    words = "rootfs --skip-java-db-update" if database.parent.name == "java-db" else "fs"
    app.out.note(f"next: trivy {words} --skip-db-update --offline-scan --cache-dir {cache_dir} .")


@trivy.command()
@click.argument("bundle", metavar="DB.BUNDLE", type=click.Path(path_type=Path))
@_KEYS
@pass_app
def smoke(app: App, bundle: Path, keys: tuple[Path, ...]) -> None:
    """Verify a database and let stock Trivy look for its sentinels.

    Of a db.bundle one known finding in every bucket, of a java-db.bundle some jars that it must recognise by name.
    """
    trusted, revoked = trusted_keys(app, keys)
    root = trivy_cache.demand_trusted(bundle, trusted, revoked)
    app.home.scanner.program()  # its absence is an error of its own
    version = app.home.scanner.available()
    assert root is not None  # noqa: S101 - without a signature file the export is demanded
    with tempfile.TemporaryDirectory(prefix="stella-smoke-") as scratch, app.out.progress("scanning"):
        found = use_trivy.smoke(root, app.home.scanner, Path(scratch))
    app.out.value({"verdict": "ok", "trivy": version, "sentinels": found})
