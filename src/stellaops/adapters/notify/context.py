"""What providers send with: secrets in files, the mail server, the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from stellaops.adapters.web.client import WebSettings
from stellaops.core.errors import InvalidInput
from stellaops.notify.errors import SecretMissing

_LARGEST = 16 << 10
SECURITIES = ("starttls", "tls", "none")
T = TypeVar("T", bound=msgspec.Struct)


class BadMailSettings(InvalidInput):
    """What the settings say of the mail server cannot be."""

    code = "ERR_NOTIFY_MAIL_SETTINGS"
    hint = "Correct the settings notify.smtp.…; docs/operate/notifications.md describes them."


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """The present instant."""
        ...


@dataclass(frozen=True, slots=True)
class Mail:
    """The mail server of the installation.

    Attributes:
        host: empty where there is none.
        security: `starttls`, `tls` (from the first byte) or `none`.
        username, password_file: of the account; it is used over TLS alone.
        sender: the address that messages come from.
        ca_file: PEM certificates to trust beside the system's.
        domains: only addresses in these are written to; any where empty.
    """

    host: str = ""
    port: int = 587
    security: str = "starttls"
    username: str = ""
    password_file: Path | None = None
    sender: str = ""
    ca_file: Path | None = None
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets by their names, each in a file of its own in the folder of its tenant."""

    root: Path

    @staticmethod
    def where(tenant: str, name: str) -> str:
        """What messages call the file of a secret: tenants read them, and where it lies is the operator's business."""
        return f"the secret {name} ({tenant}/{name} below notify.secretsDir)"

    def read(self, tenant: str, name: str) -> str:
        """A secret, read whenever it is used: so it can be changed while services run.

        Raises:
            SecretMissing: see there.
        """
        where = self.where(tenant, name)
        try:
            with (self.root / tenant / name).open("rb") as content:
                text = content.read(_LARGEST).decode("utf-8").strip()
        except OSError as error:
            raise SecretMissing(f"{where}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise SecretMissing(f"{where} is no text") from None
        if not text:
            raise SecretMissing(f"{where} is empty")
        return text


@dataclass(frozen=True, slots=True)
class NotifyContext:
    """What providers send with.

    Attributes:
        seconds: the longest wait for a connection, and for an answer.
    """

    secrets: Secrets
    mail: Mail
    web: WebSettings
    now: Clock
    seconds: float = 10.0


def settings_of(form: type[T], settings: Mapping[str, Any]) -> tuple[T | None, Sequence[str]]:
    """A channel's settings in their form, or what is wrong with them."""
    try:
        return msgspec.convert(dict(settings), form), ()
    except msgspec.ValidationError as error:
        names = ", ".join(each.encode_name for each in msgspec.structs.fields(form))
        return None, (f"settings: {error}; there are {names}",)


def said(text: str, *secrets: str) -> str:
    """What a receiver said, in one short line that holds none of some secrets."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    line = "".join(each if each.isprintable() else " " for each in text)
    return re.sub(r" +", " ", line).strip()[:200]
