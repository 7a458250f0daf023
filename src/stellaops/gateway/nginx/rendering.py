"""A configuration of nginx that stands before back ends and asks the gateway who may have what. Pure.

The gateway knows users, tokens and budgets, and answers with the audience, which is a part of the cache's key. So what
one audience got from the cache no other one gets, and nothing of the credentials is written to disk. It is asked about
every request (`auth_request`), or, with Lua, about what it has not decided a moment ago.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from stellaops.adapters.settings.mirrors import Domain, MirrorHost
from stellaops.core.errors import InvalidInput
from stellaops.gateway.nginx import templates
from stellaops.gateway.requests import AUTHORIZE


class BadProxySettings(InvalidInput):
    """No configuration of a proxy can be made of these settings."""

    code = "ERR_MIRROR_PROXY"
    hint = (
        "Give addresses as http://host:port, and every domain host names and a certificate where one has one."
    )


@dataclass(frozen=True, slots=True)
class Lua:
    """How an nginx decides by itself what the gateway has decided a moment ago.

    Attributes:
        modules: directory of nginx's dynamic modules; None where Lua is built in, as in OpenResty.
        resolver: address of a name server, needed where the gateway's address is a name.
    """

    modules: str | None = "modules"
    resolver: str | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where nginx finds what.

    Attributes:
        gateway: address of the process that is asked who may have what.
        concelier, excititor: addresses of the back ends.
        listen: address and port, as nginx has them; all addresses, and the port of HTTPS or HTTP, when None.
        cache: directory for what is kept.
        place: directory of nginx's own files, such as its pid.
        lua: None where nginx has no Lua.
    """

    gateway: str
    concelier: str
    excititor: str
    listen: str | None
    cache: Path
    place: Path
    workers: int = 2
    lua: Lua | None = None


_HERE = "/_authorize"
_NO_DOMAIN = (
    "Run it with the settings of the gateway; `stella mirror domains settings` prints those of the domains."
)
_NO_RESOLVER = "Give --resolver ADDRESS (Docker's is 127.0.0.11), or the gateway's address as a number."
_NO_TLS = "Start the process there with --plain, and give its address as http://host:port."
_CONTENT = (
    ("/concelier/", "stella_concelier"), ("/osv/", "stella_concelier"), ("/v2/", "stella_concelier"),
    ("= /mirror-key.pub", "stella_concelier"), ("/excititor/", "stella_excititor"), ("/vex/", "stella_excititor"),
    ("= /.well-known/vex-repository.json", "stella_excititor"), ("= /.well-known/api-policy.json", "stella_gateway"),
)  # fmt: skip
_REGISTRY = "/v2/"
_ASK = f"auth_request {_HERE};"
_ENTER = 'access_by_lua_block { require("stella_door").enter() }'
_AWAY = (
    503,
    "ERR_MIRROR_NOT_READY",
    "UNAVAILABLE",
    "the mirror cannot answer just now; ask again in 5 seconds",
)
_HASTY = (
    429, "ERR_MIRROR_LOGIN_RATE", "TOOMANYREQUESTS", "this address asks too often; ask again in a second",
)  # fmt: skip
_NO_CERTIFICATE = (
    "Credentials would go in the clear: put certificates there. Behind a proxy that ends TLS, leave GATEWAY__TLSDIR"
    " empty."
)


def render(host: MirrorHost, proxy: Proxy) -> str:
    """The whole configuration.

    Raises:
        BadProxySettings: see there.
    """
    if not host.domains:
        raise BadProxySettings("no domain is configured", hint=_NO_DOMAIN)
    secured = [each for each in host.domains.values() if each.tls_certificate_file is not None]
    if not secured and host.tls_dir is not None and any(host.is_closed(each) for each in host.domains):
        raise BadProxySettings(f"{host.tls_dir} holds no mirror-<domain>.crt", hint=_NO_CERTIFICATE)
    if secured and any(not each.hosts for each in secured):
        raise BadProxySettings("a domain has a certificate and no host name")
    if secured and len(secured) != len(host.domains):
        raise BadProxySettings("some domains have a certificate and others have none")
    if secured:
        listen = f"{proxy.listen or '0.0.0.0:443'} ssl"
        rejected = templates.REJECTED.substitute(listen=listen)
        servers = [rejected, *(_server(listen, each, proxy) for each in secured)]
    else:
        servers = [_server(f"{proxy.listen or '0.0.0.0:80'} default_server", None, proxy)]
    return templates.MAIN.substitute(
        workers=proxy.workers, place=_plain(proxy.place), cache=_plain(proxy.cache), modules=_modules(proxy.lua),
        gateway=_address(proxy.gateway), concelier=_address(proxy.concelier), excititor=_address(proxy.excititor),
        lua=_door(proxy.lua, proxy.gateway), addresses=_addresses(host), servers="".join(servers),
    )  # fmt: skip


