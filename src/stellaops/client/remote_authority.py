"""Clients, tenants and keys of a server: what the routes of `/api/authority` give."""

from __future__ import annotations

import builtins
from datetime import timedelta
from pathlib import Path
from typing import Any

from stellaops.authority.manage_clients import OVERLAP, Wanted
from stellaops.authority.tenants import UNLIMITED
from stellaops.center.interface import Progress, silent
from stellaops.center.wire import Wire
from stellaops.client.connection import WORK, Connection, items, mapping, path_of
from stellaops.client.errors import NotOverServer

_CLIENTS = "/api/authority/clients"
_KEYS = "/api/authority/keys"
_TENANTS = "/api/authority/tenants"
_TOKEN_KEYS = "/api/authority/token-keys"  # noqa: S105 - a path


class RemoteAuthority:
    """`center.interface.Authority` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def clients(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_CLIENTS))

    def client(self, client_id: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(_CLIENTS, client_id)))

    def create_client(self, wanted: Wanted, secret: str | None = None) -> Wire:
        """See the interface."""
        _refuse(secret)
        body = _told(wanted) | {"clientId": wanted.id}
        return mapping(self._connection.change("POST", _CLIENTS, body))

    def change_client(self, client_id: str, wanted: Wanted) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("PATCH", path_of(_CLIENTS, client_id), _told(wanted)))

    def rotate_client(
        self, client_id: str, *, overlap: timedelta = OVERLAP, secret: str | None = None
    ) -> Wire:
        """See the interface."""
        _refuse(secret)
        body = {"overlapSeconds": int(overlap.total_seconds())}
        return mapping(self._connection.change("POST", path_of(_CLIENTS, client_id, "rotate"), body))

    def revoke_client(self, client_id: str, reason: str = "") -> Wire:
        """See the interface."""
        path = path_of(_CLIENTS, client_id, "revoke")
        return mapping(self._connection.change("POST", path, {"reason": reason}))

    def bootstrap(self, client_id: str, secret: str | None = None) -> Wire:
        """See the interface.

        Raises:
            NotOverServer: nobody can log in before there is a first operator.
        """
        del client_id, secret
        raise NotOverServer("the first operator is made on the server's machine")

    def tenants(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_TENANTS))

    def create_tenant(
        self,
        name: str,
        max_active_runs: int | None = None,
        max_queued_runs: int | None = None,
        max_storage: int | None = None,
    ) -> Wire:
        """See the interface."""
        body = {"tenant": name, "maxActiveRuns": max_active_runs, "maxQueuedRuns": max_queued_runs}
        body |= _storage(max_storage)
        return mapping(self._connection.change("POST", _TENANTS, body))

    def set_limits(
        self,
        name: str,
        *,
        max_active_runs: int | None,
        max_queued_runs: int | None,
        max_storage: int | None = None,
        reason: str = "",
    ) -> Wire:
        """See the interface."""
        body: dict[str, Any] = {"maxActiveRuns": max_active_runs, "maxQueuedRuns": max_queued_runs}
        body |= {"reason": reason, **_storage(max_storage)}
        return mapping(self._connection.change("PATCH", path_of(_TENANTS, name), body))

    def token_keys(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(_TOKEN_KEYS))

    def rotate_token_keys(self) -> list[Wire]:
        """See the interface."""
        return items(self._connection.change("POST", f"{_TOKEN_KEYS}/rotate"))

    def revoke_token_key(self, key_id: str, reason: str = "") -> Wire:
        """See the interface."""
        path = path_of(_TOKEN_KEYS, key_id, "revoke")
        return mapping(self._connection.change("POST", path, {"reason": reason}))


def _told(wanted: Wanted) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "scopes": None if wanted.scopes is None else list(wanted.scopes),
        "tenants": None if wanted.tenants is None else list(wanted.tenants),
    }


def _storage(max_storage: int | None) -> dict[str, int | None]:
    """A bound that is to stay is not named; null is no bound."""
    if max_storage is None:
        return {}
    return {"maxStorageBytes": None if max_storage == UNLIMITED else max_storage}


def _refuse(secret: str | None) -> None:
    if secret is not None:
        raise NotOverServer(
            "a secret that is given can be set on the server's machine; over the network it makes one"
        )


class RemoteKeys:
    """`center.interface.Keys` of a server. Private keys and their passphrases never leave it, nor go there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Wire]:
        """See the interface."""
        return [_key(each) for each in self._connection.pages(_KEYS)]

    def create(
        self, *, activate: bool = True, passphrase_file: Path | None = None, uri: str | None = None
    ) -> Wire:
        """See the interface."""
        _refuse_passphrase(passphrase_file)
        body = {"activate": activate} | _named(uri)
        return _key(mapping(self._connection.change("POST", _KEYS, body, patience=WORK)))

    def activate(self, key_id: str) -> Wire:
        """See the interface."""
        return _key(mapping(self._connection.change("POST", path_of(_KEYS, key_id, "activate"))))

    def public(self, key_id: str | None = None, *, every: bool = False) -> bytes:
        """See the interface."""
        if key_id is None and not every:
            active = [each["keyId"] for each in self.list() if each["state"] == "active"]
            key_id = active[0] if active else None
        return self._connection.raw(f"{_KEYS}/public", {"keyId": key_id})

    def listed(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(f"{_KEYS}/listed"))

    def rotate(
        self,
        *,
        passphrase_file: Path | None = None,
        uri: str | None = None,
        unprotected: bool = False,
        keep_signatures: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """See the interface."""
        _refuse_passphrase(passphrase_file, unprotected=unprotected)
        progress("the server is signing")
        body = {"keepSignatures": keep_signatures} | _named(uri)
        return _key(mapping(self._connection.change("POST", f"{_KEYS}/rotate", body, patience=WORK)))

    def resign(
        self, *, passphrase_file: Path | None = None, progress: Progress = silent
    ) -> builtins.list[Wire]:
        """See the interface."""
        _refuse_passphrase(passphrase_file)
        progress("the server is signing")
        return items(self._connection.change("POST", f"{_KEYS}/resign", patience=WORK))

    def test(self, key_id: str | None = None) -> Wire:
        """See the interface."""
        chosen = key_id or next(
            (each["keyId"] for each in self.list() if each["state"] == "active"), "active"
        )
        path = path_of(_KEYS, chosen, "test")
        return mapping(self._connection.change("POST", path, patience=WORK))

    def revoke(self, key_id: str, reason: str = "") -> Wire:
        """See the interface."""
        path = path_of(_KEYS, key_id, "revoke")
        return _key(mapping(self._connection.change("POST", path, {"reason": reason})))


def _key(found: Wire) -> Wire:
    """A key without its public part, which `public` gives."""
    return {name: value for name, value in found.items() if name != "publicKey"}


def _named(uri: str | None) -> dict[str, str]:
    return {} if uri is None else {"uri": uri}


def _refuse_passphrase(file: Path | None, *, unprotected: bool = False) -> None:
    if file is not None or unprotected:
        raise NotOverServer("what protects private keys is said on the server's machine")
