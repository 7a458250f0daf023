"""Who may use the service, and the keys that sign."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from stellaops.authority.manage_clients import Wanted
from stellaops.center.interface.progress import Progress, silent
from stellaops.center.wire import Wire


class Authority(Protocol):
    """Clients, tenants and keys of access tokens."""

    def clients(self) -> list[Wire]:
        """Every client that whoever asks manages, by id."""
        ...

    def client(self, client_id: str) -> Wire:
        """One of them."""
        ...

    def create_client(self, wanted: Wanted, secret: str | None = None) -> Wire:
        """Make a client; the answer has its `clientSecret`, unless it was given."""
        ...

    def change_client(self, client_id: str, wanted: Wanted) -> Wire:
        """Change a client's name, tenants or scopes."""
        ...

    def rotate_client(self, client_id: str, *, overlap: timedelta, secret: str | None = None) -> Wire:
        """Give a client another secret."""
        ...

    def revoke_client(self, client_id: str, reason: str = "") -> Wire:
        """Revoke a client for ever."""
        ...

    def bootstrap(self, client_id: str, secret: str | None = None) -> Wire:
        """Make the first operator."""
        ...

    def tenants(self) -> list[Wire]:
        """The tenants that whoever asks acts for."""
        ...

    def create_tenant(
        self,
        name: str,
        max_active_runs: int | None = None,
        max_queued_runs: int | None = None,
        max_storage: int | None = None,
    ) -> Wire:
        """Make a tenant."""
        ...

    def set_limits(
        self,
        name: str,
        *,
        max_active_runs: int | None,
        max_queued_runs: int | None,
        max_storage: int | None = None,
        reason: str = "",
    ) -> Wire:
        """Change how much a tenant may run and keep; None leaves a limit as it is.

        Args:
            max_storage: in bytes; `authority.tenants.UNLIMITED` for no bound.
        """
        ...

    def token_keys(self) -> list[Wire]:
        """Public keys of access tokens, the oldest first."""
        ...

    def rotate_token_keys(self) -> list[Wire]:
        """Let no key that there is sign any more."""
        ...

    def revoke_token_key(self, key_id: str, reason: str = "") -> Wire:
        """Let a key sign and verify nothing any more."""
        ...


class Keys(Protocol):
    """Keys that sign the tenant's exports; files with passphrases are those of the data directory's machine."""

    def list(self) -> list[Wire]:
        """All of them, the oldest first."""
        ...

    def create(
        self, *, activate: bool = True, passphrase_file: Path | None = None, uri: str | None = None
    ) -> Wire:
        """Make one, or take one of a key service, that signs from now on, or waits."""
        ...

    def activate(self, key_id: str) -> Wire:
        """Let a waiting or retired one sign from now on."""
        ...

    def public(self, key_id: str | None = None, *, every: bool = False) -> bytes:
        """A public key in PEM, the active one's where none is named; or all that are not revoked."""
        ...

    def listed(self) -> Wire:
        """All public keys with the time of each (`authority.published_keys`)."""
        ...

    def rotate(
        self,
        *,
        passphrase_file: Path | None = None,
        uri: str | None = None,
        unprotected: bool = False,
        keep_signatures: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """Make one, or take one of a key service, and sign kept exports again; `resigned` tells of each."""
        ...

    def resign(self, *, passphrase_file: Path | None = None, progress: Progress = silent) -> Sequence[Wire]:
        """Sign kept exports again with the active one."""
        ...

    def test(self, key_id: str | None = None) -> Wire:
        """Have one sign something, the active one where none is named: `{keyId, uri, status, seconds, detail}`."""
        ...

    def revoke(self, key_id: str, reason: str = "") -> Wire:
        """Let one sign and verify nothing any more."""
        ...
