"""Secrets of clients and download tokens: which are too old, and which end soon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from stellaops.adapters.settings.notify import credential_age, expiry_notice
from stellaops.authority.clients import Client
from stellaops.authority.credential_age import ending_credentials, old_credentials
from stellaops.authority.download_tokens import DownloadToken
from stellaops.bootstrap import Local
from stellaops.ingest.doctor import Finding, Verdict

_SHOWN = 10


def check_clients(local: Local, moment: datetime) -> Iterator[Finding]:
    """Secrets of all clients, and download tokens of all tenants."""
    settings = local.settings
    yield check_secrets(local.clients.list(), moment, credential_age(settings))
    tenants = [tenant.id for tenant in local.tenants.list()]
    tokens = [token for tenant in tenants for token in local.download_tokens.list(tenant)]
    yield check_tokens(tokens, moment, expiry_notice(settings))


def check_secrets(clients: Sequence[Client], moment: datetime, most: timedelta | None) -> Finding:
    """Whether clients' secrets are young enough, and nobody still uses one that ends.

    Args:
        most: how old a secret may get; None for any age.
    """
    old = [f"{each.client.id} ({(moment - each.secret.created_at).days} days)"
           for each in old_credentials(clients, moment, most)]  # fmt: skip
    ending = [f"{each.client.id} still uses one that ends" for each in ending_credentials(clients, moment)]
    if old or ending:
        hint = "`stella authority client rotate CLIENT --secret-file FILE`, and give the new secret to who uses it."
        return Finding("credentials", Verdict.WARNING, ", ".join((old + ending)[:_SHOWN]), hint)
    return Finding("credentials", Verdict.OK, f"none of {len(clients)} clients has a secret that is too old")


def check_tokens(tokens: Sequence[DownloadToken], moment: datetime, notice: timedelta) -> Finding:
    """Whether no download token ends soon."""
    ends = {
        each: max(secret.expires_at for secret in each.valid(moment)) for each in tokens if each.valid(moment)
    }
    soon = [f"{each.tenant}/{each.name or each.id}" for each, end in ends.items() if end - moment < notice]
    if soon:
        hint = "`stella export token rotate ID`, and give the new one to who downloads."
        return Finding("download tokens", Verdict.WARNING, f"end soon: {', '.join(soon[:_SHOWN])}", hint)
    return Finding("download tokens", Verdict.OK, f"none of {len(ends)} ends soon")
