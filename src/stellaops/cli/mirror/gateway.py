"""`stella mirror render-gateway`: the configuration of a proxy in front of a mirror host."""

from __future__ import annotations

from pathlib import Path

import click

from stellaops.adapters.files.replacing import replacing
from stellaops.adapters.settings.load import load_mirror_host
from stellaops.bootstrap import server_extra
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.output import say

_MODULES = "modules"
_ENDS_TLS = (
    "nginx ends TLS and speaks plain HTTP to the gateway and the back ends. Processes that read the same certificates"
    " from their settings have to be started with --plain."
)


@click.group("render-gateway", cls=StellaGroup)
def render_gateway() -> None:
    """Write the configuration of a proxy that stands before a mirror host."""


@render_gateway.command("nginx")
@click.option(
    "--to", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else standard output."
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Where nginx listens; 0.0.0.0:443 where domains have certificates, else 0.0.0.0:80.",
)
@click.option(
    "--gateway",
    "url",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="Who is asked who may have what.",
)
@click.option("--concelier", default="http://concelier:8080", show_default=True, help="Concelier's back end.")
@click.option("--excititor", default="http://excititor:8080", show_default=True, help="Excititor's back end.")
@click.option(
    "--cache-dir",
    "cache",
    type=click.Path(path_type=Path),
    default=Path("/var/cache/nginx/stella"),
    show_default=True,
    help="Where nginx keeps answers.",
)
@click.option(
    "--run-dir",
    "place",
    type=click.Path(path_type=Path),
    default=Path("/var/run/nginx"),
    show_default=True,
    help="Of nginx's pid, logs and temporary files; it must be there before nginx starts.",
)
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes of nginx."
)
@click.option(
    "--lua",
    is_flag=True,
    help="For an nginx with Lua: it asks the gateway once a minute, and counts budgets in blocks.",
)
@click.option(
    "--modules",
    metavar="DIR",
    default=_MODULES,
    show_default=True,
    help="With --lua: where nginx finds its dynamic modules; `none` where Lua is built in, as in OpenResty.",
)
@click.option(
    "--resolver",
    metavar="ADDRESS",
    help="With --lua: a name server, where --gateway has a name; Docker's is 127.0.0.11.",
)
@pass_app
def render_nginx(  # noqa: PLR0917 - click gives them by name
    app: App,
    to: Path | None,
    listen: str | None,
    url: str,
    concelier: str,
    excititor: str,
    cache: Path,
    place: Path,
    workers: int,
    lua: bool,
    modules: str,
    resolver: str | None,
) -> None:
    r"""Write a configuration of nginx, by the settings of this mirror host.

    \b
      stella mirror render-gateway nginx --to /etc/nginx/nginx.conf
      install -d /var/run/nginx && nginx -t && nginx -s reload

    nginx ends TLS, keeps answers and asks `stella serve gateway` about every request; contents come from the back
    ends. Name nginx's network in GATEWAY__TRUSTEDPROXIES of all three, and its access log in GATEWAY__PROXYLOG. It
    speaks plain HTTP to all three: where their settings name certificates too, start them with --plain.
    """
    if not lua and (resolver or modules != _MODULES):
        raise click.UsageError("--modules and --resolver mean something with --lua alone")
    with server_extra():
        from stellaops.gateway.nginx.rendering import Lua, Proxy, render  # noqa: PLC0415 - of the extra `server`
    door = Lua(None if modules == "none" else modules, resolver) if lua else None
    proxy = Proxy(url, concelier, excititor, listen, cache, place, workers, door)
    host = load_mirror_host()
    text = render(host, proxy)
    if any(each.tls_certificate_file is not None for each in host.domains.values()):
        say(_ENDS_TLS)
    if to is None:
        app.out.write(text)
        return
    with replacing(to) as out:
        out.write(text.encode())
