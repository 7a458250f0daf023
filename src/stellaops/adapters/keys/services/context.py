"""What the modules of this folder are opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stellaops.adapters.keys import disk
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.web.client import WebSettings
from stellaops.authority.keys import KeyUnavailable
from stellaops.signing.interface import KeyServiceMissing


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The installation's settings, as one tenant's keys see them.

    Attributes:
        tenant: whose keys are meant.
        passphrase: of private keys in files.
        seconds: the longest wait for an answer.
    """

    settings: Settings
    tenant: str
    web: WebSettings
    passphrase: Callable[[], bytes | None]
    seconds: float

    def setting(self, name: str) -> str | None:
        """A setting with the tenant's name in place of `{tenant}`."""
        value = self.settings.get(name)
        return None if value is None else value.replace("{tenant}", self.tenant)

    def demand(self, name: str) -> str:
        """A setting that the service cannot do without.

        Raises:
            KeyServiceMissing: it is not there.
        """
        value = self.setting(name)
        if value is None:
            raise KeyServiceMissing(f"the setting {name} is not there")
        return value

    def secret(self, name: str) -> str:
        """The text in the file that a setting names, read at each call, so that a rotated secret is used at once.

        Raises:
            KeyServiceMissing: there is no such setting, or no such file, or others may open it.
        """
        path = Path(self.demand(name))
        try:
            text = disk.read_named(path).decode("utf-8").strip()
        except KeyUnavailable as error:
            raise KeyServiceMissing(f"{name}: {error.what}", hint=error.advice) from error
        except UnicodeDecodeError:
            raise KeyServiceMissing(f"{name}: {path} holds no text") from None
        if not text or not text.isprintable():
            raise KeyServiceMissing(f"{name}: {path} does not hold one line")
        return text
