"""Keys that sign exports, and keys that others keep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from stellaops.adapters.keys.disk import passphrase_file
from stellaops.adapters.keys.file import FileKeyStore
from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.adapters.keys.services.registry import KeyServices
from stellaops.authority.keys import KeyKnown
from stellaops.authority.manage_keys import active_signer, create_key_of_service, named_signer, trusted_keys
from stellaops.bootstrap import clock
from stellaops.bootstrap.base import Base
from stellaops.signing.interface import Signer
from stellaops.signing.key_services import Patience


class SigningKeys(Base):
    """Keys that sign exports, and keys that others keep."""

    @cached_property
    def keys(self) -> FileKeyStore:
        """Signing keys."""
        return self._keys(self._passphrase)

    def key_store(self, passphrase: Path | None) -> FileKeyStore:
        """The keys, with the passphrase from another file where one is given."""
        return self._keys(passphrase_file(passphrase)) if passphrase else self.keys

    def unprotected_keys(self) -> FileKeyStore:
        """The keys, where new ones are written under no passphrase."""
        return self._keys(lambda: None)

    def _keys(self, passphrase: Callable[[], bytes | None]) -> FileKeyStore:
        return FileKeyStore(self.data_dir, passphrase, self.key_services.signer)

    @cached_property
    def key_services(self) -> KeyServices:
        """Keys that others keep."""
        settings = self.settings
        seconds = settings.number("keyServices.timeoutSeconds")
        attempts = settings.number("keyServices.attempts")

        def context(tenant: str) -> ServiceContext:
            return ServiceContext(settings, tenant, self.web_settings, self._passphrase, seconds)

        patience = Patience(attempts, clock.sleep, clock.chance)
        return KeyServices(context, patience, settings.listed("keyServices.allow"))

    @cached_property
    def tenant_keys(self) -> TenantKeys:
        """Keys as exports use them."""
        return TenantKeys(self.keys, self._first_key)

    def _first_key(self, tenant: str) -> None:
        """Give a tenant its first key, in the key service that the settings name for it."""
        uri = self.settings.get("keyServices.firstKey")
        if uri is None:
            self.keys.create(tenant, clock.now())
            return
        with suppress(KeyKnown):  # another run was first
            named = uri.replace("{tenant}", tenant)
            create_key_of_service(self.keys, self.key_services, tenant, named, now=clock.now())


class TenantKeys:
    """`exports.ports.Keys` on a key store."""

    def __init__(self, store: FileKeyStore, first: Callable[[str], object] | None = None) -> None:
        self._store, self._first = store, first or (lambda tenant: store.create(tenant, clock.now()))

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        """See the port."""
        if key is not None:
            return named_signer(self._store, self._store, tenant, key)
        store = self._store
        return active_signer(store, store, tenant, now=clock.now(), first=lambda: self._first(tenant))

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """See the port."""
        keys = trusted_keys(self._store, tenant)
        return keys.pems, keys.revoked
