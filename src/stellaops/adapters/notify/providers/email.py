"""Mail, through the installation's own server, by the standard library's client."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

import msgspec

from stellaops.adapters.notify.context import (
    SECURITIES,
    BadMailSettings,
    Mail,
    NotifyContext,
    said,
    settings_of,
)
from stellaops.adapters.web.client import tls_context
from stellaops.core.egress import Offline
from stellaops.notify.channel import Channel
from stellaops.notify.errors import DeliveryFailed, DeliveryRefused, MailUnset, SecretMissing
from stellaops.notify.event import Severity
from stellaops.notify.message import Message, Rendered

KIND = "email"
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
_MOST = 50


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who is written to."""

    to: tuple[str, ...]


class Email:
    """`notify.ports.Provider`."""

    kind = KIND

    def __init__(self, context: NotifyContext) -> None:
        self._context = context

    def problems(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See the port."""
        found, wrong = settings_of(_Settings, settings)
        return wrong if found is None else tuple(_problems(found, self._context.mail))

    def render(self, channel: Channel, message: Message) -> Rendered:
        """See the port."""
        own = msgspec.convert(dict(channel.settings), _Settings)
        made = self._made(own, message)
        headers = {name.lower(): str(value) for name, value in made.items()}
        return Rendered(
            KIND, ", ".join(own.to), message.title, made.get_content().replace("\r\n", "\n"), "text", headers
        )

    def send(self, channel: Channel, message: Message) -> str:
        """See the port."""
        mail = self._context.mail
        if not mail.host or not mail.sender:
            raise MailUnset("the settings name no mail server, or no sender")
        if self._context.web.policy.offline:
            raise Offline(f"{mail.host} is not connected to: the product was told to stay offline")
        own = msgspec.convert(dict(channel.settings), _Settings)
        made = self._made(own, message)
        with _translated(mail), _opened(mail, self._context.seconds) as server:
            refused = server.send_message(made, mail.sender, list(own.to))
        if refused:
            # Those who were written to would be so again: what is left is told, not tried.
            names = "; ".join(f"{name}: {_reply(*reply)}" for name, reply in sorted(refused.items()))
            return f"taken for {len(own.to) - len(refused)} of {len(own.to)}; refused for {names}"[:300]
        return f"taken by {mail.host}"

    def _made(self, own: _Settings, message: Message) -> EmailMessage:
        sender = self._context.mail.sender or "stellaops@localhost"
        made = EmailMessage(policy=SMTP)
        made["From"] = sender
        made["To"] = ", ".join(own.to)
        made["Subject"] = message.title
        made["Date"] = format_datetime(message.event.at)
        made["Message-ID"] = f"<{message.delivery}@{_domain(sender)}>"
        made["Auto-Submitted"] = "auto-generated"
        made["X-Stella-Event"] = message.event.type
        if message.event.severity in (Severity.ERROR, Severity.CRITICAL):
            made["Importance"] = "high"
        made.set_content("\n".join(message.lines) + "\n")
        return made


def open_provider(context: NotifyContext) -> Email:
    """The provider."""
    return Email(context)


@contextmanager
def _opened(mail: Mail, seconds: float) -> Iterator[smtplib.SMTP]:
    """A connection that is as safe as the settings say, and logged in."""
    tls, own = tls_context(mail.ca_file), _own_name(mail)
    if mail.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(mail.host, mail.port, own, timeout=seconds, context=tls)
    else:
        server = smtplib.SMTP(mail.host, mail.port, own, timeout=seconds)
    with server:
        if mail.security == "starttls":
            server.starttls(context=tls)
        if mail.username:
            server.login(mail.username, _password(mail))
        yield server


def _own_name(mail: Mail) -> str:
    """The name that this machine greets by; the library's own way to it would ask the network."""
    name = socket.gethostname()
    return name if "." in name else _domain(mail.sender)


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def _password(mail: Mail) -> str:
    """The password of the account.

    Raises:
        SecretMissing, BadMailSettings: see there.
    """
    if mail.security == "none":
        raise BadMailSettings(
            "notify.smtp.username: a password goes over TLS alone; set notify.smtp.security"
        )
    if mail.password_file is None:
        raise SecretMissing("notify.smtp.passwordFile is not set")
    try:
        return mail.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretMissing(f"{mail.password_file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretMissing(f"{mail.password_file} is no text") from None


@contextmanager
def _translated(mail: Mail) -> Iterator[None]:
    """What can go wrong at a mail server; what it says for ever (5xx) is not tried again."""
    where = f"{mail.host}:{mail.port}"
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        names = "; ".join(f"{name}: {_reply(*reply)}" for name, reply in sorted(error.recipients.items()))
        for_ever = all(code >= 500 for code, _ in error.recipients.values())
        raise (DeliveryRefused if for_ever else DeliveryFailed)(f"{where} refuses {names}"[:300]) from error
    except smtplib.SMTPAuthenticationError as error:
        # It may quote what it was sent.
        raise DeliveryRefused(
            f"{where} does not take the account {mail.username}: {error.smtp_code}"
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        raise DeliveryRefused(f"{where}: {said(str(error))}") from error
    except smtplib.SMTPResponseException as error:
        refused = DeliveryRefused if error.smtp_code >= 500 else DeliveryFailed
        raise refused(f"{where} answers {_reply(error.smtp_code, error.smtp_error)}") from error
    except ssl.SSLError as error:
        raise DeliveryFailed(f"{where}: {said(error.reason or str(error))}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryFailed(f"{where}: {said(str(error)) or type(error).__name__}") from error


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {said(text.decode('utf-8', 'replace') if isinstance(text, bytes) else text)}"


def demand_mail(mail: Mail) -> Mail:
    """The settings, if they can be.

    Raises:
        BadMailSettings: see there.
    """
    if mail.security not in SECURITIES:
        raise BadMailSettings(f"notify.smtp.security: {mail.security!r} is none of {', '.join(SECURITIES)}")
    if mail.sender and not _ADDRESS.fullmatch(parseaddr(mail.sender)[1]):
        raise BadMailSettings(f"notify.smtp.from: {mail.sender[:80]!r} is no address")
    return mail


def _problems(own: _Settings, mail: Mail) -> Iterator[str]:
    if not 0 < len(own.to) <= _MOST:
        yield f"settings.to: 1 to {_MOST} addresses are needed"
    for address in own.to:
        if not _ADDRESS.fullmatch(address):
            yield f"settings.to: {address[:80]!r} is no address"
        elif mail.domains and address.rpartition("@")[2].lower() not in mail.domains:
            yield f"settings.to: {address[:80]} is in none of the domains of notify.smtp.allowDomains"
