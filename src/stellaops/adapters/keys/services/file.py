"""`file:///PATH`: a private key in a file that something else put there, such as a mounted secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from stellaops.adapters.keys import disk
from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.authority.keys import KeyUnavailable
from stellaops.signing import key_files
from stellaops.signing.ecdsa_p256 import PrivateKey, PublicKey, UnusableKey
from stellaops.signing.interface import KeyService, KeyServiceRefused
from stellaops.signing.key_services import matching
from stellaops.signing.key_uri import KeyUri


def open_service(context: ServiceContext) -> KeyService:
    """The service; a file is opened at each use."""
    return FileKeys(context)


@dataclass(frozen=True, slots=True)
class FileKeys:
    """`KeyService` on key files."""

    context: ServiceContext

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """See `KeyService`."""
        return (self._open(uri).public,)

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """See `KeyService`; the signature is deterministic."""
        key = self._open(uri)
        matching(uri, (key.public,), public.key_id)
        return key.sign_digest(digest)

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """Refused; see `_no_wrapping`."""
        _no_wrapping(uri)

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """Refused; see `_no_wrapping`."""
        _no_wrapping(uri)

    def _open(self, uri: KeyUri) -> PrivateKey:
        try:
            data = disk.read_named(Path(uri.name))
            passphrase = self.context.passphrase() if key_files.is_encrypted(data) else None
            return key_files.read(data, passphrase)
        except (KeyUnavailable, UnusableKey) as error:
            raise KeyServiceRefused(f"{uri}: {error.what}", hint=error.advice) from None


def _no_wrapping(uri: KeyUri) -> NoReturn:
    """An ECDSA key encrypts nothing, and for keys in files there are age's.

    Raises:
        KeyServiceRefused: always.
    """
    raise KeyServiceRefused(
        f"{uri} cannot wrap a content key: key files sign only", hint="Use a recipient of age, `age1…`."
    )
