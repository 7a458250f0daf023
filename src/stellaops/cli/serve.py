"""`stella serve`: the service, or parts of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.settings.load import load_mirror_host
from stellaops.adapters.telemetry import logs
from stellaops.bootstrap import server_extra
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.supervising import Supervisor, end_with
from stellaops.core.errors import InvalidInput

_HOST = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
_PORT = click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 for one that is free."
)
_CERTIFICATE = click.option(
    "--tls-certificate",
    "chain",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the certificate and those above it.",
)
_KEY = click.option(
    "--tls-key",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of its key.",
)
_SLOTS = click.option(
    "--slots", type=click.IntRange(1, 1000), help="Weight of what a worker works on at once (worker.slots)."
)


_PARENT = click.option("--parent", type=int, hidden=True, help="The process to end with.")


class CertificateIncomplete(InvalidInput):
    """TLS needs a certificate and its key."""

    code = "ERR_TLS_INCOMPLETE"
    hint = "Give both --tls-certificate and --tls-key."


class _Serve(StellaGroup):
    """`stella serve` without a part is `stella serve all`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if not any(each in self.commands or each in ctx.help_option_names for each in args):
            args = ["all", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Serve)
def serve() -> None:
    """Serve the API, workers, and mirrors: all of them on one machine, or each part alone."""


@serve.command("all")
@_HOST
@_PORT
@_CERTIFICATE
@_KEY
@click.option("--workers", default=1, show_default=True, type=click.IntRange(0, 64), help="Worker processes.")
@_SLOTS
@click.option(
    "--mirror-port",
    default=8081,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Where mirrors are served, if an export root is configured; 0 for one that is free.",
)
@click.option("--no-mirrors", is_flag=True, help="Serve no mirrors, whatever is configured.")
@pass_app
def serve_all(
    app: App, /, *, host: str, port: int, chain: Path | None, key: Path | None, workers: int, **more: Any
) -> None:
    r"""Serve everything on one machine: the API, workers and mirrors in processes of their own.

    \b
      stella serve all
      stella serve all --host 0.0.0.0 --port 8443 --tls-certificate tls.crt --tls-key tls.key

    Mirrors are served as by `stella serve gateway`, with its settings and on a port of their own, if
    CONCELIER__MIRROR__EXPORTROOT or EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT names a directory. On SIGHUP they read their
    settings again.
    SIGTERM ends all of it within seconds; runs under way go on when it is started again, or on other workers.
    """
    with server_extra():
        from stellaops.api.server import listen  # noqa: PLC0415 - of the extra `server`
    certificate = _certificate(chain, key)
    _prepare(app)
    with ExitStack() as sockets:
        listening, mirrors = sockets.enter_context(listen(host, port)), None
        if not more["no_mirrors"] and load_mirror_host().has_trees:
            mirrors = sockets.enter_context(listen(host, more["mirror_port"]))
        supervisor = Supervisor(
            app, listening, certificate, workers=workers, slots=more["slots"], mirrors=mirrors
        )
        raise SystemExit(supervisor.run())


@serve.command("api")
@_HOST
@_PORT
@_CERTIFICATE
@_KEY
@click.option("--fd", type=int, hidden=True, help="A socket that listens already.")
@_PARENT
@pass_app
def serve_api(
    app: App,
    *,
    host: str,
    port: int,
    chain: Path | None,
    key: Path | None,
    fd: int | None,
    parent: int | None,
) -> None:
    """Serve the API alone; runs wait until workers take them."""
    with server_extra():
        from stellaops.api import server  # noqa: PLC0415 - of the extra `server`
        from stellaops.console.opening import open_console  # noqa: PLC0415 - of the extra `server`
    certificate = _certificate(chain, key)
    _prepare(app, parent)
    with server.listen(host, port) if fd is None else socket.socket(fileno=fd) as listening:
        server.serve(app.local, listening, certificate, lambda api: open_console(app.local, api))


@serve.command("worker")
@_SLOTS
@_PARENT
@pass_app
def serve_worker(app: App, slots: int | None, parent: int | None) -> None:
    """Work on runs; any number of workers, on any number of machines, share the work."""
    with server_extra():
        from stellaops.worker import process  # noqa: PLC0415 - of the extra `server`
    _prepare(app, parent)
    process.serve(app.local, slots=slots)


_PROCESSES = click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that share the work.",
)
_FD = click.option("--fd", type=int, hidden=True, help="A socket that listens already.")
_PLAIN = click.option(
    "--plain",
    is_flag=True,
    help="Without TLS, though the settings name certificates: a proxy in front ends it.",
)


def _mirror_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every part that serves mirrors is given."""
    options = (_HOST, _PORT, _PROCESSES, _PLAIN, _FD, _PARENT)
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


@serve.command("gateway")
@_mirror_options
@pass_app
def serve_gateway(app: App, /, **given: Any) -> None:
    r"""Serve the mirrors of both sides: domains, credentials, budgets, TLS by host name.

    \b
      CONCELIER__MIRROR__EXPORTROOT=/srv/mirror/concelier \
      CONCELIER__MIRROR__DOMAINS__0__ID=primary GATEWAY__DOMAINS__0__ID=primary \
      GATEWAY__DOMAINS__0__HTPASSWDFILE=/run/secrets/mirror-primary.htpasswd stella serve gateway --port 8080

    It needs no evidence store, no queue and no signing key. Changed settings, users and certificates are taken
    without a restart; SIGHUP has them looked at at once.
    """
    _serve_mirrors(app, "gateway", **given)


@serve.command("concelier")
@_mirror_options
@pass_app
def serve_concelier(app: App, /, **given: Any) -> None:
    """Serve Concelier's mirrors alone: indexes, bundles, OSV, Trivy's databases."""
    _serve_mirrors(app, "concelier", **given)


@serve.command("excititor")
@_mirror_options
@pass_app
def serve_excititor(app: App, /, **given: Any) -> None:
    """Serve Excititor's mirrors alone: VEX exports, and the VEX repository."""
    _serve_mirrors(app, "excititor", **given)


def _serve_mirrors(
    app: App,
    part: str,
    *,
    host: str,
    port: int,
    processes: int,
    plain: bool,
    fd: int | None,
    parent: int | None,
) -> None:
    with server_extra():
        from stellaops.api.server import listen  # noqa: PLC0415 - of the extra `server`
        from stellaops.gateway import certificates, opening, server  # noqa: PLC0415 - of the extra `server`
    if parent is not None:
        end_with(parent)
    logs.configure(app.settings.get("log.level") or "info")
    with listen(host, port) if fd is None else socket.socket(fileno=fd) as listening:
        if processes == 1:
            server.serve(opening.open_host(part, app.settings.data_dir), listening, plain=plain)
            return
        # What is wrong with the settings or with certificates is told once.
        found = opening.open_host(part, app.settings.data_dir, log=-1)
        if not plain:
            certificates.Certificates(found.settings)
        options = ["--plain"] if plain else []
        raise SystemExit(Supervisor.of_mirrors(app, listening, part, processes, *options).run())


def _prepare(app: App, parent: int | None = None) -> None:
    """Logs as lines of JSON; the stores in this release's schema before anything begins."""
    if parent is not None:
        end_with(parent)
    logs.configure(app.settings.get("log.level") or "info")
    _ = app.local.service_engine, app.local.evidence_engine


def _certificate(chain: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise CertificateIncomplete("only one of --tls-certificate and --tls-key is given")
    return chain, key
