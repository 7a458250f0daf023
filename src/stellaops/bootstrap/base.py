"""What everything stands on: the settings, both stores, the network, the passphrase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from stellaops.adapters.keys.disk import passphrase_file
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.address import Address, SqliteFile, parse_address
from stellaops.adapters.sql.administration import Stores
from stellaops.adapters.sql.engine import open_engine
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy, networks


@dataclass(frozen=True)
class Base:
    """A data directory; each part is opened when it is first needed."""

    settings: Settings

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.settings.data_dir

    @cached_property
    def _passphrase(self) -> Callable[[], bytes | None]:
        file = self.settings.get("keyPassphraseFile")
        return passphrase_file(Path(file)) if file else lambda: None

    @cached_property
    def evidence_engine(self) -> Engine:
        """The evidence store, in this release's schema."""
        return self._opened(migrations.EVIDENCE)

    @cached_property
    def service_engine(self) -> Engine:
        """The service store, in this release's schema."""
        return self._opened(migrations.SERVICE)

    @property
    def stores(self) -> Stores:
        """Both stores as a whole."""
        return Stores(
            {store.name: self.store_address(store) for store in (migrations.EVIDENCE, migrations.SERVICE)}
        )

    def store_address(self, store: migrations.Store) -> Address:
        """Where a store lies: as the settings say, else a file in the data directory."""
        told, password = self.settings.get(f"store.{store.name}"), self.settings.get("store.passwordFile")
        if told is None:
            return SqliteFile(self.data_dir / f"{store.name}.db")
        return parse_address(told, Path(password) if password else None)

    def _opened(self, store: migrations.Store) -> Engine:
        return migrations.open_checked(open_engine(self.store_address(store), store.name), store)

    @property
    def web_settings(self) -> WebSettings:
        """How the network is reached."""
        settings = self.settings
        policy = EgressPolicy(
            private=networks(settings.listed("egress.allowPrivate")),
            plain_hosts=frozenset(settings.listed("egress.allowHttp")),
            offline=settings.is_on("egress.offline"),
        )
        ca_file = settings.get("egress.caFile")
        return WebSettings(
            policy,
            settings.get("egress.proxy"),
            settings.listed("egress.noProxy"),
            Path(ca_file) if ca_file else None,
        )
