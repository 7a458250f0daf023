"""`hashivault://NAME`: keys of the transit engine of HashiCorp Vault or OpenBao.

A key there has versions; each is a key of its own here. The token comes from a file that is read for each request, so
that an agent may renew it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.adapters.keys.services.vault_http import VaultConnection, connect
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PublicKey, UnusableKey
from stellaops.signing.interface import KeyService, KeyServiceDown, KeyServiceRefused
from stellaops.signing.key_services import matching
from stellaops.signing.key_uri import KeyUri

_KIND = "ecdsa-p256"
_PREFIX = "vault:v"


def open_service(context: ServiceContext) -> KeyService:
    """The transit engine that the settings name.

    Raises:
        KeyServiceMissing: they name none.
    """
    return TransitKeys(connect(context), (context.setting("hashivault.mount") or "transit").strip("/"))


class TransitKeys:
    """`KeyService` on a transit engine.

    Args:
        connection: to the vault.
        mount: path of the engine.
    """

    __slots__ = ("_connection", "_mount", "_versions")

    def __init__(self, connection: VaultConnection, mount: str) -> None:
        self._connection, self._mount = connection, mount
        self._versions: dict[tuple[str, str], int] = {}

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """See `KeyService`."""
        return tuple(public for _, public in reversed(self._read(uri)))

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """See `KeyService`."""
        data = self._connection.ask(
            uri,
            "POST",
            f"{self._mount}/sign/{uri.name}",
            {
                "input": _text(digest),
                "prehashed": True,
                "hash_algorithm": "sha2-256",
                "marshaling_algorithm": "asn1",
                "key_version": self._version(uri, public),
            },
        )
        text = data.get("signature")
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            raise KeyServiceDown(f"{uri}: the vault's answer holds no signature")
        return _decoded(uri, text.rpartition(":")[2])

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`; the key must be one of authenticated encryption, such as aes256-gcm96."""
        body = {"plaintext": _text(key), "associated_data": _text(bound_to)}
        data = self._connection.ask(uri, "POST", f"{self._mount}/encrypt/{uri.name}", body)
        text = data.get("ciphertext")
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            raise KeyServiceDown(f"{uri}: the vault's answer holds no ciphertext")
        return text.encode("ascii", "replace")

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`."""
        body = {"ciphertext": wrapped.decode("ascii", "replace"), "associated_data": _text(bound_to)}
        data = self._connection.ask(uri, "POST", f"{self._mount}/decrypt/{uri.name}", body)
        return _decoded(uri, str(data.get("plaintext") or ""))

    def _version(self, uri: KeyUri, public: PublicKey) -> int:
        known = uri.name, public.key_id
        if known not in self._versions:
            versions = {each: number for number, each in self._read(uri)}
            self._versions[known] = versions[matching(uri, tuple(versions), public.key_id)]
        return self._versions[known]

    def _read(self, uri: KeyUri) -> list[tuple[int, PublicKey]]:
        """The versions of a key with their numbers, the oldest first."""
        data = self._connection.ask(uri, "GET", f"{self._mount}/keys/{uri.name}")
        kind, versions = data.get("type"), data.get("keys")
        if kind != _KIND or not isinstance(versions, dict):
            raise KeyServiceRefused(
                f"{uri} is a key of type {kind!r}, and exports are signed with {_KIND}",
                hint=f"Make a key with `bao write transit/keys/{uri.name} type={_KIND}`.",
            )
        try:
            found = [(int(number), _public(each)) for number, each in versions.items()]
        except (ValueError, UnusableKey) as error:
            raise KeyServiceDown(f"{uri}: the vault's answer holds no public keys") from error
        return sorted(found, key=lambda each: each[0])


def _public(version: Any) -> PublicKey:
    pem = version.get("public_key") if isinstance(version, dict) else None
    return ecdsa_p256.load_public_key(str(pem).encode("ascii", "replace"))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(uri: KeyUri, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyServiceDown(f"{uri}: the vault's answer is no base64") from error
