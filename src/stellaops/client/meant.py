"""Which server is meant, and as whom: by the command line, the environment, the settings, or the saved servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import structs

from stellaops.adapters.settings import load as setting
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.web.client import WebSettings
from stellaops.client.connection import Connection
from stellaops.client.contexts import LOCAL, Context, Contexts
from stellaops.client.opening import connect, login_of
from stellaops.client.tokens import TokenCache
from stellaops.core.egress import redacted


@dataclass(frozen=True, slots=True)
class Meant:
    """A server; `name` is what it is saved as."""

    context: Context
    name: str | None = None

    @property
    def shown(self) -> str:
        """The server as messages call it."""
        return redacted(self.context.server) + (f" ({self.name})" if self.name else "")


def place() -> Path:
    """Where saved servers, tokens and secrets lie: beside the settings file."""
    return setting.settings_file().parent


def contexts() -> Contexts:
    """The saved servers."""
    return Contexts(place() / "contexts.yaml")


def cache() -> TokenCache:
    """Tokens that were got."""
    return TokenCache(place() / "tokens")


def secret_file(name: str) -> Path:
    """Where the secret of a saved server is kept, when it is."""
    return place() / "secrets" / name


def server(
    settings: Settings, address: str | None = None, name: str | None = None, *, at_home: bool = False
) -> Meant | None:
    """The server that is meant; None for the data directory.

    Args:
        address, name: what the command line says.
        at_home: the command line names a data directory: then nothing but itself overrules that.

    Raises:
        ContextNotFound: see there.
    """
    if address or name:
        return _named(address, name, contexts())
    if at_home:
        return None
    if settings.get("server") or settings.get("context"):
        return _named(settings.get("server"), settings.get("context"), contexts())
    return _named(None, contexts().current, contexts())


def _named(address: str | None, name: str | None, saved: Contexts) -> Meant | None:
    if address:
        wanted = address.strip().rstrip("/")
        # The login of a saved server is also that of its address.
        known = [each for each in saved.all().items() if each[1].server.rstrip("/") == wanted]
        return Meant(known[0][1], known[0][0]) if len(known) == 1 else Meant(Context(wanted))
    if name is None or name == LOCAL:
        return None
    return Meant(saved.get(name), name)


def host_name(address: str, saved: Mapping[str, Context]) -> str:
    """The name under which a server is saved that is given none: its host, with the port where that is no usual one.

    Args:
        saved: what is saved already; the name of another server is not taken.
    """
    parts = urlsplit(address)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f"-{parts.port}"
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", parts.hostname or "").strip("-.") or "server"
    base = f"{host[: 58 - len(port)]}{port}"
    names = (base if number == 1 else f"{base}-{number}" for number in count(1))
    return next(
        each for each in names if each != LOCAL and (each not in saved or saved[each].server == address)
    )


def connection(wanted: Meant, settings: Settings, web: WebSettings) -> Connection:
    """A connection to a server, for the tenant and as the client that the settings or the saved server name."""
    tenant = settings.values["tenant"]
    context = wanted.context
    if tenant.origin != "default":
        context = structs.replace(context, tenant=tenant.value)
    login = login_of(context, settings.get("token"), settings.get("client"), settings.get("clientSecretFile"))
    return connect(context, login, web, cache())
