"""The console of an installation: how people log in to it, by its settings."""

from __future__ import annotations

import logging
from pathlib import Path

from starlette.types import ASGIApp

from stellaops.adapters.settings.load import InvalidSettings, Settings
from stellaops.adapters.web.credentials import read_secret
from stellaops.bootstrap import Local
from stellaops.console.app import Console
from stellaops.console.oidc import OidcDoor, Provider
from stellaops.console.pages.login import Doors

_LOG = logging.getLogger("stellaops.console")


def open_console(local: Local, api: ASGIApp) -> Console:
    """The console before the API.

    Raises:
        InvalidSettings: the identity provider is described in part only.
    """
    provider = provider_of(local.settings)
    if provider is None:
        return Console(api, Doors(), local.session_keeper)

    def vouch(client: str, who: str) -> str:
        issued = local.issuer.vouched(client)
        extra = {"event": "console.login", "client": client, "user": who, "token": issued.claims.id}
        _LOG.info("%s acts as %s", who, client, extra=extra)
        return issued.token

    return Console(api, Doors((OidcDoor(provider, vouch),)), local.session_keeper)


def provider_of(settings: Settings) -> Provider | None:
    """The identity provider of the settings; None where they name none.

    Raises:
        InvalidSettings: see there.
    """
    issuer = settings.get("console.oidc.issuer")
    if not issuer:
        return None
    names = ("console.oidc.clientId", "console.oidc.clientSecretFile", "console.oidc.roles")
    missing = [name for name in names if not settings.get(name)]
    if missing:
        raise InvalidSettings(f"console.oidc.issuer is set, and {', '.join(missing)} not")
    if not issuer.startswith(("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        raise InvalidSettings("console.oidc.issuer: an https:// address is needed")
    secret, authorities = Path(settings.get(names[1]) or ""), settings.get("egress.caFile")
    return Provider(
        settings.get("console.oidc.name") or "single sign-on",
        issuer,
        settings.get(names[0]) or "",
        lambda: read_secret(secret),
        settings.get("console.oidc.claim") or "groups",
        tuple(_role(each) for each in settings.listed(names[2])),
        settings.get("console.oidc.scopes") or "openid",
        Path(authorities) if authorities else None,
    )


def _role(told: str) -> tuple[str, str]:
    group, equals, client = told.rpartition("=")
    if not equals or not group.strip() or not client.strip():
        raise InvalidSettings(f"console.oidc.roles: {told[:80]!r} is not GROUP=CLIENT")
    return group.strip(), client.strip()