def _server(listen: str, domain: Domain | None, proxy: Proxy) -> str:
    tls, secured = "", ""
    if domain is not None and domain.tls_certificate_file and domain.tls_key_file:
        chain, key = _plain(domain.tls_certificate_file), _plain(domain.tls_key_file)
        tls, secured = templates.TLS.substitute(chain=chain, key=key), templates.SECURED
    ask = _ASK if proxy.lua is None else _ENTER
    locations = [_location(match, upstream, ask, secured) for match, upstream in _CONTENT]
    forms = ("", "application/problem+json"), ("_registry", "application/json")
    refusals = [_refusals(form, media, secured) for form, media in forms]
    return templates.SERVER.substitute(
        listen=listen, names=" ".join(domain.hosts) if domain else "_", tls=tls, authorize=AUTHORIZE.decode(),
        authorize_here=_HERE, locations="".join(locations), refusals="".join(refusals),
        open=templates.OPEN if proxy.lua is None else "      proxy_cache off;\n",
        told=templates.TOLD if proxy.lua is None else "", lend='""' if proxy.lua is None else "$arg_lend",
    )  # fmt: skip


def _location(match: str, upstream: str, ask: str, secured: str) -> str:
    return templates.LOCATION.substitute(
        match=match, upstream=upstream, ask=ask, secured=secured,
        cache="proxy_cache off;" if upstream == "stella_gateway" else "proxy_cache stella;",
        form="_registry" if match == _REGISTRY else "",
    )  # fmt: skip


def _refusals(form: str, media: str, secured: str) -> str:
    """The places that say no, to clients of a registry in the form that they read."""
    away, hasty = (_problem(*each) if not form else _registry_problem(*each) for each in (_AWAY, _HASTY))
    return templates.REFUSALS.substitute(form=form, media=media, secured=secured, away=away, hasty=hasty)


def _problem(status: int, code: str, _: str, text: str) -> str:
    return json.dumps({"type": "about:blank", "status": status, "code": code, "detail": text})


def _registry_problem(_: int, __: str, code: str, text: str) -> str:
    return json.dumps({"errors": [{"code": code, "message": text}]})


def _addresses(host: MirrorHost) -> str:
    """Proxies before this one: the client's address is the last one that none of them has."""
    if not host.trusted_proxies:
        return ""
    networks = "\n".join(f"  set_real_ip_from {each};" for each in host.trusted_proxies)
    return templates.ADDRESSES.substitute(networks=networks)


def _modules(lua: Lua | None) -> str:
    if lua is None or lua.modules is None:
        return ""
    return templates.LUA_MODULES.substitute(modules=_plain_text(lua.modules))


def _door(lua: Lua | None, gateway: str) -> str:
    """What lets readers in, and where it finds the gateway."""
    if lua is None:
        return ""
    host, _, port = _address(gateway).rpartition(":")
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        if lua.resolver is None:
            raise BadProxySettings(f"Lua cannot look up the name {host!r}", hint=_NO_RESOLVER) from None
    door = files("stellaops.gateway.nginx").joinpath("door.lua").read_text("utf-8")
    resolver = f"  resolver {_plain_text(lua.resolver)};\n" if lua.resolver else ""
    return templates.LUA.substitute(door=_indented(door), host=host, port=port, resolver=resolver)


def _indented(text: str) -> str:
    return "\n".join(f"      {line}".rstrip() for line in text.splitlines())


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https":
        raise BadProxySettings(f"{url[:80]!r}: nginx ends TLS and asks without it", hint=_NO_TLS)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise BadProxySettings(f"{url[:80]!r} is no address of a back end")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or 80}"


def _plain(path: Path) -> str:
    """A path as nginx takes it without quotes."""
    text = str(path)
    if not path.is_absolute():
        raise BadProxySettings(f"{text[:120]!r} is no absolute path without spaces and quotes")
    return _plain_text(text)


def _plain_text(text: str) -> str:
    if not text or any(each in text for each in " ;{}\"'$\\\n\t"):
        raise BadProxySettings(f"{text[:120]!r} has spaces, quotes or signs that nginx reads otherwise")
    return text
