"""What the settings say of notifications."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from stellaops.adapters.notify.context import Mail, Secrets
from stellaops.adapters.notify.providers.email import demand_mail
from stellaops.adapters.settings.load import Settings
from stellaops.notify.rate_limits import Policy, policy

_NEVER = "off"


def mail_of(settings: Settings) -> Mail:
    """The mail server.

    Raises:
        BadMailSettings, InvalidSettings: see there.
    """
    password, ca_file = settings.get("notify.smtp.passwordFile"), settings.get("notify.smtp.caFile")
    ca_file = ca_file or settings.get("egress.caFile")
    return demand_mail(
        Mail(
            host=settings.get("notify.smtp.host") or "",
            port=settings.number("notify.smtp.port"),
            security=(settings.get("notify.smtp.security") or "").lower(),
            username=settings.get("notify.smtp.username") or "",
            password_file=Path(password) if password else None,
            sender=settings.get("notify.smtp.from") or "",
            ca_file=Path(ca_file) if ca_file else None,
            domains=tuple(each.lower() for each in settings.listed("notify.smtp.allowDomains")),
        )
    )


def secrets_of(settings: Settings) -> Secrets:
    """Where the secrets of channels lie."""
    told = settings.get("notify.secretsDir")
    return Secrets(Path(told) if told else settings.data_dir / "notify" / "secrets")


def rate_limit(settings: Settings, name: str) -> Policy:
    """The policy of a name.

    Raises:
        BadRateLimit: see there.
    """
    return policy(name, settings.get(f"notify.rateLimits.{name}") or "")


def expiry_notice(settings: Settings) -> timedelta:
    """How long before something ends it is told.

    Raises:
        InvalidSettings: it is no duration.
    """
    return settings.duration("notify.expiryNotice", "14d")


def credential_age(settings: Settings) -> timedelta | None:
    """How old a client's secret may get; None for any age.

    Raises:
        InvalidSettings: it is no number of days.
    """
    if (settings.get("authority.credentialDays") or "").strip().lower() == _NEVER:
        return None
    return timedelta(days=settings.number("authority.credentialDays"))
